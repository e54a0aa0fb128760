"""A clock for tests that jumps to the next moment anybody waits for, as soon as nothing else is left to do.

A human review takes two hours, and a test of what happens afterwards should take milliseconds and give the same result
every time. So time does not run here, it is moved: when the event loop has nothing ready, and neither a thread nor a
socket has anything for it, everybody waits for time alone, and the first of them has waited long enough.
"""

import asyncio
import contextlib
import heapq
import os
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import anyio
import anyio.lowlevel

from smile_async.timing.clock import Event
from smile_async.timing.threads import TASKS, Threads, place

__all__ = ["VirtualClock", "VirtualTimeIsUp"]

#: Whether threads that are at work can be seen, those of pools aside.
SEES_THREADS = TASKS.is_dir()
#: Turns of the event loop without a pause after which it counts as idle all the same: somebody is spinning, perhaps
#: until the very moment that would never come.
PATIENT_TURNS = 10_000
#: Real seconds between looks while something else may have an answer.
LOOK = 0.001
#: Looks after which time passes all the same, if no socket has said anything meanwhile: somebody asks again and again
#: in real time for what only time can bring.
PATIENT_LOOKS = 100
#: Real seconds for which a thread may be at work while somebody waits for time to pass.
STUCK = 60.0
#: Real seconds for which a library's own thread holds up time: where it wakes all the while for nothing, as an idle
#: server's may, a loaded machine does not see it at rest.
FOREIGN = 5.0
#: As many sleepers and tasks are named where time does not pass.
NAMED = 10


class VirtualTimeIsUp(RuntimeError):
    """Time can not pass any more: so much has that this must wait for what never happens, or a thread does not end.

    The text names whom everybody waits for: the sleepers, and the tasks that wait without a limit.
    """


