"""The shared HTTP/2 pool: shards of one connection each, retired before they make anybody else ill.

httpcore gives an origin one HTTP/2 connection of at most 100 streams, leaks a stream for each cancelled request, and
fails every neighbour on GOAWAY. So a shard takes fewer requests than a connection has streams, a sick or worn one takes
no more and is closed when its last request is back, and another opens in its place.
"""

from functools import partial
from operator import attrgetter
from time import monotonic

import anyio

from smile_async.contained import contained
from smile_async.log import log
from smile_async.protocol.steps import Sent
from smile_async.transport.engine import Body, Engine, EngineFactory, NoReply, Reply, Watched
from smile_async.undivided import undivided

__all__ = ["Pool"]


#: Below the 100 streams that servers commonly allow, with room for those that cancelled requests leak.
REQUESTS_AT_ONCE = 80
#: Cancelled requests whose streams may still be open: 80 + 16 < 100.
CANCELLED_AT_MOST = 16
#: Requests a connection serves in its life: nginx says GOAWAY after 1,000 (its keepalive_requests), ALB after 10,000.
REQUESTS_IN_ALL = 900
#: Seconds for which a connection must have said nothing before a request's lack of an answer says anything of it.
SILENT_AFTER = 2.0
#: The one reason that is no cause for alarm.
WORN = "worn"


_busy = attrgetter("busy")


class _Shard:
    __slots__ = ("abandoned", "busy", "engine", "heard_at", "retired", "served")

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.busy = 0
        self.served = 0
        self.abandoned = 0
        self.heard_at = 0.0
        self.retired = False


class Pool:
    """Sends requests over as few shards as will do, or, not *sharded*, over one engine that never retires."""

    __slots__ = ("_closed", "_make", "_sharded", "_shards", "busy", "http2", "retired", "versions")

    def __init__(self, make: EngineFactory, *, http2: bool, sharded: bool) -> None:
        self._make = make
        self._sharded = sharded
        self._shards: list[_Shard] = []
        self._closed = False
        self.http2 = http2
        #: Requests in flight.
        self.busy = 0
        #: Connections given up so far because they were sick or worn.
        self.retired = 0
        #: HTTP versions seen, and how many replies came over each.
        self.versions: dict[str, int] = {}

    @property
    def version(self) -> str:
        """The HTTP version of most replies so far, "" before the first."""
        return max(self.versions, key=self.versions.__getitem__, default="")

    async def send(
        self, method: str, url: str, headers: list[tuple[str, str]], body: bytes | Body, within: float
    ) -> Reply:
        """One whole reply within so many seconds, or NoReply. Cancelling abandons the request."""
        if self._closed:
            raise NoReply(Sent.UNSENT, "the session is closed")
        shard = self._choose()
        watched = body if isinstance(body, Watched) else None
        self.busy += 1
        shard.busy += 1
        shard.served += 1
        # Not asyncio's: a scope of the application that ends as well would let that one's cancellation out.
        started, limit = monotonic(), anyio.move_on_after(within)
        back = echo = False
        try:
            with limit:
                sending = shard.engine.send(method, url, headers, body)
                # This frame is in the traceback of a cancelled caller: a presigned URL must not be, nor a person.
                del url, body
                reply = await sending
                back = True
                shard.heard_at = monotonic()
                self.versions[reply.http_version] = self.versions.get(reply.http_version, 0) + 1
                return reply
        except NoReply as told:
            back = True
            told.echo = shard.retired
            told.stale = told.sent is Sent.AMBIGUOUS and shard.heard_at > 0
            # An oversized reply as well: what is left of it fills the connection's window, and later replies stall.
            if told.sent is not Sent.UNSENT:
                self._retire(shard, told.why)
            raise
        finally:
            if watched is not None:
                watched.withdraw()
            self.busy -= 1
            shard.busy -= 1
            shard.abandoned += not back
            echo = shard.retired
            # Not the time since *started*, where nothing came meanwhile: a timer may fire a hair early.
            silence = within if shard.heard_at <= started else monotonic() - shard.heard_at
            if limit.cancel_called and silence >= SILENT_AFTER:
                self._retire(shard, "silent")
            await self._look_after(shard)
        unsent = watched is not None and not watched.begun
        sent, what = (Sent.UNSENT, "connection") if unsent else (Sent.AMBIGUOUS, "answer")
        late = NoReply(sent, f"no {what} within {within:.3g} s", echo=echo, silent=within >= SILENT_AFTER)
        late.hurried = not late.silent
        raise late

    def _choose(self) -> _Shard:
        if self._shards:
            idlest = min(self._shards, key=_busy)
            if idlest.busy < REQUESTS_AT_ONCE or not self._sharded:
                return idlest
        try:
            shard = _Shard(self._make(self.http2))
        except BaseException as error:  # noqa: BLE001 - an application's factory raises what it likes
            raise NoReply(Sent.UNSENT, f"no connection could be made ({type(error).__name__})") from None
        self._shards.append(shard)
        return shard

    def _retire(self, shard: _Shard, why: str) -> None:
        if shard.retired or not self._sharded or shard not in self._shards:
            return
        shard.retired = True
        self.retired += 1
        self._shards.remove(shard)
        say = log.debug if why == WORN else log.warning
        say("connection retired (%s)", why, extra={"smile_why": why, "smile_requests": shard.served})

    async def _look_after(self, shard: _Shard) -> None:
        if shard.abandoned >= CANCELLED_AT_MOST:
            self._retire(shard, "too many abandoned requests")
        elif self.http2 and shard.served >= REQUESTS_IN_ALL:
            self._retire(shard, WORN)
        if shard.retired and not shard.busy:
            await undivided(partial(_hang_up, shard, 1.0))

    async def aclose(self) -> None:
        """Close all connections; what is still in flight fails."""
        self._closed = True
        while self._shards:
            await _hang_up(self._shards.pop())


async def _hang_up(shard: _Shard, within: float | None = None) -> None:
    # It may be a user's transport; the replies that have come, and the other shards, count for more.
    with anyio.move_on_after(within):
        error = await contained(shard.engine.aclose)
        if error is not None:
            log.warning("a connection could not be closed (%s)", type(error).__name__)
