"""The weather of one run: which troubles there are, how often each strikes, and when some of them reign.

All of it is drawn from the seed. Until `calm_at` the kinds that were drawn strike; then all is well, and whoever still
asks must get an answer. Some runs have one kind alone, so that what it does can not hide behind another.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["KINDS", "V3_KINDS", "Weather"]

Chosen = TypeVar("Chosen")

#: Legs to the API; "request" is that of the products of one request.
_ALL = ("upload", "request", "job_status")
#: What a request to the API may meet, by leg.
REQUESTS: dict[str, Sequence[str]] = {
    "lost": (*_ALL, "put"),
    "its reply is lost": _ALL,
    "after the upload it is lost": ("put",),
    "silence": (*_ALL, "put"),
    "headers, then silence": _ALL,
    "a reply in drops": _ALL,
    "slow": (*_ALL, "put"),
    "500": _ALL,
    "500 after all": _ALL,
    "400": _ALL,
    "429": _ALL,
    "2222": ("upload", "request"),
    "2304": ("job_status",),
    "an empty reply": _ALL,
    "a reply of another": ("request", "job_status"),
    "an unsigned reply": ("request",),
    "goaway": _ALL,
    "a stream reset": _ALL,
    "fewer streams": _ALL,
    "nonsense frames": _ALL,
    "storage words": ("put",),
    "502 after all": ("put",),
}
#: What a connection may be.
CONNECTIONS = (
    "a window of zero",
    "connections die",
    "a slow line",
    "idle connections are closed",
    "idle connections die",
)
#: What reigns for a while, and what a request then meets, by leg ("": it is no reply).
REIGNS: dict[str, tuple[Sequence[str], str]] = {
    "the api is down": (_ALL, "502"),
    "the storage is down": (("put",), "502"),
    "the authorities are away": (("request",), "504"),
    "only the status is down": (("job_status",), "503"),
    "no job is known": (("job_status",), "2304"),
    "the gateway times out": (_ALL, "504"),
    "the api is refused": ((), ""),
    "the api is silent": ((), ""),
    "the storage is refused": ((), ""),
    "no name resolves": ((), ""),
    "the pictures are away": ((), ""),
    "the pictures hang": ((), ""),
    "the database is locked": ((), ""),
    "the disk is full": ((), ""),
    "the disk is slow": ((), ""),
    "no log line can be written": ((), ""),
    "the clock fails": ((), ""),
}
#: What the world and its applications do.
EVENTS = (
    "killed",
    "killed at a moment of the ledger",
    "restarted",
    "the clock is set",
    "the server's date is off",
    "callers are cancelled",
    "double clicks",
    "the same job from two places",
    "an impostor",
    "a job_id is used again",
    "callbacks are lost",
    "callbacks are late",
    "callbacks come twice",
    "callbacks are forged",
    "handlers die",
    "sources die",
)
KINDS = (*REQUESTS, *CONNECTIONS, *REIGNS, *EVENTS)
#: What V3 has no place for, and what it has besides: legs go by the names that v1 has for them.
_V1_ONLY = (
    *("after the upload it is lost", "storage words", "502 after all", "the storage is down", "the storage is refused"),
    "a job_id is used again",
)
_V3_REQUESTS: dict[str, Sequence[str]] = {"a token is refused": ("request", "job_status")}
_V3_EVENTS = ("tokens expire", "tokens are short-lived", "webhooks in any order", "callbacks go astray")
V3_KINDS = (*(kind for kind in KINDS if kind not in _V1_ONLY), *_V3_REQUESTS, *_V3_EVENTS)
_LEGS = {**REQUESTS, **_V3_REQUESTS}

#: How often a kind strikes.
SELDOM, OFTEN = (0.03, 0.1, 0.3, 0.6), (0.2, 0.5, 0.8)


@dataclass(frozen=True)
class Reign:
    """From when until when a kind reigns."""

    begins: float
    ends: float


class Weather:
    """What *seed* makes of *kinds* (None: drawn from *among*); *now* tells the time, *tell* writes it down."""

    def __init__(
        self,
        seed: object,
        now: Callable[[], float],
        tell: Callable[[str], None],
        kinds: Any = None,
        among: Sequence[str] = KINDS,
    ) -> None:
        self._luck = random.Random(f"{seed}: weather")
        self._now = now
        self.tell = tell
        luck = self._luck
        number = luck.choice((0, 1, 1, 2, 3, 4, 6, 8, 12, 16))
        drawn = luck.sample(among, number)
        self.kinds = tuple(kind for kind in among if kind in (drawn if kinds is None else kinds))
        self.calm_at = luck.choice((60.0, 150.0, 400.0))
        # Requests are many, the occasions of an application are few.
        self._odds = {kind: luck.choice(OFTEN if kind in (*EVENTS, *_V3_EVENTS) else SELDOM) for kind in self.kinds}
        #: A kind of which there may be many is not to be all there is.
        self._left = {kind: luck.randint(1, 40) for kind in self.kinds}
        self._reigns = {kind: self._drawn_reigns() for kind in self.kinds if kind in REIGNS}
        #: When anything struck last, and what.
        self.struck_at = float("-inf")

    def _drawn_reigns(self) -> list[Reign]:
        luck = self._luck
        found = []
        for _ in range(luck.randint(1, 3)):
            begins = luck.uniform(0.0, self.calm_at * 0.9) * luck.random()
            found.append(Reign(begins, min(self.calm_at, begins + luck.choice((0.5, 3.0, 12.0, 40.0, 150.0)))))
        return found

    @property
    def bad(self) -> bool:
        """Whether anything may strike."""
        return self._now() < self.calm_at

    def has(self, kind: str) -> bool:
        """Whether there is such a thing in this run."""
        return kind in self.kinds

    def struck(self) -> None:
        """Something that explains a failure has happened."""
        self.struck_at = self._now()

    def strikes(self, kind: str) -> bool:
        """Whether *kind* strikes this time."""
        if kind not in self._odds or not self.bad or self._left[kind] <= 0 or self._luck.random() > self._odds[kind]:
            return False
        self._left[kind] -= 1
        if not kind.startswith("idle connections"):
            self.struck()
        return True

    def reigns(self, kind: str) -> bool:
        """Whether *kind* reigns now."""
        now = self._now()
        if any(reign.begins <= now < reign.ends for reign in self._reigns.get(kind, ())):
            self.struck()
            return True
        return False

    def deed(self, leg: str, job_id: str) -> str:
        """What a request on *leg* meets, "" for nothing."""
        for kind, (legs, deed) in REIGNS.items():
            if leg in legs and self.reigns(kind):
                return deed
        for kind in self.kinds:
            if leg in _LEGS.get(kind, ()) and self.strikes(kind):
                return kind
        return ""

    # Draws for whoever plays a part.

    def uniform(self, low: float, high: float) -> float:
        """A number between the two."""
        return self._luck.uniform(low, high)

    def chance(self, odds: float) -> bool:
        """True, so often."""
        return self._luck.random() < odds

    def choice(self, among: Sequence[Chosen]) -> Chosen:
        """One of them."""
        return self._luck.choice(among)

    def integer(self, low: int, high: int) -> int:
        """A whole number between the two, both included."""
        return self._luck.randint(low, high)
