"""A process that has imported what a run needs, and children of it: a fresh interpreter spends seconds importing.

A program of its own, because a process that has threads and a loop can not be forked. It says the path of a socket, and
performs what each connection orders: a plan, by the runs that are named, beside a sandbox in a child too, and answers
what became of each step; or what warm.py is told. Ends when its standard input does, with all its children.
"""

import asyncio
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import crash_runs
import pair_runs

from smile_async import Pace
from smile_async.cli import main
from smile_async.ledger import Ledger
from smile_async.session import SmileSession
from smile_async.transport.tls import tls_context

RUNS = {"crash_runs": crash_runs.perform, "pair_runs": pair_runs.perform}
#: What is imported when it is first needed, which every child would do again.
LATE = (
    "granian.server.embed",
    "h2.connection",
    "httpcore",
    "procrastinate.worker",
    "pydantic.type_adapter",
    "smile_async.cli.app",
    "smile_async.cli.batch_run",
    "smile_async.sandbox",
    "smile_async.testing",
    "smile_async.webapi",
    "smile_async.workers",
)


#: Pauses between two looks, in seconds: how long they are decides nothing.
PAUSES = {
    "smile_async.batch.running.GLANCE": 0.1,
    "smile_async.batch.worker.GLANCE": 0.1,
    "smile_async.workers.queue.LOOK": 0.1,
}


def warm_up() -> None:
    """Import, and make, once what every child of a fork would."""
    for name in LATE:
        importlib.import_module(name)
    for name, seconds in PAUSES.items():
        module, _, constant = name.rpartition(".")
        setattr(sys.modules[module], constant, seconds)
    # And polls, by a pace that needs no planning.
    *others, _ = Pace.__init__.__defaults__ or ()
    Pace.__init__.__defaults__ = (*others, (0.05, 1, 0.05))
    # The options of commands. Our own output is for the path alone.
    with contextlib.redirect_stdout(io.StringIO()):
        for words in ((), ("batch",), ("sandbox",), ("worker",)):
            main([*words, "--help"])
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(_ledger_opened(Path(place)))
    # Nor does a child look through all of that for garbage, which would copy it.
    gc.freeze()


async def _ledger_opened(folder: Path) -> None:
    async with Ledger(folder / "ledger"):
        pass


@contextlib.contextmanager
def neighbour(arguments: Sequence[str]) -> Iterator[dict[str, str]]:
    """A sandbox in a child, and the variables that lead to it."""
    (ends, end), (told, tell) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(ends, 0)
        os.dup2(tell, 1)
        os.closerange(ends, tell + 1)
        ports = ("--port", "0", "--storage-port", "0")
        os._exit(main(["sandbox", *ports, *arguments, "--json", "--until-eof"]))
    os.close(tell)
    try:
        with os.fdopen(told) as said:
            yield json.loads(said.readline())
    finally:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        os.close(ends)
        os.close(end)


def attend(connection: socket.socket) -> None:
    """Perform what is ordered."""
    first, streams, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile() as said:
        order: dict[str, Any] = json.loads(first.decode() + said.readline())
    if streams:
        child = os.fork()
        if child == 0:
            connection.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            os._exit(run_python(**order))
        for stream in streams:
            os.close(stream)
        connection.sendall(b"%d\n" % child)
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return
    with neighbour(order["sandbox"]) as found:
        os.environ.update(found)
        SmileSession.from_env(ledger=Path(order["folder"], "none"))
        for http2 in (True, False):
            tls_context(os.environ["SMILE_CA_FILE"], http2=http2)
        answer = RUNS[order["runs"]](order["plan"], Path(order["folder"]))
    connection.sendall(json.dumps(answer).encode())


def run_python(arguments: list[str], folder: str, environment: dict[str, str]) -> int:
    """What `python ARGUMENTS` does and exits with: -m and a module, -c and a text, or the path of a file."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    try:
        if arguments[0] == "-m":
            del arguments[0]
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        elif arguments[0] == "-c":
            exec(arguments.pop(1), {"__name__": "__main__"})
        else:
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
    return 0


def serve(door: socket.socket) -> None:
    """Take orders, each in a child, until standard input ends."""
    while True:
        ready, _, _ = select.select([door, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = door.accept()
        with connection:
            if os.fork() == 0:
                door.close()
                try:
                    attend(connection)
                finally:
                    sys.stderr.flush()
                    os._exit(0)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


if __name__ == "__main__":
    warm_up()
    with tempfile.TemporaryDirectory(prefix="smile-nursery-") as place, socket.socket(socket.AF_UNIX) as door:
        door.bind(f"{place}/door")
        door.listen()
        print(f"{place}/door", flush=True)
        serve(door)
    # It leads a session of its own.
    os.killpg(0, signal.SIGTERM)
