"""The command `smile-async`: the library from a shell, for people and, with --json, for machines.

Exit codes: 0 approved (or done), 1 rejected and nothing else, 2 provisional or pending, 3 error, whatever was not
foreseen too, 4 bad input, 5 finished, but for a person to look at. The package may be installed without the extra
`cli`, so this file imports nothing that needs it until it is called.
"""

import sys
import traceback
from collections.abc import Sequence

from smile_async.cli.streams import lasting, print_document

__all__ = ["main"]

#: In which extra of ours a package comes.
_EXTRAS = {
    **dict.fromkeys(("rich", "typer"), "cli"),
    **dict.fromkeys(("sqlalchemy", "aiosqlite", "psycopg"), "batch"),
    **dict.fromkeys(("procrastinate", "psycopg_pool", "fsspec"), "workers"),
    **dict.fromkeys(("granian", "starlette", "jinja2", "trustme", "PIL"), "sandbox"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run *arguments* (None: those of the process) and give the exit code, whatever happens."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    with lasting():
        try:
            from smile_async.cli.app import run  # noqa: PLC0415 - see above

            return run(given)
        except SystemExit as end:
            # Of typer's completion; click's, for a pipe that broke, would be 1.
            return 3 if end.code else 0
        except KeyboardInterrupt:
            return 130
        except BaseException as error:  # noqa: BLE001 - Python would exit with 1, which is a rejection
            return _failed(error, as_json="--json" in given)


def _failed(error: BaseException, *, as_json: bool) -> int:
    cause = error.__cause__ or error
    missing = (cause.name or "") if isinstance(cause, ImportError) else ""
    extra = _EXTRAS.get(missing.partition(".")[0])
    if extra is not None:
        code, message = 4, f"the package {missing} is missing: run  pip install 'smile-async[{extra}]'"
        sys.stderr.write(message + "\n")
    else:
        code, message = 3, f"not foreseen, please report it: {error}"
        traceback.print_exception(error)
    if as_json:
        kind = type(error).__name__
        print_document({"error": kind, "message": message, "ticket": None, "retryable": False, "code": None})
    return code
