"""info.json, the manifest of the zip, as the official Python SDK writes it (wire.md §5.2)."""

from collections.abc import Sequence

import orjson

from smile_async.jobs.job import Job
from smile_async.protocol.signature import SignedStamp
from smile_async.protocol.steps import Slot
from smile_async.protocol.v1.requests import ARCHIVE_NAME, partner_params

__all__ = ["info_json"]

#: image_type_id as a file of the zip, and inline as base64 (wire.md §5.3).
_SELFIE, _SELFIE_INLINE, _LIVENESS, _LIVENESS_INLINE = 0, 2, 4, 6


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
    for position, (name, inline) in enumerate(pictures):
        selfie = job.selfie is not None and position == 0
        if inline is None:
            images.append({"image_type_id": _SELFIE if selfie else _LIVENESS, "image": "", "file_name": name})
        else:
            kind = _SELFIE_INLINE if selfie else _LIVENESS_INLINE
            images.append({"image_type_id": kind, "image": inline, "file_name": ""})
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
            "id_info": {},
            "images": images,
            "server_information": dict(slot.body),
        }
    )


#: Sent empty by the official SDKs; kept because nobody documents which of it is required (wire.md §5.2).
_NO_USER_DATA = {
    "isVerifiedProcess": False,
    **dict.fromkeys(("name", "fbUserID", "firstName", "lastName", "gender", "email", "phone"), ""),
    "countryCode": "+",
    "countryName": "",
}
