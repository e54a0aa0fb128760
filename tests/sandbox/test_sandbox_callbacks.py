"""The sandbox calls back as the real service does: signed, flat, again when nobody said 2xx."""

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from sandbox_support import KEY, HandClock, Partner, TurningClock, in_process, iso, partner_of, sign, zipped

from smile_async.sandbox import Sandbox
from smile_async.sandbox.settings import is_callable_url

URL = "https://partner.test/smile?token=canary"


class Receiver(httpx.AsyncBaseTransport):
    """Collects callbacks; answers with the statuses given, then 200; an exception in the list is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.got: list[tuple[str, dict[str, Any]]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["content-type"] == "application/json"
        self.got.append((str(request.url), json.loads(request.content)))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer)

    @property
    def codes(self) -> list[str]:
        return [body["ResultCode"] for _, body in self.got]


@pytest.fixture
def partner() -> Any:
    """A partner with a portal callback URL, whose user ada is enrolled."""
    with in_process(clock=TurningClock(), callback_url=URL) as partner:
        partner.sandbox.enroll("ada")
        yield partner


async def until(condition: Callable[[], bool]) -> None:
    """Wait until *condition* holds, 5 s at most."""
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await anyio.sleep(0.002)


async def test_a_result_is_sent_flat_and_signed(partner: Partner) -> None:
    """The callback is the result itself with timestamp and signature at top level, to the portal's URL."""
    receiver = Receiver()
    async with partner.sandbox.sending_callbacks(receiver):
        await partner.submit("ada", "j1", order="A-19")
        await until(lambda: bool(partner.sandbox.jobs["j1"].callbacks))
    ((url, body),) = receiver.got
    assert url == URL
    assert body["signature"] == sign(body["timestamp"])
    assert (body["ResultCode"], body["PartnerParams"]["order"]) == ("0820", "A-19")
    (sent,) = partner.sandbox.jobs["j1"].callbacks
    assert (sent.code, sent.status) == ("0820", 200)


async def test_provisional_then_final_to_the_jobs_own_url(partner: Partner) -> None:
    """A reviewed job calls back twice, at its own URL, which wins over the portal's."""
    receiver = Receiver()
    partner.sandbox.settings.review = 7200
    prep = partner.prep("ada", "j1", 2, sandbox_result="2")
    prep["callback_url"] = "http://127.0.0.1:9/own"
    async with partner.sandbox.sending_callbacks(receiver):
        url = (await partner.post("upload", prep)).json()["upload_url"]
        await partner.put(url, zipped())
        await until(lambda: len(receiver.got) == 2)
    assert receiver.codes == ["0822", "1220"]
    assert {url for url, _ in receiver.got} == {"http://127.0.0.1:9/own"}


async def test_what_was_not_answered_2xx_is_sent_again(partner: Partner) -> None:
    """Retries repeat the same bytes up to the limit, with growing gaps; no answer counts as none."""
    receiver = Receiver(500, httpx.ConnectError("down"), 302, 503, 200)
    async with partner.sandbox.sending_callbacks(receiver):
        await partner.submit("ada", "j1")
        await until(lambda: len(partner.sandbox.jobs["j1"].callbacks) == 4)
        await anyio.sleep(0.02)
    sent = partner.sandbox.jobs["j1"].callbacks
    assert [each.status for each in sent] == [500, None, 302, 503]
    assert [round(later.at - earlier.at) for earlier, later in itertools.pairwise(sent)] == [2, 4, 8]
    assert len({json.dumps(body) for _, body in receiver.got}) == 1


async def test_callbacks_missed_while_down_are_sent_at_the_next_start(partner: Partner) -> None:
    """Results that fell due while nobody was sending are sent when somebody is, each once."""
    await partner.submit("ada", "j1")
    receiver = Receiver()
    for _ in range(2):
        async with partner.sandbox.sending_callbacks(receiver):
            await anyio.sleep(0.02)
    assert receiver.codes == ["0820"]


async def test_a_reviewer_replaces_the_callback_to_come(partner: Partner) -> None:
    """After a person's judgement the planned final callback is not sent, the new one is."""
    sandbox = partner.sandbox
    sandbox.settings.clock = clock = HandClock()
    receiver = Receiver()
    sandbox.settings.review = 100
    async with sandbox.sending_callbacks(receiver):
        await partner.submit("ada", "j1", sandbox_result="2")
        sandbox.registry.save(sandbox.jobs["j1"])
        await until(lambda: receiver.codes == ["0822"])
        sandbox.review("j1", "spoof")
        await until(lambda: receiver.codes == ["0822", "1222"])
        clock.now += 1000
        await anyio.sleep(0.02)
    assert receiver.codes == ["0822", "1222"]


async def test_a_review_while_a_callback_is_on_its_way_sends_nothing_twice(partner: Partner) -> None:
    """A provisional callback still in flight is not queued again by the judgement that follows it."""

    class Slow(Receiver):
        going = anyio.Event()

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            reply = await super().handle_async_request(request)
            await self.going.wait()
            return reply

    receiver = Slow()
    async with partner.sandbox.sending_callbacks(receiver):
        await partner.submit("ada", "j1", sandbox_result="2")
        await until(lambda: bool(receiver.got))
        partner.sandbox.review("j1", "reject")
        receiver.going.set()
        await until(lambda: len(partner.sandbox.jobs["j1"].callbacks) == 2)
        await anyio.sleep(0.02)
    assert sorted(receiver.codes) == ["0822", "1221"]


