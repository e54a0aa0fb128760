"""Storage in the manner of S3: PUT a zip to a presigned URL, GET an image by a presigned link; errors are XML.

The first zip that lands for a job is the job; later PUTs to the same URL are answered 200, as S3 answers them, and
change nothing. Once a zip has landed its job is decided even if the client has gone: that is what makes a lost reply
to a PUT ambiguous.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from xml.sax.saxutils import escape

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from .credentials import StorageRefusal
from .desk import Desk, exchange_of, read_body, with_fault
from .inspection import Inspection, inspect
from .records import JobRecord
from .replies import link_path, upload_path
from .request_log import Exchange

__all__ = ["no_object", "storage_routes"]


def storage_routes(desk: Desk) -> list[BaseRoute]:
    """The routes of storage."""

    async def put_zip(request: Request) -> Response:
        job = desk.registry.by_ref(request.path_params["ref"])
        exchange = _begun(request, "put", job)
        victim = (job.user_id, job.job_id) if job else (None, None)
        reply = await with_fault(desk, exchange, "put", victim, partial(_answer, partial(_put, desk, job, request)))
        # A reply to a half-sent body reaches many clients as a broken pipe, so take the rest first.
        with contextlib.suppress(ClientDisconnect, RuntimeError):
            await read_body(request, desk.settings.max_zip)
        return reply

    async def get_image(request: Request) -> Response:
        _begun(request, "image", desk.registry.by_ref(request.path_params["ref"]))
        return await _answer(partial(_image, desk, request))

    return [
        Route("/videos/{partner}/{ref}/selfie.zip", put_zip, methods=["PUT"]),
        Route("/results/{partner}/{ref}/{index:int}/{name}", get_image, methods=["GET"]),
    ]


def _begun(request: Request, leg: str, job: JobRecord | None) -> Exchange:
    exchange = exchange_of(request)
    exchange.leg = leg
    if job is not None:
        exchange.user_id, exchange.job_id = job.user_id, job.job_id
    return exchange


async def no_object(request: Request, error: Exception) -> Response:  # noqa: ARG001 - one shape for all handlers
    """What storage says to a path or a method it does not have."""

    async def work() -> Response:
        raise StorageRefusal(403, "AccessDenied", "Access Denied")

    return await _answer(work)


async def _answer(work: Callable[[], Awaitable[Response]]) -> Response:
    try:
        return await work()
    except StorageRefusal as refusal:
        text = f"<Error><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message></Error>"
        xml = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'
        return Response(xml, refusal.status, media_type="application/xml")


async def _put(desk: Desk, job: JobRecord | None, request: Request) -> Response:
    _check_length(request)
    path = upload_path(desk.settings, job) if job else ""
    if job is None or request.url.path != path:
        raise StorageRefusal(403, "AccessDenied", "Access Denied")
    query = request.scope["query_string"].decode("latin-1")
    desk.keys.check_put(path, query, request.headers.get("content-type", ""), desk.settings.clock.time())
    try:
        body = await read_body(request, desk.settings.max_zip)
    except ClientDisconnect:
        raise StorageRefusal(400, "IncompleteBody", "You did not provide the number of bytes specified") from None
    if body is None:
        raise StorageRefusal(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
    await _receive(desk, job, body)
    return Response()


def _check_length(request: Request) -> None:
    # S3 knows no chunked request bodies on presigned PUTs (wire.md §5.4).
    if "chunked" in request.headers.get("transfer-encoding", "").lower():
        raise StorageRefusal(
            501, "NotImplemented", "A header you provided implies functionality that is not implemented"
        )
    if not request.headers.get("content-length", "").isdecimal():
        raise StorageRefusal(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")


async def _receive(desk: Desk, job: JobRecord, zipped: bytes) -> None:
    if not desk.registry.land(job, len(zipped)):
        return
    loop = asyncio.get_running_loop()
    reading = loop.run_in_executor(desk.readers, _read, desk, zipped, job)
    # The verdict hangs on the future, not on this request: a client that hangs up now must find its job decided.
    reading.add_done_callback(partial(_decide, desk, job))
    await asyncio.shield(reading)


def _decide(desk: Desk, job: JobRecord, reading: asyncio.Future[Inspection]) -> None:
    if reading.cancelled() or reading.exception() is not None:
        job.zip_at = None  # our own fault (a full disk, say): let the client try again
        return
    desk.registry.decide(job, reading.result())
    desk.notify(job)


def _read(desk: Desk, zipped: bytes, job: JobRecord) -> Inspection:
    found = inspect(
        zipped,
        job.kind,
        use_enrolled_image=job.use_enrolled_image,
        max_image=desk.settings.max_image,
        decode=desk.settings.decode,
    )
    for record, content in found.images:
        desk.images.put(record.sha256, content)
    return found


async def _image(desk: Desk, request: Request) -> Response:
    job = desk.registry.by_ref(request.path_params["ref"])
    index = request.path_params["index"]
    if job is None or index >= len(job.images) or request.url.path != link_path(desk.settings, job, index):
        raise StorageRefusal(403, "AccessDenied", "Access Denied")
    query = request.scope["query_string"].decode("latin-1")
    desk.keys.check_get(link_path(desk.settings, job, index), query, desk.settings.clock.time())
    record = job.images[index]
    content = desk.images.get(record.sha256)
    if content is None:
        raise StorageRefusal(404, "NoSuchKey", "The specified key does not exist.")
    return Response(content, media_type=record.media_type)
