"""What the commands print, and what they exit with.

One rule: standard output carries the answer and nothing else, one line of JSON when a machine asked for it; whatever
else is worth saying (progress, errors, hints) goes to standard error.
"""

import json
import shlex
import sys
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smile_async.errors import BadConfiguration, InvalidJob, Refused, SmileError, StillPending
from smile_async.jobs.codes import Decision
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import Verdict

__all__ = [
    "ExitCode",
    "aside",
    "code_of",
    "error_document",
    "paint",
    "people",
    "print_document",
    "show_error",
    "show_verdict",
    "show_way_back",
    "verdict_document",
]


class ExitCode(IntEnum):
    """How a command ends, for the shell that called it."""

    DONE = 0
    REJECTED = 1
    PENDING = 2
    ERROR = 3
    BAD_INPUT = 4


_OF_DECISION = {
    Decision.APPROVED: ExitCode.DONE,
    Decision.REJECTED: ExitCode.REJECTED,
    Decision.PROVISIONAL: ExitCode.PENDING,
}
_COLOURS = {Decision.APPROVED: "green", Decision.REJECTED: "red", Decision.PROVISIONAL: "yellow"}


def people() -> Console:
    """Standard output, for a person; looked up anew, because it may have been redirected since."""
    return Console(highlight=False, soft_wrap=True)


def aside() -> Console:
    """Standard error: progress, hints, errors."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_document(document: Mapping[str, Any]) -> None:
    """One line of JSON on standard output, at once: the reader may be a pipe."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str) + "\n")
    sys.stdout.flush()


def code_of(found: Verdict | SmileError | None) -> ExitCode:
    """The exit code for a verdict, for an error, or for no verdict yet (None)."""
    if found is None or isinstance(found, StillPending):
        return ExitCode.PENDING
    if isinstance(found, Verdict):
        # Whoever trusts exit code 0 opens a door: only what a status query confirmed may do that.
        return ExitCode.DONE if found.approved else _unapproved(found.decision)
    return ExitCode.BAD_INPUT if isinstance(found, InvalidJob | BadConfiguration) else ExitCode.ERROR


def _unapproved(decision: Decision) -> ExitCode:
    return ExitCode.ERROR if decision is Decision.APPROVED else _OF_DECISION.get(decision, ExitCode.ERROR)


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """What `verdict.to_json()` holds, and `approved`."""
    fields: dict[str, Any] = json.loads(verdict.to_json())
    return {"approved": verdict.approved, **fields}


def error_document(error: SmileError) -> dict[str, Any]:
    """An error as a machine reads it; `code` is Smile's, None where it gave none."""
    document: dict[str, Any] = {
        "error": type(error).__name__,
        "message": str(error),
        "ticket": error.ticket.to_dict() if error.ticket else None,
        "retryable": error.retryable,
        "code": getattr(error, "code", "") or None,
    }
    if isinstance(error, StillPending) and error.verdict is not None:
        document["verdict"] = verdict_document(error.verdict)
    return document


def show_error(error: SmileError) -> None:
    """An error as a person reads it, with the way back to a job that may be on its way; a refused one is not."""
    aside().print(f"[red]{type(error).__name__}[/red]: {escape(str(error))}")
    if error.ticket is not None and not isinstance(error, Refused):
        show_way_back(error.ticket)


def show_way_back(ticket: Ticket) -> None:
    """The command that asks for a job again."""
    command = f"smile-async status --user-id {shlex.quote(ticket.user_id)} --job-id {shlex.quote(ticket.job_id)}"
    aside().print(f"[dim]ask for this job again with:[/dim] {escape(command)}")


def paint(decision: Decision) -> str:
    """A decision in its colour, as rich markup."""
    colour = _COLOURS.get(decision, "magenta")
    return f"[bold {colour}]{decision}[/bold {colour}]"


def show_verdict(verdict: Verdict) -> None:
    """A verdict as a person reads it."""
    finality = "final" if verdict.final else "not final: a human review may overturn it"
    said = escape(f"{verdict.code} {verdict.text}")
    people().print(f"{paint(verdict.decision)}  {said}  [dim]({finality})[/dim]")
    facts = Table.grid(padding=(0, 2))
    facts.add_row("user", escape(verdict.ticket.user_id))
    facts.add_row("job", escape(verdict.ticket.job_id))
    if verdict.confidence is not None:
        facts.add_row("confidence", f"{verdict.confidence:g}")
    for action, said in verdict.actions.items():
        if said != "Not Applicable":
            facts.add_row(escape(action.replace("_", " ").lower()), escape(said))
    people().print(facts)
    if not verdict.final:
        show_way_back(verdict.ticket)
