"""What every V3 endpoint shares: a body under a cap, a form that is read once, a token, faults, refusals as replies."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from smile_async.sandbox.desk import Desk, exchange_of, read_body, with_fault
from smile_async.sandbox.faults import Leg

from .forms import Form, read_form
from .refusals import Refusal, gateway, refusal
from .tokens import Bound, partner_of

__all__ = ["Answer", "Call", "route"]


@dataclass(slots=True)
class Call:
    """One request, its body read."""

    desk: Desk
    request: Request
    body: bytes = field(repr=False)
    _form: Form | Refusal | None = None

    def form(self, *, optional: bool = False) -> Form:
        """The form it brings, a User-ID header as if it were a part (official SDK 12.1.0); raises `Refusal`."""
        if self._form is None:
            try:
                self._form = read_form(self.request.headers.get("content-type", ""), self.body, optional=optional)
            except Refusal as refused:
                self._form = refused
            else:
                exchange_of(self.request).ask_form(self._form.texts, self._form.files)
                self._add_user(self._form)
        if isinstance(self._form, Refusal):
            raise self._form
        return self._form

    def _add_user(self, form: Form) -> None:
        named = self.request.headers.get("user-id")
        if named and form.texts.setdefault("user_id", named) != named:
            self._form = refusal(403, "Token is not authorized for this user ID.")

    def bound(self) -> Bound:
        """What the token it carries is bound to; raises `Refusal` 401."""
        named = self.request.headers.get("smileid-partner-id")
        if named is not None and (named.lstrip("0") or "0") != partner_of(self.desk.settings):
            raise gateway(401, "Invalid authentication credentials.")
        return self.desk.tokens.read(self.request.headers.get("smileid-token", ""))

    @property
    def origin(self) -> str:
        """Where it was sent to, such as `https://127.0.0.1:8443`."""
        return f"{self.request.url.scheme}://{self.request.url.netloc}"

    def victim(self, *, posted: bool) -> tuple[str | None, str | None]:
        """User and job it is about, for a fault to pick."""
        params = self.request.path_params
        try:
            said = self.form(optional=True).texts.get("user_id") if posted else None
        except Refusal:
            said = None
        return params.get("user_id", said), params.get("job_id")


Answer = Callable[[Call], Awaitable[Response]]


def route(desk: Desk, leg: Leg, method: str, path: str, answer: Answer) -> Route:
    """The route of one endpoint."""

    async def endpoint(request: Request) -> Response:
        exchange = exchange_of(request)
        exchange.leg = leg
        body = await read_body(request, desk.settings.max_request)
        if body is None:
            return gateway(413, "Request body is too large").reply()
        call = Call(desk, request, body)

        async def work() -> Response:
            try:
                return await answer(call)
            except Refusal as refused:
                return refused.reply()

        posted = method == "POST" and desk.faults.pending(leg)
        return await with_fault(desk, exchange, leg, call.victim(posted=posted), work)

    return Route(path, endpoint, methods=[method])
