"""Run a batch again and again in children of a warm process, and kill each child where the plan says.

A program of its own, because a process that has threads and a loop can not be forked; a fork, because a fresh
interpreter would spend most of the test importing. Reads the plan from standard input, writes the exit statuses.
"""

import json
import os
import signal
import sys
import time
from typing import Any

from smile_async.cli import main
from smile_async.cli.batching import drive  # noqa: F401 - imported before the fork
from smile_async.ledger import failpoints


def run(step: dict[str, Any]) -> None:
    """The child: never returns."""
    left = step.get("passes", 0)

    def hook(name: str) -> None:
        nonlocal left
        if name == step.get("point"):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    failpoints.install(hook)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    if "--show" not in sys.argv:
        os.dup2(null, 2)
    os._exit(main(step["arguments"]))


statuses = []
for step in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        run(step)
    if "after" in step:
        time.sleep(step["after"])
        os.kill(child, signal.SIGKILL)
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(statuses))
