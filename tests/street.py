"""What the street's tests share: jobs of real pictures, sessions at test speed, a look at what was left behind."""

import asyncio
import gc
import io
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as Picture
from scripted import KEY, PARTNER, ScriptedSmile

from smile_async import Job, Pace, SmileSession
from smile_async.sandbox import RunningSandbox

#: The engines that must behave alike.
ENGINES = ("httpx", "httpx2", "pyreqwest")
#: Written into the comment segment of every picture: no log, repr or traceback may show it.
MARKER = b"canary-in-the-picture-7b1f93"
#: Polls every 10 ms, and every 50 where a test is about waiting: fast, and it never learns.
QUICK = Pace.fixed(0.01, 8, 0.05)


@dataclass(frozen=True)
class Pictures:
    """Real colour JPEGs, as bytes and as files: one selfie, eight liveness frames, and somebody else's selfie."""

    selfie: bytes
    liveness: tuple[bytes, ...]
    other: bytes
    selfie_path: str
    liveness_paths: tuple[str, ...]

    @classmethod
    def made_in(cls, folder: Path) -> "Pictures":
        """Ten that a sandbox can decode, nine of them written into *folder*."""
        selfie, other, *liveness = (_jpeg(20 * number) for number in range(10))
        names = ["selfie.jpg", *(f"frame{number}.jpg" for number in range(8))]
        for name, content in zip(names, (selfie, *liveness), strict=True):
            (folder / name).write_bytes(content)
        paths = [str(folder / name) for name in names]
        return cls(selfie, tuple(liveness), other, paths[0], tuple(paths[1:]))

    def job(self, user_id: str = "ada", **more: Any) -> Job:
        """An authentication by bytes, selfie only."""
        return Job.authenticate(user_id, self.selfie, **more)

    def filed(self, user_id: str = "ada", **more: Any) -> Job:
        """An authentication by files, with liveness frames."""
        return Job.authenticate(user_id, self.selfie_path, liveness=self.liveness_paths, **more)


def _jpeg(shade: int) -> bytes:
    out = io.BytesIO()
    picture = Picture.linear_gradient("L").resize((96, 128))
    Picture.merge("RGB", (picture, picture.rotate(90), picture.point(lambda value: (value + shade) % 256))).save(
        out, "JPEG", comment=MARKER
    )
    return out.getvalue()


def session_of(server: RunningSandbox | ScriptedSmile, **settings: Any) -> SmileSession:
    """A session, not yet entered, that talks to *server* at test speed."""
    settings.setdefault("pace", QUICK)
    if isinstance(server, ScriptedSmile):
        whose = {"partner_id": PARTNER, "api_key": KEY}
    else:
        whose = {"partner_id": server.partner_id, "api_key": server.api_key}
    return SmileSession(**{**whose, "base_url": server.base_url, "ca_file": server.ca_file, **settings})


async def others(before: set["asyncio.Task[Any]"], patience: float = 1.0) -> set["asyncio.Task[Any]"]:
    """The tasks that run now and did not *before*, after giving them a moment to end; a server's do not count."""
    give_up = time.monotonic() + patience
    while left := {task for task in asyncio.all_tasks() - before if _counts(task)}:
        if time.monotonic() > give_up:
            return left
        await asyncio.sleep(0.002)
    return left


def _counts(task: "asyncio.Task[Any]") -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    a_server_s = task.get_name() == "scripted connection" or "granian" in getattr(code, "co_filename", "")
    return not task.done() and task is not asyncio.current_task() and not a_server_s


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """The block must leave no task behind that it did not find."""
    before = asyncio.all_tasks()
    yield
    left = await others(before)
    assert not left, f"left behind: {left}"


async def until(what: Any, patience: float = 20.0) -> None:
    """Wait until *what*() is true."""
    give_up = time.monotonic() + patience
    while not what():
        assert time.monotonic() < give_up, "it did not happen in time"
        await asyncio.sleep(0.002)


@asynccontextmanager
async def lateness() -> AsyncIterator[Callable[[], float]]:
    """Within, tells how many seconds the event loop has been late at worst: what the machine takes is no fault of ours.

    Several times that is what a chain of awaits may take on top.
    """
    worst = 0.0

    async def look() -> None:
        nonlocal worst
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.02)
            worst = max(worst, time.monotonic() - before - 0.02)

    looking = asyncio.create_task(look())
    try:
        yield lambda: 5 * worst
    finally:
        looking.cancel()
        await asyncio.wait({looking})


def sweep() -> None:
    """Collect garbage, and let nobody be blamed for it."""
    blame, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        gc.collect()
    finally:
        sys.unraisablehook = blame
