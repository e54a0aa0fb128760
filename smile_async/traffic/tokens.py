"""Tokens of V3: fetched once for each scope and lifetime, whoever asks, and by a task that belongs to nobody's call.

One attempt serves all who wait for it; whether there is another is the business of each who waited.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from copy import copy

from smile_async.errors import SessionClosed, SmileError, Unavailable
from smile_async.protocol.steps import Fault, Sent
from smile_async.protocol.v3.tokens import Scope, Token, TokenCache
from smile_async.timing.breaker import Asker
from smile_async.timing.clock import Clock

__all__ = ["Tokens"]


#: What makes one attempt.
Fetch = Callable[[Scope, Asker, Sequence[Asker]], Awaitable[Token]]


class _Flight:
    """One attempt to fetch a token; `ended` is set when there is a token, or what went wrong."""

    __slots__ = ("company", "ended", "fault", "token")

    def __init__(self) -> None:
        #: Who waits for it besides him who began it: if it fails, it has failed them all.
        self.company: list[Asker] = []
        self.ended = asyncio.Event()
        self.token: Token | None = None
        self.fault = Fault(SessionClosed("the session was closed before a token came"), Sent.UNSENT)


class Tokens:
    """Those of one session; *fetch* makes an attempt for a scope, one asker and his company, or raises Fault."""

    def __init__(self, fetch: Fetch, spawn: Callable[..., None], clock: Clock) -> None:
        self._fetch = fetch
        self._spawn = spawn
        self._clock = clock
        self._cache = TokenCache()
        self._flights: dict[Scope, _Flight] = {}

    async def get(self, scope: Scope, asker: Asker, deadline: float) -> Token:
        """A token for *scope*, before *deadline* (monotonic seconds). Raises Fault: nothing of *asker*'s has left.

        One that will end soon is given at once, and replaced meanwhile.
        """
        now = self._clock.monotonic()
        held = self._cache.usable(scope, now)
        if held is not None and now < held.early:
            return held
        flight = self._flights.get(scope)
        if held is not None:
            if flight is None:
                held.put_off(now)
                self._begun(scope, asker)
            return held
        if flight is None:
            flight = self._begun(scope, asker)
        else:
            flight.company.append(asker)
        if not await self._clock.wait(flight.ended, deadline - now):
            late = Unavailable("a token did not come in time")
            raise Fault(late, Sent.UNSENT, transient=True, throttled=True)
        if flight.token is None:
            raise _own(flight.fault)
        return flight.token

    def refused(self, scope: Scope, token: Token) -> None:
        """A request with *token* was answered by 401: the next who asks gets another."""
        self._cache.refused(scope, token)

    def _begun(self, scope: Scope, asker: Asker) -> _Flight:
        flight = self._flights[scope] = _Flight()

        def end() -> None:
            del self._flights[scope]
            flight.ended.set()

        try:
            self._spawn(self._fly, flight, scope, asker, on_end=end)
        except SmileError as error:
            end()
            flight.fault = Fault(error, Sent.UNSENT)
        return flight

    async def _fly(self, flight: _Flight, scope: Scope, asker: Asker) -> None:
        try:
            flight.token = await self._fetch(scope, asker, flight.company)
        except Fault as fault:
            flight.fault = fault.with_traceback(None)
        else:
            self._cache.keep(scope, flight.token)


def _own(fault: Fault) -> Fault:
    """*fault* for one of those who waited: they would write into one error's traceback, job and ticket."""
    own = copy(fault)
    own.error, own.sent = copy(fault.error), Sent.UNSENT
    return own
