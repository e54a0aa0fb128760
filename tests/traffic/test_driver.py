"""What a server may answer, and what the caller is told: one attempt at a time, over real sockets."""

import io
import json
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, formatdate
from typing import Any

import pytest
from scripted import (
    KEY,
    PRESIGNED,
    Act,
    Authority,
    Leg,
    ScriptedSmile,
    cut,
    drip,
    iso,
    raw_reply,
    reset,
    reset_after_reading,
    say,
    sign,
    silence,
)
from street import Pictures, session_of

from smile_async import Job, Limits, SmileSession, Ticket, Verdict
from smile_async.errors import (
    AlreadyEnrolled,
    ForgedReply,
    JobExists,
    JobNotFound,
    NotAuthorized,
    RateLimited,
    Refused,
    SmileError,
    StaleReply,
    StillPending,
    Unavailable,
    UnreadableReply,
    UploadFailed,
    UserNotEnrolled,
)
from smile_async.protocol.steps import Sent
from smile_async.sandbox import Sandbox
from smile_async.timing.clock import SystemClock
from smile_async.traffic import driver
from smile_async.transport.engine import NoReply, Reply
from smile_async.transport.pool import Pool

pytestmark = pytest.mark.usefixtures("tidy")

HTML = b"<!doctype html><title>Sign in to the hotel's Wi-Fi</title>"
Tamper = Callable[[dict[str, Any]], None]


async def failure(smile: ScriptedSmile, job: Job, patience: float = 20.0, **settings: Any) -> SmileError:
    """The error that verifying *job* ends with."""
    async with session_of(smile, **settings) as session:
        with pytest.raises(SmileError) as caught:
            await session.verify(job, patience=patience)
    return caught.value


async def success(smile: ScriptedSmile, job: Job, patience: float = 20.0, **settings: Any) -> Verdict:
    """The verdict of *job*, which Smile ID knows exactly once."""
    async with session_of(smile, **settings) as session:
        verdict = await session.verify(job, patience=patience)
    assert verdict.approved
    assert [story.created for story in smile.jobs.values()] == [1]
    return verdict


UNREADABLE: list[tuple[str, Act]] = [
    ("html", say(200, HTML, {"Content-Type": "text/html"})),
    ("truncated", say(200, b'{"code": "2202", "upload_url": "https://127.0.0.1/?' + PRESIGNED.encode())),
    ("a list", say(200, b"[1, 2]")),
    ("nothing", say(200, b"")),
    ("not utf-8", say(200, b'{"code": "\xff\xfe"}')),
    ("20 MB", say(200, b" " * 20_000_000)),
    ("redirect", say(302, b"", {"Location": "https://127.0.0.1/v1/elsewhere"})),
    ("redirect that says 2202", say(307, {"code": ""}, {"Location": "/v1/elsewhere"})),
    ("no content", say(204, b"", {"Content-Length": ""})),
]


@pytest.mark.parametrize("act", [act for _, act in UNREADABLE], ids=[name for name, _ in UNREADABLE])
@pytest.mark.parametrize("leg", ["upload", "job_status"])
async def test_what_is_not_the_protocol_is_unreadable(
    leg: Leg, act: Act, smile: ScriptedSmile, pictures: Pictures
) -> None:
    """HTML, half a JSON, 20 MB, a redirect: UnreadableReply with the job's ticket, and no second attempt."""
    smile.fault(leg, act, always=True)
    job = pictures.job(job_id="j1")
    error = await failure(smile, job)
    assert type(error) is UnreadableReply
    assert error.ticket is not None
    assert (error.ticket.job_id, error.retryable) == ("j1", False)
    assert error.job is not None
    assert error.job.job_id == "j1"
    assert len(smile.asked[leg]) == 1
    assert PRESIGNED not in str(error)


def _sign_with(key: str) -> Tamper:
    def tamper(body: dict[str, Any]) -> None:
        body["signature"] = sign(body["timestamp"], key)

    return tamper


