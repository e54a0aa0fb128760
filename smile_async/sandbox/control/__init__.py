"""The control API: what a test in Python says to its sandbox, said over HTTP by a test in any language.

`GET /_sandbox` tells what there is. Actions are POSTed to `/_sandbox/NAME` with an object of JSON, lists are GET, and
every answer is an object of JSON: an action's has a sentence as its `message`, a refusal (400, 401, 403, 404, 405, 413,
421) one as its `error`. Every call carries the header `X-Smile-Sandbox`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from smile_async.sandbox.access import Access
from smile_async.sandbox.desk import read_body

from .operations import OPERATIONS, NoSuchJob, Operation

if TYPE_CHECKING:
    from smile_async.sandbox.sandbox import Sandbox

__all__ = ["Control"]

#: Bytes of a request.
_MAX_REQUEST = 1_000_000


class Control:
    """The control API of one sandbox; `routes` are its addresses."""

    def __init__(self, sandbox: "Sandbox", access: Access) -> None:
        self._sandbox = sandbox
        self._access = access

    def routes(self) -> list[BaseRoute]:
        """Its addresses."""
        methods = ["GET", "POST"]
        return [
            Route("/_sandbox", self._answer, methods=methods),
            Route("/_sandbox/{name:path}", self._answer, methods=methods),
        ]

    async def _answer(self, request: Request) -> Response:
        refused = self._access.refuse_caller(request)
        if refused is not None:
            return _refused(*refused)
        name = request.path_params.get("name", "").strip("/")
        if not name:
            return _said(self._contents())
        operation = OPERATIONS.get(name)
        if operation is None:
            return _refused(404, f"there is no {name[:60]!r}: there are {', '.join(OPERATIONS)}")
        method = "POST" if operation.action else "GET"
        if request.method != method:
            return _refused(405, f"{name} is asked for by {method}")
        return await self._perform(operation, request)

    async def _perform(self, operation: Operation, request: Request) -> Response:
        try:
            given = await _object(request) if operation.action else dict(request.query_params)
            return _said(await operation(self._sandbox, given))
        except _TooLarge:
            return _refused(413, f"the request is larger than {_MAX_REQUEST} bytes")
        except NoSuchJob as error:
            return _refused(404, str(error))
        except (ValueError, RuntimeError) as error:
            return _refused(400, str(error))

    def _contents(self) -> dict[str, Any]:
        sandbox, running = self._sandbox, self._sandbox.running
        told = {
            name: {"method": "POST" if it.action else "GET", "does": it.does, "takes": [*it.takes], "needs": it.needs}
            for name, it in OPERATIONS.items()
        }
        urls = {"base_url": running.base_url, "base_url_v3": running.base_url_v3} if running is not None else {}
        return {"partner_id": sandbox.partner_id, **urls, "jobs": len(sandbox.jobs), "operations": told}


class _TooLarge(Exception):
    """A body over the cap."""


async def _object(request: Request) -> dict[str, Any]:
    body = await read_body(request, _MAX_REQUEST)
    if body is None:
        raise _TooLarge
    try:
        given = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise ValueError(f'the body is no JSON ({error}): send an object such as {{"user_id": "ada"}}') from None
    if isinstance(given, dict):
        return given
    raise ValueError('the body must be an object of JSON, such as {"user_id": "ada"}')


def _said(content: Mapping[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(content) + b"\n", status, {"cache-control": "no-store"}, "application/json")


def _refused(status: int, text: str) -> Response:
    return _said({"error": text}, status)
