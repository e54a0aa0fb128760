"""The commands gathered, and the one place where an error becomes a message and an exit code."""

import logging
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer

import smile_async
from smile_async.cli.output import ExitCode, aside, code_of, error_document, plain
from smile_async.cli.streams import logged, print_document
from smile_async.errors import SmileError

__all__ = ["run"]

#: Each command, and the file of this folder that it stands in.
_COMMANDS = {
    "demo": "demo",
    **dict.fromkeys(("verify", "submit", "wait", "status", "replay"), "jobs"),
    **{name: name for name in ("services", "explain", "doctor", "worker", "sandbox", "batch")},
}
_LOUD = {"--verbose": logging.INFO, "--debug": logging.DEBUG}


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"smile-async {smile_async.__version__}")
        raise typer.Exit


def _about(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback speaks
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="The library's log on standard error; stands anywhere.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="All of that log.")] = False,
) -> None:
    """Take the options that are the same for every command."""
    if verbose or debug:
        context.with_resource(logged(_LOUD["--debug" if debug else "--verbose"]))


@cache
def _program(names: Sequence[str]) -> Any:
    """`smile-async` with these commands: what another one imports would take longer than most commands."""
    app = typer.Typer(
        name="smile-async",
        help="Smile ID's jobs from a shell. Exit codes: 0 approved or done, 1 rejected, 2 provisional or pending,"
        " 3 error, foreseen or not, 4 bad input, 5 for a person to look at.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        # In tables, names of options are cut on a narrow terminal.
        rich_markup_mode=None,
    )
    app.callback()(_about)
    for name in names:
        command = getattr(import_module(f"smile_async.cli.{_COMMANDS[name]}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command()(command)
    return typer.main.get_command(app)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; gives the exit code, or raises what nobody foresaw."""
    as_json = "--json" in arguments
    # Stable: what may stand anywhere comes first, all else as it was.
    words = sorted(arguments, key=lambda word: word not in _LOUD)
    named = next((word for word in words if word not in _LOUD), "")
    try:
        program = _program((named,) if named in _COMMANDS else (*_COMMANDS,))
        return int(program(words, prog_name="smile-async", standalone_mode=False) or 0)
    except SmileError as error:
        if as_json:
            print_document(error_document(error))
        aside().print(f"[red]{type(error).__name__}[/red]: {plain(str(error))}")
        return code_of(error)
    except OSError as error:
        return _fail(type(error).__name__, str(error), ExitCode.ERROR, as_json)
    except Exception as error:
        # A usage error, told apart by what it can do: its class lives in click or in typer, by typer's version.
        if not hasattr(error, "format_message"):
            raise
        return _fail("UsageError", error.format_message(), ExitCode.BAD_INPUT, as_json)


def _fail(kind: str, message: str, code: ExitCode, as_json: bool) -> ExitCode:
    if as_json:
        print_document({"error": kind, "message": message, "ticket": None, "retryable": False, "code": None})
    if message.startswith("Usage:"):  # the whole help
        aside().print(plain(message))
    elif message:  # there is none when the help was shown by itself
        aside().print(f"[red]{kind}[/red]: {plain(message)}")
    return code
