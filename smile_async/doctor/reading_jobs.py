"""What is seen of jobs becomes findings: uploads, verdicts, lookups, tokens, refusals. No I/O, nothing remembered."""

from collections.abc import Mapping, Sequence
from typing import Any

from smile_async.doctor.answers import Answer, presigned
from smile_async.doctor.findings import Finding, State
from smile_async.errors import Refused
from smile_async.jobs.codes import Decision, classify
from smile_async.jobs.product import Product
from smile_async.jobs.verdict import Verdict
from smile_async.protocol.signature import Signer

__all__ = [
    "OFFSETS",
    "of_duplicate",
    "of_expired",
    "of_history",
    "of_links",
    "of_lookup",
    "of_no_photo",
    "of_photo",
    "of_prepared",
    "of_provisional",
    "of_put",
    "of_record",
    "of_refused",
    "of_repeated",
    "of_result",
    "of_review",
    "of_second_lookup",
    "of_short_info",
    "of_signed",
    "of_slot",
    "of_token",
    "of_waiting",
    "of_window",
]

OK, WARNING, FAILURE = State.OK, State.WARNING, State.FAILURE
EXPECTED, DIFFERENT, UNKNOWN = State.EXPECTED, State.DIFFERENT, State.UNKNOWN
#: Seconds a large zip may take over a slow line: `UPLOAD_SECONDS`.
SHORTEST_LIFE = 120
#: Seconds by which a timestamp is made wrong, one after the other: a little less and more than windows in common use.
OFFSETS = (240, 330, 660, 930, 1_830, 3_660, 90_000)
#: Seconds; what integrators check replies with (wire.md §2.2).
ASSUMED_WINDOW = 300
#: What sandbox_result stands for (wire.md §11).
RESULTS = {"0": Decision.APPROVED, "1": Decision.REJECTED, "2": Decision.PROVISIONAL}
_REPORT = "the library bears it; report it with this finding"


def _point(name: str, as_expected: bool, text: str) -> Finding:
    return Finding(name, EXPECTED if as_expected else DIFFERENT, text, "" if as_expected else _REPORT)


def of_prepared(answer: Answer) -> Finding:
    """The answer to /upload."""
    if answer.status == 200 and answer.code == "2202" and isinstance(answer.found.get("upload_url"), str):
        kind = type(answer.found.get("code")).__name__
        return Finding("upload prepared", OK, f"2202 as {kind}, with {', '.join(sorted(answer.found))}")
    cure = "see `smile-async explain` for the code; ask Smile ID whether SmartSelfie is enabled for this account"
    return Finding("upload prepared", FAILURE, f"refused: {answer.said}", cure)


def of_slot(url: str, flaw: str, pinned: Sequence[str], now: float) -> list[Finding]:
    """The presigned *url*; *flaw*: why no picture goes there; *pinned*: the hosts that the settings allow."""
    about = presigned(url)
    pin = f"export SMILE_UPLOAD_HOSTS={about.host}"
    if flaw:
        cure = f"only if Smile ID confirms that this host is its own: {pin}" if about.host else "ask Smile ID"
        return [Finding("upload host", FAILURE, flaw, cure)]
    done = list(pinned) == [about.host]
    host = Finding("upload host", EXPECTED, about.host, "" if done else f"pin it: {pin}")
    version2 = "version 2" in about.scheme
    signed = _point("upload URL's signature", version2, about.scheme or "in no way of AWS's that is known")
    if about.expires_at is None:
        life = Finding("upload URL's lifetime", UNKNOWN, "the URL does not tell", "run with --thorough")
    else:
        left = about.expires_at - now
        life = _point("upload URL's lifetime", left >= SHORTEST_LIFE, f"{left:.0f} s by the server's clock")
    return [host, signed, life]


def of_waiting(answer: Answer) -> Finding:
    """Status between /upload and the zip: 2314 (wire.md §6)."""
    return _point("status before the zip", (answer.status, answer.code) == (200, "2314"), answer.said)


def of_put(status: int) -> Finding:
    """The answer to the zip."""
    if status in {200, 201, 204}:
        return Finding("zip put", OK, f"HTTP {status}")
    cure = "see whether a proxy on the way changes headers: the URL is signed for Content-Type: application/zip"
    return Finding("zip put", FAILURE, f"refused: HTTP {status}", cure)


