"""Asyncio client for Smile ID: SmartSelfie jobs by the thousand over one shared HTTP/2 pool.

A name is imported when it is first asked for: where this package is installed every run of pytest loads its plugin, and
so this file, and should not wait for an HTTP client that no test needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from smile_async.errors import SmileError

if TYPE_CHECKING:
    from smile_async.callbacks import CallbackReceiver, verify_callback
    from smile_async.jobs.codes import CodeMeaning, Decision, classify, explain
    from smile_async.jobs.image import Image
    from smile_async.jobs.job import Job
    from smile_async.jobs.ticket import JobType, Ticket
    from smile_async.jobs.verdict import JobStatus, Verdict
    from smile_async.limits import Limits, Stats
    from smile_async.session import SmileSession
    from smile_async.timing.pacing import Pace
    from smile_async.traffic.stream import Failed, Finished

__all__ = [  # noqa: RUF022 - a table of contents, in the order a reader meets the names
    # the session manager and its knobs
    "SmileSession",
    "Limits",
    "Pace",
    "Stats",
    # what you submit, and what you hold afterwards
    "Job",
    "JobType",
    "Image",
    "Ticket",
    # what comes back
    "Verdict",
    "Decision",
    "JobStatus",
    "Finished",
    "Failed",
    # the result-code classifier
    "classify",
    "explain",
    "CodeMeaning",
    # callbacks
    "CallbackReceiver",
    "verify_callback",
    # what may go wrong: its leaves are in smile_async.errors
    "SmileError",
]

#: Where they are, from the ground up: whoever wants a `Job` waits for no session.
_HOMES = (
    *("jobs.ticket", "jobs.codes", "jobs.image", "jobs.job", "jobs.verdict", "timing.pacing", "limits"),
    *("traffic.stream", "session", "callbacks"),
)


if not TYPE_CHECKING:  # a type checker that sees this takes any name for one of ours

    def __getattr__(name: str) -> object:
        for home in _HOMES if name in __all__ else ():
            module = import_module(f"{__name__}.{home}")
            if name in module.__all__:
                return globals().setdefault(name, getattr(module, name))
        if name in _HOMES:
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
