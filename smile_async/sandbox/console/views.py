"""What the page says of jobs: plain values, cut to size, ready for a template.

Ids and parameters come from whoever uses the API and may be a megabyte long; nothing leaves here that could make a
page large. Escaping is the templates' business, all of which escape everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from smile_async.sandbox.records import CallbackSent, ImageRecord, JobRecord, Message
from smile_async.sandbox.replies import record_of
from smile_async.sandbox.search import STANDINGS, standing
from smile_async.sandbox.texts import clip, host_in

__all__ = ["Moment", "detail_of", "row_of"]

#: Of each list on a job's page, so many entries are shown.
_SHOWN = 30
#: What stands for a value nobody has asked to see.
_MASK = "\N{BULLET}" * 8
#: What tells nobody from others.
_OPEN = {"country", "Country", "id_type", "IDType", "entered"}
#: wire.md §5.3, in words.
_IMAGE_TYPES = {0: "selfie", 1: "ID card front", 4: "liveness", 5: "ID card back"}
_IMAGE_TYPES |= {2: "selfie", 3: "ID card front", 6: "liveness", 7: "ID card back"}


class Moment:
    """A moment as pages show it: UTC, until the script turns it into the reader's own time."""

    def __init__(self, at: float) -> None:
        try:
            moment = datetime.fromtimestamp(at, UTC)
        except (OverflowError, ValueError, OSError):  # a clock that a test has turned too far
            moment = datetime.max.replace(tzinfo=UTC)
        self.iso = moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"
        self.clock = moment.strftime("%H:%M:%S")


@dataclass(frozen=True, slots=True)
class Row:
    """One job in the list."""

    ref: str
    number: int
    user_id: str
    job_id: str
    type_number: int
    type_name: str
    kind_text: str
    standing: str
    label: str
    code: str
    meaning: str
    when: Moment
    portrait: int | None
    image_count: int
    callbacks: str
    callbacks_ok: bool
    reviewable: bool


def row_of(job: JobRecord, now: float) -> Row:
    """*job* as the list shows it."""
    stands = standing(job, now)
    latest = job.latest
    status = job.callbacks[-1].status if job.callbacks else None
    return Row(
        ref=job.ref_id,
        number=int(job.smile_job_id),
        user_id=clip(job.user_id),
        job_id=clip(job.job_id),
        type_number=job.job_type,
        type_name=job.kind.title,
        kind_text="v3" if job.api == "v3" else f"type {job.job_type}",
        standing=stands,
        label=STANDINGS[stands],
        code=latest.code if latest else "",
        meaning=clip(_meaning(job, latest)),
        when=Moment(latest.at if latest else job.created_at),
        portrait=_portrait(job.images),
        image_count=len(job.images),
        callbacks=_callbacks_text(job.callbacks),
        callbacks_ok=status is not None and 200 <= status < 300,
        reviewable=stands == "provisional",
    )


def _portrait(images: list[ImageRecord]) -> int | None:
    """The selfie, or without one whatever came first: a card."""
    selfie = (number for number, image in enumerate(images) if image.image_type_id in (0, 2))
    return next(selfie, 0 if images else None)


def detail_of(job: JobRecord, now: float, *, shown: bool) -> dict[str, Any]:
    """*job* as its own panel shows it; *shown*: with what is personal, the names of which are there in any case."""
    return {
        "row": row_of(job, now),
        "facts": _facts(job),
        "params": _params(job),
        "id_info": _personal(job.id_info, shown=shown),
        "record": _personal(record_of(job, job.latest) if job.latest else {}, shown=shown),
        "shown": shown,
        "images": [_image(image, index) for index, image in enumerate(job.images[:_SHOWN])],
        "complaint": clip(job.complaint, 300),
        "history": [_result(job, message, back) for back, message in enumerate(job.history[:_SHOWN])],
        "planned": [_result(job, message) for message in job.plan[: -_SHOWN - 1 : -1] if message.at > now],
        "callbacks": _attempts(job),
        "judgements": job.kind.human,
        "reviewable": job.arrived_at is not None,
        "result_form": "[0-9]{4}" if job.api == "v1" else "[a-z_]+(:[a-z_]+)?",
        "result_hint": "0825" if job.api == "v1" else "block:high_risk",
        "user_id": job.user_id if len(job.user_id) <= 200 else "",
    }


