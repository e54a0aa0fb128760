"""A session that speaks V3, over real sockets to the sandbox: what each job comes to, and how it travels."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from street import ENGINES, Pictures
from v3_client_support import ME, Street, jobs_of, made_of, v3_session

from smile_async import Job, Limits
from smile_async.errors import StillPending, Unavailable
from smile_async.sandbox import RunningSandbox
from smile_async.sandbox.v3 import calls


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The HTTP version and path of each request that reaches the sandbox's V3."""
    seen: list[tuple[str, str]] = []
    read = calls.read_body

    async def noted(request: Request, most: int) -> bytes | None:
        seen.append((request.scope["http_version"], request.url.path))
        return await read(request, most)

    monkeypatch.setattr(calls, "read_body", noted)
    return seen


@pytest.mark.parametrize("http", ENGINES)
@pytest.mark.usefixtures("tidy")
async def test_each_product(http: str, running: RunningSandbox, pictures: Pictures, versions: Any) -> None:
    """Every product comes to its confirmed verdict, as one provider job that names ours, with one token for all;
    submissions go over HTTP/1.1, and everything else over HTTP/2.
    """
    async with v3_session(running, http=http) as session:
        for job in jobs_of(pictures, "kofi"):
            verdict = await session.verify(job)
            assert (verdict.code, verdict.approved, verdict.confirmed, verdict.final) == ("clear", True, True, True)
            (made,) = made_of(running.sandbox, job.job_id)
            assert (made.job_id, made.user_id) == (verdict.ticket.smile_job_id, "kofi")
            assert (verdict.ticket.job_id, verdict.ticket.api) == (job.job_id, "v3")
            assert (await session.status(verdict.ticket)).verdict is not None
        services = await session.catalogue.services()
        assert services.id_types
    assert running.sandbox.tokens.issued.total() == 1
    kinds = {(version, path.split("/")[2] in ("token", "status", "services")) for version, path in versions}
    assert kinds == {("1.1", False), ("2", True)}


OUTAGES: dict[str, Any] = {
    "502": httpx.Response(502),
    "503 with Retry-After": httpx.Response(503, headers={"Retry-After": "1"}),
    "refused": httpx.ConnectError("nobody listens"),
}


@pytest.mark.parametrize("answer", OUTAGES.values(), ids=OUTAGES.keys())
@pytest.mark.parametrize("seconds", [0.5, 30.0])
async def test_an_outage_of_tokens_fails_nobody(answer: Any, seconds: float) -> None:
    """While no token is to be had 60 jobs wait for one flight at a time, and all are approved once there is one."""
    street = Street()
    street.down(0.0, seconds, "/token", answer=answer)
    async with street.session() as session:
        verdicts = await asyncio.gather(*(session.verify(job) for job in street.jobs(60)))
        assert session._driver._budget.tokens > 300
    assert {verdict.code for verdict in verdicts} == {"clear"}
    assert len(street.sandbox.jobs) == 60
    assert street.sandbox.tokens.issued.total() == 1
    assert len(street.front.times("/token")) < 8 + seconds / 2


async def test_pictures_are_put_aside_while_no_token_comes(pictures: Pictures) -> None:
    """In an outage of tokens uploads give their places back after 5 s, and read their pictures again after it."""
    street = Street()
    street.down(0.0, 30.0, "/token")
    reads: Counter[str] = Counter()

    async def counted(work: Any, *args: Any) -> Any:
        reads[args[0].job_id] += 1
        return work(*args)

    faces: dict[str, Any] = {"liveness": pictures.liveness[:6], "person": ME}
    jobs = [Job.register(f"u{n}", pictures.selfie, job_id=f"j{n}", **faces) for n in range(30)]
    async with street.session(limits=Limits(uploads=8), in_thread=counted) as session:
        verifying = asyncio.gather(*(session.verify(job) for job in jobs))
        await street.clock.sleep(12.0)
        assert session.sender._places.value >= 7
        assert {verdict.code for verdict in await verifying} == {"clear"}
        assert session.sender._places.value == 8
    assert len(street.sandbox.jobs) == 30
    assert 30 < reads.total() <= 90


async def test_an_outage_of_tokens_that_outlasts_patience() -> None:
    """Each await is back within its patience, with an error that says what outage it was, nothing sent."""
    street = Street()
    street.down(0.0, float("inf"), "/token")
    async with street.session() as session:
        begun = street.clock.monotonic()
        ends = await asyncio.gather(
            *(session.verify(job, patience=20.0) for job in street.jobs(60)), return_exceptions=True
        )
        assert street.clock.monotonic() - begun <= 21.0
    for end in ends:
        assert isinstance(end, Unavailable)
        assert "an outage of smile id at sandbox.test" in str(end)
        assert (end.retryable, end.ticket) == (True, None)
    assert not street.sandbox.jobs
    assert {path for _, path in street.front.asked} == {"/token"}


async def test_an_answer_at_once_is_asked_for_only_by_who_can_wait_for_it() -> None:
    """Who would hang up on it before it can come has a ticket instead, by which he finds his job again."""
    street = Street()
    street.sandbox.script("u0", code="clear", after=20)
    async with street.session() as session:
        hasty, patient = street.jobs(2)
        with pytest.raises(StillPending) as caught:
            await session.verify(hasty, patience=5.0)
        assert caught.value.ticket is not None
        assert (await session.wait(caught.value.ticket)).approved
        assert (await session.verify(patient, patience=60.0)).source == "reply"
    assert [path for _, path in street.front.asked if "kyc" in path] == ["/enhanced_kyc", "/enhanced_kyc/sync"]
    assert len(street.sandbox.jobs) == 2
