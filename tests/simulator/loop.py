"""An event loop whose time is a number, whose threads run at once, and whose processes can be dropped.

When nothing is ready, time jumps to the next timer: a request that hangs for thirty seconds costs no more than one
that is answered. So deadlines of requests, backoffs and reviews of two hours all pass alike, and always in the same
order. A process is a context variable: what a dropped one had scheduled never runs again, not even its `finally`.
"""

import asyncio
import contextvars
import itertools
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

__all__ = ["PROCESS", "Dropped", "Halted", "Process", "SimLoop", "Stuck", "numbered"]

#: Callbacks in a row without time passing: somebody spins.
SPINNING = 200_000
#: Real seconds to wait for real sockets, where there are any (a database server's), before time jumps.
REAL_LOOK = 0.02

PROCESS: "contextvars.ContextVar[Process | None]" = contextvars.ContextVar("process", default=None)
_numbers = itertools.count(1)


class Stuck(AssertionError):
    """Nobody can ever go on: all wait for what never comes."""


class Halted(BaseException):
    """A promise is broken: what follows is of no interest."""


class Dropped(BaseException):
    """The end of a process, for the code that runs at that very moment."""


def numbered(thing: Any) -> int:
    """A hash that is the same in every run, where the address of *thing* is not: sets keep their order."""
    try:
        number: int = thing._number
    except AttributeError:
        number = thing._number = next(_numbers)
    return number


class Process:
    """One program that runs in the simulation; *dies_at* so many callbacks it is dropped."""

    def __init__(self, name: str, dies_at: int | None = None) -> None:
        self.name = name
        self.dies_at = dies_at
        self.dead = False
        self.steps = 0
        #: What it would have run, and is kept so that no destructor runs either.
        self.grave: list[Any] = []
        #: What the operating system takes back.
        self.closers: list[Callable[[], object]] = []
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)

    def __repr__(self) -> str:
        return f"<{self.name}>"


class SimTask(asyncio.Task[Any]):
    """A task that knows its process."""

    def __init__(self, coro: Any, **more: Any) -> None:
        self._number = next(_numbers)
        context = more.get("context")
        self.process = PROCESS.get() if context is None else context.get(PROCESS)
        super().__init__(coro, **more)

    def __hash__(self) -> int:
        return self._number


class SimFuture(asyncio.Future[Any]):
    """A future whose place in a set does not depend on its address."""

    __hash__ = numbered  # type: ignore[assignment]


class _Jumping:
    """A selector that waits for real sockets only, and for them not long."""

    def __init__(self, loop: "SimLoop", real: selectors.BaseSelector) -> None:
        self._loop = loop
        self._real = real
        #: Those that the loop itself has.
        self._own = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def select(self, timeout: float | None = None) -> list[Any]:
        loop = self._loop
        if timeout == 0:
            loop.spins += 1
            if loop.spins > SPINNING:
                raise Stuck(f"somebody spins at {loop.now:.6f} s")
            return []
        if len(self._real.get_map()) > 1 and (events := self._real.select(REAL_LOOK)):
            loop.spins = 0
            return events
        loop.jump(timeout)
        return []


