"""The official SDK's `WebApi`: jobs of every kind by one call."""

from collections.abc import Mapping, Sequence
from typing import Any

from smile_async.jobs.product import Family
from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE, Ticket
from smile_async.protocol.signature import Secret
from smile_async.webapi.base import Base
from smile_async.webapi.jobs import checked_ids, checked_options, job_of, product_of

__all__ = ["WebApi"]

#: Questions that the SDK asks before it gives up (wire.md §8).
_QUESTIONS = 20


class WebApi(Base):
    """`async with WebApi(partner_id, call_back_url, api_key, sid_server) as connection:`.

    *call_back_url* may be "" if every job asks for its status. The rest as for `Base`.
    """

    def __init__(
        self, partner_id: str, call_back_url: str | None, api_key: str | Secret, sid_server: str | int, **options: Any
    ) -> None:
        key = Secret(api_key)
        del api_key
        super().__init__(partner_id, key, sid_server, callback_url=call_back_url or None, **options)
        self.call_back_url = call_back_url or ""

    async def submit_job(
        self,
        partner_params: Mapping[str, Any],
        images_params: Sequence[Mapping[str, Any]] | None,
        id_info_params: Mapping[str, Any] | None = None,
        options_params: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Submit a job of type 1, 2, 4, 6, 8 or 11, with pictures, or of type 5 or 7, without.

        With `return_job_status` (the default) the answer is the body of `/job_status` once there is a verdict, a
        provisional one included; StillPending, with the ticket, if there is none in time. Without it the answer is
        `{"success": True, "smile_job_id": …}`. Types 5 and 7 are answered by their result at once, whatever the
        options. Of several selfies or cards, as in the SDK's examples, the first is sent; pictures that the type has no
        use for are not. Raises ValueError for what can not be a job, SmileError for everything else.
        """
        at_once = product_of(partner_params).spec.family is Family.REQUEST
        options = {"return_job_status": True} if at_once else checked_options(options_params)
        if not (options["return_job_status"] or options.get("optional_callback") or self.call_back_url):
            raise ValueError("nobody would hear the result: give a callback, or set return_job_status")
        try:
            job = job_of(partner_params, images_params or (), id_info_params or {}, options)
        finally:
            del images_params, id_info_params  # no frame of ours shows pictures or an id number in a traceback
        if at_once:
            return await self._result(job)
        if not options["return_job_status"]:
            ticket = await self.session.submit(job, self.patience)
            return {"success": True, "smile_job_id": ticket.smile_job_id}
        verdict = await self.session.verify(job, patience=self.patience)
        return await self.utilities.body_of(verdict.ticket, options)

    async def get_job_status(
        self, partner_params: Mapping[str, Any], options_params: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The body of `/job_status` as it is now; only user_id and job_id of *partner_params* are needed."""
        return await self.utilities.get_job_status(partner_params, options_params)

    async def poll_job_status(
        self,
        counter: int,
        partner_params: Mapping[str, Any],
        options_params: Mapping[str, Any] | None = None,
        signature_params: Mapping[str, Any] | None = None,  # noqa: ARG002 - each request is signed as it leaves
    ) -> dict[str, Any]:
        """The body of `/job_status` once there is a verdict; StillPending if there is none in time.

        *counter*: how many of the SDK's 20 questions were asked already; each takes its share of patience away.
        """
        options, left = checked_options(options_params), max(0, _QUESTIONS - counter) / _QUESTIONS
        ticket = Ticket(**checked_ids(partner_params), job_type=UNKNOWN_JOB_TYPE)
        verdict = await self.session.wait(ticket, patience=self.patience * left)
        return await self.utilities.body_of(verdict.ticket, options)

    async def get_web_token(
        self,
        user_id: str,
        job_id: str,
        product: str,
        timestamp: str | None = None,  # noqa: ARG002 - each request is signed as it leaves
        callback_url: str | None = None,
    ) -> dict[str, Any]:
        """`{"token": …}` for the hosted web widget. Raises Refused, where the SDK gives the refusal's body back."""
        token = await self.session.web_token(user_id, job_id, product, callback_url)
        return {"token": token.reveal()}

    async def get_smile_id_services(self) -> dict[str, Any]:
        """The body of `/services`, kept for an hour; `session.catalogue` has it typed."""
        return await self.utilities.get_smile_id_services()
