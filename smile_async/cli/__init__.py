"""The command `smile-async`: the library from a shell, for people and, with --json, for machines.

Exit codes: 0 approved (or done), 1 rejected, 2 provisional or pending, 3 error, 4 bad input. The package may be
installed without the extra `cli`, so this file imports nothing that needs it until it is called.
"""

import json
import sys
from collections.abc import Sequence

__all__ = ["main"]

_EXTRA = ("rich", "typer")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run *arguments* (None: those of the process) and give the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        from smile_async.cli.app import run  # noqa: PLC0415 - see above
    except ImportError as missing:
        if (missing.name or "").partition(".")[0] not in _EXTRA:
            raise
        message = f"the package {missing.name} is missing: run  pip install 'smile-async[cli]'"
        if "--json" in given:
            sys.stdout.write(json.dumps({"error": "ImportError", "message": message}) + "\n")
        sys.stderr.write(message + "\n")
        return 4
    return run(given)
