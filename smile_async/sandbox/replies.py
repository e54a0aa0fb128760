"""What the API says: the bodies of its replies and callbacks, built from a job as it stands now."""

from typing import Any

from .authorities import overridden
from .credentials import Keys, timestamp_at
from .outcomes import actions_of, text_of
from .records import JobRecord, Message
from .settings import Settings

__all__ = ["image_links", "link_path", "record_of", "result_body", "status_body", "upload_body", "upload_path"]

#: What a link to an image of that type is called (wire.md §7).
_LINKED = {0: "selfie_image", 2: "selfie_image", 1: "id_card_image", 3: "id_card_image"}
_LINKED |= {5: "id_card_back", 7: "id_card_back"}


def upload_path(settings: Settings, job: JobRecord) -> str:
    """Where the zip of *job* goes (wire.md §4)."""
    return f"/videos/{settings.partner_id}/{job.ref_id}/selfie.zip"


def link_path(settings: Settings, job: JobRecord, index: int) -> str:
    """Where the image number *index* of *job* can be fetched; the sample in the SDK's fixtures ends like this."""
    name = "SID_Preview_FULL.jpg" if job.images[index].image_type_id in (0, 2) else f"image_{index}.jpg"
    return f"/results/{settings.partner_id}/{job.ref_id}/{index}/{name}"


def upload_body(settings: Settings, keys: Keys, job: JobRecord, storage: str) -> dict[str, Any]:
    """The reply to /upload: an upload URL under *storage* (wire.md §4). It is not signed."""
    expires = int(settings.clock.time() + settings.url_lifetime)
    return {
        "upload_url": keys.presign_put(storage, upload_path(settings, job), expires),
        "ref_id": job.ref_id,
        "smile_job_id": job.smile_job_id,
        "camera_config": None,
        "code": "2202",
    }


def result_body(keys: Keys, job: JobRecord, message: Message, signed_at: float | None = None) -> dict[str, Any]:
    """One result, signed: what `result` and each entry of `history` hold, and what a callback sends flat."""
    timestamp = timestamp_at(message.at if signed_at is None else signed_at)
    product, code = job.kind, message.code
    own = record_of(job, message)
    body = {
        "ResultCode": code,
        "ResultText": text_of(code, product),
        "ResultType": "ID Verification" if code[:3] == "101" and not product.path else product.result_type,
        "SmileJobID": job.smile_job_id,
        "PartnerParams": job.partner_params,
    }
    if not product.path:
        frames = sum(image.image_type_id in (4, 6) for image in job.images)
        actions = actions_of(code, product, frames=frames)
        body["ConfidenceValue"] = "0" if "Failed" in actions.values() else "99"
        own["Actions"] = actions | own.get("Actions", {})
    return body | own | {"Source": "WebAPI", "timestamp": timestamp, "signature": keys.sign(timestamp)}


def record_of(job: JobRecord, message: Message) -> dict[str, Any]:
    """What is said of the person or business of *job*: all that is personal in its result."""
    own = job.kind.answer(message.code, job.id_info) if job.kind.asks(job.id_info) else {}
    return overridden(own, job.id_info, job.partner_params)


def status_body(settings: Settings, keys: Keys, job: JobRecord, storage: str, **asked: bool) -> dict[str, Any]:
    """The reply to /job_status, signed; *asked* may ask for `history` and `image_links` (wire.md §6)."""
    timestamp = timestamp_at(settings.clock.time())
    body: dict[str, Any] = {"timestamp": timestamp, "signature": keys.sign(timestamp)}
    latest = job.latest
    if latest is None:
        # 2314 and its text: Java SDK test; what is said between zip and result is our inference.
        waiting = job.arrived_at is None
        body |= (
            {"code": "2314", "result": "No zip file received"}
            if waiting
            else {"code": "2302", "result": "No result yet"}
        )
        body |= {"job_complete": False, "job_success": False}
    else:
        settled = job.final or (settings.complete_on_provisional and job.decision == "provisional")
        body |= {
            "code": "2302",
            "job_complete": settled,
            "job_success": settled and job.decision in ("approved", "attention", "provisional"),
            "result": result_body(keys, job, latest),
        }
    if asked.get("image_links"):
        body["image_links"] = image_links(settings, keys, job, storage)
    if asked.get("history"):
        body["history"] = [result_body(keys, job, message) for message in job.history]
    return body


def image_links(settings: Settings, keys: Keys, job: JobRecord, storage: str) -> dict[str, str]:
    """Links to the pictures of *job* under *storage*, by what they are called (wire.md §7)."""
    expires = int(settings.clock.time() + settings.url_lifetime)
    links: dict[str, str] = {}
    for index, image in enumerate(job.images):
        name = _LINKED.get(image.image_type_id)
        if name and name not in links:
            links[name] = keys.presign_get(storage, link_path(settings, job, index), expires)
    return links or {"error": "No image found"}  # the shape is documented, the text is ours (wire.md §6)
