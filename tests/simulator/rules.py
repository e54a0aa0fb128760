"""What must be true at every step, whatever the weather."""

import gc
import logging
import sqlite3
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import psycopg
from simulator.clock import BEGAN
from simulator.loop import PROCESS, SimLoop
from simulator.weather import Weather

from smile_async import Image, Job, SmileError, SmileSession, Ticket, Verdict
from smile_async.errors import InvalidJob, JobExists, JobNotFound, SessionClosed, StillPending, SubmissionUnknown
from smile_async.jobs.codes import classify
from smile_async.protocol.v1.one_request import INSISTED_FOR, INSISTED_GAPS
from smile_async.sandbox import Sandbox
from smile_async.timing.timers import Entry
from smile_async.traffic.stream import _JobListener
from smile_async.traffic.watching import Watch

if TYPE_CHECKING:
    from simulator.errands import Errand
    from simulator.places import Place

__all__ = ["Rules", "Violation"]

#: Seconds after the calm has come in which what the weather did may still be felt: the longest wish of a server.
AFTERMATH = 330.0
#: Seconds for which what struck the API, or the storage, explains failures: a request hangs for half of it, and one
#: that was sent over the same connection meanwhile for the other half.
API_PATIENCE, STORAGE_PATIENCE = 61.0, 241.0
#: What says that somebody has waited, not that anything failed; the last: so long that no time was left for a reply.
_WAITED = ("did not get its turn", "no time left", "within 0.0", "did not come in time")
#: Bytes that a pending job may take, with one who waits for it; each further one takes some more. And of a record.
MOST, RECORD = 3_000, 12_000
#: Seconds of patience that may be left when a request is sent once more as the last thing that can be done.
LAST = INSISTED_GAPS[-1] + 1.0
#: What a pending job consists of, beside what is said of it; a session, a caller or a callback is not its own.
_OWN = (
    str,
    bytes,
    int,
    float,
    tuple,
    list,
    dict,
    MappingProxyType,
    Watch,
    _JobListener,
    Entry,
    Ticket,
    Verdict,
    Job,
    Image,
)
_LOOK = "SELECT job_id, state, reach, accepted_at IS NOT NULL, code, final FROM smile_jobs"
_RANKS = {"planned": 0, "failed": 0, "sending": 1, "accepted": 2, "provisional": 3, "final": 4}


class Violation(AssertionError):
    """A promise was broken."""


