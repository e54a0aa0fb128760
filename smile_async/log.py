"""The library's one logger; what an application hangs on it (filters, handlers) can not decide what becomes of a job.

A filter that raises would otherwise raise in whoever logs: in the poller, which waits for a hundred thousand jobs.
"""

import contextlib
import logging
from typing import Any

__all__ = ["log"]


class _Log(logging.LoggerAdapter[logging.Logger]):
    """A line that can not be logged is lost, and nothing else."""

    def log(self, level: int, msg: object, *args: object, **more: Any) -> None:
        # SystemExit as well: nothing is awaited here, so no cancellation is lost.
        with contextlib.suppress(BaseException):
            if self.isEnabledFor(level):
                self.logger.log(level, msg, *args, stacklevel=2, **more)


log = _Log(logging.getLogger("smile_async"))
log.logger.addHandler(logging.NullHandler())
