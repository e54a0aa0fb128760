"""V3 of the benchmark's API: a token, one multipart POST a job, and its status; bodies are counted, not parsed."""

import re
import time
from base64 import urlsafe_b64encode
from time import monotonic
from typing import Any

import orjson

__all__ = ["ApiV3"]

_JSON = [("content-type", "application/json")]
_USER = re.compile(rb'name="user_id"\r\n\r\n([^\r]+)\r\n')
_ACCEPTED = (
    b'{"status":"accepted","message":"Request accepted and queued for processing.","job_id":"job_%026d","user_id":"%b",'
    b'"created_at":"2026-10-01T10:00:01.000Z"}'
)
_STATUS = (
    b'{"status":"%b","message":"%b","job_id":"job_%026d","user_id":"%b","created_at":"2026-10-01T10:00:01.000Z",'
    b'"Available":null,"Polls":%d}'
)


class ApiV3:
    """Each job is decided at its poll number *polls*."""

    def __init__(self, polls: int) -> None:
        self._polls = polls
        #: Of each job its user, and how often it was asked about.
        self._jobs: list[tuple[bytes, int]] = []

    async def answer(self, scope: Any, protocol: Any) -> None:
        """Reply to one request below /v3."""
        path = scope.path.removeprefix("/v3/")
        if path.startswith("status/job_"):
            protocol.response_bytes(*self._status(int(path[-26:])))
        elif path == "token":
            await protocol()
            protocol.response_bytes(200, _JSON, b'{"token":"%b"}' % _token())
        elif path == "authentication":
            protocol.response_bytes(202, _JSON, self._accepted([piece async for piece in protocol]))
        else:
            protocol.response_empty(404, [])

    def _accepted(self, pieces: list[bytes]) -> bytes:
        # Joined: where in the body its texts stand is the sender's business.
        found = _USER.search(b"".join(pieces))
        if found is None:
            return b"{}"
        self._jobs.append((found[1], 0))
        return _ACCEPTED % (len(self._jobs) - 1, found[1])

    def _status(self, number: int) -> tuple[int, list[tuple[str, str]], bytes]:
        user, asked = self._jobs[number]
        self._jobs[number] = user, asked + 1
        if asked + 1 < self._polls:
            return 202, _JSON, _STATUS % (b"processing", b"Job is still processing", number, user, asked + 1)
        return 200, _JSON, _STATUS % (b"clear", b"Job completed", number, user, asked + 1)


def _token() -> bytes:
    now = int(time.time())
    parts = ({"alg": "HS256", "typ": "JWT"}, {"iat": now, "exp": now + 900, "jti": str(monotonic())})
    return b".".join([*(urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=") for part in parts), b"s" * 43])
