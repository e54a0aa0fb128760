"""The sandbox's memory on disk: one line of JSON per change, replayed at the next start.

A job is written whole each time it changes and the last line wins; a line torn by a crash is the last one and is
dropped. Opening rewrites the file without the lines that no longer count, atomically.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

__all__ = ["StateFile", "write_private"]


def write_private(path: Path, content: bytes) -> None:
    """Put a file in place, whole or not at all, readable by its owner only."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".")  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class StateFile:
    """Keyed entries under *folder*; without a folder it forgets everything at once."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / "journal.jsonl" if folder is not None else None

    def open(self) -> dict[str, Any]:
        """All entries by key, as they were last written, oldest key first. To be called once, before any `write`."""
        if self._path is None:
            return {}
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        entries = dict(self._replay())
        write_private(self._path, b"".join(_line(key, value) for key, value in entries.items()))
        return entries

    def _replay(self) -> Iterator[tuple[str, Any]]:
        if self._path is None or not self._path.exists():
            return
        with self._path.open("rb") as file:
            for line in file:
                try:
                    key, value = orjson.loads(line)
                except ValueError:
                    return
                yield key, value

    def clear(self) -> None:
        """Forget all."""
        if self._path is not None:
            write_private(self._path, b"")

    def write(self, key: str, value: object) -> None:
        """Remember *value* (anything orjson can write) under *key*."""
        if self._path is not None:
            # Opened for each line: nothing needs closing, and a state directory is for a desk, not for a load test.
            with self._path.open("ab") as file:
                file.write(_line(key, value))


def _line(key: str, value: object) -> bytes:
    return orjson.dumps([key, value]) + b"\n"
