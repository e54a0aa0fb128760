"""Reading the zip as Smile ID's side does: tolerant of what official SDKs really send, strict about pictures.

Runs in a worker thread. Tolerated, because the real service must: members nobody listed (the official Python SDK adds
`base64imgString`, several times), duplicate names, any `server_information`, mobile's info.json with hardly more than
`images` (wire.md §5). A picture that can not be decoded is one that is not there: 0001.
"""

import base64
import binascii
import hashlib
import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from .decoding import decodes
from .fields import PERSON, amiss, given
from .products import Product
from .records import ImageRecord

__all__ = ["Inspection", "image_record", "image_size", "inspect"]

#: A job carries a selfie, 8 liveness frames and 2 sides of a card; official SDKs add one junk member per inline image.
_MAX_MEMBERS = 200
#: info.json may carry all images inline, in base64.
_MAX_INFO = 60_000_000
#: No honest zip of at most 50 MB of JPEG grows beyond this: JPEG does not shrink.
_MAX_TOTAL = 200_000_000

# wire.md §5.3
_SELFIE, _CARD, _BACK = {0, 2}, {1, 3}, {5, 7}
_FILES, _INLINE = {0, 1, 4, 5}, {2, 3, 6, 7}


class _Corrupt(Exception):
    """Result code 0903: the zip cannot be read."""


class _Wanting(Exception):
    """Result code 0001: the zip can be read, but what it holds is not a job's images."""


@dataclass(slots=True)
class Inspection:
    """What a zip holds: `code` is None if all is well, else 0903 or 0001 with a `complaint` in words.

    `id_info` is whom it is about, the consent beside it included.
    """

    images: list[tuple[ImageRecord, bytes]] = field(default_factory=list)
    id_info: dict[str, Any] = field(default_factory=dict, repr=False)
    code: str | None = None
    complaint: str = ""


def inspect(
    zipped: bytes, product: Product, *, use_enrolled_image: bool, max_image: int, decode: bool = True
) -> Inspection:
    """Read a zip; *max_image* (bytes) caps what any one image may unpack to. Never raises for what a client sent.

    *decode*: whether the pictures' pixels are looked at.
    """
    found = Inspection()
    try:
        with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
            info = _read_info(archive)
            _read_images(archive, info["images"], max_image, found, decode)
        _check_id_info(found, info, product)
        _check_images(found, product, use_enrolled_image=use_enrolled_image)
    except _Wanting as error:
        found.code, found.complaint = "0001", str(error)
    except (
        _Corrupt,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
        struct.error,
    ) as error:
        # What zipfile raises on hostile input: RuntimeError for encrypted members, NotImplementedError (a
        # RuntimeError) for exotic compression, ValueError and struct.error for mangled headers.
        found.code, found.complaint = "0903", f"the zip is corrupt: {error}"
    return found


def _read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    if archive.getinfo(name).file_size > limit:
        raise _Corrupt(f"a member unpacks to more than {limit} bytes")
    # zipfile never unpacks more than the directory declares, and says so if there was more.
    return archive.read(name)


def _read_info(archive: zipfile.ZipFile) -> dict[str, Any]:
    members = archive.infolist()
    if len(members) > _MAX_MEMBERS or sum(member.file_size for member in members) > _MAX_TOTAL:
        raise _Corrupt("too many or too large members")
    if "info.json" not in archive.NameToInfo:
        raise _Wanting("there is no info.json in the zip")
    try:
        info = orjson.loads(_read_member(archive, "info.json", _MAX_INFO))
    except orjson.JSONDecodeError:
        raise _Wanting("info.json is not valid JSON") from None
    if not isinstance(info, dict) or not isinstance(info.get("images"), list):
        raise _Wanting("info.json has no list of images")
    if len(info["images"]) > _MAX_MEMBERS:
        raise _Corrupt("info.json lists too many images")
    return info