async def test_resending_signs_anew(partner: Partner) -> None:
    """A callback sent again by hand carries a fresh timestamp, so that receivers do not call it stale."""
    receiver = Receiver()
    sandbox = partner.sandbox
    await partner.upload("ada", "j0")
    with pytest.raises(RuntimeError, match="served"):
        sandbox.resend("j0")
    async with sandbox.sending_callbacks(receiver):
        with pytest.raises(ValueError, match="no result"):
            sandbox.resend("j0")
        await partner.submit("ada", "j1")
        await until(lambda: len(receiver.got) == 1)
        clock = sandbox.settings.clock
        assert isinstance(clock, HandClock)
        clock.now += 1000
        sandbox.resend("j1")
        await until(lambda: len(receiver.got) == 2)
    first, second = (body for _, body in receiver.got)
    assert first["ResultCode"] == second["ResultCode"]
    assert (second["timestamp"] > first["timestamp"], second["signature"]) == (True, sign(second["timestamp"]))
    assert second["timestamp"] >= iso(clock.now)[:10]


async def test_faults_make_callbacks_late_lost_twofold_or_forged(partner: Partner) -> None:
    """Every knob of `fault` has its meaning for callbacks."""
    sandbox, receiver = partner.sandbox, Receiver()
    async with sandbox.sending_callbacks(receiver):
        faults: list[tuple[int, dict[str, Any]]] = [
            (1, {"delay": 30.0, "tamper": lambda body: body.update(late=True)}),
            (2, {"status": 500}),
            (2, {"cut": True}),
            (2, {"status": 500, "effect": True}),
            (1, {"body": {"ResultCode": "forged"}}),
            (1, {"body": '{"ResultCode": "text"}'}),
            (1, {"body": b'{"ResultCode": "bytes"}', "headers": {"x-a": "b"}}),
        ]
        for number, (attempts, fault) in enumerate(faults):
            sandbox.fault("callback", **fault)
            await partner.submit("ada", f"j{number}")
            job = sandbox.jobs[f"j{number}"]
            await until(lambda job=job, attempts=attempts: len(job.callbacks) == attempts)  # type: ignore[misc]
    statuses = {job_id: [sent.status for sent in job.callbacks] for job_id, job in sandbox.jobs.items()}
    assert statuses["j0"] == [200]
    assert statuses["j1"] == [500, 200]
    assert statuses["j2"] == [None, 200]
    assert statuses["j3"] == [500, 200]
    bodies = [body for _, body in receiver.got]
    assert bodies[0]["late"] is True
    assert sum(body.get("PartnerParams", {}).get("job_id") == "j3" for body in bodies) == 2
    assert {"forged", "text", "bytes"} < {body["ResultCode"] for body in bodies}


def test_callbacks_go_to_https_or_to_this_machine() -> None:
    """Plain http is for loopback only; what is no URL is never called."""
    assert all(map(is_callable_url, ["https://a.example/x", "http://localhost:1/", "http://[::1]/"]))
    assert not any(
        map(is_callable_url, ["", "http://a.example", "ftp://localhost", "https://", "http://[::1", "nonsense"])
    )


async def test_a_job_without_a_callable_url_is_silent() -> None:
    """Polling only: an empty or unusable URL means that nothing is sent."""
    with in_process(clock=TurningClock(), callback_url="http://intranet.example/") as partner:
        receiver = Receiver()
        async with partner.sandbox.sending_callbacks(receiver):
            await partner.submit("bob", "j1", 4)
            await anyio.sleep(0.02)
        assert receiver.got == []


async def test_the_blocks_own_error_comes_out_as_it_is() -> None:
    """Sending callbacks wraps nobody's exceptions."""
    with pytest.raises(KeyError):
        async with Sandbox().sending_callbacks():
            raise KeyError


async def test_over_real_sockets() -> None:
    """A served sandbox sends to a real receiver, here another sandbox's port, checked against its authority."""
    async with Sandbox.serve(api_key=KEY) as other:
        settings = {"callback_url": f"{other.base_url}/upload", "callback_ca_file": other.ca_file}
        async with Sandbox.serve(api_key=KEY, callback_retries=0, **settings) as running:
            partner = partner_of(running)
            async with partner.http:
                await partner.submit("bob", "j1", 4)
            await until(lambda: bool(running.sandbox.jobs["j1"].callbacks))
            assert [sent.status for sent in running.sandbox.jobs["j1"].callbacks] == [400]


async def test_a_receiver_that_never_answers_is_given_up() -> None:
    """The time-out of an attempt ends it without an answer."""

    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(3600)
            raise AssertionError

    with in_process(callback_url=URL, callback_timeout=0.01, callback_retries=0, clock=TurningClock()) as partner:
        async with partner.sandbox.sending_callbacks(Silent()):
            await partner.submit("bob", "j1", 4)
            await until(lambda: bool(partner.sandbox.jobs["j1"].callbacks))
        assert partner.sandbox.jobs["j1"].callbacks[0].status is None
