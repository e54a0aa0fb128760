"""How far a batch is, and how that is told to people and machines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smile_async.cli.output import ExitCode, aside, facts, people, plain, to_copy
from smile_async.errors import SmileError
from smile_async.ledger import Ledger, State
from smile_async.ledger.batches import Batches

__all__ = ["SHOWN", "Standing", "show_end", "show_flaws", "show_standing", "standing"]

#: Bad rows, and failed jobs, that are shown unasked; all of them are in the ledger.
SHOWN = 5


@dataclass
class Standing:
    """How far a batch is."""

    name: str
    states: dict[str, int]
    decisions: dict[str, int]
    problems: list[tuple[int, str]] = field(default_factory=list)
    #: The first failed rows, or all: line, user_id, job_id, error, code, why.
    failures: list[dict[str, Any]] = field(default_factory=list)
    #: Earlier rows that the manifest does not hold any more.
    gone: int = 0
    #: Failed rows whose job_ids Smile ID knew already: sending them again would end likewise.
    used_before: int = 0
    #: Failed rows that V3 may have all the same.
    unknown: int = 0
    #: Rows whose id fields are kept, because they are not over or may be tried again.
    kept: int = 0
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
            "failures": self.failures,
            "unknown": self.unknown,
            "gone": self.gone,
            "id_fields_kept": self.kept,
            "read_whole": not self.unread,
            "trouble": None if self.trouble is None else str(self.trouble),
        }


async def standing(where: str, name: str | None, shown: int | None = SHOWN) -> Standing:
    """How far a batch is, while somebody else may be writing; its first *shown* failures, or (None) all."""
    async with Ledger(where, read_only=True) as ledger:
        batches = Batches(ledger)
        name = await batches.only(name)
        run, whole = await batches.latest(name)
        return Standing(
            name,
            await batches.counts(name),
            await batches.decisions(name),
            await batches.problems(name, run),
            await batches.failures(name, shown),
            gone=await batches.gone(name, run) if whole else 0,
            unknown=await batches.unknown(name),
            kept=await batches.kept(name),
            unread=not whole,
        )


def show_end(end: Standing, about: Sequence[str], account: Mapping[str, Any], *, queued: bool = False) -> None:
    """What a run came to, on standard error: standard output is for machines.

    *about*: options that name the ledger and the batch; *queued*: it was left to workers.
    """
    if end.trouble is not None:
        aside().print(f"[red]stopped[/red]: {type(end.trouble).__name__}: {plain(str(end.trouble))}")
    show_flaws(end, SHOWN)
    if max(end.failed, len(end.problems)) > SHOWN:
        aside().print(f"[dim]see all of them with:[/dim] {plain(to_copy('batch', 'status', '--failed', *about))}")
    aside().print(_table(end))
    if end.used_before:
        aside().print(
            f"[yellow]JobExists[/yellow]: {end.used_before:,} failed rows have job_ids that were used before; these are"
            " made of batch name and key: give the rows a key or job_id of their own, or the batch a new --name, which"
            " sends every row anew"
        )
    left = end.failed - end.used_before - end.unknown
    again = "retry-failed" if left > 0 else "resume" if end.pending or end.unread else ""
    if again:
        words = ("worker", *about[:2]) if queued else ("batch", again, *about)
        aside().print(f"[dim]go on with:[/dim] {plain(to_copy(*words, account=account))}")


def show_flaws(found: Standing, most: int | None = None) -> None:
    """What is wrong with the manifest and with which rows, on standard error: the first *most* of each kind, or all."""
    for line, why in found.problems[:most]:
        aside().print(f"[red]line {line}[/red]: {plain(why)}")
    for failure in found.failures[:most]:
        cause = " ".join(filter(None, (failure["error"], failure["code"])))
        said = plain(f"user {failure['user_id']}: {cause}: {failure['why']}")
        aside().print(f"[red]line {failure['line']}[/red]: {said}")
    if found.unknown:
        aside().print(
            f"[yellow]SubmissionUnknown[/yellow]: {found.unknown:,} failed rows got no answer, and nobody can tell"
            " whether Smile ID has them: their webhooks may; `batch retry-failed --accept-duplicates` sends them again,"
            " and each may be a second bill"
        )
    if found.gone:
        aside().print(f"[yellow]the manifest has shrunk[/yellow]: {found.gone:,} earlier rows are not in it any more")
    if found.unread:
        aside().print("[yellow]the manifest is not read to its end[/yellow]: there may be more rows")


def show_standing(found: Standing) -> None:
    """How far a batch is, on standard output."""
    people().print(_table(found))


def _table(found: Standing) -> str:
    waiting = found.pending - found.states.get(State.PROVISIONAL, 0)
    counts = [("rows", found.rows), *sorted(found.decisions.items()), ("failed", found.failed), ("no verdict", waiting)]
    if found.kept:
        counts.append(("id fields kept", found.kept))
    if found.problems:
        counts.append(("bad lines", len(found.problems)))
    return facts([("batch", found.name), *((name, f"{count:,}") for name, count in counts)])
