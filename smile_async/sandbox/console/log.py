"""The console's log page: which exchanges, as its address says, and how they are shown."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, get_args
from urllib.parse import urlencode

import orjson

from smile_async.sandbox.faults import Leg
from smile_async.sandbox.request_log import LogEntry, RequestLog
from smile_async.sandbox.texts import clip, seconds_text

from .views import Moment

__all__ = ["LEGS", "LogQuery", "log_values"]

LEGS = (*get_args(Leg), "image")
#: Exchanges on one page; characters of a body.
_PAGE, _LONG = 50, 6_000


@dataclass(frozen=True, slots=True)
class LogQuery:
    """`leg` and `find` (part of a user id, job id or path) narrow the list, `before` is the place in it.

    `entry` is the number of the exchange on display.
    """

    leg: str = ""
    find: str = ""
    before: int = 0
    entry: int = 0

    @classmethod
    def read(cls, params: Mapping[str, str]) -> Self:
        """The query of an address, without what makes no sense."""
        numbers = {name: params.get(name, "") for name in ("before", "entry")}
        leg = params.get("leg", "")
        return cls(
            leg=leg if leg in LEGS else "",
            find=params.get("find", "").strip().lower()[:100],
            **{
                name: int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
                for name, text in numbers.items()
            },
        )

    def fits(self, entry: LogEntry) -> bool:
        """Whether *entry* belongs into the list."""
        searched = f"{entry.user_id}\n{entry.job_id}\n{entry.path}".lower()
        return self.leg in ("", entry.leg) and self.find in searched and (not self.before or entry.number < self.before)

    @property
    def text(self) -> str:
        """The query as part of an address, without its `?`."""
        parts = {"leg": self.leg, "find": self.find, "before": self.before, "entry": self.entry}
        return urlencode({name: value for name, value in parts.items() if value})

    def link(self, **changes: Any) -> str:
        """The address of this page with some things changed."""
        text = replace(self, **changes).text
        return f"/console/log?{text}" if text else "/console/log"


def log_values(log: RequestLog, query: LogQuery) -> dict[str, Any]:
    """What the templates of the page are told."""
    fitting = [entry for entry in reversed([*log]) if query.fits(entry)]
    found = fitting[:_PAGE]
    chosen = next((entry for entry in log if entry.number == query.entry), None)
    return {
        "rows": [_row(entry) for entry in found],
        "older": found[-1].number if len(fitting) > len(found) else 0,
        "detail": None if chosen is None else _detail(chosen),
    }


def _row(entry: LogEntry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "status": "no answer" if entry.status is None else str(entry.status),
        "tone": _tone(entry.status),
        "target": f"{entry.method} {entry.path}",
        "leg": ("↗ " if entry.kind == "callback" else "") + (entry.leg or "no such path"),
        "user_id": clip(entry.user_id, 60),
        "job_id": clip(entry.job_id),
        "fault": entry.fault,
        "reason": clip(entry.reason, 200),
        "when": Moment(entry.at),
    }


def _tone(status: int | None) -> str:
    if status is None:
        return "unknown"
    return "approved" if status < 400 else "rejected" if status < 500 else "error"


def _detail(entry: LogEntry) -> dict[str, Any]:
    parts = {name: _part(part) for name, part in (("request", entry.request), ("answer", entry.answer))}
    took = seconds_text(round(entry.seconds, 3)) if entry.seconds >= 0.0005 else "less than 1 ms"
    return {"row": _row(entry), "callback": entry.kind == "callback", "took": took, **parts}


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    body = part.get("body")
    said = body if isinstance(body, str) else orjson.dumps(body, option=orjson.OPT_INDENT_2).decode()
    return {"body": "" if body is None else clip(said, _LONG), "headers": list(part.get("headers", {}).items())}
