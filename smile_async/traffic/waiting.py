"""Who waits for one job: a task that wants one verdict, or a reader who wants each of them."""

import math
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import anyio

from smile_async.errors import BadConfiguration, SessionClosed, SmileError
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import Verdict
from smile_async.limits import finite
from smile_async.traffic.poller import Poller
from smile_async.traffic.watching import Listener, Prices, Until

__all__ = ["Follow", "Waiter", "checked_patience", "checked_price", "checked_until"]


class Waiter(Listener):
    """A task that waits for one verdict."""

    __slots__ = ("end", "prices", "ready")

    prices: Prices | None

    def __init__(self, until: Until, deadline: float, prices: Prices | None = None) -> None:
        super().__init__(until, deadline)
        self.prices = prices
        self.ready = anyio.Event()
        self.end: Verdict | SmileError | None = None

    def tell(self, end: Verdict | SmileError) -> None:
        """Keep what came, and wake the task."""
        self.end = end
        self.ready.set()


class Follow(Listener):
    """Each new verdict of one job; made by `SmileSession.follow`, used once, in `async with`."""

    __slots__ = ("_end", "_entered", "_known", "_news", "_poller", "_ticket", "_verdicts", "prices")

    wants_all = True
    prices: Prices | None

    def __init__(
        self,
        poller: Poller,
        known: Callable[[Ticket], Awaitable[Ticket]],
        ticket: Ticket,
        deadline: float,
        prices: Prices | None = None,
    ) -> None:
        super().__init__("final", deadline)
        self.prices = prices
        self._poller = poller
        #: Adds what the session knows of a ticket; raises SessionClosed once the poller has stopped.
        self._known = known
        self._ticket = ticket
        self._verdicts: deque[Verdict] = deque()
        self._news = anyio.Event()
        #: Raised once the verdicts that came before it are read.
        self._end: SmileError | StopAsyncIteration | None = None
        self._entered = False

    async def __aenter__(self) -> Self:
        if self._entered:
            raise SessionClosed("a follow is entered once: call session.follow(ticket) again")
        self._entered = True
        self._poller.listen(await self._known(self._ticket), self, ours=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._poller.leave(self)
        if self._end is None:
            self.tell(SessionClosed("the block of this follow was left", ticket=self._ticket))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Verdict:
        if not self._entered:
            raise SessionClosed("not open: `async with session.follow(ticket) as verdicts:`, then read")
        while not self._verdicts:
            if self._end is not None:
                raise self._end
            self._news = anyio.Event()
            await self._news.wait()
        return self._verdicts.popleft()

    def tell(self, end: Verdict | SmileError) -> None:
        """Hand on a new verdict, a final one is the last; or end with an error once those before it are read."""
        if isinstance(end, Verdict):
            self._verdicts.append(end)
        if not isinstance(end, Verdict) or end.final:
            self._end = StopAsyncIteration() if isinstance(end, Verdict) else end
        self._news.set()


def checked_until(until: object) -> Until:
    """*until*, if it is one; raises BadConfiguration: a misspelt "final" must not let a provisional verdict through."""
    if until == "decision" or until == "final":  # noqa: PLR1714 - this way its type is known
        return until
    raise BadConfiguration(f"until is {until!r}: give 'decision' or 'final'")


def checked_patience(seconds: object) -> float:
    """*seconds*, if one can wait for so long (0 or less: not at all); raises BadConfiguration."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise BadConfiguration(f"patience is {type(seconds).__name__}: give a number of seconds")
    try:
        patience = float(seconds)
    except OverflowError:
        patience = math.inf
    if not math.isfinite(patience):
        raise BadConfiguration(f"patience is {patience}: give a finite number of seconds")
    return patience


def checked_price(price: object) -> Prices | None:
    """*price* for the whole of a call, None if it names none; raises BadConfiguration."""
    if price is None:
        return None
    polls = finite(price)
    if not polls > 0:
        raise BadConfiguration("price is polls for a second of lateness: give a finite number above 0")
    return polls, polls