def _signed_at(ago: float) -> Tamper:
    def tamper(body: dict[str, Any]) -> None:
        body["timestamp"] = iso(time.time() - ago)
        body["signature"] = sign(body["timestamp"])

    return tamper


def _timestamp(text: str) -> Tamper:
    def tamper(body: dict[str, Any]) -> None:
        body["timestamp"], body["signature"] = text, sign(text)

    return tamper


def _without(*names: str) -> Tamper:
    def tamper(body: dict[str, Any]) -> None:
        for name in names:
            del body[name]

    return tamper


def _params(**changes: Any) -> Tamper:
    def tamper(body: dict[str, Any]) -> None:
        body["result"]["PartnerParams"].update(changes)

    return tamper


def _result(**changes: Any) -> Tamper:
    def tamper(body: dict[str, Any]) -> None:
        body["result"].update(changes)

    return tamper


FORGED: dict[str, tuple[Tamper, type[SmileError]]] = {
    "another key": (_sign_with("not the key"), ForgedReply),
    "no signature": (_without("signature"), ForgedReply),
    "no timestamp": (_without("timestamp"), ForgedReply),
    "another time": (lambda body: body.update(timestamp=iso(time.time() - 1)), ForgedReply),
    "ten minutes old": (_signed_at(600), StaleReply),
    "ten minutes ahead": (_signed_at(-600), StaleReply),
    "no zone": (_timestamp(datetime.now(UTC).replace(tzinfo=None).isoformat()), StaleReply),
    "no date": (_timestamp("soon"), StaleReply),
    "another job": (_params(job_id="j2"), ForgedReply),
    "another user": (_params(user_id="eve"), ForgedReply),
    "another type": (_params(job_type=4), ForgedReply),
    "another number": (_result(SmileJobID="0000009999"), ForgedReply),
}


@pytest.mark.parametrize(("tamper", "kind"), FORGED.values(), ids=FORGED.keys())
async def test_a_reply_that_can_not_be_believed_is_refused(
    tamper: Tamper, kind: type[SmileError], smile: ScriptedSmile, pictures: Pictures
) -> None:
    """A status reply that the key did not sign, or long ago, or about another job, is never a verdict."""
    smile.tampers["job_status"] = tamper
    job = pictures.job(job_id="j1")
    error = await failure(smile, job)
    assert type(error) is kind
    assert (error.ticket, error.retryable) == (Ticket("ada", "j1", 2, "0000000001"), False)


async def test_a_previous_key_is_still_believed(smile: ScriptedSmile, pictures: Pictures) -> None:
    """During a key rotation replies signed with the old key pass."""
    smile.tampers["job_status"] = _sign_with("the-key-of-last-year")
    assert (await success(smile, pictures.job(), previous_api_keys=["the-key-of-last-year"])).approved


async def test_an_error_body_under_200_is_no_success(smile: ScriptedSmile, pictures: Pictures) -> None:
    """HTTP 200 with an error in it is that error on /upload, and unsigned, so not believed, on /job_status."""
    smile.fault("upload", say(200, {"error": "unauthorized", "code": "2205"}))
    error = await failure(smile, pictures.job())
    assert isinstance(error, NotAuthorized)
    assert (error.status, error.code, error.message) == (200, "2205", "unauthorized")
    smile.fault("job_status", say(200, {"error": "internal system error", "code": "2301"}))
    assert type(await failure(smile, pictures.job())) is ForgedReply


UPLOAD_URLS = [
    "https://evil.example/selfie.zip",
    "https://amazonaws.com.evil.example/selfie.zip",
    "https://evilamazonaws.com/selfie.zip",
    "http://bucket.s3.amazonaws.com/selfie.zip",
    "https://8.8.8.8/selfie.zip",
    "https://[2001:db8::1]/selfie.zip",
    "https://2130706433/selfie.zip",
    "https://user:secret@bucket.s3.amazonaws.com/selfie.zip",
    "ftp://bucket.s3.amazonaws.com/selfie.zip",
    "https:///selfie.zip",
    "bucket.s3.amazonaws.com",
    "https://bucket.s3.amazonaws.com\r\n/selfie.zip",
]


