"""What is seen of the V3 API becomes findings, and what is not published about it. No I/O, nothing remembered."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from smile_async.doctor.answers import Answer
from smile_async.doctor.findings import Finding, State
from smile_async.doctor.points import Point

__all__ = ["V3_POINTS", "of_lists_v3", "of_nobody_v3", "of_token_v3"]

_KEY = (
    "give the API key of the portal (the auth_token of a mobile smile_config is refused here) and the partner id of the"
    " same environment; zeros in front of it are left out for V3"
)
_REPORT = "the library bears it; report it with this finding"
#: Seconds that a token of the API lives, by the docs of 2026-07.
LIFETIME = 900
_RECEIVER = "mount a CallbackReceiver where Smile ID can reach it"
_SUPPORT = "ask Smile ID: nothing a client may do tells it"

#: §17 of what is known of V3, and what its sections leave open.
V3_POINTS = (
    Point("idempotency", "V3", "", "whether submissions other than aml/sync honour an idempotency key", _SUPPORT),
    Point("V3 enrolment", "V3", "", "whether an enrolled user is refused at once", "run with --selfie"),
    Point("V3 webhook body", "V3", "", "what a SmartSelfie webhook holds, product names among it", _RECEIVER),
    Point("V3 webhook retries", "V3", "", "after how long a webhook is sent again", _RECEIVER),
    Point("V3 fresh job", "V3", "", "whether a job that was just accepted is ever not found", "run with --selfie"),
    Point("V3 token reuse", "V3", "", "whether a token is good for several submissions", "run with --selfie"),
    Point("V3 webhook signature", "V3", "", "which form of the partner id signs webhooks", _RECEIVER),
    Point("V3 limit of requests", "V3", "", "how many requests a second are taken", _SUPPORT),
    Point("V3 retention", "V3", "", "how long a job is kept", "ask for a job's status a month later"),
    Point("V3 sandbox_result", "V3", "", "whether sandbox_result or the identity decides", "run with --selfie"),
    Point("V3 body signing", "V3", "", "how accounts with HMAC signing sign a body", _SUPPORT),
    Point("V3 sizes", "V3", "", "how large a picture may be", _SUPPORT),
)


def of_token_v3(answer: Answer, claims: Mapping[str, Any], host: str) -> list[Finding]:
    """The answer to POST /v3/token at *host*; *claims* of the token, unchecked."""
    if answer.status != 200 or not isinstance(answer.found.get("token"), str):
        return [Finding("key", State.FAILURE, f"no token: {answer.said}", _KEY)]
    found = [Finding("key", State.OK, "accepted: a token was made")]
    begun, ends = claims.get("iat"), claims.get("exp")
    if isinstance(begun, int | float) and isinstance(ends, int | float):
        lasts = ends - begun
        state = State.EXPECTED if lasts == LIFETIME else State.DIFFERENT
        found.append(Finding("token's lifetime", state, f"{lasts:.0f} s", "" if lasts == LIFETIME else _REPORT))
    else:
        found.append(Finding("token's lifetime", State.DIFFERENT, "the token does not tell", _REPORT))
    named = urlsplit(str(claims.get("api_url", ""))).hostname or ""
    if named and named != host:
        cure = "the key is of another environment than the base URL: give both from the same page of the portal"
        found.append(Finding("token's environment", State.FAILURE, f"the token is for {named}, not for {host}", cure))
    return found


def of_nobody_v3(answer: Answer) -> Finding:
    """The status of a job that can not exist, asked for with a fresh token."""
    word = str(answer.found.get("status", ""))
    if answer.status in {401, 403}:
        return Finding("token", State.FAILURE, f"not accepted: {answer.said}", _KEY)
    as_known = answer.status == 404 and word == "not_found"
    state = State.EXPECTED if as_known else State.DIFFERENT
    return Finding("status of nobody", state, f"HTTP {answer.status} {word}".rstrip(), "" if as_known else _REPORT)


def of_lists_v3(lists: Mapping[str, tuple[str, Answer]]) -> Finding:
    """The account's lists, by path: the name of what each holds, and the answer."""
    counts, missing = [], []
    for path, (name, answer) in lists.items():
        items = answer.found.get(name)
        if answer.status == 200 and isinstance(items, list | dict) and items:
            counts.append(f"{len(items)} {name}")
        else:
            missing.append(f"{path}: {answer.said}")
    if missing:
        return Finding("catalogue", State.WARNING, f"not served: {'; '.join(missing)}", "ask Smile ID")
    return Finding("catalogue", State.OK, ", ".join(counts))
