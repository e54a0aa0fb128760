"""The API: POST /v1/upload and POST /v1/job_status, JSON in and out."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from .desk import Desk, read_body, whose, with_fault
from .faults import Leg
from .replies import status_body, upload_body
from .requests import Refusal, parse_prep_upload, parse_status_query

__all__ = ["api_routes"]

#: Far above any request an SDK makes (JavaScript's spreads id_info into it), far below what would hurt.
_MAX_REQUEST = 1_000_000


def api_routes(desk: Desk) -> list[BaseRoute]:
    """The routes of the API."""

    def prep_upload(request: Request, body: bytes) -> dict[str, Any]:
        settings = desk.settings
        prep = parse_prep_upload(body, desk.keys, settings.clock.time(), settings.window)
        job = desk.registry.prepare(prep)
        return upload_body(settings, desk.keys, job, _storage_base(desk, request))

    def job_status(request: Request, body: bytes) -> dict[str, Any]:
        settings = desk.settings
        query = parse_status_query(body, desk.keys, settings.clock.time(), settings.window)
        job = desk.registry.jobs.get(query.job_id)
        if job is None or job.user_id != query.user_id:
            raise Refusal("2304", "Job not found", settings.not_found_status)
        job.polls += 1
        asked = {"history": query.history, "image_links": query.image_links}
        return status_body(settings, desk.keys, job, _storage_base(desk, request), **asked)

    return [
        Route("/v1/upload", _endpoint(desk, "upload", prep_upload), methods=["POST"]),
        Route("/v1/job_status", _endpoint(desk, "job_status", job_status), methods=["POST"]),
    ]


def _storage_base(desk: Desk, request: Request) -> str:
    # Without sockets of its own, storage is wherever this request came to.
    return desk.storage_url or f"{request.url.scheme}://{request.url.netloc}"


def _endpoint(
    desk: Desk, leg: Leg, answer: Callable[[Request, bytes], dict[str, Any]]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        body = await read_body(request, _MAX_REQUEST)
        if body is None:
            return _refused(Refusal("2203", "the request body is too large", 413))

        async def work() -> Response:
            try:
                return _json(answer(request, body))
            except Refusal as refusal:
                return _refused(refusal)

        return await with_fault(desk, leg, whose(desk, leg, body), work)

    return endpoint


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def _refused(refusal: Refusal) -> Response:
    return _json({"error": refusal.text, "code": refusal.code}, refusal.status)
