"""What goes out as JSON: exactly what the official Python SDK sends (wire.md §4, §6)."""

from typing import Any

import orjson

from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.protocol.signature import SignedStamp

__all__ = ["ARCHIVE_NAME", "SOURCE_SDK", "SOURCE_SDK_VERSION", "partner_params", "prepare_body", "status_body"]

#: What docs tell REST users to send as source_sdk (wire.md §4).
SOURCE_SDK, SOURCE_SDK_VERSION = "rest_api", "0.1.0"
#: The name all official SDKs give the archive.
ARCHIVE_NAME = "selfie.zip"


def prepare_body(job: Job, *, partner_id: str, stamp: SignedStamp, callback_url: str, retry: bool = False) -> bytes:
    """The JSON of `POST /upload` (wire.md §4); *retry* asks for a fresh URL for a job that exists already."""
    body: dict[str, Any] = {
        "file_name": ARCHIVE_NAME,
        "smile_client_id": partner_id,
        "signature": stamp.signature,
        "timestamp": stamp.timestamp,
        "partner_params": partner_params(job),
        "model_parameters": {},
        "callback_url": job.callback_url or callback_url,
        "use_enrolled_image": job.use_enrolled_image,
        "source_sdk": SOURCE_SDK,
        "source_sdk_version": SOURCE_SDK_VERSION,
    }
    if job.allow_new_enroll:
        body["allow_new_enroll"] = True
    if retry:
        body["retry"] = True
    return orjson.dumps(body)


def status_body(
    ticket: Ticket, *, partner_id: str, stamp: SignedStamp, history: bool = False, image_links: bool = False
) -> bytes:
    """The JSON of `POST /job_status` (wire.md §6)."""
    return orjson.dumps(
        {
            "partner_id": partner_id,
            "user_id": ticket.user_id,
            "job_id": ticket.job_id,
            "timestamp": stamp.timestamp,
            "signature": stamp.signature,
            "image_links": image_links,
            "history": history,
        }
    )


def partner_params(job: Job) -> dict[str, Any]:
    """The job's own parameters and ids, as they stand in `/upload`, in info.json, and come back with the result."""
    return {**job.partner_params, "user_id": job.user_id, "job_id": job.job_id, "job_type": int(job.job_type)}
