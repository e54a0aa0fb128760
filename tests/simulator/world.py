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
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from simulator.chance import seeded, sweep
from simulator.clock import BEGAN, LoopClock
from simulator.disk import Disk
from simulator.errands import WAYS, Errand
from simulator.gateway import API_PORT, HOST, STORAGE_PORT, Gateway
from simulator.loop import PROCESS, Halted, Process, SimLoop, Stuck
from simulator.places import Place
from simulator.post import Post, forge
from simulator.rules import Rules
from simulator.wants import WANTS, Person, Want
from simulator.weather import KINDS, Weather
from simulator.wire import Network

from smile_async import SmileError, Ticket
from smile_async.errors import JobNotFound, StillPending, SubmissionUnknown
from smile_async.log import log
from smile_async.sandbox import Sandbox
from smile_async.sandbox.products import PRODUCTS
from smile_async.sandbox.requests import IdRequest

__all__ = ["Report", "World", "run"]

#: Seconds after the calm by which all must be over: the longest closure, polls five minutes apart, and what is left.
AFTER_ALL = 4_000.0
PARTNER, KEY = "001", "simulated-key"
#: What this process has open.
FILES = Path("/proc/self/fd")
#: Seconds after which /job_status knows of a request.
RECORDED = (0.0, 0.0, 0.0, 20.0, 40.0)
#: Whose results were there before, and who comes with another's job_id.
STRANGER, IMPOSTOR = Person(98), Person(99)
#: Seconds before us at which a stranger asked: less than clocks are set by, more than any result takes.
LONG_AGO = 60.0
#: What the sandbox calls the products of one request.
WANTED = {want.product: want.product.name.lower() for want in WANTS}


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

    kinds: Sequence[str] = KINDS
    gateway_of, rules_of = Gateway, Rules
    #: Half of all jobs are registrations and lookups of Enhanced KYC.
    wants: Sequence[Want] = (*WANTS, WANTS[0], WANTS[0], WANTS[0], WANTS[3], WANTS[3])
    #: Errors whose ticket a caller keeps, and those after which nobody can tell what became of a job.
    keepers: tuple[type[SmileError], ...] = (StillPending,)
    untold: tuple[type[SmileError], ...] = (SubmissionUnknown, JobNotFound)

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
        self.weather = Weather(seed, loop.time, self.tell, kinds, self.kinds)
        self.clock = LoopClock(loop)
        self.sandbox = Sandbox(PARTNER, KEY, clock=self.clock, decode=False, console=False)
        self.sandbox.storage_url = f"https://{HOST}:{STORAGE_PORT}"
        self.sandbox.settings.callback_url = "https://hooks.test/"
        self.gateway = self.gateway_of(self.sandbox, self.weather, self._wants)
        self.network = loop.network = Network(loop, HOST, self.gateway.ports, self.weather)
        self.rules = self.rules_of(loop, self.weather, self.sandbox, self.tell)
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
            for kind, person in (("the same job from two places", first.person), ("an impostor", IMPOSTOR)):
                if self.weather.has(kind) and first.sole and not other.works:
                    given = {"job_id": first.job_id, "person": person, "want": first.want, "way": "verify"}
                    twin = Errand(self, first.number, other, **given)
                    twin.sole = first.sole = False
                    twin.before = first if person is IMPOSTOR else None
                    other.errands.append(twin)
        self._authorities()

    def _errand(self, number: int, place: Place) -> None:
        luck, want = self.luck, self.luck.choice(self.wants)
        job_id = str(uuid.UUID(int=luck.getrandbits(128), version=4))
        errand = Errand(self, number, place, job_id=job_id, person=Person(number), want=want, way=luck.choice(WAYS))
        if not want.one_request and (place.works or luck.random() < 0.5):
            errand.path = self.disk.picture(f"{number}.jpg", errand.person.selfie)
        if place.works and want.card:
            errand.card = self.disk.picture(f"{number}-card.jpg", errand.person.card)
        code, after, then = luck.choice(want.scripts)
        self.sandbox.script(errand.user_id, code=code, after=after, then=then)
        place.errands.append(errand)
        if want.one_request and self.weather.has("a job_id is used again") and luck.random() < 0.5:
            errand.sole = False
            self._used(errand)

    def _used(self, errand: Errand) -> None:
        """Somebody else's lookup under the job_id of *errand*, over before we began: one at the same time, whose result
        does not say whom it is about, nobody could tell from ours.
        """
        product = PRODUCTS[WANTED[errand.want.product]]
        ids = {"user_id": errand.user_id, "job_id": errand.job_id}
        asked = IdRequest(product, **ids, partner_params=ids, id_info=errand.want.about(STRANGER), callback_url="")
        self.clock.skew = -LONG_AGO
        self.sandbox.registry.look_up(asked, later=False)
        self.clock.skew = 0.0

    def _authorities(self) -> None:
        """What is not published of the products of one request: here it is so, there otherwise."""
        unkind = [want.product for want in WANTS if want.never_again]
        settings, luck = self.sandbox.settings, self.luck
        settings.recorded_after = luck.choice(RECORDED)
        settings.without_status = {WANTED[product] for product in unkind if luck.random() < 0.4}
        # A number that was looked up under a used job_id would take the place of the one before.
        used = {errand.want.product for place in self.places for errand in place.errands if errand.person is IMPOSTOR}
        settings.run_again = {WANTED[product] for product in unkind if luck.random() < 0.5 and product not in used}

    def _wants(self, process: Process | None, job_id: str) -> Errand | None:
        """Whose request about that job came from *process*."""
        mine = (place for place in self.places if place.process is process)
        return next((errand for place in mine for errand in place.errands if errand.job_id == job_id), None)

    def can_tell(self, errand: Errand) -> bool:
        """Whether /job_status knows, or will, what has become of the request of *errand*."""
        untold = WANTED[errand.want.product] in self.sandbox.settings.without_status
        return errand.job_id in self.sandbox.jobs and not untold

    def sole(self, job_id: str) -> bool:
        """Whether one place alone sends this job."""
        return all(errand.sole for place in self.places for errand in place.errands if errand.job_id == job_id)

    def is_old(self, job_id: str) -> bool:
        """Whether the provider has this job, knows that it has, and has said its last word if that is soon said."""
        record, now = self.sandbox.jobs.get(job_id), BEGAN + self.loop.now
        if record is None or record.arrived_at is None:
            return False
        recorded = not record.kind.path or now > record.created_at + self.sandbox.settings.recorded_after
        return recorded and (record.final or not record.kind.path)

    def may_land(self, job_id: str) -> bool:
        """Whether the provider has the zip of this job, or may get it yet."""
        record = self.sandbox.jobs.get(job_id)
        if record is None or record.arrived_at is not None:
            return True
        wanted = [errand for place in self.places for errand in place.errands if errand.job_id == job_id]
        # Whoever comes only once the job is old, and has not come, sends nothing.
        begun = [errand for errand in wanted if errand.before is None or errand.first_life is not None]
        return any(not errand.end and not errand.foreign for errand in begun)

    # How it is asked.

    def account(self, _place: Place) -> dict[str, Any]:
        """What a session of that place is told of the provider, beside whose it is."""
        return {"base_url": f"https://{HOST}:{API_PORT}/v1"}

    def calls_again(self, _ticket: Ticket) -> bool:
        """Whether a caller who has that ticket calls with his job again."""
        return False

    def addressees(self, _request: httpx.Request) -> list[Place]:
        """The places to which a callback may come."""
        return self.places

    def helpers(self, post: Post) -> list[Coroutine[Any, Any, None]]:
        """What else goes on until every errand is over."""
        return [self._look_again(), forge(self, post)]

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
            helpers = [asyncio.create_task(each, name="helper") for each in self.helpers(post)]
            for place in self.places:
                if self.weather.has("the clock is set"):
                    when = self.weather.uniform(0.0, self.weather.calm_at)
                    self.loop.call_later(when, self._set_clock, place)
            await asyncio.gather(*(place.live() for place in self.places))
            for helper in helpers:
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
                landed = record is not None and record.arrived_at is not None
                if errand.end == "unknown":
                    if errand.sole and self.can_tell(errand):
                        self.rules.broke(f"job {errand.job_id[:8]} at {place.name}: status could have told")
                elif errand.end in ("stranded", "refused"):
                    if errand.end == "stranded" and (landed or (errand.sole and place.ledger)):
                        self.rules.broke(f"job {errand.job_id[:8]} at {place.name} was lost")
                elif record is None or errand.end != record.code:
                    self.rules.broke(f"job {errand.job_id[:8]} at {place.name} ended with {errand.end}")
        for record in self.sandbox.jobs.values():
            # Who has forgotten that he sent it sends it again, and a job_id may be good for any number of lookups.
            wanted = [errand for place in self.places for errand in place.errands if errand.job_id == record.job_id]
            memories = sum(errand.memories for errand in wanted) + (record.created_at < BEGAN)
            late = bool(record.kind.path and self.sandbox.settings.recorded_after)
            most = max(1, memories) if late or record.product in self.sandbox.settings.run_again else 1
            # Where a job_id is good for one job each call may send it once more: `Rules.repeated` knows when.
            again = late and not wanted[0].want.never_again
            if (record.submissions > most and not again) or record.processed > 1:
                self.rules.broke(f"job {record.job_id[:8]} was done {record.submissions} times")


def run(seed: object, kinds: Any = None, database: str | None = None, world_of: "type[World]" = World) -> Report:
    """The world of *seed* from its beginning to its end; over a *database* (a PostgreSQL URL) it is no replay."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="smile-sim-", dir=base) as name, _logged() as logger:
        loop = SimLoop()
        threads, files = threading.active_count(), len(list(FILES.iterdir()))
        with seeded(seed, loop):
            world = world_of(seed, loop, Path(name), kinds, database)
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
