"""The canary: keys, pictures and presigned queries show up nowhere, whatever happens.

Every logger speaks at DEBUG; every exception is written out with the locals of all its frames and of everything it was
raised from, the way a crash reporter does, except for the frames of the test itself.
"""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from canary_support import Canary
from scripted import KEY, PRESIGNED, Act, Leg, ScriptedSmile, cut, drip, raw_reply, reset_after_reading, say, silence
from street import ENGINES, Pictures, session_of, until

from smile_async import Failed, Image, Job, SmileSession
from smile_async.errors import SmileError
from smile_async.sandbox import RunningSandbox

pytestmark = pytest.mark.usefixtures("tidy")


def test_the_canary_sings(caplog: pytest.LogCaptureFixture) -> None:
    """What this module relies on: a secret in a log, in a frame's local or in an exception's past is found."""

    def fail(secret: str) -> None:
        raise ValueError("said nothing")

    def leak() -> BaseException:
        try:
            exec(compile("def f(secret, fail):\n    fail(secret)", "elsewhere.py", "exec"), space := {})
            space["f"](KEY, fail)
        except ValueError as error:
            return error
        raise AssertionError

    for show in (lambda c: c.look_at_error(leak()), lambda c: c.look([KEY]), lambda c: logging.warning("%s", KEY)):  # noqa: LOG015
        canary = Canary(caplog, KEY)
        show(canary)
        with pytest.raises(AssertionError, match="shows in"):
            canary.assert_nothing()
        caplog.clear()


@pytest.mark.parametrize("http", ENGINES)
async def test_nothing_shows_when_all_goes_well(
    http: str, running: RunningSandbox, pictures: Pictures, canary: Canary
) -> None:
    """A whole day over real sockets: no key, no picture, no signature of a presigned URL anywhere."""
    canary.secrets += [running.api_key, "AWSAccessKeyId", "SANDBOX001"]
    inline = Image.from_base64(base64.b64encode(pictures.selfie), inline=True)
    async with session_of(running, http=http) as session:
        job = pictures.job(liveness=pictures.liveness)
        canary.look(session, job, job.spent(), job.selfie, inline, session.limits, session._settings)
        verdict = await session.verify(job, history=True, image_links=True)
        assert "AWSAccessKeyId" in verdict.image_links["selfie_image"]
        status = await session.status(verdict.ticket, history=True, image_links=True)
        canary.look(verdict, status, verdict.ticket, session.stats)
        async with session.stream([Job.authenticate("ada", inline), pictures.filed()]) as outcomes:
            async for outcome in outcomes:
                canary.look(outcome, outcome.job)
        async with session.follow(verdict.ticket) as verdicts:
            canary.look(verdicts, await anext(verdicts))
        canary.look(session._driver, session.sender, session.poller, session._api, session._storage)
    canary.assert_nothing()


ACTS: dict[str, Act] = {
    "html": say(200, b"<html>"),
    "truncated": say(200, b'{"code": "2202", "upload_url": "https://127.0.0.1/?' + PRESIGNED.encode()),
    "not a string": say(200, {"code": "2202", "upload_url": [PRESIGNED], "result": PRESIGNED, "job_complete": [KEY]}),
    "20 MB": say(200, PRESIGNED.encode() * 400_000),
    "redirect": say(307, b"", {"Location": f"https://127.0.0.1/?{PRESIGNED}"}),
    "reset": reset_after_reading,
    "cut": cut(raw_reply(200, f"https://127.0.0.1/?{PRESIGNED}".encode())[:-1]),
    "500": say(500, PRESIGNED.encode()),
    "400": say(400, f"<Error>{PRESIGNED}</Error>".encode()),
    "403": say(403, {"code": "2205", "error": "unauthorized"}),
    "429": say(429, b"", {"Retry-After": "30"}),
    "silence": silence,
    "drip": drip(),
}


async def _verify(session: SmileSession, job: Job, patience: float = 0.15) -> None:
    await session.verify(job, patience=patience)


async def _stream(session: SmileSession, job: Job) -> None:
    async with session.stream([job], patience=0.3) as outcomes:
        async for outcome in outcomes:
            assert isinstance(outcome, Failed)
            raise outcome.error


async def _status(session: SmileSession, job: Job) -> None:
    await session.status(job.ticket)


async def _caught(work: Awaitable[None]) -> BaseException | None:
    try:
        await work
    except BaseException as error:  # noqa: BLE001 - whatever it is, it may be seen
        return error
    return None


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
@pytest.mark.parametrize("leg", ["upload", "put", "job_status"])
@pytest.mark.parametrize("http", ENGINES)
async def test_nothing_shows_when_a_leg_fails(
    http: str,
    leg: Leg,
    act: Act,
    smile: ScriptedSmile,
    pictures: Pictures,
    canary: Canary,
    request: pytest.FixtureRequest,
) -> None:
    """Every fault on every leg with every engine: no secret in logs, errors, or the locals of any frame."""
    if act is ACTS["redirect"] and http != "pyreqwest":
        reason = "httpcore logs response headers at DEBUG, a Location with its query included"
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    smile.fault(leg, act, always=True)
    job = pictures.job()
    async with session_of(smile, http=http) as session:
        # A redirect ends a job at once, however slow the machine is.
        patience = 20.0 if act is ACTS["redirect"] and leg != "job_status" else 0.15
        error = await _caught(_verify(session, job, patience))
        canary.look(session, session.stats)
        if error is not None:
            assert isinstance(error, SmileError)
            canary.look_at_error(error)
            canary.look(error.job, error.ticket)
        else:
            # A storage that says 200 has taken the zip, whatever else it says.
            assert leg == "put"
    canary.assert_nothing()


