"""Where applications run: a place has a disk and lives one process after another; each may be dropped at any await."""

import asyncio
import contextvars
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.batches import DRAIN, batch_of
from simulator.clock import LoopClock
from simulator.errands import Errand, stream_of
from simulator.loop import PROCESS, Process

from smile_async import CallbackReceiver, SmileError, SmileSession, Verdict
from smile_async.batch import Run
from smile_async.contained import contained
from smile_async.ledger import Ledger

if TYPE_CHECKING:
    from simulator.world import World

__all__ = ["Place"]

#: Seconds that leaving a session may take: five for its tasks, and five for each thing it closes.
LEAVING = 25.0


class Place:
    """One place of *world*, with a *ledger* of its own or none; *works*: through a batch."""

    def __init__(self, world: "World", name: str, *, http: str, ledger: Path | str | None, works: bool) -> None:
        self.world = world
        self.name = name
        self.http = http
        self.ledger = ledger
        self.works = works
        #: Where its webhooks go, "" for the portal's URL, and how it fetches tokens: of V3.
        self.hooks, self.tokens = "", "shared"
        self.clock = LoopClock(world.loop)
        self.clock.before_wait = self._clock_may_fail
        self.errands: list[Errand] = []
        self.life = 0
        self.process: Process | None = None
        self.session: SmileSession | None = None
        self.receiver: CallbackReceiver | None = None
        self.run: Run | None = None
        self.stopping = False
        self._ended = asyncio.Event()
        self._stop: asyncio.Event | None = None

    def may_crash(self) -> bool:
        """Whether a session may have come to its end by itself."""
        return self.world.weather.has("the clock fails")

    def _clock_may_fail(self) -> None:
        task = asyncio.current_task()
        if (
            task is not None
            and task.get_name() == "smile_async poller"
            and self.world.weather.reigns("the clock fails")
        ):
            raise RuntimeError("the clock has failed")

    # Outside of any process.

    async def live(self) -> None:
        """One process after another, until all errands are over."""
        weather, loop = self.world.weather, self.world.loop
        while any(not errand.end for errand in self.errands):
            self.life += 1
            dies = weather.strikes("killed")
            dies_at = int(10 ** weather.uniform(0.5, 4.0)) if dies else None
            process = self.process = Process(f"{self.name}.{self.life}", dies_at)
            self.world.processes.append(process)
            self.world.tell(f"{process.name} begins")
            for errand in self.errands:
                errand.new_life()
            self._ended.clear()
            task = loop.spawn(process, self._live(), "application")
            task.add_done_callback(self._over, context=contextvars.Context())
            if weather.strikes("restarted"):
                loop.call_later(weather.uniform(0.0, 60.0), self.stop, process)
            await self._ended.wait()
            self.stopping = False
            self.session = self.receiver = self.run = None
            if not process.dead:
                await self._nothing_left(process)
                process.dead = True
            await asyncio.sleep(weather.uniform(0.0, 20.0))

    def _over(self, task: "asyncio.Task[Any]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.world.rules.broke(f"{self.name}: {error!r}")
            self.world.crashes.append(error)
        self._ended.set()

    def dropped(self) -> None:
        """The process is no more."""
        self.world.tell(f"{self.name}.{self.life} is dropped")
        self._ended.set()

    def stop(self, process: Process) -> None:
        """Tell *process* to come to an end."""
        if self.process is process and not process.dead and self._stop is not None:
            self.stopping = True
            self._stop.set()

    async def _nothing_left(self, process: Process) -> None:
        await asyncio.sleep(2.0)
        loop, rules = self.world.loop, self.world.rules
        if left := loop.tasks_of(process):
            rules.broke(f"{process.name} has left tasks behind: {left}")
        if count := self.world.network.left_open(process):
            rules.broke(f"{process.name} has left {count} connections open")

    # In the process.

    async def _live(self) -> None:
        self._stop = asyncio.Event()
        error = await contained(self._with_ledger)
        if isinstance(error, SmileError):
            self.world.tell(f"{self.name}.{self.life} ends with {type(error).__name__}: {error}")
        elif error is not None:
            raise error

    async def _with_ledger(self) -> None:
        if self.ledger is None:
            await self._with_session(None)
            return
        ledger = Ledger(self.ledger, clock=self.clock)
        process = PROCESS.get()
        assert process is not None
        process.closers += [ledger.database.release, ledger.database.hang_up]
        async with ledger:
            await self._with_session(ledger)

    async def _with_session(self, ledger: Ledger | None) -> None:
        world = self.world
        session = SmileSession(
            world.sandbox.partner_id,
            world.sandbox.api_key,
            http=self.http,
            ledger=ledger,
            clock=self.clock,
            in_thread=world.disk.read,
            **world.account(self),
        )
        self.receiver = CallbackReceiver(session, self._on_verdict)
        async with session:
            self.session = session
            askers = self._askers(session, ledger)
            stop = asyncio.ensure_future(self._stop.wait())  # type: ignore[union-attr]
            crash = asyncio.ensure_future(self._crashed(session))
            whole = asyncio.ensure_future(asyncio.gather(*askers))
            await asyncio.wait([whole, stop, crash], return_when=asyncio.FIRST_COMPLETED)
            self.stopping = True
            if self.run is not None:
                self.run.stop()
                await asyncio.wait([whole, crash], timeout=DRAIN + 20.0, return_when=asyncio.FIRST_COMPLETED)
            left_at = world.loop.now
        world.rules.awaited(f"leaving the session of {self.name}", left_at, LEAVING)
        for task in (stop, crash):
            task.cancel()
        for asker in askers:
            if asker.done() and not asker.cancelled() and asker.exception():
                world.rules.broke(f"a caller at {self.name} raised {asker.exception()!r}")
        _, late = await asyncio.wait(askers, timeout=1.0 if whole.done() else 400.0)
        if late:
            world.rules.broke(f"{len(late)} callers at {self.name} are not told that the session is closed")
        for task in (*askers, stop, crash, whole):
            task.cancel()
        await asyncio.gather(*askers, stop, crash, whole, return_exceptions=True)

    def _askers(self, session: SmileSession, ledger: Ledger | None) -> "list[asyncio.Task[None]]":
        open_ones = [errand for errand in self.errands if not errand.end]
        if self.works and ledger is not None:
            return [asyncio.create_task(batch_of(self, session, ledger, self.errands), name="worker")]
        alone = [errand for errand in open_ones if errand.way != "stream"]
        streamed = [errand for errand in open_ones if errand.way == "stream"]
        askers = [asyncio.create_task(errand.ask(session), name="caller") for errand in alone]
        if streamed:
            askers.append(asyncio.create_task(stream_of(self, session, streamed), name="caller"))
        return askers

    async def _crashed(self, session: SmileSession) -> None:
        while session.host.open:
            await asyncio.sleep(1.0)
            self.world.rules.pending(session, self.name)

    async def _on_verdict(self, verdict: Verdict) -> None:
        world = self.world
        errand = next((each for each in self.errands if each.job_id == verdict.ticket.job_id), None)
        world.tell(f"{self.name}: a callback of job {verdict.ticket.job_id[:8]}: {verdict.code}")
        if errand is not None:
            asks = errand.foreign
            errand.foreign = True
            world.rules.verdict(errand, verdict, (self.process, "handler"))
            errand.foreign = asks
        if world.weather.strikes("handlers die"):
            end = world.weather.choice((asyncio.CancelledError, RuntimeError, None))
            if end is None:
                await asyncio.sleep(world.weather.uniform(1.0, 100.0))
            else:
                raise end("the handler has died")
