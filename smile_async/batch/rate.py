"""One rate for all workers of a batch: each reserves the starts of its next second or so in the database."""

from functools import partial

import anyio

from smile_async.ledger import Ledger
from smile_async.ledger.chunks import Chunks

__all__ = ["SharedRateLimiter"]

#: Seconds' worth of starts that are reserved together; at least one start.
AHEAD = 1.0


class SharedRateLimiter:
    """Lets the jobs of *batch* start at *rate* a second, all workers together."""

    def __init__(self, ledger: Ledger, batch: str, rate: float) -> None:
        self._ledger = ledger
        self._batch = batch
        self._gap = 1 / rate
        self._rate = rate
        self._line = anyio.Lock()
        self._left = 0
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for the next start; starts that nobody wanted in their time are lost, never saved up."""
        async with self._line:
            # A start may be late by what one more reservation holds, or a slow loop would lose every one of them.
            if self._left == 0 or anyio.current_time() > self._next + max(AHEAD, self._gap):
                await self._reserve()
            await anyio.sleep(max(0.0, self._next - anyio.current_time()))
            self._left -= 1
            self._next += self._gap

    async def _reserve(self) -> None:
        starts = max(1, int(self._rate * AHEAD))
        wait = await self._ledger.insist(partial(Chunks(self._ledger).reserve, self._batch, starts, self._rate))
        self._left, self._next = starts, anyio.current_time() + max(0.0, wait)
