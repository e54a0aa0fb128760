"""What the reference of the v1 wire marks unknown: each point with what it takes to know it.

*quote* is a piece of the very line that says **unknown**; a test holds the two together, so that nobody adds an unknown
to the reference which the doctor does not list, or answers one here that it still has open.
"""

from dataclasses import dataclass

__all__ = ["V1_POINTS", "Point"]

_SELFIE, _THOROUGH = "run with --selfie PICTURE", "run with --selfie PICTURE --thorough"
_SUPPORT = "ask Smile ID: nothing a client may do tells it"


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that nobody has published; findings about it bear its *name*, with more after a colon or not."""

    name: str
    section: str
    quote: str
    question: str
    how: str
    reference: str = "wire.md"


def _status_of(code: str, quote: str, how: str, section: str = "§9") -> Point:
    return Point(f"HTTP status of {code}", section, quote, f"with which HTTP status {code} comes", how)


V1_POINTS = (
    Point("timestamp window", "§2.2", "how far a timestamp may lie", "how far it may be off", "run with --thorough"),
    Point("job type 9", "§3", "update photo, compare user info", "how a job of type 9 is sent", _SUPPORT),
    Point("upload host", "§4", "Its host today", "where pictures are put", _SELFIE),
    Point("upload URL's signature", "§4", "Its host today", "how upload URLs are signed", _SELFIE),
    Point("upload URL's lifetime", "§5.4", "how long a URL lives", "how long an upload URL is good", _SELFIE),
    Point("info.json", "§5.2", "Which of the rest is read", "whether info.json may be short", _THOROUGH),
    Point("job_complete", "§6", "Whether `job_complete`", "whether a provisional result is complete", _SELFIE),
    Point(
        "callbacks",
        "§7",
        "the sandbox's addresses; retries",
        "from where callbacks come, and how often",
        "mount a CallbackReceiver where Smile ID can reach it, and answer the first callback with 500",
    ),
    Point("human review", "§8", "how long human review may take", "how long a review takes", _SELFIE),
    _status_of("2304", "job not found", "let the key be accepted"),
    _status_of("2201, 2301, 2401", "internal error", "wait until one happens: the library bears any status"),
    _status_of("2203", "malformed JSON", "run with --thorough"),
    _status_of("2207, 2208", "disabled, deleted", "ask Smile ID to disable a user of your sandbox"),
    _status_of("2209", "already enrolled under", _THOROUGH),
    _status_of("2210", "not enrolled; must enrol again", _THOROUGH),
    _status_of("2212", "invalid job type", "send a job of type 99 by hand"),
    _status_of("2220", "production is not enabled", "run against production before it is enabled"),
    Point("codes without a text", "§9", "2214, 2221, 2414, 2415", "what 2214, 2221, 2414 and 2415 mean", _SUPPORT),
    Point("limit of requests", "§9", "A general limit", "how many requests a second are taken", _SUPPORT),
    Point("actions", "§10", "which values go with which code", "which actions go with which code", _SELFIE),
    Point("finality of codes", "§10", "whether a code is final", "which codes are a last word", _SUPPORT),
    Point("sandbox_result", "§11", "which codes these give", "what sandbox_result comes to, and when", _SELFIE),
    Point("test numbers", "§11", "what decides for basic KYC", "what the sandbox's id numbers come to", _SELFIE),
    Point("sizes", "§12", "the largest zip", "how large and how small pictures may be", _SUPPORT),
    Point("Uganda's card number", "§13.1", "Uganda", "under which key basic KYC takes it", _SUPPORT),
    Point("signed replies", "§13.2", "whether each product signs", "which products sign their reply", _SELFIE),
    Point("refusals of lookups", "§13.2", "the HTTP status of other refusals", "with which HTTP status", _SELFIE),
    Point("lookups by status", "§13.3", "whether `/job_status` serves", "which lookups /job_status finds", _SELFIE),
    Point("lookups' job_id", "§13.3", "good for one job", "whether lookups refuse a job_id again", _SELFIE),
    Point("lookups on record", "§13.3", "how soon a result is on record", "how soon a lookup is on record", _SELFIE),
    Point("job type 8", "§13.4", "the upload of job type 8", "what an update of the photo comes to", _SELFIE),
    Point(
        "provisional codes of documents",
        "§13.4",
        "provisional codes of 6 and 11",
        "which codes of documents are provisional",
        "send a document whose picture is poor, and read the code of its first verdict",
    ),
    Point("web token's lifetime", "§13.6", "How long a token lasts", "how long a web token lasts", _SELFIE),
    Point("web token's callback", "§13.6", "whether the service does", "whether a web token needs a URL", _SELFIE),
    Point("lists", "§13.7", "which generations are served", "which lists are served, and for how long", "run it"),
)
