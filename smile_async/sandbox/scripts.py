"""What a test says that the jobs of a user come to, and when."""

from collections.abc import Sequence
from dataclasses import dataclass

from .v3.words import is_result

__all__ = ["Script", "as_script"]


@dataclass(frozen=True, slots=True)
class Script:
    """What jobs of a user come to: `code` after `after` seconds (None = the latency), then each of `then`."""

    code: str
    after: float | None
    then: tuple[tuple[float, str], ...]


def as_script(code: str, after: float | None, then: Sequence[tuple[float, str]]) -> Script:
    """A checked `Script`; raises ValueError for what is no result or would run backwards in time."""
    for each in (code, *(later for _, later in then)):
        if not is_result(each):
            raise ValueError(f"a result is four digits such as '0820', or V3's 'block:spoof_detected', not {each!r}")
    if any(not seconds >= 0 for seconds in (after or 0.0, *(seconds for seconds, _ in then))):
        raise ValueError("seconds cannot be negative")
    return Script(code, after, tuple(then))