class SimLoop(asyncio.SelectorEventLoop):
    """See above. `thread_seconds` says how long a piece of thread work takes, before and after it has its effect."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.spins = 0
        self.horizon = float("inf")
        self.halted = False
        #: What has happened to the outside world of a process: replaced by the world.
        self.thread_seconds: Callable[[str], tuple[float, float]] = lambda _name: (0.0, 0.0)
        self.after_work: Callable[[], None] = lambda: None
        self.dropped: Callable[[Process], None] = lambda _process: None
        self.network: Any = None
        self.tasks_made = 0
        self._busy: dict[Any, float] = {}
        self._selector: Any = _Jumping(self, self._selector)  # type: ignore[has-type]
        self.set_task_factory(self._new_task)

    @staticmethod
    def _new_task(loop: Any, coro: Any, **more: Any) -> SimTask:
        loop.tasks_made += 1
        return SimTask(coro, loop=loop, **more)

    def create_future(self) -> SimFuture:
        return SimFuture(loop=self)

    # Time.

    def time(self) -> float:
        return self.now

    def jump(self, timeout: float | None) -> None:
        """Let the time pass until the next timer."""
        self.spins = 0
        if self.halted:
            raise Halted
        if timeout is None:
            if len(self._selector.get_map()) > 1:
                return
            raise Stuck(f"all wait for what never comes, at {self.now:.3f} s:\n{self.waiting()}")
        self.now = min(self._scheduled[0]._when, self.now + timeout)  # type: ignore[attr-defined]
        if self.now > self.horizon:
            raise Stuck(f"{self.now:.0f} s have passed:\n{self.waiting()}")

    def waiting(self) -> str:
        """What each task of a living process waits for."""
        lines = []
        for task in sorted(asyncio.all_tasks(self), key=hash):
            process = getattr(task, "process", None)
            if process is None or not process.dead:
                frames = task.get_stack(limit=1)
                where = f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else "?"
                lines.append(f"  {process} {task.get_name()} {getattr(task.get_coro(), '__qualname__', '')} at {where}")
        return "\n".join(lines)

    # Processes.

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        context = contextvars.copy_context() if context is None else context
        buried = self._stepped(callback, args, context)
        return buried or super().call_soon(callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        context = contextvars.copy_context() if context is None else context
        process = context.get(PROCESS)
        if process is not None and process.dead:
            process.grave.append((callback, args))
            handle = asyncio.TimerHandle(when, callback, args, self, context)
            handle._cancelled = True  # type: ignore[attr-defined]
            return handle
        return super().call_at(when, callback, *args, context=context)

    def _stepped(self, callback: Any, args: Any, context: Any) -> asyncio.Handle | None:
        process = context.get(PROCESS)
        if process is None:
            return None
        if process.dead:
            process.grave.append((callback, args))
            handle = asyncio.Handle(callback, args, self, context)
            handle._cancelled = True  # type: ignore[attr-defined]
            return handle
        process.steps += 1
        if process.steps == process.dies_at:
            super().call_soon(self.drop, process, context=contextvars.Context())
        return None

    def drop(self, process: Process) -> None:
        """The end of *process*, without goodbye."""
        if process.dead:
            return
        process.dead = True
        for handle in [*self._ready, *self._scheduled]:  # type: ignore[attr-defined]
            if handle._context.get(PROCESS) is process and not handle.cancelled():
                process.grave.append((handle._callback, handle._args))
                handle.cancel()
        process.grave += self.tasks_of(process)
        self._deafen(process)
        self.dropped(process)
        for close in process.closers:
            close()

    def _deafen(self, process: Process) -> None:
        """Nobody waits any more for the real sockets of *process*: one that is ready for ever would stop the time."""
        for key in list(self._selector.get_map().values()):
            for handle, remove in zip(key.data, (self._remove_reader, self._remove_writer), strict=True):  # type: ignore[attr-defined]
                if handle is not None and handle._context.get(PROCESS) is process:
                    remove(key.fd)

    def tasks_of(self, process: Process) -> list[Any]:
        """The tasks of *process* that have not ended, the oldest first."""
        found = (task for task in asyncio.all_tasks(self) if getattr(task, "process", None) is process)
        return sorted(found, key=hash)

    def spawn(self, process: Process, work: Any, name: str) -> SimTask:
        """Run the coroutine *work* as a task of *process*."""
        return SimTask(work, loop=self, name=name, context=process.context.copy())

    # Threads.

    def run_in_executor(self, executor: Executor | None, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """Now, or as soon as the thread is free; what comes of it is heard a while later."""
        future = self.create_future()
        name = getattr(executor, "_thread_name_prefix", "")
        before, after = self.thread_seconds(name)
        start = max(self.now, self._busy.get(executor, 0.0) if name else 0.0) + before
        if name:
            self._busy[executor] = start + after
        if start <= self.now and not after:
            _settle(future, *self._performed(func, args))
        else:
            self.call_at(start, self._begin, future, func, args, after)
        return future

    def _begin(self, future: Any, func: Any, args: Any, after: float) -> None:
        self.call_later(after, _settle, future, *self._performed(func, args))

    def _performed(self, func: Any, args: Any) -> tuple[Any, BaseException | None]:
        try:
            return func(*args), None
        except BaseException as error:  # noqa: BLE001 - it is the awaiting task's
            return None, error
        finally:
            self.after_work()

    # The network: see `wire`.

    async def getaddrinfo(self, host: Any, port: Any, **more: Any) -> Any:  # type: ignore[override]
        if self.network is not None and self.network.knows(host):
            return await self.network.resolve(host, port)
        return await super().getaddrinfo(host, port, **more)

    async def sock_connect(self, sock: Any, address: Any) -> None:
        if self.network is not None and self.network.knows(address[0]):
            await self.network.reach(sock, address)
        else:
            await super().sock_connect(sock, address)

    async def create_connection(self, protocol_factory: Any, *args: Any, **more: Any) -> Any:  # type: ignore[override]
        if self.network is not None and more.get("sock") in self.network.reached:
            return self.network.connect(protocol_factory, more["sock"])
        return await super().create_connection(protocol_factory, *args, **more)

    async def start_tls(self, transport: Any, protocol: Any, sslcontext: Any, **more: Any) -> Any:  # type: ignore[override]
        if self.network is not None and hasattr(transport, "shake_hands"):
            return await transport.shake_hands(sslcontext)
        return await super().start_tls(transport, protocol, sslcontext, **more)


def _settle(future: Any, found: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(found)
    elif isinstance(error, StopIteration):
        future.set_exception(RuntimeError("StopIteration"))
    else:
        future.set_exception(error)
        future.exception()
