"""How far a batch is, and how that is told to people and machines."""

from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape
from rich.table import Table

from smile_async.cli.output import ExitCode, aside, paint, people
from smile_async.errors import SmileError
from smile_async.jobs.codes import Decision
from smile_async.ledger import Ledger, State
from smile_async.ledger.batches import Batches

__all__ = ["Standing", "show_end", "show_manifest", "show_standing", "standing"]

#: Problems that are shown; all of them are in the ledger.
SHOWN = 20


@dataclass
class Standing:
    """How far a batch is."""

    name: str
    states: dict[str, int]
    decisions: dict[str, int]
    problems: list[tuple[int, str]] = field(default_factory=list)
    #: Earlier rows that the manifest does not hold any more.
    gone: int = 0
    #: Failed rows whose job_ids Smile ID knew already: sending them again would end likewise.
    used_before: int = 0
    #: Why the run ended before its rows did.
    trouble: SmileError | None = None
    unread: bool = False

    @property
    def rows(self) -> int:
        """All rows on record."""
        return sum(self.states.values())

    @property
    def failed(self) -> int:
        """Rows that can not go on by themselves."""
        return self.states.get(State.FAILED, 0)

    @property
    def pending(self) -> int:
        """Rows without a last word."""
        return self.rows - self.failed - self.states.get(State.FINAL, 0)

    @property
    def exit_code(self) -> ExitCode:
        """What the shell is told."""
        if self.problems:
            return ExitCode.BAD_INPUT
        if self.failed or self.trouble is not None:
            return ExitCode.ERROR
        return ExitCode.PENDING if self.pending or self.unread else ExitCode.DONE

    def document(self) -> dict[str, Any]:
        """As a machine reads it."""
        return {
            "batch": self.name,
            "rows": self.rows,
            "done": self.states.get(State.FINAL, 0),
            "pending": self.pending,
            "failed": self.failed,
            "states": self.states,
            "decisions": self.decisions,
            "problems": [{"line": line, "why": why} for line, why in self.problems],
            "gone": self.gone,
            "read_whole": not self.unread,
            "trouble": None if self.trouble is None else str(self.trouble),
        }


async def standing(where: str, name: str | None) -> Standing:
    """How far a batch is, while somebody else may be writing."""
    async with Ledger(where, read_only=True) as ledger:
        batches = Batches(ledger)
        name = await batches.only(name)
        run, whole = await batches.latest(name)
        return Standing(
            name,
            await batches.counts(name),
            await batches.decisions(name),
            await batches.problems(name, run),
            gone=await batches.gone(name, run) if whole else 0,
            unread=not whole,
        )


def show_end(end: Standing) -> None:
    """What a run came to, on standard error: standard output is for machines."""
    show_manifest(end)
    if end.trouble is not None:
        aside().print(f"[red]stopped[/red]: {type(end.trouble).__name__}: {escape(str(end.trouble))}")
    aside().print(_table(end))
    if end.used_before:
        aside().print(
            f"[yellow]JobExists[/yellow]: {end.used_before:,} failed rows have job_ids that were used before; these are"
            " made of batch name and key: give the rows a key or job_id of their own, or the batch a new --name, which"
            " sends every row anew"
        )
    if end.pending or end.failed > end.used_before or end.unread:
        aside().print("[dim]go on with: smile-async batch resume (or retry-failed) --ledger …[/dim]")


def show_manifest(found: Standing) -> None:
    """What the rows on record lack of the manifest, on standard error."""
    for line, why in found.problems[:SHOWN]:
        aside().print(f"[red]line {line}[/red]: {escape(why)}")
    if len(found.problems) > SHOWN:
        aside().print(f"… and {len(found.problems) - SHOWN:,} more lines with a problem")
    if found.gone:
        aside().print(f"[yellow]the manifest has shrunk[/yellow]: {found.gone:,} earlier rows are not in it any more")
    if found.unread:
        aside().print("[yellow]the manifest is not read to its end[/yellow]: there may be more rows")


def show_standing(found: Standing) -> None:
    """How far a batch is, on standard output."""
    people().print(_table(found))


def _table(found: Standing) -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_row("batch", escape(found.name))
    facts.add_row("rows", f"{found.rows:,}")
    for word in ("done", "pending", "failed"):
        facts.add_row(word, f"{found.document()[word]:,}")
    for decision, count in sorted(found.decisions.items()):
        facts.add_row(paint(Decision(decision)), f"{count:,}")
    return facts
