"""The command `smile-async`: the library from a shell, for people and, with --json, for machines.

The package may be installed without the extra `cli`, so this file imports nothing that needs it until it is called.

## Your own photo, from a second shell

```console
$ smile-async sandbox | tee sandbox.env
```

It prints four `export` lines once it listens, and serves until Ctrl-C. In a second shell, in the same directory, with
any selfie as `me.jpg`:

```console
$ . ./sandbox.env
$ smile-async verify me.jpg --user-id me --register
approved  0840 Enroll User - Machine Judgement  (final)
…
$ smile-async verify me.jpg --user-id me
approved  0820 Authenticate User Machine Judgement  (final)
…
$ smile-async verify me.jpg --user-id me --param sandbox_result=1 || echo "exit code $?"
rejected  0821 Failed Authentication - Images Did Not Match - Machine Judgement  (final)
…
exit code 1
```

The sandbox looks at no face: it approves every readable picture unless it is told otherwise, as in the last command.
Its base URL without `/v1` is a web page: your jobs with their pictures, and buttons to approve or reject as the human
reviewer would. Your browser warns about its certificate, and is right to: the sandbox has signed it with a CA of its
own, which no browser knows. At this address, go on ("Advanced", "Proceed"). Clients need no such thing: `SMILE_CA_FILE`
is that CA. `--api v3` prints V3's URL, and `SMILE_API`. `smile_async.sandbox` is the whole guide.

## The commands

| command | what it does |
|---|---|
| `demo` | 200 people registered and authenticated against a sandbox in a second process |
| `doctor` | says what is wrong between this machine and the account |
| `sandbox` | serves Smile ID's APIs on your machine |
| `verify`, `submit` | one job; the one waits for its verdict, the other prints its ticket |
| `wait`, `status` | the verdict of a job submitted before; how far it is |
| `services` | which ids can be looked up, and what each needs |
| `explain` | what a result code means, for each job type |
| `batch`, `worker` | many jobs: see `smile_async.batch` and `smile_async.workers` |

`verify` and `submit` take `--product enhanced_kyc --country NG --id-type NIN_V2`, `--front` and `--back`. An id number
comes from standard input (`--id-number -`), a file (`@FILE`) or `SMILE_ID_NUMBER`; further fields as a JSON object
(`--id-info`). Which account is meant, and how `--environment` and `--base-url` go with the variables, says
`smile_async.settings`.

Every command takes `--json`, and `--verbose` or `--debug` for the library's log. The answer is on standard output,
everything else on standard error. `smile-async --install-completion` teaches your shell the commands. Where the script
is not on the PATH, `python -m smile_async` is the same.

## Exit codes

| code | it says |
|---|---|
| 0 | approved, or done |
| 1 | rejected, and nothing else |
| 2 | provisional or pending |
| 3 | error, foreseen or not |
| 4 | bad input |
| 5 | finished, but for a person to look at |

They hold whatever becomes of the output: a pipe that closes, a terminal that knows no `é` (it is escaped).
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
