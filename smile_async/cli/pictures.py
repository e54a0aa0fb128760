"""Portraits nobody sat for: real colour JPEGs of about 60 kB, for the demo.

A demo that uploads empty files proves nothing about upload speed, and photos of people do not belong in a package.
Every user gets nine files of their own, which are links to a small pool: drawing 1,800 pictures would take longer than
the demo itself.
"""

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

__all__ = ["FRAMES", "draw_portrait", "portraits_of", "write_pool"]

#: Liveness frames of one moment (wire.md §12: 8 in the newest documents).
FRAMES = 8
#: Distinct pictures in the pool.
POOL = 12
#: Pixels; with this grain and quality a portrait has about 60,000 bytes.
SIZE = (480, 640)
GRAIN, QUALITY = 60, 83


def draw_portrait(number: int, path: Path) -> None:
    """Write portrait *number* to *path*; another number is another face before another wall."""
    width, height = SIZE
    wall = Image.linear_gradient("L").resize(SIZE)
    grain = [Image.effect_noise(SIZE, GRAIN).filter(ImageFilter.BoxBlur(1)) for _ in "RGB"]
    tint = [40 + (number * step) % 90 for step in (37, 53, 71)]
    bands = [
        Image.blend(wall.point([min(255, v // 2 + add) for v in range(256)]), noise, 0.4)
        for add, noise in zip(tint, grain, strict=True)
    ]
    picture = Image.merge("RGB", bands)
    pen = ImageDraw.Draw(picture)
    skin = (224 - 9 * number, 172 - 8 * number, 132 - 7 * number)
    middle, eyes = width // 2 + 4 * (number % 5 - 2), height // 2 - 40
    pen.ellipse((middle - 130, eyes - 130, middle + 130, eyes + 210), fill=skin)
    for side in (-55, 55):
        pen.ellipse((middle + side - 22, eyes - 10, middle + side + 22, eyes + 10), fill=(245, 245, 240))
        pen.ellipse((middle + side - 9, eyes - 9, middle + side + 9, eyes + 9), fill=(60, 40, 30))
    pen.arc((middle - 60, eyes + 60, middle + 60, eyes + 130), 20, 160, fill=(150, 60, 60), width=8)
    Image.blend(picture, Image.merge("RGB", grain), 0.3).save(path, "JPEG", quality=QUALITY)


def write_pool(folder: Path) -> list[Path]:
    """Write the pool into *folder*; takes well under a second."""
    paths = [folder / f"portrait_{number}.jpg" for number in range(POOL)]
    for number, path in enumerate(paths):
        draw_portrait(number, path)
    return paths


def portraits_of(user: int, pool: list[Path], folder: Path) -> Iterator[Path]:
    """The nine files of *user*, made in *folder*: a selfie, then the liveness frames."""
    names = ["selfie", *(f"liveness_{n}" for n in range(FRAMES))]
    for name, source in zip(names, itertools.islice(itertools.cycle(pool), user % len(pool), None), strict=False):
        path = folder / f"user_{user}_{name}.jpg"
        try:
            os.link(source, path)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, path)
        yield path
