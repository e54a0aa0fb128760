"""A world made by a seed: a provider, places that want jobs of it, a network, disks, and the weather between them."""

import asyncio
import contextlib
import hashlib
import logging
import os
import random
import tempfile
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ground_support import jpeg
from simulator.chance import seeded, sweep
from simulator.clock import LoopClock
from simulator.disk import Disk
from simulator.errands import WAYS, Errand
from simulator.gateway import HOST, STORAGE_PORT, Gateway
from simulator.loop import PROCESS, Halted, Process, SimLoop, Stuck
from simulator.places import Place
from simulator.post import Post, forge
from simulator.rules import Rules
from simulator.weather import Weather
from simulator.wire import Network

from smile_async.log import log
from smile_async.sandbox import Sandbox

__all__ = ["Report", "World", "run"]

#: Seconds after the calm by which all must be over: the longest closure, polls five minutes apart, and what is left.
AFTER_ALL = 4_000.0
PARTNER, KEY = "001", "simulated-key"
#: What this process has open.
FILES = Path("/proc/self/fd")
#: What jobs come to: after so many seconds, then later.
SCRIPTS: tuple[tuple[str, float, tuple[tuple[float, str], ...]], ...] = (
    ("0840", 0.5, ()),
    ("0840", 8.0, ()),
    ("0841", 3.0, ()),
    ("0844", 4.0, ((60.0, "1240"),)),
    ("0844", 2.0, ((300.0, "1241"),)),
)


@dataclass
class Report:
    """What came of a seed: broken promises (none is well), the digest of all that happened, and how much that was."""

    seed: object
    kinds: tuple[str, ...]
    broken: list[str]
    digest: str
    events: list[str]
    seconds: float
    jobs: int


class World:
    """See above; *kinds* of weather are drawn unless given; all ledgers are the *database*, if there is one."""

    def __init__(
        self, seed: object, loop: SimLoop, folder: Path, kinds: Any = None, database: str | None = None
    ) -> None:
        self.database = database
        self.loop = loop
        self.folder = folder
        self.luck = random.Random(f"{seed}: world")
        self.events: list[str] = []
        self.over = False
        self.crashes: list[BaseException] = []
        #: All that there have been: what the dropped ones leave is kept to the end.
        self.processes: list[Process] = []
        self.weather = Weather(seed, loop.time, self.tell, kinds)
        self.clock = LoopClock(loop)
        self.sandbox = Sandbox(PARTNER, KEY, clock=self.clock, decode=False, console=False)
        self.sandbox.storage_url = f"https://{HOST}:{STORAGE_PORT}"
        self.sandbox.settings.callback_url = "https://hooks.test/"
        self.gateway = Gateway(self.sandbox, self.weather)
        self.network = loop.network = Network(loop, HOST, self.gateway.ports, self.weather)
        self.rules = Rules(loop, self.weather, self.sandbox, self.tell)
        (folder / "pictures").mkdir()
        self.disk = Disk(loop, self.weather, folder / "pictures")
        loop.horizon = self.weather.calm_at + AFTER_ALL
        loop.dropped = self._dropped
        loop.after_work = self._look
        self.places = [self._place(number) for number in range(self.luck.choice((1, 1, 2, 3)))]
        self._errands()

    @property
    def calm(self) -> bool:
        """Whether all is well from now on."""
        return not self.weather.bad

    def tell(self, what: str) -> None:
        """Write down what has happened."""
        process = PROCESS.get()
        if self.over or (process is not None and process.dead):
            return
        self.events.append(f"{self.loop.now:.6f} {what.replace(str(self.folder), '~')}")

    # What there is.

    def _place(self, number: int) -> Place:
        remembers, works = self.luck.random() < 0.7, self.luck.random() < 0.3
        ledger = (self.database or self.folder / f"ledger-{number}") if remembers else None
        works = works and isinstance(ledger, Path)
        return Place(self, f"place-{number}", http=self.luck.choice(("httpx", "httpx2")), ledger=ledger, works=works)

    def _errands(self) -> None:
        number = 0
        for place in self.places:
            for _ in range(self.luck.randint(1, 4)):
                number += 1
                self._errand(number, place)
        if len(self.places) > 1:
            first, other = self.places[0].errands[0], self.places[1]
            for kind, selfie in (("the same job from two places", first.selfie), ("an impostor", _selfie(99))):
                if self.weather.has(kind) and first.sole and not other.works:
                    twin = Errand(self, first.number, other, job_id=first.job_id, selfie=selfie, way="verify")
                    twin.sole = first.sole = False
                    other.errands.append(twin)

    def _errand(self, number: int, place: Place) -> None:
        luck = self.luck
        job_id = str(uuid.UUID(int=luck.getrandbits(128), version=4))
        errand = Errand(self, number, place, job_id=job_id, selfie=_selfie(number), way=luck.choice(WAYS))
        if place.works or luck.random() < 0.5:
            errand.path = self.disk.picture(f"{number}.jpg", errand.selfie)
        code, after, then = luck.choice(SCRIPTS)
        self.sandbox.script(errand.user_id, code=code, after=after, then=then)
        place.errands.append(errand)

    def sole(self, job_id: str) -> bool:
        """Whether one place alone sends this job."""
        return all(errand.sole for place in self.places for errand in place.errands if errand.job_id == job_id)

    def may_land(self, job_id: str) -> bool:
        """Whether the provider has the zip of this job, or may get it yet."""
        record = self.sandbox.jobs.get(job_id)
        if record is None or record.zip_at is not None:
            return True
        wanted = [errand for place in self.places for errand in place.errands if errand.job_id == job_id]
        return any(not errand.end and not errand.foreign for errand in wanted)

    # What happens.

    def _dropped(self, process: Process) -> None:
        for place in self.places:
            if place.process is process:
                place.dropped()

    def _look(self) -> None:
        for place in self.places:
            if isinstance(place.ledger, Path) and place.ledger.exists():
                self.rules.ledger(place.name, place.ledger, self.sole)

    async def _look_again(self) -> None:
        """Where the database is a server's, nobody tells that something was written."""
        while self.database is not None:
            await asyncio.sleep(3.0)
            self.rules.ledger("the database", self.database, self.sole)

    async def live(self) -> None:
        """Everything, until every errand is over."""
        post = Post(self)
        async with self.sandbox.sending_callbacks(post):
            looking = asyncio.create_task(self._look_again(), name="looker")
            forging = asyncio.create_task(forge(self, post), name="forger")
            for place in self.places:
                if self.weather.has("the clock is set"):
                    when = self.weather.uniform(0.0, self.weather.calm_at)
                    self.loop.call_later(when, self._set_clock, place)
            await asyncio.gather(*(place.live() for place in self.places))
            for helper in (forging, looking):
                helper.cancel()
        self._look()
        self._last_words()

    def _set_clock(self, place: Place) -> None:
        place.clock.skew += self.weather.choice((-86_400.0, 86_400.0, 3_600.0, -40.0))
        self.weather.struck()
        self.tell(f"the clock of {place.name} is set: {place.clock.skew:.0f} s off")

    def _last_words(self) -> None:
        """Each accepted job has one outcome, and it is the provider's last."""
        for place in self.places:
            for errand in place.errands:
                record = self.sandbox.jobs.get(errand.job_id)
                landed = record is not None and record.zip_at is not None
                if errand.end in ("stranded", "refused"):
                    if errand.end == "stranded" and (landed or (errand.sole and place.ledger)):
                        self.rules.broke(f"job {errand.job_id[:8]} at {place.name} was lost")
                elif record is None or errand.end != record.code:
                    self.rules.broke(f"job {errand.job_id[:8]} at {place.name} ended with {errand.end}")
        for record in self.sandbox.jobs.values():
            if record.submissions != 1 or record.processed > 1:
                self.rules.broke(f"job {record.job_id[:8]} was done twice")


