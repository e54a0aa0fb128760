"""All chance comes from the seed: random numbers, ids, keys, the order of sets; and all time from the loop."""

import contextlib
import gc
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any
from unittest import mock

import aiosqlite.core
import anyio.to_thread
import httpcore._async.http2
import httpcore._async.http11
import httpcore2._async.http2
import httpcore2._async.http11
from anyio._backends import _asyncio as backend
from simulator.loop import SimLoop, numbered

from smile_async.transport import pool

__all__ = ["seeded", "sweep"]


#: They look at the time to know which of their connections have been idle for too long.
_WATCHES = (httpcore._async.http2, httpcore._async.http11, httpcore2._async.http2, httpcore2._async.http11)


@contextlib.contextmanager
def seeded(seed: object, loop: SimLoop) -> Iterator[None]:
    """Within, the same *seed* gives the same run."""
    chance = random.Random(f"{seed}: bytes")
    before = random.getstate()
    random.seed(f"{seed}: random")

    async def at_once(work: Callable[..., Any], *args: Any, **_: Any) -> Any:
        return await loop.run_in_executor(None, work, *args)

    with contextlib.ExitStack() as patched:
        for target, name, value in (
            (os, "urandom", chance.randbytes),
            (random, "_urandom", chance.randbytes),
            (pool, "monotonic", loop.time),
            (anyio.to_thread, "run_sync", at_once),
            (aiosqlite.core, "SimpleQueue", _AtOnce),
            (aiosqlite.core, "Thread", mock.Mock),
            (backend, "CancelScope", _Scope),
            *((module, "time", SimpleNamespace(monotonic=loop.time)) for module in _WATCHES),
        ):
            patched.enter_context(mock.patch.object(target, name, value))
        # Destructors would run where a seed can not tell; what was there before is none of `sweep`'s business.
        gc.disable()
        gc.freeze()
        try:
            yield
        finally:
            gc.enable()
            random.setstate(before)


class _Scope(backend.CancelScope):
    """A scope whose place in a set does not depend on its address."""

    __hash__ = numbered  # type: ignore[assignment]


class _AtOnce(SimpleQueue[Any]):
    """What aiosqlite's thread would do, done by whoever asks for it."""

    def put_nowait(self, item: Any) -> None:
        future, work = item
        try:
            found = work()
        except BaseException as error:  # noqa: BLE001 - it is the awaiting task's
            if future is not None and not future.done():
                future.set_exception(error)
        else:
            if future is not None and not future.done():
                future.set_result(found)


def sweep() -> None:
    """Let go of what dropped processes have left, unheard."""
    blame, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings(action="ignore"):
            gc.collect()
    finally:
        sys.unraisablehook = blame
