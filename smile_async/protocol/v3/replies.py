"""What comes in as JSON, read tolerantly; no message repeats what was in it.

A refusal has one of four shapes of body, or none, or AWS's: its HTTP status alone decides, its text is for people.
"""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

from smile_async.errors import ForgedReply, UnreadableReply
from smile_async.jobs.ticket import Ticket
from smile_async.protocol.bodies import read_object
from smile_async.protocol.v3.type_id import FITTING

__all__ = ["StatusBody", "complaint_of", "named", "read_accepted", "read_status", "text_of", "user_in", "word_of"]

#: Characters of a status or a reason; the longest known has 28.
_WORD = re.compile(r"[a-z0-9_]{1,64}")


@dataclass(frozen=True, slots=True)
class StatusBody:
    """The answer of `/status`: a word in lower case, the ids it names, None where it names none, and its text."""

    word: str
    type_id: str | None
    user_id: str | None
    message: str


def text_of(value: object) -> str | None:
    """*value* as a text: some partners' ids are numbers, and may come back as such."""
    number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if number or isinstance(value, str) else None


def user_in(headers: Mapping[str, str]) -> str | None:
    """The user_id that *headers* name; what is no ASCII travels in them percent-encoded, or as UTF-8 (*inferred*)."""
    text = headers.get("user-id")
    if text is None:
        return None
    with contextlib.suppress(UnicodeError):
        text = text.encode("latin-1").decode()
    with contextlib.suppress(UnicodeError):
        told = unquote(text, errors="strict")
        text = text if told.isascii() else told
    return text


def word_of(value: object) -> str | None:
    """*value* as a status or a reason, in lower case; None if it can be none."""
    word = value.strip().lower() if isinstance(value, str) else ""
    return word if _WORD.fullmatch(word) else None


def _line(value: object) -> str:
    return "".join(c for c in value[:200] if c.isprintable()) if isinstance(value, str) else ""


def complaint_of(body: bytes) -> str:
    """What a refusal says, as one printable line; "" for a body that is not one of Smile ID's."""
    try:
        found = read_object(body, "the refusal")
    except UnreadableReply:
        return ""
    # `status` may be a sentence, or a slug of the gateway's; `error` stands in the replies of `/services`.
    said = next((text for name in ("message", "error", "status") if (text := _line(found.get(name)))), "")
    return f"{_line(text_of(found.get('code')))} {said}".strip()


def read_accepted(body: bytes, ticket: Ticket) -> Ticket:
    """*ticket* with the TypeID that the 202 names. Raises UnreadableReply, or ForgedReply for another user."""
    found = read_object(body, "the reply to the submission")
    return named(ticket, found.get("job_id"), found.get("user_id"), "the reply to the submission")


def named(ticket: Ticket, type_id: object, user_id: object, what: str) -> Ticket:
    """*ticket* with *type_id*, if *what* names its user and a job. Raises UnreadableReply or ForgedReply."""
    name, user = text_of(type_id), text_of(user_id)
    if name is None or not FITTING.fullmatch(name):
        raise UnreadableReply(f"{what} names no job_id")
    if user is not None and user != ticket.user_id:
        raise ForgedReply(f"{what} speaks of another user than {ticket.user_id}", ticket=ticket)
    return replace(ticket, smile_job_id=name, api="v3")


def read_status(body: bytes) -> StatusBody:
    """The answer of `/status`. Raises UnreadableReply."""
    found = read_object(body, "the /status reply")
    word = word_of(found.get("status"))
    if word is None:
        raise UnreadableReply("the /status reply names no status")
    return StatusBody(word, text_of(found.get("job_id")), text_of(found.get("user_id")), _line(found.get("message")))
