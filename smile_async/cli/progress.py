"""What a command that runs for hours does beside its work: show how far it is, and stop when it is asked to."""

import asyncio
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from rich.columns import Columns
from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from smile_async.batch import Tally
from smile_async.cli.output import ExitCode, aside, redrawn

__all__ = ["interruptible", "shown"]


class Stoppable(Protocol):
    """What can be asked to come to an end."""

    @property
    def stopping(self) -> bool:
        """Whether it was asked already."""

    def stop(self) -> None:
        """Take nothing new, and end soon."""


class Telling(Protocol):
    """What knows how far it is."""

    @property
    def tally(self) -> Tally:
        """How far that is."""


@contextmanager
def interruptible(run: Stoppable) -> Iterator[None]:
    """Ctrl-C once: no more rows, and a while for those under way. Twice: out at once; the ledger knows the rest."""
    if threading.current_thread() is not threading.main_thread():
        # Signals belong to the main thread, and so to whoever called us from there.
        yield
        return
    loop = asyncio.get_running_loop()

    def asked_to_stop() -> None:
        if run.stopping:
            os._exit(ExitCode.PENDING)
        aside().print("stopping: jobs under way get a moment; once more to leave at once, both can be resumed")
        run.stop()

    for which in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(which, asked_to_stop)
    try:
        yield
    finally:
        for which in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(which)


class _Bar(Progress):
    """A bar of one line, and below it what has been said so far, in as many lines as the terminal needs."""

    said: Sequence[str] = ()

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        # Which does not part a word from its count.
        yield Columns(self.said, padding=(0, 2))


@contextmanager
def shown(run: Telling, manifest: Path) -> Iterator[None]:
    """Progress on standard error, refreshed a few times a second and not with each of a million rows."""
    columns = (
        TextColumn("{task.percentage:>3.0f}%"),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        TextColumn("{task.fields[count]}  {task.fields[rate]}  {task.fields[left]}"),
    )
    console = redrawn()
    # Into a log goes no bar, nor the empty line that it would end with.
    with _Bar(*columns, console=console, expand=True, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, count="", rate="", left="")
        loop = asyncio.get_running_loop()
        about = _rows_in(manifest)
        #: When, and how many verdicts had come by then, over half a minute: a rate that follows what happens.
        lately = deque([(loop.time(), 0)], maxlen=120)

        async def refresh() -> None:
            while True:
                tally = run.tally
                lately.append((loop.time(), tally.fresh))
                (then, before), (now, fresh) = lately[0], lately[-1]
                bar.said, figures = _figures(tally, about, (fresh - before) / (now - then) if now > then else 0.0)
                bar.update(task, **figures)
                await asyncio.sleep(0.25)

        showing = asyncio.create_task(refresh())
        try:
            yield
        finally:
            showing.cancel()


def _figures(tally: Tally, about: int, rate: float) -> tuple[list[str], dict[str, Any]]:
    """What has been said of how many rows, and the figures of the bar; *about* so many rows there may be."""
    provisional = tally.decisions.get("provisional", 0)
    open_rows = max(tally.pending - provisional, 0)
    total = tally.rows if tally.whole else max(tally.rows, about)
    over = tally.rows - open_rows
    left = timedelta(seconds=int((total - over) / rate)) if rate > 0 else "-"
    counts = [*sorted(tally.decisions.items()), ("failed", tally.failed), ("waiting", open_rows)]
    return [f"{word} {count:,}" for word, count in counts], {
        "total": total,
        "completed": over,
        "count": f"{over:,}/{'' if tally.whole else '~'}{total:,}",
        "rate": f"{rate:.1f}/s",
        "left": f"eta {left}",
    }


def _rows_in(manifest: Path) -> int:
    """About how many rows *manifest* has, by its size and its first megabyte; 0 where that would use it up."""
    if not manifest.is_file():
        return 0
    with suppress(OSError), manifest.open("rb") as file:
        head = file.read(1 << 20)
        return round(head.count(b"\n") * manifest.stat().st_size / max(len(head), 1))
    return 0
