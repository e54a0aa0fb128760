"""Which other threads of this process are at work: what they do may be the next thing that the event loop hears.

A thread says nothing when it begins. Three things tell: where its Python code stands, if it belongs to a pool; what
Linux says that it waits for; and how long it has run, or wanted to, since it was last seen. On a loaded machine a
thread may want the processor for longer than any threshold before it gets it.
"""

import os
import platform
import queue
import sys
import threading
import time
from pathlib import Path
from types import FrameType

__all__ = ["TASKS", "Threads", "place"]

#: Where the threads of a pool take their next errand: one that is in a function below has one, whatever it waits for.
LOOPS = {("concurrent.futures.thread", "_worker"), ("smile_async.traffic.readers", "_serve")}
#: proc(5): a directory for each thread, with what it waits for, and what it has run.
TASKS = Path("/proc/self/task")
#: The system call in which a thread waits for a lock; Linux, arch/x86/entry/syscalls and scripts/syscall.tbl.
FUTEX = {"x86_64": "202", "aarch64": "98"}.get(platform.machine(), "")
#: Where Python code waits for others.
WAITING = (threading.__file__, queue.__file__)
#: Real seconds for which a thread may be silent in another call, such as one that writes to a disk, before it counts
#: as one that waits for the world, as servers do.
SILENT = 0.25


#: What such a thread did last may be what the event loop hears next.
_ENDED = "a thread that has just ended"


class Threads:
    """The threads of this process but for the calling one, as they were when they were last looked at.

    *threshold*: real seconds without a move after which a thread is at rest.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        #: By thread: the nanoseconds that it has run or wanted to, when that last grew, and when it was looked at.
        self._seen: dict[int, tuple[int, float, float]] = {}

    def at_work(self, *, foreign: bool = True) -> str:
        """A thread that is at work, and where; "" if none is. Not *foreign*: none of a library without Python."""
        numbers = _numbers()
        seen, self._seen = self._seen, {}
        if len(numbers) == 1:
            return _ENDED if seen else ""
        frames = sys._current_frames()  # noqa: SLF001 - there is no other way to see them
        known = {thread.native_id: thread for thread in threading.enumerate()}
        found = ""
        for number in numbers or [number for number in known if number]:
            thread = known.get(number)
            if thread is threading.current_thread():
                continue
            frame = None if thread is None else frames.get(thread.ident or 0)
            # Before it is asked whether it has moved: it may end its errand while it is looked at.
            errand = thread is not None and _on_errand(thread, frame)
            greedy, still, call = self._moves(number, seen)
            if thread is None:
                found = f"thread {number}" if foreign and (greedy or still < self._threshold) else found
                continue
            # It has an event loop of its own, as one that serves has.
            serving = frame is not None and frame.f_globals.get("__name__") == "selectors"
            # Elsewhere in Python code the lock it waits for may be Python's own, which we hold.
            parked = call == FUTEX and (frame is None or frame.f_code.co_filename in WAITING or _is_loop(frame))
            rest = self._threshold if parked or serving else SILENT
            if greedy or still < rest or (errand and not serving):
                found = f"thread {thread.name!r} at {place(frame)}"
        return found or (_ENDED if any(map(_is_gone, {*seen, *numbers} - self._seen.keys())) else "")

    def _moves(self, number: int, seen: dict[int, tuple[int, float, float]]) -> tuple[bool, float, str]:
        """Whether it wants the processor, for how many seconds it did not, and the call in which it waits."""
        now = time.monotonic()
        try:
            ran, waited, _ = _told(number, "schedstat").split()
            call = _told(number, "syscall").split()[0]
        except (OSError, ValueError):
            return False, float("inf"), FUTEX
        wanted = int(ran) + int(waited)
        before, moved, looked = seen.get(number, (wanted, now, now))
        self._seen[number] = (wanted, moved if wanted == before else now, now)
        # Whether it waits for a lock or for Python's own, which we hold, can not be seen: but how it spent its time.
        greedy = call == "running" or wanted - before > 0.5e9 * (now - looked) > 0
        return greedy, now - self._seen[number][1], call


def place(frame: FrameType | None) -> str:
    """Where code stands."""
    if frame is None:
        return "its beginning"
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}"


def _numbers() -> list[int]:
    try:
        # The directory's own two links, and one for each thread: quicker to ask than to list.
        if os.stat(TASKS).st_nlink == 3:  # noqa: PTH116
            return [threading.get_native_id()]
        return [int(name) for name in os.listdir(TASKS)]  # noqa: PTH208 - a third of the time, before each jump
    except OSError:
        return []


def _told(number: int, what: str) -> str:
    # Path.read_text takes 50 us, this 9, and a look asks twice of each thread.
    file = os.open(f"{TASKS}/{number}/{what}", os.O_RDONLY)
    try:
        return os.read(file, 256).decode()
    finally:
        os.close(file)


def _is_gone(number: int) -> bool:
    return not (TASKS / str(number)).exists()


def _is_loop(frame: FrameType) -> bool:
    return (frame.f_globals.get("__name__"), frame.f_code.co_name) in LOOPS


def _on_errand(thread: threading.Thread, frame: FrameType | None) -> bool:
    # A thread of anyio's pool.
    if getattr(getattr(thread, "queue", None), "unfinished_tasks", 0):
        return True
    below = False
    while frame is not None:
        if _is_loop(frame):
            return below
        below = below or frame.f_code.co_filename not in WAITING
        frame = frame.f_back
    return False
