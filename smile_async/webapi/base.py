"""What the official SDK's classes share: an account, a session behind it, and questions about jobs."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from smile_async.jobs.job import Job
from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE, Ticket
from smile_async.protocol.signature import Secret
from smile_async.session import PATIENCE, SmileSession
from smile_async.traffic.waiting import checked_patience
from smile_async.webapi.jobs import checked_ids, checked_options, lookup_flaw, product_of

__all__ = ["Base", "Utilities"]

#: sid_server: 0 is the sandbox, 1 is production, anything else is a base URL (wire.md §1).
_ENVIRONMENTS = {"0": "sandbox", "1": "production"}


class Base:
    """`async with IdApi(partner_id, api_key, sid_server) as connection:`, and the same for its sisters.

    *sid_server* is 0 or "0" (sandbox), 1 or "1" (production) or a base URL. *patience*: seconds that a call waits for a
    verdict. *options* are those of SmileSession: ca_file, http, limits, …. Raises BadConfiguration, a ValueError.
    """

    def __init__(
        self,
        partner_id: str,
        api_key: str | Secret,
        sid_server: str | int,
        *,
        patience: float = PATIENCE,
        **options: Any,
    ) -> None:
        key, server = Secret(api_key), str(sid_server)
        del api_key
        where = {"environment": _ENVIRONMENTS[server]} if server in _ENVIRONMENTS else {"base_url": server}
        #: The session behind it, for what the SDK's classes can not do.
        self.session = SmileSession(partner_id, key, **{**where, **options})
        self.sid_server = sid_server
        self.patience = checked_patience(patience)

    @property
    def partner_id(self) -> str:
        """Whose account it is."""
        return self.session.partner_id

    @property
    def utilities(self) -> "Utilities":
        """Questions about jobs, over this same session."""
        return Utilities.over(self)

    @classmethod
    def over(cls, other: "Base") -> Self:
        """One that shares *other*'s session, and is open for as long as that is."""
        shared = cls.__new__(cls)
        shared.session, shared.sid_server, shared.patience = other.session, other.sid_server, other.patience
        return shared

    async def __aenter__(self) -> Self:
        await self.session.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.__aexit__(kind, error, trace)

    async def _result(self, job: Job) -> dict[str, Any]:
        """What a product of one request answers."""
        return dict((await self.session.verify(job, patience=self.patience)).raw)


class Utilities(Base):
    """The official SDK's `Utilities`: how far a job is."""

    async def get_job_status(
        self,
        partner_params: Mapping[str, Any],
        option_params: Mapping[str, Any] | None = None,
        signature: Mapping[str, Any] | None = None,  # noqa: ARG002 - each request is signed as it leaves
    ) -> dict[str, Any]:
        """The body of `/job_status` as it is now; only user_id and job_id of *partner_params* are needed.

        *signature* is not used: one that was made before may be stale by now.
        """
        ticket = Ticket(**checked_ids(partner_params), job_type=UNKNOWN_JOB_TYPE)
        return await self.body_of(ticket, checked_options(option_params))

    async def query_job_status(
        self,
        user_id: str,
        job_id: str,
        option_params: Mapping[str, Any] | None = None,
        signature: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """`get_job_status` by ids."""
        return await self.get_job_status({"user_id": user_id, "job_id": job_id}, option_params, signature)

    async def get_smile_id_services(self) -> dict[str, Any]:
        """The body of `/services`, kept for an hour; `session.catalogue` has it typed."""
        return dict((await self.session.catalogue.services()).raw)

    async def body_of(self, ticket: Ticket, options: Mapping[str, Any]) -> dict[str, Any]:
        """The body of `/job_status` with what *options* ask for."""
        history = options.get("return_history", False)
        links = options.get("return_images", False) or options.get("return_image_links", False)
        return dict((await self.session.status(ticket, history=history, image_links=links)).raw)

    @staticmethod
    def validate_partner_params(partner_params: Mapping[str, Any]) -> None:
        """Raise ValueError for ids or a job_type that are none."""
        checked_ids(partner_params)
        product_of(partner_params)

    @staticmethod
    def validate_id_params(
        sid_server: str | int,  # noqa: ARG004 - the SDK's argument, which it does not use either
        id_info_params: Mapping[str, Any],
        partner_params: Mapping[str, Any],
    ) -> None:
        """Raise ValueError for what the job_type needs and *id_info_params* lack."""
        why = lookup_flaw(product_of(partner_params), id_info_params)
        if why:
            raise ValueError(why)
