"""How the numbers of chunks reach whoever drives them: in memory where one process does, as it is with a file.

Nothing depends on what a queue holds: the ledger has every chunk, and `restore` queues again what the queue has lost.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import anyio

from smile_async.ledger.chunks import Chunks
from smile_async.timing.timers import TimerHeap

__all__ = ["SWEPT", "ChunkQueue", "LocalQueue"]

#: Chunks that one sweep queues again.
SWEPT = 1_000


class ChunkQueue(Protocol):
    """Chunk numbers on their way; every method raises LedgerFailed where the queue can not be reached."""

    async def put(self, chunks: Iterable[int], *, after: float = 0.0) -> None:
        """Have each of *chunks* delivered in *after* seconds; what is on its way already may come sooner."""

    async def listen(self, deliver: Callable[[int], Awaitable[None]], at_once: int) -> None:
        """Call *deliver* with each chunk that comes, *at_once* at a time, until cancelled."""

    async def restore(self, chunks: Chunks) -> None:
        """Queue again what anybody could claim, and what was lost on the way."""


class LocalQueue:
    """The chunks that one process drives."""

    def __init__(self) -> None:
        self._due: TimerHeap[int] = TimerHeap()
        self._queued: set[int] = set()
        self._news = anyio.Event()

    async def put(self, chunks: Iterable[int], *, after: float = 0.0) -> None:
        """Have each of *chunks* delivered in *after* seconds, unless it is on its way."""
        for chunk in chunks:
            if chunk not in self._queued:
                self._queued.add(chunk)
                self._due.add(anyio.current_time() + after, chunk)
        self._news.set()

    async def listen(self, deliver: Callable[[int], Awaitable[None]], at_once: int) -> None:
        """Call *deliver* with each chunk that comes, *at_once* at a time, until cancelled."""
        places = anyio.Semaphore(at_once)

        async def delivered(chunk: int) -> None:
            try:
                await deliver(chunk)
            finally:
                places.release()

        async with anyio.create_task_group() as tasks:
            while True:
                await places.acquire()
                tasks.start_soon(delivered, await self._next())

    async def restore(self, chunks: Chunks) -> None:
        """Queue what anybody could claim: a lease ran out, say, while the machine slept."""
        await self.put(await chunks.forgotten(SWEPT))

    async def _next(self) -> int:
        while (chunk := self._due.pop_due(anyio.current_time())) is None:
            self._news = anyio.Event()
            with anyio.move_on_after(self._due.next_at() - anyio.current_time()):
                await self._news.wait()
        self._queued.discard(chunk)
        return chunk
