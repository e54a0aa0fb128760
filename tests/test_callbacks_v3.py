"""What a webhook of V3 may do: its headers are signed, its ids and its body are not."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from callback_support import SELDOM, URL, Ahead, post
from sandbox_support import sign

from smile_async import CallbackReceiver, Decision, Document, Job, Person, SmileSession, Ticket, Verdict
from smile_async.callbacks import PRODUCTION_ADDRESSES, PRODUCTION_ADDRESSES_V3, SANDBOX_ADDRESSES_V3
from smile_async.errors import (
    BadConfiguration,
    InvalidJob,
    JobExists,
    LedgerFailed,
    StillPending,
    SubmissionUnknown,
    UnreadableReply,
)
from smile_async.ledger import Ledger
from smile_async.sandbox import JobRecord, Sandbox
from smile_async.testing import LIVENESS, SELFIE_JPEG
from smile_async.timing.virtual_clock import VirtualClock

AMINA = Person("Amina Fatou", "Clearwater", "amina.clearwater@example.com")
TAKEN, KNOWN, NO_SUCH_JOB = (200, "taken"), (200, "known"), (404, "no such job")
NOT_SIGNED = (403, "not signed by smile id, or stale")


class Webhooks(httpx.AsyncBaseTransport):
    """Keeps what the sandbox would have posted, for the test to post it, or something like it."""

    def __init__(self) -> None:
        self.sent: list[httpx.Request] = []
        self.news = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        self.news.set()
        return httpx.Response(200)

    async def of(self, job: JobRecord, count: int = 1) -> httpx.Request:
        """The latest of this job, once so many have come."""
        while True:
            found = [request for request in self.sent if request.headers["job-id"] == job.job_id]
            if len(found) >= count:
                return found[-1]
            self.news.clear()
            await self.news.wait()


class Desk:
    """A sandbox, a V3 session on it that polls hardly ever, a receiver, and what the sandbox wants to post to it."""

    def __init__(self, sandbox: Sandbox, session: SmileSession, hooks: Webhooks) -> None:
        self.sandbox, self.session, self.hooks = sandbox, session, hooks
        self.heard: list[Verdict] = []
        self.receiver = CallbackReceiver(session, self.hear)

    async def hear(self, verdict: Verdict) -> None:
        self.heard.append(verdict)

    def job(self, job_id: str = "j1", *, code: str = "clear", after: float = 0.0, **parts: Any) -> Job:
        """A login of ada's that comes to *code*."""
        self.sandbox.enroll("ada")
        self.sandbox.script("ada", code=code, after=after)
        return Job.authenticate("ada", SELFIE_JPEG, liveness=LIVENESS, person=AMINA, job_id=job_id, **parts)

    async def lost(self, job_id: str = "j1", **script: Any) -> Ticket:
        """The ticket of a job whose 202 got lost."""
        job = self.job(job_id, **script)
        self.sandbox.fault("submit", effect=True, cut=True)
        with pytest.raises(SubmissionUnknown) as caught:
            await self.session.submit(job)
        assert (caught.value.retryable, self.of(job_id).submissions) == (False, 1)
        assert caught.value.ticket is not None
        assert (caught.value.ticket.smile_job_id, caught.value.ticket.api) == (None, "v3")
        return caught.value.ticket

    def of(self, job_id: str) -> JobRecord:
        """The provider's job of ours."""
        (found,) = (job for job in self.sandbox.jobs.values() if job.partner_params.get("smile_async_job") == job_id)
        return found

    async def post(self, request: httpx.Request, **changes: Any) -> tuple[int, str]:
        """Post what the sandbox sent, with other headers (names with _), a *body*, or another *query*."""
        body, query = changes.pop("body", None), changes.pop("query", request.url.query.decode())
        said = {name.replace("_", "-"): value for name, value in changes.items()}
        headers = {**request.headers, **said}
        headers.pop("content-length")
        content = request.content if body is None else json.dumps({**json.loads(request.content), **body}).encode()
        return await post(self.receiver, content, headers=headers, query=query)


@asynccontextmanager
async def desk_of(settings: dict[str, Any], sandbox: Sandbox, **options: Any) -> AsyncIterator[Desk]:
    """A desk whose session has these *options*."""
    hooks = Webhooks()
    async with (
        SmileSession(**{**settings, "callback_url": URL, "pace": SELDOM, **options}) as session,
        sandbox.sending_callbacks(hooks),
    ):
        yield Desk(sandbox, session, hooks)


