"""What a command that runs for hours does beside its work: show how far it is, and stop when it is asked to."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from smile_async.batch import Tally
from smile_async.cli.output import ExitCode, aside

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


@contextmanager
def shown(run: Telling) -> Iterator[None]:
    """Progress on standard error, refreshed a few times a second and not with each of a million rows."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=aside(), transient=True, refresh_per_second=4) as progress:
        shown = progress.add_task("batch", total=None, rate="", said="")
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def refresh() -> None:
            while True:
                progress.update(shown, **_figures(run.tally, loop.time() - began))
                await asyncio.sleep(0.25)

        showing = asyncio.create_task(refresh())
        try:
            yield
        finally:
            showing.cancel()


def _figures(tally: Tally, seconds: float) -> dict[str, Any]:
    said = "  ".join(f"{decision} {count:,}" for decision, count in sorted(tally.decisions.items()))
    return {
        "total": tally.rows,
        "completed": tally.rows - tally.pending,
        "description": "batch" if tally.whole else "batch (still reading)",
        "rate": f"{tally.fresh / seconds:.1f}/s" if seconds > 0 else "",
        "said": f"{said}  pending {tally.pending:,}  failed {tally.failed:,}",
    }
