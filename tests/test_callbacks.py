"""What an attacker, a clumsy sender or bad luck can do to a callback receiver, and what comes of it."""

import asyncio
import gzip
import json
import logging
import math
import subprocess
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from callback_support import FIXED, SELDOM, URL, Ahead, Desk, Tapped, post
from crash_support import python
from street import session_of

from smile_async import CallbackReceiver, Decision, Job, SmileSession, Verdict, verify_callback
from smile_async.callbacks import PRODUCTION_ADDRESSES, receiver
from smile_async.errors import BadConfiguration, ForgedReply, SmileError, StaleReply, UnreadableReply
from smile_async.sandbox import RunningSandbox, Sandbox
from smile_async.testing import SELFIE, callback_body
from smile_async.timing.virtual_clock import VirtualClock

Build = Callable[..., bytes]
NOT_SIGNED = (403, "not signed by smile id, or stale")
UNREADABLE = (400, "unreadable")
TAKEN, KNOWN = (200, "taken"), (200, "known")


@pytest.fixture
def desk(smile_sandbox: Sandbox, smile_session: SmileSession, smile_clock: VirtualClock) -> Desk:
    """A desk with the usual receiver."""
    return Desk(smile_sandbox, smile_session, smile_clock)


@pytest.fixture
def build(smile_callback: Build) -> Build:
    """Makes signed callbacks of ada's job j1."""

    def built(**overrides: Any) -> bytes:
        return smile_callback(**({"user_id": "ada", "job_id": "j1"} | overrides))

    return built


@pytest.fixture
async def seldom(
    smile_settings: dict[str, Any], smile_sandbox: Sandbox, smile_clock: VirtualClock
) -> AsyncIterator[Desk]:
    """A desk whose session polls so seldom that only a callback can have woken anybody."""
    async with SmileSession(**{**smile_settings, "pace": SELDOM}) as session:
        yield Desk(smile_sandbox, session, smile_clock)


# --- what is believed


async def test_a_true_callback_is_confirmed_and_handed_on(desk: Desk, build: Build) -> None:
    """A genuine callback is answered 200, and the handler gets the status reply's verdict, marked as a callback's."""
    await desk.submit()
    assert await post(desk.receiver, build()) == TAKEN
    (verdict,) = desk.heard
    assert (verdict.approved, verdict.confirmed, verdict.source, verdict.ticket.job_type) == (True, True, "callback", 2)
    assert desk.queries() == 1


async def test_a_replay_within_the_window_is_known(desk: Desk, build: Build) -> None:
    """The same bytes again are answered 200, ask nobody and reach no handler."""
    await desk.submit()
    body = build()
    assert [await post(desk.receiver, body) for _ in range(3)] == [TAKEN, KNOWN, KNOWN]
    assert (len(desk.heard), desk.queries()) == (1, 1)


async def test_a_replay_after_the_window_is_stale(desk: Desk, build: Build) -> None:
    """A signature is good for 300 seconds, and no longer."""
    await desk.submit()
    body = build()
    await desk.clock.sleep(299)
    assert await post(desk.receiver, body) == TAKEN
    await desk.clock.sleep(2)
    assert await post(desk.receiver, body) == NOT_SIGNED


@pytest.mark.parametrize("ahead", [86_400.0, -86_400.0])
async def test_a_wrong_clock_costs_no_callback(
    ahead: float, smile_settings: dict[str, Any], smile_sandbox: Sandbox, smile_clock: VirtualClock, build: Build
) -> None:
    """Where the machine's clock is set and nothing has been asked since, the server is asked what time it is, once."""
    clock = Ahead(smile_clock)
    async with SmileSession(**{**smile_settings, "pace": SELDOM, "clock": clock}) as session:
        desk = Desk(smile_sandbox, session, smile_clock)
        await desk.submit()
        clock.skew = ahead
        assert await post(desk.receiver, build()) == TAKEN
        old = build(timestamp=smile_clock.time() - 301)
        assert [await post(desk.receiver, old) for _ in range(3)] == [NOT_SIGNED] * 3
    assert [verdict.code for verdict in desk.heard] == ["0820"]


async def test_one_signature_on_two_jobs_is_no_forgery(desk: Desk, build: Build) -> None:
    """Two jobs decided in the same millisecond share a signature: both are confirmed, none is refused or lost."""
    await desk.submit("j1", code="0820")
    await desk.submit("j2", code="0821")
    bodies = build(job_id="j1"), build(job_id="j2", code="0821")
    assert [await post(desk.receiver, body) for body in bodies] == [TAKEN, TAKEN]
    assert [(verdict.ticket.job_id, verdict.code) for verdict in desk.heard] == [("j1", "0820"), ("j2", "0821")]


async def test_our_own_signature_reflected_is_refused(
    smile_settings: dict[str, Any], smile_sandbox: Sandbox, smile_clock: VirtualClock, build: Build
) -> None:
    """Whoever has seen one of our requests can not send it back as a verdict."""
    tapped = Tapped(smile_settings["http"])
    async with SmileSession(**{**smile_settings, "http": tapped}) as session:
        desk = Desk(smile_sandbox, session, smile_clock)
        ticket = await desk.submit(code="0821")
        await session.status(ticket)
        assert len(tapped.stamps) == 2
        for stamp in tapped.stamps:
            assert await post(desk.receiver, build(timestamp=stamp)) == NOT_SIGNED
    assert desk.heard == []


