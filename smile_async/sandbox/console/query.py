"""What a page of the console is about, as its address says: filters, place in the list, the job on display.

Everything here comes from outside; what is none of ours is dropped, and links are always built anew from the rest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode

from smile_async.sandbox.records import JobRecord
from smile_async.sandbox.search import STANDINGS, standing

__all__ = ["Query"]


@dataclass(frozen=True, slots=True)
class Query:
    """`state` and `find` (part of a user or job id) narrow the list, `before` is the place in it, `job` a ref id.

    `open`: whether what is personal about that job was asked for.
    """

    state: str = ""
    find: str = ""
    before: int = 0
    job: str = ""
    open: bool = False

    @classmethod
    def read(cls, params: Mapping[str, str]) -> Self:
        """The query of an address, without what makes no sense."""
        before, state = params.get("before", ""), params.get("state", "")
        return cls(
            state=state if state in STANDINGS else "",
            find=params.get("find", "").strip().lower()[:100],
            before=int(before) if before.isascii() and before.isdigit() and len(before) < 12 else 0,
            job=params.get("job", "")[:100],
            open=params.get("open", "") == "1",
        )

    @property
    def narrow(self) -> bool:
        """Whether the list is filtered."""
        return bool(self.state or self.find)

    def at(self, now: float) -> Callable[[JobRecord], bool] | None:
        """Whether a job fits as of *now*; None if every job does."""

        def fits(job: JobRecord) -> bool:
            if self.find and self.find not in job.user_id.lower() and self.find not in job.job_id.lower():
                return False
            return not self.state or standing(job, now) == self.state

        return fits if self.narrow else None

    @property
    def text(self) -> str:
        """The query as part of an address, without its `?`."""
        parts: dict[str, Any] = {"state": self.state, "find": self.find, "before": self.before, "job": self.job}
        parts["open"] = int(self.open and bool(self.job))
        return urlencode({name: value for name, value in parts.items() if value})

    def link(self, **changes: Any) -> str:
        """The address of this page with some things changed."""
        text = replace(self, **{"open": False, **changes}).text
        return f"/?{text}" if text else "/"
