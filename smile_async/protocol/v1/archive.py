"""A job as a zip whose length is known before its first byte.

JPEG does not shrink, so members are STORED, with CRC and sizes in the local header: streaming readers choke on data
descriptors, and S3 refuses a body without a Content-Length (wire.md §5.4). Equal jobs give equal bytes: names come
from us and the time of day is 1980.
"""

import base64
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from smile_async.jobs.image import media_type
from smile_async.jobs.job import Job
from smile_async.protocol.pieces import pieces_of

try:
    # The extra `rust` brings it: a CRC of 60 kB in 7 µs, for which zlib takes 28.
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

__all__ = ["Archive", "Member", "members"]

_VERSION = 20
_UNIX = 3 << 8
_MIDNIGHT, _FIRST_OF_1980 = 0, 0x21
_REGULAR_FILE = 0o100600 << 16
#: A member as both its headers describe it: time, date, CRC, size twice, lengths of name and extra field.
_MEMBER = struct.Struct("<2H3I2H")
#: What stands before that in the local header, and in the central directory; and what stands after it there.
_LOCAL = struct.pack("<4s3H", b"PK\3\4", _VERSION, 0, 0)
_CENTRAL = struct.pack("<4s4H", b"PK\1\2", _UNIX | _VERSION, _VERSION, 0, 0)
_PLACE = struct.Struct("<3H2I")
_END = struct.Struct("<4s4H2IH")
_HEADERS = len(_LOCAL) + len(_CENTRAL) + 2 * _MEMBER.size + _PLACE.size


@dataclass(frozen=True, slots=True)
class Member:
    """One picture of the zip, or, if *inline* is given, one that travels inside info.json instead."""

    name: str
    content: bytes = field(repr=False)
    crc: int
    #: The content as base64.
    inline: str | None = field(default=None, repr=False)


class Archive:
    """The zip of *info* (info.json, which comes first) and those of *pictures* that are not inline in it.

    It can be read again for a retry. Contents are referred to, never copied as a whole, and show in no repr.
    """

    __slots__ = ("_members", "length")

    def __init__(self, info: bytes, pictures: Sequence[Member] = ()) -> None:
        files = ((picture.name, picture.content, picture.crc) for picture in pictures if picture.inline is None)
        self._members = tuple(
            (name.encode("ascii"), content, crc) for name, content, crc in (("info.json", info, crc32(info)), *files)
        )
        #: Bytes of the whole zip, by arithmetic.
        self.length: int = _END.size + sum(
            [_HEADERS + 2 * len(name) + len(content) for name, content, _ in self._members]
        )

    def __repr__(self) -> str:
        return f"<Archive of {len(self._members)} members, {self.length:,} bytes>"

    def pieces(self, size: int = 65_536) -> Iterator[bytes]:
        """The whole zip, again for each call, in pieces of at most *size* bytes."""
        if self.length <= size:
            yield b"".join(self._parts())
            return
        yield from pieces_of(self._parts(), size)

    def _parts(self) -> list[bytes]:
        parts: list[bytes] = []
        directory: list[bytes] = []
        at = 0
        for name, content, crc in self._members:
            size = len(content)
            about = _MEMBER.pack(_MIDNIGHT, _FIRST_OF_1980, crc, size, size, len(name), 0)
            parts += (_LOCAL + about + name, content)
            directory.append(_CENTRAL + about + _PLACE.pack(0, 0, 0, _REGULAR_FILE, at) + name)
            at += len(_LOCAL) + _MEMBER.size + len(name) + size
        index = b"".join(directory)
        count = len(self._members)
        return [*parts, index + _END.pack(b"PK\5\6", 0, 0, count, count, len(index), at, 0)]


def members(job: Job, contents: Sequence[bytes]) -> list[Member]:
    """Each image of *job* with its content and its name in the zip: `selfie.jpg`, `liveness_0.png`, `front.jpg`, ….

    Names are never taken from the user's paths: equal base names overwrite each other in the official SDK.
    """
    return [
        Member(
            name=f"{name.replace('[', '_').rstrip(']')}.{'png' if media_type(content) == 'image/png' else 'jpg'}",
            content=content,
            crc=0 if image.inline else crc32(content),
            inline=base64.b64encode(content).decode() if image.inline else None,
        )
        for (name, image), content in zip(job.named_images(), contents, strict=True)
    ]
