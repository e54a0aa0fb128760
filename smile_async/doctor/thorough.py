"""What takes patience, or requests that are to be refused: of those there are never more than six."""

import asyncio
from functools import partial

import orjson

from smile_async.doctor.answers import presigned
from smile_async.doctor.basics import asked
from smile_async.doctor.examination import Examination
from smile_async.doctor.findings import Finding, State
from smile_async.doctor.reading_jobs import OFFSETS, of_expired, of_refused, of_short_info, of_window
from smile_async.doctor.selfie import Subject, prepare, put, slot_of
from smile_async.doctor.wire import Wire
from smile_async.errors import StillPending
from smile_async.jobs.job import Job
from smile_async.session import SmileSession
from smile_async.traffic.payload import read_in_thread

__all__ = ["refused_calls", "thorough_jobs"]

#: Seconds: the longest life of an upload URL whose end is waited for, and how long after it the zip is put.
LONGEST_LIFE, AFTER = 1_200.0, 2.0


async def refused_calls(exam: Examination, wire: Wire) -> None:
    """How far a timestamp may be off, and what no JSON is answered with: three refused calls at most."""
    await exam.probe("timestamp window", partial(_window, wire), within=180)

    async def malformed() -> list[Finding]:
        return [of_refused("2203", await wire.post("/v1/upload", lambda _: b"{"))]

    await exam.probe("HTTP status of 2203", malformed)


async def _window(wire: Wire) -> list[Finding]:
    accepted: dict[int, list[int]] = {-1: [], 1: []}
    refused: dict[int, int] = {}
    for direction in (-1, 1):
        for offset in OFFSETS:
            answer = await asked(wire, off=direction * offset)
            if answer.refused_us:
                refused[direction] = offset
                break
            accepted[direction].append(offset)
    return [of_window(accepted, refused)]


async def thorough_jobs(exam: Examination, wire: Wire, session: SmileSession, subject: Subject) -> None:
    """With a picture: who is on file and who is not, a short info.json, the end of an upload URL: three refused."""
    stranger = subject.job(Job.authenticate, user_id=f"{subject.user_id}-stranger")
    for code, job in (("2209", subject.job(Job.register)), ("2210", stranger)):

        async def refused(code: str = code, job: Job = job) -> list[Finding]:
            return [of_refused(code, await prepare(wire, job))]

        await exam.probe(f"HTTP status of {code}", refused)
    await exam.probe("info.json", partial(_short, wire, session, subject), within=subject.patience + 150)
    await exam.probe("expired upload URL", partial(_expired, exam, wire, subject), within=LONGEST_LIFE + 300)


async def _short(wire: Wire, session: SmileSession, subject: Subject) -> list[Finding]:
    payload = await read_in_thread(subject.job(Job.authenticate))
    slot = slot_of(await prepare(wire, payload.job))
    images = [{"image_type_id": 0, "image": "", "file_name": payload.pictures[0].name}]
    await put(wire, payload, slot, info=orjson.dumps({"images": images, "id_info": {}}))
    try:
        return [of_short_info(await session.wait(payload.job.ticket, patience=subject.patience))]
    except StillPending:
        return [of_short_info(None)]


async def _expired(exam: Examination, wire: Wire, subject: Subject) -> list[Finding]:
    payload = await read_in_thread(subject.job(Job.authenticate))
    slot = slot_of(await prepare(wire, payload.job))
    ends = presigned(slot.upload_url.reveal()).expires_at
    left = LONGEST_LIFE if ends is None else ends - wire.clock.now() + AFTER
    if left > LONGEST_LIFE:
        return [Finding("expired upload URL", State.UNKNOWN, f"it lives for another {left:.0f} s", "try by hand")]
    exam.tell(Finding("waiting", State.OK, f"for {left:.0f} s, until an upload URL has ended"))
    await asyncio.sleep(left)
    status = await put(wire, payload, slot)
    renewed = await prepare(wire, payload.job, retry=True)
    again = await put(wire, payload, slot_of(renewed)) if renewed.code == "2202" else 0
    return [of_expired(status, renewed, again)]
