"""The sandbox itself: one partner account you can script, break and look into while clients use it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio
import httpx
from starlette.types import ASGIApp

from .api import api_routes, no_route
from .callbacks import CallbackSender
from .console import Console
from .control import Control
from .credentials import Keys
from .desk import build_app
from .faults import Fault, Faults, Leg
from .images import Images
from .readers import AtOnce
from .records import JobRecord
from .registry import Registry
from .request_log import RequestLog
from .scripts import as_script
from .server import RunningSandbox, Serving
from .settings import Settings
from .storage import no_object, storage_routes
from .v3.endpoints import v3_routes
from .v3.tokens import Tokens
from .v3.words import is_result

__all__ = ["Sandbox"]


class _Serve:
    """Makes `serve` callable on the class, which makes a sandbox first, and on a sandbox you already have."""

    def __get__(self, sandbox: "Sandbox | None", owner: "type[Sandbox]") -> "Callable[..., Serving]":
        if sandbox is not None:
            return sandbox.open_sockets

        def serve(*, host: str = "127.0.0.1", port: int = 0, storage_port: int = 0, **settings: Any) -> Serving:
            return owner(**settings).open_sockets(host=host, port=port, storage_port=storage_port)

        return serve


class Sandbox:
    """A Smile ID partner account on your desk; the keyword arguments are those of `Settings`.

    `app` is the whole of it as one ASGI app (for httpx.ASGITransport). `async with Sandbox.serve(**settings) as
    running:` opens real sockets, as does `sandbox.serve()`; both take `host`, `port` and `storage_port` (0 = any free
    port) and give a `RunningSandbox`.
    """

    serve = _Serve()

    def __init__(self, partner_id: str = "001", api_key: str | None = None, **settings: Any) -> None:
        self.settings = Settings(partner_id=partner_id, api_key=api_key or "", **settings)
        self.registry = Registry(self.settings)
        self.keys = Keys(self.settings.partner_id, self.settings.api_key)
        #: The tokens of V3: how many were made (`issued`), and a way to let them `expire` in mid-flight.
        self.tokens = Tokens(self.keys, self.settings)
        state = self.settings.state
        self.images = Images(self.settings.image_memory, Path(state) / "images" if state is not None else None)
        self.faults = Faults()
        #: The last 500 exchanges, oldest first, redacted: requests, refused ones too, and callbacks.
        self.log = RequestLog(self.settings.clock, self.settings.api_key)
        self._timing = (self.settings.latency, self.settings.review)
        self.readers: Executor = AtOnce()
        self.storage_url: str | None = None
        self.closing: anyio.Event | None = None
        self._sender: CallbackSender | None = None
        self.running: RunningSandbox | None = None
        self.console = Console(self)
        own = [*self.console.routes(), *Control(self, self.console).routes()]
        api, storage = [*api_routes(self), *v3_routes(self), *own], storage_routes(self)
        self.api_app: ASGIApp = build_app(self, *api, no_route=no_route)
        self.storage_app: ASGIApp = build_app(self, *storage, no_route=no_object)
        self.app: ASGIApp = build_app(self, *api, *storage, no_route=no_route)

    def __repr__(self) -> str:
        return f"<Sandbox of partner {self.partner_id}: {len(self.registry.jobs)} jobs>"

    @property
    def partner_id(self) -> str:
        """The partner account."""
        return self.settings.partner_id

    @property
    def api_key(self) -> str:
        """The account's key."""
        return self.settings.api_key

    def open_sockets(self, *, host: str = "127.0.0.1", port: int = 0, storage_port: int = 0) -> Serving:
        """What `sandbox.serve` is: an async context manager that serves until it is left."""
        return Serving(self, host, port, storage_port)

    def enroll(self, user_id: str) -> None:
        """Make *user_id* an enrolled user, as if a registration had been approved."""
        self.registry.enroll(user_id)

    def forget(self, user_id: str) -> bool:
        """Make *user_id* a stranger again, whatever enrolled them; whether they were enrolled."""
        return self.registry.forget(user_id)

    def script(
        self, user_id: str, *, code: str, after: float | None = None, then: Sequence[tuple[float, str]] = ()
    ) -> None:
        """Let the next and all following jobs of *user_id* come to *code*, *after* seconds from the arrival of the zip.

        A product of one request is answered so much later; what follows `then` is for /job_status and callbacks.
        Jobs of V3 come to what *code* means there; *code* may also be V3's own word, with its reason after a colon:
        "block:spoof_detected", "processing" while people review it. *after* None = the sandbox's latency. *then* holds
        later results, each (seconds after the one before, code): `code="0822", then=[(7200, "1220")]` is a review of
        two hours. Codes nobody has documented are allowed; a zip
        that is corrupt still comes to 0903 or 0001. Raises ValueError.
        """
        self.registry.scripts[user_id] = as_script(code, after, then)

    def fault(
        self,
        leg: Leg,
        *,
        status: int | None = None,
        body: bytes | str | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
        times: int | None = 1,
        effect: bool = False,
        cut: bool = False,
        tamper: Callable[[dict[str, Any]], None] | None = None,
        user_id: str | None = None,
        job_id: str | None = None,
    ) -> None:
        """Let something go wrong for the next *times* requests (None = all) on *leg*.

        Legs: "upload", "put", "job_status", "callback", "request" (the products of one request, at once or later) and
        "account" (tokens, services, documents); those of V3 are "token", "submit" (with "effect": a 202 that is lost),
        "status", "replay", "webhook" and "account". *status* and *body* (bytes, text, or a mapping sent as JSON)
        replace the reply, *headers* are added to it, *delay* (real seconds) holds it back, *cut* drops the connection
        in the middle of it, *tamper* edits the JSON of the true reply. With *effect* the request does its work first
        and only the reply is faulty; otherwise it has no effect, unless nothing but *delay*, *headers* or *tamper* is
        asked for. *user_id* and *job_id* choose the victim.

        A "callback" or "webhook" is sent with another *body*, or late, or tampered with; with *status* (or *cut*: no
        answer) it is not sent but counts as answered so, and is retried; with *effect* as well it is sent and still
        retried.
        """
        self.faults.add(
            leg,
            Fault(status, body, dict(headers or {}), delay, times, effect, cut, tamper, user_id, job_id),
        )

    def mend(self, leg: Leg | None = None) -> None:
        """Forget the faults of *leg*, or of all legs."""
        self.faults.clear(leg)

    def review(self, job_id: str, judgement: str) -> None:
        """Be the human reviewer of a job: *judgement* is "approve", "reject", "spoof" or a result code.

        It is the job's result from now on and replaces what was planned for later. Raises KeyError for a job that
        does not exist and ValueError for one without a zip or a judgement that is none.
        """
        job = self.registry.jobs[job_id]
        if job.arrived_at is None:
            raise ValueError(f"job {job_id} has no zip to review yet")
        words = job.kind.human
        if judgement not in words and not is_result(judgement):
            takes = ", ".join([*words, "a code such as 0820 or block:spoof_detected"])
            raise ValueError(f"a judgement is one of {takes}, not {judgement!r}")
        self.registry.review(job, job.said(words.get(judgement, judgement)))
        self.notify(job)

    def reset(self) -> None:
        """Forget all that has happened since the start: jobs, users, scripts, faults, pictures, the log; set times.

        For the time between two tests. Tokens of V3 stay good; of a job on its way nothing more is heard.
        """
        self.registry.reset()
        self.images.clear()
        self.faults.clear()
        self.log.clear()
        self.tokens.issued.clear()
        self.settings.latency, self.settings.review = self._timing

    @property
    def jobs(self) -> Mapping[str, JobRecord]:
        """Every job by its job_id, oldest first."""
        return MappingProxyType(self.registry.jobs)

    def count(self, job_id: str) -> int:
        """How many provider jobs were created for *job_id*: 0 or 1, more would be a bug."""
        job = self.registry.jobs.get(job_id)
        return job.submissions if job else 0

    def notify(self, job: JobRecord) -> None:
        """*job* has got a new plan: callbacks may be due."""
        if self._sender is not None:
            self._sender.expect(job)

    def replay(self, job: JobRecord, url: str = "") -> None:
        """Send the callback of *job*'s latest result once more, to *url* if there is one; nothing if none are sent."""
        if self._sender is not None and job.latest is not None:
            self._sender.again(job, job.latest, url=url)

    def resend(self, job_id: str, *, copies: int = 1, back: int = 0) -> None:
        """Send the callback of a job's latest result once more, freshly signed.

        *copies* sends the same bytes so many times, *back* takes a result so many before the latest: a late arrival.
        Raises KeyError for a job that does not exist, ValueError for one without that result or without a usable
        callback URL, RuntimeError outside `sending_callbacks`.
        """
        job = self.registry.jobs[job_id]
        if self._sender is None:
            raise RuntimeError("callbacks are sent only while the sandbox is served, or inside sending_callbacks()")
        history = job.history
        if not history:
            raise ValueError(f"job {job_id} has no result yet")
        if not 0 <= back < len(history):
            raise ValueError(f"job {job_id} has {len(history)} results, none of them {back} before the latest")
        if not self._sender.reaches(job):
            raise ValueError(f"job {job_id} has no callback URL: set one in the job, the session or the sandbox")
        self._sender.again(job, history[back], copies)

    @contextlib.asynccontextmanager
    async def sending_callbacks(self, transport: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[None]:
        """Send callbacks as they fall due, for as long as the block lasts; `serve` does this by itself.

        *transport* reaches the receiver, such as `httpx.ASGITransport(receiver)`; None = the network.
        """
        sender = self._sender = CallbackSender(self, transport)
        # A plain task, not a task group: fixtures enter and leave in different tasks, and the block's own exception
        # must come out as it is.
        sending = asyncio.create_task(sender.run(), name="sandbox callbacks")
        try:
            yield
        finally:
            self._sender = None
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
