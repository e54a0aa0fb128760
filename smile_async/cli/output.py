"""What the commands print, and what they exit with.

One rule: standard output carries the answer and nothing else, one line of JSON when a machine asked for it; whatever
else is worth saying (progress, errors, hints) goes to standard error.
"""

import json
import shlex
from collections.abc import Iterable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.markup import escape

from smile_async.cli.streams import visible
from smile_async.errors import BadConfiguration, InvalidJob, SmileError, StillPending
from smile_async.jobs.codes import Decision
from smile_async.jobs.ticket import Ticket
from smile_async.jobs.verdict import Verdict

__all__ = [
    "ExitCode",
    "aside",
    "code_of",
    "error_document",
    "facts",
    "paint",
    "people",
    "plain",
    "redrawn",
    "show_verdict",
    "show_way_back",
    "to_copy",
    "verdict_document",
]


class ExitCode(IntEnum):
    """How a command ends, for the shell that called it."""

    DONE = 0
    REJECTED = 1
    PENDING = 2
    ERROR = 3
    BAD_INPUT = 4
    ATTENTION = 5


_OF_DECISION = {
    Decision.APPROVED: ExitCode.DONE,
    Decision.ATTENTION: ExitCode.ATTENTION,
    Decision.REJECTED: ExitCode.REJECTED,
    Decision.PROVISIONAL: ExitCode.PENDING,
}
_COLOURS = {
    **dict.fromkeys(map(str, Decision), "magenta"),
    "approved": "green",
    "rejected": "red",
    "provisional": "yellow",
    "attention": "yellow",
}


def people() -> Console:
    """Standard output, for a person; looked up anew, because it may have been redirected since."""
    return Console(highlight=False, soft_wrap=True)


def aside() -> Console:
    """Standard error: progress, hints, errors."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def redrawn() -> Console:
    """Standard error, for what is drawn over and over: that has to know where its lines end."""
    return Console(stderr=True, highlight=False)


def plain(text: str) -> str:
    """*text* of anybody's as rich markup that means just that."""
    return escape(visible(text))


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """A name and a value a line, as rich markup. No table: that cuts what is wider than a terminal, such as an id."""
    pairs = list(pairs)
    width = max(len(name) for name, _ in pairs)
    return "\n".join(f"{paint(name)}{' ' * (width - len(name))}  {plain(str(value))}" for name, value in pairs)


def to_copy(*words: str, account: Mapping[str, Any] = MappingProxyType({})) -> str:
    """A command line for a shell, about the same *account*."""
    given = [part for name, value in account.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return shlex.join(["smile-async", *words, *given])


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


def show_way_back(ticket: Ticket, account: Mapping[str, Any]) -> None:
    """The command that asks for a job again, on standard error."""
    if ticket.api is not None and ticket.smile_job_id is None:
        whose = plain(f"job {ticket.job_id} of user {ticket.user_id}")
        aside().print(f"[dim]nobody can ask for {whose}: if it was taken, its webhook will tell[/dim]")
        return
    ids = ("--user-id", ticket.user_id, "--job-id", ticket.job_id)
    command = to_copy("status", *(ids if ticket.api is None else (ticket.to_json(),)), account=account)
    aside().print(f"[dim]ask for this job again with:[/dim] {plain(command)}")


def paint(word: str) -> str:
    """A decision in its colour, as rich markup; any other word as it is."""
    colour = _COLOURS.get(word)
    return f"[bold {colour}]{word}[/bold {colour}]" if colour else plain(word)


def show_verdict(verdict: Verdict, account: Mapping[str, Any]) -> None:
    """A verdict as a person reads it."""
    finality = "final" if verdict.final else "not final: a human review may overturn it"
    people().print(f"{paint(verdict.decision)}  {plain(f'{verdict.code} {verdict.text}')}  [dim]({finality})[/dim]")
    found: list[tuple[str, object]] = [("user", verdict.ticket.user_id), ("job", verdict.ticket.job_id)]
    if verdict.ticket.product is not None:
        found.append(("product", verdict.ticket.product.spec.title))
    if verdict.reason is not None:
        found.append(("reason", verdict.reason))
    if verdict.confidence is not None:
        found.append(("confidence", f"{verdict.confidence:g}"))
    said = verdict.actions.items()
    found += [(name.replace("_", " ").lower(), word) for name, word in said if word != "Not Applicable"]
    people().print(facts(found))
    if not verdict.final:
        show_way_back(verdict.ticket, account)
