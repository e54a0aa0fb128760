"""Jobs with a picture: how an upload goes, what comes of it, and what a used job_id and a second zip come to."""

from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import Any

from smile_async.doctor.answers import Answer
from smile_async.doctor.basics import way_to
from smile_async.doctor.examination import Examination
from smile_async.doctor.findings import Finding, State
from smile_async.doctor.reading import of_version
from smile_async.doctor.reading_jobs import (
    of_duplicate,
    of_history,
    of_links,
    of_no_photo,
    of_photo,
    of_prepared,
    of_provisional,
    of_put,
    of_repeated,
    of_result,
    of_review,
    of_signed,
    of_slot,
    of_waiting,
)
from smile_async.doctor.wire import Wire
from smile_async.errors import ForgedReply, Refused, StillPending, Unavailable
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.protocol.signature import Secret
from smile_async.protocol.steps import Slot
from smile_async.protocol.v1.archive import Archive
from smile_async.protocol.v1.requests import prepare_body, status_body
from smile_async.session import SmileSession
from smile_async.traffic.legs import info_of
from smile_async.traffic.payload import Payload, read_in_thread
from smile_async.urls import upload_url_flaw

__all__ = ["Subject", "prepare", "put", "selfie_jobs", "slot_of"]

#: Seconds that a review is waited for; what it takes longer is for who asks later.
REVIEW = 30.0


@dataclass(frozen=True, slots=True)
class Subject:
    """Who the jobs are about, with which picture, for how many seconds each is waited for, and where."""

    user_id: str
    picture: str
    patience: float
    #: Whether sandbox_result counts there.
    sandbox: bool

    def job(self, make: Any, result: str = "0", user_id: str | None = None) -> Job:
        """A job that *make* (a constructor of Job) makes, to come to *result*."""
        params = {"sandbox_result": result} if self.sandbox else {}
        made: Job = make(user_id or self.user_id, self.picture, partner_params=params)
        return made


async def prepare(wire: Wire, job: Job, *, retry: bool = False) -> Answer:
    """The answer to /upload for *job*."""
    settings = wire.settings
    about = {"partner_id": settings.signer.partner_id, "callback_url": settings.callback_url}
    return await wire.post("/v1/upload", lambda stamp: prepare_body(job, stamp=stamp, retry=retry, **about))


def slot_of(answer: Answer) -> Slot:
    """Where the zip goes by *answer*. Raises Unavailable for a refusal."""
    url, number = answer.found.get("upload_url"), answer.found.get("smile_job_id")
    if answer.code != "2202" or not isinstance(url, str):
        raise Unavailable(f"/upload was refused: {answer.said}")
    return Slot(Secret(url), None if number is None else str(number), answer.found)


def flaw_of(wire: Wire, slot: Slot) -> str:
    """Why no picture may go to *slot*, "" if it may."""
    settings = wire.settings
    return upload_url_flaw(slot.upload_url.reveal(), api_host=settings.api_host, allowed=settings.upload_hosts)


async def put(wire: Wire, payload: Payload, slot: Slot, *, info: bytes | None = None) -> int:
    """The HTTP status that the zip of *payload* is answered with; *info*: another info.json. Raises ForgedReply."""
    settings, why = wire.settings, flaw_of(wire, slot)
    if why:
        raise ForgedReply(f"no picture was sent: {why}")
    info = info or info_of(payload, slot, settings, wire.stamp())
    reply = await wire.put(slot.upload_url.reveal(), Archive(info, payload.pictures))
    return reply.status


async def status_of(wire: Wire, ticket: Ticket, *, more: bool = False) -> Answer:
    """The status of a job as it came, with history and links if *more*."""
    partner_id = wire.settings.signer.partner_id
    asked = {"history": more, "image_links": more}
    return await wire.post(
        "/v1/job_status", lambda stamp: status_body(ticket, partner_id=partner_id, stamp=stamp, **asked)
    )


