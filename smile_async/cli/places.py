"""Where a batch reads and writes, checked before its first row: what is found wrong later was paid for.

A result or a page must not take the place of the manifest or the ledger, and must have a place to be put.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio.to_thread

from smile_async.batch.output import check_out, check_place
from smile_async.errors import BadConfiguration
from smile_async.ledger import Ledger
from smile_async.ledger.batches import Batches

__all__ = ["check_places", "check_report"]


def check_places(where: str, told: Mapping[str, Any]) -> None:
    """Raise BadConfiguration unless a run that is *told* so can write the ledger *where* and its result. Blocking."""
    manifest, ledger = Path(told["manifest"]), Ledger(where).database.path
    if ledger is not None:
        check_place(ledger, manifest)
    if told.get("out") is not None:
        check_out(Path(told["out"]), manifest, *([] if ledger is None else [ledger]))


def _check_page(page: Path, *kept: Path) -> None:
    check_place(page, *kept)
    # What has another name may be somebody's, such as the manifest of another batch.
    if page.suffix.lower() not in (".html", ".htm"):
        raise BadConfiguration(f"{page}: name a .html file")


async def check_report(where: str, name: str | None, page: Path, table: Path | None) -> None:
    """Raise BadConfiguration unless *page*, and *table* where it is wanted, can be written beside what a batch has."""
    async with Ledger(where, read_only=True) as ledger:
        batches = Batches(ledger)
        told = await batches.options(await batches.only(name))
        kept = [Path(told["manifest"])] if "manifest" in told else []
        if ledger.database.path is not None:
            kept.append(ledger.database.path)
    await anyio.to_thread.run_sync(_check_page, page, *kept)
    if table is not None:
        await anyio.to_thread.run_sync(check_out, table, page, *kept)
