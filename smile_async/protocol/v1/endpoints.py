"""Where the one request of each product without pictures goes, and what it says (wire.md §13)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from smile_async.jobs.job import Job
from smile_async.jobs.product import Product
from smile_async.protocol.signature import SignedStamp
from smile_async.protocol.v1.requests import SOURCE_SDK, SOURCE_SDK_VERSION, partner_params

__all__ = ["ENDPOINTS", "Endpoint", "request_body"]


def _id_fields(job: Job) -> dict[str, Any]:
    """The id fields stand beside partner_params, not under a name of their own."""
    assert job.id_info is not None  # noqa: S101 - its product needs it
    return {**job.id_info.fields(), "partner_params": partner_params(job)}


def _screening_fields(job: Job) -> dict[str, Any]:
    """Ids and job type too stand at the top; partner_params hold no more than the partner's own."""
    assert job.screening is not None  # noqa: S101 - its product needs it
    ids = {"user_id": job.user_id, "job_id": job.job_id, "job_type": int(job.job_type)}
    return {**job.screening.fields(), **ids, "partner_params": dict(job.partner_params)}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Paths below the API's host, of the form that answers with the result and of the one that answers *later*."""

    path: str
    later: str = ""
    fields: Callable[[Job], Mapping[str, Any]] = _id_fields


#: A product that is registered elsewhere adds its own here.
ENDPOINTS: dict[Product, Endpoint] = {
    Product.ENHANCED_KYC: Endpoint("/v1/id_verification", "/v1/async_id_verification"),
    Product.BASIC_KYC: Endpoint("/v2/verify", "/v2/verify_async"),
    Product.BUSINESS_VERIFICATION: Endpoint("/v1/business_verification", "/v1/async_business_verification"),
    Product.AML_CHECK: Endpoint("/v1/aml", fields=_screening_fields),
}


def request_body(job: Job, endpoint: Endpoint, *, partner_id: str, stamp: SignedStamp, callback_url: str) -> bytes:
    """The JSON of a product's one request; what a caller adds in `extra` never takes the place of what signs it."""
    body: dict[str, Any] = {**endpoint.fields(job)}
    if isinstance(job.consent, Mapping):
        body["consent_information"] = dict(job.consent)
    if job.callback_url or callback_url:
        body["callback_url"] = job.callback_url or callback_url
    return orjson.dumps(
        {
            **body,
            "partner_id": partner_id,
            "signature": stamp.signature,
            "timestamp": stamp.timestamp,
            "source_sdk": SOURCE_SDK,
            "source_sdk_version": SOURCE_SDK_VERSION,
        }
    )