def of_repeated(status: int) -> Finding:
    """The answer to the same zip at the same URL."""
    return _point("zip put again", status == 200, f"HTTP {status}")


def of_duplicate(answer: Answer) -> Finding:
    """The answer to /upload with a job_id that was used (wire.md §4)."""
    return _point("job_id used again", (answer.status, answer.code) == (400, "2215"), answer.said)


def of_signed(answer: Answer, signer: Signer) -> Finding:
    """Whether a status reply is signed with our key."""
    flaw = answer.signature_flaw(signer)
    if not flaw:
        return Finding("signed status", OK, "with this key")
    cure = "no verdict of it is believed: see what answers at the base URL, and whether this is the present key"
    return Finding("signed status", FAILURE, f"the status reply {flaw}", cure)


def of_result(wanted: str, verdict: Verdict, seconds: float) -> list[Finding]:
    """The first verdict of a job with the sandbox_result *wanted*, "" for none, after *seconds*."""
    about = verdict.ticket.product.spec.title if verdict.ticket.product else f"job type {verdict.ticket.job_type}"
    text = f"{verdict.decision}, code {verdict.code}, after {seconds:.1f} s"
    name = f"{about} with {wanted}" if wanted else f"{about}"
    if not wanted:
        return [Finding(f"verdict: {name}", OK, text)]
    expected = verdict.decision is RESULTS[wanted]
    done = [f"{action}={said}" for action, said in sorted(verdict.actions.items()) if said != "Not Applicable"]
    return [
        _point(f"sandbox_result: {name}", expected, text),
        _point(f"actions: {name}", bool(verdict.actions), f"{verdict.code}: {', '.join(done) or 'none'}"),
    ]


def of_photo(verdict: Verdict) -> Finding:
    """What an update of the photo came to: no source has codes of its type."""
    known = verdict.decision is not Decision.UNKNOWN
    return _point("job type 8", known, f"code {verdict.code}, which is {verdict.decision} to this library")


def of_no_photo(error: Refused) -> Finding:
    """Such an update was not taken."""
    return _point("job type 8", False, f"refused: HTTP {error.status} {error.code} {error.message}".rstrip())


def of_provisional(answer: Answer) -> Finding:
    """The status of a job whose result is provisional (wire.md §6)."""
    said = {name: answer.found.get(name) for name in ("job_complete", "job_success")}
    text = ", ".join(f"{name} {value}" for name, value in said.items())
    return _point("job_complete", said["job_complete"] in (False, "false"), f"of a provisional result: {text}")


def of_review(seconds: float, verdict: Verdict | None) -> Finding:
    """The last word that came *seconds* after a provisional one, None if none did."""
    if verdict is None:
        how = f"ask later: smile-async wait, for a job whose result was provisional; none came within {seconds:.0f} s"
        return Finding("human review", UNKNOWN, "whether, and when, the sandbox plays one", how)
    return Finding("human review", EXPECTED, f"{verdict.decision}, code {verdict.code}, after {seconds:.1f} s")


def of_history(answer: Answer, user_id: str) -> Finding:
    """The history that came with a status: results of this user's."""
    past = answer.found.get("history")
    items = [item for item in past if isinstance(item, Mapping)] if isinstance(past, list) else []
    ours = [item for item in items if _params(item).get("user_id") == user_id]
    jobs = {str(_params(item).get("job_id")) for item in items}
    codes = ", ".join(str(item.get("ResultCode")) for item in items)
    text = f"{len(items)} results of {len(jobs)} jobs: {codes or 'none'}"
    return _point("history", bool(items) and len(ours) == len(items), text)


def of_links(answer: Answer, now: float) -> Finding:
    """The links that came with a status, by name; their hosts, and how long they are good."""
    links = answer.found.get("image_links")
    told = links if isinstance(links, Mapping) else {}
    seen = {name: presigned(url) for name, url in told.items() if isinstance(url, str) and "://" in url}
    words = [
        f"{name} at {about.host}, good for {'?' if about.expires_at is None else f'{about.expires_at - now:.0f}'} s"
        for name, about in sorted(seen.items())
    ]
    return _point("image links", "selfie_image" in seen, "; ".join(words) or "none")