FORGED: dict[str, dict[str, Any]] = {
    "another partner's": {"partner_id": "002"},
    "another key's": {"api_key": "not-the-key"},
    "no signature": {"signature": None},
    "an empty signature": {"signature": ""},
    "no timestamp": {"timestamp": "2026-01-02T03:04:05.678Z", "signature": "x"},
    "unicode": {"signature": "sígnáturé-✓-\u0000"},
    "overlong": {"signature": "A" * 1_000_000},
    "hexadecimal": {"signature": "0" * 64},
    "a number": {"signature": 12},
}
STALE = {
    "too old": lambda now: now - 301,
    "in the future": lambda now: now + 301,
    "without a zone": lambda _now: "2026-01-02T03:04:05.678",
    "10,000 years on": lambda _now: "12026-01-02T03:04:05.678Z",
    "the last second there is": lambda _now: "9999-12-31T23:59:59.999-23:59",
    "epoch milliseconds": lambda now: str(int(now * 1000)),
    "no time at all": lambda _now: "soon",
}


@pytest.mark.parametrize("how", FORGED)
async def test_what_is_not_signed_by_smile_id_is_refused(desk: Desk, build: Build, how: str) -> None:
    """A signature of anybody else, or of any other shape, is refused, by the receiver and by verify_callback alike."""
    await desk.submit()
    body = build(**FORGED[how])
    assert await post(desk.receiver, body) == NOT_SIGNED
    with pytest.raises(ForgedReply):
        verify_callback(body, partner_id="001", api_key=desk.sandbox.api_key, now=desk.clock.time())
    assert desk.queries() == 0


@pytest.mark.parametrize("when", STALE)
async def test_what_was_not_signed_just_now_is_refused(desk: Desk, build: Build, when: str) -> None:
    """A genuine signature for any moment but the present one is refused, whatever the moment looks like."""
    await desk.submit()
    body = build(timestamp=STALE[when](desk.clock.time()))
    assert await post(desk.receiver, body) == NOT_SIGNED
    with pytest.raises(StaleReply):
        verify_callback(body, partner_id="001", api_key=desk.sandbox.api_key, now=desk.clock.time())


async def test_a_previous_key_is_still_believed(
    smile_settings: dict[str, Any], smile_sandbox: Sandbox, smile_clock: VirtualClock, build: Build
) -> None:
    """While a key is rotated, callbacks signed with the one before are taken; with any other they are not."""
    async with SmileSession(**smile_settings, previous_api_keys=["the-key-before"]) as session:
        desk = Desk(smile_sandbox, session, smile_clock)
        await desk.submit()
        assert await post(desk.receiver, build(api_key="the-key-before-that")) == NOT_SIGNED
        assert await post(desk.receiver, build(api_key="the-key-before")) == TAKEN
    assert desk.codes == ["0820"]


UNREADABLES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "nested": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "NaN": b'{"ConfidenceValue": NaN}',
    "infinite": b'{"ConfidenceValue": 1e999}',
    "half a surrogate": b'{"signature": "\\ud800"}',
    "not UTF-8": b'{"signature": "\xff"}',
    "a tree for a text": b'{"ResultText": {"a": [1]}}',
}


@pytest.mark.parametrize("what", UNREADABLES)
async def test_what_can_not_be_read_is_refused(desk: Desk, what: str) -> None:
    """Broken, nested or impossible JSON is refused by a fixed answer and a SmileError, never by a crash."""
    status, _ = await post(desk.receiver, UNREADABLES[what])
    assert status in (400, 403)
    with pytest.raises((UnreadableReply, ForgedReply)):
        verify_callback(UNREADABLES[what], partner_id="001", api_key="key")


