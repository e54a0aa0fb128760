"""A world in which everything goes wrong, made anew by each seed: whatever happens, the promises hold.

`PYTHONPATH=tests python -m simulator --seed 17` tells the story of a seed.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from crash_support import python
from simulator.v3_world import V3World
from simulator.world import World, run

#: Seeds of `make test`; `make soak` takes two thousand.
SEEDS = range(30)
#: Seeds that have once broken a promise, and what it was.
ONCE_FAILED = {
    137: "chunks were called defects where the session had ended",
    230: "a silent connection was kept, for its deadline had been rounded down",
    1050: "a batch waited for the clock, which had been set back, to come round again",
    1184: "the server answered what its first GOAWAY had left out",
    1213: "a decided job was counted among those that wait",
    1635: "a connection that fell silent at the very moment of a request was kept",
    1785: "a double click on a lookup was sent a second time, and called another's",
    5199: "a reply that had been read waited behind the line of those who read, until their replies came",
}
#: The same, of V3.
V3_SEEDS = range(8)
V3_ONCE_FAILED = {
    35: "the clock was set, no request told the time again, and each webhook of a lost job was called stale",
    128: "a job's URL, which had leaked, took a webhook about another user's job",
    176: "the answer to a submission got lost after its webhook had come, and the job was called unknown",
}


@pytest.mark.parametrize("seed", SEEDS)
def test_no_weather_breaks_a_promise(seed: int) -> None:
    """Whatever the weather of a seed: one provider job, one outcome, nothing falls back, nobody waits too long."""
    report = run(seed)
    assert not report.broken, f"seed {seed} ({', '.join(report.kinds)}): {report.broken[0]}"


@pytest.mark.parametrize("seed", ONCE_FAILED)
def test_what_failed_once_holds(seed: int) -> None:
    """A seed that has found a fault finds it no more."""
    assert run(seed).broken == []


@pytest.mark.parametrize("seed", [*V3_SEEDS, *V3_ONCE_FAILED])
def test_no_weather_breaks_a_promise_of_v3(seed: int) -> None:
    """Nothing is sent twice, what is lost stands where a webhook may complete it, and a token is fetched once."""
    report = run(seed, world_of=V3World)
    assert not report.broken, f"seed {seed} ({', '.join(report.kinds)}): {report.broken[0]}"


@pytest.mark.parametrize("world", [World, V3World])
def test_a_slow_machine_gives_the_same_run(world: type[World], monkeypatch: pytest.MonkeyPatch) -> None:
    """All that waits, idle connections included, waits in the loop's time: what the machine takes changes nothing."""
    told = run(3, world_of=world).digest
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() * 10_000)
    assert run(3, world_of=world).digest == told


def test_another_interpreter_gives_the_same_run() -> None:
    """With other hashes, all that happens is the same, to the microsecond."""
    tests = Path(__file__).parents[1]
    script = "from simulator.world import run; print(run(3).digest)"
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": f"{tests}:{tests.parent}", "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == run(3).digest


def test_the_command_runs_seeds() -> None:
    """`python -m simulator` plays a world without weather, in which every promise holds."""
    found = subprocess.run(
        [*python(), "-m", "simulator", "--seeds", "1", "--start", "3", "--kinds"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.startswith("ok   1 seeds of v1 from 3"), found.stdout + found.stderr
