"""Asyncio client for Smile ID: SmartSelfie jobs by the thousand over one shared HTTP/2 pool.

`SmileSession`, `Job` and `Verdict` are what most programs need. The README begins with a sample that runs offline. Each
guide is the docstring of a package:

| guide | what it is about |
|---|---|
| `smile_async.settings` | your account, and which server is meant |
| `smile_async.doctor` | what is wrong between a machine and its account |
| `smile_async.callbacks` | a login with a database, callbacks, following reviews |
| `smile_async.testing` | tests of your code, hours of review included |
| `smile_async.jobs` | every product, pictures, verdicts |
| `smile_async.errors` | what each error means, and what to do |
| `smile_async.traffic` | production: sizes, outages, log lines, spans, metrics |
| `smile_async.batch`, `smile_async.workers` | a million rows, on one machine or many |
| `smile_async.sandbox` | the provider on your desk |
| `smile_async.cli` | the command `smile-async` |
| `smile_async.webapi` | migrating from the official SDKs |
| `smile_async.protocol.v3` | Smile ID's new API |

## Where things live

From the ground up; a file imports from its own storey and from those above it in this list:

    errors urls limits          what can go wrong, which addresses are fit, how much at once
    log contained               one logger, and what keeps foreign code from costing more than its own call
    timing/                     when: clocks, the poller's pace, back-off, what is due
    jobs/                       what is said: products, jobs, pictures, tickets, verdicts, result codes
    protocol/                   how it is said: signatures, steps, and v1/ and v3/, the wires of the provider's APIs
    settings                    which account, at which server
    transport/                  over what: HTTP engines, sockets, the connection pool, the limiter of requests
    ledger/                     what survives: one row a job, in SQLite or PostgreSQL
    traffic/                    who carries it: payloads, driver, sender, poller, streams, confirmed callbacks
    session                     the session manager
    callbacks webapi testing    its faces: an ASGI receiver, the official SDK's classes, signed replies for tests
    sandbox/                    the provider on your desk, with a console
    batch/ workers/ report/     manifests through a ledger, on one machine or many, and a page about them
    doctor/                     what is wrong between a machine and its account, and what nobody has published
    pytest_plugin cli/          fixtures, and the command `smile-async`

A name is imported when it is first asked for: where this package is installed every run of pytest loads its plugin, and
so this file, and should not wait for an HTTP client that no test needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from smile_async.errors import SmileError

if TYPE_CHECKING:
    from smile_async.callbacks import CallbackReceiver, verify_callback
    from smile_async.jobs.codes import CodeMeaning, Decision, classify, explain
    from smile_async.jobs.document import Document
    from smile_async.jobs.id_info import IdInfo
    from smile_async.jobs.image import Image
    from smile_async.jobs.job import Job
    from smile_async.jobs.person import Consent, Person
    from smile_async.jobs.product import Product
    from smile_async.jobs.ticket import JobType, Ticket
    from smile_async.jobs.verdict import JobStatus, Verdict
    from smile_async.limits import Limits, Stats
    from smile_async.session import SmileSession
    from smile_async.timing.pacing import Pace
    from smile_async.traffic.outcomes import Failed, Finished

    __version__: str

__all__ = [  # noqa: RUF022 - a table of contents, in the order a reader meets the names
    # the session manager and its knobs
    "SmileSession",
    "Limits",
    "Pace",
    "Stats",
    # what you submit, and what you hold afterwards
    "Job",
    "Product",
    "JobType",
    "Image",
    "IdInfo",
    "Document",
    "Person",
    "Consent",
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
    *(
        "jobs.product",
        "jobs.ticket",
        "jobs.codes",
        "jobs.image",
        "jobs.id_info",
        "jobs.document",
        "jobs.person",
        "jobs.job",
    ),
    *("jobs.verdict", "timing.pacing", "limits"),
    *("traffic.outcomes", "session", "callbacks"),
)


if not TYPE_CHECKING:  # a type checker that sees this takes any name for one of ours

    def __getattr__(name: str) -> object:
        for home in _HOMES if name in __all__ else ():
            module = import_module(f"{__name__}.{home}")
            if name in module.__all__:
                return globals().setdefault(name, getattr(module, name))
        if name in _HOMES:
            return import_module(f"{__name__}.{name}")
        if name == "__version__":
            return globals().setdefault(name, import_module("importlib.metadata").version("smile-async"))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