@pytest.mark.parametrize("url", UPLOAD_URLS)
async def test_selfies_do_not_travel_to_strangers(url: str, smile: ScriptedSmile, pictures: Pictures) -> None:
    """An upload_url of a foreign host, without TLS, or with an address for a host is refused before an image leaves."""
    smile.tampers["upload"] = lambda body: body.update(upload_url=f"{url}?{PRESIGNED}")
    error = await failure(smile, pictures.job(job_id="j1"))
    assert type(error) is ForgedReply
    assert "no image was sent" in str(error)
    assert (error.ticket is not None, error.retryable) == (True, False)
    assert PRESIGNED not in str(error)
    assert not smile.asked["put"]


async def test_upload_hosts_can_be_pinned(smile: ScriptedSmile, pictures: Pictures) -> None:
    """With upload_hosts pinned, other buckets of the same provider are strangers too."""
    smile.tampers["upload"] = lambda body: body.update(upload_url="https://other.s3.amazonaws.com/x")
    error = await failure(smile, pictures.job(), upload_hosts="mine.s3.amazonaws.com")
    assert "other.s3.amazonaws.com, which is not allowed" in str(error)


REFUSALS = [
    (400, "2204", NotAuthorized),
    (400, "2205", NotAuthorized),
    (401, "", NotAuthorized),
    (403, "", NotAuthorized),
    (400, "2210", UserNotEnrolled),
    (400, "2211", UserNotEnrolled),
    (400, "2209", AlreadyEnrolled),
    (400, "2215", JobExists),
    (412, "2213", Refused),
    (404, "", Refused),
    (500, "2209", AlreadyEnrolled),
    (400, 2210, UserNotEnrolled),
]


@pytest.mark.parametrize(("status", "code", "kind"), REFUSALS)
async def test_a_refusal_has_a_class(
    status: int, code: Any, kind: type[Refused], smile: ScriptedSmile, pictures: Pictures
) -> None:
    """What Smile ID refuses is not tried again, and is told with status, code and text."""
    smile.fault("upload", say(status, {"error": "as\tit\nis", "code": code}), always=True)
    error = await failure(smile, pictures.job(job_id="j1"))
    assert type(error) is kind
    assert isinstance(error, Refused)
    assert (error.status, error.code, error.message) == (status, str(code), "asitis")
    assert (error.retryable, error.ticket) == (False, Ticket("ada", "j1", 2))
    assert len(smile.asked["upload"]) == 1


@pytest.mark.parametrize("body", [HTML, b"", b"<Error><Code>AccessDenied</Code></Error>"])
async def test_a_refusal_of_a_gateway_is_understood(body: bytes, smile: ScriptedSmile, pictures: Pictures) -> None:
    """A 4xx without JSON is still a refusal."""
    smile.fault("upload", say(400, body))
    error = await failure(smile, pictures.job())
    assert type(error) is Refused
    assert "no reason given" in str(error)


PASSING: dict[str, Act] = {
    "500": say(500, HTML),
    "502": say(502, b""),
    "504": say(504, HTML),
    "2201": say(400, {"error": "internal system error", "code": "2201"}),
    "reset": reset_after_reading,
    "cut": cut(b"HTTP/1.1 200 OK\r\nContent-Le"),
}


