"""What a picture may be given as, and how it becomes an `Image`."""

import os
from collections.abc import Iterable
from itertools import count, repeat

from smile_async.errors import InvalidJob
from smile_async.jobs.image import Image

__all__ = ["ImageSource", "picture", "pictures"]

#: What a picture may be given as; a `str` is always a local path (`Image.from_uri` and `Image.from_base64` are not).
ImageSource = str | os.PathLike[str] | bytes | bytearray | memoryview | Image

_ONE_PICTURE = (str, bytes, bytearray, memoryview, os.PathLike, Image)


def pictures(
    selfie: ImageSource | None, liveness: Iterable[ImageSource], whose: str
) -> tuple[Image | None, tuple[Image, ...]]:
    """A face and its frames; raises InvalidJob, whose message begins with *whose* they are."""
    try:
        if isinstance(liveness, _ONE_PICTURE) or not isinstance(liveness, Iterable):
            kind = type(liveness).__name__
            raise InvalidJob(f"{whose}: liveness is one {kind}: give a list of pictures")
        face = None if selfie is None else picture(selfie, "selfie", whose)
        # Not a generator expression: its frame would hold the picture before the one that fails.
        return face, tuple(map(picture, liveness, map("liveness[{}]".format, count()), repeat(whose)))
    finally:
        del selfie, liveness


def picture(source: ImageSource, name: str, whose: str) -> Image:
    """*source* as an Image; bytes are not looked at yet. Raises InvalidJob."""
    why = f"is {type(source).__name__}: give a path, bytes or an Image"
    if isinstance(source, str | os.PathLike):
        try:
            return Image.from_path(source)
        except InvalidJob as error:
            why = f"has no usable path ({error})"
    elif isinstance(source, Image):
        return source
    elif isinstance(source, bytes | bytearray | memoryview):
        # Judged by who keeps it, and can say whose picture it is.
        content = bytes(source)
        return Image(content=content, size=len(content))
    del source
    raise InvalidJob(f"{whose}: {name} {why}")
