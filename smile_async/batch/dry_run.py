"""Look at every row and every picture of a manifest without sending anything: what `--dry-run` does.

The rows go through the same planner as in earnest, with a ledger in a temporary directory, so that what passes here is
what passes there.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
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
from smile_async.protocol.apis import product_flaw
from smile_async.protocol.signature import Secret, Signer
from smile_async.protocol.v3.needs import Rules
from smile_async.protocol.v3.requests import submission_call
from smile_async.settings import Options, environment_settings, plain_callbacks
from smile_async.traffic.payload import Payload, read_in_thread
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
    look = _looker(environment_settings(os.environ, cast("Options", account), whole=False))
    found: list[Flaw] = []
    total = 0
    with tempfile.TemporaryDirectory(prefix="smile-dry-run-") as folder:
        async with Ledger(Path(folder) / "ledger") as ledger:
            run = await Batches(ledger).start(name, {})
            planner = Planner(ledger, name, run, dry=True)
            while (work := await planner.next(rows)) is not None:
                total += work.rows + len(work.problems)
                found += [*work.problems, *work.flaws, *await _unusable(work, look)]
    return total, sorted(found, key=lambda flaw: flaw.line)


def _looker(options: Options) -> Callable[[Payload], None]:
    """What raises InvalidJob for a job that a session of *options* would not send."""
    plain, callback_url, api = plain_callbacks(options), options.get("callback_url") or "", options.get("api", "v1")
    rules = Rules(options.get("consent"), callback_url, plain_callbacks=plain)
    # Of nobody: the request is made, and goes nowhere.
    signer = Signer("1", Secret("dry"))

    def look(payload: Payload) -> None:
        job = payload.job
        if api == "v3":
            submission_call(job, [each.content for each in payload.pictures], rules, signer, time.time(), later=True)
            return
        why = url_flaw(job.callback_url, plain=plain) if job.callback_url else ""
        why = product_flaw(job.product, api) or (why and f"callback_url {why}")
        if why:
            raise InvalidJob(why)

    return look


async def _unusable(work: Work, look: Callable[[Payload], None]) -> list[Flaw]:
    flaws: list[Flaw] = []

    async def read(sent: tuple[int, Job]) -> None:
        line, job = sent
        try:
            look(await read_in_thread(job))
        except InvalidJob as error:
            flaws.append(Flaw(line, str(error)))

    await for_each(work.send, read, AT_ONCE)
    return flaws
