"""Reading multipart/form-data, the only body that V3 takes: strict about its form, tolerant of parts nobody knows.

Names with brackets (`partner_params[order]`) are parts nobody knows: they are dropped, as integrators found out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message

from .refusals import refusal

__all__ = ["File", "Form", "read_form"]

_DISPOSITION = re.compile(r'(?:^|;)\s*(name|filename)="((?:[^"\\]|\\.)*)"')
#: Of one part's headers, and of all parts: far above what an SDK sends.
_MAX_HEAD, _MAX_PARTS = 4_096, 64


@dataclass(frozen=True, slots=True)
class File:
    """A part that has a file name."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


@dataclass(slots=True)
class Form:
    """The parts of a body: of texts with one name the last counts, files are all kept."""

    texts: dict[str, str] = field(default_factory=dict, repr=False)
    files: dict[str, list[File]] = field(default_factory=dict)


def read_form(content_type: str, body: bytes, *, optional: bool = False) -> Form:
    """The form in *body*; *optional*: no body is an empty form. Raises `Refusal` 415 and 400."""
    if optional and not body:
        return Form()
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise refusal(415, "Unsupported media type. Content-Type must be multipart/form-data.")
    form = Form()
    for head, content in _parts(body, b"--" + boundary.encode("latin-1", "replace")):
        _take(form, head, content)
    return form


def _parts(body: bytes, delimiter: bytes) -> Iterator[tuple[str, bytes]]:
    """Headers and content of each part (RFC 2046 §5.1.1)."""
    at = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    for _ in range(_MAX_PARTS):
        if not body.startswith(delimiter, at):
            break
        at += len(delimiter)
        if body.startswith(b"--", at):
            return
        begins = body.find(b"\r\n\r\n", at, at + _MAX_HEAD)
        ends = body.find(b"\r\n" + delimiter, begins)
        if not body.startswith(b"\r\n", at) or begins < 0 or ends < 0:
            break
        yield body[at + 2 : begins].decode("utf-8", "replace"), body[begins + 4 : ends]
        at = ends + 2
    raise refusal(400, "The multipart body can not be read.")


def _take(form: Form, head: str, content: bytes) -> None:
    lines = [line.partition(":") for line in head.split("\r\n")]
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    said = dict(_DISPOSITION.findall(headers.get("content-disposition", "")))
    name = said.get("name", "")
    if not name:
        raise refusal(400, "A part of the multipart body has no name.")
    if "filename" in said:
        media_type = headers.get("content-type", "").lower()
        form.files.setdefault(name, []).append(File(said["filename"], media_type, content))
        return
    try:
        form.texts[name] = content.decode()
    except UnicodeDecodeError:
        raise refusal(400, f"Field '{name}' is invalid.") from None
