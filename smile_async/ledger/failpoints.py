"""Named moments at which a test may stop the process, to prove that what is left behind can be taken up again.

A hook that a test installs in its own process, rather than a variable of the environment: nothing that reaches a
deployed program can arm it.
"""

from collections.abc import Callable

__all__ = ["CHUNK_POINTS", "POINTS", "failpoint", "install"]

#: Every moment, in the order in which a job passes them.
POINTS = (
    "planning",
    "planned",
    "intent noted",
    "intent committing",
    "intent committed",
    "upload answered",
    "mark committing",
    "mark committed",
    "put answered",
    "ticket noted",
    "ticket committing",
    "ticket committed",
    "verdict noted",
    "verdict committing",
    "verdict committed",
)

#: Every moment in the life of a chunk, where workers share a batch.
CHUNK_POINTS = (
    "chunk queueing",
    "chunk queued",
    "chunk claimed",
    "chunk renewed",
    "chunk parking",
    "chunk parked",
    "chunk ending",
    "chunk done",
)

_hook: Callable[[str], None] | None = None


def install(hook: Callable[[str], None] | None) -> None:
    """Let *hook* be called with the name of each moment that is passed; None: nothing happens there."""
    global _hook  # noqa: PLW0603 - the one seam, for tests
    _hook = hook


def failpoint(name: str) -> None:
    """Nothing, unless a test has installed a hook."""
    if _hook is not None:
        _hook(name)
