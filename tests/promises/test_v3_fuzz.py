"""Replies and webhooks of V3 that somebody has tampered with: only SmileErrors and Faults come out, in bounded time,
and never an approval of another job or user.

`FUZZ` and `FUZZ_SEED` as in test_fuzz.py, which knows how to mutate.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
from ground_support import NOW
from test_fuzz import COUNT, ODD, SEED, attempt, mutated
from v3_support import HEADERS, JOBS, TYPE_ID, signed_headers

from smile_async import Product, Ticket, Verdict
from smile_async.jobs.verdict import JobStatus
from smile_async.protocol.callback_urls import Address
from smile_async.protocol.entries import read_documents
from smile_async.protocol.steps import Fault
from smile_async.protocol.v3.endpoints import ENDPOINTS
from smile_async.protocol.v3.judging import judge_status, judge_submission
from smile_async.protocol.v3.refusals import refusal
from smile_async.protocol.v3.services import read_services
from smile_async.protocol.v3.tokens import read_token
from smile_async.protocol.v3.webhooks import Webhook, completion_flaw, judge_webhook

TICKET = Ticket("ada", "7f3e", 2, TYPE_ID, api="v3")
STATUS = {"status": "clear", "job_id": TYPE_ID, "user_id": "ada", "message": "Job completed", "created_at": "now"}
ACCEPTED = {"status": "accepted", "job_id": TYPE_ID, "user_id": "ada", "message": "Job submitted"}
RESULT = {
    "status": "clear",
    "reason": "high_risk",
    "message": "Verification successful",
    "completed_at": "2026-01-02T03:04:05.678Z",
    "partner_params": {"smile_async_job": "7f3e", "ref": "r"},
    "image_links": {"selfie_image": "https://bucket.example/1.jpg?Signature=s"},
    "id_fields": {"full_name": "Ada Obi", "dob": "1990-01-31"},
    "people": [{"name": "Ada Obi"}],
    "antifraud": {"summary": {"fraud_detected": False}},
}
TOKEN = {"token": "e30.eyJpYXQiOjAsImV4cCI6OTAwfQ.c2ln"}
SERVICES = {
    "id_types": [{"country": "NG", "type": "BVN", "required_fields": ["country"]}],
    "bank_codes": [{"code": "1"}],
}
DOCUMENTS = {"valid_documents": [{"country": {"code": "NG", "name": "Nigeria"}, "id_types": [{"code": "PASSPORT"}]}]}
REFUSAL = {"status": "bad_request", "message": "no", "error": "no", "code": "2413", "job_id": None}
JOB_OF = {product: JOBS[product] for product in (Product.REGISTRATION, Product.ENHANCED_KYC, Product.AML_CHECK)}
NAMES = ("response-timestamp", "response-signature", "smileid-job-id", "job-id", "user-id", "api-version")


def no_fault(call: Callable[[], Any]) -> Any:
    """What *call* returns, or the error of its Fault."""
    try:
        return call()
    except Fault as fault:
        return fault.error


def headers_of(rng: random.Random) -> dict[str, str]:
    """Signed headers, one of them odd, at times."""
    told = signed_headers(job_id=TYPE_ID, user_id="ada", smileid_job_id=TYPE_ID)
    if rng.random() < 0.4:
        told[rng.choice(NAMES)] = rng.choice([str(each) for each in ODD])
    if rng.random() < 0.2:
        told.pop(rng.choice(list(told)))
    return told


def test_replies() -> None:
    """Mutated replies of every kind, under odd headers and statuses."""
    for seed in range(SEED, SEED + COUNT):
        rng = random.Random(seed)
        code = rng.choice([200, 200, 200, 200, 202, 202, 400, 404, 408, 424, 429, 500, 504])
        body = mutated(rng, STATUS)
        told = attempt(
            "status",
            seed,
            lambda: no_fault(lambda: judge_status(code, body, TICKET, "/status", None)),  # noqa: B023
        )
        if isinstance(told, JobStatus) and told.verdict is not None:
            assert told.verdict.ticket == TICKET, seed
            assert code == 200, seed
        _submitted(rng, seed, code)
        attempt("token", seed, lambda: read_token(mutated(rng, TOKEN), 0.0))  # noqa: B023
        attempt("refusal", seed, lambda: refusal(400, mutated(rng, REFUSAL), "it"))  # noqa: B023


def _submitted(rng: random.Random, seed: int, code: int) -> None:
    product, job = rng.choice(list(JOB_OF.items()))
    endpoint = ENDPOINTS[product]
    sync = bool(endpoint.sync)
    reply = (code, headers_of(rng), mutated(rng, RESULT if sync else ACCEPTED))
    told = attempt(
        "submission",
        seed,
        lambda: no_fault(lambda: judge_submission(job, endpoint, reply, "it", signer=HEADERS, now=NOW, sync=sync)),
    )
    if isinstance(told, Verdict | Ticket):
        ticket = told.ticket if isinstance(told, Verdict) else told
        assert (ticket.user_id, ticket.job_id, ticket.api) == ("ada", "7f3e", "v3"), seed
        assert ticket.smile_job_id, seed
    if isinstance(told, Verdict) and told.approved:
        assert reply[1]["response-signature"] == signed_headers()["response-signature"], seed


def test_webhooks() -> None:
    """Mutated webhooks: nothing that is not signed is read, and no TypeID is given to a ticket that does not fit."""
    for seed in range(SEED, SEED + COUNT):
        rng = random.Random(seed)
        headers, body = headers_of(rng), mutated(rng, RESULT)
        hook = attempt("webhook", seed, lambda: judge_webhook(headers, body, HEADERS, NOW))  # noqa: B023
        if not isinstance(hook, Webhook):
            continue
        assert headers["response-signature"] == signed_headers()["response-signature"], seed
        verdict = attempt("verdict", seed, lambda: hook.verdict(TICKET))  # noqa: B023
        assert verdict is None or not verdict.approved, seed
        unnamed = replace(TICKET, smile_job_id=None)
        status = JobStatus(replace(unnamed, user_id=hook.user_id, smile_job_id=hook.type_id), "clear", complete=True)
        flaw = completion_flaw(hook, unnamed, status, address=Address("7f3e", NOW - 60.0), bound_to=None)
        if not flaw:
            assert (hook.user_id, hook.type_id) == ("ada", TYPE_ID), seed


def test_lists() -> None:
    """Mutated lists: what is odd is left out."""
    for seed in range(SEED, SEED + COUNT):
        rng = random.Random(seed)
        for valid, read in ((SERVICES, read_services), (DOCUMENTS, read_documents)):
            try:
                found = orjson.loads(mutated(rng, valid))
            except ValueError:
                continue
            if isinstance(found, dict) and found.keys() & valid.keys():
                attempt(read.__name__, seed, lambda: read(found))  # noqa: B023
