"""A picture as Smile ID wants it: where it lies, or its bytes, judged by its header and its end alone.

A grey or cut-off picture is billed like a good one and then fails, so what can be seen without decoding is seen here.
Pixels are never decoded: that would cost more than the whole job and is the provider's business.
"""

import base64
import binascii
import hashlib
import os
import re
import struct
from dataclasses import dataclass, field
from typing import ClassVar

from smile_async.errors import InvalidJob
from smile_async.jobs.private import Private

__all__ = ["MAX_IMAGE_BYTES", "SCHEMES", "Image", "flaw", "is_encoded", "is_uri", "media_type", "shown"]

#: Our own cap; the provider's is not published (wire.md §12: bulk enrolment takes 5 MB an image, V3 4.5 MB in all).
MAX_IMAGE_BYTES = 10_000_000
#: Characters; PATH_MAX of Linux: no path is longer, and a picture's base64 always is.
LONGEST_PATH = 4_096
#: Where pictures are fetched from, by fsspec's names; what it knows besides reads archives, caches and this machine.
SCHEMES = ("s3", "gs", "gcs", "az", "abfs", "https")

_URI = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
#: What no path holds; U+DC80 to U+DCFF stand for bytes that are not UTF-8 (PEP 383).
_NO_PATH = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
#: A data: URI; base64 that begins as a JPEG's or a PNG's does; or a long text of that alphabet without any dot.
_ENCODED = re.compile(r"[\s\"']*((?i:data:)|(/9j/[24]|_9j_[24]|iVBORw0KGgo)[^.]*\Z|[\w\s+/=-]{256,}\Z)", re.ASCII)

_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_PNG_GREY = {0, 4}
#: Start-of-frame markers, ITU-T T.81 table B.1: C0-CF without DHT (C4), JPG (C8) and DAC (CC).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Those of baseline, extended and progressive Huffman coding, all that libjpeg reads as it is usually built.
_JPEG_USUAL = {0xC0, 0xC1, 0xC2}
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
#: Marker, length, bits a sample, height, width, components (ITU-T T.81 B.2.2).
_JPEG_FRAME = struct.Struct(">2H B 2H B")
_FILL = re.compile(rb"\xff+")
#: Segments before the frame and bytes of fill in a header; cameras write some twenty of the one and none of the other.
MARKERS, FILL = 1_000, 65_536


class _Where(str):
    """A URI as it may be shown; the whole of it, whose query may be a credential, only for who asks."""

    __slots__ = ("uri",)
    uri: str