class Rules(logging.Handler):
    """Watches; what is broken is kept in `broken`, the first first."""

    def __init__(self, loop: SimLoop, weather: Weather, sandbox: Sandbox, tell: Callable[[str], None]) -> None:
        super().__init__(logging.DEBUG)
        self._loop = loop
        self._weather = weather
        self._sandbox = sandbox
        self._tell = tell
        self.broken: list[str] = []
        self._rows: dict[tuple[str, str], tuple[Any, ...]] = {}
        #: By place and job, the last word a handler or a reader has heard.
        self._last: dict[Any, tuple[bool, str]] = {}

    def broke(self, what: str) -> None:
        """Somebody has broken a promise."""
        process = PROCESS.get()
        if process is not None and process.dead:
            return
        self._tell(f"BROKEN: {what}")
        self.broken.append(f"{what} (at {self._loop.now:.3f} s)")
        self._loop.halted = True

    # What callers get.

    def awaited(self, what: str, began: float, patience: float, grace: float = 1.0) -> None:
        """An await that began then is over."""
        took = self._loop.now - began
        if took > patience + grace + 1e-6:
            self.broke(f"{what} took {took:.3f} s, its patience was {patience:g}")

    def verdict(self, errand: "Errand", verdict: Verdict, who: object) -> None:
        """*errand* was told *verdict*."""
        whose = f"job {errand.job_id[:8]}"
        record = self._sandbox.jobs.get(errand.job_id)
        if record is None or record.arrived_at is None:
            self.broke(f"{whose}: a verdict {verdict.code}, but the provider has no such job")
            return
        said = [message.code for message in record.plan if message.at <= BEGAN + self._loop.now + 1e-6]
        unsigned = errand.want.one_request and self._weather.has("an unsigned reply")
        if verdict.code not in said or not (verdict.confirmed or unsigned):
            self.broke(f"{whose}: verdict {verdict.code} (confirmed: {verdict.confirmed}), the provider said {said}")
        if verdict.decision != classify(verdict.code, errand.want.product):
            self.broke(f"{whose}: {verdict.code} became {verdict.decision}")
        if verdict.ticket.smile_job_id not in (None, record.smile_job_id):
            self.broke(f"{whose}: the verdict names another SmileJobID")
        if not (errand.asks_only or errand.want.is_about(record, errand.person)):
            self.broke(f"{whose}: {who} got the verdict of somebody else")
        self._not_after_another(errand, verdict, who)

    def _not_after_another(self, errand: "Errand", verdict: Verdict, who: object) -> None:
        whose = f"job {errand.job_id[:8]}"
        before = self._last.get((who, errand.job_id))
        if before is not None and before[0] and (verdict.final, verdict.code) != before:
            self.broke(f"{whose}: {who} heard {verdict.code} after the final {before[1]}")
        self._last[who, errand.job_id] = (verdict.final, verdict.code)

    def error(self, errand: "Errand", place: "Place", error: SmileError, job: Job | None, began: float) -> None:
        """*errand* was told *error*, by a call that *began* then with *job* (None: with a ticket)."""
        whose = f"job {errand.job_id[:8]} at {place.name}"
        if isinstance(error, SessionClosed):
            if not (place.stopping or place.may_crash()):
                self.broke(f"{whose}: {error}")
            return
        record = self._sandbox.jobs.get(errand.job_id)
        if isinstance(error, JobExists) and errand.sole:
            # Without a ledger, nobody remembers what an earlier process has sent, or what was accepted before.
            arrived = None if record is None else record.arrived_at
            accepted = arrived is not None and arrived < BEGAN + began
            if place.ledger or (errand.first_life == place.life and not accepted):
                self.broke(f"{whose}: our own job is called foreign ({error})")
        # A double click that had to wait for the other has sent nothing itself.
        alone = "another call was still sending it" not in str(error)
        if job is not None and error.ticket is None and errand.sole and record is not None and alone:
            born = errand.born.get(id(job), float("inf"))
            if record.created_at >= BEGAN + born:
                self.broke(f"{whose}: no ticket, but the provider has the job ({type(error).__name__})")
        expected: tuple[type[SmileError], ...] = (StillPending,) if errand.sole else (StillPending, JobExists)
        expected += () if errand.sole else (InvalidJob,)
        expected += self._untold(errand, place)
        # Where there is no weather somebody may be out of patience, but not told that there is no such job.
        calm = began > self._weather.calm_at + AFTERMATH or (not self._weather.kinds and isinstance(error, JobNotFound))
        if calm and not isinstance(error, expected) and not errand.foreign:
            self.broke(f"{whose}: all is well, and yet {type(error).__name__}: {error}")

    def _untold(self, errand: "Errand", place: "Place") -> tuple[type[SmileError], ...]:
        """What may be said, all being well, of a request that got no answer, or that /job_status does not know yet."""
        if not errand.want.one_request:
            return ()
        unknown = errand.want.never_again and not place.world.can_tell(errand)
        record, after = self._sandbox.jobs.get(errand.job_id), self._sandbox.settings.recorded_after
        late = record is not None and BEGAN + self._loop.now < record.created_at + after + 1.0
        found: tuple[type[SmileError], ...] = (SubmissionUnknown,) if unknown or not errand.sole else ()
        return found + (
            (JobNotFound,)
            if unknown or (late and (errand.want.never_again or errand.submitted_in != place.life))
            else ()
        )

    # What leaves.

    def repeated(self, errand: "Errand", doubted_at: float) -> None:
        """A request of *errand* comes, and an earlier one, of *doubted_at*, may have been taken."""
        now, whose = self._loop.now, f"job {errand.job_id[:8]} at {errand.place.name}"
        if errand.want.never_again:
            self.broke(f"{whose}: sent again after {now - doubted_at:.3f} s, though it may have been taken")
        # Where its job_id is good for one job: after a minute of insisting, or as the last thing that patience allows.
        last = not errand.sends_until or now > min(errand.sends_until) - LAST
        if now - doubted_at < INSISTED_FOR and not last:
            self.broke(f"{whose}: sent again after {now - doubted_at:.3f} s, with time left")

    # What is in memory.

    def pending(self, session: SmileSession, who: str) -> None:
        """Look at the jobs that wait in a session."""
        for watch in session.poller._watches.values():
            verdict = watch.verdict
            if verdict is not None and verdict.final:
                # It waits for nothing: a callback is being confirmed by a query that left before the last word came.
                continue
            # Those of a provisional verdict are one mapping for all jobs.
            shared = set() if verdict is None else {id(verdict.actions)}
            taken = _bytes_of(watch, shared)
            # A provisional word about a person brings what an authority has said already.
            more = RECORD if verdict is not None and verdict.record else 0
            if taken > MOST * max(1, len(watch.listeners)) + more:
                self.broke(f"the pending job {watch.ticket.job_id[:8]} at {who} takes {taken} bytes")

    # What is on record.

    def ledger(self, place: str, where: Path | str, sole: Callable[[str], bool]) -> None:
        """Look at a ledger after something was written."""
        for job_id, *now in _rows(where):
            if now[4] is not None:
                now[4] = bool(now[4])
            now[2] = bool(now[2])
            before = self._rows.get((place, job_id))
            if before is not None and tuple(now) != before:
                self._moved(f"{place}'s row of job {job_id[:8]}", job_id, before, tuple(now), sole)
            if tuple(now) != before:
                self._tell(f"{place} {job_id[:8]} on record: {now}")
                self._rows[place, job_id] = tuple(now)
                self._true(f"{place}'s row of job {job_id[:8]}", job_id, tuple(now), sole)

    def _moved(self, row: str, job_id: str, before: Any, now: Any, sole: Callable[[str], bool]) -> None:
        if now[1] < before[1] and (now[1], before[1]) != (0, 1):
            self.broke(f"{row}: reach fell from {before[1]} to {now[1]}")
        if before[2] and not now[2]:
            self.broke(f"{row}: it was accepted, and is not any more")
        back = _RANKS[now[0]] < _RANKS[before[0]]
        # What failed may be planned again; where only the waiting ended, the job stays accepted.
        if (back and now[0] != "failed") or (now[0] == "failed" and before[0] in ("provisional", "final")):
            self.broke(f"{row}: state fell from {before[0]} to {now[0]}")
        if before[4] and now[3] != before[3]:
            self.broke(f"{row}: the final {before[3]} became {now[3]}")

    def _true(self, row: str, job_id: str, now: Any, sole: Callable[[str], bool]) -> None:
        record = self._sandbox.jobs.get(job_id)
        landed = record is not None and record.arrived_at is not None
        if now[2] and not landed:
            self.broke(f"{row}: accepted, but the provider does not have it")
        if sole(job_id) and now[1] == 0 and now[0] != "planned" and record is not None:
            self.broke(f"{row}: nothing was sent, it says, but the provider has the job")
        if sole(job_id) and record is not None and record.zip_at is not None and now[1] < 2:
            self.broke(f"{row}: reach {now[1]}, but the provider has the zip")

    # What is logged.

    def emit(self, record: logging.LogRecord) -> None:
        process = PROCESS.get()
        if process is not None and process.dead:
            return
        text = record.getMessage()
        if record.levelno >= logging.INFO:
            self._tell(f"{process and process.name} {record.levelname}: {text[:160]}")
        if "please report" in text and "the session has crashed" not in text:
            self.broke(f"a defect: {text} {record.exc_info and record.exc_info[1]!r}")
        failed = text.startswith(("retry ", "poll of job")) and not any(words in text for words in _WAITED)
        # So it is with some products (`World._authorities`).
        failed = failed and "2304" not in text
        if failed and not self._weather.has("a window of zero"):
            patience = STORAGE_PATIENCE if "the upload of job" in text else API_PATIENCE
            if self._loop.now - self._weather.struck_at > patience:
                self.broke(f"it failed without a cause: {text}")


def _rows(where: Path | str) -> list[Any]:
    """What a ledger holds; nothing while it has no tables."""
    try:
        if isinstance(where, str):
            with psycopg.connect(where, autocommit=True) as asking:
                return asking.execute(_LOOK).fetchall()
        looking = sqlite3.connect(f"file:{where}?mode=ro", uri=True)
        try:
            return looking.execute(_LOOK).fetchall()
        finally:
            looking.close()
    except (sqlite3.OperationalError, psycopg.errors.UndefinedTable):
        return []


def _bytes_of(thing: Any, seen: set[int]) -> int:
    """What *thing* and all that it alone leads to take; interned texts and the like are shared and small."""
    if id(thing) in seen or not isinstance(thing, _OWN) or isinstance(thing, Enum):
        return 0
    seen.add(id(thing))
    return sys.getsizeof(thing) + sum(_bytes_of(part, seen) for part in gc.get_referents(thing))
