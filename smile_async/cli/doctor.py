"""`smile-async doctor`: is all well between this machine and the account, and what is still not known of it."""
# ruff: noqa: PLR0917 - typer reads the options from the signature

import asyncio
import json as as_json
import os
from pathlib import Path
from typing import Annotated

import typer

from smile_async.cli import options
from smile_async.cli.output import ExitCode, aside, people, plain
from smile_async.cli.streams import print_document
from smile_async.doctor import Finding, Report, State
from smile_async.doctor.doctor import Wanted, blank, examine

__all__ = ["doctor"]

_COLOURS = {
    State.OK: "green",
    State.WARNING: "yellow",
    State.FAILURE: "bold red",
    State.EXPECTED: "green",
    State.DIFFERENT: "yellow",
    State.UNKNOWN: "dim",
}
_WORDS = {State.UNKNOWN: "still unknown"}
_WIDTH = max(len(_WORDS.get(state, state)) for state in State)


@options.with_account
def doctor(
    selfie: Annotated[
        str | None,
        typer.Option(metavar="PICTURE", help="Make sandbox jobs with this picture of a face.", show_default=False),
    ] = None,
    production: Annotated[
        bool, typer.Option("--production", help="With --selfie: even where jobs may be billed.")
    ] = False,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Wait and probe too: up to 20 minutes, at most six refused calls.")
    ] = False,
    patience: Annotated[float, typer.Option(help="Seconds for each verdict.", min=1.0)] = 60.0,
    save: Annotated[
        Path | None, typer.Option(help="Write the report there, fit for a ticket.", show_default=False)
    ] = None,
    account: options.Account = options.NO_ACCOUNT,
    json: options.Json = False,
) -> int:
    """Say what is wrong, and how to mend it.

    Settings, network, clock, key and lists; with --selfie jobs too, and what is not published of them. One line a
    finding: seconds, state, name, what was seen, cure. Exit code 0 unless something failed.
    """
    wanted = Wanted(selfie=selfie, production=production, thorough=thorough, patience=patience)
    report = blank()
    # Whoever did not ask about the provider has come for what is wrong, which thirty such lines would bury.
    hidden = set(State) if json else {State.UNKNOWN} if selfie is None else set()
    try:
        asyncio.run(examine(account, wanted, report, lambda found: None if found.state in hidden else _show(found)))
    finally:
        # Whoever is interrupted after a quarter of an hour keeps what was found.
        if save is not None and report.findings:
            _save(report, save)
    if json:
        print_document(report.to_dict())
    else:
        _sum_up(report, hint=State.UNKNOWN in hidden)
    return ExitCode.ERROR if report.failed else ExitCode.DONE


def _show(finding: Finding) -> None:
    word = _WORDS.get(finding.state, str(finding.state))
    colour = _COLOURS[finding.state]
    cure = f"  [dim]→ {plain(finding.cure)}[/dim]" if finding.cure else ""
    time = f"{finding.seconds:7.3f} s" if finding.seconds else " " * 9
    people().print(f"{time}  [{colour}]{word:<{_WIDTH}}[/{colour}]  {plain(finding.name)}: {plain(finding.text)}{cure}")


def _sum_up(report: Report, *, hint: bool) -> None:
    counts = {state: sum(finding.state is state for finding in report.findings) for state in State}
    aside().print(", ".join(f"{count} {_WORDS.get(state, state)}" for state, count in counts.items() if count))
    if hint and counts[State.UNKNOWN]:
        aside().print(
            "[dim]about the provider: --selfie PICTURE asks, --json and --save name what is still unknown[/dim]"
        )


def _save(report: Report, path: Path) -> None:
    """For its owner's eyes: a ticket is his to write."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - it is open already
        as_json.dump(report.to_dict(), file, indent=1)
        file.write("\n")
