"""Things that go wrong on the way, on request: refusals, delays, broken replies, lost replies.

The interesting failures are the ones after which the client cannot know what happened. `effect=True` makes exactly
those: the request does its work and only the reply is bad.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import orjson
from starlette.responses import Response

from .texts import clip, seconds_text

__all__ = ["Fault", "Faults", "Leg", "waiting_text"]

#: The parts of a job's journey a fault can hit; "request" is that of the products of one request, "account" all that is
#: asked about the account: tokens, services, documents. Those of V3 are "token" to "webhook", and "account".
Leg = Literal[
    "upload",
    "put",
    "job_status",
    "request",
    "callback",
    "account",
    "token",
    "submit",
    "status",
    "replay",
    "webhook",
]


@dataclass(slots=True)
class Fault:
    """One thing to go wrong; `times` counts down, None = always. See `Sandbox.fault` for the rest."""

    status: int | None = None
    body: bytes | str | Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    times: int | None = 1
    effect: bool = False
    cut: bool = False
    tamper: Callable[[dict[str, Any]], None] | None = None
    user_id: str | None = None
    job_id: str | None = None

    @property
    def honest(self) -> bool:
        """Whether the true reply is needed: it is only late, decorated or tampered with."""
        return self.tamper is not None or (self.status is None and self.body is None and not self.cut)

    @property
    def text(self) -> str:
        """What it does, in words."""
        parts = ["connection dropped"] if self.cut else []
        parts += [f"answers {self.status}"] if self.status is not None else []
        parts += ["body tampered with"] if self.body is not None or self.tamper is not None else []
        parts += [f"{seconds_text(self.delay)} late"] if self.delay else []
        parts += ["headers added"] if self.headers else []
        return ", ".join(parts + (["after the work is done"] if self.effect else []))

    def spoil(self, reply: Response | None) -> Response:
        """The reply to give instead of *reply* (None where the request was not let through)."""
        if reply is not None and self.tamper is not None and bytes(reply.body)[:1] == b"{":
            content = orjson.loads(reply.body)
            self.tamper(content)
            reply = Response(orjson.dumps(content), reply.status_code, media_type="application/json")
        if reply is None or not self.honest:
            reply = self._invent(reply)
        if self.status is not None:
            reply.status_code = self.status
        reply.headers.update(self.headers)
        return reply

    def _invent(self, reply: Response | None) -> Response:
        body = self.body
        if body is None:
            body = b"" if reply is None or self.status is not None else bytes(reply.body)
        if isinstance(body, Mapping):
            return Response(orjson.dumps(dict(body)), media_type="application/json")
        return Response(body)


def waiting_text(leg: Leg, fault: Fault) -> str:
    """What *fault* will do on *leg*, how often and to whom, in a line."""
    parts = [fault.text] if fault.text else []
    parts.append("every time" if fault.times is None else "once" if fault.times == 1 else f"{fault.times} times")
    parts += [f"{name} {clip(value, 40)}" for name, value in (("user", fault.user_id), ("job", fault.job_id)) if value]
    return f"{leg}: {', '.join(parts)}"


class Faults:
    """The faults waiting to happen, per leg, in the order they were asked for."""

    def __init__(self) -> None:
        self._waiting: dict[Leg, list[Fault]] = {leg: [] for leg in get_args(Leg)}

    def add(self, leg: Leg, fault: Fault) -> None:
        """Let *fault* happen to the next request on *leg* it fits."""
        if leg not in self._waiting:
            raise ValueError(f"no leg is called {leg!r}: choose from {', '.join(self._waiting)}")
        self._waiting[leg].append(fault)

    def clear(self, leg: Leg | None = None) -> None:
        """Forget the faults of *leg*, or of all legs."""
        for name, waiting in self._waiting.items():
            if leg in (None, name):
                waiting.clear()

    def waiting(self) -> list[tuple[Leg, Fault]]:
        """Every fault still to happen, leg by leg, in the order they were asked for."""
        return [(leg, fault) for leg, waiting in self._waiting.items() for fault in waiting]

    def pending(self, leg: Leg) -> bool:
        """Whether anything may go wrong on *leg*."""
        return bool(self._waiting[leg])

    def take(self, leg: Leg, user_id: str | None = None, job_id: str | None = None) -> Fault | None:
        """The fault for a request of that user and job, counted down; None = all goes well."""
        for fault in self._waiting[leg]:
            if fault.user_id in (None, user_id) and fault.job_id in (None, job_id):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._waiting[leg].remove(fault)
                return fault
        return None
