"""What is measured inside a contender's process, and how it is told to the runner.

Standard library alone: the official SDK runs in a virtual environment of its own that has nothing else. CPU is the
process's own, threads included; the server's is read from /proc, to show that it was not the bottleneck.
"""

import asyncio
import json
import os
import sys
import time
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")


def spec() -> dict[str, Any]:
    """What the runner wants of this process; pins it to its core first."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    os.sched_setaffinity(0, {told["core"]})
    return told


def tell(facts: dict[str, Any]) -> None:
    """Report to the runner: the last line of standard output."""
    print(json.dumps(facts), flush=True)


def server_cpu(pid: int) -> float:
    """CPU seconds of the server process so far, threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def core_busy(core: int) -> float:
    """Seconds this core was busy or stolen so far, interrupts aside: loopback traffic is nobody's in particular."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _, _, _, _, steal, *_ = map(int, fields)
            return (user + nice + system + steal) / TICKS
    raise LookupError(core)


def memory_mb(field: str) -> float:
    """VmHWM (peak) or VmRSS (now) of this process; ru_maxrss would start at the parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


class Window:
    """The measured stretch: `open`, note each verdict's lateness, `close` for the figures."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._pid, self._core = told["server_pid"], told["core"]
        self._late = array("d")
        self.polls = 0
        self.done = 0

    def open(self) -> None:
        self._late = array("d")
        self.polls = self.done = 0
        self._server, self._all = server_cpu(self._pid), core_busy(self._core)
        self._cpu, self._wall = time.process_time(), time.monotonic()

    def verdict(self, result: Mapping[str, Any]) -> None:
        """A verdict is in the caller's hands; the server wrote into it when it could have been."""
        self.done += 1
        self.polls += result["Polls"]
        if result["Available"] is not None:
            self._late.append(time.monotonic() - result["Available"])

    def close(self) -> dict[str, Any]:
        wall, cpu = time.monotonic() - self._wall, time.process_time() - self._cpu
        server, everybody = server_cpu(self._pid) - self._server, core_busy(self._core) - self._all
        late = sorted(self._late)
        return {
            "jobs": self.done,
            "wall": wall,
            "cpu": cpu,
            "cpu_ms_per_job": 1000 * cpu / max(self.done, 1),
            "jobs_per_s": self.done / wall,
            "busy": cpu / wall,
            "polls_per_job": self.polls / max(self.done, 1),
            "late_p50": late[len(late) // 2] if late else None,
            "late_p95": late[int(len(late) * 0.95)] if late else None,
            "late_p99": late[int(len(late) * 0.99)] if late else None,
            "late_mean": sum(late) / len(late) if late else None,
            "peak_rss_mb": memory_mb("VmHWM"),
            "server_idle": 1 - server / wall,
            "disturbed": max(0.0, (everybody - cpu) / wall),
        }


async def accepting(port: int) -> None:
    """Return once somebody listens on *port* of this machine."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return
