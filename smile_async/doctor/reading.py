"""What is seen of the network, the clock, the key and the lists becomes findings: no I/O, nothing remembered."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from smile_async.doctor.answers import Answer
from smile_async.doctor.findings import Finding, State
from smile_async.jobs.catalogue import DocumentType, Products, Services

__all__ = [
    "WITHIN_A_CLOCK",
    "Tls",
    "of_catalogue",
    "of_clock",
    "of_key",
    "of_lists",
    "of_no_lists",
    "of_settings",
    "of_silence",
    "of_tcp",
    "of_tls",
    "of_version",
]

OK, WARNING, FAILURE = State.OK, State.WARNING, State.FAILURE
#: Seconds: a Date header counts whole ones; and beyond which every callback is refused as stale.
WITHIN_A_CLOCK, STALE = 5.0, 300.0
#: Days.
EXPIRES_SOON = 14
#: A piece of what TLS libraries say of a certificate, and the cure.
_CERTIFICATES = {
    "expired": "renew the server's certificate, or set this machine's clock",
    "not yet valid": "set this machine's clock",
    "mismatch": "the certificate is for another name: give the base URL with the name that it was issued for",
    "not valid for": "the certificate is for another name: give the base URL with the name that it was issued for",
}
_OTHER_CA = (
    "the server's certificate is of a CA that is not trusted here: let SMILE_CA_FILE (--ca-file) name that CA, if it"
    " is your sandbox's or your company's; otherwise somebody reads along"
)
_NETWORK = {
    "dns": "check the spelling of the base URL, this machine's resolver, and whether a firewall blocks DNS",
    "tcp": "let a firewall on the way pass connections to this host and port; SMILE_BASE_URL names another server",
    "tls": "what answers there speaks no TLS that we know (1.2 or later): check the port, and what stands on the way",
}
_KEY = (
    "check that SMILE_API_KEY is of this partner id and of this environment (sandbox and production have keys of their"
    " own), the partner id with its zeros, and this machine's clock"
)


@dataclass(frozen=True, slots=True)
class Tls:
    """A handshake that went well; *days* for which the certificate is still good."""

    version: str
    alpn: str
    issuer: str
    days: int


def of_settings(
    used: Mapping[str, Any], told: Collection[str], taken: Collection[str], there: Collection[str]
) -> list[Finding]:
    """Each setting of *used* and where it is from, by the names of those that were *told*, that were *taken* from
    variables or options, and that variables are *there* for.
    """
    found = []
    for name, value in used.items():
        variable = f"SMILE_{name.upper()}"
        option = f"from --{name.replace('_', '-')}"
        source = option if name in told else f"from {variable}" if name in taken else "by default"
        unused = name in there and (name in told or name not in taken)
        cure = f"{variable} is set as well, and put out of force by what was said" if unused else ""
        found.append(Finding(f"setting {name}", OK, f"{_shown(name, value)}, {source}", cure))
    return found


def _shown(name: str, value: Any) -> str:
    if name == "api_key":
        return "a key"
    if name == "partner_id" and not str(value).isdigit():
        # It may be the key, that was set in its place.
        return "no number"
    if name == "callback_url" and value:
        return f"a URL at {urlsplit(str(value)).netloc.rpartition('@')[2]}"
    if not isinstance(value, str) and isinstance(value, Sequence):
        return " ".join(map(str, value))
    return str(value) if value not in ("", None) else "none"


def of_silence(name: str, leg: str, why: str) -> Finding:
    """Nobody answered on *leg* ("dns", "tcp", "tls", "http"), in the words of *why*."""
    cure = _NETWORK.get(leg, "try again; see whether a proxy, a firewall or an outage is on the way")
    if "certificate" in why.lower():
        cure = next((told for word, told in _CERTIFICATES.items() if word in why.lower()), _OTHER_CA)
    return Finding(name, FAILURE, why, cure)


def of_tcp(where: str, reached: str, failures: Sequence[str]) -> Finding:
    """A connection to *reached*, after *failures* at other addresses of that host."""
    if not failures:
        return Finding(f"tcp {where}", OK, reached)
    cure = "mend or switch off what does not work here (often IPv6): each new connection may try it first"
    return Finding(f"tcp {where}", WARNING, f"{reached}, and not {'; '.join(failures)}", cure)


def of_tls(where: str, tls: Tls, *, wanted: str) -> list[Finding]:
    """The handshake with *where*; *wanted*: the protocol that ALPN should choose there."""
    text, soon = f"{tls.version}, certificate of {tls.issuer}, good for {tls.days} more days", tls.days < EXPIRES_SOON
    cure = "if the server is yours, renew its certificate" if soon else ""
    chosen = tls.alpn or "nothing"
    agreed = chosen == wanted or (wanted == "http/1.1" and not tls.alpn)
    why = "" if agreed else "a proxy or load balancer on the way does not pass HTTP/2 on: ask for it, or go round it"
    return [
        Finding(f"tls {where}", WARNING if soon else OK, text, cure),
        Finding(f"alpn {where}", OK if agreed else WARNING, f"chose {chosen}, {wanted} was hoped for", why),
    ]


def of_version(where: str, version: str, *, wanted: str) -> Finding:
    """The HTTP version over which *where* answered, "" where the engine does not tell."""
    if version in (wanted, ""):
        return Finding(f"http {where}", OK, version or "the engine does not tell")
    cure = "requests take turns instead of sharing a connection: it works, and thousands of jobs take longer"
    return Finding(f"http {where}", WARNING, f"{version} instead of {wanted}", cure)


def of_clock(skew: float | None) -> Finding:
    """*skew*: seconds that the server's clock is ahead of ours; None if it did not tell its own."""
    if skew is None:
        why = "signatures are made by this machine's clock: keep it right by NTP"
        return Finding("clock", WARNING, "the server's replies carry no Date", why)
    off = abs(skew)
    if off <= WITHIN_A_CLOCK:
        return Finding("clock", OK, f"within {WITHIN_A_CLOCK:g} s of the server's")
    text = f"this machine's is {off:.0f} s {'behind' if skew > 0 else 'ahead of'} the server's"
    cure = "set it by NTP; requests are signed with the server's time meanwhile"
    if off > STALE:
        return Finding("clock", FAILURE, text, f"{cure}, but every callback is refused as stale")
    return Finding("clock", WARNING, text, cure)


