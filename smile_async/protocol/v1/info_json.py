"""info.json, the manifest of the zip, as the official Python SDK writes it (wire.md §5.2)."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from smile_async.jobs.job import Job
from smile_async.protocol.signature import SignedStamp
from smile_async.protocol.steps import Slot
from smile_async.protocol.v1.requests import ARCHIVE_NAME, partner_params

__all__ = ["info_json"]

#: image_type_id as a file of the zip, and inline as base64 (wire.md §5.3), by what the job calls the picture.
_TYPES = {"selfie": (0, 2), "front": (1, 3), "liveness": (4, 6), "back": (5, 7)}


def info_json(
    job: Job,
    pictures: Sequence[tuple[str, str | None]],
    slot: Slot,
    *,
    partner_id: str,
    stamp: SignedStamp,
    callback_url: str,
) -> bytes:
    """The manifest of the zip (wire.md §5.2), for *pictures* in the job's order.

    Each is its name in the zip and None, or a name and the base64 that travels inline.
    """
    images = []
    for (called, _), (name, inline) in zip(job.named_images(), pictures, strict=True):
        as_file, as_text = _TYPES[called.partition("[")[0]]
        if inline is None:
            images.append({"image_type_id": as_file, "image": "", "file_name": name})
        else:
            images.append({"image_type_id": as_text, "image": inline, "file_name": ""})
    consent = {"consent_information": dict(job.consent)} if isinstance(job.consent, Mapping) else {}
    return orjson.dumps(
        {
            "package_information": {
                "apiVersion": {"buildNumber": 0, "majorVersion": 2, "minorVersion": 0},
                "language": "python",
            },
            "misc_information": {
                "signature": stamp.signature,
                "timestamp": stamp.timestamp,
                "retry": "false",
                "partner_params": partner_params(job),
                "file_name": ARCHIVE_NAME,
                "smile_client_id": partner_id,
                "callback_url": job.callback_url or callback_url,
                "userData": _NO_USER_DATA,
            },
            "id_info": _id_info(job),
            **consent,
            "images": images,
            "server_information": dict(slot.body),
        }
    )


def _id_info(job: Job) -> dict[str, Any]:
    """What is said of an id: the fields of a number to look up, or country and kind of a card (wire.md §13)."""
    if job.id_info is not None:
        return {**job.id_info.fields(), "entered": job.id_info.id_number is not None}
    if job.document is None:
        return {}
    kind = {} if job.document.id_type is None else {"id_type": job.document.id_type}
    return {"country": job.document.country, **kind}


#: Sent empty by the official SDKs; kept because nobody documents which of it is required (wire.md §5.2).
_NO_USER_DATA = {
    "isVerifiedProcess": False,
    **dict.fromkeys(("name", "fbUserID", "firstName", "lastName", "gender", "email", "phone"), ""),
    "countryCode": "+",
    "countryName": "",
}
