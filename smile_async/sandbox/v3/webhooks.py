"""What a webhook says of a job, and the headers that sign it: the ids are in the headers, and nothing signs the body.

The fields are those integrators and the provider's OpenAPI file show; that of SmartSelfie is *inferred*: the common
ones without what an authority says.
"""

import string
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import orjson

from smile_async.sandbox.credentials import timestamp_at
from smile_async.sandbox.desk import Desk
from smile_async.sandbox.records import Message
from smile_async.sandbox.replies import image_links

from .answers import TELLING, people
from .records import V3Job
from .tokens import partner_of
from .words import message_of, parted

__all__ = ["API_VERSION", "in_header", "result_of", "signed", "webhook"]

#: Of the OpenAPI file all this is written from.
API_VERSION = "3.952.0"
#: Keys of partner_params that the server keeps for itself.
_RESERVED = ("job_id", "user_id", "job_type", "_sandbox_v3")


def webhook(desk: Desk, job: V3Job, message: Message, now: float) -> tuple[bytes, dict[str, str]]:
    """Body and headers of one webhook, signed at *now*."""
    headers = {**signed(desk, now), "Job-ID": job.job_id, "User-ID": in_header(job.user_id), "Api-Version": API_VERSION}
    return orjson.dumps(result_of(desk, job, message)), {"content-type": "application/json", **headers}


def in_header(user_id: str) -> str:
    """*user_id* as a header can carry it: what is no printable ASCII is percent-encoded (*inferred*)."""
    return quote(user_id, safe=string.punctuation + " ")


def signed(desk: Desk, now: float) -> dict[str, str]:
    """The signature of this moment, as headers."""
    timestamp = timestamp_at(now)
    partner = desk.settings.partner_id if desk.settings.webhook_zeros else partner_of(desk.settings)
    return {"Response-Signature": desk.keys.sign(timestamp, partner), "Response-Timestamp": timestamp}


def result_of(desk: Desk, job: V3Job, message: Message) -> dict[str, Any]:
    """The body of a webhook, and of an answer at once."""
    status, reason = parted(message.code)
    params = {name: value for name, value in job.partner_params.items() if name not in _RESERVED}
    body: dict[str, Any] = {
        "status": status,
        "message": message_of(message.code, enrols=job.product == "registration"),
        "reason": reason,
        "product": job.kind.bound if job.product.startswith(("auth", "reg", "comp", "aml")) else job.product,
        "created_at": timestamp_at(job.created_at),
        "completed_at": None if status == "processing" else timestamp_at(message.at),
        "partner_params": params or None,
        "user_provided_info": {**dict.fromkeys(("email", "phone_number")), **job.details},
        "consent": {"schema_version": "ISO27560-v1", **job.consent},
        "device_signals": None,
        "antifraud": _antifraud(job, reason),
    }
    if job.images:
        body["image_links"] = image_links(desk.settings, desk.keys, job, desk.storage_url or job.origin)
    return body | {name: _TELLS[name](job, status) for name in job.kind.tells}


def _antifraud(job: V3Job, reason: str | None) -> dict[str, Any]:
    fraud = reason in ("high_risk", "account_locked_fraud")
    level, score = ("high", 95) if fraud else ("low", 12)
    if job.product.startswith("aml"):
        return {"fraud_risk_level": level, "fraud_risk_score": score, "fraud_risk_indicator_groups": []}
    return {
        "fraud_risk": {"risk_level": level, "risk_score": score},
        "smile_secure": {"status": "clear", "suspect_users": []},
        "summary": {"fraud_detected": fraud},
    }


_TELLS: Mapping[str, Callable[[V3Job, str], Any]] = {
    "kyc_receipt": lambda job, status: f"{job.origin}/receipts/{job.job_id}" if status in TELLING else None,
    "id_fields": lambda job, status: job.kind.answer(status, job.id_info) or None,
    "additional_documents": lambda _, status: [{"type": "VISA"}] if status in TELLING else [],
    "strict_match": lambda job, _: job.id_info.get("strict_match", True),
    "no_of_persons_found": lambda job, status: len(people(status, job.id_info)),
    "people": lambda job, status: people(status, job.id_info),
}
