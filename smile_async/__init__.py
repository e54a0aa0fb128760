"""Asyncio client for Smile ID: SmartSelfie jobs by the thousand over one shared HTTP/2 pool."""

from smile_async.callbacks import CallbackReceiver, verify_callback
from smile_async.codes import CodeMeaning, Decision
from smile_async.errors import SmileError
from smile_async.image import Image
from smile_async.job import Job, JobType, Ticket
from smile_async.pacing import Pace
from smile_async.session import SmileSession
from smile_async.settings import Limits, Stats
from smile_async.stream import Failed, Finished
from smile_async.verdict import JobStatus, Verdict, classify, explain

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
