"""What applications want: one job each, asked for again and again until its last word has come."""

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
from simulator.wants import Person, Want
from simulator.weather import Weather

from smile_async import Finished, Job, SmileError, SmileSession, Ticket, Verdict
from smile_async.batch import Row
from smile_async.contained import is_ours
from smile_async.errors import InvalidJob, JobExists, JobNotFound, Refused, SessionClosed, SubmissionUnknown
from smile_async.traffic.watching import Until

if TYPE_CHECKING:
    from simulator.places import Place
    from simulator.world import World

__all__ = ["WAYS", "Errand", "stream_of"]

#: How an errand asks.
WAYS = ("verify", "submit", "follow", "stream", "double")


class Errand:
    """A job about *person* that somebody at *place* wants; *path*: the picture lies on a disk, as may a *card*."""

    def __init__(
        self, world: "World", number: int, place: "Place", *, job_id: str, person: Person, want: Want, way: str
    ) -> None:
        self.world = world
        self.number = number
        self.place = place
        self.job_id = job_id
        self.user_id = f"user-{number}"
        self.person = person
        self.want = want
        self.path: str | None = None
        self.card: str | None = None
        # What has no asynchronous form can not be submitted alone.
        self.way = way if want.product.spec.asynchronous else "verify"
        #: Nobody else sends this job.
        self.sole = True
        self.ticket: Ticket | None = None
        #: It exists and is not ours: only asked about from now on.
        self.foreign = False
        self.first_life: int | None = None
        #: "" while it goes on; then how it ended.
        self.end = ""
        #: When its Job objects were made, by their id, and the latest of them.
        self.born: dict[int, float] = {}
        #: When the latest of its requests came that may have been taken, and the latest of all.
        self.doubted_at: float | None = None
        self.asked_at: float | None = None
        #: How many were taken before that one.
        self.taken = 0
        #: How many memories have sent one: a ledger is one, without it each process is.
        self.memories = 0
        #: Until when its calls may send it; none: nobody knows.
        self.sends_until: list[float] = []
        #: Comes once this one's job is old.
        self.before: Errand | None = None
        #: The life in which its ticket was given.
        self.submitted_in = 0
        self._job: Job | None = None
        self._kept: list[Job] = []

    @property
    def asks_only(self) -> bool:
        """Whether whoever asks knows that the job may be another's."""
        return self.foreign

    def job(self) -> Job:
        """The job, mostly the same object as last time."""
        if self._job is None or self.world.weather.chance(0.3):
            self._job = self.want.job(self.user_id, self.job_id, self.person, self.path)
            self._kept.append(self._job)
            self.born[id(self._job)] = self.world.loop.now
        if self.first_life is None:
            self.first_life = self.place.life
        return self._job

    def new_life(self) -> None:
        """The process has begun anew: what was in memory is gone."""
        self._job = None
        if not self.place.ledger:
            self.doubted_at = self.asked_at = None

    @property
    def until(self) -> Until:
        """What is waited for."""
        return "final" if self.world.calm or self.world.weather.chance(0.5) else "decision"

    @property
    def patience(self) -> float:
        """Seconds."""
        return 200.0 if self.world.calm else self.world.weather.choice((1.0, 5.0, 30.0, 120.0))

    async def ask(self, session: SmileSession) -> None:
        """Ask until the last word has come, or the session is over."""
        weather = self.world.weather
        await asyncio.sleep(weather.uniform(0.0, 20.0))
        while self.before is not None and not (self.before.end or self.world.is_old(self.job_id)):
            await asyncio.sleep(1.0)
            if not session.host.open:
                return
        while not self.end:
            cut = weather.uniform(0.0, 15.0) if weather.strikes("callers are cancelled") else None
            with anyio.move_on_after(cut) as scope:
                await self._turn(session)
            if scope.cancelled_caught:
                self.world.tell(f"{self.place.name} {self.job_id[:8]}: the caller was cancelled")
            if not session.host.open:
                return
            if not self.end:
                await asyncio.sleep(weather.uniform(0.1, 30.0 if self.world.calm else 10.0))

    async def _turn(self, session: SmileSession) -> None:
        if self.foreign or (self.ticket is not None and not self.world.calls_again(self.ticket)):
            spec = self.want.product.spec
            ticket = self.ticket or Ticket(self.user_id, self.job_id, spec.job_type, product=self.want.product)
            if self.way == "follow":
                await self._called(session, "follow", self._follow(session, ticket), None)
            else:
                patience = self.patience
                await self._called(session, "wait", session.wait(ticket, self.until, patience), patience)
        elif self.way in ("submit", "follow"):
            job, patience = self.job(), self.patience
            ticket = await self._called(session, "submit", session.submit(job, patience), patience, job)
            if ticket is not None:
                self.ticket, self.submitted_in = ticket, self.place.life
        elif self.way == "double" and self.world.weather.strikes("double clicks"):
            job = self.job()
            both = (job, self.job() if self.world.weather.chance(0.5) else job)
            async with anyio.create_task_group() as tasks:
                for each in both:
                    tasks.start_soon(self._verify, session, each)
        else:
            await self._verify(session, self.job())

    async def _verify(self, session: SmileSession, job: Job) -> None:
        patience = self.patience
        await self._called(session, "verify", session.verify(job, self.until, patience), patience, job)

    async def _follow(self, session: SmileSession, ticket: Ticket) -> None:
        patience = self.patience
        async with session.follow(ticket, patience) as verdicts:
            async for verdict in verdicts:
                self.heard(verdict)

    async def _is_pending(self, session: SmileSession) -> None:
        """A job of which nobody can tell is among those that wait, in any weather in which the ledger can be read."""
        try:
            known = [ticket.job_id async for ticket in session.pending()]
        except SmileError:
            return
        if self.job_id not in known and not self.end:
            self.world.rules.broke(f"job {self.job_id[:8]} at {self.place.name} is unknown, and not pending")

    async def _called(
        self, session: SmileSession, what: str, call: Any, patience: float | None, job: Job | None = None
    ) -> Any:
        world, began = self.world, self.world.loop.now
        found, unknown = None, False
        until = began + (patience or 0.0)
        self.sends_until.append(until)
        try:
            found = await call
        except SmileError as error:
            self.failed(error, job, began)
            unknown = isinstance(error, SubmissionUnknown)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - only ours may come out
            world.rules.broke(f"{what} of job {self.job_id[:8]} raised {error!r}")
        finally:
            self.sends_until.remove(until)
        if patience is not None:
            world.rules.awaited(f"{what} of job {self.job_id[:8]} at {self.place.name}", began, patience)
        if isinstance(found, Verdict):
            self.heard(found)
        if unknown and self.place.ledger:
            await self._is_pending(session)
        return found

    def heard(self, verdict: Verdict) -> None:
        """A verdict has come."""
        self.world.tell(f"{self.place.name} {self.job_id[:8]}: {verdict.code} {verdict.decision}")
        self.world.rules.verdict(self, verdict, self.place.process)
        self.ticket = self.ticket or verdict.ticket
        if verdict.final:
            self.end = verdict.code

    def failed(self, error: SmileError, job: Job | None, began: float) -> None:
        """An error has come."""
        self.world.tell(f"{self.place.name} {self.job_id[:8]}: {type(error).__name__}: {error}")
        self.world.rules.error(self, self.place, error, job, began)
        if isinstance(error, Refused) and self.doubted_at is not None and self.doubted_at > began:
            # The answer to what was sent since has come after all.
            self.doubted_at = None
        if isinstance(error, JobExists):
            self.foreign = True
        if isinstance(error, self.world.keepers):
            self.ticket = error.ticket
        if self.world.calm:
            self.end = self._hopeless(error)

    def _hopeless(self, error: SmileError) -> str:
        """How it ends if nobody can ever bring it further, "" if somebody can."""
        if isinstance(error, InvalidJob) and not self.sole:
            return "refused"
        # Where it exists, a session may have heard of it by webhook, and tells whoever waits.
        untold = self.want.never_again and not self.world.can_tell(self) and not isinstance(error, JobExists)
        if untold and isinstance(error, self.world.untold):
            return "refused" if isinstance(error, Refused) else "unknown"
        if self.want.one_request or not self.foreign or self.world.may_land(self.job_id):
            return ""
        # It was reserved by a process that has forgotten it: nothing was accepted.
        return "stranded"

    def row(self, line: int) -> Row:
        """It, as a row of a manifest."""
        return self.want.row(line, self.user_id, self.job_id, self.person, self.path, self.card)

    def wrote_off(self, why: str) -> None:
        """A batch has it down as failed."""
        if not self.world.calm or self.end:
            return
        if why in (JobExists.__name__, Refused.__name__) and not self.sole:
            self.end = "refused"
        elif why == SubmissionUnknown.__name__ and self.want.never_again and not self.world.can_tell(self):
            self.end = "unknown"
        elif why == JobNotFound.__name__ and self.want.one_request and not self.world.can_tell(self):
            # Its reply bore no signature, and nothing else will ever confirm it.
            self.end = "unknown"

    def came(self, taken: int, *, doubtful: bool) -> None:
        """A request comes that is billed if it is taken, as *taken* were before; if *doubtful*, nobody will know."""
        now = self.world.loop.now
        self.memories += self.asked_at is None
        if self.asked_at is not None and taken > self.taken:
            self.doubted_at = self.asked_at
        if self.doubted_at is not None and self.sole:
            self.world.rules.repeated(self, self.doubted_at)
        self.asked_at, self.taken = now, taken
        self.doubted_at = now if doubtful else self.doubted_at


