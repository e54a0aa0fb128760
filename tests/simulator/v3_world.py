"""The world as V3 has it: it names jobs itself and makes two of two requests, its webhooks alone tell what was lost."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import httpx
import orjson
from simulator.clock import BEGAN
from simulator.errands import Errand
from simulator.gateway import API_PORT, HOST
from simulator.places import Place
from simulator.post import Post
from simulator.rules import AFTERMATH, Rules
from simulator.v3_gateway import V3Gateway
from simulator.v3_wants import V3_WANTS
from simulator.weather import V3_KINDS
from simulator.world import World
from v3_batch_support import CONSENT

from smile_async import Job, SmileError, Ticket, Verdict
from smile_async.errors import JobExists, JobNotFound, Refused, SessionClosed, StillPending, SubmissionUnknown
from smile_async.jobs.product import Product
from smile_async.protocol.v3.judging import DECISIONS
from smile_async.protocol.v3.needs import JOB_PARAM
from smile_async.sandbox.records import JobRecord, Message
from smile_async.sandbox.v3.products import V3_PRODUCTS
from smile_async.sandbox.v3.records import V3Job
from smile_async.sandbox.v3.type_ids import fresh
from smile_async.sandbox.v3.webhooks import webhook

__all__ = ["WORLDS", "V3World"]

#: Seconds between two replays for whoever is still in the dark.
REPLAYED = 60.0
#: Seconds of patience in which an honest server has answered.
PATIENT = 10.0


class V3Rules(Rules):
    """Watches over V3."""

    def records(self, job_id: str) -> list[JobRecord]:
        """The provider's jobs that came of ours."""
        return [job for job in self._sandbox.jobs.values() if job.partner_params.get(JOB_PARAM) == job_id]

    def verdict(self, errand: Errand, verdict: Verdict, who: object) -> None:
        whose = f"job {errand.job_id[:8]}"
        record = self._sandbox.jobs.get(verdict.ticket.smile_job_id or "")
        if record is None or record not in self.records(errand.job_id):
            self.broke(f"{whose}: the verdict is that of {verdict.ticket.smile_job_id}, another's job")
            return
        said = [_word(message) for message in record.plan if message.at <= BEGAN + self._loop.now + 1e-6]
        unsigned = errand.want.one_request and self._weather.has("an unsigned reply")
        if verdict.code not in said or not (verdict.confirmed or unsigned):
            self.broke(f"{whose}: verdict {verdict.code} (confirmed: {verdict.confirmed}), the provider said {said}")
        if not verdict.final or verdict.decision != DECISIONS.get(verdict.code):
            self.broke(f"{whose}: {verdict.code} became {verdict.decision} (final: {verdict.final})")
        if not (errand.asks_only or errand.want.is_about(record, errand.person)):
            self.broke(f"{whose}: {who} got the verdict of somebody else")
        self._not_after_another(errand, verdict, who)

    def error(self, errand: Errand, place: Place, error: SmileError, job: Job | None, began: float) -> None:
        whose, world = f"job {errand.job_id[:8]} at {place.name}", errand.world
        assert isinstance(world, V3World)
        if isinstance(error, SessionClosed):
            if not (place.stopping or place.may_crash()):
                self.broke(f"{whose}: {error}")
            return
        # Without a ledger a process that has heard of it by webhook alone does not know whose pictures it has.
        if isinstance(error, JobExists) and errand.sole and (place.ledger or errand.first_life == place.life):
            self.broke(f"{whose}: our own job is called foreign ({error})")
        if isinstance(error, SubmissionUnknown):
            self._unknown(whose, errand, error, began)
        alone = "another call was still sending it" not in str(error)
        born = errand.born.get(id(job), float("inf"))
        if job is not None and error.ticket is None and errand.sole and alone:
            late = [record for record in self.records(errand.job_id) if record.created_at >= BEGAN + born]
            if late:
                self.broke(f"{whose}: no ticket, but the provider has the job ({type(error).__name__})")
        expected: tuple[type[SmileError], ...] = (StillPending,) if errand.sole else (StillPending, JobExists)
        lost = isinstance(error, SubmissionUnknown) and errand.want.never_again
        calm = began > self._weather.calm_at + AFTERMATH or (not self._weather.kinds and isinstance(error, JobNotFound))
        if calm and not (isinstance(error, expected) or lost or errand.foreign or world.is_enrolled(errand)):
            self.broke(f"{whose}: all is well, and yet {type(error).__name__}: {error}")

    def repeated(self, errand: Errand, doubted_at: float) -> None:
        if errand.want.never_again:
            whose = f"job {errand.job_id[:8]} at {errand.place.name}"
            self.broke(f"{whose}: sent again after {self._loop.now - doubted_at:.3f} s, though it may have been taken")

    def _unknown(self, whose: str, errand: Errand, error: SubmissionUnknown, began: float) -> None:
        if error.ticket is None or error.retryable or error.ticket.smile_job_id is not None:
            self.broke(f"{whose}: unknown, with {error.ticket} (retryable: {error.retryable})")
        if not errand.want.never_again:
            self.broke(f"{whose}: a request with a key is given up as unknown")
        # Whoever has no patience hangs up on an honest server, too.
        if self._weather.struck_at == float("-inf") and self._loop.now - began > PATIENT:
            self.broke(f"{whose}: nothing has happened, and yet {error}")

    def _true(self, row: str, job_id: str, now: Any, sole: Any) -> None:
        known = self.records(job_id)
        if now[2] and not known:
            self.broke(f"{row}: accepted, but the provider does not have it")
        if sole(job_id) and now[1] == 0 and now[0] != "planned" and known:
            self.broke(f"{row}: nothing was sent, it says, but the provider has the job")

    def row(self, place: Place, job_id: str) -> tuple[Any, ...]:
        """What the ledger of *place* says of a job: state, reach, whether it was accepted, code, final."""
        return self._rows.get((place.name, job_id)) or ("", 0, False, None, None)


