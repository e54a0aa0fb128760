"""Disks as applications have them: databases that refuse, threads that take their time, pictures that come and go."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from simulator.loop import PROCESS, Dropped, SimLoop
from simulator.weather import Weather

from smile_async.ledger import failpoints

__all__ = ["Disk"]

#: What SQLite says, by what reigns.
_REFUSALS = {
    "the database is locked": ("database is locked", "SQLITE_BUSY"),
    "the disk is full": ("database or disk is full", "SQLITE_FULL"),
}


class Disk:
    """The disk of all places; pictures lie in *folder*."""

    def __init__(self, loop: SimLoop, weather: Weather, folder: Path) -> None:
        self._loop = loop
        self._weather = weather
        self.folder = folder

    def picture(self, name: str, content: bytes) -> str:
        """The path of a picture."""
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    async def read(self, work: Callable[..., Any], *args: Any) -> Any:
        """What a session does in a thread: read the pictures of a job."""
        weather = self._weather
        job = args[0]
        far = any(image.path is not None for image in job.images)
        await asyncio.sleep(weather.uniform(0.0, 0.02) if far else 0.0)
        while far and weather.reigns("the pictures hang"):  # noqa: ASYNC110 - the weather tells nobody
            await asyncio.sleep(1.0)
        if far and weather.reigns("the pictures are away"):
            with self._away():
                return work(*args)
        return work(*args)

    @contextlib.contextmanager
    def _away(self) -> Iterator[None]:
        elsewhere = self.folder.with_name("elsewhere")
        self.folder.rename(elsewhere)
        try:
            yield
        finally:
            elsewhere.rename(self.folder)

    def thread_seconds(self, name: str) -> tuple[float, float]:
        """Seconds that a piece of thread work waits, and that its answer is on its way."""
        weather = self._weather
        if not name.startswith("smile-ledger"):
            return 0.0, 0.0
        if weather.reigns("the disk is slow"):
            return weather.choice(((0.5, 0.5), (3.0, 3.0), (0.0, 45.0), (35.0, 0.0)))
        return weather.uniform(0.0, 0.004), weather.uniform(0.0, 0.004)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Databases are watched, and refuse as the weather says."""
        hooks = (
            (sa.Engine, "before_cursor_execute", self._asked),
            (sa.Engine, "commit", self._committing),
            (sa.Pool, "connect", self._connected),
        )
        for target, name, hook in hooks:
            sa.event.listen(target, name, hook)
        failpoints.install(self._moment)
        self._loop.thread_seconds = self.thread_seconds
        try:
            yield
        finally:
            failpoints.install(None)
            for target, name, hook in hooks:
                sa.event.remove(target, name, hook)

    def _asked(self, *_: Any) -> None:
        process = PROCESS.get()
        if process is None or process.dead:
            return
        for kind, (words, name) in _REFUSALS.items():
            if self._weather.reigns(kind):
                refused = sqlite3.OperationalError(words)
                refused.sqlite_errorname = name
                raise sa.exc.OperationalError("", {}, refused)

    def _committing(self, _connection: Any) -> None:
        self._asked()

    def _connected(self, connection: Any, _record: Any) -> None:
        process = PROCESS.get()
        if process is not None:
            driver = getattr(connection, "driver_connection", connection)
            process.closers.append(lambda: _closed(driver))

    def _moment(self, name: str) -> None:
        process = PROCESS.get()
        if process is None or process.dead:
            return
        if self._weather.strikes("killed at a moment of the ledger"):
            self._weather.tell(f"{process.name} dies: {name}")
            self._loop.drop(process)
            raise Dropped(name)


def _closed(driver: Any) -> None:
    """What the system does with a database file of a process that is gone."""
    if hasattr(driver, "pgconn"):
        driver.pgconn.finish()
        return
    inner = getattr(driver, "_connection", driver)
    if inner is not driver:
        driver._connection = None
    if inner is not None:
        with contextlib.suppress(sqlite3.Error):
            inner.close()
