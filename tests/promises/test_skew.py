"""A wrong local clock is corrected from the server's Date header, in one extra request (guarantee G9)."""

import time
from email.utils import formatdate

import pytest
from scripted import ScriptedSmile
from street import ENGINES, Pictures, session_of

from smile_async.errors import BadConfiguration, ForgedReply, StaleReply
from smile_async.sandbox import RunningSandbox
from smile_async.timing.clock import SystemClock
from smile_async.timing.server_clock import ServerClock

DAY = 86_400.0


class WrongClock(SystemClock):
    """The machine's clock, so many seconds off."""

    def __init__(self, off: float) -> None:
        self.off = off

    def time(self) -> float:
        return time.time() + self.off


@pytest.mark.parametrize("http", ENGINES)
@pytest.mark.parametrize("off", [DAY, -DAY, 600.0, -600.0])
async def test_a_clock_a_day_off_costs_one_request(
    http: str, off: float, running: RunningSandbox, pictures: Pictures
) -> None:
    """Signing and freshness follow the server's clock: one refused request, then everything works."""
    async with session_of(running, http=http, clock=WrongClock(off)) as session:
        jobs = [pictures.job() for _ in range(3)]
        for job in jobs:
            assert (await session.verify(job, patience=30)).approved
        assert session.stats.retries == 0
        served = sum(session._api.versions.values())
    polls = sum(running.sandbox.jobs[job.job_id].polls for job in jobs)
    assert served == len(jobs) + polls + 1
    assert all(running.sandbox.count(job.job_id) == 1 for job in jobs)


@pytest.mark.parametrize("off", [0.0, 4.0, -4.0])
async def test_a_clock_a_little_off_costs_none(off: float, running: RunningSandbox, pictures: Pictures) -> None:
    """A few seconds are within what a Date header can tell: nothing is learned, nothing is sent twice."""
    async with session_of(running, clock=WrongClock(off)) as session:
        job = pictures.job()
        assert (await session.verify(job, patience=30)).approved
        assert sum(session._api.versions.values()) == 1 + running.sandbox.jobs[job.job_id].polls
        assert session._driver.dialect.server_clock.skew == 0.0


async def test_a_clock_that_jumps_under_way_is_followed(running: RunningSandbox, pictures: Pictures) -> None:
    """NTP sets the clock by a day and back while the session lives: the next calls work all the same."""
    clock = WrongClock(0.0)
    async with session_of(running, clock=clock) as session:
        for off in (0.0, DAY, 0.0, -DAY, 0.0):
            clock.off = off
            assert (await session.verify(pictures.job(), patience=30)).approved


async def test_an_old_reply_is_stale_by_the_servers_clock(running: RunningSandbox, pictures: Pictures) -> None:
    """Freshness is judged by the corrected clock: a reply signed an hour ago is refused although our clock agrees."""
    running.sandbox.settings.latency = 30.0
    async with session_of(running, clock=WrongClock(-3600.0)) as session:
        ticket = await session.submit(pictures.job())

        def age(reply: dict[str, object]) -> None:
            reply["timestamp"] = then
            reply["signature"] = running.sandbox.keys.sign(then)

        then = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - 3600))
        running.sandbox.fault("job_status", tamper=age)
        with pytest.raises(StaleReply) as caught:
            await session.status(ticket)
        assert isinstance(caught.value, ForgedReply)
        assert not (await session.status(ticket)).complete


NONSENSE = ["Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 GMT"]


@pytest.mark.parametrize("date", NONSENSE)
async def test_a_date_of_another_age_is_not_believed(date: str, smile: ScriptedSmile, pictures: Pictures) -> None:
    """A reply from the year 9999, or from 1970, ends no signing and costs no request: the next job goes on."""
    smile.headers["Date"] = date
    async with session_of(smile) as session:
        for _ in range(2):
            assert (await session.verify(pictures.job(), patience=30)).approved
        assert session._driver.dialect.server_clock.skew == 0.0
        assert session.stats.retries == 0
    assert len(smile.asked["upload"]) == 2


@pytest.mark.parametrize(
    ("days", "heard"), [(1, True), (-1, True), (397, True), (-397, True), (399, False), (-399, False)]
)
def test_a_clock_is_corrected_by_a_year_at_most(days: int, heard: bool) -> None:
    """What a clock may be off while certificates still verify is corrected; a Date beyond that leaves what is known."""
    clock = ServerClock(SystemClock())
    for known in (0.0, 3600.0):
        clock.hear(formatdate(time.time() + known, usegmt=True))
        before = clock.skew
        clock.hear(formatdate(time.time() + days * DAY, usegmt=True))
        assert abs(clock.skew - (days * DAY if heard else before)) < 2


async def test_a_clock_that_no_calendar_has_is_named(smile: ScriptedSmile, pictures: Pictures) -> None:
    """A machine whose own clock can not be signed for is told so, by an error about the job, of which nothing left."""
    async with session_of(smile, clock=WrongClock(1e12)) as session:
        with pytest.raises(BadConfiguration, match="set this machine's clock") as caught:
            await session.verify(pictures.job(), patience=5)
    assert caught.value.job is not None
    assert (caught.value.ticket, caught.value.retryable) == (None, True)
    assert not smile.asked


async def test_a_date_without_a_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Date that ends in -0000 is the server's UTC, not this machine's local time."""
    monkeypatch.setenv("TZ", "Africa/Lagos")
    time.tzset()
    try:
        clock = ServerClock(SystemClock())
        clock.hear(time.strftime("%a, %d %b %Y %H:%M:%S -0000", time.gmtime()))
        assert clock.skew == 0.0
    finally:
        monkeypatch.undo()
        time.tzset()
