"""`smile-async batch …`: a manifest of any size, through a ledger; stopped or killed, the same command goes on.

Exit codes: 0 every row has its final verdict, rejections included; 2 some are pending, or not read yet; 3 some have
failed, or the run could not go on; 4 the manifest (or a row of it) can not be used.
"""
# ruff: noqa: PLR0917 - typer reads the options from the signature

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smile_async.cli import options
from smile_async.cli.output import ExitCode, aside, plain
from smile_async.cli.streams import print_document
from smile_async.errors import BadConfiguration

if TYPE_CHECKING:
    from smile_async.cli.standing import Standing

__all__ = ["batch"]

batch = typer.Typer(help="Many jobs from a manifest.", no_args_is_help=True, rich_markup_mode=None)

LedgerAt = Annotated[
    str | None,
    typer.Option("--ledger", metavar="PATH_OR_URL", help="By default MANIFEST.ledger.", show_default=False),
]
KnownLedger = Annotated[str, typer.Option("--ledger", metavar="PATH_OR_URL", help="What `batch run` wrote.")]
Out = Annotated[Path | None, typer.Option(help="One line a row: .jsonl, .csv or .parquet.", show_default=False)]
Name = Annotated[str | None, typer.Option(help="Of the batch; by default the ledger's only one.", show_default=False)]
Rate = Annotated[float | None, typer.Option(help="New jobs a second, at most.", show_default=False)]
Patience = Annotated[float, typer.Option(help="Seconds to wait for a job's verdict, from its upload.", min=0.0)]
Drain = Annotated[float, typer.Option(help="Seconds that jobs under way get after Ctrl-C.", min=0.0)]


@batch.command()
@options.with_account
def run(
    manifest: Annotated[Path, typer.Argument(help="CSV or JSON lines: user_id, product, selfie, id.number, …")],
    ledger: LedgerAt = None,
    out: Out = None,
    name: Annotated[
        str | None,
        typer.Option(help="Of the batch; by default the ledger's only one, or else as MANIFEST.", show_default=False),
    ] = None,
    rate: Rate = None,
    patience: Patience = 300.0,
    until: options.UntilWhat = options.Wanted.DECISION,
    product: options.WhichProduct = None,
    register: options.Register = False,
    consent_url: options.ConsentUrl = None,
    consent_language: options.ConsentLanguage = None,
    drain: Drain = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every row and picture; send nothing.")] = False,
    enqueue: Annotated[
        bool, typer.Option("--enqueue", help="With a postgresql:// ledger: leave all work to `smile-async worker`.")
    ] = False,
    chunk: Annotated[
        int, typer.Option(help="With a postgresql:// ledger: jobs that a worker takes at a time.", min=1, max=500)
    ] = 100,
    account: options.Account = options.NO_ACCOUNT,
    json: options.Json = False,
) -> int:
    """Submit every row of a manifest once.

    However often this is run: what was sent is on record, and goes on from there.
    """
    told: dict[str, Any] = {
        "manifest": str(manifest.absolute()),
        "out": None if out is None else str(out.absolute()),
        "rate": rate,
    }
    kind = options.product_from(product, register=register)
    told |= {"patience": patience, "until": until.value, "job_type": kind.spec.job_type, "product": str(kind)}
    told |= {"drain": drain, "chunk": chunk}
    if (consent := options.consent_from(consent_url, consent_language)) is not None:
        told["consent"] = {"privacy_policy_url": consent.privacy_policy_url, "language": consent.language}
    where = ledger or f"{manifest}.ledger"
    if dry_run:
        return _check(where, name or manifest.stem, told, account, as_json=json)
    if enqueue:
        return _queue(where, name, told, account, as_json=json)
    return _drive(where, name, told, account, retry="passing", as_json=json)


@batch.command()
@options.with_account
def resume(
    ledger: KnownLedger,
    name: Name = None,
    account: options.Account = options.NO_ACCOUNT,
    json: options.Json = False,
) -> int:
    """Go on with a batch, as it was told."""
    return _drive(ledger, name, None, account, retry="passing", as_json=json)


@batch.command("retry-failed")
@options.with_account
def retry_failed(
    ledger: KnownLedger,
    name: Name = None,
    accept_duplicates: Annotated[
        bool,
        typer.Option(
            "--accept-duplicates",
            help="Also what V3 may have taken, though no answer came: each may be a second job, and a second bill.",
        ),
    ] = False,
    account: options.Account = options.NO_ACCOUNT,
    json: options.Json = False,
) -> int:
    """Go on, and send what failed once more."""
    return _drive(ledger, name, None, account, retry="duplicates" if accept_duplicates else "all", as_json=json)


