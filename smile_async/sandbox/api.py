"""The API: the three steps of an upload, the products of one request, and the account's own calls; JSON in and out.

Every path may end in a slash, every body be gzipped (the official Android SDK compresses all of them, wire.md §4), and
every refusal is JSON: SDKs die of anything else.
"""

import zlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from . import account
from .desk import Desk, exchange_of, read_body, whose, with_fault
from .faults import Leg
from .products import PRODUCTS, Product
from .replies import result_body, status_body, upload_body
from .requests import Refusal, parse_id_request, parse_prep_upload, parse_status_query

__all__ = ["api_routes", "no_route"]

#: Far above any request an SDK makes (JavaScript's spreads id_info into it), far below what would hurt.
_MAX_REQUEST = 1_000_000

Answer = Callable[[Request, bytes], Awaitable[dict[str, Any]]]


def api_routes(desk: Desk) -> list[BaseRoute]:
    """The routes of the API."""

    def route(path: str, leg: Leg, answer: Answer, *methods: str) -> list[BaseRoute]:
        endpoint = _endpoint(desk, leg, answer)
        return [Route(path + slash, endpoint, methods=methods or ["POST"]) for slash in ("", "/")]

    routes = [
        *route("/v1/upload", "upload", partial(_prep_upload, desk)),
        *route("/v1/job_status", "job_status", partial(_job_status, desk)),
        *route("/v1/token", "account", partial(account.token, desk)),
        *route("/v1/services", "account", partial(account.services, desk), "GET"),
        *route("/v1/products_config", "account", partial(account.products_config, desk)),
        *route("/v1/valid_documents", "account", partial(account.valid_documents, desk), "GET", "POST"),
    ]
    for product in PRODUCTS.values():
        if product.path:
            routes += route(product.path, "request", partial(_look_up, desk, product, later=False))
        if product.later_path:
            routes += route(product.later_path, "request", partial(_look_up, desk, product, later=True))
    return routes


async def _prep_upload(desk: Desk, request: Request, body: bytes) -> dict[str, Any]:
    settings = desk.settings
    prep = parse_prep_upload(body, desk.keys, settings.clock.time(), settings.window)
    return upload_body(settings, desk.keys, desk.registry.prepare(prep), _storage_base(desk, request))


async def _job_status(desk: Desk, request: Request, body: bytes) -> dict[str, Any]:
    settings = desk.settings
    query = parse_status_query(body, desk.keys, settings.clock.time(), settings.window)
    job = desk.registry.jobs.get(query.job_id)
    if job is None or job.api != "v1" or job.user_id != query.user_id or not desk.registry.recorded(job):
        raise Refusal("2304", "Job not found", settings.not_found_status)
    job.polls += 1
    asked = {"history": query.history, "image_links": query.image_links}
    return status_body(settings, desk.keys, job, _storage_base(desk, request), **asked)


async def _look_up(desk: Desk, product: Product, _: Request, body: bytes, *, later: bool) -> dict[str, Any]:
    settings = desk.settings
    now, window, strict = settings.clock.time(), settings.window, settings.demand_fields
    asked = parse_id_request(body, product, desk.keys, now, window, demand_fields=strict)
    job = desk.registry.look_up(asked, later=later)
    if later:
        desk.notify(job)
        return {"success": True}  # and no SmileJobID (wire.md §13.2)
    first = job.plan[0]
    await settings.clock.sleep(max(first.at - now, 0))
    return result_body(desk.keys, job, job.latest or first)


def _storage_base(desk: Desk, request: Request) -> str:
    # Without sockets of its own, storage is wherever this request came to.
    return desk.storage_url or f"{request.url.scheme}://{request.url.netloc}"


def _endpoint(desk: Desk, leg: Leg, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        exchange = exchange_of(request)
        exchange.leg = leg
        body = await read_body(request, _MAX_REQUEST)
        if body is not None and request.headers.get("content-encoding") == "gzip":
            body = _unzipped(body)
        if body is None:
            return _refused(Refusal("2203", "the request body is too large", 413))
        exchange.ask(body)

        async def work() -> Response:
            try:
                return _json(await answer(request, body))
            except Refusal as refusal:
                return _refused(refusal)

        return await with_fault(desk, exchange, leg, whose(desk, leg, body), work)

    return endpoint


def _unzipped(body: bytes) -> bytes | None:
    """What gzip has made of it; None if that is too large. What is no gzip stays as it is, and is no JSON either."""
    reader = zlib.decompressobj(wbits=31)
    try:
        content = reader.decompress(body, _MAX_REQUEST + 1)
    except zlib.error:
        return body
    return content if len(content) <= _MAX_REQUEST else None


async def no_route(request: Request, error: Exception) -> Response:
    """What the API says to a path or a method it does not have."""
    status = getattr(error, "status_code", 404)
    text = f"there is no {request.method} {request.url.path} here"
    return Response(orjson.dumps({"error": text}), status, getattr(error, "headers", None), "application/json")


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def _refused(refusal: Refusal) -> Response:
    return _json({"error": refusal.text, "code": refusal.code}, refusal.status)
