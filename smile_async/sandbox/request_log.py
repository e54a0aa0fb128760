"""The last exchanges, as far as they may be seen: every request of a client, refused ones too, and every callback.

What is kept is redacted already (redaction.py): nothing here could give away what it has not got.
"""

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from smile_async.timing.clock import Clock

from .records import JobRecord
from .redaction import FOREIGN, OURS, THEIRS, document_of, headers_of, reason_of, target_of
from .texts import place_of

__all__ = ["LARGEST", "LogEntry", "RequestLog"]

Headers = Iterable[tuple[bytes, bytes]]

#: Exchanges that are remembered.
_KEPT = 500
#: Bytes of a body that is looked into; of a larger one the size is told.
LARGEST = 65_536
#: Characters; what is shorter is no API key, and may be anything else.
_SECRET = 6
#: What is not about jobs: the console, and what steers the sandbox.
_OWN = ("/console/", "/_sandbox")


@dataclass(slots=True, kw_only=True)
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
    leg: str = ""
    status: int | None = None
    seconds: float = 0.0
    reason: str = ""
    fault: str = ""
    user_id: str = ""
    job_id: str = ""
    request: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    _began: float = field(default_factory=time.perf_counter)
    _body: bytearray = field(default_factory=bytearray)
    _size: int = 0

    def ask(self, body: bytes) -> None:
        """Its request was *body*."""
        self.request["body"] = _seen(body, "", THEIRS)

    def hear(self, message: Mapping[str, Any]) -> bool:
        """Take one ASGI *message* of its reply; whether it was the last."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.answer["headers"] = headers_of(message["headers"])
            return False
        body = message.get("body", b"")
        self._size += len(body)
        if self._size <= LARGEST:
            self._body += body
        return not message.get("more_body", False)

    def send(self, headers: Headers, body: bytes) -> None:
        """It is a callback of *headers* and *body*."""
        self.request = {"headers": headers_of(headers), "body": _seen(body, "", OURS)}

    def hear_from_afar(self, headers: Headers, body: bytes) -> None:
        """A callback URL has answered so."""
        self.answer = {"headers": headers_of(headers), "body": _seen(body, "", FOREIGN)}

    def close(self) -> None:
        """It is over: what was kept back is looked into."""
        self.seconds = round(time.perf_counter() - self._began, 6)
        if self.kind != "request":
            return
        media_type = self.answer.get("headers", {}).get("content-type", "")
        whole = self._size <= LARGEST
        body = _seen(bytes(self._body), media_type, OURS) if whole else f"<{self._size} bytes>"
        self.answer["body"] = body
        self.reason = self.reason or reason_of(self.status, body)
        self.user_id = self.user_id or _id_in("user_id", self.request.get("body"), body)
        self.job_id = self.job_id or _id_in("job_id", self.request.get("body"), body)
        self._body.clear()

    def document(self) -> dict[str, Any]:
        """It as JSON has it."""
        return {name: getattr(self, name) for name in self.__slots__ if name[0] != "_"}

    def without(self, secret: str) -> None:
        """Blot out *secret* wherever a client has put it in the place of something else."""
        said = orjson.dumps(self.document()).decode()
        hidden = orjson.dumps(secret).decode()[1:-1]
        if hidden in said:
            for name, value in orjson.loads(said.replace(hidden, "<the API key>")).items():
                setattr(self, name, value)


def _seen(body: bytes, media_type: str, known: frozenset[str]) -> Any:
    picture = media_type.startswith("image/")
    return f"<{len(body)} bytes>" if picture or len(body) > LARGEST else document_of(body, media_type, known)


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
        self._entries: deque[LogEntry] = deque(maxlen=_KEPT)
        self._numbers = itertools.count(1)

    def __iter__(self) -> Iterator[LogEntry]:
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def request(self, scope: Mapping[str, Any]) -> LogEntry | None:
        """The entry of the request of an ASGI *scope*; None if it is none of a client of the API."""
        path: str = scope["path"]
        if path == "/" or path.startswith(_OWN):
            return None
        target = target_of(path, scope["query_string"].decode("latin-1"))
        entry = self._entry("request", scope["method"], target)
        entry.request["headers"] = headers_of(scope["headers"])
        return entry

    def callback(self, leg: str, url: str, job: JobRecord) -> LogEntry:
        """The entry of a callback of *job*; of its URL only the host is told."""
        entry = self._entry("callback", "POST", place_of(url))
        entry.leg, entry.user_id, entry.job_id = leg, job.user_id, job.job_id
        return entry

    def _entry(self, kind: str, method: str, path: str) -> LogEntry:
        return LogEntry(number=0, kind=kind, at=self._clock.time(), method=method, path=path)

    def add(self, entry: LogEntry) -> None:
        """*entry* is over: keep it, in the order in which they end. Once is enough."""
        if not entry.number:
            entry.number = next(self._numbers)
            entry.close()
            if len(self._secret) >= _SECRET:
                entry.without(self._secret)
            self._entries.append(entry)

    def clear(self) -> None:
        """Forget all; numbers go on."""
        self._entries.clear()
