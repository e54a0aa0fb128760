"""What a report counts: one pass over the rows of a batch, in memory that hardly grows with them."""

import heapq
import math
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smile_async.jobs.codes import Decision
from smile_async.jobs.product import Product
from smile_async.ledger.schema import State
from smile_async.report.words import about, failure

__all__ = ["ORDER", "Figures", "end_of", "human_seconds"]

#: Rows that the table of the page holds: more would make a browser slow.
TABLE_ROWS = 2_000
SLOWEST = 10
#: Seconds; the finest that decisions over time are counted.
MOMENT = 10
#: Bars of a distribution of times, each 10^(1/8) times as wide as the one before: 10 ms to 30 days.
BUCKETS_PER_DECADE = 8
#: The decisions as they are always shown, each in its own colour.
ORDER = (*(str(decision) for decision in Decision), "failed", "pending")


@dataclass
class Figures:
    """Everything a page says about a batch; `add` each row once."""

    rows: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    final: int = 0
    reasons: Counter[tuple[str, int | Product]] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    times: Counter[int] = field(default_factory=Counter)
    #: Seconds from an accepted upload to the first verdict, 8 bytes each: a median needs them all.
    waits: "array[float]" = field(default_factory=lambda: array("d"))
    #: By number of MOMENTs since 1970, and end.
    moments: Counter[tuple[int, str]] = field(default_factory=Counter)
    slowest: list[tuple[float, int, Mapping[str, Any]]] = field(default_factory=list)
    notable: list[Mapping[str, Any]] = field(default_factory=list)
    others: list[Mapping[str, Any]] = field(default_factory=list)
    began: float | None = None
    ended: float | None = None

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one row of the ledger."""
        self.rows += 1
        end = end_of(row)
        self.ends[end] += 1
        self.final += bool(row["final"])
        if end == "failed":
            self.causes[failure(row)] += 1
        elif end not in (Decision.APPROVED, "pending"):
            self.reasons[row["code"], about(row)] += 1
        self._time(row, end)
        # What went wrong is what somebody looks for in a table that can not hold everything.
        kept = self.others if end == Decision.APPROVED else self.notable
        if len(kept) < TABLE_ROWS:
            kept.append(row)

    def _time(self, row: Mapping[str, Any], end: str) -> None:
        for moment in (row["sent_at"], row["accepted_at"], row["decided_at"]):
            if moment is not None:
                self.began = moment if self.began is None else min(self.began, moment)
                self.ended = moment if self.ended is None else max(self.ended, moment)
        if row["decided_at"] is None or row["accepted_at"] is None:
            return
        self.moments[int(row["decided_at"] // MOMENT), end] += 1
        wait = max(0.0, row["decided_at"] - row["accepted_at"])
        self.waits.append(wait)
        self.times[math.floor(math.log10(max(wait, 0.01)) * BUCKETS_PER_DECADE)] += 1
        entry = (wait, -self.rows, row)
        (heapq.heappush if len(self.slowest) < SLOWEST else heapq.heappushpop)(self.slowest, entry)

    @property
    def table(self) -> list[Mapping[str, Any]]:
        """At most TABLE_ROWS rows, what needs a look first."""
        return (self.notable + self.others)[:TABLE_ROWS]

    def quantiles(self, *shares: float) -> dict[float, float]:
        """By each of *shares*, seconds within which so many of the verdicts came; empty while there is none."""
        ordered = sorted(self.waits)
        places = {share: share * (len(ordered) - 1) for share in shares if ordered}
        # Between two neighbours, as a median of an even number is.
        return {
            share: ordered[math.floor(place)] * (1 - place % 1) + ordered[math.ceil(place)] * (place % 1)
            for share, place in places.items()
        }


def end_of(row: Mapping[str, Any]) -> str:
    """What became of a row: its decision, "failed" or "pending"."""
    if row["state"] == State.FAILED:
        return "failed"
    return str(row["decision"] or "pending")


def human_seconds(seconds: float) -> str:
    """A duration as one says it."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds * 1000:.0f} ms"
