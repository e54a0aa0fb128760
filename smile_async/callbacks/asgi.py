"""How a callback comes in by ASGI 3, and how it is answered."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

from smile_async.jobs.verdict import Verdict

__all__ = ["MAX_BODY_BYTES", "Answer", "Receive", "Scope", "Send", "answer", "lifespan", "whole"]

#: Bytes; 1.5 MB is the documented size to accept (wire.md §7), for the photo in a record, and JSON around it.
MAX_BODY_BYTES = 2_000_000

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Answer(NamedTuple):
    """What the sender is told, the verdict to hand on once that is said, and why it was refused, for the log alone."""

    status: int
    text: str
    verdict: Verdict | None = None
    why: str = ""


async def whole(receive: Receive) -> bytes | None:
    """The body, None if it is larger than allowed; a sender that goes away leaves what came."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if message["type"] != "http.request" or not message.get("more_body"):
            return bytes(body)


async def answer(send: Send, said: Answer) -> None:
    """Send it as JSON."""
    body = f'{{"message":"{said.text}"}}'.encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": said.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive: Receive, send: Send) -> None:
    """Acknowledge what a server tells of its life, since it may insist on that."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
