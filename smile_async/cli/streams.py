"""Standard streams that nothing breaks: what their encoding lacks is escaped, and a reader that has gone is forgotten.

What became of a job is told by the exit code. An error while it is printed would put another in its place, such as 1,
which says "rejected"; and Python's own word for a pipe that broke while it was left is 120.
"""

import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from smile_async.log import log

__all__ = ["lasting", "logged", "print_document", "visible"]

#: What would move a terminal's cursor, ring its bell or end a line: C0 and C1, but for the line end.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class _Lasting:
    """A text stream, written to at once; where *needed*, OSError is raised unless it is its reader who has gone."""

    def __init__(self, stream: TextIO, *, needed: bool) -> None:
        self._stream = stream
        self._needed = needed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        encoding = self._stream.encoding or "utf-8"
        try:
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()
        except ValueError:  # it is closed
            self._forget()
        except OSError as error:
            self._forget()
            if self._needed and not isinstance(error, BrokenPipeError):
                raise
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def _forget(self) -> None:
        # What is still in its buffer must not fail again at exit: https://docs.python.org/3/library/signal.html
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """Let standard output and standard error last while the block runs, and all three standard streams exist."""
    with contextlib.ExitStack() as until_left:
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:
                # Closed by whoever started us. In this order a file takes its number, so that no socket will.
                setattr(sys, name, until_left.enter_context(open(os.devnull, mode, encoding="utf-8")))  # noqa: PTH123
                until_left.callback(setattr, sys, name, None)
        # A command that is run inside another's finds them so.
        if not isinstance(sys.stdout, _Lasting):
            until_left.enter_context(contextlib.redirect_stdout(_Lasting(sys.stdout, needed=True)))
        if not isinstance(sys.stderr, _Lasting):
            until_left.enter_context(contextlib.redirect_stderr(_Lasting(sys.stderr, needed=False)))
        yield


def print_document(document: Mapping[str, Any]) -> None:
    """One line of JSON on standard output, in ASCII: the reader may be a pipe of any encoding."""
    sys.stdout.write(json.dumps(document, separators=(",", ":"), default=str) + "\n")


def visible(text: str) -> str:
    """*text* with its control characters escaped: a provider's or a manifest's must not steer a terminal."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class _Lines(logging.Handler):
    """To standard error, looked up anew for each line: a progress bar takes its place for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(visible(self.format(record)) + "\n")


@contextlib.contextmanager
def logged(level: int) -> Iterator[None]:
    """Let the library's log, from *level* on, go to standard error while the block runs."""
    logger, lines = log.logger, _Lines()
    lines.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = logger.level
    logger.addHandler(lines)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(lines)