@pytest.mark.parametrize("effect", [False, True], ids=["without effect", "with effect"])
@pytest.mark.parametrize("act", PASSING.values(), ids=PASSING.keys())
@pytest.mark.parametrize("leg", ["upload", "put"])
async def test_a_passing_fault_is_mended(
    leg: Leg, act: Act, effect: bool, smile: ScriptedSmile, pictures: Pictures
) -> None:
    """Whatever fails once on a leg, before or after the server did its work: one provider job, one zip, its verdict."""
    if leg == "put" and act is PASSING["2201"]:
        act = say(503, b"<Error><Code>SlowDown</Code></Error>")
    smile.fault(leg, act, effect=effect)
    await success(smile, pictures.job())
    (story,) = smile.jobs.values()
    assert len(story.zips) == 1
    if leg == "upload" and effect:
        assert [asked.fields.get("retry", False) for asked in smile.asked["upload"]] == [False, False, True]


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("act", PASSING.values(), ids=PASSING.keys())
async def test_a_poll_that_fails_is_mended(act: Act, smile: ScriptedSmile, pictures: Pictures) -> None:
    """Whatever fails once on a status query only delays the verdict."""
    smile.fault("job_status", act)
    await success(smile, pictures.job())
    assert len(smile.asked["job_status"]) == 2


async def test_a_connection_that_dies_at_birth_is_mended(smile: ScriptedSmile, pictures: Pictures) -> None:
    """A reset before the request was read costs an attempt, not the job."""
    smile.greetings.append(reset)
    await success(smile, pictures.job())


@pytest.mark.parametrize("leg", ["upload", "put"])
async def test_what_lasts_is_unavailable_and_can_be_resumed(leg: Leg, smile: ScriptedSmile, pictures: Pictures) -> None:
    """After three attempts: Unavailable, retryable, with a ticket; calling again with the same Job resumes it."""
    smile.fault(leg, *[reset_after_reading] * 3, effect=leg == "upload")
    job = pictures.job(job_id="j1")
    async with session_of(smile) as session:
        with pytest.raises(Unavailable) as caught:
            await session.verify(job)
        assert (caught.value.retryable, caught.value.job) == (True, job)
        assert caught.value.ticket is not None
        assert (await session.verify(job)).approved
        assert session.stats.retries >= 2
    assert smile.jobs["j1"].created == 1
    assert len(smile.jobs["j1"].zips) == 1


async def test_who_never_connects_has_no_ticket(smile: ScriptedSmile, pictures: Pictures) -> None:
    """Nobody listens: nothing was submitted, and the error says so."""
    async with session_of(smile) as session:
        await smile.__aexit__(None, None, None)
        with pytest.raises(Unavailable) as caught:
            await session.verify(pictures.job())
    assert (caught.value.ticket, caught.value.retryable) == (None, True)


async def test_a_storage_that_refuses_is_told(smile: ScriptedSmile, pictures: Pictures) -> None:
    """A 4xx of the storage is UploadFailed, at once, without what the storage said."""
    smile.fault("put", say(400, f"<Error>{PRESIGNED}</Error>".encode()), always=True)
    error = await failure(smile, pictures.job(job_id="j1"))
    assert type(error) is UploadFailed
    assert (error.ticket, error.retryable) == (Ticket("ada", "j1", 2, "0000000001"), False)
    assert "HTTP 400" in str(error)
    assert PRESIGNED not in str(error)
    assert len(smile.asked["put"]) == 1


async def test_a_storage_that_fails_is_tried_three_times(smile: ScriptedSmile, pictures: Pictures) -> None:
    """5xx of the storage: three attempts, then UploadFailed, retryable; later the same job is resumed."""
    smile.fault("put", *[say(503, b"<Error><Code>SlowDown</Code></Error>")] * 3)
    job = pictures.job()
    async with session_of(smile) as session:
        with pytest.raises(UploadFailed) as caught:
            await session.verify(job)
        assert caught.value.retryable
        assert len(smile.asked["put"]) == 3
        assert (await session.verify(job)).approved
    assert smile.jobs[job.job_id].created == 1


