"""TLS as this library speaks it: 1.2 or later, the system's CAs or those of one file."""

import os
import ssl
from functools import lru_cache
from pathlib import Path

from smile_async.errors import BadConfiguration

__all__ = ["check_variables", "tls_context"]


@lru_cache(maxsize=8)
def _tls(ca_file: str | None, named: str | None, _stamp: tuple[int, int], _http2: bool) -> ssl.SSLContext:
    """One context a leg: httpcore sets the ALPN offer on the context itself. Loading the system's CAs takes 25 ms."""
    context = ssl.create_default_context(cafile=ca_file)
    if named and not context.cert_store_stats()["x509"]:
        raise ssl.SSLError("it holds no certificate")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def check_variables() -> None:
    """Raise BadConfiguration if SSL_CERT_FILE, or every part of SSL_CERT_DIR, names nothing.

    OpenSSL passes over it in silence, and no server would be trusted.
    """
    file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file and not Path(file).is_file():
        raise BadConfiguration(f"SSL_CERT_FILE names {file!r}, which is not a file: let it name one, or unset it")
    if folders and not any(Path(folder).is_dir() for folder in folders.split(os.pathsep)):
        raise BadConfiguration(f"SSL_CERT_DIR names {folders!r}, which is no directory: let it name one, or unset it")


def tls_context(ca_file: str | None, *, http2: bool) -> ssl.SSLContext:
    """The system's CAs, or those of *ca_file* (PEM); TLS 1.2 or later. Raises BadConfiguration."""
    named = ca_file or os.environ.get("SSL_CERT_FILE")
    try:
        about = Path(named).stat() if named else None
        return _tls(ca_file, named, (about.st_mtime_ns, about.st_size) if about else (0, 0), http2)
    except (OSError, ssl.SSLError) as error:
        which = "ca_file" if ca_file else "SSL_CERT_FILE"
        raise BadConfiguration(
            f"{which} {named!r} can not be used ({error}): give a PEM file of CA certificates"
        ) from None
