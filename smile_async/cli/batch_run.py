"""What the batch commands do once they are understood: the ledger opened, the run driven."""

import itertools
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio.to_thread

from smile_async.batch import Flaw, Planner, Row, Run, read_manifest, render
from smile_async.batch.orders import Orders, check_options
from smile_async.batch.planning import PAGE, sent_otherwise
from smile_async.cli.options import session_of
from smile_async.cli.output import aside, plain
from smile_async.cli.places import check_places
from smile_async.cli.progress import interruptible, shown
from smile_async.cli.standing import SHOWN, Standing
from smile_async.errors import BadConfiguration, SmileError
from smile_async.jobs.product import Product, known_product, product_of
from smile_async.ledger import Ledger
from smile_async.ledger.batches import Batches
from smile_async.ledger.chunks import CHUNK_JOBS
from smile_async.limits import Limits
from smile_async.session import SmileSession
from smile_async.settings import Options, environment_settings

__all__ = ["PENDING", "check_account", "default_of", "drive", "enqueue", "forget", "rows_of"]

#: Jobs that wait for a verdict in one process: each keeps its paths in memory, about 2 kB.
PENDING = 20_000


async def check_account(given: Mapping[str, Any]) -> None:
    """Raise BadConfiguration for what no session can be opened with: before a ledger is made for it."""
    async with SmileSession.from_env(**given):
        pass


async def forget(where: str, *, user_id: str | None = None, before: float = 0.0) -> int:
    """Erase one person, or what ended before a moment."""
    async with Ledger(where, create=False) as ledger:
        batches = Batches(ledger)
        return await (batches.purge(before) if user_id is None else batches.erase(user_id))


async def drive(
    where: str, name: str | None, told: dict[str, Any] | None, given: Mapping[str, Any], retry: str
) -> Standing:
    """One run of a batch, told anew or (*told* None) as the last time."""
    async with _meant(where, name, told) as meant:
        return await _run(meant, given, retry)


async def enqueue(where: str, name: str | None, told: dict[str, Any], given: Mapping[str, Any]) -> Standing:
    """Write a batch down for workers elsewhere, and leave it to them."""
    if Ledger(where).database.is_file:
        raise BadConfiguration("--enqueue leaves the work to workers: give --ledger postgresql://user@host/database")
    api = environment_settings(os.environ, cast("Options", given), whole=False).get("api", "v1")
    async with _meant(where, name, told) as meant:
        # No session says it here, and a worker of the other API would send them otherwise.
        await meant.ledger.speak(api)
        return await _run(meant, None, "passing")


@dataclass
class _Meant:
    """The run of a batch that a command is about; until it begins it has left no trace."""

    ledger: Ledger
    name: str
    told: dict[str, Any]
    rows: Iterator[Row | Flaw]
    run: int = 0

    async def begin(self) -> int:
        """Make it the batch's latest run; its number."""
        self.run = await Batches(self.ledger).start(self.name, self.told)
        return self.run


@asynccontextmanager
async def _meant(where: str, name: str | None, told: dict[str, Any] | None) -> AsyncIterator[_Meant]:
    """The manifest and the ledger opened, and what can not be meant refused; nobody else runs this batch meanwhile."""
    rows: Iterator[Row | Flaw] = iter(())
    if told is not None:
        check_options(**{name: told[name] for name in ("rate", "patience", "drain")})
        await anyio.to_thread.run_sync(check_places, where, told)
        rows = await anyio.to_thread.run_sync(_opened, told)
    async with Ledger(where, create=told is not None) as ledger:
        batches = Batches(ledger)
        names = await batches.names()
        if told is None or (name is None and names):
            name = await batches.only(name)
        elif name is None:
            name = Path(told["manifest"]).stem
        async with batches.alone(name):
            if told is None:
                told = await batches.options(name)
                await anyio.to_thread.run_sync(check_places, where, told)
                rows = await anyio.to_thread.run_sync(_opened, told)
            elif name in names:
                await _refuse_other_default(batches, name, told)
            yield _Meant(ledger, name, told, rows)


