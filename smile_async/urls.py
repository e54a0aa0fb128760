"""Which addresses we are willing to send a face to.

https everywhere; plain http only where the host is this very machine, so that a sandbox can be talked to. The presigned
URL comes from an unsigned reply (wire.md §2.3), so its host is checked against a list before a selfie travels.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["DEFAULT_UPLOAD_HOSTS", "SERVED", "asleep", "host_of", "is_loopback", "upload_url_flaw", "url_flaw"]

#: Where the documented presigned URLs live (wire.md §4). Pin the exact bucket host seen in your account.
DEFAULT_UPLOAD_HOSTS = ("*.amazonaws.com",)

#: The event loops in which sandboxes of this very process serve, by port.
SERVED: dict[int, "AbstractEventLoop"] = {}

#: What travels is ASCII; an engine that met anything else would fail with the whole URL in its hands.
_NOT_ASCII = "is not ASCII: write the host in punycode, and percent-encode the rest"


def _split(url: str) -> SplitResult | None:
    # A backslash ends the host for WHATWG parsers (pyreqwest's), but not for this one: evil.com\.amazonaws.com.
    if not isinstance(url, str) or not url.isprintable() or " " in url or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.hostname else None


def is_loopback(host: str) -> bool:
    """Whether *host* names this machine: localhost, *.localhost or a loopback address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # 2130706433, 0x7f.1 and friends are addresses to a resolver though not to this module.
        return re.fullmatch(r"\d+|0x[0-9a-f]*", host.rsplit(".", 1)[-1]) is not None
    return True


def host_of(url: str) -> str:
    """The host that *url* names, in lower case and without a last dot; "" if it is not a URL."""
    parts = _split(url)
    return "" if parts is None else (parts.hostname or "").rstrip(".")


def asleep(url: str) -> bool:
    """Whether *url* is served by this very process, in an event loop that does not run: nobody would ever answer."""
    loop = SERVED.get(urlsplit(url).port or 0) if is_loopback(host_of(url)) else None
    return loop is not None and not loop.is_running() and not loop.is_closed()


def url_flaw(url: str, *, plain: bool = False) -> str:
    """What is wrong with *url* as a place to talk to, and the cure; "" if nothing is. *plain*: http is good enough."""
    return _flaw_of(_split(url), plain) or ("" if url.isascii() else _NOT_ASCII)


def _flaw_of(parts: SplitResult | None, plain: bool = False) -> str:
    if parts is None:
        return "is not a URL: give https://host/path"
    if parts.username is not None or parts.password is not None:
        return "carries a user name or password: take it out"
    if parts.scheme == "https" or (parts.scheme == "http" and (plain or is_loopback(parts.hostname or ""))):
        return ""
    return "is not https: faces and signatures travel encrypted (http is only for loopback)"


def upload_url_flaw(url: str, *, api_host: str, allowed: Iterable[str]) -> str:
    """What is wrong with the presigned *url*, "" if its host is *api_host* or matches one of *allowed*.

    `*.amazonaws.com` matches whole labels only. An IP address is believed on loopback alone, and only if the API
    itself is there. The text never contains the URL: its query is a bearer credential.
    """
    parts = _split(url)
    why = _flaw_of(parts)
    if why or parts is None or parts.hostname is None:
        return f"the upload URL {why}"
    host = parts.hostname.rstrip(".")
    sendable = "" if url.isascii() else f"the upload URL {_NOT_ASCII}"
    if host == api_host or (is_loopback(host) and is_loopback(api_host)):
        return sendable
    if _is_address(host):
        return "the upload URL names an IP address instead of a host"
    for pattern in allowed:
        bare = pattern.lower().removeprefix("*.")
        if host == bare if bare == pattern.lower() else host.endswith(f".{bare}"):
            return sendable
    return f"the upload URL names the host {host}, which is not allowed: if it is Smile ID's, add it to upload_hosts"
