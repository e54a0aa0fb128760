"""TCP in front of our receiver, broken as networks break it, on the webhook leg of V3 jobs whose 202 was lost.

Nothing but a webhook can complete such a job. The receiver stands behind a real ASGI server with TLS, the provider
sends to a relay of the job's own, and tries up to three times more.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import FaultProxy, Trouble
from street import ENGINES, Pictures, lateness, nothing_left, until
from v3_client_support import ME, made_of, v3_session

from smile_async import CallbackReceiver, Job, Pace, SmileSession, Ticket, Verdict
from smile_async.errors import StillPending, SubmissionUnknown
from smile_async.sandbox import JobRecord, RunningSandbox, Sandbox
from smile_async.sandbox.certificates import certificates_for
from smile_async.sandbox.listener import Listener
from smile_async.sandbox.settings import Settings

#: Seconds that the provider waits for an answer in here, and between its attempts at first.
WEBHOOK_SECONDS, INTERVAL = 5.0, 0.2
#: Enough for every fault that passes.
LONG = 60.0
SHORT = 2.0


class House:
    """The receiver behind its server: what it has answered and what its handler has heard, by the job's name."""

    def __init__(self, session: SmileSession) -> None:
        self.receiver = CallbackReceiver(session, self.hear, require_token=True, allow_from=["127.0.0.1"])
        self.answered: Counter[str] = Counter()
        self.heard: list[Verdict] = []
        self.port = 0

    async def hear(self, verdict: Verdict) -> None:
        self.heard.append(verdict)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """The receiver, watched."""

        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.answered[dict(scope["headers"])[b"job-id"].decode()] += 1
            await send(message)

        await self.receiver(scope, receive, watched)


@dataclass
class Cell:
    """One job under way."""

    name: str
    house: House
    sandbox: Sandbox
    proxy: FaultProxy

    @property
    def made(self) -> JobRecord:
        """The provider's job."""
        (made,) = made_of(self.sandbox, self.name)
        return made

    @property
    def answers(self) -> int:
        """What the receiver has answered, wherever its answers are."""
        return self.house.answered[self.made.job_id]


Arrange = Callable[[Cell], list[Trouble]]


def _told(*troubles: tuple[Any, Any, dict[str, Any]]) -> Arrange:
    return lambda _cell: [Trouble(occasion, deed, **more) for occasion, deed, more in troubles]


def _lost(deed: Any, **more: Any) -> Arrange:
    def arrange(cell: Cell) -> list[Trouble]:
        # Not the handshake of the next attempt.
        trouble = Trouble("reply", deed, lambda: cell.answers > trouble.done, **more)
        return [trouble]

    return arrange


#: Of a request the first bytes are TLS's hello.
LEG: dict[str, Arrange] = {
    "as it should": _told(),
    "reset on accept": _told(("accept", "reset", {})),
    "closed on accept": _told(("accept", "close", {})),
    "reset on accept, three times": _told(("accept", "reset", {"times": 3})),
    "silence on accept": _told(("accept", "silence", {})),
    "answer is no TLS": _told(("accept", "garbage", {})),
    "reset in the middle": _told(("request", "reset", {"after": 1, "half": True})),
    "closed in the middle": _told(("request", "close", {"after": 1, "half": True})),
    "cut after 800 bytes, twice": _told(("request", "reset", {"after": 800, "half": True, "times": 2})),
    "half-open": _told(("request", "silence", {"after": 1})),
    "slow": _told(("request", "slow", {"times": None, "gap": 0.05}), ("reply", "slow", {"times": None, "gap": 0.05})),
    "answer lost to a reset": _lost("reset"),
    "answer lost to a close": _lost("close"),
    "answer lost to silence": _lost("silence"),
    "answer reset in the middle": _lost("reset", half=True),
    "answer drips": _lost("drip", gap=0.3),
    "two answers lost": _lost("reset", times=2),
    "every answer lost": _lost("reset", times=None),
    "doubled": _told(),
    "doubled, the first cut": _told(("request", "reset", {"after": 1, "half": True})),
    "never gets through": _told(("accept", "reset", {"times": None})),
}


