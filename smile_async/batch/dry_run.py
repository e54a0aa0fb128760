"""Look at every row and every picture of a manifest without sending anything: what `--dry-run` does.

The rows go through the same planner as in earnest, with a ledger in a temporary directory, so that what passes here is
what passes there.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from smile_async.batch.for_each import for_each
from smile_async.batch.manifest import Flaw, Row
from smile_async.batch.planning import Planner, Work
from smile_async.errors import InvalidJob
from smile_async.jobs.job import Job
from smile_async.ledger import Ledger
from smile_async.ledger.batches import Batches
from smile_async.settings import Options, environment_settings, plain_callbacks
from smile_async.traffic.payload import read_in_thread
from smile_async.urls import url_flaw

__all__ = ["check"]

#: Pictures of so many jobs are read at once.
AT_ONCE = 8
_NOTHING: Mapping[str, Any] = MappingProxyType({})


async def check(rows: Iterator[Row | Flaw], name: str, account: Mapping[str, Any] = _NOTHING) -> tuple[int, list[Flaw]]:
    """How many rows there are, and what is wrong with which of them, in order of lines.

    *account*: what the run's session is to be told beside the SMILE_* variables; partner id and key may be missing.
    Raises BadConfiguration where those contradict each other.
    """
    plain = plain_callbacks(environment_settings(os.environ, cast("Options", account), whole=False))
    found: list[Flaw] = []
    total = 0
    with tempfile.TemporaryDirectory(prefix="smile-dry-run-") as folder:
        async with Ledger(Path(folder) / "ledger") as ledger:
            run = await Batches(ledger).start(name, {})
            planner = Planner(ledger, name, run, dry=True)
            while (work := await planner.next(rows)) is not None:
                total += work.rows + len(work.problems)
                found += [*work.problems, *work.flaws, *await _unusable(work, plain)]
    return total, sorted(found, key=lambda flaw: flaw.line)


async def _unusable(work: Work, plain: bool) -> list[Flaw]:
    flaws: list[Flaw] = []

    async def look(sent: tuple[int, Job]) -> None:
        line, job = sent
        why = url_flaw(job.callback_url, plain=plain) if job.callback_url else ""
        if why:
            flaws.append(Flaw(line, f"callback_url {why}"))
        try:
            await read_in_thread(job)
        except InvalidJob as error:
            flaws.append(Flaw(line, str(error)))

    await for_each(work.send, look, AT_ONCE)
    return flaws
