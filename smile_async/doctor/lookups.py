"""Jobs without a picture, by the documented test numbers of the sandbox, and the token of the web widget."""

import asyncio
import base64
import binascii
from collections.abc import Iterator, Mapping
from functools import partial
from time import monotonic
from typing import Any

import orjson

from smile_async.doctor.answers import Answer
from smile_async.doctor.examination import Examination
from smile_async.doctor.findings import Finding
from smile_async.doctor.reading_jobs import of_lookup, of_record, of_second_lookup, of_token
from smile_async.doctor.redaction import Redaction
from smile_async.doctor.selfie import status_of
from smile_async.doctor.wire import Wire
from smile_async.jobs.id_info import IdInfo
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.protocol.v1.account import account_body, token_call
from smile_async.protocol.v1.endpoints import ENDPOINTS, request_body

__all__ = ["claims_of", "lookups", "web_token"]

#: Eleven zeros, which are a NIN and a BVN; the last digit says "found" (wire.md §11).
_NUMBER = "00000000000"
#: Seconds between questions whether a lookup is on record.
_GAPS = (0.0, 0.5, 1.0, 2.0)


def _jobs(user_id: str) -> Iterator[Job]:
    person = IdInfo("NG", "NIN_V2", _NUMBER, first_name="Doctor", last_name="Examination", dob="1990-01-01")
    company = IdInfo("NG", "BUSINESS_REGISTRATION", "0000000", business_type="co")
    yield Job.enhanced_kyc(user_id, person)
    yield Job.basic_kyc(user_id, person)
    yield Job.business_verification(user_id, company)
    yield Job.aml_check(user_id, "Doctor Examination", ["NG"], birth_year="1990")


async def lookups(exam: Examination, wire: Wire, user_id: str) -> None:
    """One job of each product that is asked in one request."""
    exam.report.redaction.hide(_NUMBER)
    for job in _jobs(user_id):
        await exam.probe(f"lookup: {job.product}", partial(_looked_up, wire, job))


async def _looked_up(wire: Wire, job: Job) -> list[Finding]:
    assert job.product is not None  # noqa: S101 - the makers give it
    first = await _request(wire, job)
    found = of_lookup(job.product, first, wire.settings.signer)
    if "ResultCode" not in first.found:
        return found
    began = monotonic()
    for gap in _GAPS:
        await asyncio.sleep(gap)
        status = await status_of(wire, Ticket(job.user_id, job.job_id, job.job_type))
        if isinstance(status.found.get("result"), Mapping):
            break
    found += of_record(job.product, status, monotonic() - began)
    return [*found, *of_second_lookup(job.product, await _request(wire, job))]


async def _request(wire: Wire, job: Job) -> Answer:
    assert job.product is not None  # noqa: S101 - the makers give it
    endpoint, settings = ENDPOINTS[job.product], wire.settings
    about = {"partner_id": settings.signer.partner_id, "callback_url": settings.callback_url}
    return await wire.post(endpoint.path, lambda stamp: request_body(job, endpoint, stamp=stamp, **about))


async def web_token(wire: Wire, user_id: str, redaction: Redaction) -> list[Finding]:
    """Ask for the token of a widget that nobody opens, without a callback URL."""
    call = token_call(user_id, f"{user_id}-web", "smartselfie", "")
    partner_id = wire.settings.signer.partner_id
    answer = await wire.post("/v1/token", lambda stamp: account_body(call, partner_id=partner_id, stamp=stamp))
    token = answer.found.get("token")
    if isinstance(token, str):
        redaction.hide(token)
    return of_token(answer, claims_of(token))


def claims_of(token: object) -> Mapping[str, Any]:
    """What a JWT claims, unchecked; nothing for what is none."""
    parts = token.split(".") if isinstance(token, str) else []
    if len(parts) != 3:
        return {}
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}
