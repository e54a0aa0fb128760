"""One seed, tried: in a module of its own, which a process that is spawned can import."""

from collections.abc import Sequence

from simulator.v3_world import WORLDS
from simulator.world import Report, run

__all__ = ["tried"]

#: One seed in so many is run twice.
TWICE = 20


def tried(asked: tuple[int, Sequence[str] | None, str]) -> Report:
    """One seed, now and then twice."""
    seed, kinds, api = asked
    report = run(seed, kinds, world_of=WORLDS[api])
    if seed % TWICE == 0 and run(seed, kinds, world_of=WORLDS[api]).digest != report.digest:
        report.broken.append("it is not the same the second time")
    report.events.clear()
    return report