async def _source(weather: Weather, left: "list[Errand]", given: "dict[str, Errand]", *, dies: bool) -> Any:
    """The jobs of *left*, each noted as given."""
    for errand in left:
        await asyncio.sleep(weather.uniform(0.0, 1.0))
        if dies and weather.chance(0.4):
            raise weather.choice((RuntimeError, asyncio.CancelledError))("the source has died")
        given[errand.job_id] = errand
        yield errand.job()


async def stream_of(place: "Place", session: SmileSession, errands: list[Errand]) -> None:
    """Ask for all of *errands* through one stream after another."""
    world, weather = place.world, place.world.weather
    while (left := [errand for errand in errands if not errand.end and not errand.foreign]) and session.host.open:
        given: dict[str, Errand] = {}
        came: list[str] = []
        dies = weather.strikes("sources die")

        began = world.loop.now
        try:
            async with session.stream(
                _source(weather, left, given, dies=dies), left[0].until, left[0].patience
            ) as outcomes:
                async for outcome in outcomes:
                    errand = given[outcome.job.job_id]
                    came.append(errand.job_id)
                    if isinstance(outcome, Finished):
                        errand.heard(outcome.verdict)
                    else:
                        errand.failed(outcome.error, errand._job, began)
        except SmileError as error:
            if not isinstance(error, SessionClosed) or not (place.stopping or place.may_crash()):
                world.rules.broke(f"a stream at {place.name} ended with {error!r}")
        except BaseException as error:
            if is_ours(error):
                raise
            if not dies or str(error) != "the source has died":
                world.rules.broke(f"a stream at {place.name} raised {error!r}")
        if sorted(came) != sorted(set(came)):
            world.rules.broke(f"two outcomes for one job in a stream at {place.name}")
        if session.host.open and set(came) != set(given):
            world.rules.broke(f"a stream at {place.name} gave no outcome for {set(given) - set(came)}")
        await asyncio.sleep(weather.uniform(0.5, 10.0))
    for errand in errands:
        if errand.foreign and not errand.end:
            await errand.ask(session)
