"""One examination: probes in order, each within its time, and what comes of them told as it comes."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from time import monotonic

import anyio

from smile_async.doctor.findings import Finding, Report, State
from smile_async.doctor.reading import of_silence
from smile_async.errors import SmileError, StillPending
from smile_async.transport.engine import NoReply, plain

__all__ = ["Examination", "Note"]

Note = Callable[[Finding], None]
#: Gives the findings of one probe; may raise SmileError, NoReply, OSError and TimeoutError.
Work = Callable[[], Awaitable[Sequence[Finding]]]
#: Seconds.
USUAL = 60.0


class Examination:
    """Runs probes and writes their findings into *report*; *note* is told of each."""

    def __init__(self, report: Report, note: Note) -> None:
        self.report = report
        self._note = note

    def tell(self, *found: Finding, seconds: float = 0.0) -> bool:
        """Take findings in; whether none of them is a failure."""
        for finding in found:
            self._note(self.report.add(replace(finding, seconds=round(seconds, 3))))
        return not any(finding.state is State.FAILURE for finding in found)

    async def probe(self, name: str, work: Work, *, leg: str = "http", within: float = USUAL) -> bool:
        """Do *work* within so many seconds; whether nothing failed. What it raises is a finding called *name*."""
        began = monotonic()
        try:
            with anyio.fail_after(within):
                found = await work()
        except StillPending as error:
            # Nothing is wrong, and what rests on a verdict has to be left out.
            self.tell(Finding(name, State.WARNING, str(error), "give more --patience"), seconds=monotonic() - began)
            return False
        except SmileError as error:
            found = [Finding(name, State.FAILURE, f"{type(error).__name__}: {error}")]
        except NoReply as told:
            found = [of_silence(name, leg, told.why)]
        except TimeoutError:
            found = [of_silence(name, leg, f"no answer within {monotonic() - began:.0f} s")]
        except OSError as error:
            found = [of_silence(name, leg, plain(error))]
        except Exception as error:  # noqa: BLE001 - the rest of the examination is worth more than a traceback
            found = [Finding(name, State.FAILURE, f"not foreseen: {type(error).__name__}", "please report it")]
        return self.tell(*found, seconds=monotonic() - began)
