"""An outage is one event: everybody waits, one request at a time tries again, and no job pays for it.

Most of it in virtual time, with the sandbox in process; the weather in front of it is a function of the moment.
"""

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import httpx
import orjson
import pytest
from street import ENGINES, QUICK, Pictures, session_of, until

from smile_async import Failed, Finished, Job, Limits, Pace, SmileSession
from smile_async.errors import SmileError, StillPending, Unavailable
from smile_async.sandbox import Sandbox
from smile_async.timing.virtual_clock import VirtualClock
from smile_async.traffic import origin, stream
from smile_async.traffic.payload import read

#: Seconds a request takes.
LATENCY = 0.02
BAD_GATEWAY = httpx.Response(502)


class Asked:
    """A request at the front: when it came, on which leg, and for whose job."""

    def __init__(self, at: float, request: httpx.Request, user_of: dict[str, str]) -> None:
        self.at = at
        self.leg = "put" if request.method == "PUT" else request.url.path.rsplit("/", 1)[-1]
        fields = {} if self.leg == "put" else orjson.loads(request.content)
        params = fields.get("partner_params", fields)
        self.job_id = params.get("job_id", "")
        self.user_id = params.get("user_id", "")


class Front(httpx.AsyncBaseTransport):
    """A gateway in front of the sandbox: `weather` answers in its stead, with a reply or an error, or lets pass."""

    def __init__(self, sandbox: Sandbox, clock: VirtualClock) -> None:
        self._inner = httpx.ASGITransport(sandbox.app)
        self._clock = clock
        self.weather: Callable[[Asked], httpx.Response | Exception | None] = lambda _asked: None
        self.asked: list[Asked] = []
        self.failed: list[Asked] = []
        self.busy = self.most_failing = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked = Asked(self._clock.monotonic(), request, {})
        self.asked.append(asked)
        self.busy += 1
        try:
            await self._clock.sleep(LATENCY)
            answer = self.weather(asked)
            if answer is None:
                with self._clock.hold():
                    return await self._inner.handle_async_request(request)
            self.failed.append(asked)
        finally:
            self.busy -= 1
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers)


class Street:
    """A sandbox behind a front, in virtual time."""

    def __init__(self, pictures: Pictures) -> None:
        self.clock = VirtualClock(horizon=3 * 86_400.0)
        self.sandbox = Sandbox(clock=self.clock, decode=False)
        self.sandbox.enroll("ada")
        self.front = Front(self.sandbox, self.clock)
        self.pictures = pictures
        self.reads: Counter[str] = Counter()

    def session(self, **settings: Any) -> SmileSession:
        """A session through the front."""
        account: dict[str, Any] = {"partner_id": self.sandbox.partner_id, "api_key": self.sandbox.api_key}
        told: dict[str, Any] = {
            "clock": self.clock,
            "pace": Pace.fixed(0.5, 1, 0.5),
            "in_thread": self._read,
            **settings,
        }
        return SmileSession(**account, base_url="https://sandbox.test/v1", http=self.front, **told)

    async def _read(self, work: Callable[..., Any], *args: Any) -> Any:
        assert work is read
        self.reads[args[0].job_id] += 1
        return work(*args)

    def jobs(self, number: int, user: str | None = None) -> Iterator[Job]:
        """Registrations of so many people, or authentications of one user."""
        for n in range(number):
            if user is None:
                yield Job.register(f"u{n}", self.pictures.selfie, job_id=f"j{n}")
            else:
                yield self.pictures.job(user, job_id=f"{user}-{n}")

    def down(self, begin: float, end: float, *legs: str, answer: Any = BAD_GATEWAY) -> None:
        """Let *legs*, or all, be answered like that from *begin* to *end*, seconds of the clock."""

        def weather(asked: Asked) -> httpx.Response | Exception | None:
            down = begin <= self.clock.monotonic() < end and (not legs or asked.leg in legs)
            return answer if down else None

        self.front.weather = weather

    def assert_one_each(self, number: int) -> None:
        """So many jobs at the provider's, and no zip was sent twice."""
        assert len(self.sandbox.jobs) == number
        assert all(job.submissions == 1 for job in self.sandbox.jobs.values())