@pytest.mark.parametrize(
    "wrong",
    [
        {"ResultCode": None},
        {"PartnerParams": "ada"},
        {"PartnerParams": {"user_id": "ada", "job_id": "j1"}},
        {"PartnerParams": {"user_id": "ada", "job_id": "j" * 256, "job_type": "2"}},
        {"PartnerParams": {"user_id": "ada", "job_id": "j1\nWARNING all is well", "job_type": "2"}},
        {"PartnerParams": {"user_id": "", "job_id": "j1", "job_type": "2"}},
        {"ResultCode": "0" * 256},
        {"SmileJobID": "7" * 100_000},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_a_signed_body_still_has_to_make_sense(desk: Desk, build: Build, wrong: dict[str, Any]) -> None:
    """A valid signature lets no text of any length or with line breaks into logs and memory."""
    await desk.submit()
    assert await post(desk.receiver, build(**wrong)) == UNREADABLE
    assert desk.queries() == 0


async def test_unknown_fields_are_no_reason_to_refuse(desk: Desk, build: Build) -> None:
    """Smile ID may add fields, and send codes as numbers."""
    await desk.submit()
    assert await post(desk.receiver, build(ResultCode=820, NewIn2031={"a": [None]})) == TAKEN
    assert desk.codes == ["0820"]


# --- size, speed and manners


async def test_a_body_of_two_megabytes_is_read_and_not_a_byte_more(desk: Desk, build: Build) -> None:
    """2,000,000 bytes, such as a record with a photo, are taken; one more is refused, announced or while it is read."""
    await desk.submit()
    padding = 2_000_000 - len(build(pad=""))
    body = build(pad="x" * padding)
    assert len(body) == 2_000_000
    assert await post(desk.receiver, body, headers={"content-length": str(len(body))}) == TAKEN
    announced = partial(post, desk.receiver, ends=False)
    assert await announced(headers={"content-length": "2000001"}) == (413, "too large")
    assert await announced(headers={"content-length": "9" * 5000}) == (413, "too large")
    assert await post(desk.receiver, body, b"x", ends=False) == (413, "too large")


async def test_a_sender_that_dawdles_is_let_go(desk: Desk, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that never ends its body is answered 408 after BODY_SECONDS, and its place is free again."""
    monkeypatch.setattr(receiver, "BODY_SECONDS", 0.01)
    monkeypatch.setattr(receiver, "AT_ONCE", 1)
    await desk.submit()
    assert await post(desk.receiver, b"{", b" ", ends=False) == (408, "too slow")
    assert await post(desk.receiver, build()) == TAKEN


async def test_a_sender_that_goes_away_leaves_what_came(desk: Desk, build: Build) -> None:
    """Half a body is unreadable, not an error of ours."""
    body = build()
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [], "client": None}
    inbox = [{"type": "http.request", "body": body[:20], "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return inbox.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await desk.receiver(scope, receive, send)
    assert sent[0]["status"] == 400


async def test_too_many_at_once_are_told_to_come_back(
    desk: Desk, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond AT_ONCE bodies under way the answer is 503, so that memory stays bounded."""
    monkeypatch.setattr(receiver, "BODY_SECONDS", 0.02)
    monkeypatch.setattr(receiver, "AT_ONCE", 2)
    slow = [partial(post, desk.receiver, b"{", ends=False) for _ in range(2)]
    first, second, third = await asyncio.gather(*(call() for call in slow), post(desk.receiver, build()))
    assert (first, second, third) == ((408, "too slow"), (408, "too slow"), (503, "busy"))


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ({"method": "GET"}, (405, "post only")),
        ({"method": "PUT"}, (405, "post only")),
        ({"headers": {"content-type": "text/html"}}, (415, "json only")),
        ({"headers": {"content-type": "multipart/form-data; boundary=x"}}, (415, "json only")),
        ({"headers": {"content-encoding": "gzip"}}, (415, "no content-encoding")),
    ],
    ids=str,
)
async def test_manners(desk: Desk, build: Build, request_: dict[str, Any], answer: tuple[int, str]) -> None:
    """Only POST, only JSON, and nothing that would have to be unpacked first."""
    await desk.submit()
    assert await post(desk.receiver, build(), **request_) == answer
    assert desk.heard == []


async def test_a_bomb_is_not_unpacked(desk: Desk, build: Build) -> None:
    """A gzipped body is refused by its header, and without the header it is no JSON."""
    bomb = gzip.compress(build(pad="x" * 10_000_000))
    assert len(bomb) < 20_000
    assert await post(desk.receiver, bomb, headers={"content-encoding": "GZip"}) == (415, "no content-encoding")
    assert await post(desk.receiver, bomb) == UNREADABLE


async def test_content_type_may_have_parameters_or_be_missing(desk: Desk, build: Build) -> None:
    """`application/json; charset=utf-8` is JSON, and so is what says nothing."""
    await desk.submit()
    kinds = ("Application/JSON; charset=utf-8", "")
    answers = [await post(desk.receiver, build(), headers={"content-type": kind}) for kind in kinds]
    assert answers == [TAKEN, KNOWN]


async def test_other_protocols() -> None:
    """Lifespan is acknowledged, since a server may insist on it; anything else but HTTP is ignored."""
    receiver = CallbackReceiver(SmileSession("001", "key"))
    inbox = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return inbox.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await receiver({"type": "lifespan"}, receive, send)
    await receiver({"type": "websocket"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_receiver_works_only_while_its_session_does(
    smile_settings: dict[str, Any], smile_sandbox: Sandbox, smile_clock: VirtualClock, build: Build
) -> None:
    """It may be built before the session is entered: until then, and afterwards, the sender is told to come back."""
    session = SmileSession(**smile_settings)
    desk = Desk(smile_sandbox, session, smile_clock)
    assert await post(desk.receiver, build()) == (503, "not ready")
    async with session:
        await desk.submit()
        assert await post(desk.receiver, build()) == TAKEN
    assert await post(desk.receiver, build(job_id="j2")) == (503, "not ready")


# --- where it comes from


async def test_a_token_is_required_where_asked_for(
    smile_settings: dict[str, Any], smile_sandbox: Sandbox, smile_clock: VirtualClock, build: Build
) -> None:
    """With require_token only the URL made for this very job is taken, with the present or the previous key."""
    old = SmileSession("001", "the-key-before")
    async with SmileSession(**smile_settings, previous_api_keys=["the-key-before"]) as session:
        desk = Desk(smile_sandbox, session, smile_clock, require_token=True)
        await desk.submit()
        url = httpx.URL(desk.receiver.url_for(URL, "j1"))
        others = httpx.URL(desk.receiver.url_for(URL, "j2")).query.decode()
        before = httpx.URL(CallbackReceiver(old).url_for(URL, "j1")).query.decode()
        for query in ("", "token=", "token=%FF%E2%9C%93", others, url.query.decode()[:-1]):
            assert await post(desk.receiver, build(), query=query) == (403, "no token of this job")
        assert await post(desk.receiver, build(), query=before) == TAKEN
        assert await post(desk.receiver, build(code="0821"), query=f"a=1&{url.query.decode()}") == TAKEN


def test_url_for_keeps_the_rest_of_the_url() -> None:
    """The token is added to whatever query the URL has, is not the job's id, and depends on the key."""
    receivers = [CallbackReceiver(SmileSession("001", key)) for key in ("key", "other")]
    urls = [httpx.URL(receiver.url_for(f"{URL}?tenant=7", "j1")) for receiver in receivers]
    tokens = [url.params["token"] for url in urls]
    assert urls[0].params["tenant"] == "7"
    assert len(set(tokens)) == 2
    assert all(len(token) == 32 for token in tokens)


@pytest.mark.parametrize(
    ("client", "status"),
    [
        (("34.240.137.52", 443), 200),
        (("::ffff:34.240.137.52", 443), 200),
        (("10.1.2.3", 9), 200),
        (("34.240.137.53", 443), 403),
        (("::1", 443), 403),
        (("testclient", 50000), 403),
        (None, 403),
    ],
)
async def test_allowed_addresses(
    smile_sandbox: Sandbox,
    smile_session: SmileSession,
    smile_clock: VirtualClock,
    build: Build,
    client: Any,
    status: int,
) -> None:
    """With allow_from only those addresses and networks get in, as IPv4 or as IPv6 spells it; who has none does not."""
    desk = Desk(smile_sandbox, smile_session, smile_clock, allow_from=[*PRODUCTION_ADDRESSES, "10.0.0.0/8"])
    await desk.submit()
    assert (await post(desk.receiver, build(), client=client))[0] == status


@pytest.mark.parametrize("wrong", [["smile.example"], "10.0.0.1", ["10.0.0.1/8"], 7])
def test_allow_from_is_checked_when_built(wrong: Any) -> None:
    """A list that is none of addresses is a BadConfiguration at once, not an open door later."""
    with pytest.raises(BadConfiguration, match="allow_from"):
        CallbackReceiver(SmileSession("001", "key"), allow_from=wrong)


@pytest.mark.parametrize("name", ["confirm", "require_token"])
def test_a_flag_of_the_receiver_is_true_or_false(name: str) -> None:
    """Neither a None nor a 0 from a configuration file takes away confirmation or token unnoticed."""
    session = SmileSession("001", "key")
    for flag in (None, 0, "no"):
        with pytest.raises(BadConfiguration, match=f"{name} is {type(flag).__name__}: give True or False"):
            CallbackReceiver(session, **{name: flag})  # type: ignore[arg-type]


# --- what status says


async def test_a_forged_approval_is_not_believed(desk: Desk, build: Build, caplog: pytest.LogCaptureFixture) -> None:
    """Status says rejected: the handler and whoever waits hear that, and a WARNING tells of the lie."""
    ticket = await desk.submit(code="0821")
    assert await post(desk.receiver, build(code="0820")) == TAKEN
    assert [(verdict.decision, verdict.approved) for verdict in desk.heard] == [(Decision.REJECTED, False)]
    assert (await desk.session.wait(ticket)).decision is Decision.REJECTED
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "claims 0820, but status says 0821" in warning.getMessage()


@pytest.mark.parametrize("truth", ["0821", "0822", "9876"])
async def test_the_job_type_is_never_taken_from_a_callback(desk: Desk, build: Build, truth: str) -> None:
    """0810 approves a job of type 1: a callback that says so of a job of type 2 approves nothing."""
    await desk.submit(code=truth)
    body = build(code="0810", job_type=1)
    claim = verify_callback(body, partner_id="001", api_key=desk.sandbox.api_key, now=desk.clock.time())
    assert claim.decision is Decision.APPROVED
    assert not claim.approved
    assert await post(desk.receiver, body) == TAKEN
    await desk.clock.sleep(700)
    assert not any(verdict.approved or verdict.ticket.job_type != 2 for verdict in desk.heard)


async def test_a_contradiction_is_told_whatever_type_it_claims(
    desk: Desk, build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    """A lie about the job's type does not hide a lie about its result from the log."""
    await desk.submit(code="0821")
    await post(desk.receiver, build(code="0820", job_type=99))
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


async def test_status_that_is_behind_is_asked_again(desk: Desk, build: Build) -> None:
    """While status has no result the answer is 200; it is asked again after 1, 2, 4 s, and delivered once it agrees."""
    await desk.submit(after=5)
    start = desk.clock.monotonic()
    assert await post(desk.receiver, build()) == TAKEN
    assert (desk.heard, desk.queries()) == ([], 1)
    assert await post(desk.receiver, build()) == KNOWN
    await desk.clock.sleep(60)
    assert desk.codes == ["0820"]
    assert desk.times == [pytest.approx(start + 7)]
    assert desk.queries() == 4


async def test_an_approval_that_status_never_confirms_is_never_delivered(
    desk: Desk, build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    """After ten minutes of asking the claim is dropped, with a WARNING and without a verdict."""
    await desk.submit(after=100_000)
    assert await post(desk.receiver, build()) == TAKEN
    await desk.clock.sleep(599)
    assert not caplog.records
    await desk.clock.sleep(2)
    assert ["never confirmed (0820)" in record.getMessage() for record in caplog.records] == [True]
    asked = desk.queries()
    await desk.clock.sleep(3600)
    assert (desk.heard, desk.queries()) == ([], asked)
    assert asked < 12


async def test_a_final_claim_is_not_confirmed_by_a_provisional_status(desk: Desk, build: Build) -> None:
    """An approval waits until status is final: a provisional status neither confirms nor contradicts it."""
    await desk.submit(code="0822", then=[(20, "1220")])
    assert await post(desk.receiver, build(code="1220")) == TAKEN
    assert desk.heard == []
    await desk.clock.sleep(60)
    assert desk.codes == ["1220"]


async def test_api_down_is_503_and_the_retry_is_taken(desk: Desk, build: Build) -> None:
    """A callback that could not be confirmed is not forgotten as a duplicate: the very same bytes are taken later."""
    await desk.submit()
    desk.sandbox.fault("job_status", status=500, times=None)
    body = build()
    assert await post(desk.receiver, body) == (503, "try again")
    assert desk.heard == []
    desk.sandbox.mend()
    assert await post(desk.receiver, body) == TAKEN
    assert desk.codes == ["0820"]


async def test_a_duplicate_of_what_is_being_confirmed_shares_its_fate(desk: Desk, build: Build) -> None:
    """A sender that repeats itself before the first copy is through gets no 200 for what then fails."""
    await desk.submit()
    desk.sandbox.fault("job_status", status=500, times=None)
    body = build()
    answers = await asyncio.gather(*(post(desk.receiver, body) for _ in range(3)))
    assert answers == [(503, "try again")] * 3
    desk.sandbox.mend()
    answers = await asyncio.gather(*(post(desk.receiver, body) for _ in range(3)))
    assert answers == [TAKEN] * 3
    assert desk.codes == ["0820"]


async def test_an_unknown_job_is_not_found_and_not_remembered(desk: Desk, build: Build) -> None:
    """404 for a job that status does not know; should it come to know it, the same bytes are taken."""
    body = build()
    assert await post(desk.receiver, body) == (404, "no such job")
    await desk.submit()
    assert await post(desk.receiver, body) == TAKEN


async def test_a_callback_that_outruns_its_job_is_kept(seldom: Desk, build: Build) -> None:
    """Right after our upload status may not know the job yet: then the callback counts as ahead, not as unknown."""
    seldom.sandbox.enroll("ada")
    seldom.sandbox.script("ada", code="0820", after=0)
    async with anyio.create_task_group() as tasks:
        verdicts: list[Verdict] = []

        async def verify() -> None:
            verdicts.append(await seldom.session.verify(Job.authenticate("ada", SELFIE, job_id="j1")))

        with seldom.clock.hold():
            tasks.start_soon(verify)
            while not seldom.session.stats.pending:  # noqa: ASYNC110 - nothing to be told by
                await asyncio.sleep(0.001)
        refusal = {"error": "Job not found", "code": "2304"}
        seldom.sandbox.fault("job_status", status=404, body=refusal, times=2)
        assert await post(seldom.receiver, build()) == TAKEN
    assert [verdict.approved for verdict in verdicts] == [True]
    assert seldom.clock.monotonic() == pytest.approx(3)


async def test_final_then_provisional_is_no_step_back(
    desk: Desk, build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    """A provisional callback that arrives late is answered 200 and changes nothing; it is no lie: nobody is warned."""
    ticket = await desk.submit(code="0822", then=[(10, "1220")])
    await desk.clock.sleep(20)
    answers = [await post(desk.receiver, build(code=code)) for code in ("1220", "0822")]
    assert answers == [TAKEN, TAKEN]
    assert desk.codes == ["1220"]
    assert (await desk.session.wait(ticket)).code == "1220"
    assert not caplog.records


async def test_provisional_then_final_are_both_heard(desk: Desk, build: Build) -> None:
    """The handler hears the provisional verdict and, when the review is over, the final one."""
    await desk.submit(code="0822", then=[(7200, "1221")])
    await post(desk.receiver, build(code="0822"))
    await desk.clock.sleep(7200)
    await post(desk.receiver, build(code="1221"))
    assert [verdict.decision for verdict in desk.heard] == [Decision.PROVISIONAL, Decision.REJECTED]


async def test_a_freshly_signed_repetition_is_confirmed_again_and_not_heard_again(desk: Desk, build: Build) -> None:
    """A resend carries a new timestamp, so it is no duplicate: status is asked, and the handler is not told twice."""
    await desk.submit(code="0822")
    for _ in range(3):
        assert await post(desk.receiver, build(code="0822")) == TAKEN
        await desk.clock.sleep(2)
    assert (desk.codes, desk.queries()) == (["0822"], 3)


async def test_a_final_word_stays(desk: Desk, build: Build) -> None:
    """Should status ever replace one final result by another, the handler is left with the one it has acted on."""
    await desk.submit(code="0820", then=[(10, "0821")])
    await post(desk.receiver, build(code="0820"))
    await desk.clock.sleep(10)
    assert await post(desk.receiver, build(code="0821")) == TAKEN
    assert desk.codes == ["0820"]


async def test_claims_without_end_cause_few_queries(desk: Desk, build: Build) -> None:
    """Who holds one signature can not use us to exhaust the account: a job is asked about once a second at most."""
    await desk.submit(after=100_000)
    start = desk.clock.monotonic()
    for number in range(500):
        assert await post(desk.receiver, build(code=f"{number:04}")) == TAKEN
        await desk.clock.sleep(0.02)
    assert desk.queries() <= 2 * (desk.clock.monotonic() - start) + 8
    assert desk.heard == []


async def test_forged_callbacks_for_made_up_jobs_cause_few_queries(
    smile_settings: dict[str, Any], smile_sandbox: Sandbox, smile_clock: VirtualClock, build: Build
) -> None:
    """Beyond one budget for jobs nobody waits for the sender is told to come back, and our own jobs do not notice."""
    tapped = Tapped(smile_settings["http"])
    async with SmileSession(**{**smile_settings, "http": tapped}) as session:
        desk = Desk(smile_sandbox, session, smile_clock)
        await desk.submit()
        before = len(tapped.stamps)
        answers = []
        for number in range(600):
            answers.append(await post(desk.receiver, build(job_id=f"made-up-{number}")))
            await smile_clock.sleep(0.0015)
        assert len(tapped.stamps) - before < 80
        assert set(answers) == {(404, "no such job"), (503, "try again")}
        assert await post(desk.receiver, build()) == TAKEN
    assert desk.codes == ["0820"]


# --- handlers


async def test_an_error_in_the_handler_loses_nothing(
    smile_sandbox: Sandbox,
    smile_session: SmileSession,
    smile_clock: VirtualClock,
    build: Build,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged, who waits has the verdict all the same, and the next duplicate is the handler's second chance."""
    desk = Desk(smile_sandbox, smile_session, smile_clock)
    fails = True

    async def handler(verdict: Verdict) -> None:
        if fails:
            raise KeyError("database")
        desk.heard.append(verdict)

    receiver = CallbackReceiver(smile_session, handler)
    ticket = await desk.submit()
    body = build()
    assert await post(receiver, body) == TAKEN
    (record,) = caplog.records
    assert "on_verdict failed for job j1; its verdict is approved" in record.getMessage()
    assert (await smile_session.wait(ticket)).approved
    fails = False
    assert [await post(receiver, body) for _ in range(2)] == [TAKEN, KNOWN]
    assert desk.codes == ["0820"]


def test_a_plain_function_is_no_handler() -> None:
    """A handler that can not be awaited is refused at once; methods, partials and objects may be asynchronous too."""

    class Handler:
        async def __call__(self, verdict: Verdict) -> None: ...
        async def method(self, verdict: Verdict) -> None: ...
        def plain(self, verdict: Verdict) -> None: ...

    session = SmileSession("001", "key")
    for good in (None, Handler(), Handler().method, partial(Handler().method)):
        CallbackReceiver(session, good)
    for bad in (Handler().plain, partial(Handler().plain), print, Handler):
        with pytest.raises(BadConfiguration, match="on_verdict is not an async function"):
            CallbackReceiver(session, bad)  # type: ignore[arg-type]


async def test_the_handler_runs_after_the_answer(
    smile_sandbox: Sandbox, smile_session: SmileSession, smile_clock: VirtualClock, build: Build
) -> None:
    """The sender has its 200 before the handler begins, so a slow handler causes no retry."""
    order: list[str] = []

    async def handler(verdict: Verdict) -> None:
        order.append("handler")

    await Desk(smile_sandbox, smile_session, smile_clock).submit()
    receiver = CallbackReceiver(smile_session, handler)
    await post(receiver, build(), on_send=lambda message: order.append(message["type"]))
    assert order == ["http.response.start", "http.response.body", "handler"]


async def test_a_sender_that_hangs_up_at_the_answer_changes_nothing(desk: Desk, build: Build) -> None:
    """If the answer can not be sent, the handler hears the verdict all the same: a retry would be a duplicate."""

    def broken(_message: Any) -> None:
        raise OSError("gone")

    await desk.submit()
    with pytest.raises(OSError, match="gone"):
        await post(desk.receiver, build(), on_send=broken)
    assert desk.codes == ["0820"]


async def test_a_request_cancelled_while_confirming_is_not_known_afterwards(
    smile_settings: dict[str, Any], smile_sandbox: Sandbox, smile_clock: VirtualClock, build: Build
) -> None:
    """A server that gives up on the request does not make the sender's next attempt a duplicate."""
    tapped = Tapped(smile_settings["http"])
    async with SmileSession(**{**smile_settings, "http": tapped}) as session:
        desk = Desk(smile_sandbox, session, smile_clock)
        await desk.submit()
        tapped.go_on = anyio.Event()
        body = build()
        request = asyncio.create_task(post(desk.receiver, body))
        while len(tapped.stamps) < 2:  # noqa: ASYNC110 - nothing to be told by
            await asyncio.sleep(0)
        request.cancel()
        await asyncio.wait([request])
        assert desk.heard == []
        again = asyncio.create_task(post(desk.receiver, body))
        await asyncio.sleep(0)
        tapped.go_on.set()
        assert await again == TAKEN
    assert (desk.codes, desk.queries()) == (["0820"], 1)


async def test_a_request_cancelled_under_its_handler_does_not_cut_it_short(
    smile_sandbox: Sandbox, smile_session: SmileSession, smile_clock: VirtualClock, build: Build
) -> None:
    """The handler runs in a task of the session's: a server that cancels the request interrupts no transaction."""
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(verdict: Verdict) -> None:
        begun.set()
        await go_on.wait()
        ended.set()

    await Desk(smile_sandbox, smile_session, smile_clock).submit()
    request = asyncio.create_task(post(CallbackReceiver(smile_session, handler), build()))
    await begun.wait()
    request.cancel()
    await asyncio.wait([request])
    go_on.set()
    await ended.wait()


async def test_a_session_that_closes_meanwhile_does_not_swallow_the_verdict(
    smile_settings: dict[str, Any], smile_sandbox: Sandbox, smile_clock: VirtualClock, build: Build
) -> None:
    """If the session is left between confirmation and handler, the handler still runs, in the request's own task."""
    session = SmileSession(**smile_settings)
    async with session:
        desk = Desk(smile_sandbox, session, smile_clock)
        await desk.submit()
        await post(desk.receiver, build(), on_send=lambda _message: session.host._shut())
    assert desk.codes == ["0820"]


async def test_two_receivers_of_one_session_both_hear(
    smile_sandbox: Sandbox, smile_session: SmileSession, smile_clock: VirtualClock, build: Build
) -> None:
    """Each receiver has its own handler and memory; together they ask only once, even while status is behind."""
    desks = [Desk(smile_sandbox, smile_session, smile_clock) for _ in range(2)]
    await desks[0].submit(after=5)
    answers = await asyncio.gather(*(post(desk.receiver, build()) for desk in desks))
    assert answers == [TAKEN, TAKEN]
    await smile_clock.sleep(60)
    assert [desk.codes for desk in desks] == [["0820"], ["0820"]]
    assert desks[0].queries() == 4


async def test_two_processes_both_hear_and_the_waiter_in_a_third_is_served(running: RunningSandbox) -> None:
    """Behind several workers each that gets the callback confirms it; who waits elsewhere finds it by its own poll."""
    running.sandbox.script("ada", code="0821", after=0)
    account = (running.partner_id, running.api_key, running.base_url, running.ca_file)
    async with session_of(running) as session:
        ticket = await session.submit(Job.authenticate("ada", SELFIE, job_id="j1"))
        body = callback_body("ada", "j1", code="0820", api_key=running.api_key, smile_job_id=ticket.smile_job_id or "")
        workers = [
            await asyncio.create_subprocess_exec(
                *(*python(), str(Path(__file__).with_name("callback_process.py")), *account),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for _ in range(2)
        ]
        told = await asyncio.gather(*(worker.communicate(body) for worker in workers))
        assert [json.loads(out) for out, _ in told] == [[[200, "taken"], ["0821 True"]]] * 2
        assert (await session.wait(ticket)).source == "poll"


async def test_memory_is_bounded(desk: Desk, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the latest jobs and the latest callbacks of each are remembered; an older duplicate is confirmed anew."""
    monkeypatch.setattr(receiver, "REMEMBERED", 1)
    for job_id in ("j1", "j2"):
        await desk.submit(job_id)
    bodies = [build(job_id=job_id) for job_id in ("j1", "j2")]
    assert [await post(desk.receiver, bodies[number]) for number in (0, 1, 1, 0)] == [TAKEN, TAKEN, KNOWN, TAKEN]
    monkeypatch.setattr(receiver, "SEEN", 2)
    bodies = [build(timestamp=desk.clock.time() + 10 + number) for number in range(3)]
    assert [await post(desk.receiver, bodies[number]) for number in (0, 1, 2, 2, 1, 0)] == [TAKEN] * 3 + [
        *(KNOWN, KNOWN, TAKEN)
    ]
    # Asked about again, and not heard again.
    assert desk.codes == ["0820"] * 3


async def test_without_confirmation_the_handler_hears_the_claim(
    smile_sandbox: Sandbox, smile_session: SmileSession, smile_clock: VirtualClock, build: Build
) -> None:
    """With confirm=False nothing is approved, a provisional never follows a final, and a contradiction is heard."""
    desk = Desk(smile_sandbox, smile_session, smile_clock, confirm=False)
    await desk.submit(code="0821")
    for code in ("0822", "0820", "0822", "0820", "0821"):
        await post(desk.receiver, build(code=code))
    assert desk.codes == ["0822", "0820", "0821"]
    assert not any(verdict.approved for verdict in desk.heard)
    assert desk.queries() == 0


async def test_a_receiver_without_handler_is_enough_to_wake(seldom: Desk, build: Build) -> None:
    """on_verdict is optional: verify and its kin are woken without it."""
    ticket = await seldom.submit(after=100)
    receiver = CallbackReceiver(seldom.session)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(seldom.session.wait, ticket, patience=10_000))
        await seldom.clock.sleep(100)
        assert await post(receiver, build()) == TAKEN
    assert seldom.clock.monotonic() == pytest.approx(100)


# --- who is woken


async def waited(desk: Desk, how: str) -> list[Verdict]:
    """The verdicts of one new job of ada's, got in this way."""
    job = Job.authenticate("ada", SELFIE, job_id="j1")
    if how == "verify":
        return [await desk.session.verify(job, patience=40_000)]
    if how == "stream":
        async with desk.session.stream([job], until="final", patience=40_000) as outcomes:
            return [outcome.verdict async for outcome in outcomes if hasattr(outcome, "verdict")]
    ticket = await desk.session.submit(job)
    if how == "wait":
        return [await desk.session.wait(ticket, until="final", patience=40_000)]
    async with desk.session.follow(ticket) as verdicts:
        return [verdict async for verdict in verdicts]


@pytest.mark.parametrize(
    ("how", "codes", "seconds"),
    [
        ("verify", ["0822"], 10),
        ("wait", ["1220"], 7210),
        ("stream", ["1220"], 7210),
        ("follow", ["0822", "1220"], 7210),
    ],
)
async def test_a_callback_wakes_at_once_and_cancels_the_pending_poll(
    seldom: Desk, how: str, codes: list[str], seconds: float
) -> None:
    """Whoever waits has the verdict the moment it is called back, hours before the next poll, which never comes."""
    seldom.sandbox.enroll("ada")
    seldom.sandbox.script("ada", code="0822", after=10, then=[(7200, "1220")])
    async with seldom.calling_back():
        verdicts = await waited(seldom, how)
        assert [verdict.code for verdict in verdicts] == codes
        assert all(verdict.confirmed for verdict in verdicts)
        # Whoever waits for a job submitted before is asked for at once; nobody was polled for since.
        at_first = 0 if how in ("verify", "stream") else 1
        assert seldom.clock.monotonic() == pytest.approx(seconds, abs=0.1)
        assert seldom.session.stats.polls == at_first
        await seldom.clock.sleep(200_000)
        assert seldom.session.stats.polls == at_first
    assert seldom.session.stats.pending == 0
    assert seldom.codes == ["0822", "1220"]


async def test_a_hint_wakes_the_poller(
    smile_settings: dict[str, Any], smile_sandbox: Sandbox, smile_clock: VirtualClock, build: Build
) -> None:
    """With confirm=False a callback makes the pending poll due now, and the poll's own answer is what is believed."""
    async with SmileSession(**{**smile_settings, "pace": SELDOM}) as session:
        desk = Desk(smile_sandbox, session, smile_clock, confirm=False)
        smile_sandbox.enroll("ada")
        smile_sandbox.script("ada", code="0821", after=10)
        async with desk.calling_back():
            (verdict,) = await waited(desk, "verify")
        assert (verdict.code, verdict.source) == ("0821", "poll")
        assert smile_clock.monotonic() == pytest.approx(10, abs=0.1)


async def test_duplicates_and_disorder_from_the_sandbox(seldom: Desk) -> None:
    """Copies, late arrivals and resends, in the sandbox's own words, are heard as one provisional and one final."""
    seldom.sandbox.enroll("ada")
    seldom.sandbox.script("ada", code="0822", after=10, then=[(100, "1220")])
    seldom.sandbox.fault("callback", delay=200)
    async with seldom.calling_back():
        (verdict,) = await waited(seldom, "wait")
        assert verdict.code == "1220"
        seldom.sandbox.resend("j1", copies=3)
        seldom.sandbox.resend("j1", back=1)
        await seldom.clock.sleep(300)
    assert seldom.codes == ["1220"]
    assert {sent.status for sent in seldom.sandbox.jobs["j1"].callbacks} == {200}


async def test_a_callback_refused_by_us_is_sent_again_and_taken(seldom: Desk) -> None:
    """503 makes the sandbox retry the same bytes, and the retry wakes who waits."""
    seldom.sandbox.enroll("ada")
    seldom.sandbox.script("ada", code="0820", after=10)
    seldom.sandbox.fault("job_status", status=500, times=3)
    async with seldom.calling_back():
        (verdict,) = await waited(seldom, "verify")
        # Who waits hears of it before the sender does.
        await seldom.clock.sleep(1)
    assert verdict.approved
    assert [sent.status for sent in seldom.sandbox.jobs["j1"].callbacks] == [503, 200]


async def test_mounted_in_fastapi(desk: Desk, build: Build) -> None:
    """Mounted in an application, or as a route of its own, it answers under that path."""
    from fastapi import FastAPI  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    app = FastAPI(routes=[Route("/exact", desk.receiver)])
    app.mount("/smile", desk.receiver)
    await desk.submit()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://app.test") as http:
        replies = [
            await http.post(path, content=build(), headers={"content-type": "application/json"})
            for path in ("/smile/", "/exact")
        ]
    assert [(reply.status_code, reply.json()["message"]) for reply in replies] == [TAKEN, KNOWN]


# --- the pure function


def test_verify_callback_proves_a_signature_not_a_verdict(build: Build, smile_sandbox: Sandbox) -> None:
    """What it returns is unconfirmed and so never approved, even if genuine; its docstring says so first."""
    verdict = verify_callback(build(code="0820"), partner_id="001", api_key=smile_sandbox.api_key)
    assert (verdict.decision, verdict.source) == (Decision.APPROVED, "callback")
    assert (verdict.confirmed, verdict.approved) == (False, False)
    assert (verify_callback.__doc__ or "").startswith("Proves that the sender once held a signature of yours, not")


def test_verify_callback_with_previous_keys_and_tolerance(build: Build) -> None:
    """Older keys count where they are given; the tolerance is in seconds, either way, and nothing else."""
    body = build(api_key="old", timestamp="2026-01-02T03:04:05.000Z")
    at = 1_767_323_045.0
    check = partial(verify_callback, body, partner_id="001", previous_api_keys=["older", "old"], api_key="new")
    assert check(now=at).code == check(now=at - 300).code == check(now=at + 5, tolerance=5).code == "0820"
    for wrong in ({"now": at + 6, "tolerance": 5}, {"now": at, "tolerance": -1}, {}):
        with pytest.raises(StaleReply):
            check(**wrong)
    for unmeant in (math.nan, math.inf, 10**400, "300", True):
        for name in ("now", "tolerance"):
            with pytest.raises(BadConfiguration, match="not a finite number of seconds"):
                check(**{"now": at, name: unmeant})
    with pytest.raises(ForgedReply):
        verify_callback(body, partner_id="001", api_key="new", now=at)
    with pytest.raises(BadConfiguration, match="previous_api_keys"):
        check(now=at, previous_api_keys="old")


def test_verify_callback_keeps_secrets_out_of_its_tracebacks(build: Build) -> None:
    """Neither the key nor the body is in any frame of the error."""
    body = build(api_key="another", ResultText="canary-in-the-text")
    with pytest.raises(SmileError) as caught:
        verify_callback(body, partner_id="001", api_key="canary-in-the-key")
    trace = caught.value.__traceback__
    while trace is not None:
        if "smile_async" in trace.tb_frame.f_code.co_filename:
            assert "canary" not in repr(trace.tb_frame.f_locals)
        trace = trace.tb_next


@pytest.mark.parametrize(
    ("wrong", "request_", "line"),
    [
        (
            {"api_key": "not-the-key"},
            {},
            "(403 not signed by smile id, or stale): the callback's signature was made with another key",
        ),
        ({}, {"query": ""}, "(403 no token of this job): require_token wants the URL that receiver.url_for made"),
        ({}, {"client": ("10.0.0.1", 9)}, "(403 not from here): allow_from leaves out 10.0.0.1"),
        ({}, {"client": ("fe80::1%\nERROR", 9)}, "(403 not from here): allow_from leaves out fe80::1"),
        ({}, {"client": None}, "(403 not from here): allow_from leaves out whoever has no address"),
        ({"PartnerParams": 1}, {}, "(400 unreadable): the callback"),
        ({}, {"method": "GET"}, "(405 post only): Smile ID posts callbacks"),
    ],
    ids=str,
)
async def test_a_refusal_is_logged_with_its_cause(
    smile_sandbox: Sandbox,
    smile_session: SmileSession,
    smile_clock: VirtualClock,
    build: Build,
    caplog: pytest.LogCaptureFixture,
    wrong: dict[str, Any],
    request_: dict[str, Any],
    line: str,
) -> None:
    """The log tells why a callback was refused, on one line, and once a minute however many of its kind there are."""
    desk = Desk(smile_sandbox, smile_session, smile_clock, require_token=True, allow_from=["127.0.0.1"])
    await desk.submit()
    query = httpx.URL(desk.receiver.url_for(URL, "j1")).query.decode()
    for _ in range(2):
        await post(desk.receiver, build(**wrong), **{"query": query, **request_})
    (record,) = (record for record in caplog.records if record.getMessage().startswith("a callback was refused"))
    assert record.getMessage().startswith(f"a callback was refused {line}")
    assert "\n" not in record.getMessage()
    assert record.smile_status in {400, 403, 405}  # type: ignore[attr-defined]
    assert desk.heard == []


async def test_a_minute_later_a_refusal_is_logged_again(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence ends with its minute, and one answer's silence is not another's."""
    await post(desk.receiver, b"no JSON")
    await post(desk.receiver, b"", method="GET")
    monkeypatch.setattr(receiver, "QUIET", -1.0)
    desk.receiver._said.clear()
    await post(desk.receiver, b"no JSON")
    await post(desk.receiver, b"no JSON")
    refused = [record.getMessage()[23:30] for record in caplog.records if "was refused" in record.getMessage()]
    assert refused == ["(400 un", "(405 po", "(400 un", "(400 un"]


def test_all_answers_are_fixed_and_short() -> None:
    """No answer of the receiver has room for anything a sender has said."""
    assert all(len(text) < 40 and text.isascii() for text in FIXED)
