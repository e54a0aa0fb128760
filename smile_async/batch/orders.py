"""What `batch run` was told about the jobs of a batch, and what of that nobody could follow."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from smile_async.errors import BadConfiguration
from smile_async.traffic.watching import Until

__all__ = ["Orders", "check_options"]


def check_options(*, rate: float | None = None, **seconds: float) -> None:
    """Raise BadConfiguration unless *seconds* are finite and not negative, and *rate* (jobs a second) lies between."""
    for name, value in seconds.items():
        if not 0 <= value < inf:
            raise BadConfiguration(f"--{name} {value}: give a number of seconds, 0 or more")
    if rate is not None and not 0 < rate < inf:
        raise BadConfiguration(f"--rate {rate}: give a number above 0, or leave it out for as fast as they come")


@dataclass(frozen=True, slots=True)
class Orders:
    """How long to wait for a job's verdict and for which, and how many jobs may start a second."""

    until: Until
    patience: float
    rate: float | None = None
    drain: float = 30.0

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Orders":
        """From the options that the ledger keeps. What can not be followed counts as not said: it was once taken."""
        rate = told.get("rate")
        return cls(
            "final" if told.get("until") == "final" else "decision",
            _seconds(told.get("patience"), 300.0),
            rate if isinstance(rate, int | float) and 0 < rate < inf else None,
            _seconds(told.get("drain"), 30.0),
        )


def _seconds(value: Any, otherwise: float) -> float:
    return value if isinstance(value, int | float) and 0 <= value < inf else otherwise