@pytest.fixture
def street(pictures: Pictures) -> Street:
    """A street of one's own."""
    return Street(pictures)


async def all_of(session: SmileSession, jobs: Any, **more: Any) -> list[Finished | Failed]:
    """The outcomes of a stream."""
    async with session.stream(jobs, **more) as outcomes:
        return [outcome async for outcome in outcomes]


def assert_approved(outcomes: list[Finished | Failed]) -> None:
    """Every job was."""
    wrong = [outcome for outcome in outcomes if not (isinstance(outcome, Finished) and outcome.verdict.approved)]
    assert not wrong, f"{len(wrong)} of {len(outcomes)}: {wrong[0]!r}"


OUTAGES: dict[str, Any] = {
    "502": BAD_GATEWAY,
    "503": httpx.Response(503),
    "503 with Retry-After": httpx.Response(503, headers={"Retry-After": "1"}),
    "504": httpx.Response(504),
    "refused": httpx.ConnectError("nobody listens"),
}


#: Jobs of one stream.
MANY = 100


@pytest.fixture(scope="module")
def undisturbed(pictures: Pictures) -> Street:
    """A street on which as many jobs have come through without an outage."""

    async def stream() -> Street:
        street = Street(pictures)
        async with street.session() as session:
            assert_approved(await all_of(session, street.jobs(MANY)))
        return street

    return asyncio.run(stream())


