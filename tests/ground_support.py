"""What the tests of the ground share: pictures made by hand, the expected code table, signed replies, a leak finder."""

import base64
import hashlib
import hmac
import json
import struct
import traceback
import zlib
from datetime import UTC, datetime
from typing import Any

KEY = "test-api-key"
PARTNER = "001"
#: The moment of wire.md's samples, in seconds since 1970.
NOW = 1_767_323_045.678
#: A text that stands in pictures and nowhere else.
CANARY = "kAnArY-in-a-picture"

JOB_TYPES = (1, 2, 4, 5, 6, 7, 8, 9, 10, 11)

#: Code, then job types and what is expected of them: Approved, aTtention, Provisional, Rejected or Error; final: yes,
#: no or ? (it ends with the job). `any` is every type, `image` those with pictures. A pair that is not here is UNKNOWN.
EXPECTED_CODES = """
0001 any:Ey
0810 1:Ay 6,11:Ay
0811 1:Ry 6,11:Ry
0812 1:Pn 6,11:Ry
0813 1:Ry
0814 1:Pn
0815 1:Pn
0816 6,11:Ry
0817 6,11:Ty
0820 2:Ay
0821 2:Ry
0822 2:Pn
0823 2:Ry
0824 2:Pn
0825 2:Pn
0840 4:Ay
0841 4:Ry
0842 4:Pn
0843 4:Ry
0844 4:Pn
0846 4:Pn
0903 image:Ry
0907 image:Ry
0908 1:E?
0911 1:Ry
0912 1:Ry
0921 2:Ry
0922 2:Ry
0941 4:Ry
0942 4:Ry
1012 1,11:Pn 5,7:Ay
1013 1,5,7:Ry
1014 1,5,7,11:Ey
1015 1,5,7,10:E?
1016 1,5,7:Ey
1017 10:Ty
1020 5:Ay
1021 5:Ty
1022 5:Ry
1023 5,10:Ry
1030 10:Ry
1031 10:Ay
1210 1:Ay
1211 1:Ry
1212 1:Ry
1213 1:P?
1214 1:Ry
1220 2:Ay
1221 2:Ry
1222 2:Ry
1240 4:Ay
1241 4:Ry
1242 4:Ry
2201 any:Ey
2202 any:En
2203 any:Ey
2204 any:Ey
2205 any:Ey
2207 any:Ey
2208 any:Ey
2209 any:Ey
2210 any:Ey
2211 any:Ey
2212 any:Ey
2213 any:Ey
2214 any:E?
2215 any:Ey
2216 any:Ey
2217 any:Ey
2220 any:Ey
2221 any:E?
2222 any:Ey
2301 any:Ey
2302 any:En
2304 any:E?
2314 any:En
2401 any:Ey
2405 any:Ey
2413 any:Ey
2414 any:E?
2415 any:E?
"""

_DECISIONS = {"A": "approved", "T": "attention", "P": "provisional", "R": "rejected", "E": "error"}
_FINAL = {"y": True, "n": False, "?": None}
_SCOPES = {"any": JOB_TYPES, "image": (1, 2, 4, 6, 8, 11)}


def expected_codes() -> dict[tuple[str, int], tuple[str, bool | None]]:
    """(code, job type) → (decision, final), for each pair that means something."""
    found = {}
    for line in EXPECTED_CODES.split("\n")[1:-1]:
        code, *groups = line.split()
        for group in groups:
            types, _, letters = group.partition(":")
            for number in _SCOPES.get(types) or [int(text) for text in types.split(",")]:
                found[code, number] = (_DECISIONS[letters[0]], _FINAL[letters[1]])
    return found


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg(
    components: int = 3,
    *,
    size: tuple[int, int] = (64, 80),
    frame: int = 0xC0,
    comment: str = CANARY,
    body: bytes = b"",
) -> bytes:
    """What the header of a JPEG looks like, with *body* where the pixels would be."""
    about = struct.pack(">BHHB", 8, size[1], size[0], components) + b"".join(
        struct.pack("BBB", number, 0x11, 0) for number in range(components)
    )
    parts = [_segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"), _segment(0xFE, comment.encode()), _segment(frame, about)]
    return b"\xff\xd8" + b"".join(parts) + _segment(0xDA, b"\0" * 6) + body + b"\xff\xd9"


def jpeg_header(content: bytes) -> int:
    """How many bytes of *content*, made by `jpeg`, are up to the end of the frame header."""
    return content.index(_segment(0xDA, b"\0" * 6))


def png(colour: int = 2, *, size: tuple[int, int] = (30, 20), comment: str = CANARY) -> bytes:
    """What the header of a PNG of colour type *colour* looks like."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", *size, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tEXt", comment.encode()) + chunk(b"IEND", b"")


def stamp_of(moment: float) -> str:
    """*moment* as JavaScript writes it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def signature_of(timestamp: str, *, partner_id: str = PARTNER, key: str = KEY) -> str:
    """The signature of wire.md §2.1, made independently of the library."""
    digest = hmac.new(key.encode(), f"{timestamp}{partner_id}sid_request".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def signed(fields: dict[str, Any], *, at: float = NOW, key: str = KEY) -> bytes:
    """*fields* as a reply of Smile ID's that was signed at *at*."""
    timestamp = stamp_of(at)
    return json.dumps({"timestamp": timestamp, "signature": signature_of(timestamp, key=key), **fields}).encode()


def frames_holding(error: BaseException, *secrets: str) -> list[str]:
    """The frames of the library in *error*'s traceback (causes and contexts included) whose locals show a secret."""
    found, told = [], traceback.TracebackException.from_exception(error, capture_locals=True)
    waiting: list[traceback.TracebackException | None] = [told]
    while waiting:
        part = waiting.pop()
        if part is None:
            continue
        waiting += [part.__cause__, part.__context__]
        for frame in part.stack:
            shown = repr(frame.locals)
            if "/smile_async/" in frame.filename and any(secret in shown for secret in secrets):
                found.append(f"{frame.filename}:{frame.lineno} in {frame.name}")
    return found
