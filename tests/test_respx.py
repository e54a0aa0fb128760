"""A user's own test: respx in front of the default engine, replies signed as Smile ID signs them."""

import json
import time
from typing import Any

import httpx
import pytest
import respx
from street import QUICK, Pictures

from smile_async import Decision, Job, Limits, SmileSession
from smile_async.errors import ForgedReply, RateLimited, Unavailable
from smile_async.protocol.signature import Secret, Signer, format_timestamp

pytestmark = pytest.mark.usefixtures("tidy")

API = "https://testapi.smileidentity.com/v1"
STORAGE = "https://bucket.s3.us-west-2.amazonaws.com/videos/085/selfie.zip"


def upload_reply() -> dict[str, Any]:
    """What /upload answers (wire.md §4)."""
    return {"upload_url": f"{STORAGE}?Signature=x", "smile_job_id": "0000000042", "code": "2202", "ref_id": "r"}


def status_reply(job: Job, code: str = "0820", key: str = "key") -> dict[str, Any]:
    """What /job_status answers (wire.md §6), signed."""
    timestamp = format_timestamp(time.time())
    params = {"user_id": job.user_id, "job_id": job.job_id, "job_type": str(int(job.job_type))}
    return {
        "timestamp": timestamp,
        "signature": Signer("085", Secret(key)).sign(timestamp),
        "code": "2302",
        "job_complete": True,
        "job_success": False,
        "result": {
            "ResultCode": code,
            "ResultText": "",
            "SmileJobID": "0000000042",
            "PartnerParams": params,
            "ConfidenceValue": "99",
        },
    }


def session() -> SmileSession:
    """A session of a user who tests with respx: nothing about it is special but its pace."""
    return SmileSession("085", "key", pace=QUICK, limits=Limits(uploads=2))


async def test_a_job_from_start_to_end(pictures: Pictures) -> None:
    """Under respx the default engine carries a job over all three legs, and every route was called."""
    job = pictures.job(liveness=pictures.liveness)
    with respx.mock(assert_all_called=True, assert_all_mocked=True) as router:
        upload = router.post(f"{API}/upload").respond(json=upload_reply())
        put = router.put(STORAGE, params={"Signature": "x"}).respond(200)
        status = router.post(f"{API}/job_status").mock(
            side_effect=[
                httpx.Response(200, json=status_reply(job, "0822")),
                httpx.Response(200, json=status_reply(job, "1220")),
            ]
        )
        async with session() as smile:
            verdict = await smile.verify(job, until="final")
    assert (verdict.approved, verdict.code, verdict.confidence) == (True, "1220", 99.0)
    assert verdict.ticket.smile_job_id == "0000000042"
    assert (upload.call_count, put.call_count, status.call_count) == (1, 1, 2)
    sent = json.loads(upload.calls.last.request.content)
    assert (sent["smile_client_id"], sent["partner_params"]["job_id"]) == ("085", job.job_id)
    request = put.calls.last.request
    assert request.headers["content-type"] == "application/zip"
    assert int(request.headers["content-length"]) > 9 * len(pictures.selfie) // 2
    assert "transfer-encoding" not in request.headers


async def test_side_effects_become_errors(pictures: Pictures) -> None:
    """What respx raises or answers in place of Smile ID comes out as this library's errors."""
    with respx.mock() as router:
        route = router.post(f"{API}/upload")
        async with session() as smile:
            route.mock(side_effect=httpx.ConnectError("no route to host"))
            with pytest.raises(Unavailable, match="no route to host") as unsent:
                await smile.submit(pictures.job())
            assert unsent.value.ticket is None
            route.mock(side_effect=httpx.ReadError)
            with pytest.raises(Unavailable) as ambiguous:
                await smile.submit(pictures.job())
            assert ambiguous.value.ticket is not None
            route.mock(return_value=httpx.Response(429, headers={"retry-after": "60"}, json={"error": "slow down"}))
            with pytest.raises(RateLimited) as limited:
                await smile.submit(pictures.job(), patience=1.0)
            assert limited.value.retry_after == 60


async def test_a_reply_signed_with_the_wrong_key_is_refused_under_respx_too(pictures: Pictures) -> None:
    """A mock that does not sign properly is noticed: the test would have proved nothing."""
    job = pictures.job()
    with respx.mock() as router:
        router.post(f"{API}/job_status").respond(json=status_reply(job, key="another"))
        async with session() as smile:
            with pytest.raises(ForgedReply):
                await smile.wait(job.ticket)


async def test_a_stream_under_respx(pictures: Pictures) -> None:
    """A stream of jobs runs against respx, a rejected face included."""
    jobs = {f"j{number}": pictures.job(job_id=f"j{number}") for number in range(5)}

    def status(request: httpx.Request) -> httpx.Response:
        job = jobs[json.loads(request.content)["job_id"]]
        reply = status_reply(job, "0821" if job.job_id == "j3" else "0820")
        reply["result"]["SmileJobID"] = "0000000042"
        return httpx.Response(200, json=reply)

    with respx.mock(assert_all_called=True) as router:
        router.post(f"{API}/upload").respond(json=upload_reply())
        router.put(url__startswith=STORAGE).respond(200)
        router.post(f"{API}/job_status").mock(side_effect=status)
        async with session() as smile, smile.stream(jobs.values()) as outcomes:
            ended = {o.job.job_id: o.verdict.decision async for o in outcomes}  # type: ignore[union-attr]
    assert ended.pop("j3") is Decision.REJECTED
    assert set(ended.values()) == {Decision.APPROVED}
