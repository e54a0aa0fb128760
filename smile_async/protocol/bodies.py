"""JSON as it comes in, whoever may have sent it: what can not be read is an UnreadableReply without the text."""

from typing import Any

import orjson

from smile_async.errors import UnreadableReply

__all__ = ["MOST_VALUES", "holds_too_much", "read_object"]

#: Values in a callback, of which a result has some hundred: to read 430,000 takes 0.3 s.
MOST_VALUES = 10_000


def holds_too_much(body: bytes) -> bool:
    """Whether *body*, which anybody may send, holds more values than any result."""
    return sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES


def read_object(body: bytes, what: str) -> dict[str, Any]:
    """The JSON object in *body*, which a message calls *what*. Raises UnreadableReply."""
    found, whole = None, True
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        whole = False
    if not whole:
        # Raised without context: the decoder's error holds the text, which may end in half a presigned URL.
        raise UnreadableReply(f"{what} is not JSON ({len(body)} bytes)")
    if not isinstance(found, dict):
        raise UnreadableReply(f"{what} is a JSON {type(found).__name__}, not an object")
    return found
