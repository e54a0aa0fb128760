"""A certificate authority that lives for one run, and the files a TLS server insists on.

The authority's private key never touches the disk; the server's key must, readable by its owner only.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme

from .state_file import write_private

__all__ = ["Certificates", "issue"]


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the PEM files are: the authority's certificate, the server's certificate and its key."""

    ca_file: Path
    cert_file: Path
    key_file: Path


def issue(folder: Path, hosts: Sequence[str], ca_folder: Path | None = None) -> Certificates:
    """Make an authority and a server certificate for *hosts* and the loopback names, in *folder* (mode 0700).

    With *ca_folder* the authority's certificate goes there instead, so that its path is the same after a restart.
    """
    names = {"127.0.0.1", "::1", "localhost", *(host for host in hosts if not is_wildcard(host))}
    authority = trustme.CA(organization_name="smile_async sandbox")
    server = authority.issue_cert(*sorted(names), organization_name="smile_async sandbox")
    files = Certificates(
        ca_file=(ca_folder or folder) / "ca.pem", cert_file=folder / "server.pem", key_file=folder / "server.key"
    )
    write_private(files.ca_file, authority.cert_pem.bytes())
    write_private(files.cert_file, b"".join(blob.bytes() for blob in server.cert_chain_pems))
    write_private(files.key_file, server.private_key_pem.bytes())
    return files


def is_wildcard(host: str) -> bool:
    """Whether *host* means every address of this machine, and so names none."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
