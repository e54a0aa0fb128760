"""Small versions of the pictures that arrived, made once each.

Selfies come with megapixels; a list of them at full size would keep the browser busier than the developer. The work
is done in one thread of its own, because those of the sandbox read zips for the API.
"""

import asyncio
import io
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from smile_async.sandbox.records import ImageRecord

__all__ = ["Thumbnails"]

#: Pixels on the longer side: sharp at 96 CSS pixels on a screen of double density.
_SIDE = 192
#: Larger pictures are not decoded: a few kilobytes of PNG can claim gigabytes of pixels.
_MAX_PIXELS = 40_000_000
#: Small versions kept; a few kilobytes each.
_KEPT = 512


class Thumbnails:
    """Makes small versions of pictures, by digest."""

    def __init__(self) -> None:
        self._made: OrderedDict[str, bytes | None] = OrderedDict()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-thumbnails")

    async def small(self, image: ImageRecord, content: bytes) -> bytes | None:
        """A small JPEG of *image*, whose bytes are *content*; None if it cannot be decoded."""
        sha256 = image.sha256
        if image.width * image.height > _MAX_PIXELS:
            return None
        if sha256 not in self._made:
            made = await asyncio.get_running_loop().run_in_executor(self._thread, _shrink, content)
            self._made[sha256] = made
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
            return made
        return self._made[sha256]


def _shrink(content: bytes) -> bytes | None:
    from PIL import Image  # noqa: PLC0415 - half of the sandboxes never show a picture

    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as picture:
            picture.draft("RGB", (_SIDE, _SIDE))
            picture.thumbnail((_SIDE, _SIDE))
            picture.convert("RGB").save(out, "JPEG", quality=80)
    except Exception:  # noqa: BLE001 - what Pillow raises on hostile files is anybody's guess
        return None
    return out.getvalue()
