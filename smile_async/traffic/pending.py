"""What remains of a job that was sent: when to ask again, and a verdict that only moves forward.

A few numbers, no socket and no clock: a hundred thousand of them are cheap.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE, Ticket
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.timing.pacing import Rhythm, failing_delay

__all__ = ["PendingJob"]


class _Provisional(NamedTuple):
    """A provisional verdict without raw, history and links, which nobody reads while the job waits."""

    code: str
    ticket: Ticket
    confidence: float | None
    timestamp: str
    #: Knows what thousands of jobs under review have in common: each of them would hold 2 kB.
    make: Callable[..., Verdict]

    @property
    def whole(self) -> Verdict:
        return self.make(ticket=self.ticket, confidence=self.confidence, timestamp=self.timestamp)


class PendingJob:
    """What is known of a job that is waiting for its verdict: when to ask next, and the latest word.

    *since* is the moment, in seconds of a monotonic clock, from which its age counts: its upload if *ours* (then its
    duration teaches the rhythm), else the moment somebody began to wait.
    """

    __slots__ = ("_word", "asked", "failures", "latency", "ours", "reviewed", "seen", "since", "strange", "ticket")

    def __init__(self, ticket: Ticket, since: float, *, ours: bool) -> None:
        self.ticket = ticket
        self.since = since
        self.ours = ours
        #: The latest, whole if it is final.
        self._word: Verdict | _Provisional | None = None
        self.asked = 0
        self.failures = 0
        self.latency = 0.0
        #: When it was last known not to be decided.
        self.seen = since
        #: A provisional verdict was seen: what is awaited now is a person's.
        self.reviewed = False
        #: A status that nobody here knows.
        self.strange = ""

    @property
    def verdict(self) -> Verdict | None:
        """The latest; a provisional one without raw, history and links."""
        return self._word.whole if isinstance(self._word, _Provisional) else self._word

    def join(self, ticket: Ticket) -> None:
        """Take in what somebody else's *ticket* knows of the job.

        Where two differ before any reply has told, neither counts: the reply is judged for each who waits.
        """
        mine, asked = self.ticket, self.asked
        kinds, numbers = {mine.job_type, ticket.job_type}, {mine.smile_job_id, ticket.smile_job_id}
        kind = _agreed(kinds - {UNKNOWN_JOB_TYPE}, mine.job_type if asked else UNKNOWN_JOB_TYPE)
        number = _agreed(numbers - {None}, mine.smile_job_id if asked else None)
        product = _agreed({mine.product, ticket.product} - {None}, mine.product if asked else None)
        product = product if product is not None and product.spec.job_type == kind else None
        if (kind, number, product) != (mine.job_type, mine.smile_job_id, mine.product):
            self.ticket = replace(mine, job_type=kind, smile_job_id=number, product=product)

    def delay(self, rhythm: Rhythm, now: float, price: float | None = None) -> float:
        """Seconds from *now* until the next poll, a second of lateness being worth *price* polls."""
        if not self.asked and not self.ours and not self.failures:
            return 0.0
        age = max(0.0, now - self.since)
        wait = rhythm.delay(int(self.ticket.job_type), age, self.asked + self.failures, self.reviewed, price)
        return failing_delay(self.failures, wait, latency=self.latency)

    def heard(self, status: JobStatus, asked_at: float, rhythm: Rhythm) -> Verdict | None:
        """Take in the answer to a query that left at *asked_at*; returns its verdict if it is news."""
        self.failures, self.latency = 0, 0.0
        self.asked += 1
        self.ticket, self.strange = status.ticket, status.strange
        if self.ours and not isinstance(self._word, Verdict):
            self._teach(None if status.verdict and status.verdict.on_the_way else status.verdict, asked_at, rhythm)
        self.seen = asked_at
        if status.verdict is None or not self.advance(status.verdict):
            return None
        self.reviewed = not status.verdict.final
        return status.verdict

    def told(self, verdict: Verdict, now: float, rhythm: Rhythm) -> bool:
        """Take in a verdict that came unasked at *now*; False if it is old news, or only on the way."""
        if not self.advance(verdict):
            return False
        # Were only polls to teach, the rhythm would hear of none but the slow jobs.
        if self.ours:
            self._teach(verdict, now, rhythm)
        self.seen = now
        self.reviewed = not verdict.final
        return True

    def advance(self, verdict: Verdict) -> bool:
        """Move forward to *verdict*; False if it is no news: a final word stays, and the same word counts once.

        A message on the way is no word at all.
        """
        known = self._word
        if verdict.on_the_way or isinstance(known, Verdict):
            return False
        if known is not None and not verdict.final and known.code == verdict.code:
            return False
        self._word = verdict if verdict.final else _brief(verdict)
        return True

    def whole(self, status: JobStatus) -> Verdict | None:
        """The latest word, with the history and the links that came with *status*."""
        known, said = self.verdict, status.verdict
        if said is not None and said.on_the_way:
            said = None
        if known is None or (said is not None and (said.code, said.final) == (known.code, known.final)):
            return said
        return replace(known, history=status.history, image_links=status.image_links)

    def missed(self, latency: float) -> None:
        """Take note of a query that failed after *latency* seconds."""
        self.failures += 1
        self.latency = latency

    def _teach(self, verdict: Verdict | None, asked_at: float, rhythm: Rhythm) -> None:
        done = verdict is not None and (verdict.final or not self.reviewed)
        after, by = max(0.0, self.seen - self.since), max(0.0, asked_at - self.since)
        rhythm.learn(int(self.ticket.job_type), after, by, done=done, reviewed=self.reviewed)


def _agreed(said: set[Any], otherwise: Any) -> Any:
    return said.pop() if len(said) == 1 else otherwise


def _brief(verdict: Verdict) -> _Provisional:
    make = _maker(
        tuple(verdict.actions.items()),
        decision=verdict.decision,
        code=verdict.code,
        text=verdict.text,
        source=verdict.source,
        confirmed=verdict.confirmed,
        reason=verdict.reason,
    )
    return _Provisional(sys.intern(verdict.code), verdict.ticket, verdict.confidence, verdict.timestamp, make)


@lru_cache(256)
def _maker(actions: tuple[tuple[str, str], ...], **told: Any) -> Callable[..., Verdict]:
    return partial(Verdict, final=False, actions=dict(actions), **told)