@pytest.mark.parametrize(
    "url", ["https://evil.example/", "http://bucket.s3.amazonaws.com/", "https://8.8.8.8/", "https://bad host/"]
)
async def test_nothing_shows_of_a_url_we_refuse(
    url: str, smile: ScriptedSmile, pictures: Pictures, canary: Canary
) -> None:
    """A presigned URL that is not trusted is described, not shown."""
    smile.tampers["upload"] = lambda body: body.update(upload_url=f"{url}?{PRESIGNED}")
    async with session_of(smile) as session:
        error = await _caught(_verify(session, pictures.job()))
        assert error is not None
        canary.look_at_error(error)
    canary.assert_nothing()


@pytest.mark.parametrize("act", [silence, drip()], ids=["silence", "drip"])
@pytest.mark.parametrize("leg", ["upload", "put", "job_status"])
@pytest.mark.parametrize("http", ENGINES)
async def test_nothing_shows_when_a_caller_gives_up(
    http: str, leg: Leg, act: Act, smile: ScriptedSmile, pictures: Pictures, canary: Canary
) -> None:
    """A cancelled call, seen from the TimeoutError of asyncio.timeout, shows no locals with secrets either."""
    smile.fault(leg, act, always=True)

    async def hurried(session: SmileSession) -> None:
        async with asyncio.timeout(0.1):
            await session.verify(pictures.job())

    async with session_of(smile, http=http) as session:
        error = await _caught(hurried(session))
        assert isinstance(error, TimeoutError)
        canary.look_at_error(error)
    canary.assert_nothing()


@pytest.mark.parametrize("leg", ["upload", "put"])
async def test_nothing_shows_when_a_stream_fails(
    leg: Leg, smile: ScriptedSmile, pictures: Pictures, canary: Canary
) -> None:
    """The error of a stream's outcome, raised by its reader, shows nothing."""
    smile.fault(leg, reset_after_reading, always=True)
    async with session_of(smile) as session:
        error = await _caught(_stream(session, pictures.job()))
        assert isinstance(error, SmileError)
        canary.look_at_error(error)
    canary.assert_nothing()


async def test_nothing_shows_when_status_fails(smile: ScriptedSmile, pictures: Pictures, canary: Canary) -> None:
    """A status reply signed with another key, with links in it, shows nothing."""
    smile.fault(
        "job_status", say(200, {"image_links": {"selfie_image": PRESIGNED}, "signature": "x", "timestamp": "y"})
    )
    async with session_of(smile) as session:
        error = await _caught(_status(session, pictures.job()))
        assert error is not None
        canary.look_at_error(error)
    canary.assert_nothing()


@pytest.mark.parametrize(
    "make",
    [
        lambda pictures: SmileSession("0 1", KEY),
        lambda pictures: SmileSession("001", KEY, environment="staging"),
        lambda pictures: SmileSession("001", KEY, previous_api_keys=[KEY, " "]),
        lambda pictures: SmileSession("001", KEY, http="curl"),
        lambda pictures: SmileSession("001", KEY, ca_file="/nowhere"),
        lambda pictures: SmileSession.from_env(partner_id="0 1", api_key=KEY),
        lambda pictures: Job.authenticate("", pictures.selfie),
        lambda pictures: Job.authenticate("ada", pictures.selfie, liveness=[pictures.selfie, 7]),
        lambda pictures: Job.authenticate("ada", pictures.selfie, liveness=pictures.selfie),
        lambda pictures: Job.register("ada", pictures.selfie[:200], liveness=[pictures.selfie]),
        lambda pictures: Job.authenticate("ada", pictures.selfie, partner_params={"job_id": "x"}),
        lambda pictures: Image.from_bytes(pictures.selfie[:200]),
        lambda pictures: Image.from_base64(base64.b64encode(pictures.selfie)[:-3]),
    ],
)
def test_nothing_shows_of_bad_input(make: Callable[[Pictures], Any], pictures: Pictures, canary: Canary) -> None:
    """Bad settings and bad jobs are refused without showing the key or the picture that came with them."""
    with pytest.raises(ValueError) as caught:
        make(pictures)
    canary.look_at_error(caught.value)
    canary.assert_nothing()


async def test_nothing_shows_when_the_session_crashes(
    smile: ScriptedSmile, pictures: Pictures, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log of a defect in the poller, and of its end, and the errors they cause show nothing."""
    async with session_of(smile) as session:
        ticket = await session.submit(pictures.job())

        def defect(*_: object) -> None:
            raise ZeroDivisionError(KEY[:3])

        smile.fault("job_status", *[say(404)] * 500)
        monkeypatch.setattr(session.poller, "_missed", defect)
        waiting = asyncio.create_task(_caught(session.wait(ticket)))  # type: ignore[arg-type]
        await until(lambda: session.poller.polls > 0)
        assert not waiting.done()
        (poller,) = (task for task in asyncio.all_tasks() if task.get_name() == "smile_async poller")
        poller.cancel()
        error = await waiting
        assert error is not None
        canary.look_at_error(error)
        await until(lambda: not session.host.open)
        canary.look(session)
    canary.assert_nothing()
