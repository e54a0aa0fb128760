"""A body that consists of parts, cut into pieces of one size: nothing larger than a piece is ever copied."""

from collections.abc import Iterable, Iterator

__all__ = ["pieces_of"]


def pieces_of(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    """All of *parts*, joined and cut into pieces of *size* bytes, the last of them perhaps shorter."""
    waiting: list[bytes | memoryview] = []
    room = size
    for part in parts:
        rest = memoryview(part)
        while len(rest) >= room:
            waiting.append(rest[:room])
            yield b"".join(waiting)
            rest, waiting, room = rest[room:], [], size
        if rest:
            waiting.append(rest)
            room -= len(rest)
    if waiting:
        yield b"".join(waiting)
