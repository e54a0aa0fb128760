"""Where contenders meet: one server on one core, one contender at a time on another, each in a fresh process."""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SDK_PYTHON = HERE.parent / ".venv-sdk" / "bin" / "python"
SDK_V3_PYTHON = HERE.parent / ".venv-v3-sdk" / "bin" / "python"
ENGINES = ("httpx", "httpx2", "pyreqwest")
#: Bytes of a picture and pictures of a job, as a phone sends them: a selfie and eight liveness frames.
PICTURE_BYTES, PICTURES = 60_000, 9
#: Jobs whose images smile_async holds at once (its default), and so the number of workers of a floor.
UPLOADS = 16
#: Below this idle share the server may have been the bottleneck, and the row is flagged.
IDLE_ENOUGH = 0.10
#: Share of the client's core that others used: above this a measurement is repeated, or flagged if that does not help.
DISTURBED = 0.05

Facts = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """Who takes part: a script, how it is set up, and what is different for it."""

    name: str
    script: str
    told: Facts = field(default_factory=dict)
    python: str = sys.executable

    @property
    def present(self) -> bool:
        return Path(self.python).exists()


def ours(engine: str, **told: Any) -> Contender:
    return Contender(f"smile_async on {engine}", "ours.py", {"engine": engine, **told})


def floor(engine: str, kind: str) -> Contender:
    return Contender(f"{kind} loop on {engine}", "floor.py", {"engine": engine, "kind": kind})


def sdk(threads: int, **told: Any) -> Contender:
    return Contender(
        f"smile-id-core, {threads} threads", "sdk.py", {"threads": threads, **told}, python=str(SDK_PYTHON)
    )


def sdk_v3(threads: int, **told: Any) -> Contender:
    return Contender(
        f"usesmileid, {threads} threads", "sdk_v3.py", {"threads": threads, **told}, python=str(SDK_V3_PYTHON)
    )


HANDWRITTEN = Contender("hand-written httpx client", "handwritten.py")


class Failure(RuntimeError):
    """A contender or the server ended badly."""


def cores() -> tuple[int, int]:
    """The client's core and the server's; the same one where there is only one."""
    free = sorted(os.sched_getaffinity(0))
    return free[0], free[1 % len(free)]


@contextmanager
def pictures() -> Iterator[list[str]]:
    """Files that look like colour JPEGs from outside and, like real ones, do not shrink."""
    rng = random.Random(1)
    head = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    head += b"\xff\xc0\x00\x11\x08\x02\x80\x01\xe0\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
    head += b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00"
    with tempfile.TemporaryDirectory(prefix="smile-bench-") as folder:
        paths = [Path(folder, f"picture_{number}.jpg") for number in range(PICTURES)]
        for path in paths:
            path.write_bytes(head + rng.randbytes(PICTURE_BYTES - len(head) - 2) + b"\xff\xd9")
        yield [str(path) for path in paths]


@contextmanager
def server(script: list[str]) -> Iterator[Facts]:
    """A fresh server on its own core; *script* says how it decides (see server.py)."""
    _, core = cores()
    command = [sys.executable, str(HERE / "server.py"), "--core", str(core), *script]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Failure("the server did not start")
        yield json.loads(line)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(contender: Contender, facts: Facts, images: list[str], **told: Any) -> Facts:
    """One fresh process of *contender* against the server of *facts*; its figures and its exit code."""
    whole = {"core": cores()[0], "images": images, "uploads": UPLOADS, "warm": 0, **facts, **told, **contender.told}
    # The runner's own directory for modules is enough; a user's site must not change what is measured.
    done = subprocess.run(
        [contender.python, str(HERE / contender.script), json.dumps(whole)],
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode and "exits" not in told:
        raise Failure(f"{contender.name} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return {"contender": contender.name, "exit_code": done.returncode, **(json.loads(lines[-1]) if lines else {})}


def once(contender: Contender, script: list[str], images: list[str], tries: int = 4, **told: Any) -> Facts:
    """`run` against a server of its own; again, a few times at most, if something else ran on the client's core."""
    rows = []
    while True:
        with server(script) as facts:
            rows.append(run(contender, facts, images, **told))
        if rows[-1].get("disturbed", 0.0) <= DISTURBED or len(rows) == tries:
            best = min(rows, key=lambda row: row.get("disturbed", 0.0))
            note({"server": script, **{key: told[key] for key in told if key != "images"}, **best})
            return best


def note(row: Facts) -> None:
    """Keep each measurement as it is made: a run takes an hour, and may not come to its end."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "log.jsonl").open("a") as log:
        log.write(json.dumps({"at": time.strftime("%Y-%m-%dT%H:%M:%S"), **row}) + "\n")


def middle(rows: list[Facts], key: str) -> float | None:
    """The median of a figure over rounds, None if it was not measured."""
    found = [row[key] for row in rows if row.get(key) is not None]
    return median(found) if found else None


def spread(rows: list[Facts], key: str) -> tuple[float, float] | None:
    found = [row[key] for row in rows if row.get(key) is not None]
    return (min(found), max(found)) if found else None
