"""`smile-async worker`: one of any number of processes, on any machine, that drive the batches of one ledger.

Exit codes: 0 stopped as asked, or nothing was left to do; 3 it could not go on; 4 bad input.
"""
# ruff: noqa: PLR0917 - typer reads the options from the signature

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smile_async.cli import options
from smile_async.cli.output import ExitCode, aside, paint, plain
from smile_async.cli.streams import print_document

if TYPE_CHECKING:
    from smile_async.batch.chunk_run import Ending
    from smile_async.batch.worker import Worker
    from smile_async.ledger.chunks import Held

__all__ = ["worker"]


@options.with_account
def worker(
    ledger: Annotated[str, typer.Option(metavar="URL", help="A postgresql:// URL, as `batch run` was given.")],
    concurrency: Annotated[int, typer.Option(help="Chunks at once.", min=1)] = 4,
    uploads: Annotated[int, typer.Option(help="Jobs at once whose pictures are in memory.", min=1)] = 16,
    lease: Annotated[float, typer.Option(help="Seconds until others take over from a dead worker.", min=1.0)] = 60.0,
    drain: Annotated[float, typer.Option(help="Seconds that jobs under way get after Ctrl-C.", min=0.0)] = 30.0,
    until_empty: Annotated[bool, typer.Option("--until-empty", help="End when no batch has work left.")] = False,
    account: options.Account = options.NO_ACCOUNT,
    json: options.Json = False,
) -> int:
    """Drive batches in a postgresql:// ledger.

    Beside any number of other workers, on any machine; `batch run` has put them there.
    """
    # Who has neither extra is told of this one, which holds both.
    import procrastinate  # noqa: F401, PLC0415

    from smile_async.batch.orders import check_options  # noqa: PLC0415 - another extra

    check_options(lease=lease, drain=drain)
    about = {"concurrency": concurrency, "lease": lease, "drain": drain}
    ended = asyncio.run(_work(ledger, uploads, account, about, until_empty=until_empty))
    stats = ended.stats
    if json:
        print_document(
            {
                "worker": ended.name,
                "chunks": dict(stats.chunks),
                "rows": stats.rows,
                "failed": stats.failed,
                "decisions": dict(stats.decisions),
                "trouble": None if ended.trouble is None else str(ended.trouble),
            }
        )
    said = "  ".join(f"{paint(name)} {count:,}" for name, count in sorted(stats.decisions.items()))
    aside().print(f"{stats.rows:,} rows came to a verdict or failed here  {said}  failed {stats.failed:,}")
    if ended.trouble is not None:
        aside().print(f"[red]stopped[/red]: {type(ended.trouble).__name__}: {plain(str(ended.trouble))}")
    return ExitCode.DONE if ended.trouble is None else ExitCode.ERROR


async def _work(
    where: str, uploads: int, given: Mapping[str, Any], about: dict[str, Any], *, until_empty: bool
) -> "Worker":
    # Another extra.
    from smile_async.cli.batch_run import PENDING  # noqa: PLC0415
    from smile_async.cli.progress import interruptible  # noqa: PLC0415
    from smile_async.ledger import Ledger  # noqa: PLC0415
    from smile_async.limits import Limits  # noqa: PLC0415
    from smile_async.workers import Queue, Worker  # noqa: PLC0415

    limits = Limits(uploads=uploads, pending=PENDING)
    ledger = Ledger(where)
    ledger.database.conninfo()
    async with (
        ledger,
        Queue(ledger) as queue,
        options.session_of(given, ledger=ledger, limits=limits) as session,
    ):
        working = Worker(session, ledger, queue, tell=_tell, **about)
        with interruptible(working):
            await working.work(until_empty=until_empty)
    return working


def _tell(held: "Held", ending: "Ending") -> None:
    aside().print(f"chunk {held.id} of batch {plain(held.batch)}: {ending}")
