"""A picture as Smile ID wants it: where it lies, or its bytes, judged by its header alone.

A grey or cut-off picture is billed like a good one and then fails, so what can be seen in the first few hundred bytes
is seen here. Pixels are never decoded: that would cost more than the whole job and is the provider's business.
"""

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass, field

from smile_async.errors import InvalidJob

__all__ = ["MAX_IMAGE_BYTES", "Image", "flaw", "media_type"]

#: Our own cap; the provider's is not published (wire.md §12: bulk enrolment takes 5 MB an image, V3 4.5 MB in all).
MAX_IMAGE_BYTES = 10_000_000

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_PNG_GREY = {0, 4}
#: Start-of-frame markers, ITU-T T.81 table B.1: C0-CF without DHT (C4), JPG (C8) and DAC (CC).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})


@dataclass(frozen=True, slots=True)
class Image:
    """One picture: a path that is read when the upload starts, or bytes that are at hand.

    Make one with `Image.from_path`, `Image.from_bytes` or `Image.from_base64`. JPEG or PNG, colour, at most 10 MB.
    The content never shows in a repr. Once a job is accepted its images are `spent`: size and digest stay, the
    content is gone.
    """

    path: str | None = None
    content: bytes | None = field(default=None, repr=False)
    #: Travel as base64 inside info.json (image types 2 and 6) rather than as a file of the zip (0 and 4).
    inline: bool = False
    #: Bytes; None while unread.
    size: int | None = None
    #: SHA-256 of the content, 32 bytes (a hex text would be half as much again in each pending job); None until spent.
    sha256: bytes | None = field(default=None, repr=False)

    @classmethod
    def from_path(cls, path: "str | os.PathLike[str]") -> "Image":
        """The picture in the file *path*; whether it exists and is one is checked when the job is submitted."""
        text = os.fspath(path)
        if not isinstance(text, str) or not text or "\0" in text:
            raise InvalidJob("image path is empty or not text: give the path of a .jpg or .png file")
        return cls(path=text)

    @classmethod
    def from_bytes(cls, content: bytes | bytearray | memoryview, *, inline: bool = False) -> "Image":
        """The picture *content*, a whole JPEG or PNG file; raises InvalidJob if its header shows that it is none."""
        kind = type(content).__name__
        whole = bytes(content) if isinstance(content, bytes | bytearray | memoryview) else None
        # A frame in a traceback must not hold image bytes.
        del content
        if whole is None:
            raise InvalidJob(f"image content is {kind}, not bytes: read the file, or use from_path")
        why = flaw(whole)
        if why:
            del whole
            raise InvalidJob(f"image {why}")
        return cls(content=whole, size=len(whole), inline=inline)

    @classmethod
    def from_base64(cls, text: str | bytes, *, inline: bool = False) -> "Image":
        """The picture in the base64 *text*, with or without a `data:image/jpeg;base64,` prefix.

        It is decoded and sent as a file (a quarter smaller) unless *inline*; raises InvalidJob for broken base64, a
        data URI of another media type, and everything `from_bytes` refuses.
        """
        whole, why = _decoded(text)
        why = why or flaw(whole)
        del text
        if why:
            del whole
            raise InvalidJob(f"image {why}")
        return cls(content=whole, size=len(whole), inline=inline)

    def spent(self) -> "Image":
        """The same picture without its content: what is left is its size and its digest."""
        if self.content is None:
            return self
        digest = self.sha256 or hashlib.sha256(self.content).digest()
        return Image(path=self.path, inline=self.inline, size=len(self.content), sha256=digest)


def _decoded(text: str | bytes) -> tuple[bytes, str]:
    raw = text.encode("ascii", "replace") if isinstance(text, str) else bytes(text)
    if raw[:5].lower() == b"data:":
        prefix, comma, raw = raw.partition(b",")
        kind = prefix[5:].lower()
        if not comma or kind.split(b";")[0] not in (b"image/jpeg", b"image/jpg", b"image/png"):
            return b"", "data URI is not image/jpeg or image/png: give a JPEG or PNG"
        if not kind.endswith(b";base64"):
            return b"", "data URI is not base64: give data:image/jpeg;base64,…"
    try:
        # Line breaks are legal in MIME base64; anything else outside the alphabet is damage.
        return base64.b64decode(raw.translate(None, b" \r\n\t"), validate=True), ""
    except binascii.Error:
        return b"", "is not valid base64: encode the whole file, without cutting it"


def media_type(content: bytes) -> str:
    """`image/jpeg`, `image/png`, or "" for anything else, by the first bytes."""
    if content.startswith(_JPEG):
        return "image/jpeg"
    return "image/png" if content.startswith(_PNG) else ""


def flaw(content: bytes) -> str:
    """What is wrong with *content* and how to cure it, "" if its header is that of a colour JPEG or PNG."""
    if not content:
        return "is empty: take the picture again"
    if len(content) > MAX_IMAGE_BYTES:
        return f"has {len(content):,} bytes: shrink it below {MAX_IMAGE_BYTES:,}"
    kind = media_type(content)
    if not kind:
        return "is neither JPEG nor PNG: convert it first"
    channels = _jpeg_channels(content) if kind == "image/jpeg" else _png_channels(content)
    if channels is None:
        return "has a truncated or damaged header: the file was cut off, send it whole"
    if channels < 3:
        return "is greyscale: Smile ID compares colour pictures, send the original"
    return ""


def _png_channels(content: bytes) -> int | None:
    """1 or 3 by the colour type of IHDR (PNG specification 11.2.1), None if the header is damaged."""
    if len(content) < 33 or content[12:16] != b"IHDR" or not any(content[16:20]) or not any(content[20:24]):
        return None
    return 1 if content[25] in _PNG_GREY else 3


def _jpeg_channels(content: bytes) -> int | None:
    """The number of components in the frame header (ITU-T T.81 B.2.2), None if none is reached."""
    at, end = 2, len(content)
    while at + 4 <= end:
        if content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _JPEG_BARE:
            at += 2
            continue
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        if marker in _JPEG_FRAMES:
            return content[at + 9] if at + 2 + length <= end and length >= 8 and any(content[at + 5 : at + 9]) else None
        if length < 2 or marker in (0xD9, 0xDA):
            return None
        at += 2 + length
    return None