def of_lookup(product: Product, first: Answer, signer: Signer) -> list[Finding]:
    """The answer to the one request of *product* about a documented test number that is found."""
    code = first.found.get("ResultCode")
    if first.status != 200 or code is None:
        how = "ask Smile ID whether the product is enabled, and which test data it takes"
        return [
            Finding(f"{point}: {product}", UNKNOWN, f"refused: {first.said}", how)
            for point in ("signed replies", "test numbers")
        ]
    flaw = first.signature_flaw(signer)
    text = f"the reply {flaw}" if flaw else "signed with this key"
    signed = _point(f"signed replies: {product}", not flaw, text)
    if flaw and first.found.get("signature"):
        signed = Finding(signed.name, FAILURE, text, "no verdict of it is believed: see what answers at the base URL")
    right = classify(str(code), product) is Decision.APPROVED
    return [signed, _point(f"test numbers: {product}", right, f"code {code}, HTTP {first.status}")]


def of_record(product: Product, found: Answer, seconds: float) -> list[Finding]:
    """The status of a lookup that was just answered, asked for *seconds*."""
    there = isinstance(found.found.get("result"), Mapping)
    by_status = _point(f"lookups by status: {product}", there, "found" if there else found.said)
    if not there:
        return [by_status]
    return [by_status, _point(f"lookups on record: {product}", seconds < 1.0, f"within {seconds:.1f} s")]


def of_second_lookup(product: Product, again: Answer) -> list[Finding]:
    """The answer to a second request under one job_id."""
    name = f"lookups' job_id: {product}"
    if again.found.get("ResultCode") is not None:
        return [_point(name, False, f"a second result, {again.found['ResultCode']}: it is perhaps a second bill")]
    return [
        _point(name, again.code == "2215", f"refused: {again.said}"),
        _point(f"refusals of lookups: {product}", again.status == 400, f"HTTP {again.status} with {again.code}"),
    ]


def of_token(answer: Answer, claims: Mapping[str, Any]) -> list[Finding]:
    """The answer to a request for a web token without a callback URL; *claims* of the token, if it has any."""
    if not isinstance(answer.found.get("token"), str):
        return [_point("web token's callback", False, f"refused without one: {answer.said}")]
    callback = _point("web token's callback", True, "none is needed")
    begun, ends = claims.get("iat"), claims.get("exp")
    if not (isinstance(begun, int | float) and isinstance(ends, int | float)):
        how = "keep one, and open the widget with it later and later"
        return [callback, Finding("web token's lifetime", UNKNOWN, "the token does not tell", how)]
    return [callback, _point("web token's lifetime", ends - begun >= 60, f"{ends - begun:.0f} s")]


def of_window(accepted: Mapping[int, Sequence[int]], refused: Mapping[int, int]) -> Finding:
    """By direction (-1: too old, 1: too new) the offsets that were *accepted*, and the first that was *refused*."""
    words = []
    for direction, past in ((-1, "old"), (1, "ahead")):
        most = max(accepted.get(direction, ()), default=0)
        end = f"refused at {refused[direction]} s" if direction in refused else "and no end was met"
        words.append(f"{past}: accepted at {most} s, {end}")
    known = all(max(accepted.get(each, ()), default=0) <= ASSUMED_WINDOW < refused.get(each, 0) for each in (-1, 1))
    return _point("timestamp window", known, "; ".join(words))


def of_expired(status: int, renewed: Answer, put: int) -> Finding:
    """A PUT to a URL that has ended, then /upload with retry, and the PUT to what that gave."""
    as_known = status == 403 and renewed.code == "2202" and put == 200
    text = f"a zip put after its end: HTTP {status}; a fresh URL: {renewed.said}; the zip put there: HTTP {put}"
    return _point("expired upload URL", as_known, text)


def of_short_info(verdict: Verdict | None) -> Finding:
    """What came, None for nothing, of a zip whose info.json held pictures and id_info alone, as mobile SDKs send it."""
    if verdict is None:
        return _point("info.json", False, "a short one came to nothing")
    return _point("info.json", verdict.decision is Decision.APPROVED, f"a short one came to {verdict.code}")


def of_refused(code: str, answer: Answer) -> Finding:
    """A request that should be refused with *code*."""
    as_known = answer.code == code and answer.status == 400
    return _point(f"HTTP status of {code}", as_known, answer.said)


def _params(item: Mapping[str, Any]) -> Mapping[str, Any]:
    params = item.get("PartnerParams")
    return params if isinstance(params, Mapping) else {}