@asynccontextmanager
async def street(http: str, folder: Path) -> AsyncIterator[tuple[House, SmileSession, RunningSandbox]]:
    """A provider that calls back over the network, a session, and our house."""
    certificates = certificates_for(Settings(), folder, ())
    told: dict[str, Any] = {"callback_ca_file": certificates.ca_file, "callback_interval": INTERVAL}
    async with Sandbox.serve(webhook_timeout=WEBHOOK_SECONDS, **told) as running:
        pace = Pace.fixed(0.05, 1, 0.05)
        async with v3_session(running, http=http, pace=pace) as session:
            house = House(session)
            listener = Listener(house.app, "127.0.0.1", 0, certificates, http1_only=True)
            await listener.start()
            try:
                house.port = listener.port
                yield house, session, running
            finally:
                await listener.stop()


async def lost(cell: Cell, session: SmileSession, pictures: Pictures) -> Ticket:
    """The ticket of a job whose 202 got lost, and whose webhooks come by the relay."""
    cell.sandbox.fault("submit", cut=True, effect=True, user_id=cell.name)
    cell.sandbox.script(cell.name, code="clear", after=0)
    url = cell.house.receiver.url_for(f"https://127.0.0.1:{cell.proxy.port}/smile", cell.name)
    faces: dict[str, Any] = {"liveness": pictures.liveness[:6], "person": ME, "callback_url": url}
    with pytest.raises(SubmissionUnknown) as caught:
        await session.submit(Job.register(cell.name, pictures.selfie, job_id=cell.name, **faces))
    assert caught.value.ticket is not None
    return caught.value.ticket


async def play(cell: Cell, session: SmileSession, pictures: Pictures, late: Callable[[], float]) -> list[str]:
    """What is not as promised."""
    cell.proxy.troubles += LEG[cell.name](cell)
    ticket = await lost(cell, session, pictures)
    if cell.name.startswith("doubled"):
        await until(lambda: cell.made.history, LONG)
        cell.sandbox.resend(cell.made.job_id, copies=2)
    if cell.name == "never gets through":
        started = time.monotonic()
        with pytest.raises(StillPending) as caught:
            await session.wait(ticket, patience=SHORT)
        assert caught.value.ticket == ticket
        assert time.monotonic() - started < SHORT + 1 + late()
        await until(lambda: len(cell.made.callbacks) == 4, LONG)
        cell.proxy.troubles.clear()
        cell.sandbox.resend(cell.made.job_id)
    verdict = await session.wait(ticket, patience=LONG)
    if cell.name == "every answer lost":
        await until(lambda: cell.answers == 4, LONG)
    elif cell.name.startswith("doubled"):
        await until(lambda: cell.answers >= 2, LONG)
    else:
        await until(lambda: any(sent.status == 200 for sent in cell.made.callbacks), LONG)
    await asyncio.sleep(INTERVAL)
    heard = [each for each in cell.house.heard if each.ticket.job_id == cell.name]
    complaints = []
    if (verdict.code, verdict.confirmed, verdict.ticket.smile_job_id) != ("clear", True, cell.made.job_id):
        complaints.append(f"ends with {verdict}")
    if len(heard) != 1:
        complaints.append(f"the handler heard {len(heard)} verdicts")
    if cell.made.submissions != 1:
        complaints.append("submitted twice")
    return [f"{cell.name}: {complaint}" for complaint in complaints]


# The provider's own sockets, cut under httpcore, are left to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("http", ENGINES)
async def test_tcp_in_front_of_the_receiver(http: str, pictures: Pictures, tmp_path: Path) -> None:
    """Cut, slow, reset, doubled, answer lost: each job ends in its own verdict, and its handler hears of it once."""
    async with (
        nothing_left(),
        lateness() as late,
        street(http, tmp_path) as (house, session, running),
        AsyncExitStack() as stack,
    ):
        cells = [
            Cell(name, house, running.sandbox, await stack.enter_async_context(FaultProxy(house.port))) for name in LEG
        ]
        ends = await asyncio.gather(*(play(cell, session, pictures, late) for cell in cells))
    complaints = [complaint for end in ends for complaint in end]
    assert not complaints, "\n".join(complaints)
