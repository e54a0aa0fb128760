"""The official Python SDK's `WebApi`, awaited: the class that Smile ID's documentation starts from.

A reader of that documentation adds `async with` and `await` and is done: same arguments in the same order, same
dictionaries in, same bodies out. It only translates; the work is `SmileSession`'s. Errors are this library's
(`smile_async.errors`), which tell a refusal from an outage and carry the ticket, where the SDK has one `ServerError`
with a text.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import orjson

from smile_async.jobs.image import Image, is_encoded
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE, JobType, Ticket
from smile_async.protocol.signature import Secret
from smile_async.session import PATIENCE, SmileSession
from smile_async.traffic.waiting import checked_patience

__all__ = ["WebApi"]

#: sid_server: 0 is the sandbox, 1 is production, anything else is a base URL (wire.md §1).
_ENVIRONMENTS = {"0": "sandbox", "1": "production"}
#: image_type_id: as a file and as base64 (wire.md §5.3).
_SELFIES, _LIVENESS, _BASE64 = ("0", "2"), ("4", "6"), ("2", "6")
_JOB_TYPES, _IDS = ("2", "4"), ("user_id", "job_id")
_SUFFIXES = (".jpg", ".jpeg", ".png")


class WebApi:
    """`async with WebApi(partner_id, default_callback, api_key, sid_server) as connection:`.

    *default_callback* may be "" if every job asks for its status. *sid_server* is 0 or "0" (sandbox), 1 or "1"
    (production) or a base URL. *patience*: seconds that `submit_job` waits for a verdict. *options* are those of
    SmileSession: ca_file, http, limits, …. Raises BadConfiguration, a ValueError.
    """

    def __init__(
        self,
        partner_id: str,
        default_callback: str | None,
        api_key: str,
        sid_server: str | int,
        *,
        patience: float = PATIENCE,
        **options: Any,
    ) -> None:
        key, server = Secret(api_key), str(sid_server)
        del api_key
        where = {"environment": _ENVIRONMENTS[server]} if server in _ENVIRONMENTS else {"base_url": server}
        #: The session behind it, for what the SDK's class can not do.
        self.session = SmileSession(partner_id, key, callback_url=default_callback or None, **{**where, **options})
        self._callback, self._patience = bool(default_callback), checked_patience(patience)

    async def __aenter__(self) -> Self:
        await self.session.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.__aexit__(kind, error, trace)

    async def submit_job(
        self,
        partner_params: Mapping[str, Any],
        images_params: Sequence[Mapping[str, Any]],
        id_info_params: Mapping[str, Any] | None = None,  # noqa: ARG002 - no job type that we support looks at it
        options_params: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Submit a SmartSelfie job (job_type 2 or 4).

        With `return_job_status` (the default) the answer is the body of `/job_status` once there is a verdict, a
        provisional one included; StillPending, with the ticket, if there is none in time. Without it the answer is
        `{"success": True, "smile_job_id": …}`. If there are several selfies, as in the SDK's example, the first is
        sent. Raises ValueError for what can not be a job, SmileError for everything else.
        """
        options = _checked(options_params)
        if not (options["return_job_status"] or options.get("optional_callback") or self._callback):
            raise ValueError("nobody would hear the result: give a callback, or set return_job_status")
        try:
            job = _job(partner_params, images_params, options)
        except ValueError as error:
            del images_params  # no frame of ours shows pictures in a traceback
            raise error.with_traceback(None) from None
        del images_params
        if not options["return_job_status"]:
            ticket = await self.session.submit(job, self._patience)
            return {"success": True, "smile_job_id": ticket.smile_job_id}
        verdict = await self.session.verify(job, patience=self._patience)
        return await self._body(verdict.ticket, options)

    async def get_job_status(
        self, partner_params: Mapping[str, Any], options_params: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The body of `/job_status` as it is now; only user_id and job_id of *partner_params* are needed."""
        return await self._body(Ticket(**_ids(partner_params), job_type=UNKNOWN_JOB_TYPE), _checked(options_params))

    async def _body(self, ticket: Ticket, options: Mapping[str, Any]) -> dict[str, Any]:
        history = options.get("return_history", False)
        links = options.get("return_images", False) or options.get("return_image_links", False)
        return dict((await self.session.status(ticket, history=history, image_links=links)).raw)


class _SdkJob(Job):
    """A job whose partner_params are what the SDK would have sent: numbers, flags, null and objects as well."""

    __slots__ = ()

    def _params_flaw(self) -> str:
        return ""


def _checked(options: Mapping[str, Any] | None) -> dict[str, Any]:
    for name, value in (options or {}).items():
        if name != "optional_callback" and not isinstance(value, bool):
            raise ValueError(f"options_params[{name!r}] is {type(value).__name__}: give True or False")
    return {"return_job_status": True, **(options or {})}


def _ids(partner_params: Mapping[str, Any]) -> dict[str, Any]:
    for name in _IDS:
        if not isinstance(partner_params.get(name), str) or not partner_params[name]:
            raise ValueError(f"partner_params has no {name}: give a text")
    return {name: partner_params[name] for name in _IDS}


def _job(
    partner_params: Mapping[str, Any], images_params: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
) -> Job:
    kind = str(partner_params.get("job_type"))
    if kind not in _JOB_TYPES:
        raise ValueError(f"job_type {kind} is not supported: 2 (authentication) and 4 (registration) are")
    pictures = [(_type_id(given), given) for given in images_params]
    return _SdkJob(
        **_ids(partner_params),
        job_type=JobType(int(kind)),
        selfie=next((_image(given) for number, given in pictures if number in _SELFIES), None),
        liveness=tuple(_image(given) for number, given in pictures if number in _LIVENESS),
        partner_params=_as_json(partner_params),
        callback_url=options.get("optional_callback") or None,
        use_enrolled_image=options.get("use_enrolled_image", False),
        allow_new_enroll=options.get("allow_new_enroll", False),
    )


def _as_json(partner_params: Mapping[str, Any]) -> dict[str, Any]:
    """What they are on the wire, but for what the job says itself; the caller may change hers meanwhile."""
    try:
        said = orjson.dumps({**partner_params})
    except TypeError as error:
        raise ValueError(f"partner_params can not be sent as JSON ({error})") from None
    return {name: value for name, value in orjson.loads(said).items() if name not in (*_IDS, "job_type")}


def _type_id(given: Mapping[str, Any]) -> str:
    number = str(given.get("image_type_id"))
    if number not in _SELFIES + _LIVENESS:
        raise ValueError(f"image_type_id {number} is not supported: give 0 or 2 (selfie), 4 or 6 (liveness)")
    return number


def _image(given: Mapping[str, Any]) -> Image:
    """The SDK names a file `file_name` and base64 `image`; the documentation has `image` for both."""
    text = str(given.get("image") or given.get("file_name") or "")
    is_path = text.lower().endswith(_SUFFIXES)
    if not is_path and (_type_id(given) in _BASE64 or is_encoded(text)):
        return Image.from_base64(text)
    return Image.from_path(text)
