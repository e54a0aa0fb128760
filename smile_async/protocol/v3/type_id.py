"""The server's name of a job, which tells when the job was made: `job_` and a ULID (v3/wire.md §1)."""

import re

__all__ = ["FITTING", "is_type_id", "made_at"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {ord(letter): value for value, letter in enumerate(_ALPHABET)}
_TYPE_ID = re.compile(rf"job_[0-7][{_ALPHABET}]{{25}}")
#: What may stand in a path and in a log, should the provider name a job in another way.
FITTING = re.compile(r"[0-9A-Za-z_-]{1,100}")
#: Characters that hold a ULID's time, milliseconds since 1970, five bits each (github.com/ulid/spec).
_TIME = 10


def is_type_id(text: object) -> bool:
    """Whether *text* is a job's name as V3 makes it."""
    return isinstance(text, str) and _TYPE_ID.fullmatch(text) is not None


def made_at(type_id: object) -> float | None:
    """Seconds since 1970 at which the server made the job *type_id*; None if that does not tell."""
    if not isinstance(type_id, str) or not is_type_id(type_id):
        return None
    made = 0
    for letter in type_id.removeprefix("job_")[:_TIME]:
        made = made * 32 + _VALUES[ord(letter)]
    return made / 1_000