class _Content(Private):
    """What repr and serialisers do not see."""

    __slots__ = ("content",)
    content: bytes | None


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Image(_Content):
    """One picture: a path that is read when the upload starts, or bytes that are at hand.

    Make one with `Image.from_path`, `Image.from_uri`, `Image.from_bytes` or `Image.from_base64`. JPEG or PNG, colour,
    at most 10 MB. The content shows in no repr and to no serialiser, nor what a URI says after its path. Once a job is
    accepted its images are `spent`: size and digest stay, the content is gone.

    *trusted*: only its size is checked, and that it begins as a JPEG or PNG; for who knows that Smile ID reads it.
    """

    WHOLE: ClassVar[tuple[str, ...]] = ("path", "content", "inline", "size", "sha256")

    path: str | None = None
    #: Travel as base64 inside info.json (image types 2 and 6) rather than as a file of the zip (0 and 4).
    inline: bool = False
    #: Bytes; None while unread.
    size: int | None = None
    #: SHA-256 of the content, 32 bytes (a hex text would be half as much again in each pending job); None until spent.
    sha256: bytes | None = field(default=None, repr=False)
    #: No field: thousands of pending jobs hold nine images each.
    trusted: ClassVar[bool] = False

    def __init__(
        self,
        path: str | None = None,
        content: bytes | None = None,
        inline: bool = False,
        size: int | None = None,
        sha256: bytes | None = None,
    ) -> None:
        self._keep({"path": path, "content": content, "inline": inline, "size": size, "sha256": sha256})
        # A frame in a traceback must not hold image bytes.
        del content
        _checked("inline", self.inline)

    @property
    def uri(self) -> str | None:
        """Where it is fetched from, secrets included; None for all that is not `from_uri`."""
        return getattr(self.path, "uri", None)

    @classmethod
    def from_path(cls, path: "str | os.PathLike[str]", *, trusted: bool = False) -> "Image":
        """The picture in the local file *path*; whether it is there and is one is checked when the job is submitted."""
        text = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
        del path
        why = _path_flaw(text)
        if why:
            # A frame in a traceback must not hold what may be the picture itself.
            del text
            raise InvalidJob(f"image path {why}")
        return _kind(trusted)(path=text)

    @classmethod
    def from_uri(cls, uri: str, *, trusted: bool = False) -> "Image":
        """The picture at *uri* (s3, gs, gcs, az, abfs or https), read by fsspec when the job is submitted.

        Give the storage library its credentials in its own way; user, password and query of a URI are used but never
        shown, and not stored. Raises InvalidJob for other schemes and for chained URIs. Needs the extra `workers`.
        """
        found = _URI.match(uri) if isinstance(uri, str) and "::" not in uri and len(uri) <= LONGEST_PATH else None
        if found is None or found[1] not in SCHEMES:
            del uri, found
            raise InvalidJob(f"image URI does not begin with one of {', '.join(SCHEMES)}:// or is chained: give one")
        host, slash, key = re.split(r"[?#]", uri[found.end() :], maxsplit=1)[0].partition("/")
        where = _Where(f"{found[0]}{host.rpartition('@')[2]}{slash}{key}")
        where.uri = uri
        return _kind(trusted)(path=where)

    @classmethod
    def from_bytes(
        cls, content: bytes | bytearray | memoryview, *, inline: bool = False, trusted: bool = False
    ) -> "Image":
        """The picture *content*, a whole JPEG or PNG file; raises InvalidJob if its header shows that it is none."""
        kind = type(content).__name__
        whole = bytes(content) if isinstance(content, bytes | bytearray | memoryview) else None
        # A frame in a traceback must not hold image bytes.
        del content
        if whole is None:
            raise InvalidJob(f"image content is {kind}, not bytes: read the file, or use from_path")
        why = flaw(whole, trusted)
        if why:
            del whole
            raise InvalidJob(f"image {why}")
        return _kind(trusted)(content=whole, size=len(whole), inline=inline)

    @classmethod
    def from_base64(cls, text: str | bytes, *, inline: bool = False, trusted: bool = False) -> "Image":
        """The picture in the base64 *text*, with or without a `data:image/jpeg;base64,` prefix.

        It is decoded and sent as a file (a quarter smaller) unless *inline*. Line ends in it are passed over; the
        URL-safe alphabet and missing padding are understood. Raises InvalidJob for broken base64, a data URI of another
        media type, and everything `from_bytes` refuses.
        """
        whole, why = _decoded(text)
        why = why or flaw(whole, trusted)
        del text
        if why:
            del whole
            raise InvalidJob(f"image {why}")
        return _kind(trusted)(content=whole, size=len(whole), inline=inline)

    def spent(self) -> "Image":
        """The same picture without its content: what is left is its size and its digest."""
        if self.content is None:
            return self
        digest = self.sha256 or hashlib.sha256(self.content).digest()
        return Image(path=self.path, inline=self.inline, size=len(self.content), sha256=digest)


class _Trusted(Image):
    __slots__ = ()
    trusted = True


def _kind(trusted: object) -> type[Image]:
    return _Trusted if _checked("trusted", trusted) else Image


def _checked(name: str, flag: object) -> bool:
    # The text "false" of a form would count as true.
    if isinstance(flag, bool):
        return flag
    raise InvalidJob(f"image: {name} is {type(flag).__name__}: give True or False")


def is_uri(text: str) -> bool:
    """Whether *text* begins with a scheme such as s3://."""
    return _URI.match(text) is not None


def is_encoded(text: str) -> bool:
    """Whether *text* is a picture itself, as base64 or a data: URI, rather than the path of one."""
    return _ENCODED.match(text) is not None


def shown(path: str) -> str:
    """*path* for a message: on one line, and not a long one."""
    text = path if path.isprintable() else ascii(path)[1:-1]
    return text if len(text) <= 200 else f"{text[:80]}…{text[-80:]}"


def _path_flaw(path: object) -> str:
    if not isinstance(path, str) or not path or _NO_PATH.search(path):
        return "is empty or not text: give the path of a .jpg or .png file"
    if is_encoded(path):
        return "is a picture in base64: use Image.from_base64"
    if is_uri(path):
        return "is a URI: use Image.from_uri"
    return f"has {len(path):,} characters, more than any path: check it" if len(path) > LONGEST_PATH else ""