@pytest.fixture
def smile_api() -> str:
    """All tests here speak V3."""
    return "v3"


@pytest.fixture
async def desk(
    smile_settings: dict[str, Any], smile_sandbox: Sandbox, smile_clock: VirtualClock
) -> AsyncIterator[Desk]:
    """The usual one."""
    async with desk_of(smile_settings, smile_sandbox) as desk:
        yield desk


async def test_a_true_webhook_is_confirmed_and_brings_its_reason(desk: Desk) -> None:
    """It wakes who waits; what status can not tell comes with it as claims, and the same bytes again are known."""
    ticket = await desk.session.submit(desk.job(code="block:spoof_detected", after=20))
    waiting = asyncio.create_task(desk.session.wait(ticket))
    hook = await desk.hooks.of(desk.of("j1"))
    assert [await desk.post(hook) for _ in range(2)] == [TAKEN, KNOWN]
    verdict = await waiting
    assert (verdict.decision, verdict.code, verdict.reason) == (Decision.REJECTED, "block", "spoof_detected")
    assert (verdict.confirmed, verdict.final, verdict.source) == (True, True, "callback")
    assert verdict.claims["antifraud"]["summary"] == {"fraud_detected": False}
    assert [(heard.code, heard.reason) for heard in desk.heard] == [("block", "spoof_detected")]
    assert "image_links" not in repr(verdict)


async def test_a_wrong_clock_costs_no_webhook(
    smile_settings: dict[str, Any], smile_sandbox: Sandbox, smile_clock: VirtualClock
) -> None:
    """A job whose answer was lost is never asked about: its webhook counts though the machine's clock was set since."""
    clock = Ahead(smile_clock)
    async with desk_of(smile_settings, smile_sandbox, clock=clock) as desk:
        waiting = asyncio.create_task(desk.session.wait(await desk.lost()))
        clock.skew = 86_400.0
        assert await desk.post(await desk.hooks.of(desk.of("j1"))) == TAKEN
        assert (await waiting).approved


async def test_a_reason_wanted_later_is_replayed(desk: Desk) -> None:
    """Who missed the webhook has it sent once more, to the job's own URL or to another one."""
    ticket = await desk.session.submit(desk.job(code="block:spoof_detected"))
    first = await desk.hooks.of(desk.of("j1"))
    assert (await desk.session.wait(ticket)).reason is None
    await desk.session.replay(ticket)
    again = await desk.hooks.of(desk.of("j1"), 2)
    assert again.url == first.url
    assert await desk.post(again) == TAKEN
    await desk.session.replay(ticket, "https://other.test/hook")
    assert str((await desk.hooks.of(desk.of("j1"), 3)).url) == "https://other.test/hook"
    with pytest.raises(InvalidJob, match="callback_url is not https"):
        await desk.session.replay(ticket, "http://other.test/hook")


async def test_a_lost_answer_is_completed_by_its_webhook(desk: Desk) -> None:
    """Whoever waits for the ticket of a SubmissionUnknown hears its verdict, and the job is never sent again."""
    ticket = await desk.lost()
    with pytest.raises(SubmissionUnknown):
        await desk.session.status(ticket)
    with pytest.raises(StillPending):
        await desk.session.wait(ticket, patience=60)
    with pytest.raises(SubmissionUnknown):
        await desk.session.verify(desk.job())
    waiting = asyncio.create_task(desk.session.wait(ticket, patience=600))
    assert await desk.post(await desk.hooks.of(desk.of("j1"))) == TAKEN
    verdict = await waiting
    assert (verdict.approved, verdict.ticket.smile_job_id) == (True, desk.of("j1").job_id)
    assert (await desk.session.verify(desk.job())).approved
    assert len(desk.sandbox.jobs) == 1
    assert [heard.approved for heard in desk.heard] == [True]


