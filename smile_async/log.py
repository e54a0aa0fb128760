"""The library's one logger; what an application hangs on it (filters, handlers) can not decide what becomes of a job.

A filter that raises would otherwise raise in whoever logs: in the poller, which waits for a hundred thousand jobs.
"""

import logging
from typing import Any

__all__ = ["log"]

_logger = logging.getLogger("smile_async")
_logger.addHandler(logging.NullHandler())


class Log:
    """`logging.Logger`, as far as it is used here; a line that can not be logged is lost, and nothing else."""

    __slots__ = ()

    def debug(self, message: str, *args: object, **more: Any) -> None:
        """For whoever looks into one job."""
        self.log(logging.DEBUG, message, *args, **more)

    def info(self, message: str, *args: object, **more: Any) -> None:
        """How a job ended."""
        self.log(logging.INFO, message, *args, **more)

    def warning(self, message: str, *args: object, **more: Any) -> None:
        """What was mended, or may become worse."""
        self.log(logging.WARNING, message, *args, **more)

    def error(self, message: str, *args: object, **more: Any) -> None:
        """What somebody has to look at."""
        self.log(logging.ERROR, message, *args, **more)

    def exception(self, message: str, *args: object, **more: Any) -> None:
        """An error, with the traceback of the exception that is being handled."""
        self.log(logging.ERROR, message, *args, exc_info=True, **more)

    def log(self, level: int, message: str, *args: object, **more: Any) -> None:
        """A line of any level; the caller's caller stands in it as its origin."""
        try:
            if _logger.isEnabledFor(level):
                _logger.log(level, message, *args, stacklevel=3, **more)
        except BaseException:  # noqa: BLE001 - SystemExit as well: nothing is awaited here, so no cancellation is lost
            return


log = Log()
