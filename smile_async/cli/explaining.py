"""`smile-async explain CODE`: what a result code says, for each job type it is documented for."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from smile_async.cli.options import Json
from smile_async.cli.output import ExitCode, aside, paint, people, print_document
from smile_async.codes import CodeMeaning
from smile_async.job import JobType
from smile_async.verdict import explain as meanings_of

__all__ = ["explain"]


def explain(
    code: Annotated[str, typer.Argument(help="A result code such as 0812.", show_default=False)], json: Json = False
) -> int:
    """Say what a result code means, what to do, and where that is documented."""
    meanings = meanings_of(code)
    if json:
        print_document({"code": code.strip().zfill(4), "meanings": [_document(meaning) for meaning in meanings]})
    elif meanings:
        people().print(_table(meanings))
    if not meanings:
        aside().print(f"no public source explains {escape(code)}: treat it as unknown, never as approved")
        return ExitCode.ERROR
    return ExitCode.DONE


def _document(meaning: CodeMeaning) -> dict[str, Any]:
    types = None if meaning.job_types is None else sorted(meaning.job_types)
    return {**asdict(meaning), "job_types": types}


def _table(meanings: list[CodeMeaning]) -> Table:
    table = Table("code", "job types", box=SIMPLE_HEAD)
    table.add_column("decision", no_wrap=True)
    for heading in ("final", "try again", "meaning, and where it is documented"):
        table.add_column(heading)
    for meaning in meanings:
        table.add_row(
            meaning.code,
            _named(meaning.job_types),
            paint(meaning.decision),
            _said(meaning.final),
            _said(meaning.resubmit),
            f"{escape(meaning.text)}\n[dim]{', '.join(meaning.sources)}[/dim]",
        )
    return table


def _named(types: frozenset[int] | None) -> str:
    if types is None:
        return "any"
    return "\n".join(f"{number} {JobType(number).name.lower().replace('_', ' ')}" for number in sorted(types))


def _said(known: bool | None) -> str:
    return "?" if known is None else ("yes" if known else "no")
