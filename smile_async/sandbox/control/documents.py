"""What the control API tells of jobs, faults and scripts, as values of JSON.

Of whom a job is about only the names of the fields are told, of a callback URL only the host, of pictures what they
are like.
"""

from dataclasses import asdict
from typing import Any

from smile_async.sandbox.faults import Fault, Leg, waiting_text
from smile_async.sandbox.records import JobRecord, Message
from smile_async.sandbox.search import standing
from smile_async.sandbox.texts import clip, place_of

__all__ = ["fault_document", "job_document"]

_COUNTED = ("submissions", "prep_uploads", "uploads", "processed", "polls")
#: Partner params that are told, and the characters of each.
_PARAMS, _LONG = 60, 200


def job_document(job: JobRecord, now: float) -> dict[str, Any]:
    """*job* as of *now* (epoch seconds)."""
    latest = job.latest
    return {
        "job_id": job.job_id,
        "user_id": job.user_id,
        "api": job.api,
        "product": job.product,
        "job_type": job.job_type,
        "smile_job_id": job.smile_job_id,
        "created_at": job.created_at,
        "standing": standing(job, now),
        "final": job.final,
        "code": latest.code if latest else None,
        "meaning": job.means(latest.code) if latest else "",
        "history": _results(job, [message for message in job.plan if message.at <= now]),
        "planned": _results(job, [message for message in job.plan if message.at > now]),
        **{name: getattr(job, name) for name in _COUNTED},
        "refusals": job.refusals[-_PARAMS:],
        "complaint": job.complaint,
        "partner_params": {clip(name, 60): clip(text, _LONG) for name, text in _first(job.partner_params)},
        "id_fields": sorted(job.id_info),
        "images": [{name: value for name, value in asdict(image).items() if name != "sha256"} for image in job.images],
        "callbacks": [{**asdict(sent), "url": place_of(sent.url)} for sent in job.callbacks],
    }


def _first(params: dict[str, Any]) -> list[tuple[str, Any]]:
    return list(params.items())[:_PARAMS]


def _results(job: JobRecord, messages: list[Message]) -> list[dict[str, Any]]:
    return [{"code": each.code, "at": each.at, "decision": job.decides(each.code)} for each in messages]


def fault_document(leg: Leg, fault: Fault) -> dict[str, Any]:
    """*fault*, which waits on *leg*."""
    told = ("status", "delay", "times", "effect", "cut", "user_id", "job_id")
    return {"leg": leg, "does": waiting_text(leg, fault), **{name: getattr(fault, name) for name in told}}
