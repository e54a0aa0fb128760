"""Draws the console's pages: the whole one, and the parts of it that change by themselves.

Both come from the same templates, so that a page kept up to date by the script is the page a reload would show.
"""

import shlex
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from smile_async.sandbox.faults import Leg, waiting_text
from smile_async.sandbox.search import STANDINGS, JobCounts, search
from smile_async.sandbox.texts import clip, seconds_text

from .log import LEGS, LogQuery, log_values
from .query import Query
from .views import detail_of, row_of

if TYPE_CHECKING:
    from smile_async.sandbox.sandbox import Sandbox

__all__ = ["Pages"]

#: Jobs on one page.
_PAGE = 25
#: Enrolled users listed by name.
_USERS = 12


def _template(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text("utf-8")


#: Of all sandboxes of a process: each template is compiled once.
_TEMPLATES = Environment(
    loader=FunctionLoader(_template),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Pages:
    """The pages of one sandbox's console."""

    def __init__(self, sandbox: "Sandbox", counts: JobCounts, csrf: str) -> None:
        self._sandbox = sandbox
        self._counts = counts
        self._csrf = csrf

    async def page(self, query: Query, base_url: str, said: str) -> str:
        """The whole page; *said* is what the last action has to say."""
        values = await self._values(query, base_url)
        legs: tuple[tuple[Leg, str], ...] = (
            ("upload", "POST /v1/upload"),
            ("put", "PUT of the zip"),
            ("job_status", "POST /v1/job_status"),
            ("request", "POST of one request"),
            ("callback", "callback to you"),
            ("account", "tokens, services, documents"),
            ("token", "POST /v3/token"),
            ("submit", "POST of a V3 job"),
            ("status", "GET /v3/status"),
            ("replay", "POST /v3/replay"),
            ("webhook", "V3 webhook to you"),
        )
        return self._draw("page.html", values, said=said, legs=legs, here="/", live="/console/live")

    async def live(self, query: Query, base_url: str) -> str:
        """The parts of the page that change by themselves."""
        return self._draw("live.html", await self._values(query, base_url))

    def log_page(self, query: LogQuery, base_url: str) -> str:
        """The page of the log."""
        where = {"here": "/console/log", "live": "/console/log/live"}
        return self._draw("log.html", self._log_values(query, base_url), said="", legs=LEGS, **where)

    def log_live(self, query: LogQuery, base_url: str) -> str:
        """The parts of it that change by themselves."""
        return self._draw("log_live.html", self._log_values(query, base_url))

    def _draw(self, template: str, values: Mapping[str, Any], **more: Any) -> str:
        return _TEMPLATES.get_template(template).render(**values, **more)

    def _log_values(self, query: LogQuery, base_url: str) -> dict[str, Any]:
        return {"query": query, "desk": "/", **self._common(base_url), **log_values(self._sandbox.log, query)}

    def _common(self, base_url: str) -> dict[str, Any]:
        sandbox = self._sandbox
        return {
            "csrf": self._csrf,
            "partner_id": sandbox.partner_id,
            "base_url": sandbox.running.base_url if sandbox.running else base_url,
            "fault_count": len(sandbox.faults.waiting()),
            "now": sandbox.settings.clock.time(),
        }

    async def _values(self, query: Query, base_url: str) -> dict[str, Any]:
        sandbox, settings = self._sandbox, self._sandbox.settings
        now = settings.clock.time()
        counts = await self._counts.count(now)
        found = await search(sandbox.registry, query.at(now), query.before, _PAGE)
        job = sandbox.registry.by_ref(query.job) if query.job else None
        shown = [(leg, waiting_text(leg, fault)) for leg, fault in sandbox.faults.waiting()]
        return {
            **self._common(base_url),
            "desk": "",
            "query": query,
            "standings": STANDINGS,
            "counts": counts,
            "total": len(sandbox.registry.jobs),
            "rows": [row_of(each, now) for each in found.jobs],
            "found": found,
            "detail": detail_of(job, now, shown=query.open) if job is not None else None,
            "job_enrolled": job is not None and sandbox.registry.enrolled(job.user_id),
            "exports": self._exports(base_url),
            "callback_url": bool(settings.callback_url),
            "latency": settings.latency,
            "review": settings.review,
            "timing": [None if each is None else seconds_text(each) for each in (settings.latency, settings.review)],
            "faults": shown[:_USERS],
            "users": [clip(user, 200) for user in sandbox.registry.enrolled_users(_USERS)],
        }

    def _exports(self, base_url: str) -> str:
        """What a second shell needs, but for the key: that is in the terminal, and does not belong in a page."""
        names = {"SMILE_PARTNER_ID": self._sandbox.partner_id, "SMILE_BASE_URL": base_url}
        if self._sandbox.running is not None:
            names |= {"SMILE_BASE_URL": self._sandbox.running.base_url, "SMILE_CA_FILE": self._sandbox.running.ca_file}
        return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in names.items())