def _read_images(
    archive: zipfile.ZipFile, entries: list[object], max_image: int, found: Inspection, decode: bool
) -> None:
    unpacked = 0
    for entry in entries:
        image = _read_image(archive, entry, max_image)
        if image is None:
            continue
        found.images.append(image)
        record, content = image
        unpacked += record.size
        if unpacked > _MAX_TOTAL:
            raise _Corrupt("the images it lists unpack to too much")
        if decode and not decodes(record.sha256, record.width * record.height, content):
            raise _Wanting(f"image {record.name or 'inline'} of type {record.image_type_id} can not be decoded")


def _read_image(archive: zipfile.ZipFile, entry: object, limit: int) -> tuple[ImageRecord, bytes] | None:
    if not isinstance(entry, dict):
        raise _Wanting("an entry of images in info.json is not an object")
    kind, name = entry.get("image_type_id"), entry.get("file_name") or ""
    if isinstance(kind, str) and kind.isdecimal():
        kind = int(kind)
    if not isinstance(kind, int):
        return None
    if kind in _FILES:
        if not isinstance(name, str) or name not in archive.NameToInfo:
            raise _Wanting(f"info.json lists {name!r}, which is not in the zip")
        content = _read_member(archive, name, limit)
    elif kind in _INLINE:
        content, name = _decode(entry.get("image")), ""
    else:
        return None
    size = image_size(content)
    if size is None:
        raise _Wanting(f"image {name or 'inline'} of type {kind} is neither JPEG nor PNG")
    media_type = "image/png" if content[:1] == b"\x89" else "image/jpeg"
    return image_record(name, kind, len(content), hashlib.sha256(content).hexdigest(), *size, media_type), content


#: A load test sends the same pictures over and over: their records are shared, or they would outweigh the jobs.
image_record = lru_cache(maxsize=4096)(ImageRecord)


def _decode(text: object) -> bytes:
    if not isinstance(text, str) or not text:
        raise _Wanting("an inline image in info.json is empty")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise _Wanting("an inline image in info.json is not base64 (a data: URI is not accepted)") from None


def _check_id_info(found: Inspection, info: dict[str, Any], product: Product) -> None:
    id_info, consent = info.get("id_info") or {}, info.get("consent_information")
    if not isinstance(id_info, dict):
        raise _Wanting("id_info in info.json is not an object")
    found.id_info = given(PERSON, {"consent_information": consent, **id_info})
    needed = product.needed
    if product.card == "unless entered" and product.asks(found.id_info):
        needed = (("country",), ("id_type",), ("id_number", "session_id"))
    for names in needed:
        if not found.id_info.keys() & {*names}:
            raise _Wanting(f"id_info in info.json has no {' or '.join(names)}")
    if wrong := amiss(PERSON, found.id_info):
        raise _Wanting(f"id_info in info.json has an unfit {', '.join(wrong)}")


def _check_images(found: Inspection, product: Product, *, use_enrolled_image: bool) -> None:
    kinds = {record.image_type_id for record, _ in found.images}
    if not use_enrolled_image and not kinds & _SELFIE:
        raise _Wanting("there is no selfie in the zip")
    demanded = product.card == "always" or not product.asks(found.id_info)
    if not kinds & _CARD and (demanded or kinds & _BACK):
        raise _Wanting("there is no image of the front of an id card in the zip")


def image_size(content: bytes) -> tuple[int, int] | None:
    """Width and height in pixels by the header of a JPEG or PNG; None if it is neither."""
    if content[:8] == b"\x89PNG\r\n\x1a\n" and content[12:16] == b"IHDR" and len(content) >= 24:
        return struct.unpack(">II", content[16:24])
    return _jpeg_size(content) if content[:3] == b"\xff\xd8\xff" else None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    # ITU T.81 B.1: segments of marker and length, until a start of frame (C0-CF without C4, C8, CC) tells the size.
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return width, height
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4])
    return None
