"""Where a sandbox reads pictures: in threads while it has sockets to serve, in the event loop otherwise.

Threads end in any order: in process, and in virtual time, a test would be another one each time.
"""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sandbox import Sandbox

__all__ = ["AtOnce", "in_threads"]


class AtOnce(Executor):
    """Does what it is given before it returns."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """What has become of *fn*: it is over."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            future.set_exception(error)
        return future


@contextlib.contextmanager
def in_threads(sandbox: "Sandbox") -> Iterator[None]:
    """Within, *sandbox* reads pictures in a few threads."""
    try:
        with ThreadPoolExecutor(max_workers=4, thread_name_prefix="sandbox-zip") as sandbox.readers:
            yield
    finally:
        sandbox.readers = AtOnce()