@pytest.mark.parametrize(("name", "user"), [("502", "ada"), *((name, None) for name in OUTAGES)])
async def test_half_a_second_fails_nobody(
    name: str, user: str | None, street: Street, undisturbed: Street, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a second in which nobody is home, in the middle of a stream: all approved, one provider job each, no more
    than 1.2 times the undisturbed requests outside of it, a few dozen in it, and two lines in the log.
    """
    street.down(0.3, 0.8, answer=OUTAGES[name])
    async with street.session() as session:
        assert_approved(await all_of(session, street.jobs(MANY, user)))
        assert session._driver._budget.tokens > 300
    street.assert_one_each(MANY)
    assert len(street.front.asked) - len(street.front.failed) <= 1.2 * len(undisturbed.front.asked)
    assert 8 <= len(street.front.failed) < 300
    assert street.clock.monotonic() < undisturbed.clock.monotonic() + 3.0
    said = [record.getMessage() for record in caplog.records if " is away " in record.getMessage()]
    over = [record.getMessage() for record in caplog.records if " answers again after " in record.getMessage()]
    assert len(said) == len(over) in (1, 2)
    assert len({text.split(" is away")[0] for text in said}) == len(said)


async def test_a_stream_waits_and_its_source_is_left_alone(street: Street) -> None:
    """Through a minute of outage no job is pulled, one request in 5 s is sent to each server, and all are approved."""
    pulled: list[float] = []

    def source() -> Iterator[Job]:
        for job in street.jobs(240):
            pulled.append(street.clock.monotonic())
            yield job

    street.down(0.4, 60.4)
    async with street.session() as session:
        assert_approved(await all_of(session, source()))
        assert session.stats.failed == 0
    street.assert_one_each(240)
    assert not [at for at in pulled if 0.6 < at < 60.4]
    probes = sorted(asked.at for asked in street.front.failed if asked.at > 0.9)
    # The API's and the storage's.
    assert len(probes) < 50
    assert max(after - before for before, after in pairwise(probes)) <= 5.2
    assert {street.reads[f"j{n}"] for n in range(180, 240)} == {1}
    assert max(street.reads.values()) > 1


@pytest.mark.parametrize("answer", OUTAGES.values(), ids=OUTAGES.keys())
async def test_an_outage_before_the_first_answer(answer: Any, street: Street) -> None:
    """A session that begins in the middle of an outage waits for its end, and every job is approved."""
    street.down(0.0, 20.0, answer=answer)
    async with street.session() as session:
        assert_approved(await all_of(session, street.jobs(40)))
    street.assert_one_each(40)
    assert len(street.front.failed) < 40


async def test_an_outage_that_outlasts_everybody(street: Street) -> None:
    """Every await is back within its patience and a second, with an Unavailable that says that it was an outage."""
    ends: dict[str, tuple[float, SmileError]] = {}
    street.down(1.0, float("inf"))
    async with street.session() as session:
        ticket = await session.submit(street.pictures.job(), patience=5.0)
        await street.clock.sleep(1.0)

        async def timed(name: str, call: Any) -> None:
            begun = street.clock.monotonic()
            with pytest.raises(SmileError) as caught:
                await call
            ends[name] = street.clock.monotonic() - begun, caught.value

        async def streamed() -> None:
            outcomes = await all_of(session, street.jobs(30), patience=10.0)
            assert len(outcomes) == 30
            errors = [outcome.error for outcome in outcomes if isinstance(outcome, Failed)]
            assert all(isinstance(error, Unavailable) and "an outage of" in str(error) for error in errors)
            raise errors[-1]

        verifies = {f"verify {n}": session.verify(job, patience=20.0) for n, job in enumerate(street.jobs(40, "ada"))}
        submits = {f"submit {n}": session.submit(street.pictures.job(), patience=3.0) for n in range(5)}
        calls = {**verifies, **submits, "status": session.status(ticket), "wait": session.wait(ticket, patience=30.0)}
        await asyncio.gather(*(timed(name, call) for name, call in calls.items()), timed("stream", streamed()))
    # One by one, those that were not pulled while sixteen waited.
    bounds = {"verify": 20.0, "submit": 3.0, "status": 60.0, "wait": 30.0, "stream": 15 * stream.SUBMIT_SECONDS}
    for name, (took, error) in ends.items():
        kind = name.split()[0]
        assert took <= bounds[kind] + 1.0, name
        if kind == "wait":
            assert isinstance(error, StillPending)
        else:
            assert type(error) is Unavailable, name
            assert "an outage of smile id at sandbox.test" in str(error), name
            assert error.retryable, name
    assert len(ends) == 48


async def test_only_status_is_down(street: Street) -> None:
    """While /job_status alone fails, for minutes, jobs go on being accepted; then every verdict comes."""
    street.down(0.0, 300.0, "job_status")
    async with street.session(pace=Pace.fixed(5.0, 1, 5.0)) as session:
        begun = street.clock.monotonic()
        outcomes = asyncio.create_task(all_of(session, street.jobs(120), patience=3600.0))
        while session.stats.submitted < 120:
            await street.clock.sleep(0.5)
        assert street.clock.monotonic() - begun < 20.0
        assert_approved(await outcomes)
    street.assert_one_each(120)
    assert Counter(asked.leg for asked in street.front.asked)["upload"] == 120
    assert len(street.front.failed) < 10 * 120


async def test_only_upload_is_down(street: Street) -> None:
    """While /upload alone fails, verdicts of what was sent before go on coming, and nothing is lost."""
    street.down(0.4, 10.4, "upload")
    async with street.session(pace=Pace.fixed(2.0, 1, 2.0)) as session, session.stream(street.jobs(240)) as outcomes:
        ended = [(street.clock.monotonic(), outcome) async for outcome in outcomes]
    assert_approved([outcome for _, outcome in ended])
    street.assert_one_each(240)
    assert len([at for at, _ in ended if 0.9 < at < 9.4]) > 40
    assert len([asked for asked in street.front.failed if asked.at > 0.9]) < 20


async def test_only_the_storage_is_down(street: Street, pictures: Pictures) -> None:
    """While the storage fails, polls go on; uploads give their places back after 5 s, and read their pictures again."""
    async with street.session(limits=Limits(uploads=8)) as session:
        ticket = await session.submit(pictures.job())
        street.down(1.0, 31.0, "put")
        await street.clock.sleep(1.0)
        outcomes = asyncio.create_task(all_of(session, street.jobs(60)))
        await street.clock.sleep(origin.HOLD + 5.0)
        # A probe may be at it.
        assert session.sender._places.value >= 7
        assert (await session.status(ticket)).verdict is not None
        assert_approved(await outcomes)
    street.assert_one_each(61)
    assert max(street.reads.values()) > 1
    assert session.sender._places.value == 8


async def test_one_user_s_bad_luck_is_nobody_else_s(street: Street) -> None:
    """A gateway that fails one user's jobs for ever: they end as ever, the others' are approved as fast as ever."""
    street.front.weather = lambda asked: BAD_GATEWAY if asked.user_id == "eve" else None
    took: list[float] = []
    async with street.session() as session:
        jobs = [job for pair in zip(street.jobs(100), street.jobs(100, "eve"), strict=True) for job in pair]
        outcomes = await all_of(session, jobs)
        took.append(street.clock.monotonic())
        assert_approved([outcome for outcome in outcomes if outcome.job.user_id != "eve"])
        theirs = [outcome for outcome in outcomes if outcome.job.user_id == "eve"]
        assert all(isinstance(outcome, Failed) and isinstance(outcome.error, Unavailable) for outcome in theirs)
        assert not session.sender.outage
    assert took[0] < 30.0


async def test_a_flood_of_one_user_s_jobs_stops_nobody(street: Street) -> None:
    """Even where nobody else was answered before, who comes with a job goes ahead of the flood at once."""
    street.front.weather = lambda asked: BAD_GATEWAY if asked.user_id == "eve" else None
    async with street.session() as session:
        flood = [asyncio.create_task(session.submit(job, patience=60.0)) for job in street.jobs(100, "eve")]
        await street.clock.sleep(1.0)
        assert session.sender.outage
        begun = street.clock.monotonic()
        for n in range(3):
            assert (await session.verify(street.pictures.job(job_id=f"mine-{n}"), patience=20.0)).approved
        assert street.clock.monotonic() - begun < 5.0
        for end in await asyncio.gather(*flood, return_exceptions=True):
            assert isinstance(end, Unavailable)


async def test_one_user_s_outage_stops_no_stream(street: Street) -> None:
    """Whoever's jobs stand first in a stream and fail for ever, those behind them are sent at once."""
    street.front.weather = lambda asked: BAD_GATEWAY if asked.user_id == "eve" else None
    async with street.session() as session, session.stream([*street.jobs(40, "eve"), *street.jobs(60)]) as outcomes:
        ended = [(street.clock.monotonic(), outcome) async for outcome in outcomes]
    others = [(at, outcome) for at, outcome in ended if outcome.job.user_id != "eve"]
    assert_approved([outcome for _, outcome in others])
    assert max(at for at, _ in others) < 10.0


async def test_one_user_s_outage_takes_nobody_s_turn_to_be_asked_about(street: Street) -> None:
    """More queries of one user than may be under way fail for ever: the others' leave when they are due."""
    street.front.weather = lambda asked: BAD_GATEWAY if (asked.user_id, asked.leg) == ("eve", "job_status") else None
    street.sandbox.enroll("eve")
    async with street.session(limits=Limits(requests=20)) as session:
        flood = asyncio.create_task(all_of(session, street.jobs(60, "eve"), patience=120.0))
        await street.clock.sleep(10.0)
        for n in range(3):
            begun = street.clock.monotonic()
            assert (await session.verify(street.pictures.job(job_id=f"mine-{n}"), patience=20.0)).approved
            assert street.clock.monotonic() - begun < 5.0
        assert all(isinstance(outcome, Failed) for outcome in await flood)
        asked = Counter(asked.leg for asked in street.front.asked)
        assert session.stats.polls == asked["job_status"]


async def test_who_fails_for_ever_does_not_probe_for_all(street: Street) -> None:
    """After an outage of everybody's the others go on at once, though one user has many jobs that still fail."""
    street.front.weather = lambda asked: (
        BAD_GATEWAY if asked.user_id == "eve" or 1.0 <= street.clock.monotonic() < 5.0 else None
    )
    async with street.session() as session:
        await street.clock.sleep(0.9)
        flood = [asyncio.create_task(session.submit(job, patience=60.0)) for job in street.jobs(40, "eve")]
        await street.clock.sleep(0.2)
        verdicts = await asyncio.gather(*(session.verify(job, patience=60.0) for job in street.jobs(10)))
        assert all(verdict.approved for verdict in verdicts)
        assert street.clock.monotonic() < 15.0
        await asyncio.gather(*flood, return_exceptions=True)


@pytest.mark.parametrize("leg", ["put", "upload"])
async def test_who_needs_longer_than_a_probe_may_take(leg: str, street: Street) -> None:
    """A job that is to try again and whose pictures are read for six seconds first still finds out that it is over."""

    async def slow(work: Callable[..., Any], *args: Any) -> Any:
        await street.clock.sleep(6.0)
        return work(*args)

    street.down(0.0, 20.0, leg)
    async with street.session(in_thread=slow) as session:
        assert_approved(await all_of(session, street.jobs(40)))
    assert street.clock.monotonic() < 60.0
    street.assert_one_each(40)


async def test_a_stray_failure_does_not_end_another_leg_s_outage(
    street: Street, caplog: pytest.LogCaptureFixture
) -> None:
    """Uploads of which a few fail are no probes of a /job_status that is down: nobody rushes there."""
    uploads = iter(range(10_000))

    def weather(asked: Asked) -> httpx.Response | None:
        if asked.leg == "job_status":
            return BAD_GATEWAY if street.clock.monotonic() < 100.0 else None
        return BAD_GATEWAY if asked.leg == "upload" and next(uploads) % 20 == 19 else None

    street.front.weather = weather
    async with street.session(limits=Limits(jobs_per_second=4.0)) as session:
        assert_approved(await all_of(session, street.jobs(200), patience=600.0))
    assert caplog.text.count("is away") == 1
    assert len([asked for asked in street.front.failed if asked.leg == "job_status"]) < 60


async def test_the_server_s_wish_holds_in_an_outage(street: Street) -> None:
    """Breaker and limiter closed at once: while a Retry-After lasts nobody probes, and afterwards all is well."""
    street.down(1.0, 8.0, answer=httpx.Response(503, headers={"Retry-After": "10"}))
    async with street.session() as session:
        assert_approved(await all_of(session, street.jobs(100)))
    street.assert_one_each(100)
    api = [asked.at for asked in street.front.asked if asked.leg != "put"]
    assert not [at for at in api if 1.5 < at < 11.0]
    assert street.clock.monotonic() < 20.0


class Shifted:
    """The street's clock, as a machine has it whose wall clock is set back by a day at some moment."""

    def __init__(self, clock: VirtualClock, at: float) -> None:
        self._clock = clock
        self._at = at

    def time(self) -> float:
        return self._clock.time() - (86_400.0 if self._clock.monotonic() >= self._at else 0.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)


async def test_the_clock_is_set_back_in_an_outage(street: Street) -> None:
    """A wall clock that loses a day while everybody waits delays nothing, and costs a request or two."""
    street.down(1.0, 11.0)
    async with street.session(clock=Shifted(street.clock, 5.0)) as session:
        assert_approved(await all_of(session, street.jobs(100)))
    street.assert_one_each(100)
    assert street.clock.monotonic() < 25.0


@pytest.mark.parametrize("name", ["502", "refused"])
async def test_one_job_on_a_quiet_server(name: str, street: Street, caplog: pytest.LogCaptureFixture) -> None:
    """A lone job that fails is no outage: it ends after its three attempts, as ever."""
    street.down(0.0, 60.0, answer=OUTAGES[name])
    async with street.session() as session:
        with pytest.raises(Unavailable, match=r"HTTP 502|nobody listens") as caught:
            await session.verify(street.pictures.job())
        assert "outage" not in str(caught.value)
        assert not session.sender.outage
    assert len(street.front.asked) == 3
    assert street.clock.monotonic() < 1.0
    assert " is away " not in caplog.text


@pytest.mark.parametrize("leg", ["upload", "put"])
async def test_one_of_many_that_can_not_connect(leg: str, street: Street) -> None:
    """Where jobs are under way, one that meets a server whom nobody can reach pays for it with no attempt."""
    async with street.session(pace=Pace.fixed(10.0, 1, 10.0)) as session:
        others = asyncio.create_task(all_of(session, street.jobs(4)))
        await street.clock.sleep(1.0)
        street.down(1.0, 3.0, leg, answer=OUTAGES["refused"])
        assert (await session.verify(street.pictures.job())).approved
        assert_approved(await others)
        assert not session.sender.outage
        assert session._driver._budget.tokens == 500
    assert 4 < len(street.front.failed) < 40
    street.assert_one_each(5)


async def test_one_that_can_not_connect_where_others_can(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whom nobody serves, while others are served all the time, ends soon."""
    # How many of its attempts fall between two answers to others is otherwise a matter of luck.
    monkeypatch.setattr("smile_async.traffic.driver.random.random", lambda: 0.5)
    street.front.weather = lambda asked: OUTAGES["refused"] if asked.user_id == "eve" else None
    async with street.session() as session:
        others = asyncio.create_task(all_of(session, street.jobs(100)))
        with pytest.raises(Unavailable, match="nobody listens"):
            await session.verify(street.pictures.job("eve"))
        assert street.clock.monotonic() < 2.0
        assert_approved(await others)
    assert 3 <= len(street.front.failed) <= 6


@pytest.mark.parametrize("http", ENGINES)
async def test_half_a_second_of_502_over_real_sockets(
    http: str, pictures: Pictures, caplog: pytest.LogCaptureFixture
) -> None:
    """On every engine: 200 jobs of a stream through half a second of 502 on all legs, all approved, none sent twice."""
    caplog.set_level(logging.WARNING)
    async with Sandbox.serve(decode=False) as running, session_of(running, http=http, pace=QUICK) as session:
        sandbox = running.sandbox
        sandbox.enroll("ada")

        async def weather() -> None:
            await until(lambda: session.stats.submitted >= 50)
            for leg in ("upload", "put", "job_status"):
                sandbox.fault(leg, status=502, times=None)
            await asyncio.sleep(0.5)
            sandbox.mend()

        storm = asyncio.create_task(weather())
        begun = time.monotonic()
        assert_approved(await all_of(session, (pictures.job() for _ in range(200))))
        await storm
        assert time.monotonic() - begun < 60
        assert len(sandbox.jobs) == 200
        assert all(job.submissions == 1 for job in sandbox.jobs.values())
        assert " is away (HTTP 502)" in caplog.text


@asynccontextmanager
async def closed_port() -> AsyncIterator[int]:
    """A port on which nobody listens."""
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    yield port


@pytest.mark.parametrize("http", ENGINES)
async def test_nobody_listens(http: str, pictures: Pictures) -> None:
    """On every engine a refused connection says that nobody is home: a crowd waits out its patience, and says so."""
    async with Sandbox.serve() as running, closed_port() as port:
        told = {"http": http, "base_url": f"https://127.0.0.1:{port}/v1"}
        async with session_of(running, **told) as session:
            begun = time.monotonic()
            calls = (session.verify(pictures.job(), patience=1.5) for _ in range(12))
            for end in await asyncio.gather(*calls, return_exceptions=True):
                assert type(end) is Unavailable
                # On a loaded machine the last attempt may be cut short before it is refused.
                assert end.ticket is None or "no answer within" in str(end)
            assert time.monotonic() - begun < 4.0
            assert session.sender.outage
            with pytest.raises(Unavailable, match=re.escape("an outage of smile id at 127.0.0.1")):
                await session.verify(pictures.job(), patience=0.3)
