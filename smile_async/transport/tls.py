"""TLS as this library speaks it: 1.2 or later, the system's CAs or those of one file."""

import ssl
from functools import lru_cache
from pathlib import Path

from smile_async.errors import BadConfiguration

__all__ = ["tls_context"]


@lru_cache(maxsize=8)
def _tls(ca_file: str | None, _stamp: tuple[int, int], _http2: bool) -> ssl.SSLContext:
    """One context a leg: httpcore sets the ALPN offer on the context itself. Loading the system's CAs takes 25 ms."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def tls_context(ca_file: str | None, *, http2: bool) -> ssl.SSLContext:
    """The system's CAs, or those of *ca_file* (PEM); TLS 1.2 or later. Raises BadConfiguration."""
    try:
        about = Path(ca_file).stat() if ca_file else None
        return _tls(ca_file, (about.st_mtime_ns, about.st_size) if about else (0, 0), http2)
    except (OSError, ssl.SSLError) as error:
        raise BadConfiguration(
            f"ca_file {ca_file!r} can not be used ({error}): give a PEM file of CA certificates"
        ) from None