def _selfie(number: int) -> bytes:
    return jpeg(comment=f"picture {number}", body=bytes([number]) * 600)


def run(seed: object, kinds: Any = None, database: str | None = None) -> Report:
    """The world of *seed* from its beginning to its end; over a *database* (a PostgreSQL URL) it is no replay."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="smile-sim-", dir=base) as name, _logged() as logger:
        loop = SimLoop()
        threads, files = threading.active_count(), len(list(FILES.iterdir()))
        with seeded(seed, loop):
            world = World(seed, loop, Path(name), kinds, database)
            logger.addHandler(world.rules)
            broken = world.rules.broken
            try:
                with world.disk.in_use(), _filtered(logger, world):
                    loop.run_until_complete(world.live())
            except Halted:
                pass
            except Stuck as stuck:
                world.rules.broke(str(stuck))
            except Exception as error:  # noqa: BLE001 - told with its seed
                world.rules.broke(repr(error))
                world.crashes.append(error)
            logger.removeHandler(world.rules)
        world.over, broken = True, [*broken]
        _buried(loop, world)
        if threading.active_count() > threads:
            broken.append("a thread was left")
        if (left := len(list(FILES.iterdir())) - files) > 0:
            broken.append(f"{left} files were left open")
        digest = hashlib.sha256("\n".join(world.events).encode()).hexdigest()
        report = Report(seed, world.weather.kinds, broken, digest, world.events, loop.now, len(world.sandbox.jobs))
        if os.environ.get("SIM_RAISE") and world.crashes:
            raise world.crashes[0]
    return report


def _buried(loop: SimLoop, world: World) -> None:
    """Close the loop; what dropped processes would have run is let go of unheard."""
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    logging.disable()
    try:
        world.sandbox.readers.shutdown()
        loop.set_exception_handler(lambda _loop, _context: None)
        for process in world.processes:
            for close in process.closers:
                close()
            process.grave.clear()
        loop._ready.clear()  # type: ignore[attr-defined]
        loop._scheduled.clear()  # type: ignore[attr-defined]
        loop.close()
        sweep()
    finally:
        logging.disable(logging.NOTSET)


@contextlib.contextmanager
def _logged() -> Iterator[logging.Logger]:
    logger = log.logger
    level, propagates = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield logger
    finally:
        logger.setLevel(level)
        logger.propagate = propagates


@contextlib.contextmanager
def _filtered(logger: logging.Logger, world: World) -> Iterator[None]:
    """An application's own filter, which fails when the weather says so."""

    def passes(_record: logging.LogRecord) -> bool:
        if world.weather.reigns("no log line can be written"):
            raise RuntimeError("the log is full")
        return True

    logger.addFilter(passes)
    try:
        yield
    finally:
        logger.removeFilter(passes)