@pytest.mark.parametrize("remembers", [False, True])
async def test_a_webhook_that_is_faster_than_the_answer(
    remembers: bool, smile_settings: dict[str, Any], smile_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Where the answer is lost after the webhook has come, nothing is unknown."""
    ledger = tmp_path / "ledger.db" if remembers else None
    async with desk_of(smile_settings, smile_sandbox, ledger=ledger) as desk:
        job = desk.job(code="block")
        smile_sandbox.fault("submit", effect=True, cut=True, delay=0.3)
        submitting = asyncio.create_task(desk.session.verify(job))
        while not smile_sandbox.jobs:  # noqa: ASYNC110 - the sandbox tells nobody
            await asyncio.sleep(0.01)
        assert await desk.post(await desk.hooks.of(desk.of("j1"))) == TAKEN
        verdict = await submitting
        assert (verdict.code, verdict.ticket.smile_job_id) == ("block", desk.of("j1").job_id)
        assert (await desk.session.verify(job)).code == "block"
    assert len(smile_sandbox.jobs) == 1


async def test_a_webhook_that_goes_on_tells_the_jobs_name(desk: Desk) -> None:
    """A `processing` webhook is no verdict, but a ticket without TypeID can be asked about from then on."""
    ticket = await desk.lost(code="processing", after=0.0)
    waiting = asyncio.create_task(desk.session.wait(ticket, patience=200_000))
    assert await desk.post(await desk.hooks.of(desk.of("j1"))) == TAKEN
    desk.sandbox.review(desk.of("j1").job_id, "approve")
    assert (await waiting).approved
    assert desk.heard == []


async def test_processing_after_the_end_is_no_step_back(desk: Desk) -> None:
    """Webhooks come in any order."""
    await desk.session.submit(desk.job())
    hook = await desk.hooks.of(desk.of("j1"))
    assert await desk.post(hook) == TAKEN
    assert await desk.post(hook, body={"status": "processing"}) == TAKEN
    assert await desk.post(hook) == KNOWN
    assert [heard.code for heard in desk.heard] == ["clear"]


async def test_a_session_that_never_sent_it_completes_it_too(
    smile_settings: dict[str, Any], smile_sandbox: Sandbox, tmp_path: Path
) -> None:
    """After a restart the URL alone proves which job it was and when; a ledger lists it until its last word."""
    ledger = tmp_path / "ledger.db"
    async with desk_of(smile_settings, smile_sandbox, ledger=ledger) as desk:
        ticket = await desk.lost()
    async with desk_of(smile_settings, smile_sandbox, ledger=ledger) as later:
        assert [found async for found in later.session.pending()] == [ticket]
        assert await later.post(await desk.hooks.of(desk.of("j1"))) == TAKEN
        assert [heard.approved for heard in later.heard] == [True]
        assert [found async for found in later.session.pending()] == []
        assert (await later.session.verify(desk.job())).approved
        assert (await later.session.wait(ticket)).approved
    async with (
        desk_of(smile_settings, smile_sandbox, ledger=ledger) as last,
        last.session.follow(ticket, patience=10) as verdicts,
    ):
        assert [verdict.approved async for verdict in verdicts] == [True]
    base_url = smile_settings["base_url"].replace("/v3", "/v1")
    with pytest.raises(BadConfiguration, match="the ledger belongs to partner"):
        async with SmileSession(**{**smile_settings, "ledger": ledger, "api": "v1", "base_url": base_url}):
            pass
    assert len(smile_sandbox.jobs) == 1


# --- what an impostor may try who has seen one signature


async def test_another_body_under_a_seen_signature_is_not_believed(desk: Desk) -> None:
    """Status decides; what the body says besides counts only if it says the same word."""
    await desk.session.submit(desk.job(code="block:spoof_detected"))
    hook = await desk.hooks.of(desk.of("j1"))
    assert await desk.post(hook, body={"status": "clear", "reason": "document_expired"}) == TAKEN
    assert [(heard.approved, heard.code, heard.reason) for heard in desk.heard] == [(False, "block", None)]


async def test_a_webhook_of_another_job_is_dropped(desk: Desk) -> None:
    """The name of a job that was cleared does not fit the URL of one that was not, whether this has a name or none."""
    await desk.session.submit(desk.job("mine"))
    mine = await desk.hooks.of(desk.of("mine"))
    await desk.session.submit(desk.job("theirs", code="block"))
    theirs = await desk.hooks.of(desk.of("theirs"))
    lost = await desk.lost("lost", code="block")
    unknown = await desk.hooks.of(desk.of("lost"))
    for hook in (theirs, unknown):
        assert await desk.post(hook, job_id=desk.of("mine").job_id, body={"status": "clear"}) == NO_SUCH_JOB
    assert desk.heard == []
    with pytest.raises(StillPending):
        await desk.session.wait(lost, patience=60)
    assert await desk.post(mine, user_id="eve") == NO_SUCH_JOB


async def test_another_users_job_completes_nothing(desk: Desk) -> None:
    """Not even where the job's own URL has leaked, and nobody knows yet whose that other job is."""
    await desk.lost("lost", code="block")
    hook = await desk.hooks.of(desk.of("lost"))
    desk.sandbox.script("eve", code="clear")
    desk.sandbox.fault("submit", effect=True, cut=True)
    with pytest.raises(SubmissionUnknown):
        await desk.session.submit(Job.compare("eve", SELFIE_JPEG, SELFIE_JPEG, "ID_PHOTO", person=AMINA, job_id="hers"))
    named = {"job_id": desk.of("hers").job_id, "user_id": "eve", "body": {"status": "clear"}}
    assert await desk.post(hook, **named) == NO_SUCH_JOB
    assert desk.heard == []
    assert await desk.post(hook) == TAKEN
    assert [(heard.ticket.user_id, heard.code) for heard in desk.heard] == [("ada", "block")]


async def test_an_older_job_completes_nothing(
    smile_settings: dict[str, Any], smile_sandbox: Sandbox, smile_clock: VirtualClock
) -> None:
    """Of a job that was cleared before ours was sent nobody here knows the ticket, but its name tells its age."""
    async with desk_of(smile_settings, smile_sandbox) as earlier:
        await earlier.session.submit(earlier.job("older"))
    await smile_clock.sleep(5)
    async with desk_of(smile_settings, smile_sandbox) as desk:
        lost = await desk.lost("lost", code="block")
        hook = await desk.hooks.of(desk.of("lost"))
        assert await desk.post(hook, job_id=desk.of("older").job_id, body={"status": "clear"}) == NO_SUCH_JOB
        with pytest.raises(StillPending):
            await desk.session.wait(lost, patience=60)
        assert desk.heard == []


@pytest.mark.parametrize("change", ["no token", "another job", "another moment", "no query"])
async def test_only_the_jobs_own_url_completes_it(desk: Desk, change: str) -> None:
    """Without the token that only we and the provider know, nothing gives a ticket its name."""
    await desk.lost("lost")
    hook = await desk.hooks.of(desk.of("lost"))
    told = dict(parse_qsl(urlsplit(str(hook.url)).query))
    changes = {"no token": {"token": ""}, "another job": {"job": "j2"}, "another moment": {"at": "0"}}
    query = urlencode({**told, **changes[change]}) if change in changes else ""
    assert await desk.post(hook, query=query) == NO_SUCH_JOB
    assert await desk.post(hook) == TAKEN


async def test_status_of_another_user_completes_nothing(desk: Desk) -> None:
    """The job's name, though new and not bound, must be that of the same user's job."""
    await desk.lost("lost")
    hook = await desk.hooks.of(desk.of("lost"))
    desk.sandbox.fault("status", tamper=lambda said: said.update(user_id="eve"), times=None)
    assert await desk.post(hook) == NO_SUCH_JOB
    desk.sandbox.mend()
    assert await desk.post(hook) == TAKEN


async def test_signatures(desk: Desk) -> None:
    """Both forms of a partner id sign; another key, an old moment, no signature, or v1's in the body do not."""
    await desk.session.submit(desk.job())
    hook = await desk.hooks.of(desk.of("j1"))
    moment = hook.headers["response-timestamp"]
    key = desk.sandbox.api_key
    for partner_id in ("1", "001"):
        assert (await desk.post(hook, response_signature=sign(moment, partner_id, key)))[0] == 200
    for changes in (
        {"response_signature": sign(moment, "1", "another key")},
        {"response_signature": ""},
        {"response_timestamp": "2020-01-01T00:00:00.000Z"},
        {"response_signature": "", "body": {"signature": sign(moment, "1", key), "timestamp": moment}},
    ):
        assert await desk.post(hook, **changes) == NOT_SIGNED
    with pytest.raises(UnreadableReply, match="signed in its headers"):
        await desk.session.deliver(hook.content)


async def test_a_user_whom_no_header_can_name(desk: Desk) -> None:
    """A user_id beyond ASCII comes percent-encoded, and is the same user."""
    desk.sandbox.enroll("ad\u00e4")
    job = Job.authenticate("ad\u00e4", SELFIE_JPEG, liveness=LIVENESS, person=AMINA, job_id="j1")
    await desk.session.submit(job)
    hook = await desk.hooks.of(desk.of("j1"))
    assert hook.headers["user-id"] == "ad%C3%A4"
    assert await desk.post(hook) == TAKEN
    assert [heard.ticket.user_id for heard in desk.heard] == ["ad\u00e4"]


async def test_a_version_of_tomorrow_is_read(desk: Desk) -> None:
    """Api-Version is noted, not judged."""
    await desk.session.submit(desk.job())
    assert await desk.post(await desk.hooks.of(desk.of("j1")), api_version="9.0.0-beta") == TAKEN
    assert len(desk.heard) == 1


async def test_the_sender_has_its_answer_within_35_seconds(desk: Desk, smile_clock: VirtualClock) -> None:
    """Where status is down the provider is told to come back, before it counts us as silent, and is heard then."""
    await desk.lost("lost")
    hook = await desk.hooks.of(desk.of("lost"))
    desk.sandbox.fault("status", status=500, times=None)
    begun = smile_clock.monotonic()
    assert (await desk.post(hook))[0] == 503
    assert smile_clock.monotonic() - begun < 35
    desk.sandbox.mend()
    assert await desk.post(hook) == TAKEN


async def test_a_receiver_may_want_the_token_of_every_job(desk: Desk) -> None:
    """require_token: URLs of ours alone, made by the session or by url_for."""
    strict = CallbackReceiver(desk.session, desk.hear, require_token=True)
    own = strict.url_for("https://app.test/own?a=b", "j2")
    for job_id, url in (("j1", None), ("j2", own)):
        await desk.session.submit(desk.job(job_id, callback_url=url))
        hook = await desk.hooks.of(desk.of(job_id))
        headers, query = {**hook.headers, "content-length": ""}, hook.url.query.decode()
        assert (await post(strict, hook.content, headers=headers))[0] == 403
        assert await post(strict, hook.content, headers=headers, query=query) == TAKEN
    assert own.startswith("https://app.test/own?a=b&job=j2&at=")


async def test_a_job_of_another_process_is_not_handed_on(desk: Desk, smile_settings: dict[str, Any]) -> None:
    """A session that knows a job by its webhook alone does not know whose pictures it was: nobody inherits it."""
    async with SmileSession(**{**smile_settings, "callback_url": URL}) as elsewhere:
        await elsewhere.submit(desk.job())
    assert await desk.post(await desk.hooks.of(desk.of("j1"))) == TAKEN
    with pytest.raises(JobExists):
        await desk.session.verify(desk.job())
    assert len(desk.sandbox.jobs) == 1
    assert (await desk.session.wait(desk.job().ticket)).approved


async def test_two_tickets_do_not_get_one_name_at_once(desk: Desk) -> None:
    """While status is asked for one ticket the job may be given to another: then it is no longer to be had."""
    await desk.lost("one", code="block")
    await desk.lost("two")
    one, two = [await desk.hooks.of(desk.of(name)) for name in ("one", "two")]
    desk.sandbox.fault("status", delay=0.05, times=None)
    both = desk.post(two), desk.post(one, job_id=two.headers["job-id"], body={"status": "clear"})
    assert [*await asyncio.gather(*both)] == [TAKEN, NO_SUCH_JOB]
    assert [heard.ticket.job_id for heard in desk.heard] == ["two"]


async def test_a_name_that_is_waited_for_is_given_to_no_other(
    desk: Desk, smile_settings: dict[str, Any], smile_clock: VirtualClock
) -> None:
    """A ticket from elsewhere, which is only waited for here, has its job all the same."""
    await desk.lost("lost", code="block")
    async with SmileSession(**{**smile_settings, "callback_url": URL}) as elsewhere:
        other = await elsewhere.submit(desk.job("other", after=50))
    waiting = asyncio.create_task(desk.session.wait(other, patience=200_000))
    await smile_clock.sleep(1)
    hook, theirs = await desk.hooks.of(desk.of("lost")), desk.of("other").job_id
    assert await desk.post(hook, job_id=theirs, body={"status": "clear"}) == NO_SUCH_JOB
    assert (await waiting).approved
    assert desk.heard == []


async def test_a_url_that_leaked_causes_few_queries(desk: Desk) -> None:
    """Whoever has a signature and one job's URL asks about as many jobs as he likes, but not at our expense."""
    await desk.lost("lost")
    hook = await desk.hooks.of(desk.of("lost"))
    asked = len([entry for entry in desk.sandbox.log if entry.leg == "status"])
    named = [f"job_01h8x9y2z3a4b5c6d7e8f9{n:04}" for n in range(50)]
    answers = [await desk.post(hook, job_id=name) for name in named]
    assert len([entry for entry in desk.sandbox.log if entry.leg == "status"]) - asked <= 6
    assert answers[-1] == (503, "try again")


async def test_a_job_is_replayed_by_its_own_name(desk: Desk) -> None:
    """The ticket that a job has from birth is enough for the session that sent it, as it is for `wait`."""
    job = desk.job()
    await desk.session.submit(job)
    await desk.hooks.of(desk.of("j1"))
    await desk.session.replay(job.ticket)
    assert await desk.post(await desk.hooks.of(desk.of("j1"), 2)) == TAKEN


async def test_the_verdict_of_one_product_is_not_that_of_another(desk: Desk) -> None:
    """A document that was looked at was not looked up, though the pictures are the same; whether a 202 came or not."""
    about: dict[str, Any] = {"liveness": LIVENESS, "person": AMINA}
    looked_at, looked_up = (
        partial(make, "ada", SELFIE_JPEG, Document("NG", SELFIE_JPEG, id_type="PASSPORT"), **about)
        for make in (Job.document_verification, Job.enhanced_document_verification)
    )
    assert (await desk.session.verify(looked_at(job_id="j1"), patience=200_000)).approved
    desk.sandbox.fault("submit", effect=True, cut=True)
    with pytest.raises(SubmissionUnknown):
        await desk.session.submit(looked_at(job_id="j2"))
    assert await desk.post(await desk.hooks.of(desk.of("j2"))) == TAKEN
    for job_id in ("j1", "j2"):
        with pytest.raises(JobExists):
            await desk.session.verify(looked_up(job_id=job_id))
        assert (await desk.session.verify(looked_at(job_id=job_id))).approved
    assert len(desk.sandbox.jobs) == 2


async def test_a_name_is_on_record_before_its_sender_is_answered(
    smile_settings: dict[str, Any], smile_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said once: a process that dies after the answer must find it in its ledger, so 200 waits for that."""
    flush, failing = Ledger.flush, [True]

    async def flushed(ledger: Ledger) -> None:
        await flush(ledger)
        if failing:
            raise LedgerFailed("the disk is full", retryable=bool(failing.pop()))

    async with desk_of(smile_settings, smile_sandbox, ledger=tmp_path / "ledger.db") as desk:
        await desk.lost()
        hook = await desk.hooks.of(desk.of("j1"))
        monkeypatch.setattr(Ledger, "flush", flushed)
        assert await desk.post(hook) == (503, "try again")
        assert await desk.post(hook) == TAKEN
        assert [heard.approved for heard in desk.heard] == [True]


async def test_v3_comes_from_addresses_of_its_own(desk: Desk) -> None:
    """What production and the sandbox send from is let in by their own lists, and by no other."""
    await desk.session.submit(desk.job())
    hook = await desk.hooks.of(desk.of("j1"))
    lists = (PRODUCTION_ADDRESSES_V3, SANDBOX_ADDRESSES_V3, PRODUCTION_ADDRESSES)
    wanted = {"13.51.0.119": [200, 403, 403], "16.170.104.93": [403, 200, 403], "44.230.128.108": [403, 403, 200]}
    receivers = [CallbackReceiver(desk.session, allow_from=addresses) for addresses in lists]
    told = {"headers": {**hook.headers, "content-length": ""}, "query": hook.url.query.decode()}
    for address, statuses in wanted.items():
        found = [(await post(each, hook.content, client=(address, 443), **told))[0] for each in receivers]
        assert found == statuses