def _decoded(text: object) -> tuple[bytes, str]:
    if not isinstance(text, str | bytes | bytearray | memoryview):
        return b"", f"base64 is {type(text).__name__}: give a text"
    raw = text.encode("ascii", "replace") if isinstance(text, str) else bytes(text)
    raw = raw.strip()
    if raw[:5].lower() == b"data:":
        prefix, comma, raw = raw.partition(b",")
        kind = prefix[5:].lower()
        if not comma or kind.split(b";")[0] not in (b"image/jpeg", b"image/jpg", b"image/png"):
            return b"", "data URI is not image/jpeg or image/png: give a JPEG or PNG"
        if not kind.endswith(b";base64"):
            return b"", "data URI is not base64: give data:image/jpeg;base64,…"
    # Line breaks are legal in MIME base64; anything else outside the alphabets is damage.
    raw = raw.translate(_STANDARD, b"\r\n")
    if b" " in raw:
        return b"", "is base64 that has blanks, as where a form makes one of each +: percent-encode it, or send JSON"
    try:
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True), ""
    except binascii.Error:
        return b"", "is not valid base64: encode the whole file, without cutting it"


#: RFC 4648 §5 to §4.
_STANDARD = bytes.maketrans(b"-_", b"+/")


def media_type(content: bytes) -> str:
    """`image/jpeg`, `image/png`, or "" for anything else, by the first bytes."""
    if content.startswith(_JPEG):
        return "image/jpeg"
    return "image/png" if content.startswith(_PNG) else ""


def flaw(content: bytes, trusted: bool = False) -> str:
    """What is wrong with *content* and how to cure it, "" if it looks like a whole colour JPEG or PNG, or is *trusted*.

    Takes time for a few segments of its header, and for what follows the end marker.
    """
    if not content:
        return "is empty: take the picture again"
    if len(content) > MAX_IMAGE_BYTES:
        return f"has {len(content):,} bytes: shrink it below {MAX_IMAGE_BYTES:,}"
    kind = media_type(content)
    if not kind:
        return "is neither JPEG nor PNG: convert it first"
    if trusted:
        return ""
    return _jpeg_flaw(content) if kind == "image/jpeg" else _png_flaw(content)


_DAMAGED = "has a truncated or damaged header: the file was cut off, send it whole"
_CUT_OFF = "has no end: the file was cut off, send it whole"
_EMPTY = "has no width or no height: take the picture again"
_GREY = "is greyscale: Smile ID compares colour pictures, send the original"


def _png_flaw(content: bytes) -> str:
    """By IHDR (PNG specification 11.2.1) and IEND."""
    if len(content) < 33 or content[12:16] != b"IHDR":
        return _DAMAGED
    if not any(content[16:20]) or not any(content[20:24]):
        return _EMPTY
    if content[25] in _PNG_GREY:
        return _GREY
    return "" if content.rfind(_PNG_END, 33) >= 0 else _CUT_OFF


def _jpeg_flaw(content: bytes) -> str:
    at = _jpeg_frame(content)
    if at + _JPEG_FRAME.size > len(content):
        return _DAMAGED
    _, length, bits, height, width, components = _JPEG_FRAME.unpack_from(content, at)
    found = (
        (length < 8 or at + 2 + length > len(content), _DAMAGED),
        (not (width and height), _EMPTY),
        (components < 3, _GREY),
        (components > 3, "is CMYK: convert it to RGB"),
        (bits != 8, "is a JPEG of 12 or more bits a channel: save it with 8"),
        (
            content[at + 1] not in _JPEG_USUAL,
            "is a lossless, arithmetic or hierarchical JPEG: save an ordinary one",
        ),
        # Not in a thumbnail, which comes before the frame; a motion photo or the second picture of an MPO may follow.
        (content.rfind(_JPEG_END, at) < 0, _CUT_OFF),
    )
    return next((why for wrong, why in found if wrong), "")


def _jpeg_frame(content: bytes) -> int:
    """Where the frame header begins (ITU-T T.81 B.1.1.2), the end of *content* if none is reached."""
    at, room, end = 2, FILL, len(content)
    for _ in range(MARKERS):
        fill = _FILL.match(content, at, at + room)
        if fill is None or fill.end() == end:
            break
        room -= fill.end() - fill.start() - 1
        at = fill.end() - 1
        marker = content[at + 1]
        if marker in _JPEG_FRAMES:
            return at
        if marker in _JPEG_BARE:
            at += 2
            continue
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        if length < 2 or marker in (0xD9, 0xDA, 0xFF):
            break
        at += 2 + length
    return end
