"""Single requests, signed by the server's clock and answered as they came: nothing is repeated, nothing is believed.

A session hides what an examination is about: statuses, headers, the second answer to one upload. So this speaks with
the session's own engines, signer and bodies, one request at a time.
"""

from collections.abc import Callable
from typing import Self

import anyio

from smile_async.doctor.answers import Answer, answer_of
from smile_async.protocol.signature import SignedStamp, format_timestamp
from smile_async.settings import Settings
from smile_async.timing.clock import SystemClock
from smile_async.timing.server_clock import ServerClock
from smile_async.transport.engine import API_SECONDS, UPLOAD_SECONDS, Body, EngineFactory, Reply

__all__ = ["Wire"]

_JSON = [("Content-Type", "application/json"), ("Accept", "application/json")]
_ZIP = [("Content-Type", "application/zip")]

#: Makes what is posted from a timestamp and its signature.
Signed = Callable[[SignedStamp], bytes]


class Wire:
    """The API and the storage of one account. All calls raise NoReply, or TimeoutError."""

    def __init__(self, settings: Settings, factory: EngineFactory) -> None:
        self.settings = settings
        self.clock = ServerClock(SystemClock())
        self._api, self._storage = factory(True), factory(False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for engine in (self._api, self._storage):
            await engine.aclose()

    def stamp(self, off: float = 0.0) -> SignedStamp:
        """The server's present moment, or *off* seconds later, signed."""
        text = format_timestamp(self.clock.now() + off)
        return SignedStamp(text, self.settings.signer.sign(text))

    async def post(self, path: str, body: Signed, *, off: float = 0.0) -> Answer:
        """POST what *body* makes to *path*, which begins with its version (/v1/…)."""
        return await self._asked("POST", path, _JSON, body(self.stamp(off)))

    async def get(self, path: str, *headers: tuple[str, str]) -> Answer:
        """GET *path*."""
        return await self._asked("GET", path, [*_JSON, *headers], b"")

    async def send(self, path: str, *headers: tuple[str, str], body: bytes | Body = b"") -> Answer:
        """POST *body* to *path*, unsigned."""
        return await self._asked("POST", path, list(headers), body, UPLOAD_SECONDS if body else API_SECONDS)

    async def put(self, url: str, zipped: Body) -> Reply:
        """PUT *zipped* where a presigned URL leads."""
        with anyio.fail_after(UPLOAD_SECONDS):
            return await self._storage.send("PUT", url, _ZIP, zipped)

    async def _asked(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes | Body, within: float = API_SECONDS
    ) -> Answer:
        url = self.settings.base_url.removesuffix(f"/{self.settings.api}") + path
        with anyio.fail_after(within):
            answer = answer_of(await self._api.send(method, url, headers, body))
        self.clock.hear(answer.date)
        return answer
