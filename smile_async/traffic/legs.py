"""The legs of a job with pictures, and what may be asked: one call is one attempt, its answer believed or refused."""

from typing import Any

from smile_async.errors import ForgedReply, SmileError, UnreadableReply
from smile_async.jobs.verdict import JobStatus
from smile_async.protocol.signature import SignedStamp
from smile_async.protocol.steps import Ask, Call, Fault, Prepare, Put, Sent, Slot
from smile_async.protocol.v1.account import account_body, read_answer
from smile_async.protocol.v1.archive import Archive
from smile_async.protocol.v1.info_json import info_json
from smile_async.protocol.v1.judging import judge_status
from smile_async.protocol.v1.replies import read_slot
from smile_async.protocol.v1.requests import prepare_body, status_body
from smile_async.protocol.v1.storage import put_refusal
from smile_async.settings import Settings
from smile_async.traffic.caller import Caller
from smile_async.traffic.dialect import asker
from smile_async.traffic.origin import Errand, Origin
from smile_async.traffic.payload import Payload
from smile_async.urls import upload_url_flaw

__all__ = ["Legs", "info_of"]

#: The very type the presigned URL was signed for; S3 answers 403 to any other (wire.md §5.4).
_ZIP = [("Content-Type", "application/zip")]


class Legs:
    """Goes them for one session, over its *caller* and its *storage*. All raise Fault.

    *hold*: seconds that pictures may wait in front of a closed server.
    """

    def __init__(self, caller: Caller, storage: Origin) -> None:
        self._caller = caller
        self._storage = storage

    async def prepare(self, payload: Payload, deadline: float, hold: float, *, retry: bool) -> Slot:
        """Where the pictures may be put."""
        settings = self._caller.settings

        def body() -> bytes:
            return prepare_body(
                payload.job,
                partner_id=settings.signer.partner_id,
                stamp=self._caller.stamp(),
                callback_url=settings.callback_url,
                retry=retry,
            )

        about = f"/upload for job {payload.job.job_id} of user {payload.job.user_id}"
        errand = Errand(asker(Prepare(), payload.job), about, deadline, hold)
        reply = await self._caller.send(f"{settings.base_url}/upload", body, errand)
        if reply.status != 200:
            raise self._caller.refused(reply, about)
        try:
            slot = read_slot(reply.body)
        except UnreadableReply as error:
            raise Fault(error.with_traceback(None), Sent.AMBIGUOUS) from None
        if not isinstance(slot, Slot):
            raise self._caller.refused(reply, about, slot)
        why = upload_url_flaw(slot.upload_url.reveal(), api_host=settings.api_host, allowed=settings.upload_hosts)
        if why:
            raise Fault(ForgedReply(f"no image was sent: {why}"), Sent.AMBIGUOUS)
        return slot

    async def put(self, payload: Payload, slot: Slot, deadline: float, hold: float) -> None:
        """The pictures themselves, in their zip."""
        settings = self._caller.settings

        def body() -> Archive:
            return Archive(info_of(payload, slot, settings, self._caller.stamp()), payload.pictures)

        about = f"the upload of job {payload.job.job_id} of user {payload.job.user_id}"
        errand = Errand(asker(Put(slot), payload.job), about, deadline, hold)
        reply = await self._storage.send("PUT", slot.upload_url, _ZIP, body, errand)
        refused = put_refusal(reply.status, reply.body, about)
        if refused is not None:
            raise refused

    async def ask(self, ask: Ask, deadline: float, hold: float) -> JobStatus:
        """One signed status query."""
        ticket, caller = ask.ticket, self._caller

        def body() -> bytes:
            return status_body(
                ticket,
                partner_id=caller.signer.partner_id,
                stamp=caller.stamp(),
                history=ask.history,
                image_links=ask.image_links,
            )

        about = f"/job_status for job {ticket.job_id} of user {ticket.user_id}"
        errand = Errand(asker(ask, ticket), about, deadline, hold, again=True)
        reply = await caller.send(f"{caller.settings.base_url}/job_status", body, errand)
        if reply.status != 200:
            raise caller.refused(reply, about)
        try:
            return judge_status(reply.body, ticket, caller.signer, caller.server_clock.now())
        except SmileError as error:
            raise Fault(error.with_traceback(None), Sent.ANSWERED) from None

    async def look_up(self, call: Call, deadline: float) -> dict[str, Any]:
        """One call about the account."""
        caller = self._caller

        def body() -> bytes:
            return account_body(call, partner_id=caller.signer.partner_id, stamp=caller.stamp())

        errand = Errand(asker(call, None), f"/{call.path}", deadline)
        reply = await caller.send(f"{caller.settings.base_url}/{call.path}", body if call.signed else None, errand)
        return read_answer(call, reply.status, reply.body, caller.wish(reply))


def info_of(payload: Payload, slot: Slot, settings: Settings, stamp: SignedStamp) -> bytes:
    """The info.json that goes with the pictures of *payload* into *slot*."""
    return info_json(
        payload.job,
        [(picture.name, picture.inline) for picture in payload.pictures],
        slot,
        partner_id=settings.signer.partner_id,
        stamp=stamp,
        callback_url=settings.callback_url,
    )