async def selfie_jobs(
    exam: Examination, wire: Wire, session: SmileSession, subject: Subject, ca_file: str | None
) -> bool:
    """Register somebody, step by step, then authenticate; whether that user is on file."""
    registration = await _uploaded(exam, wire, subject, ca_file)
    if registration is None:
        return False
    longest = subject.patience + REVIEW
    if not await exam.probe("registration", partial(_verdict, wire, session, subject, registration), within=longest):
        return False
    for result in ("0", "1", "2") if subject.sandbox else ("0",):
        name = f"authentication with {result}" if subject.sandbox else "authentication"
        await exam.probe(name, partial(_authenticated, wire, session, subject, result), within=longest + REVIEW)
    if subject.sandbox:
        await exam.probe("job type 8", partial(_photo, session, subject), within=longest)
    stats = session.stats
    exam.tell(
        of_version("API, by a session", stats.api_http_version, wanted="HTTP/2"),
        of_version("storage, by a session", stats.storage_http_version, wanted="HTTP/1.1"),
    )
    return True


async def _uploaded(exam: Examination, wire: Wire, subject: Subject, ca_file: str | None) -> Ticket | None:
    """The ticket of a registration whose zip was taken; None if it was not."""
    settings, kept = wire.settings, []

    async def prepared() -> list[Finding]:
        payload = await read_in_thread(subject.job(Job.register))
        answer = await prepare(wire, payload.job)
        found = of_prepared(answer)
        if found.state is not State.OK:
            return [found]
        slot = slot_of(answer)
        kept.append((payload, slot))
        url, why = slot.upload_url.reveal(), flaw_of(wire, slot)
        return [found, *of_slot(url, why, settings.upload_hosts, wire.clock.now())]

    if not await exam.probe("upload prepared", prepared):
        return None
    payload, slot = kept[0]
    ticket = replace(payload.job.ticket, smile_job_id=slot.smile_job_id)
    if not await way_to(exam, slot.upload_url.reveal(), "storage", ca_file, http2=False):
        return None

    async def before() -> list[Finding]:
        answer = await status_of(wire, ticket)
        return [of_signed(answer, settings.signer), of_waiting(answer)]

    async def landed() -> list[Finding]:
        return [of_put(await put(wire, payload, slot))]

    async def again() -> list[Finding]:
        return [of_repeated(await put(wire, payload, slot))]

    async def twice() -> list[Finding]:
        return [of_duplicate(await prepare(wire, payload.job))]

    if not await exam.probe("signed status", before) or not await exam.probe("zip put", landed, within=130):
        return None
    await exam.probe("zip put again", again, within=130)
    await exam.probe("job_id used again", twice)
    return ticket


async def _verdict(wire: Wire, session: SmileSession, subject: Subject, ticket: Ticket) -> list[Finding]:
    began = monotonic()
    verdict = await session.wait(ticket, patience=subject.patience)
    found = of_result("0" if subject.sandbox else "", verdict, monotonic() - began)
    answer = await status_of(wire, ticket, more=True)
    return [*found, of_history(answer, ticket.user_id), of_links(answer, wire.clock.now())]


async def _authenticated(wire: Wire, session: SmileSession, subject: Subject, result: str) -> list[Finding]:
    began = monotonic()
    verdict = await session.verify(subject.job(Job.authenticate, result), patience=subject.patience)
    found = of_result(result if subject.sandbox else "", verdict, monotonic() - began)
    if verdict.final or not subject.sandbox:
        return found
    found.append(of_provisional(await status_of(wire, verdict.ticket)))
    began = monotonic()
    try:
        last = await session.wait(verdict.ticket, until="final", patience=min(subject.patience, REVIEW))
    except StillPending:
        last = None
    return [*found, of_review(monotonic() - began, last)]


async def _photo(session: SmileSession, subject: Subject) -> list[Finding]:
    try:
        return [of_photo(await session.verify(subject.job(Job.update_photo), patience=subject.patience))]
    except Refused as error:
        return [of_no_photo(error)]
