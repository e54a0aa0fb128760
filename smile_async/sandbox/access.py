"""Who may look at the console, who may press its buttons, and who may steer the sandbox by its control API.

A page on loopback is not private by itself: any website open in the same browser can send requests to it, and with DNS
rebinding read the answers. So the Host must be one that only this machine's user would type, buttons work only from
the console's own pages, the control API wants a header that no page of another site can send, and whoever comes from
another machine must bring the token that was printed at the start.
"""

import hmac
import ipaddress
import re
import secrets
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from .settings import Settings, is_host

__all__ = ["HEADER", "Access", "Refusal", "secured"]

#: What every call of the control API carries: the token; from this machine anything, such as 1.
HEADER = "X-Smile-Sandbox"

#: `__Host-` binds the cookie to https and to this very host name.
_COOKIE = "__Host-smile-sandbox"
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?")
#: A proxy or tunnel on this machine adds one of these; its client may sit anywhere, whatever Host it passes on.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer, which would turn the Origin of our own forms into "null".
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def secured(response: Response) -> Response:
    """*response* with the headers every reply of the console carries."""
    response.headers.update(_HEADERS)
    return response


class Refusal(NamedTuple):
    """Why somebody is not let in: HTTP status and a sentence."""

    status: int
    text: str


class Access:
    """The checks of one run; `exposed` = other machines can connect, `bound` = the --host that was asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.token = settings.token or secrets.token_urlsafe(32)
        self.csrf = secrets.token_urlsafe(32)
        self.exposed = False
        self.bound = ""

    @property
    def guarded(self) -> bool:
        """Whether anybody may need the token: others than this machine's user can reach the sandbox."""
        return self.exposed or bool(self._settings.public_host)

    def refuse_host(self, request: Request) -> Refusal | None:
        """The refusal of a request whose Host is not one of ours."""
        host = _host_of(request)
        if host and (_is_loopback(host) or host in self._own_names()):
            return None
        return Refusal(421, "this answers to localhost and to the sandbox's --public-host only")

    def refuse_caller(self, request: Request) -> Refusal | None:
        """The refusal of a call of the control API."""
        shown = request.headers.get(HEADER, "")
        if refused := self.refuse_host(request):
            return refused
        if not shown:
            return Refusal(403, f"send the header {HEADER}: the access token, or 1 from this machine")
        if self._needs_token(request) and not self._is_token(shown):
            return Refusal(401, f"the header {HEADER} must be the access token that was printed at the start")
        return None

    def refuse_stranger(self, request: Request) -> Refusal | None:
        """The refusal of a request that would have to show the token and does not."""
        shown = request.cookies.get(_COOKIE, "")
        if not self._needs_token(request) or self._is_token(shown):
            return None
        return Refusal(401, "open the address with the access token that was printed when the sandbox was started")

    def admit(self, request: Request) -> Response | Refusal:
        """The answer to `/?token=…`: a cookie in exchange for the token, and an address without it."""
        if not self._is_token(request.query_params.get("token", "")):
            return Refusal(401, "this is not the access token of this run: it changes each time the sandbox is started")
        response = secured(RedirectResponse("/", 303))
        response.set_cookie(_COOKIE, self.token, path="/", secure=True, httponly=True, samesite="strict")
        return response

    def refuse_foreign(self, request: Request, csrf: str) -> Refusal | None:
        """The refusal of an action that was not started on one of the console's own pages."""
        if not _is_same_origin(request):
            return Refusal(403, "actions are taken from the console's own pages only")
        if not _equal(csrf, self.csrf):
            return Refusal(403, "this page is from an earlier run of the sandbox: load it again")
        return None

    def _own_names(self) -> set[str]:
        names = {self._settings.public_host or "", self.bound} - {"", "0.0.0.0", "::"}  # noqa: S104 - these name nobody
        return {name.lower().rstrip(".") for name in names}

    def _needs_token(self, request: Request) -> bool:
        peer = request.client.host if request.client is not None else None
        local = peer is None or _is_loopback(peer)
        forwarded = any(name in request.headers for name in _FORWARDED)
        return self.exposed or forwarded or not local or not _is_loopback(_host_of(request))

    def _is_token(self, shown: str) -> bool:
        return _equal(shown, self.token)


def _equal(shown: str, true: str) -> bool:
    return hmac.compare_digest(shown.encode(), true.encode())


def _host_of(request: Request) -> str:
    """The name or address in the Host header; "" if there is not exactly one of them."""
    values = request.headers.getlist("host")
    match = _HOST.fullmatch(values[0]) if len(values) == 1 else None
    host = match[1].strip("[]").lower().removesuffix(".") if match else ""
    return host if is_host(host) else ""


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761: never looked up in DNS by browsers
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and bool(mapped.is_loopback))


def _is_same_origin(request: Request) -> bool:
    """Whether a browser says that our own page sent this; a request that says nothing does not pass."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is None:
        return False
    if site not in (None, "same-origin"):
        return False
    if origin is None:
        return True
    try:
        said = urlsplit(origin)
    except ValueError:
        return False
    # https besides our own scheme: a proxy may have ended TLS before us.
    return said.netloc == request.headers.get("host") and said.scheme in {"https", request.url.scheme}
