"""One job as the poller sees it: what is known of it, who waits for it, and what callbacks claim of it.

A hundred thousand jobs may wait, so each is a few slots, and a job's wishes are asked of those who have them.

A claim is a hint to ask now. While the answer is behind it is asked for again, ever more slowly; an answer that
contradicts wins, and a warning says so.
"""

import asyncio
from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import replace
from typing import Literal

from smile_async.contained import quietly
from smile_async.errors import ForgedReply, SmileError
from smile_async.jobs.codes import Decision, classify
from smile_async.jobs.ticket import Ticket, same_job
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.log import log
from smile_async.protocol.steps import Ask
from smile_async.timing.timers import Entry, Timed
from smile_async.traffic.pending import PendingJob

__all__ = [
    "Answer",
    "Claim",
    "Heard",
    "Listener",
    "Prices",
    "Until",
    "Watch",
    "agreed",
    "falls_short",
    "own_copy",
    "still_pending",
]


Until = Literal["decision", "final"]
Heard = Callable[[Verdict], Awaitable[object]]
Answer = asyncio.Future[Verdict | None]
#: Polls that a second of lateness is worth until the first verdict, and after it.
Prices = tuple[float, float]

#: Seconds until the first further query while status is behind, and how long it is asked: after 1, 2, 4 … s.
FIRST_AGAIN, AGAIN_FOR = 1.0, 600.0
#: Different codes that callbacks may claim for a job while its status is behind: three have been seen (wire.md §7).
CLAIMS = 8


class Listener(Timed):
    """Somebody who waits for verdicts of one job, until *deadline* (monotonic seconds)."""

    __slots__ = ("deadline", "entry", "history", "image_links", "ticket", "until", "watch")

    #: Whether it hears what is not enough as well.
    wants_all = False

    def __init__(self, until: Until, deadline: float) -> None:
        self.until = until
        self.deadline = deadline
        self.watch: Watch | None = None
        #: The job it means, as far as it knows it.
        self.ticket: Ticket | None = None
        #: Whether its verdict is to come with these.
        self.history = self.image_links = False
        #: Its deadline among those of the others.
        self.entry: Entry[Listener] | None = None

    @property
    def prices(self) -> Prices | None:
        """What a second is worth to it, None: what it is to the session."""
        return None

    def tell(self, end: Verdict | SmileError) -> None:
        """Take a verdict that was waited for, or the error that comes instead."""
        raise NotImplementedError

    def told(self, verdict: Verdict) -> bool:
        """Take *verdict* as far as it is wanted, and of the job that is meant; True if no more is to come."""
        if self.ticket is not None and not same_job(self.ticket, verdict.ticket):
            about = f"job {verdict.ticket.job_id} of user {verdict.ticket.user_id}"
            message = f"the reply gives {about} another product or SmileJobID than the ticket"
            quietly(self.tell, ForgedReply(message, ticket=self.ticket))
            return True
        enough = verdict.final or self.until == "decision"
        if enough or self.wants_all:
            quietly(self.tell, verdict)
        return enough


