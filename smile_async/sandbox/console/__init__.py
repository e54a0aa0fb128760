"""A web page at the sandbox's own port: every job as it happens, and a reviewer's buttons beside it.

While integrating, the questions are always the same: did my job arrive, with which pictures, what does 0822 mean, was
my callback called, what if the reviewer says no. The page answers them without a log line, and is safe to leave open.
"""

import hashlib
from collections import deque
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from smile_async.sandbox.access import Access, Refusal, secured
from smile_async.sandbox.control.operations import OPERATIONS
from smile_async.sandbox.desk import read_body
from smile_async.sandbox.search import JobCounts

from .log import LogQuery
from .pages import Pages
from .query import Query
from .thumbnails import Thumbnails

if TYPE_CHECKING:
    from smile_async.sandbox.sandbox import Sandbox

__all__ = ["Console"]

_STATIC = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
#: Bytes; ids in forms are at most as long as in requests people type.
_MAX_FORM = 64_000

Endpoint = Callable[[Request], Awaitable[Response]]


class Console(Access):
    """The console of one sandbox; `routes` are its addresses."""

    def __init__(self, sandbox: "Sandbox") -> None:
        super().__init__(sandbox.settings)
        self._sandbox = sandbox
        self._counts = JobCounts(sandbox.registry)
        self._thumbnails = Thumbnails()
        self._pages = Pages(sandbox, self._counts, self.csrf)
        self._said: deque[str] = deque(maxlen=1)

    def routes(self) -> list[BaseRoute]:
        """Its addresses; none if it is switched off."""
        if not self._settings.console:
            return []
        private, action = self._private, self._action
        return [
            Route("/", self._front, methods=["GET"]),
            Route("/console/live", private(self._live), methods=["GET"]),
            Route("/console/log", private(self._log), methods=["GET"]),
            Route("/console/log/live", private(self._log_live), methods=["GET"]),
            Route("/console/images/{ref}/{index:int}", private(self._image), methods=["GET"]),
            Route("/console/static/{name}", self._static, methods=["GET"]),
            Route("/console/do/{what}", action, methods=["POST"]),
        ]

    def _private(self, endpoint: Endpoint) -> Endpoint:
        async def checked(request: Request) -> Response:
            refused = self.refuse_host(request) or self.refuse_stranger(request)
            return _plain(*refused) if refused else secured(await endpoint(request))

        return checked

    async def _front(self, request: Request) -> Response:
        if "token" in request.query_params:
            admitted = self.refuse_host(request) or self.admit(request)
            return _plain(*admitted) if isinstance(admitted, Refusal) else admitted
        return await self._private(self._page)(request)

    async def _page(self, request: Request) -> Response:
        said = self._said.pop() if self._said else ""
        page = await self._pages.page(Query.read(request.query_params), _base_url(request), said)
        return Response(page, media_type="text/html")

    async def _live(self, request: Request) -> Response:
        return self._news(request, await self._pages.live(Query.read(request.query_params), _base_url(request)))

    async def _log(self, request: Request) -> Response:
        page = self._pages.log_page(LogQuery.read(request.query_params), _base_url(request))
        return Response(page, media_type="text/html")

    async def _log_live(self, request: Request) -> Response:
        return self._news(request, self._pages.log_live(LogQuery.read(request.query_params), _base_url(request)))

    def _news(self, request: Request, page: str) -> Response:
        """What has become of a page: nothing if it is still what the reader has seen."""
        digest = hashlib.sha256(page.encode()).hexdigest()[:24]
        if request.headers.get("x-seen") == digest:
            return Response(status_code=204)
        now = self._settings.clock.time()
        return Response(page, media_type="text/html", headers={"x-version": digest, "x-now": f"{now:.3f}"})

    async def _image(self, request: Request) -> Response:
        job = self._sandbox.registry.by_ref(request.path_params["ref"])
        index = request.path_params["index"]
        image = job.images[index] if job is not None and index < len(job.images) else None
        content = self._sandbox.images.get(image.sha256) if image is not None else None
        if image is None or content is None:
            return PlainTextResponse("there is no such image, or it had to make room for newer ones\n", 404)
        if "small" not in request.query_params:
            return Response(content, media_type=image.media_type)
        small = await self._thumbnails.small(image, content)
        if small is None:
            return PlainTextResponse("this image cannot be made smaller\n", 404)
        return Response(small, media_type="image/jpeg")

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if refused := self.refuse_host(request):
            return _plain(*refused)
        if name not in _STATIC:
            return secured(PlainTextResponse("there is no such file\n", 404))
        content = resources.files(__package__).joinpath("static", name).read_bytes()
        return secured(Response(content, media_type=_STATIC[name]))

    async def _action(self, request: Request) -> Response:
        refused = self.refuse_host(request) or self.refuse_stranger(request)
        if refused:
            return _plain(*refused)
        form = _form(await read_body(request, _MAX_FORM))
        csrf = request.headers.get("x-csrf-token") or form.get("csrf", "")
        refused = self.refuse_foreign(request, csrf)
        return _plain(*refused) if refused else secured(await self._do(request, form))

    async def _do(self, request: Request, form: dict[str, str]) -> Response:
        operation = OPERATIONS.get(request.path_params["what"])
        if operation is None or not operation.action:
            return PlainTextResponse("there is no such action\n", 404)
        given = {name: form[name].strip() for name in operation.takes if name in form}
        try:
            said: str = (await operation(self._sandbox, given))["message"]
        except (ValueError, RuntimeError) as error:
            return PlainTextResponse(f"{error}\n", 400)
        self._counts.forget()
        if request.headers.get("x-csrf-token"):  # the script shows it itself
            return PlainTextResponse(said)
        self._said.append(said)
        # An address of our own making: `back` is only ever read as a query.
        return RedirectResponse(Query.read(QueryParams(form.get("back", ""))).link(), 303)


def _base_url(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}/v1"


def _plain(status: int, text: str) -> Response:
    return secured(PlainTextResponse(text + "\n", status))


def _form(body: bytes | None) -> dict[str, str]:
    """The fields of a form; none if it is too large or no form at all, which no action accepts."""
    try:
        return dict(parse_qsl((body or b"").decode(), keep_blank_values=True, max_num_fields=50))
    except ValueError:
        return {}
