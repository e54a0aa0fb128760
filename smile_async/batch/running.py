"""Drive a batch: rows go in at one end, verdicts are counted at the other, and it can be stopped at any moment.

Nothing here remembers a job: the ledger does. Stopping means to take no more rows and to wait a while for those under
way; whatever is cut off is found again by the next run.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import anyio

from smile_async.batch.manifest import Flaw, Row
from smile_async.batch.planning import Plans
from smile_async.contained import quietly
from smile_async.errors import LedgerFailed, NotAuthorized, SessionClosed, SmileError, StillPending, Unavailable
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import Verdict
from smile_async.ledger import Ledger, State
from smile_async.protocol.steps import Reach
from smile_async.session import SmileSession
from smile_async.traffic.stream import Failed, Outcome
from smile_async.traffic.watching import Listener, Until

__all__ = ["Run", "Tally"]

#: Jobs in a row that found nobody at the other end: more would only be written down as failed.
OUTAGE_JOBS = 64


@dataclass
class Tally:
    """How far a run is; `rows` counts those read so far, and all of them once `whole`."""

    rows: int = 0
    done: int = 0
    failed: int = 0
    refused: int = 0
    #: Rows whose verdict or failure came in this run.
    fresh: int = 0
    whole: bool = False
    decisions: Counter[str] = field(default_factory=Counter)

    @property
    def pending(self) -> int:
        """Rows read that have come to no end yet."""
        return self.rows - self.done - self.failed


class Run:
    """One run over the rows of a manifest, or of a chunk of one; `go` once. *turn*: awaited before each new job."""

    def __init__(
        self,
        session: SmileSession,
        ledger: Ledger,
        planner: Plans,
        *,
        until: Until = "decision",
        patience: float = 300.0,
        drain: float = 30.0,
        tell: Callable[[Tally], None] = lambda _tally: None,
        turn: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.tally = Tally()
        #: Why the run ended before its rows did.
        self.trouble: SmileError | None = None
        self._session = session
        self._ledger = ledger
        self._planner = planner
        self._until: Until = until
        self._patience = patience
        self._drain = drain
        self._tell = tell
        self._turn = turn
        self._stopping = False
        self._scope = anyio.CancelScope()
        self._asking: set[_Asked] = set()
        self._quiet = anyio.Event()
        self._unheard = 0

    @property
    def stopping(self) -> bool:
        """Whether no more rows are taken."""
        return self._stopping

    def stop(self) -> None:
        """Take no more rows, and wait at most *drain* seconds for those under way."""
        if not self._stopping:
            self._stopping = True
            asyncio.get_running_loop().call_later(self._drain, self._scope.cancel)

    async def go(self, rows: Iterator[Row | Flaw]) -> Tally:
        """Send what is to be sent, ask about the rest, and count; `trouble` says what ended it early."""
        try:
            with self._scope:
                await self._drive(rows)
        except LedgerFailed as error:
            self.trouble = self.trouble or error
        finally:
            for asked in tuple(self._asking):
                self._session.poller.leave(asked)
        return self.tally

    async def _drive(self, rows: Iterator[Row | Flaw]) -> None:
        async with self._session.stream(self._jobs(rows), until=self._until, patience=self._patience) as outcomes:
            async for outcome in outcomes:
                self._note(outcome)
        while self._asking:
            self._quiet = anyio.Event()
            await self._quiet.wait()

    async def _jobs(self, rows: Iterator[Row | Flaw]) -> AsyncIterator[Job]:
        while not self.stopping:
            work = await self._planner.next(rows)
            if work is None:
                self.tally.whole = True
                quietly(self._tell, self.tally)
                return
            self.tally.rows += work.rows
            self.tally.refused += len(work.problems)
            for state, decision in work.over:
                self._count(state, decision)
            for ticket in work.ask:
                await self._ask(ticket)
            quietly(self._tell, self.tally)
            for job in work.send:
                if self._turn is not None:
                    await self._turn()
                if self._stopping:
                    return
                yield job

    async def _ask(self, ticket: Ticket) -> None:
        while len(self._asking) >= self._session.limits.pending:
            self._quiet = anyio.Event()
            await self._quiet.wait()
        asked = _Asked(self, self._until, self._session.now() + self._patience)
        self._asking.add(asked)
        self._session.poller.listen(ticket, asked, ours=False)

    def answered(self, asked: "_Asked", end: Verdict | SmileError, ticket: Ticket | None) -> None:
        """A job of an earlier run has come to an end, or not."""
        self._asking.discard(asked)
        self._quiet.set()
        self._ended(ticket, end)

    def _note(self, outcome: Outcome) -> None:
        self._ended(outcome.ticket, outcome.error if isinstance(outcome, Failed) else outcome.verdict)

    def _ended(self, ticket: Ticket | None, end: Verdict | SmileError) -> None:
        if isinstance(end, Verdict):
            self._unheard = 0
            self.tally.fresh += 1
            self._count(State.FINAL if end.final else State.PROVISIONAL, end.decision)
        elif isinstance(end, LedgerFailed):
            self._give_up(end)
        elif not isinstance(end, StillPending | SessionClosed):
            self.tally.fresh += 1
            self._count(State.FAILED, None)
            if ticket is not None:
                self._ledger.failed(ticket, end, Reach.UPLOADED, polled=True)
            self._unheard = self._unheard + 1 if isinstance(end, Unavailable) else 0
            if isinstance(end, NotAuthorized) or self._unheard >= OUTAGE_JOBS:
                self._give_up(end)
        quietly(self._tell, self.tally)

    def _give_up(self, error: SmileError) -> None:
        # Every further row would meet the same.
        self.trouble = self.trouble or error
        self.stop()

    def _count(self, state: str, decision: str | None) -> None:
        if state == State.FAILED:
            self.tally.failed += 1
        elif state == State.FINAL:
            self.tally.done += 1
        if decision:
            self.tally.decisions[str(decision)] += 1


class _Asked(Listener):
    """Waits for a job that an earlier run has sent."""

    __slots__ = ("_run",)

    def __init__(self, run: Run, until: Until, deadline: float) -> None:
        super().__init__(until, deadline)
        self._run = run

    def tell(self, end: Verdict | SmileError) -> None:
        self._run.answered(self, end, end.ticket)