class V3World(World):
    """See above."""

    kinds = V3_KINDS
    gateway_of, rules_of = V3Gateway, V3Rules
    wants = V3_WANTS
    keepers = (StillPending, SubmissionUnknown)
    untold = (SubmissionUnknown, JobNotFound, StillPending, Refused)
    gateway: V3Gateway
    rules: V3Rules

    # What there is.

    def _place(self, number: int) -> Place:
        place = super()._place(number)
        place.hooks = f"https://{place.name}.hooks.test/" if self.luck.random() < 0.8 else ""
        place.tokens = self.luck.choice(("shared", "shared", "per_job"))
        return place

    def _errand(self, number: int, place: Place) -> None:
        super()._errand(number, place)
        errand = place.errands[-1]
        if errand.want.product is Product.AUTHENTICATION:
            self.sandbox.enroll(errand.user_id)
        if self.weather.has("callbacks are forged"):
            self._older(errand)

    def _older(self, errand: Errand) -> None:
        """Long ago somebody else was cleared under the name of *errand*'s user."""
        now = self.clock.time()
        about = {"user_id": errand.user_id, "job_id": fresh("job", now), "outcome": "clear"}
        kind = V3_PRODUCTS["authentication"]
        params = {JOB_PARAM: f"older-{errand.job_id}"}
        job = self.sandbox.registry.enter(
            V3Job, product=kind.name, job_type=kind.job_type, partner_params=params, **about
        )
        job.plan = [Message(now, "clear")]
        job.notified = 1

    def _authorities(self) -> None:
        self.gateway.broke, self.gateway.records = self.rules.broke, self.records_of
        settings = self.sandbox.settings
        settings.webhook_reordered = self.weather.has("webhooks in any order")
        if self.weather.has("tokens are short-lived"):
            settings.token_lifetime = self.luck.choice((10.0, 30.0, 90.0))

    def records_of(self, errand: Errand) -> list[JobRecord]:
        """The provider's jobs that came of *errand*'s requests."""
        hooks = errand.place.hooks
        return [
            record
            for record in self.rules.records(errand.job_id)
            if (record.callback_url.startswith(hooks) if hooks else not record.callback_url)
        ]

    def can_tell(self, errand: Errand) -> bool:
        """Whether status, or a webhook, can tell what has become of *errand*."""
        named = errand.ticket is not None and errand.ticket.smile_job_id is not None
        # Of what was sent while the server was a day ahead of itself each webhook is too old, and rightly so.
        dated = not self.weather.has("the server's date is off")
        return named or (dated and any(record.callback_url for record in self.records_of(errand)))

    def is_enrolled(self, errand: Errand) -> bool:
        """Whether the user of *errand* can not be enrolled once more."""
        return errand.want.product is Product.REGISTRATION and self.sandbox.registry.enrolled(errand.user_id)

    def is_old(self, job_id: str) -> bool:
        records = self.rules.records(job_id)
        return bool(records) and all(record.final for record in records)

    def may_land(self, _job_id: str) -> bool:
        return True

    # How it is asked.

    def account(self, place: Place) -> dict[str, Any]:
        return {
            "base_url": f"https://{HOST}:{API_PORT}/v3",
            "api": "v3",
            "consent": CONSENT,
            "callback_url": place.hooks or None,
            "tokens": place.tokens,
        }

    def calls_again(self, ticket: Ticket) -> bool:
        """Nobody knows what became of that job: to call with it once more must change nothing."""
        return ticket.smile_job_id is None and self.weather.chance(0.3)

    def addressees(self, request: httpx.Request) -> list[Place]:
        meant = [place for place in self.places if place.hooks and request.url.host == f"{place.name}.hooks.test"]
        if not meant:
            return self.places
        alone = all(errand.sole for place in self.places for errand in place.errands)
        return self.places if alone and self.weather.strikes("callbacks go astray") else meant

    def helpers(self, post: Post) -> list[Coroutine[Any, Any, None]]:
        return [self._look_again(), _forge(self, post), self._expire(), self._replay()]

    async def _expire(self) -> None:
        """All tokens at once are no good any more: a storm of refusals."""
        while self.weather.bad and self.weather.has("tokens expire"):
            await asyncio.sleep(self.weather.uniform(0.5, 30.0))
            if self.weather.strikes("tokens expire"):
                self.tell("all tokens have expired")
                self.sandbox.tokens.expire()

    async def _replay(self) -> None:
        """Once all is well, whoever is in the dark hears of his job."""
        while True:
            await asyncio.sleep(REPLAYED)
            waiting = [errand for place in self.places for errand in place.errands if not errand.end and self.calm]
            for errand in waiting:
                for record in self.records_of(errand):
                    if record.state == "final" and record.callback_url:
                        self.sandbox.replay(record)

    # What came of it.

    def _last_words(self) -> None:
        for place in self.places:
            for errand in place.errands:
                self._last_word(place, errand)
        wanted: dict[str, list[Errand]] = {}
        for place in self.places:
            for errand in place.errands:
                wanted.setdefault(errand.job_id, []).append(errand)
        for job_id, errands in wanted.items():
            # Who has forgotten that he sent it sends it again; a key makes one of what asks the same.
            asked = {errand.person for errand in errands}
            most = max(1, sum(errand.memories for errand in errands)) if errands[0].want.never_again else len(asked)
            if (number := len(self.rules.records(job_id))) > most:
                self.rules.broke(f"job {job_id[:8]} was done {number} times")

    def _last_word(self, place: Place, errand: Errand) -> None:
        whose, records = f"job {errand.job_id[:8]} at {place.name}", self.rules.records(errand.job_id)
        row = self.rules.row(place, errand.job_id)
        if errand.end == "unknown":
            if errand.sole and self.can_tell(errand):
                self.rules.broke(f"{whose}: a webhook could have told")
            # Its caller has given up, and a webhook can come yet.
            told = row[0] != "final" or row[3] in _last(records)
            if isinstance(place.ledger, type(self.folder)) and (row[1] < 1 or not told):
                self.rules.broke(f"{whose} is unknown, and on record as {row}")
        elif errand.end == "refused":
            if errand.sole and not self.is_enrolled(errand):
                self.rules.broke(f"{whose} was refused")
        elif errand.end not in _last(records):
            self.rules.broke(f"{whose} ended with {errand.end}")


