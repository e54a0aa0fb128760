"""What is seen of the V3 API becomes findings, and what is not published about it. No I/O, nothing remembered."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from smile_async.doctor.answers import Answer
from smile_async.doctor.findings import Finding, State
from smile_async.doctor.points import Point
from smile_async.errors import Refused

__all__ = [
    "V3_POINTS",
    "of_enrolled_again",
    "of_forced",
    "of_frames",
    "of_fresh",
    "of_lists_v3",
    "of_no_lookup",
    "of_nobody_v3",
    "of_reuse",
    "of_submitted",
    "of_token_v3",
    "of_word",
]

_KEY = (
    "give the API key of the portal (the auth_token of a mobile smile_config is refused here) and the partner id of the"
    " same environment; zeros in front of it are left out for V3"
)
_REPORT = "the library bears it; report it with this finding"
#: Seconds that a token of the API lives, by the docs of 2026-07.
LIFETIME = 900
_RECEIVER = "mount a CallbackReceiver where Smile ID can reach it"
_SUPPORT = "ask Smile ID: nothing a client may do tells it"

_SELFIE = "run with --selfie PICTURE"


def _point(name: str, section: str, quote: str, question: str, how: str) -> Point:
    return Point(name, section, quote, question, how, "v3/wire.md")


V3_POINTS = (
    _point("V3 limit of requests", "§1", "rate limits, and whether", "how many requests a second are taken", _SUPPORT),
    _point("V3 token reuse", "§2", "whether a token may be used twice", "whether one serves several jobs", _SELFIE),
    _point("V3 frames", "§3", "counts the frames", "whether fewer than six frames are taken", f"{_SELFIE} --thorough"),
    _point("V3 enrolment", "§4", "whether an enrolled user's", "how an enrolled user's registration fails", _SELFIE),
    _point("V3 fresh job", "§5", "whether a fresh job is 404", "whether a job is found at once", _SELFIE),
    _point("V3 retention", "§5", "retention of jobs", "how long a job is kept", "ask for its status a month later"),
    _point("V3 idempotency", "§6", "whether other endpoints honour", "where else a key is honoured", _SUPPORT),
    _point("V3 webhook signature", "§8", "signed with its zeros", "which form of the partner id signs", _RECEIVER),
    _point("V3 webhook retries", "§8", "spacing of the attempts", "after how long one is sent again", _RECEIVER),
    _point("V3 sandbox_result", "§3", "", "whether it or the test identity decides", _SELFIE),
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


def _found(name: str, as_expected: bool, text: str) -> Finding:
    return Finding(name, State.EXPECTED if as_expected else State.DIFFERENT, text, "" if as_expected else _REPORT)


def of_submitted(answer: Answer) -> Finding:
    """The answer to the first submission; with a cure only if it failed."""
    if answer.status == 202 and isinstance(answer.found.get("job_id"), str):
        return Finding("submission", State.OK, f"HTTP 202 {answer.found.get('status')}")
    cure = "a sandbox takes its test identities alone; production needs the provider's approval of the account first"
    return Finding("submission", State.FAILURE, f"refused: {answer.said}", cure)


def of_fresh(answer: Answer) -> Finding:
    """The status of a job that was accepted this very moment."""
    return _found("V3 fresh job", answer.status in {200, 202}, f"HTTP {answer.status} {answer.found.get('status', '')}")


def of_word(name: str, word: str, seconds: float) -> Finding:
    """What a job of the identity that is `clear` came to, after *seconds*."""
    return _found(f"V3 identity: {name}", word == "clear", f"{word}, after {seconds:.1f} s")


def of_no_lookup(name: str, error: Refused) -> Finding:
    """A product that does not take the identity, or that this account may not use."""
    how = "ask Smile ID whether the product is enabled, and which test data it takes"
    return Finding(f"V3 identity: {name}", State.UNKNOWN, f"refused: HTTP {error.status} {error.message}".rstrip(), how)


def of_reuse(answer: Answer) -> Finding:
    """The answer to a second submission with one token."""
    return _found("V3 token reuse", answer.status == 202, f"a second job with one token: {answer.said}")


def of_forced(word: str) -> Finding:
    """What a job came to whose identity is `clear`, and whose sandbox_result says rejected."""
    winner = {"block": "sandbox_result decides", "clear": "the identity decides"}.get(word, "neither decides")
    return _found("V3 sandbox_result", word == "block", f"{winner}: {word}")


def of_enrolled_again(answer: Answer, word: str) -> Finding:
    """The answer to the registration of an enrolled user, and the *word* that it came to if it was taken."""
    text = f"taken, and came to {word}" if word else f"refused at once: {answer.said}"
    return _found("V3 enrolment", not word and answer.status == 400, text)


def of_frames(answer: Answer) -> Finding:
    """The answer to a submission with one frame instead of six."""
    counted = 400 <= answer.status < 500
    return _found("V3 frames", counted, f"one is {'refused' if counted else 'taken'}: {answer.said}")
