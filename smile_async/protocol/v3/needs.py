"""What V3 asks of a job, checked before a byte leaves: a job is billed when it arrives, not when it succeeds."""

from collections.abc import Sequence
from dataclasses import dataclass

from smile_async.errors import InvalidJob
from smile_async.jobs.image import media_type
from smile_async.jobs.job import Job
from smile_async.jobs.person import Consent
from smile_async.protocol.apis import product_flaw
from smile_async.protocol.v3.endpoints import ENDPOINTS, Endpoint, part_name
from smile_async.urls import url_flaw

__all__ = ["JOB_PARAM", "Rules", "check", "check_contents", "check_length", "consent_of"]

#: The partner parameter in which our job_id travels: `job_id` itself is the server's (v3/wire.md §3).
JOB_PARAM = "smile_async_job"
#: Names that the server keeps for itself; `Job` refuses the others.
_RESERVED = ("_sandbox_v3", JOB_PARAM)
#: Seconds that a consent may lie in the future (v3/wire.md §3).
_AHEAD = 60.0
_JOB_PARTS = ("use_enrolled_image", "allow_new_enroll", "id_info", "document", "screening")


@dataclass(frozen=True, slots=True)
class Rules:
    """What a session adds to its jobs, and the bounds it holds them to.

    *frames*: how many liveness frames there may be. *most_bytes*: of the whole request (v3/wire.md §1).
    *plain_callbacks*: their URLs need no TLS.
    """

    consent: Consent | None = None
    callback_url: str = ""
    frames: range = range(6, 9)
    most_bytes: int = 4_500_000
    plain_callbacks: bool = False


def consent_of(job: Job, rules: Rules) -> Consent | None:
    """The job's own consent, or else the session's."""
    return job.consent if isinstance(job.consent, Consent) else rules.consent


def check(job: Job, rules: Rules, now: float) -> Endpoint:
    """Where *job* goes; raises InvalidJob for what V3 would refuse, as far as that is known without its files."""
    why = product_flaw(job.product, "v3")
    endpoint = None if job.product is None else ENDPOINTS.get(job.product)
    if endpoint is None:
        raise _invalid(job, why or f"v3 has no job_type {int(job.job_type)}: give a Product")
    why = _parts_flaw(job, endpoint) or _frames_flaw(job, endpoint, rules) or _about_flaw(job, rules, now)
    if why:
        raise _invalid(job, why)
    at_hand = [(name, image.content) for name, image in job.named_images() if image.content is not None]
    why = next((said for name, content in at_hand if (said := _picture_flaw(name, content))), "")
    whole = sum(len(content) for _, content in at_hand)
    del at_hand
    if why:
        raise _invalid(job, why)
    check_length(job, whole, rules)
    return endpoint


def check_contents(job: Job, contents: Sequence[bytes]) -> None:
    """Raise InvalidJob for a picture, as it was read, that V3 would refuse."""
    names = [name for name, _ in job.named_images()]
    why = next((said for name, one in zip(names, contents, strict=True) if (said := _picture_flaw(name, one))), "")
    del contents
    if why:
        raise _invalid(job, why)


def check_length(job: Job, length: int, rules: Rules) -> None:
    """Raise InvalidJob if a request of *length* bytes is too long."""
    if length > rules.most_bytes:
        raise _invalid(job, f"it has {length:,} bytes in all: v3 takes {rules.most_bytes:,}, so shrink its pictures")


def _invalid(job: Job, why: str) -> InvalidJob:
    return InvalidJob(f"job {job.job_id} of user {job.user_id}: {why}", job=job)


def _picture_flaw(name: str, content: bytes) -> str:
    wrong = part_name(name)[1] and media_type(content) != "image/jpeg"
    return f"{name} is no JPEG: v3 takes nothing else for it, so convert it" if wrong else ""


def _parts_flaw(job: Job, endpoint: Endpoint) -> str:
    for name in _JOB_PARTS:
        if getattr(job, name) and name not in endpoint.takes:
            return f"{job.product} of v3 takes no {name}: leave it out, or send it with api='v1'"
    if job.id_info is None:
        return ""
    if not job.id_info.id_number:
        return "there is no id_number: v3 needs one"
    left = sorted({*job.id_info.fields()} - {*endpoint.fields(job)})
    return f"v3 has no part for {left[0]} of id_info: give names as person=, or send it with api='v1'" if left else ""


def _frames_flaw(job: Job, endpoint: Endpoint, rules: Rules) -> str:
    frames = len(job.liveness)
    if not frames and (not endpoint.frames or job.use_enrolled_image):
        return ""
    span = f"{rules.frames.start} to {rules.frames.stop - 1}"
    return "" if frames in rules.frames else f"it has {frames} liveness frames: v3 needs {span}"


def _about_flaw(job: Job, rules: Rules, now: float) -> str:
    consent = consent_of(job, rules)
    if job.consent is not None and not isinstance(job.consent, Consent):
        return "consent is a dict: v3 needs a Consent"
    if consent is None:
        return "there is no consent: give consent=Consent(…), to the job or to the session, or set SMILE_CONSENT_URL"
    granted = consent.moment()
    if granted is not None and granted.timestamp() > now + _AHEAD:
        return "consent is granted in the future: check granted_at and its zone"
    if job.person is None:
        return "there is no person: give person=Person(…)"
    url = job.callback_url or rules.callback_url
    why = url_flaw(url, plain=rules.plain_callbacks) if url else ""
    if why:
        return f"callback_url {why}"
    reserved = next((name for name in _RESERVED if name in job.partner_params), "")
    return f"partner_params[{reserved!r}] is kept for others: choose another name" if reserved else ""
