"""The builders for respx users: what they make is believed by a session, and by nobody with another key."""

import subprocess
import sys
import time
from typing import Any

import httpx
import pytest
import respx

from smile_async import Decision, Job, Pace, SmileSession, Ticket, verify_callback
from smile_async.errors import ForgedReply, StaleReply, StillPending, UserNotEnrolled
from smile_async.testing import (
    API_KEY,
    BASE_URL,
    PARTNER_ID,
    SELFIE,
    UPLOAD_URL,
    callback_body,
    status_reply,
    upload_reply,
)

TICKET = Ticket("ada", "login-1", 2)


def session(**settings: Any) -> SmileSession:
    """A session on the account of the builders."""
    return SmileSession(PARTNER_ID, API_KEY, **{"pace": Pace.fixed(0.01, 1, 0.01), **settings})


def smile(*statuses: dict[str, Any], upload: dict[str, Any] | None = None) -> None:
    """Smile ID by respx: each status query gets the next of *statuses*, the last one for ever."""
    replies = [httpx.Response(200, json=body) for body in statuses]
    respx.post(f"{BASE_URL}/upload").respond(400 if upload else 200, json=upload or upload_reply())
    respx.put(UPLOAD_URL).respond(200)
    respx.post(f"{BASE_URL}/job_status").mock(side_effect=lambda _: replies.pop(0) if len(replies) > 1 else replies[0])


@respx.mock
async def test_pending_then_provisional_then_final() -> None:
    """A job can be told through all its stations, and `until="final"` waits for the last."""
    provisional = status_reply("ada", "login-1", code="0822")
    smile(
        status_reply("ada", "login-1", code=None),
        provisional,
        status_reply("ada", "login-1", code="1220", history=["1220", "0822"], image_links={"selfie_image": "x"}),
    )
    assert provisional["job_complete"] is False
    async with session() as open_session:
        verdict = await open_session.verify(Job.authenticate("ada", SELFIE, job_id="login-1"), until="final")
        status = await open_session.status(TICKET, history=True, image_links=True)
    assert (verdict.approved, verdict.code, verdict.confidence) == (True, "1220", 99.0)
    assert [past.code for past in status.history] == ["1220", "0822"]
    assert status.image_links == {"selfie_image": "x"}
    assert status.complete


@respx.mock
async def test_no_zip_yet() -> None:
    """`call_code="2314"` says that no pictures have come."""
    smile(status_reply("ada", "login-1", code=None, call_code="2314"))
    async with session() as open_session:
        status = await open_session.status(TICKET)
        with pytest.raises(StillPending):
            await open_session.wait(TICKET, patience=0.05)
    assert status.waiting_for_zip


@respx.mock
@pytest.mark.parametrize(
    ("code", "decision", "complete", "success"),
    [
        ("0820", Decision.APPROVED, True, True),
        ("0821", Decision.REJECTED, True, False),
        ("0822", Decision.PROVISIONAL, False, False),
        ("7777", Decision.UNKNOWN, True, False),
    ],
)
async def test_codes(code: str, decision: Decision, complete: bool, success: bool) -> None:
    """job_complete and job_success follow from the code, unknown codes included."""
    body = status_reply("ada", "login-1", code=code, ConfidenceValue="7")
    smile(body)
    async with session() as open_session:
        status = await open_session.status(TICKET)
    assert (body["job_complete"], body["job_success"]) == (complete, success)
    assert status.verdict is not None
    assert (status.verdict.decision, status.verdict.confidence) == (decision, 7.0)


@respx.mock
async def test_refusal() -> None:
    """Another code than 2202 is a refusal with Smile's text."""
    smile(status_reply("ada", "login-1"), upload=upload_reply(code="2210"))
    async with session() as open_session:
        with pytest.raises(UserNotEnrolled) as caught:
            await open_session.submit(Job.authenticate("ada", SELFIE))
    assert caught.value.message == "No enrolled user found"


@respx.mock
@pytest.mark.parametrize(
    ("settings", "error"), [({"api_key": "another"}, ForgedReply), ({"timestamp": time.time() - 9999}, StaleReply)]
)
async def test_forgeries(settings: dict[str, Any], error: type[Exception]) -> None:
    """A reply signed with another key, or long ago, is as little believed as a real one would be."""
    smile(status_reply("ada", "login-1", **settings))
    async with session() as open_session:
        with pytest.raises(error):
            await open_session.status(TICKET)


def test_callback() -> None:
    """A callback is believed by verify_callback, with its own timestamp and fields."""
    body = callback_body("ada", "login-1", code="1221", timestamp="2026-01-02T03:04:05.678Z", Source="WebAPI2")
    verdict = verify_callback(body, partner_id=PARTNER_ID, api_key=API_KEY, now=1_767_323_045.0)
    assert (verdict.ticket.user_id, verdict.decision, verdict.confirmed) == ("ada", Decision.REJECTED, False)
    assert verdict.raw["Source"] == "WebAPI2"


def test_no_test_tools_needed() -> None:
    """Importing the builders imports neither respx nor pytest."""
    check = "import sys, smile_async.testing; sys.exit(any(name in sys.modules for name in ('respx', 'pytest')))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
