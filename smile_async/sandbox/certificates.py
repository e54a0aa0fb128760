"""A certificate authority that lives for one run, and the files a TLS server insists on; or a certificate of yours.

The authority's private key never touches the disk; the server's key must, readable by its owner only.
"""

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme

from .settings import Settings
from .state_file import write_private

__all__ = ["Certificates", "certificates_for", "is_wildcard"]


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the PEM files are: the authority's certificate (None = known already), the server's and its key."""

    ca_file: Path | None
    cert_file: Path
    key_file: Path


def certificates_for(settings: Settings, folder: Path, hosts: Sequence[str]) -> Certificates:
    """The certificate of *settings*, or one made for *hosts* and the loopback names, in *folder* (mode 0700).

    With a state directory the authority's certificate goes there instead, so that its path is the same after a
    restart. Raises ValueError if the files of the settings are no certificate and its key.
    """
    if settings.cert_file is None or settings.key_file is None:
        return _issued(folder, hosts, Path(folder if settings.state is None else settings.state))
    given = Certificates(None, Path(settings.cert_file), Path(settings.key_file))
    try:
        # Without a password OpenSSL would ask for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(given.cert_file, given.key_file, password="")
    except OSError as error:  # an ssl.SSLError is one
        files = f"{given.cert_file} and {given.key_file}"
        why = error.strerror or error
        raise ValueError(f"{files} are no certificate and its key, in PEM and not encrypted: {why}") from None
    return given


def _issued(folder: Path, hosts: Sequence[str], ca_folder: Path) -> Certificates:
    names = {"127.0.0.1", "::1", "localhost", *(host for host in hosts if not is_wildcard(host))}
    authority = trustme.CA(organization_name="smile_async sandbox")
    server = authority.issue_cert(*sorted(names), organization_name="smile_async sandbox")
    ca_file, cert_file, key_file = ca_folder / "ca.pem", folder / "server.pem", folder / "server.key"
    write_private(ca_file, authority.cert_pem.bytes())
    if ca_folder != folder:
        ca_file.chmod(0o644)  # it is no secret, and another container's user reads it from a volume
    write_private(cert_file, b"".join(blob.bytes() for blob in server.cert_chain_pems))
    write_private(key_file, server.private_key_pem.bytes())
    return Certificates(ca_file, cert_file, key_file)


def is_wildcard(host: str) -> bool:
    """Whether *host* means every address of this machine, and so names none."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
