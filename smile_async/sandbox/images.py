"""The images that arrived, by their digest: in memory up to a cap, or in a directory.

A load test sends the same few faces thousands of times; keeping each picture once is what lets the sandbox keep them
at all.
"""

from collections import OrderedDict
from pathlib import Path
from threading import Lock

from .state_file import write_private

__all__ = ["Images"]


class Images:
    """Images by SHA-256; *capacity* (bytes) bounds memory, *folder* (or None) keeps them on disk instead."""

    def __init__(self, capacity: int, folder: Path | None = None) -> None:
        self._capacity = capacity
        self._folder = folder
        self._pages: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = Lock()
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, sha256: str, content: bytes) -> None:
        """Keep an image; the oldest make room for it. With a folder this writes a file."""
        if self._folder is not None:
            if not (self._folder / sha256).exists():
                write_private(self._folder / sha256, content)
            return
        with self._lock:  # several zips are read at once, each in a thread
            self._size += 0 if sha256 in self._pages else len(content)
            self._pages[sha256] = content
            self._pages.move_to_end(sha256)
            while self._size > self._capacity:
                self._size -= len(self._pages.popitem(last=False)[1])

    def clear(self) -> None:
        """Forget all, on disk too."""
        with self._lock:
            self._pages.clear()
            self._size = 0
        if self._folder is not None:
            for path in self._folder.iterdir():
                path.unlink(missing_ok=True)

    def get(self, sha256: str) -> bytes | None:
        """The image, or None if it had to make room."""
        if self._folder is None:
            return self._pages.get(sha256)
        try:
            return (self._folder / sha256).read_bytes()
        except FileNotFoundError:
            return None
