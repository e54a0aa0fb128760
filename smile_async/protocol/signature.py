"""Sign a request, check a reply: HMAC-SHA256 over timestamp, partner id and a fixed word, nothing else.

The signature covers neither the body nor the direction (wire.md §2.1): it proves that somebody holds the key, not
that what stands beside it is true. Everything that believes a reply has to remember this.
"""

import base64
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn

from smile_async.errors import BadConfiguration

__all__ = ["Secret", "SignedStamp", "Signer", "Stamps", "format_timestamp", "parse_timestamp", "secrets_of"]


class Secret:
    """A text that shows itself to nobody by accident: `reveal()` is the only way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: "str | Secret") -> None:
        self._text: str = text.reveal() if isinstance(text, Secret) else text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret('********')"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret can not be pickled or copied into another process: read it from the environment")


def secrets_of(keys: object) -> list[Secret]:
    """Several *keys*; raises BadConfiguration for one text, whose letters would each be a key that anybody guesses."""
    if isinstance(keys, list | tuple) and all(isinstance(key, str | Secret) for key in keys):
        return [Secret(key) for key in keys]
    del keys
    raise BadConfiguration("previous_api_keys is no list of texts: give [key]")


@dataclass(frozen=True, slots=True)
class SignedStamp:
    """A timestamp and the signature made for it: they only ever travel together."""

    timestamp: str
    signature: str = field(repr=False)


#: What shells, .env files and word processors put around a text.
_QUOTES = frozenset("'\"`\u2018\u2019\u201c\u201d\u00ab\u00bb")


class Signer:
    """Signs as one partner, and checks what claims to come from Smile ID.

    *previous* keys are only used for checking, so that a key can be rotated without losing replies under way.
    """

    __slots__ = ("_begun", "keys", "partner_id")

    def __init__(self, partner_id: str, api_key: Secret, previous: Sequence[Secret] = ()) -> None:
        why = _copying_flaw(partner_id)
        if why:
            raise BadConfiguration(f"partner_id {why}: give it as the portal shows it, e.g. '085'")
        for key in (api_key, *previous):
            why = _copying_flaw(key.reveal())
            if why:
                raise BadConfiguration(f"api_key {why}: copy it from the portal of this environment, and nothing else")
        self.partner_id = partner_id
        #: The present key first.
        self.keys = tuple(Secret(key) for key in (api_key, *previous))
        # Begun once and copied: half the cost, and unlike hmac.digest it does not hand the GIL to another thread.
        self._begun = tuple(hmac.new(key.reveal().encode(), digestmod="sha256") for key in self.keys)

    def sign(self, timestamp: str) -> str:
        """The base64 signature that goes with *timestamp*, for a request of this partner (wire.md §2.1)."""
        return self._made_by(self._begun[0], timestamp)

    def confirms(self, timestamp: str, signature: str) -> bool:
        """Whether one of the keys made *signature* for exactly this *timestamp* text; takes constant time."""
        given = signature.encode("utf-8", "surrogatepass")
        # A list, not a generator: every key is tried, so the time does not tell which one fits.
        return any([hmac.compare_digest(self._made_by(key, timestamp).encode(), given) for key in self._begun])  # noqa: C419

    def seal(self, text: bytes) -> bytes:
        """HMAC-SHA-256 of *text* by the present key, b"" for nothing: without the key nobody can try texts."""
        return self.seals(text)[0]

    def seals(self, text: bytes) -> tuple[bytes, ...]:
        """The same by each key, the present one's first: what was sealed before a rotation is known again."""
        return tuple(hmac.digest(key.reveal().encode(), text, "sha256") if text else b"" for key in self.keys)

    def _made_by(self, begun: hmac.HMAC, timestamp: str) -> str:
        made = begun.copy()
        made.update(f"{timestamp}{self.partner_id}sid_request".encode("utf-8", "surrogatepass"))
        return base64.b64encode(made.digest()).decode()


def _copying_flaw(text: object) -> str:
    """What came along when *text* was copied, "" if nothing did; it never shows the text: it may be a key."""
    if not isinstance(text, str):
        return "is not text"
    if not text.strip():
        return "is empty"
    if any(c.isspace() for c in text):
        return "has a blank or a line break"
    # A byte order mark, or half a surrogate (a variable that is not UTF-8): encoding that fails shows the whole text.
    if not text.isprintable():
        return "has an invisible character"
    return "has quotes around it" if text[0] in _QUOTES or text[-1] in _QUOTES else ""


def format_timestamp(now: float) -> str:
    """*now* (seconds since 1970 UTC) as the official Python SDK writes it: microseconds and `+00:00`.

    Raises BadConfiguration for a moment outside of the years 1 to 9999.
    """
    try:
        return datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError, OSError):
        raise BadConfiguration(f"{now:.6g} s since 1970 is no date to sign for: set this machine's clock") from None


def parse_timestamp(text: str) -> float | None:
    """Seconds since 1970 UTC of an ISO 8601 *text* with a zone; None if it can not be dated for certain."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


#: Timestamps in each of two generations: the newest 50,000 are always known, and 12 MB is the most they take.
GENERATION = 50_000


class Stamps:
    """The timestamps signed in the last five to ten minutes: by then they are stale to everybody.

    Of very many the newest.
    """

    __slots__ = ("_clock", "_older", "_recent", "_since")

    def __init__(self, now: Callable[[], float]) -> None:
        self._clock = now
        self._recent: set[str] = set()
        self._older: set[str] = set()
        self._since = now()

    def add(self, timestamp: str) -> None:
        """Remember *timestamp*."""
        now = self._clock()
        if now - self._since > 300.0 or len(self._recent) >= GENERATION:
            self._older, self._recent, self._since = self._recent, set(), now
        self._recent.add(timestamp)

    def __contains__(self, timestamp: object) -> bool:
        return timestamp in self._recent or timestamp in self._older