def default_of(told: Mapping[str, Any]) -> Product:
    """The product of rows that do not say; runs of an older version told its job type."""
    product = known_product(told.get("product")) or product_of(told["job_type"])
    if product is None:
        raise BadConfiguration(f"the batch is of product {told.get('product')!r}, which is not known here")
    return product


def rows_of(told: Mapping[str, Any]) -> Iterator[Row | Flaw]:
    """The rows of the manifest, with what was told of all of them."""
    return read_manifest(Path(told["manifest"]), default_of(told), told.get("consent"))


def _opened(told: Mapping[str, Any]) -> Iterator[Row | Flaw]:
    """The manifest; what is wrong with the whole of it is raised here."""
    rows = rows_of(told)
    return itertools.chain(list(itertools.islice(rows, 1)), rows)


async def _refuse_other_default(batches: Batches, name: str, told: Mapping[str, Any]) -> None:
    """Raise BadConfiguration if rows that do not say were sent as jobs of another product than is told now."""
    was, now = default_of({**told, **await batches.options(name)}), default_of(told)
    if was is now:
        return
    row = await sent_otherwise(batches, name, _opened(told), was)
    if row is not None:
        words = {Product.REGISTRATION: "--register"}
        how, cure = f"with {words.get(was, f'--product {was}')}", "give it again"
        if was is Product.AUTHENTICATION:
            how, cure = f"without {words.get(now, '--product')}", "leave it out"
        raise BadConfiguration(
            f"batch {name} was sent {how} (line {row.line}: user {row.user_id}, job type {was.spec.job_type}): {cure};"
            " nothing was changed"
        )


async def _run(meant: _Meant, given: Mapping[str, Any] | None, retry: str) -> Standing:
    """Put the batch into chunks and (unless *given* is None) drive them, with other workers where there are any."""
    drain = Orders.of(meant.told).drain
    async with AsyncExitStack() as opened:
        session = queue = None
        at_once = PAGE
        if not meant.ledger.database.is_file:
            from smile_async.workers import Queue  # noqa: PLC0415 - another extra

            queue = await opened.enter_async_context(Queue(meant.ledger))
            at_once = meant.told.get("chunk", CHUNK_JOBS)
        if given is not None:
            limits = Limits(pending=PENDING)
            session = await opened.enter_async_context(session_of(given, ledger=meant.ledger, limits=limits))
        planner = Planner(meant.ledger, meant.name, await meant.begin(), retry, chunk_jobs=at_once)
        run = Run(session, meant.ledger, planner, queue=queue, drain=drain)
        with interruptible(run), shown(run, Path(meant.told["manifest"])):
            await run.go(meant.rows)
    return await _end(meant, run, rendered=given is not None)


async def _end(meant: _Meant, run: Run, *, rendered: bool) -> Standing:
    ledger, name, number = meant.ledger, meant.name, meant.run
    out = meant.told["out"] if rendered else None
    batches = Batches(ledger)
    end = Standing(name, {}, {}, trouble=run.trouble, unread=not run.tally.whole)
    try:
        await ledger.flush()
        if run.tally.whole:
            end.gone = await batches.read_whole(name, number)
        end.states, end.decisions = await batches.counts(name), await batches.decisions(name)
        end.problems = await batches.problems(name, number)
        end.failures = await batches.failures(name, SHOWN)
        end.unknown = await batches.unknown(name)
        end.used_before = await batches.used_before(name, number)
        end.kept = await batches.kept(name)
        if out is not None:
            await render(batches, name, Path(out))
    except (SmileError, OSError) as error:
        if run.trouble is None:
            raise
        # The disk that stopped the run is still full: what is on it is enough to go on from.
        aside().print(f"[red]{type(error).__name__}[/red]: {plain(str(error))}")
    return end
