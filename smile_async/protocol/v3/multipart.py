"""A submission as multipart/form-data (RFC 7578) whose length is known before its first byte.

The boundary is not a random one that might occur in a picture, but one that was looked for and does not; equal parts
and an equal seed give equal bytes, so a request can be read again, and compared.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from smile_async.protocol.pieces import pieces_of

__all__ = ["Multipart", "Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """One part: a text, JSON, or a file by the name that we give it. Its content shows in no repr."""

    name: str
    content: bytes = field(repr=False)
    media_type: str = ""
    filename: str = ""

    def head(self) -> bytes:
        """What stands before the content; names are ours, so nothing in them needs to be escaped."""
        lines = f'Content-Disposition: form-data; name="{self.name}"'
        lines += f'; filename="{self.filename}"' if self.filename else ""
        lines += f"\r\nContent-Type: {self.media_type}" if self.media_type else ""
        return f"{lines}\r\n\r\n".encode("ascii")


class Multipart:
    """The body that consists of *parts*; *seed*: what the makers of their contents do not know.

    It can be read again for a retry. Contents are referred to, never copied as a whole, and show in no repr.
    """

    __slots__ = ("_heads", "_parts", "boundary", "length")

    def __init__(self, parts: Sequence[Part], seed: bytes) -> None:
        self._parts = tuple(parts)
        self._heads = tuple(part.head() for part in parts)
        self.boundary = _boundary(self._parts, seed)
        line = len(self.boundary) + len(b"--\r\n\r\n")
        #: Bytes of the whole body, by arithmetic.
        self.length: int = (
            len(self.boundary)
            + len(b"----\r\n")
            + sum([line + len(head) + len(part.content) for head, part in zip(self._heads, self._parts, strict=True)])
        )

    def __repr__(self) -> str:
        return f"<Multipart of {len(self._parts)} parts, {self.length:,} bytes>"

    @property
    def media_type(self) -> str:
        """The value of the Content-Type header."""
        return f"multipart/form-data; boundary={self.boundary}"

    def pieces(self, size: int = 65_536) -> Iterator[bytes]:
        """The whole body, again for each call, in pieces of at most *size* bytes."""
        return pieces_of(self._lines(), size)

    def _lines(self) -> Iterator[bytes]:
        opening = f"--{self.boundary}\r\n".encode("ascii")
        for head, part in zip(self._heads, self._parts, strict=True):
            yield opening + head
            yield part.content
            yield b"\r\n"
        yield f"--{self.boundary}--\r\n".encode("ascii")


def _boundary(parts: Sequence[Part], seed: bytes) -> str:
    """The first of a row of texts that stands in no part; who does not know *seed* can not make the row a long one."""
    count = 0
    while True:
        found = f"smile-async-{hashlib.sha256(seed + count.to_bytes(4, 'big')).hexdigest()[:32]}"
        if not any(found.encode("ascii") in part.content for part in parts):
            return found
        count += 1