class Claim:
    """The codes that callbacks claim for one job, and who wants to hear when status has caught up with them."""

    __slots__ = ("_asking", "_since", "due", "heard", "said")

    def __init__(self, now: float) -> None:
        #: By code, what the callback that claims it says besides.
        self.said: dict[str, Verdict] = {}
        self.heard: list[Heard] = []
        #: When to ask at the latest (monotonic seconds); 0 while somebody waits for the very next answer.
        self.due = float("inf")
        #: The last: since when an answer is behind (monotonic seconds), if it is; one to an older query is not heard.
        self._asking: list[tuple[Verdict, Heard | None, Answer, float]] = []
        self._since = now

    def __bool__(self) -> bool:
        """Whether there is anything left to ask."""
        return bool(self.said or self._asking)

    def ask(self, said: Verdict, later: Heard | None, since: float) -> Answer:
        """Resolved by an answer: the verdict, or None if it is behind what this callback *said*.

        What an answer to a query from before *since* (monotonic seconds) does not know yet, the next is asked.
        """
        answer: Answer = asyncio.get_running_loop().create_future()
        self._asking.append((said, later, answer, since))
        self.due = 0.0
        return answer

    def keep(self, said: Verdict, later: Heard | None, now: float) -> None:
        """Go on asking until status has caught up with what was *said*, and tell *later*."""
        if len(self.said) < CLAIMS:
            self.said[said.code] = replace(said, raw={}, record={}, image_links={})
        if later is not None and later not in self.heard:
            self.heard.append(later)
        # Sooner, not later: or a stream of claims could put off the question for ever.
        self._since, self.due = now, min(self.due, now + FIRST_AGAIN)

    def settled(self, status: JobStatus) -> Verdict | None:
        """The verdict of *status*, a callback's, if it has caught up with any of the codes."""
        verdict = status.verdict
        claimed = self.said | {said.code: said for said, *_ in self._asking}
        if verdict is None or not (verdict.final or verdict.code in claimed):
            return None
        for code in claimed:
            # Judged as a code of the job's own type: the type that a callback names is the sender's to choose.
            late = classify(code, verdict.ticket.about) is Decision.PROVISIONAL
            if verdict.final and code != verdict.code and not late:
                log.warning(
                    "a callback for job %s claims %s, but status says %s: status is believed",
                    verdict.ticket.job_id,
                    code,
                    verdict.code,
                    extra={"smile_job_id": verdict.ticket.job_id, "smile_claim": code, "smile_code": verdict.code},
                )
        return agreed(verdict, claimed.get(verdict.code))

    def answer(
        self, found: Verdict | SmileError | None, job_id: str, now: float, asked_at: float = float("inf")
    ) -> list[Heard]:
        """Tell those who ask what was *found* by a query of *asked_at*, None if that is behind; who else is to hear."""
        others = [*self.heard] if isinstance(found, Verdict) else []
        if isinstance(found, Verdict):
            self.said = {} if found.final else {code: said for code, said in self.said.items() if code != found.code}
        # As long again as it has taken so far; another query within less than a second of the last is none.
        self.due = min(now + FIRST_AGAIN + now - self._since, self._since + AGAIN_FOR)
        if self.said and now - self._since > AGAIN_FOR - FIRST_AGAIN:
            log.warning("a callback for job %s was never confirmed (%s)", job_id, ", ".join(sorted(self.said)))
            self.said = {}
        asking, self._asking = self._asking, []
        for said, later, answer, since in asking:
            if answer.done():
                continue
            if isinstance(found, Verdict) and (found.final or found.code == said.code):
                answer.set_result(found)
            elif asked_at < since:
                self._asking.append((said, later, answer, since))
                self.due = 0.0
            elif isinstance(found, SmileError):
                answer.set_exception(own_copy(found, said.ticket))
            else:
                self.keep(said, later, now)
                answer.set_result(None)
        return others


class Watch(PendingJob, Timed):
    """One job that somebody waits for, or that callbacks claim something of."""

    __slots__ = ("_listeners", "asking", "claim", "entry", "upload")

    def __init__(self, ticket: Ticket, since: float) -> None:
        super().__init__(ticket, since, ours=False)
        #: Most jobs have one, and a tuple of one takes 48 bytes.
        self._listeners: Listener | tuple[Listener, ...] = ()
        self.claim: Claim | None = None
        self.asking = False
        self.entry: Entry[Watch] | None = None
        #: Leads to the span of its upload.
        self.upload: object = None

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Those who wait for it."""
        who = self._listeners
        return who if isinstance(who, tuple) else (who,)

    @listeners.setter
    def listeners(self, who: tuple[Listener, ...]) -> None:
        self._listeners = who[0] if len(who) == 1 else who

    def price(self, own: float) -> float:
        """Polls that a second is worth to the most eager of those who wait; *own*: to who does not say."""
        return max(own if each.prices is None else each.prices[self.reviewed] for each in self.listeners)

    @property
    def history(self) -> bool:
        """Whether anybody wants the job's history."""
        return any(listener.history for listener in self.listeners)

    @property
    def image_links(self) -> bool:
        """Whether anybody wants links to the job's pictures."""
        return any(listener.image_links for listener in self.listeners)


def falls_short(offer: Verdict | Ask, wish: Listener | Watch) -> bool:
    """Whether a verdict has not the history or the links that somebody wants, or a query does not ask for them."""
    return (wish.history and not offer.history) or (wish.image_links and not offer.image_links)


def agreed(verdict: Verdict, said: Verdict | None) -> Verdict:
    """*verdict*, which status gave, as a callback's, with what *said* claims besides if it is of the same code."""
    if said is None or (said.code, said.ticket.smile_job_id) != (verdict.code, verdict.ticket.smile_job_id):
        return replace(verdict, source="callback")
    timestamp = verdict.timestamp or said.timestamp
    return replace(verdict, source="callback", timestamp=timestamp, reason=said.reason, claims=said.claims)


def own_copy(error: SmileError, ticket: Ticket) -> SmileError:
    """A copy of *error* for one task: those that raise one object write into each other's traceback and job."""
    own = copy(error)
    own.ticket = ticket
    return own


def still_pending(ticket: Ticket, waited: float, strange: str = "") -> str:
    """What StillPending says after *waited* seconds, never in the manner of 7.2e+03, and of a *strange* status."""
    seconds = f"{round(waited, 3):.3g}" if waited < 100 else f"{waited:.0f}"
    whose = f"user {ticket.user_id}, job {ticket.job_id}"
    word = f", by a status {strange!r} that smile_async does not know," if strange else ""
    return f"still pending{word} after {seconds} s ({whose}): await session.wait(error.ticket)"
