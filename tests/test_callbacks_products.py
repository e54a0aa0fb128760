"""Callbacks of the products, from the sandbox to a receiver over sockets: whom they wake, when, and what is heard."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from callback_support import SELDOM
from street import Pictures, session_of, until

from smile_async import CallbackReceiver, Document, IdInfo, Job, SmileSession, Verdict, verify_callback
from smile_async.sandbox import RunningSandbox

INFO = IdInfo("NG", "NIN_V2", "00000000000", first_name="Ada", last_name="Obi", dob="1990-01-31")
COMPANY = IdInfo("NG", "BASIC_BUSINESS_REGISTRATION", "0000000", business_type="co")

#: Each product that has an asynchronous form, and the codes that its user is called back with.
JOBS: dict[str, tuple[Callable[[Pictures], Job], list[str]]] = {
    "enhanced_kyc": (lambda _: Job.enhanced_kyc("ada", INFO), ["1012"]),
    "basic_kyc": (lambda _: Job.basic_kyc("ada", INFO), ["1020"]),
    "business_verification": (lambda _: Job.business_verification("ada", COMPANY), ["1012"]),
    "biometric_kyc": (lambda own: Job.biometric_kyc("kyc", own.selfie, INFO), ["1012", "0810"]),
    "doc_verification": (
        lambda own: Job.document_verification("doc", own.selfie, Document("NG", own.other)),
        ["0810"],
    ),
    "enhanced_document_verification": (
        lambda own: Job.enhanced_document_verification(
            "edv", own.selfie, Document("NG", own.other, id_type="PASSPORT")
        ),
        ["0810"],
    ),
}


@dataclass
class House:
    """A receiver that listens on a port, behind a session that polls so seldom that only a callback wakes anybody."""

    session: SmileSession
    heard: list[Verdict] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    async def hear(self, verdict: Verdict) -> None:
        self.heard.append(verdict)

    @asynccontextmanager
    async def listening(self, running: RunningSandbox) -> AsyncIterator[None]:
        """The sandbox calls here."""
        receiver = CallbackReceiver(self.session, self.hear)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def noted() -> Any:
                message = await receive()
                self.bodies.append(message.get("body", b""))
                return message

            async def told(message: Any) -> None:
                self.statuses += [message["status"]] if "status" in message else []
                await send(message)

            await receiver(scope, noted, told)

        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        running.sandbox.settings.callback_url = f"http://127.0.0.1:{port}/"
        try:
            yield
        finally:
            server.should_exit = True
            await serving


@pytest.fixture
async def house(running: RunningSandbox) -> AsyncIterator[House]:
    """A house with an open session."""
    async with session_of(running, pace=SELDOM) as session:
        house = House(session)
        async with house.listening(running):
            yield house


@pytest.mark.parametrize("name", JOBS)
async def test_a_callback_wakes_who_waits(name: str, house: House, running: RunningSandbox, pictures: Pictures) -> None:
    """Hours before the next poll the result is there, confirmed and of its own product; its body alone proves none."""
    make, codes = JOBS[name]
    job = make(pictures)
    script = {"code": codes[0], "after": 0.3, "then": [(0.3, code) for code in codes[1:]]}
    running.sandbox.script(job.user_id, **script)  # type: ignore[arg-type]
    ticket = await house.session.submit(job)
    verdict = await house.session.wait(ticket, until="final", patience=30)
    assert (verdict.code, verdict.approved, verdict.final) == (codes[-1], True, True)
    assert (verdict.ticket.product, verdict.source) == (job.product, "callback")
    await until(lambda: len(house.statuses) == len(codes))
    assert set(house.statuses) == {200}
    assert [each.code for each in house.heard][-1] == codes[-1]
    for body, code in zip((body for body in house.bodies if body), codes, strict=True):
        claim = verify_callback(body, partner_id=running.partner_id, api_key=running.api_key)
        assert (claim.code, claim.confirmed, claim.approved) == (code, False, False)


@pytest.mark.parametrize(
    ("name", "codes"),
    [("biometric_kyc", ["0812", "1210"]), ("enhanced_document_verification", ["0810"])],
)
async def test_a_message_on_the_way_wakes_nobody(
    name: str, codes: list[str], house: House, running: RunningSandbox, pictures: Pictures
) -> None:
    """1012 says that the number was found, not who came with it: waiters go on, to the provisional, then the final.

    The handler hears of it, as of everything, but never as of an approval.
    """
    job = JOBS[name][0](pictures)
    then = [(0.4, code) for code in codes]
    running.sandbox.script(job.user_id, code="1012", after=0.1, then=then)
    ticket = await house.session.submit(job)
    first = asyncio.create_task(house.session.wait(ticket, patience=30))
    async with house.session.follow(ticket) as followed:
        verdicts = [verdict async for verdict in followed]
    assert (await first).code == codes[0]
    assert [verdict.code for verdict in verdicts] == codes
    assert [verdict.final for verdict in verdicts] == [*[False] * (len(codes) - 1), True]
    await until(lambda: len(house.heard) == 1 + len(codes))
    on_the_way = house.heard[0]
    assert [verdict.code for verdict in house.heard] == ["1012", *codes]
    assert (on_the_way.on_the_way, on_the_way.approved, on_the_way.final) == (True, False, False)


async def test_a_record_with_a_photo_of_a_megabyte_and_a_half(
    house: House, running: RunningSandbox, pictures: Pictures
) -> None:
    """A callback below the receiver's cap of 2 MB is taken, one above it is not; a reply may have either."""
    photo = "A" * 1_500_000

    def show(reply: dict[str, Any]) -> None:
        reply.get("result", reply)["Photo"] = photo

    for leg in ("request", "job_status", "callback"):
        running.sandbox.fault(leg, tamper=show, times=None)  # type: ignore[arg-type]
    verdict = await house.session.verify(JOBS["enhanced_kyc"][0](pictures))
    assert verdict.record["Photo"] == photo
    verdict = await house.session.wait(await house.session.submit(JOBS["basic_kyc"][0](pictures)), patience=30)
    assert (verdict.record["Photo"], verdict.approved) == (photo, True)
    await until(lambda: house.statuses == [200])
    photo += "A" * 600_000
    assert (await house.session.verify(JOBS["enhanced_kyc"][0](pictures))).record["Photo"] == photo
    await house.session.submit(JOBS["basic_kyc"][0](pictures))
    await until(lambda: 413 in house.statuses)


async def test_a_forged_approval_of_a_lookup_is_not_believed(
    house: House, running: RunningSandbox, pictures: Pictures, caplog: pytest.LogCaptureFixture
) -> None:
    """A callback that says found where the authority did not: what status says is heard, and a WARNING is written."""
    running.sandbox.script("ada", code="1013", after=0.3)
    running.sandbox.fault("callback", tamper=lambda body: body.update(ResultCode="1012"))
    ticket = await house.session.submit(JOBS["enhanced_kyc"][0](pictures))
    await until(lambda: bool(house.statuses))
    assert (await house.session.status(ticket)).verdict.code == "1013"  # type: ignore[union-attr]
    assert not any(verdict.approved for verdict in house.heard)
    assert "1012" in caplog.text