async def test_an_expired_url_is_replaced(smile: ScriptedSmile, pictures: Pictures) -> None:
    """403 of the storage: a new URL for the same job; if that is refused too, UploadFailed, retryable."""
    smile.fault("put", say(403))
    await success(smile, pictures.job())
    assert [asked.fields.get("retry", False) for asked in smile.asked["upload"]] == [False, True]
    smile.fault("put", say(403), always=True)
    error = await failure(smile, pictures.job())
    assert type(error) is UploadFailed
    assert error.retryable


@pytest.mark.parametrize(
    ("status", "code", "urls"),
    [
        (400, "RequestTimeout", 1),
        (409, "OperationAborted", 1),
        (400, "ExpiredToken", 2),
        (400, "TokenRefreshRequired", 2),
    ],
)
async def test_what_passes_with_a_4xx_of_the_storage_passes(
    status: int, code: str, urls: int, smile: ScriptedSmile, pictures: Pictures
) -> None:
    """A slow connection and an old token cost a second PUT, with a fresh URL where that helps, and no second job."""
    smile.fault("put", say(status, f"<Error><Code>{code}</Code></Error>".encode()))
    await success(smile, pictures.job())
    assert (len(smile.asked["upload"]), len(smile.asked["put"])) == (urls, 2)
    smile.fault("put", say(status, f"<Error><Code>{code}</Code></Error>".encode()), always=True)
    error = await failure(smile, pictures.job())
    assert type(error) is UploadFailed
    assert str(error).endswith(f"HTTP {status} {code}")
    assert error.retryable


@pytest.mark.parametrize("status", [201, 204])
async def test_a_storage_may_say_created(status: int, smile: ScriptedSmile, pictures: Pictures) -> None:
    """Not only 200 is success: what a storage says that made the object, or has nothing to say, is taken."""
    smile.fault("put", say(status), effect=True)
    await success(smile, pictures.job())
    assert len(smile.asked["put"]) == 1


@pytest.mark.usefixtures("soon")
async def test_throttling_is_waited_out(smile: ScriptedSmile, pictures: Pictures) -> None:
    """429 with Retry-After closes the limiter for as long as asked; the job then goes through with one provider job."""
    for leg in ("upload", "job_status"):
        smile.fault(leg, say(429, {"error": "slow down"}, {"Retry-After": "1"}))  # type: ignore[arg-type]
    begun = time.monotonic()
    await success(smile, pictures.job())
    assert time.monotonic() - begun >= 1.9


@pytest.mark.parametrize(
    ("header", "least"),
    [("", None), ("nonsense", None), ("-5", None), ("7", 7.0), ("date", 3500.0), ("999999999", 86_400.0)],
)
async def test_throttling_beyond_our_patience_is_told(
    header: str, least: float | None, smile: ScriptedSmile, pictures: Pictures
) -> None:
    """RateLimited carries what the server asked for, as seconds or as a date, None if that was nothing sensible."""
    value = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True) if header == "date" else header
    smile.fault("upload", say(429, {"error": "slow down"}, {"Retry-After": value}), always=True)
    error = await failure(smile, pictures.job(), patience=0.3)
    if isinstance(error, RateLimited):
        assert (error.status, error.retryable) == (429, True)
        assert (error.retry_after or 0) >= (least or 0)
        assert (error.retry_after is None) == (least is None)
    else:
        # Without Retry-After the limiter closes for a second, which our patience does not last.
        assert least is None
        assert type(error) is Unavailable
    assert error.retryable


async def test_a_throttled_request_does_not_speed_up_its_neighbours(smile: ScriptedSmile, pictures: Pictures) -> None:
    """503 with Retry-After holds back other jobs too: who waits at the limiter has sent nothing, and says so."""
    smile.fault("upload", say(503, b"", {"Retry-After": "30"}))
    async with session_of(smile) as session:
        with pytest.raises(Unavailable) as first:
            await session.submit(pictures.job(), patience=0.3)
        with pytest.raises(Unavailable, match="did not get its turn") as second:
            await session.submit(pictures.job(), patience=0.3)
    assert first.value.ticket is not None
    assert (second.value.ticket, second.value.retryable) == (None, True)
    assert len(smile.asked["upload"]) == 1


