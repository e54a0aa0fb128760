"""The last exchanges, as far as they may be seen: every request of a client, refused ones too, and every callback.

What was said is kept as it came until somebody looks, or a busy sandbox would spend half its time on a log that nobody
reads; then it is redacted (redaction.py), and the rest forgotten. Nothing shows an exchange but as a `LogEntry`.
"""

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from smile_async.timing.clock import Clock

from .records import JobRecord
from .redaction import FOREIGN, OURS, THEIRS, document_of, form_of, headers_of, reason_of, target_of
from .texts import place_of

__all__ = ["LARGEST", "Exchange", "LogEntry", "RequestLog"]

Headers = Iterable[tuple[bytes, bytes]]

#: Exchanges that are remembered.
_KEPT = 500
#: Bytes of a body that is looked into; of a larger one the size is told.
LARGEST = 65_536
#: Characters; what is shorter is no API key, and may be anything else.
_SECRET = 6
#: What is not about jobs: the console, and what steers the sandbox.
_OWN = ("/console/", "/_sandbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One exchange: a "request" to the sandbox, or a "callback" that it sent.

    `at` is when it began (epoch seconds of the sandbox's clock), `seconds` how long it took in real time, `leg` as for
    faults, "image" for a picture's link and "" for a path that does not exist. `status` is the HTTP status, None = no
    answer; `reason` says why it is a refusal, or what kept an answer from coming; `fault` what a fault did to it.
    `request` and `answer` hold `headers` and `body`, redacted.
    """

    number: int
    kind: str
    at: float
    method: str
    path: str
    leg: str
    status: int | None
    seconds: float
    reason: str
    fault: str
    user_id: str
    job_id: str
    request: dict[str, Any]
    answer: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """It as JSON has it."""
        return asdict(self)

    def without(self, secret: str) -> "LogEntry":
        """It with *secret* blotted out, wherever a client has put that in the place of something else."""
        said, hidden = orjson.dumps(self).decode(), orjson.dumps(secret).decode()[1:-1]
        return replace(self, **orjson.loads(said.replace(hidden, "<the API key>"))) if hidden in said else self


class Exchange:
    """One exchange while it goes on; `entry` is what may be seen of it."""

    def __init__(self, kind: str, at: float, method: str, path: str, query: str = "") -> None:
        self._kind, self._at, self._method = kind, at, method
        self._target = (path, query)
        self._began = time.perf_counter()
        self._entry: LogEntry | None = None
        self._asked: _Side = _Side(THEIRS)
        self._answer: _Side = _Side(OURS)
        self._form: dict[str, Any] | None = None
        self.number, self.seconds = 0, 0.0
        self.leg = self.fault = self.reason = self.user_id = self.job_id = ""
        self.status: int | None = None

    def ask(self, body: bytes) -> None:
        """Its request was *body*."""
        self._asked.hear(body)

    def ask_form(self, texts: Mapping[str, str], files: Mapping[str, list[Any]]) -> None:
        """Its request was a form; *files* are let go."""
        self._form = form_of(texts, files)

    def ask_with(self, headers: Headers) -> None:
        """Its request has these headers."""
        self._asked.headers = headers

    def hear(self, message: Mapping[str, Any]) -> bool:
        """Take one ASGI *message* of its reply; whether it was the last."""
        if message["type"] == "http.response.start":
            self.status, self._answer.headers = message["status"], message["headers"]
            return False
        self._answer.hear(message.get("body", b""))
        return not message.get("more_body", False)

    def call(self, headers: Headers, body: bytes) -> None:
        """It is a callback of ours."""
        self._asked = _Side(OURS, headers)
        self._asked.hear(body)

    def called(self, headers: Headers, body: bytes) -> None:
        """A callback URL has answered so."""
        self._answer = _Side(FOREIGN, headers)
        self._answer.hear(body)

    def end(self, number: int) -> None:
        """It is over."""
        self.number, self.seconds = number, round(time.perf_counter() - self._began, 6)

    def entry(self, secret: str) -> LogEntry:
        """What may be seen of it, which is all that is kept from now on; *secret* is nowhere in it."""
        if self._entry is None:
            self._entry = self._seen() if len(secret) < _SECRET else self._seen().without(secret)
            self._asked, self._answer, self._form, self._target = _Side(THEIRS), _Side(OURS), None, ("", "")
        return self._entry

    def _seen(self) -> LogEntry:
        request, answer = self._asked.seen(), self._answer.seen()
        if self._form is not None:
            request["body"] = self._form
        bodies = (request.get("body"), answer.get("body"))
        refused = reason_of(self.status, answer.get("body")) if self._kind == "request" else ""
        return LogEntry(
            number=self.number,
            kind=self._kind,
            at=self._at,
            method=self._method,
            path=target_of(*self._target),
            leg=self.leg,
            status=self.status,
            seconds=self.seconds,
            reason=self.reason or refused,
            fault=self.fault,
            user_id=self.user_id or _id_in("user_id", *bodies),
            job_id=self.job_id or _id_in("job_id", *bodies),
            request=request,
            answer=answer,
        )


class _Side:
    """What one side has said, as it came; the texts in fields *known* may be seen."""

    def __init__(self, known: frozenset[str], headers: Headers = ()) -> None:
        self._known = known
        self.headers = headers
        self._body = b""
        self._size = 0

    def hear(self, body: bytes) -> None:
        """Take so much more of its body."""
        self._size += len(body)
        self._body = self._body + body if self._size <= LARGEST else b""

    def seen(self) -> dict[str, Any]:
        """Headers and body; nothing if it has not spoken."""
        headers = headers_of(self.headers)
        media_type = headers.get("content-type", "")
        if not headers and not self._size:
            return {}
        if self._size > LARGEST or media_type.startswith("image/"):
            return {"headers": headers, "body": f"<{self._size} bytes>"}
        return {"headers": headers, "body": document_of(self._body, media_type, self._known)}


def _id_in(name: str, *bodies: Any) -> str:
    for body in bodies:
        if isinstance(body, dict):
            params = body.get("partner_params")
            found = body.get(name) or (params.get(name) if isinstance(params, dict) else None)
            if isinstance(found, str):
                return found
    return ""


class RequestLog:
    """The last exchanges of one sandbox, whose API key is *secret*; iterating gives the oldest first."""

    def __init__(self, clock: Clock, secret: str) -> None:
        self._clock = clock
        self._secret = secret
        self._kept: deque[Exchange] = deque(maxlen=_KEPT)
        self._numbers = itertools.count(1)

    def __iter__(self) -> Iterator[LogEntry]:
        return iter([exchange.entry(self._secret) for exchange in self._kept])

    def __len__(self) -> int:
        return len(self._kept)

    def request(self, scope: Mapping[str, Any]) -> Exchange | None:
        """The request of an ASGI *scope*; None if it is none of a client of the API."""
        path: str = scope["path"]
        if path == "/" or path.startswith(_OWN):
            return None
        query = scope["query_string"].decode("latin-1")
        exchange = Exchange("request", self._clock.time(), scope["method"], path, query)
        exchange.ask_with(scope["headers"])
        return exchange

    def callback(self, leg: str, url: str, job: JobRecord) -> Exchange:
        """A callback of *job*; of its URL only the host is told."""
        exchange = Exchange("callback", self._clock.time(), "POST", place_of(url))
        exchange.leg, exchange.user_id, exchange.job_id = leg, job.user_id, job.job_id
        return exchange

    def add(self, exchange: Exchange) -> None:
        """*exchange* is over: keep it, in the order in which they end. Once is enough."""
        if not exchange.number:
            exchange.end(next(self._numbers))
            self._kept.append(exchange)

    def clear(self) -> None:
        """Forget all; numbers go on."""
        self._kept.clear()