def _facts(job: JobRecord) -> list[tuple[str, str]]:
    zip_text = "none yet" if job.zip_at is None else _bytes_text(job.zip_bytes)
    uploads = f", PUT {job.uploads} times" if job.uploads > 1 else ""
    asked = f"{job.prep_uploads} upload URL{'s' if job.prep_uploads > 1 else ''}"
    facts = [("SmileJobID", job.smile_job_id), ("Zip", zip_text + uploads), ("Asked", f"{job.polls} polls, {asked}")]
    if job.api == "v3":
        # Neither is there a zip, nor was anything looked up again: each submission is a job.
        facts = [("API", f"v3, POST {job.kind.path}"), ("Asked", f"{job.polls} polls")]
    elif job.kind.path:
        facts[1:] = [("Looked up", f"{job.submissions} times"), ("Asked", f"{job.polls} polls")]
    facts.append(("Callback", host_in(job.callback_url) or "the sandbox's default"))
    if job.refusals:
        facts.append(("Refused again", f"{len(job.refusals)} times, {clip(', '.join(sorted(set(job.refusals))), 60)}"))
    return facts


def _params(job: JobRecord) -> list[tuple[str, str]]:
    # Those that every job has are on display anyway.
    params = [pair for pair in job.partner_params.items() if pair[0] not in {"user_id", "job_id", "job_type"}]
    return [(clip(name, 60), clip(_plain(value), 200)) for name, value in params[:_SHOWN]]


def _personal(values: Mapping[str, Any], *, shown: bool) -> list[tuple[str, str]]:
    # What is empty needs no mask, and photos in base64 are no text to read.
    pairs = [(name, value) for name, value in values.items() if name != "Actions"]
    return [
        (clip(name, 60), clip(_plain(value), 100) if shown or not value or name in _OPEN else _MASK)
        for name, value in pairs[:_SHOWN]
    ]


def _image(image: ImageRecord, index: int) -> dict[str, Any]:
    return {
        "index": index,
        "kind": _IMAGE_TYPES.get(image.image_type_id, f"type {image.image_type_id}"),
        "name": clip(image.name or "inline", 60),
        "size": f"{image.width}\N{MULTIPLICATION SIGN}{image.height}, {_bytes_text(image.size)}",
    }


def _result(job: JobRecord, message: Message, back: int = 0) -> dict[str, Any]:
    stands = job.decides(message.code) or "processing"
    return {
        "code": message.code,
        "standing": stands,
        "label": STANDINGS[stands],
        "meaning": _meaning(job, message),
        "when": Moment(message.at),
        "back": back,
    }


def _meaning(job: JobRecord, message: Message | None) -> str:
    if message is not None:
        return job.means(message.code)
    return "" if job.arrived_at is not None else "no zip was uploaded yet"


def _attempts(job: JobRecord) -> list[dict[str, Any]]:
    """The callbacks sent, newest first; `attempt` counts those for the same result."""
    attempts: dict[str, int] = {}
    rows = []
    for sent in job.callbacks:
        attempts[sent.code] = attempts.get(sent.code, 0) + 1
        ok = sent.status is not None and 200 <= sent.status < 300
        status = "no answer" if sent.status is None else str(sent.status)
        where = clip(host_in(sent.url), 80)
        rows.append((sent.code, where, status, ok, Moment(sent.at), attempts[sent.code]))
    names = ("code", "host", "status", "ok", "when", "attempt")
    return [dict(zip(names, row, strict=True)) for row in reversed(rows[-_SHOWN:])]


def _callbacks_text(sent: list[CallbackSent]) -> str:
    if not sent:
        return ""
    last = "no answer" if sent[-1].status is None else str(sent[-1].status)
    return last if len(sent) == 1 else f"{last} \N{MIDDLE DOT} {len(sent)} sent"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _bytes_text(size: int) -> str:
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.0f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"
