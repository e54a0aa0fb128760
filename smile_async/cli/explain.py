"""`smile-async explain CODE`: what a result code says, for each job type it is documented for."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from smile_async.cli.options import Json
from smile_async.cli.output import ExitCode, aside, paint, people, plain
from smile_async.cli.streams import print_document
from smile_async.jobs.codes import CodeMeaning
from smile_async.jobs.codes import explain as meanings_of
from smile_async.jobs.ticket import JobType

__all__ = ["explain"]


def explain(
    code: Annotated[str, typer.Argument(help="A result code such as 0812.", show_default=False)], json: Json = False
) -> int:
    """Say what a result code means.

    And what to do about it, and where that is documented.
    """
    meanings = meanings_of(code)
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
    return {**asdict(meaning), "job_types": types}


def _table(meanings: list[CodeMeaning]) -> Table:
    table = Table("code", box=SIMPLE_HEAD)
    table.add_column("decision", no_wrap=True)
    # Columns for the rest would leave the meaning some 18 letters a line on a terminal of 80.
    table.add_column("meaning, and for which jobs")
    for meaning in meanings:
        facts = f"final: {_said(meaning.final)}, try again: {_said(meaning.resubmit)}"
        about = f"{_named(meaning.job_types)}\n{facts}, source: {', '.join(meaning.sources)}"
        table.add_row(meaning.code, paint(meaning.decision), f"{plain(meaning.text)}\n[dim]{about}[/dim]")
    return table


def _named(types: frozenset[int] | None) -> str:
    if types is None:
        return "any job type"
    return "\n".join(f"{number} {JobType(number).name.lower().replace('_', ' ')}" for number in sorted(types))


def _said(known: bool | None) -> str:
    return "?" if known is None else ("yes" if known else "no")
