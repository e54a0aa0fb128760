"""Run a batch again and again in children of the nursery, and kill each child where the plan says.

A step: `arguments` of the command line; `point` where the child kills itself, after passing it `passes` times; `after`
so many seconds it is killed; `beside` the steps that follow, until the last of those has ended, at most `share` chunks
for each of them, so that on any machine something is left for the last; `defaults` of Worker and constants of
`chunk_run` and `one_request` that would take minutes.
"""

import mmap
import os
import signal
import time
from pathlib import Path
from typing import Any

from smile_async.cli import main
from smile_async.ledger import failpoints

#: How many steps have ended, in memory that parent and children share.
ENDED = mmap.mmap(-1, 1)


def run(step: dict[str, Any]) -> None:
    """The child: never returns."""
    left = step.get("passes", 0)
    claimed = 0

    def hook(name: str) -> None:
        nonlocal left, claimed
        if "share" in step and name == "chunk claimed":
            claimed += 1
            while claimed > step["share"] * (ENDED[0] + 1):
                time.sleep(0.02)
        if name == step.get("point"):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    failpoints.install(hook)
    if "defaults" in step:
        hasten(step["defaults"])
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os._exit(main(step["arguments"]))


def hasten(defaults: dict[str, Any]) -> None:
    """Let a worker do in a second what it does in a minute."""
    from smile_async.batch import chunk_run  # noqa: PLC0415
    from smile_async.batch.worker import Worker  # noqa: PLC0415
    from smile_async.protocol.v1 import one_request  # noqa: PLC0415

    known = Worker.__init__.__kwdefaults__ or {}
    for name, value in defaults.items():
        if name in known:
            known[name] = value
        else:
            setattr(one_request if hasattr(one_request, name) else chunk_run, name, value)


def ended(child: int, patience: float = 3.0) -> int:
    """The exit status of one who ends when there is no work left; told to stop if it does not."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def perform(plan: list[dict[str, Any]], _folder: Path) -> list[int]:
    """The exit status of each step."""
    ENDED[0] = 0
    statuses: dict[int, int] = {}
    beside: dict[int, int] = {}
    for number, step in enumerate(plan):
        child = os.fork()
        if child == 0:
            run(step)
        if step.get("beside"):
            beside[child] = number
            continue
        if "after" in step:
            time.sleep(step["after"])
            os.kill(child, signal.SIGKILL)
        statuses[number] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        ENDED[0] += 1
    for child, number in beside.items():
        statuses[number] = ended(child)
    return [statuses[number] for number in range(len(plan))]