@pytest.mark.parametrize("act", [silence, drip()], ids=["silence", "drip"])
@pytest.mark.parametrize(("leg", "kind"), [("upload", Unavailable), ("put", Unavailable), ("job_status", StillPending)])
async def test_patience_bounds_every_leg(
    leg: Leg, kind: type[SmileError], act: Act, smile: ScriptedSmile, pictures: Pictures
) -> None:
    """A peer that says nothing, or a byte now and then, costs our patience and not much more; the ticket is kept."""
    smile.fault(leg, act, always=True)
    begun = time.monotonic()
    error = await failure(smile, pictures.job(job_id="j1"), patience=0.3)
    assert time.monotonic() - begun < 0.3 + 2.5
    assert type(error) is kind
    assert error.ticket is not None
    assert error.ticket.job_id == "j1"


async def test_every_attempt_is_signed_afresh(smile: ScriptedSmile, pictures: Pictures) -> None:
    """No two requests of a session share a timestamp: neither polls, nor retries, nor the zip's own."""
    job = pictures.job(job_id="j1")
    smile.plans["j1"] = ["", "", "", "0822", "0820"]
    smile.fault("upload", say(500), reset_after_reading)
    async with session_of(smile) as session:
        await session.verify(job, until="final")
    stamps = smile.tickets_of("upload") + smile.tickets_of("job_status")
    assert len(smile.asked["upload"]) == 3
    assert len(smile.asked["job_status"]) >= 5
    with zipfile.ZipFile(io.BytesIO(smile.jobs["j1"].zips[0])) as archive:
        assert archive.testzip() is None
        stamps.append(json.loads(archive.read("info.json"))["misc_information"]["timestamp"])
        assert archive.read("selfie.jpg") == pictures.selfie
    assert len(set(stamps)) == len(stamps)
    for asked in smile.asked["upload"] + smile.asked["job_status"]:
        assert asked.fields["signature"] == sign(asked.fields["timestamp"], KEY)


class OtherTime(SystemClock):
    """A machine whose wall clock is off."""

    def __init__(self, off: float) -> None:
        self.off = off

    def time(self) -> float:
        return time.time() + self.off


@pytest.mark.parametrize("hours", [-24, 24])
async def test_a_wrong_clock_costs_one_request(hours: int, pictures: Pictures) -> None:
    """A machine a day off learns the server's time from the first refusal and succeeds with the second request."""
    async with Sandbox.serve() as running, session_of(running, clock=OtherTime(hours * 3600.0)) as session:
        running.sandbox.enroll("ada")
        verdict = await session.verify(pictures.job())
        assert verdict.approved
        assert abs(session._driver.dialect.server_clock.skew + hours * 3600) < 10
        assert (await session.status(verdict.ticket)).verdict is not None
        assert session.stats.retries == 0


async def test_a_wrong_clock_does_not_hide_that_an_upload_may_have_arrived(
    smile: ScriptedSmile, pictures: Pictures
) -> None:
    """A 502 for /upload whose Date shows a wrong clock is as ambiguous as any: 2215 then means our own job."""
    late = {"Date": formatdate(time.time() + 7200, usegmt=True)}
    smile.fault("upload", say(502, b"", late), effect=True)
    verdict = await success(smile, pictures.job(job_id="j1"))
    assert verdict.approved
    assert (smile.jobs["j1"].created, len(smile.jobs["j1"].zips)) == (1, 1)


UNKNOWN = say(404, {"error": "Job not found", "code": "2304"})


async def test_our_own_job_is_waited_for_until_it_is_known(smile: ScriptedSmile, pictures: Pictures) -> None:
    """After a lost /upload our job exists, and /job_status does not know it for a moment: it is asked again, and the
    job goes on as the one that it is.
    """
    smile.fault("upload", reset_after_reading, effect=True)
    smile.fault("job_status", UNKNOWN, UNKNOWN)
    begun = time.monotonic()
    await success(smile, pictures.job(job_id="j1"))
    assert time.monotonic() - begun >= 0.75
    assert len(smile.jobs["j1"].zips) == 1


