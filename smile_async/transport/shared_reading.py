"""Who reads from an HTTP/2 connection that many requests share.

In httpcore each request reads for itself, under one lock whose holder waits for the network: a reply that has been read
already waits with all who stand in line before it, until as many more bytes have come (httpx2 #1133 is of the same
kind). So one request reads for all, the others wait here until something has come for them, and whoever holds the lock
lets those behind him have a look before he waits for more.
"""

import asyncio
from collections.abc import Iterable

__all__ = ["SharedReading"]


class SharedReading:
    """The requests on one connection, by the numbers of their streams."""

    __slots__ = ("_looks", "_over", "_parked", "_reader", "_streams")

    def __init__(self) -> None:
        #: Those that are under way, and whether something has come for them.
        self._streams: dict[int, bool] = {}
        #: Those of them that wait here.
        self._parked: dict[int, asyncio.Future[None]] = {}
        #: The one that reads for all.
        self._reader: int | None = None
        #: How many may stand in line for what has come.
        self._looks = 0
        self._over = False

    def begin(self, stream: int) -> None:
        """A request begins to be written."""
        # It may stand in line, for room to send, before those who have just been woken.
        self._looks += len(self._streams) > len(self._parked)
        self._streams[stream] = False

    async def wait(self, stream: int) -> None:
        """Until something has come for *stream*, or it is the one to read."""
        if self._over or self._streams.get(stream):
            return
        if self._reader is None:
            self._reader = stream
            return
        self._parked[stream] = asyncio.get_running_loop().create_future()
        try:
            await self._parked[stream]
        finally:
            self._parked.pop(stream, None)

    def leave(self, stream: int) -> None:
        """A request is over; if it has read for all, the one that has waited longest does from now on."""
        self._streams.pop(stream, None)
        if stream == self._reader:
            self._reader = next(iter(self._parked), None)
            self._wake(self._reader)

    def came(self, streams: Iterable[int]) -> None:
        """Something has come, for *streams* among others."""
        for stream in streams:
            if stream in self._streams:
                self._streams[stream] = True
                self._wake(stream)
        self._looks = max(0, len(self._streams) - len(self._parked) - 1)

    def look(self) -> bool:
        """Whether whoever would wait for the network is to let the next in line have a look at what has come."""
        if self._looks:
            self._looks -= 1
            return True
        return False

    def end(self) -> None:
        """Nothing more will come."""
        self._over = True
        for stream in list(self._parked):
            self._wake(stream)

    def _wake(self, stream: int | None) -> None:
        parked = self._parked.pop(stream, None) if stream is not None else None
        if parked is not None and not parked.done():
            parked.set_result(None)
