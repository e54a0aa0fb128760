"""Calls about the account instead of a job, and the lists that are worth keeping for a while.

Nothing is looked up for a job: lists that somebody asked for are of use to the jobs that come after.
"""

import copy
import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import anyio

from smile_async.errors import BadConfiguration, SessionClosed, SmileError
from smile_async.jobs.catalogue import DocumentType, Products, Services
from smile_async.jobs.job import Job
from smile_async.log import log
from smile_async.protocol.signature import Secret
from smile_async.protocol.steps import Call, Fault
from smile_async.protocol.v1.account import read_products, read_token
from smile_async.timing.clock import Clock
from smile_async.traffic.driver import Driver
from smile_async.traffic.tasks import TaskHost

__all__ = ["Catalogue", "replayed", "web_token"]

#: Seconds for one call with its retries.
CALL_SECONDS = 60.0
#: Seconds that a list is kept; replies say nothing of caching (wire.md §13.7).
KEPT_SECONDS = 3_600.0
#: Lists kept at once: two, and one for each language that documents were asked for in.
KEPT_AT_MOST = 16
#: BCP 47 in short: `en-GB`, `fr-FR`, `ar-EG`.
_LOCALE = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8}){0,3}")

_Whole = TypeVar("_Whole")


class _Kept(Generic[_Whole]):
    """What came of one call, once `ended` is set."""

    __slots__ = ("at", "ended", "error", "found")

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.found: _Whole | None = None
        self.error: SmileError | None = None
        self.at = 0.0


class Catalogue:
    """What can be looked up: `session.catalogue`.

    A list is asked for when it is first wanted, kept for an hour of the session's clock, and shared: those who ask at
    the same time wait for one request. Raises Refused, Unavailable, UnreadableReply, SessionClosed, WrongLoop.
    """

    def __init__(self, driver: Driver, host: TaskHost, clock: Clock) -> None:
        self._driver = driver
        self._host = host
        self._clock = clock
        self._kept: dict[str, _Kept[Any]] = {}
        #: Kinds of ids that a warning named.
        self._warned: set[str] = set()

    async def services(self) -> Services:
        """What Smile ID can look up, which fields each kind of id needs, and the codes of banks."""
        lists = self._driver.dialect.lists
        return await self._asked(lists.SERVICES, lists.read_services)

    async def products(self) -> Products:
        """What this partner may use, and which authorities want the person's consent.

        Raises BadConfiguration for V3, which has no such list.
        """
        calls = self._driver.dialect.lists.PRODUCTS
        if not calls:
            raise BadConfiguration(f"{self._driver.dialect.api} has no list of products: ask with api='v1'")
        return await self._asked(calls, read_products)

    async def documents(self, locale: str | None = None) -> tuple[DocumentType, ...]:
        """The documents whose pictures can be verified; *locale*, such as "fr-FR", is the language of their names.

        Raises BadConfiguration for what no locale is.
        """
        if locale is not None and not (isinstance(locale, str) and _LOCALE.fullmatch(locale)):
            raise BadConfiguration("locale is no language tag: give one such as 'en-GB', or None")
        lists = self._driver.dialect.lists
        return await self._asked(lists.documents_call(locale), lists.read_documents)

    def look_at(self, job: Job) -> None:
        """Warn, once for each kind of id, of fields that *job* lacks; nothing is asked for that."""
        kept = self._kept.get(self._driver.dialect.lists.SERVICES[0].path)
        if kept is None or kept.found is None or job.id_info is None:
            return
        missing, kind = kept.found.missing(job), f"{job.id_info.country} {job.id_info.id_type}"
        if missing and kind not in self._warned:
            self._warned.add(kind)
            log.warning("job %s gives no %s, which %s needs (said once)", job.job_id, ", ".join(missing), kind)

    async def _asked(self, calls: tuple[Call, ...], read: Callable[[dict[str, Any]], _Whole]) -> _Whole:
        self._host.check()
        path = calls[0].path
        kept = self._kept.get(path)
        if kept is None or self._stale(kept):
            kept = _Kept[_Whole]()
            self._host.spawn(self._fetch, kept, calls, read, on_end=kept.ended.set)
            self._kept.pop(path, None)
            self._kept[path] = kept
            if len(self._kept) > KEPT_AT_MOST:
                del self._kept[next(iter(self._kept))]
        await kept.ended.wait()
        if kept.found is not None:
            return cast("_Whole", kept.found)
        # A copy for each: they would write into one traceback.
        raise copy.copy(kept.error or SessionClosed(self._host.closed_because))

    def _stale(self, kept: _Kept[Any]) -> bool:
        failed = kept.found is None
        return kept.ended.is_set() and (failed or self._clock.monotonic() - kept.at >= KEPT_SECONDS)

    async def _fetch(
        self, kept: _Kept[_Whole], calls: tuple[Call, ...], read: Callable[[dict[str, Any]], _Whole]
    ) -> None:
        found: dict[str, Any] = {}
        try:
            for call in calls:
                found |= await _called(self._driver, self._clock, call)
            kept.found = read(found)
            kept.at = self._clock.monotonic()
        except SmileError as error:
            kept.error = error.with_traceback(None)


async def replayed(driver: Driver, clock: Clock, call: Call) -> None:
    """Have a webhook sent once more. Raises any SmileError."""
    await _called(driver, clock, call)


async def web_token(driver: Driver, clock: Clock, call: Call) -> Secret:
    """The answer to a `token_call`. Raises any SmileError."""
    return read_token(await _called(driver, clock, call))


async def _called(driver: Driver, clock: Clock, call: Call) -> dict[str, Any]:
    try:
        return await driver.call(call, clock.monotonic() + CALL_SECONDS)
    except Fault as fault:
        error = fault.error
        error.retryable = fault.transient
    raise error.with_traceback(None)