async def test_a_job_that_stays_unknown_ends_with_patience(smile: ScriptedSmile, pictures: Pictures) -> None:
    """If /job_status does not know our job for as long as we have patience, the error does not call it somebody else's:
    calling again with the same job finishes it.
    """
    job = pictures.job(job_id="j1")
    async with session_of(smile) as session:
        smile.fault("upload", reset_after_reading, effect=True)
        smile.fault("job_status", *[UNKNOWN] * 7)
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="exists, but is not known to /job_status yet") as caught:
            await session.submit(job, patience=2.0)
        assert time.monotonic() - begun < 3.0
        smile._faults["job_status"].clear()
        assert (caught.value.ticket, caught.value.retryable) == (job.ticket, True)
        assert (await session.verify(job, patience=20)).approved
    assert (smile.jobs["j1"].created, len(smile.jobs["j1"].zips)) == (1, 1)


async def test_what_was_refused_for_a_wrong_clock_did_leave(
    smile: ScriptedSmile, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the request signed anew does not leave any more, the error still has the ticket of the one that did."""
    late = {"Date": formatdate(time.time() + 7200, usegmt=True)}
    smile.fault("upload", say(401, {"error": "stale", "code": "2205"}, late))
    async with session_of(smile) as session:
        send, sent = Pool.send, 0

        async def once(pool: Pool, *args: Any) -> Reply:
            nonlocal sent
            sent += 1
            if sent > 1:
                raise NoReply(Sent.UNSENT, "nobody there")
            return await send(pool, *args)

        monkeypatch.setattr(Pool, "send", once)
        with pytest.raises(Unavailable) as caught:
            await session.submit(pictures.job(job_id="j1"))
    assert caught.value.ticket is not None
    assert caught.value.retryable


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("status", [408, 425])
async def test_what_asks_to_be_sent_again_is(status: int, smile: ScriptedSmile, pictures: Pictures) -> None:
    """408 and 425, for any leg of the API, are answered by another attempt."""
    for leg in ("upload", "job_status"):
        smile.fault(leg, say(status))  # type: ignore[arg-type]
    assert (await success(smile, pictures.job(job_id="j1"))).approved
    assert smile.jobs["j1"].created == 1


async def test_a_right_clock_is_not_corrected_by_nonsense(smile: ScriptedSmile, pictures: Pictures) -> None:
    """A Date header that is missing, senseless or a few seconds off changes nothing."""
    for date in ("", "yesterday", formatdate(time.time() + 3, usegmt=True), "Mon, 99 Jan 99999 00:00:00 GMT"):
        smile.jobs.clear()
        smile.headers["Date"] = date
        async with session_of(smile) as session:
            assert (await session.verify(pictures.job())).approved
            assert session._driver.dialect.server_clock.skew == 0.0


async def test_a_clock_set_right_is_noticed(smile: ScriptedSmile, pictures: Pictures) -> None:
    """When the machine's clock is corrected while a session runs, the correction learned before is dropped."""
    clock = OtherTime(3600.0)
    async with session_of(smile, clock=clock) as session:
        await session.verify(pictures.job())
        assert session._driver.dialect.server_clock.skew < -3500
        clock.off = 0.0
        await session.verify(pictures.job())
        assert session._driver.dialect.server_clock.skew == 0.0


async def test_a_clock_that_jumps_about_is_no_excuse(smile: ScriptedSmile, pictures: Pictures) -> None:
    """A refusal is looked at with the server's time once: if that is refused as well, it is a refusal."""
    for hours in (24, 48, 72):
        date = formatdate(time.time() + 3600 * hours, usegmt=True)
        smile.fault("upload", say(400, {"error": "unauthorized", "code": "2205"}, {"Date": date}))
    assert isinstance(await failure(smile, pictures.job()), NotAuthorized)
    assert len(smile.asked["upload"]) == 2


async def test_a_dry_budget_ends_retries(smile: ScriptedSmile, pictures: Pictures) -> None:
    """When too much has failed lately, an attempt's first failure is final: no storm of retries."""
    smile.fault("upload", say(500), always=True)
    async with session_of(smile, limits=Limits(uploads=50)) as session:
        while session._driver._budget.tokens >= 14:
            session._driver._budget.take()
        with pytest.raises(Unavailable) as caught:
            await session.submit(pictures.job())
    assert caught.value.retryable
    assert len(smile.asked["upload"]) == 1


async def test_a_retry_without_the_time_for_it_costs_nothing(
    smile: ScriptedSmile, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline is looked at before the budget pays: what is never sent again leaves the others their retries."""
    monkeypatch.setattr(driver, "backoff", lambda *_, **__: 5.0)
    smile.fault("upload", say(500), always=True)
    async with session_of(smile) as session:
        with pytest.raises(Unavailable, match="HTTP 500"):
            await session.submit(pictures.job(), patience=4.0)
        assert (session._driver._budget.tokens, session.stats.retries) == (500, 0)


async def test_one_blocked_id_number_holds_up_nobody_else(smile: ScriptedSmile, pictures: Pictures) -> None:
    """429 with 2222 is about one id number: it is not tried again, and other jobs go on at once."""
    smile.fault("upload", say(429, {"error": "blocked", "code": "2222"}, {"Retry-After": "30"}))
    async with session_of(smile) as session:
        with pytest.raises(RateLimited, match="blocked for days") as caught:
            await session.submit(pictures.job())
        assert (caught.value.retryable, len(smile.asked["upload"])) == (False, 1)
        assert (await session.verify(pictures.job(), patience=5.0)).approved


async def test_an_unknown_ca_leads_to_its_setting(
    authority: Authority, foreign_authority: Authority, pictures: Pictures
) -> None:
    """Who meets a certificate that is not trusted hears of ca_file and its variable."""
    async with ScriptedSmile(authority) as smile:
        error = await failure(smile, pictures.job(), patience=0.5, ca_file=foreign_authority.ca_file)
    assert isinstance(error, Unavailable)
    assert "with a CA of its own let ca_file or SMILE_CA_FILE name its certificate" in str(error)


async def test_status_insists_and_explains(smile: ScriptedSmile, session_factory: Callable[..., SmileSession]) -> None:
    """status() repeats passing faults, at once where an old connection broke; errors carry the ticket asked about."""
    ticket = Ticket("ada", "unknown", 2)
    async with session_factory(smile) as session:
        with pytest.raises(JobNotFound) as caught:
            await session.status(ticket)
        assert (caught.value.ticket, caught.value.code) == (ticket, "2304")
        smile.fault("job_status", say(500), reset_after_reading, raw_reply_of_nothing())
        with pytest.raises(SmileError):
            await session.status(ticket)
        assert session.stats.retries == 3
    assert len(smile.asked["job_status"]) == 5


def raw_reply_of_nothing() -> Act:
    """A reply cut before its last byte."""
    return cut(raw_reply(200, b"{}")[:-1])


async def test_no_time_left_is_unsent(smile: ScriptedSmile, pictures: Pictures) -> None:
    """A deadline that has passed before anything could be sent: nothing left, and calling again is safe."""
    async with session_of(smile) as session:
        with pytest.raises(Unavailable, match="before its patience was over") as caught:
            await session.submit(pictures.job(), patience=-1.0)
    assert (caught.value.ticket, caught.value.retryable) == (None, True)
    assert not smile.asked


@pytest.fixture
def session_factory() -> Callable[..., SmileSession]:
    """Makes a session for a server."""
    return session_of