@batch.command()
def status(
    ledger: KnownLedger,
    name: Name = None,
    failed: Annotated[bool, typer.Option("--failed", help="Name every row that failed, and why.")] = False,
    json: options.Json = False,
) -> int:
    """How far a batch is, even while it runs."""
    from smile_async.cli.standing import SHOWN, show_flaws, show_standing, standing  # noqa: PLC0415 - another extra

    most = None if failed else SHOWN
    found = asyncio.run(standing(ledger, name, most))
    show_flaws(found, most)
    if json:
        print_document(found.document())
    else:
        show_standing(found)
    return found.exit_code


@batch.command()
def report(
    ledger: KnownLedger,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    csv: Annotated[Path | None, typer.Option(help="The rows as CSV, too.", show_default=False)] = None,
    name: Name = None,
    json: options.Json = False,
) -> int:
    """Write a page about a batch.

    One HTML file that needs no network.
    """
    from smile_async.cli.places import check_report  # noqa: PLC0415 - another extra
    from smile_async.report import write_report  # noqa: PLC0415

    asyncio.run(check_report(ledger, name, out, csv))
    rows = asyncio.run(write_report(ledger, name, out, csv))
    if json:
        print_document({"report": str(out), "csv": None if csv is None else str(csv), "rows": rows})
    else:
        aside().print(f"{rows:,} rows in {plain(str(out))}")
    return ExitCode.DONE


@batch.command()
def purge(
    ledger: KnownLedger,
    older_than: Annotated[str, typer.Option(metavar="AGE", help="Such as 90d or 12h, since the job's end.")],
    json: options.Json = False,
) -> int:
    """Forget jobs that have ended long ago."""
    from smile_async.cli.batch_run import forget  # noqa: PLC0415 - another extra

    gone = asyncio.run(forget(ledger, before=time.time() - _age(older_than)))
    return _forgotten(gone, as_json=json)


@batch.command()
def erase(
    ledger: KnownLedger,
    user_id: Annotated[str, typer.Option(help="Whose jobs.")],
    json: options.Json = False,
) -> int:
    """Forget everything about one person."""
    from smile_async.cli.batch_run import forget  # noqa: PLC0415 - another extra

    return _forgotten(asyncio.run(forget(ledger, user_id=user_id)), as_json=json)


def _forgotten(gone: int, *, as_json: bool) -> int:
    if as_json:
        print_document({"erased": gone})
    else:
        aside().print(f"{gone:,} jobs forgotten")
    return ExitCode.DONE


def _drive(
    ledger: str, name: str | None, told: dict[str, Any] | None, account: options.Account, *, retry: str, as_json: bool
) -> int:
    from smile_async.cli.batch_run import check_account, drive  # noqa: PLC0415 - another extra

    async def work() -> "Standing":
        await check_account(account)
        return await drive(ledger, name, told, account, retry)

    return _ended(asyncio.run(work()), ledger, name, account, as_json=as_json)


def _queue(ledger: str, name: str | None, told: dict[str, Any], account: options.Account, *, as_json: bool) -> int:
    from smile_async.cli.batch_run import enqueue  # noqa: PLC0415 - another extra

    end = asyncio.run(enqueue(ledger, name, told, account))
    return _ended(end, ledger, name, account, as_json=as_json, queued=True)


def _ended(
    end: "Standing", ledger: str, name: str | None, account: options.Account, *, as_json: bool, queued: bool = False
) -> int:
    from smile_async.cli.standing import show_end  # noqa: PLC0415 - another extra
    from smile_async.ledger import Ledger  # noqa: PLC0415

    if as_json:
        print_document(end.document())
    # Not a URL as it was given: that may hold a password.
    where = repr(Ledger(ledger).database) if "://" in ledger else ledger
    show_end(end, ("--ledger", where, *(() if name is None else ("--name", name))), account, queued=queued)
    return end.exit_code


def _check(ledger: str, name: str, told: dict[str, Any], account: options.Account, *, as_json: bool) -> int:
    from smile_async.batch.dry_run import check  # noqa: PLC0415 - another extra
    from smile_async.cli.batch_run import rows_of  # noqa: PLC0415
    from smile_async.cli.places import check_places  # noqa: PLC0415

    check_places(ledger, told)
    rows, flaws = asyncio.run(check(rows_of(told), name, account))
    if as_json:
        print_document({"rows": rows, "problems": [{"line": flaw.line, "why": flaw.why} for flaw in flaws]})
    for flaw in flaws:
        aside().print(f"[red]line {flaw.line}[/red]: {plain(flaw.why)}")
    aside().print(f"{rows:,} rows, {len(flaws):,} with a problem; nothing was sent")
    return ExitCode.BAD_INPUT if flaws else ExitCode.DONE


def _age(text: str) -> float:
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
    number, unit = text[:-1], text[-1:]
    if unit not in seconds or not number.isdigit():
        raise BadConfiguration(f"--older-than {text!r}: give a number and a unit, such as 90d or 12h")
    return int(number) * seconds[unit]
