"""The commands gathered, and the one place where an error becomes a message and an exit code."""

from collections.abc import Sequence

import typer
from rich.markup import escape

from smile_async.cli.batch import batch
from smile_async.cli.demo import demo
from smile_async.cli.explain import explain
from smile_async.cli.jobs import status, submit, verify
from smile_async.cli.output import ExitCode, aside, code_of, error_document, print_document, show_error
from smile_async.cli.sandbox import sandbox
from smile_async.cli.worker import worker
from smile_async.errors import SmileError

__all__ = ["app", "run"]

app = typer.Typer(
    name="smile-async",
    help="SmartSelfie jobs from a shell. Exit codes: 0 approved or done, 1 rejected, 2 provisional or pending, 3 error,"
    " 4 bad input.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (demo, sandbox, verify, submit, status, explain, worker):
    app.command()(command)
app.add_typer(batch, name="batch")


def run(arguments: Sequence[str]) -> int:
    """Run a command line; gives the exit code."""
    as_json = "--json" in arguments
    try:
        return int(app(list(arguments), prog_name="smile-async", standalone_mode=False) or 0)
    except SmileError as error:
        if as_json:
            print_document(error_document(error))
        show_error(error)
        return code_of(error)
    except ImportError as error:
        return _fail("ImportError", str(error), ExitCode.BAD_INPUT, as_json)
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
    if message:  # there is none when the whole help was shown instead
        aside().print(f"[red]{kind}[/red]: {escape(message)}")
    return code