def _word(message: Message) -> str:
    return message.code.partition(":")[0]


def _last(records: list[JobRecord]) -> set[str]:
    return {_word(record.plan[-1]) for record in records}


async def _forge(world: V3World, post: Post) -> None:
    """Now and then a webhook that nobody has sent: wrongly signed, or with a signature that was captured."""
    weather, sandbox = world.weather, world.sandbox
    while weather.bad and weather.has("callbacks are forged"):
        await asyncio.sleep(weather.uniform(0.5, 20.0))
        records = [job for job in sandbox.jobs.values() if isinstance(job, V3Job)]
        mine = [job for job in records if job.callback_url]
        if not mine or not weather.strikes("callbacks are forged"):
            continue
        job = weather.choice(mine)
        # Of a URL that has leaked.
        url = weather.choice((job.callback_url, weather.choice(mine).callback_url, job.callback_url.partition("?")[0]))
        now = world.clock.time()
        code = weather.choice(("clear", "block:spoof_detected", "processing", "error:internal_error", "escalated"))
        body, headers = webhook(sandbox, job, Message(now, code), now)
        told = weather.choice((job, weather.choice(records)))
        headers |= {"Job-ID": weather.choice((told.job_id, told.job_id, fresh("job", now)))}
        headers |= {"User-ID": weather.choice((job.user_id, job.user_id, told.user_id))}
        if weather.chance(0.3):
            headers["Response-Signature"] = "A" * 43 + "="
        if weather.chance(0.3):
            body = orjson.dumps({**orjson.loads(body), "partner_params": {JOB_PARAM: weather.choice(mine).job_id}})
        world.tell(f"a forged webhook: {code} of {headers['Job-ID']} for {url[:40]}")
        await post.deliver(httpx.Request("POST", url, content=body, headers=headers))


WORLDS: dict[str, type[World]] = {"v1": World, "v3": V3World}
