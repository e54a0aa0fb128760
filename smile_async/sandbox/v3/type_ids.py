"""Names as V3 makes them: TypeIDs, a prefix and a ULID in Crockford's base32 (github.com/jetify-com/typeid)."""

import hashlib
import re
import secrets

__all__ = ["JOB_ID", "derived", "fresh"]

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
#: The pattern of /v3/status (OpenAPI 3.952.0).
JOB_ID = re.compile(r"job_[0-9a-hjkmnp-tv-z]{26}")


def fresh(prefix: str, now: float) -> str:
    """A new name, made at *now* (epoch seconds)."""
    return _written(prefix, int(now * 1000), secrets.randbits(80))


def derived(prefix: str, now: float, key: str) -> str:
    """The name that goes with an idempotency *key* first seen at *now*: who asks again is told the same one."""
    return _written(prefix, int(now * 1000), int.from_bytes(hashlib.sha256(key.encode()).digest()[:10]))


def _written(prefix: str, milliseconds: int, luck: int) -> str:
    number = (milliseconds % 2**48) << 80 | luck
    return f"{prefix}_" + "".join(_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))
