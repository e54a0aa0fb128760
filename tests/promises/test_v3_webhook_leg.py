"""The webhook leg of a V3 job whose 202 was lost: however its webhooks come, in the end its ticket has its verdict.

What comes is said to a real receiver; what status says of it goes over real sockets, on every engine.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from callback_support import post
from sandbox_support import sign
from street import ENGINES, Pictures
from v3_client_support import ME, made_of, v3_session

from smile_async import CallbackReceiver, Job, Pace
from smile_async.errors import SubmissionUnknown
from smile_async.sandbox import RunningSandbox, Sandbox
from smile_async.sandbox.records import Message
from smile_async.sandbox.v3.records import V3Job
from smile_async.sandbox.v3.webhooks import webhook

#: Where nobody listens: the tests themselves say what the sandbox would.
NOBODY = "https://127.0.0.1:9/smile"


@dataclass
class Letter:
    """One webhook, to be spoiled."""

    body: bytes
    headers: dict[str, str]
    query: str
    ends: bool = True


Spoil = Callable[[Letter], None]


def _word(word: str) -> Spoil:
    def spoil(letter: Letter) -> None:
        letter.body = orjson.dumps({**orjson.loads(letter.body), "status": word, "reason": None})

    return spoil


def _header(**told: str) -> Spoil:
    return lambda letter: letter.headers.update({name.replace("_", "-"): value for name, value in told.items()})


def _query(query: str) -> Spoil:
    return lambda letter: setattr(letter, "query", query)


def _body(make: Callable[[bytes], bytes]) -> Spoil:
    return lambda letter: setattr(letter, "body", make(letter.body))


def _stale(letter: Letter) -> None:
    stamp = "2020-01-02T03:04:05.678Z"
    letter.headers |= {"response-timestamp": stamp, "response-signature": sign(stamp, "1")}


def _as_it_is(_letter: Letter) -> None:
    """Leave it."""


#: What comes, one after the other, and what each is answered; the last that is taken decides.
LEG: dict[str, list[tuple[Spoil, int]]] = {
    "as it should": [(_as_it_is, 200)],
    "doubled": [(_as_it_is, 200), (_as_it_is, 200)],
    "processing first": [(_word("processing"), 200), (_as_it_is, 200)],
    "processing last": [(_as_it_is, 200), (_word("processing"), 200)],
    "a word that nobody knows first": [(_word("escalated"), 200), (_as_it_is, 200)],
    "another word than status has": [(_word("block"), 200)],
    "no JSON": [(_body(lambda _: b"<html>"), 400), (_as_it_is, 200)],
    "half of it": [(_body(lambda body: body[: len(body) // 2]), 400), (_as_it_is, 200)],
    "no signature": [(_header(response_signature=""), 403), (_as_it_is, 200)],
    "a forged signature": [(_header(response_signature="A" * 43 + "="), 403), (_as_it_is, 200)],
    "a stale signature": [(_stale, 403), (_as_it_is, 200)],
    "not to the job's URL": [(_query(""), 404), (_as_it_is, 200)],
    "to a URL with another token": [(_query("job=x&since=0&token=y"), 404), (_as_it_is, 200)],
    "of another user": [(_header(user_id="eve"), 404), (_as_it_is, 200)],
    "of a job that does not exist": [(_header(job_id="job_01kdyak3see9zcsy4sgw9w3tv1"), 404), (_as_it_is, 200)],
}


@pytest.fixture
async def quiet() -> AsyncIterator[RunningSandbox]:
    """A sandbox whose webhooks nobody hears."""
    async with Sandbox.serve(callback_retries=0) as running:
        yield running


@pytest.mark.parametrize("http", ENGINES)
@pytest.mark.usefixtures("tidy")
async def test_the_webhook_leg(http: str, quiet: RunningSandbox, pictures: Pictures) -> None:
    """Each lost job ends in its own verdict by whichever webhook is good, each bad one is refused, none is doubled."""
    sandbox, complaints = quiet.sandbox, []
    async with v3_session(quiet, http=http, callback_url=NOBODY, pace=Pace.fixed(0.05, 1, 0.05)) as session:
        receiver = CallbackReceiver(session)

        async def play(name: str, coming: list[tuple[Spoil, int]]) -> None:
            sandbox.fault("submit", cut=True, effect=True, user_id=name)
            faces: dict[str, Any] = {"liveness": pictures.liveness[:6], "person": ME}
            with pytest.raises(SubmissionUnknown) as caught:
                await session.verify(Job.register(name, pictures.selfie, job_id=name, **faces))
            assert caught.value.ticket is not None
            assert not caught.value.retryable
            waiting = asyncio.create_task(session.wait(caught.value.ticket, patience=60.0))
            await asyncio.sleep(0)
            (made,) = made_of(sandbox, name)
            assert isinstance(made, V3Job)
            for spoil, wanted in coming:
                moment = sandbox.settings.clock.time()
                body, headers = webhook(sandbox, made, Message(moment, made.outcome), moment)
                letter = Letter(body, {k.lower(): v for k, v in headers.items()}, made.callback_url.partition("?")[2])
                spoil(letter)
                status, said = await post(receiver, letter.body, headers=letter.headers, query=letter.query)
                if status != wanted:
                    complaints.append(f"{name}: {status} ({said}) instead of {wanted}")
            verdict = await waiting
            if (verdict.code, verdict.confirmed, verdict.ticket.smile_job_id) != ("clear", True, made.job_id):
                complaints.append(f"{name}: {verdict}")
            if len(made_of(sandbox, name)) != 1:
                complaints.append(f"{name}: doubled")

        await asyncio.gather(*(play(name, coming) for name, coming in LEG.items()))
    assert not complaints, "\n".join(complaints)