def of_key(answer: Answer) -> list[Finding]:
    """The reply to a signed query for a job that can not exist: 2304 is the answer to whoever may ask."""
    if answer.code == "2304":
        usual = not 200 <= answer.status < 300
        state = State.EXPECTED if usual else State.DIFFERENT
        status = Finding("HTTP status of 2304", state, f"HTTP {answer.status}; any but 2xx was expected")
        return [Finding("key", OK, "accepted: the job that can not exist is not found (2304)"), status]
    if answer.refused_us:
        return [Finding("key", FAILURE, f"not accepted: {answer.said}", _KEY)]
    if answer.status == 429 or answer.status >= 500:
        return [Finding("key", FAILURE, f"not tested: {answer.said}", "try again in a while")]
    cure = "2304 was to come: see whether the base URL is Smile ID's, and what stands on the way"
    return [Finding("key", FAILURE, f"no such answer is known: {answer.said}", cure)]


def of_catalogue(services: Services, products: Products, documents: tuple[DocumentType, ...]) -> Finding:
    """What can be looked up, and what of it the account may use."""
    countries = len({kind.country for kind in services.id_types})
    text = (
        f"{len(services.id_types)} kinds of id in {countries} countries, {len(services.banks)} banks,"
        f" {len(documents)} documents; the account may use {', '.join(sorted(products.id_types)) or 'nothing'}"
    )
    if not (services.id_types and products.id_types):
        return Finding("catalogue", WARNING, text, "ask Smile ID to enable the products of this account")
    return Finding("catalogue", OK, text)


def of_no_lists(missing: Sequence[str]) -> Finding:
    """Lists that were asked for, and what came instead."""
    cure = "jobs go without them; `session.catalogue` and `smile-async services` do not: ask Smile ID"
    return Finding("catalogue", WARNING, f"not served: {'; '.join(missing)}", cure)


def of_lists(answer: Answer) -> Finding:
    """Which generation of /services is served, and what its headers say of keeping it (wire.md §13.7)."""
    newer = "hosted_web" in answer.found
    text = f"the {'newer' if newer else 'older'} generation; {answer.caching or 'no header about caching'}"
    return Finding("lists", State.EXPECTED if newer and not answer.caching else State.DIFFERENT, text)
