"""`smile-async explain CODE`: what a result code says, for each job type it is documented for."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from smile_async.cli.options import Json, WhichProduct, product_from
from smile_async.cli.output import ExitCode, aside, paint, people, plain
from smile_async.cli.streams import print_document
from smile_async.jobs.codes import CodeMeaning
from smile_async.jobs.codes import explain as meanings_of
from smile_async.jobs.product import PRODUCTS

__all__ = ["explain"]


def explain(
    code: Annotated[str, typer.Argument(help="A result code such as 0812.", show_default=False)],
    product: WhichProduct = None,
    json: Json = False,
) -> int:
    """Say what a result code means.

    And what to do about it, and where that is documented.
    """
    meanings = meanings_of(code, None if product is None else product_from(product, register=False))
    if json:
        print_document({"code": code.strip().zfill(4), "meanings": [_document(meaning) for meaning in meanings]})
    elif meanings:
        people().print(_table(meanings))
    if not meanings:
        aside().print(f"no public source explains {plain(code)}: treat it as unknown, never as approved")
        return ExitCode.ERROR
    return ExitCode.DONE


def _document(meaning: CodeMeaning) -> dict[str, Any]:
    types = None if meaning.job_types is None else sorted(meaning.job_types)
    products = None if meaning.products is None else sorted(meaning.products)
    return {**asdict(meaning), "job_types": types, "products": products}


def _table(meanings: list[CodeMeaning]) -> Table:
    table = Table("code", box=SIMPLE_HEAD)
    table.add_column("decision", no_wrap=True)
    # Columns for the rest would leave the meaning some 18 letters a line on a terminal of 80.
    table.add_column("meaning, and for which jobs")
    for meaning in meanings:
        facts = f"final: {_said(meaning.final)}, try again: {_said(meaning.resubmit)}"
        about = f"{_named(meaning)}\n{facts}, source: {', '.join(meaning.sources)}"
        table.add_row(meaning.code, paint(meaning.decision), f"{plain(meaning.text)}\n[dim]{about}[/dim]")
    return table


def _named(meaning: CodeMeaning) -> str:
    if meaning.job_types is None:
        return "any job type"
    of_types = [product for product, spec in PRODUCTS.items() if spec.job_type in meaning.job_types]
    meant = of_types if meaning.products is None else meaning.products
    titles = sorted((PRODUCTS[product].job_type, PRODUCTS[product].title) for product in meant)
    known = {number for number, _ in titles}
    return "\n".join(f"{number} {title}" for number, title in [*titles, *((n, "") for n in meaning.job_types - known)])


def _said(known: bool | None) -> str:
    return "?" if known is None else ("yes" if known else "no")