class _Sleeper:
    """One wait; *reason* says why it ends in an error."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self.scope = scope
        self.task = asyncio.current_task()
        self.awake = False
        self.reason = ""

    def wake(self, reason: str = "") -> None:
        self.reason = reason
        self.scope.cancel()


class VirtualClock:
    """A `Clock` that starts at *now* (seconds since 1970, None: this machine's time) and jumps.

    It jumps when the event loop has nothing to do, no other thread is at work, and open sockets have been silent for
    *threshold* real seconds. So databases and threads need nothing from a test; a server in another process that may
    take longer to answer needs a larger threshold. Without sockets and threads it does not wait at all.

    After *horizon* seconds it refuses to go on, and whoever waits for it gets VirtualTimeIsUp: a test that waits for
    what never happens would spin for ever. Used by one event loop at a time; asyncio only.
    """

    def __init__(self, now: float | None = None, *, horizon: float = 30 * 86_400.0, threshold: float = 0.01) -> None:
        self._began = time.time() if now is None else now
        self._horizon = horizon
        self._threshold = threshold
        self._elapsed = 0.0
        self._timers: list[tuple[float, int, _Sleeper]] = []
        self._numbers = count()
        self._held = 0
        self._turns = 0
        self._looking = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = Threads(threshold)
        self._looks = 0
        #: Real moments: of the last jump or first look, since when the loop has nothing to do, of a socket's last word.
        self._stood_since: float | None = None
        self._quiet_since: float | None = None
        self._heard = 0.0
        #: What this thread had run when it last looked.
        self._ran = 0.0

    def __repr__(self) -> str:
        return f"<VirtualClock, {self._elapsed:.10g} s after its start>"

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return self._began + self._elapsed

    def monotonic(self) -> float:
        """Seconds since this clock was made, by this clock."""
        return self._elapsed

    def stamp(self) -> str:
        """This clock, and its seconds so far: see `clock.stamp`."""
        return f"virtual-{os.getpid()}-{id(self)} {self._elapsed!r}"

    async def wait(self, event: Event, timeout: float | None) -> bool:
        """Wait until *event* is set (True) or *timeout* virtual seconds have passed (False); None waits for ever."""
        if timeout is None or timeout == float("inf"):
            await event.wait()
            return True
        if timeout <= 0 or event.is_set():
            await anyio.lowlevel.checkpoint()
            return event.is_set()
        self._bind()
        with anyio.CancelScope() as scope:
            sleeper = _Sleeper(scope)
            heapq.heappush(self._timers, (self._elapsed + timeout, next(self._numbers), sleeper))
            self._look_soon()
            try:
                await event.wait()
            finally:
                sleeper.awake = True
        if sleeper.reason and not event.is_set():
            raise VirtualTimeIsUp(sleeper.reason)
        return event.is_set()

    async def sleep(self, seconds: float) -> None:
        """Let *seconds* of virtual time pass."""
        await self.wait(anyio.Event(), seconds)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """No time passes within: for what takes real time on purpose, as the sandbox's slow answers do."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self._look_soon()

    def _bind(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # What an earlier loop left behind can not be woken any more.
            self._timers.clear()
            self._looking = False
            self._stood_since = None
            self._loop = loop
            self._overhear(getattr(loop, "_selector", None))

    def _overhear(self, selector: Any) -> None:
        """Note when a socket says something: the loop tells nobody."""
        if selector is not None:
            select = selector.select

            def overheard(timeout: float | None = None) -> Any:
                if events := select(timeout):
                    self._heard = time.monotonic()
                return events

            selector.select = overheard

    def _look_soon(self, after: float = 0.0) -> None:
        if self._looking or not self._timers or self._held or self._loop is None:
            return
        self._looking = True
        if after:
            self._loop.call_later(after, self._look, self._loop)
        else:
            self._loop.call_soon(self._look, self._loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._loop:
            return
        self._looking = False
        while self._timers and self._timers[0][2].awake:
            heapq.heappop(self._timers)
        if not self._timers or self._held:
            self._stood_since = None
            return
        self._turns += 1
        if self._turns < PATIENT_TURNS and self._is_busy(loop):
            self._quiet_since = None
            self._look_soon()
        else:
            self._turns = 0
            self._look_around(loop)
        self._ran = time.thread_time()

    def _look_around(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._may_jump(loop):
            self._stood_since = self._quiet_since = None
            self._jump(loop)
            self._look_soon()
        else:
            self._look_soon(after=LOOK)

    def _is_busy(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether anything is ready to run after this very callback; uvloop does not show it."""
        ready = getattr(loop, "_ready", None)
        return bool(ready) if ready is not None else time.thread_time() - self._ran > LOOK / 2

    def _may_jump(self, loop: asyncio.AbstractEventLoop) -> bool:
        now = time.monotonic()
        if self._stood_since is None:
            self._stood_since, self._looks = now, 0
        if self._quiet_since is None:
            self._quiet_since = now
        elif self._heard > self._quiet_since:
            self._quiet_since, self._looks = now, 0
        self._looks += 1
        if who := self._threads.at_work(foreign=now - self._stood_since < FOREIGN):
            if now - self._stood_since >= STUCK:
                self._give_up(f"no time has passed for {STUCK:g} s, as {who} is at work; {self._waiting(loop)}")
            return False
        silent = not _has_sockets(loop) or now - self._quiet_since >= self._threshold
        return silent or self._looks >= PATIENT_LOOKS

    def _give_up(self, reason: str) -> None:
        for _, _, sleeper in self._timers:
            sleeper.wake(reason)
        self._timers.clear()
        # Who sleeps next has not waited for any of it.
        self._stood_since = None

    def _jump(self, loop: asyncio.AbstractEventLoop) -> None:
        # One sleeper at a time, in the order of their moments: what the first does may concern the second.
        when, _, sleeper = self._timers[0]
        self._elapsed = max(self._elapsed, min(when, self._horizon))
        late = f"{self._horizon:.10g} s have passed: this waits for what never happens; "
        sleeper.wake(late + self._waiting(loop) if when >= self._horizon else "")
        heapq.heappop(self._timers)

    def _waiting(self, loop: asyncio.AbstractEventLoop) -> str:
        asleep = [(when, sleeper.task) for when, _, sleeper in sorted(self._timers) if not sleeper.awake]
        told = [f"{_stand(task)} until {when:.10g} s" for when, task in asleep[:NAMED]]
        sleepers = {task for _, task in asleep}
        others = [_stand(task) for task in asyncio.all_tasks(loop) if task not in sleepers]
        return "\n  ".join(["asleep:", *told, "waiting without a limit:", *sorted(others)[:NAMED]])


def _has_sockets(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the loop hears more than its own bell, or it can not be seen."""
    selector = getattr(loop, "_selector", None)
    return selector is None or len(selector.get_map()) > 1 or not SEES_THREADS


def _stand(task: "asyncio.Task[Any] | None") -> str:
    """A task's name, and the lines in which it waits: its first, and the last before that of a library."""
    frames: list[str] = []
    awaited: Any = task.get_coro() if task else None
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        if frames and frame.f_globals.get("__name__", "").startswith(("anyio", "asyncio", __name__)):
            break
        frames.append(place(frame))
        awaited = awaited.cr_await
    return " … ".join([task.get_name() if task else "", *dict.fromkeys([*frames[:1], *frames[-1:]])])
