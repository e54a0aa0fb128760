"""`smile-async services [COUNTRY]`: which ids can be looked up, by which product, and what each needs."""

import asyncio
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from smile_async.cli import options
from smile_async.cli.output import ExitCode, aside, people, plain
from smile_async.cli.streams import print_document
from smile_async.jobs.catalogue import IdType, Services

__all__ = ["services"]


@options.with_account
def services(
    country: Annotated[
        str | None, typer.Argument(help="Two letters, such as NG; by default all.", show_default=False)
    ] = None,
    account: options.Account = options.NO_ACCOUNT,
    json: options.Json = False,
) -> int:
    """Say which ids can be looked up.

    And which fields of a person each needs.
    """
    found = asyncio.run(_asked(account))
    kinds = [kind for kind in found.id_types if country is None or kind.country == country.upper()]
    if json:
        print_document({"id_types": [asdict(kind) for kind in kinds], "banks": [asdict(bank) for bank in found.banks]})
    elif kinds:
        people().print(_table(kinds))
    if not kinds:
        aside().print(f"nothing is listed for {plain(country or 'any country')}")
        return ExitCode.ERROR
    return ExitCode.DONE


async def _asked(account: options.Account) -> Services:
    async with options.session_of(account) as session:
        return await session.catalogue.services()


def _table(kinds: Iterable[IdType]) -> Table:
    products: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for kind in kinds:
        products.setdefault((kind.country, kind.id_type, kind.lacks(())), []).append(kind.product)
    table = Table("country", "id type", "needs", "products", box=SIMPLE_HEAD)
    for (country, id_type, needs), names in sorted(products.items()):
        of = ", ".join(sorted(name.replace("_", " ") for name in names if name))
        table.add_row(plain(country), plain(id_type), plain(", ".join(needs)), plain(of or "not said"))
    return table
