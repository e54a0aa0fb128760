"""The way of callbacks: late, twice, lost, forged, and to whichever process takes them."""

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
from simulator.clock import BEGAN
from simulator.loop import Dropped

from smile_async.testing import callback_body

if TYPE_CHECKING:
    from simulator.places import Place
    from simulator.world import World

__all__ = ["Post", "forge"]


class Post(httpx.AsyncBaseTransport):
    """Carries what the provider posts to one of the places."""

    def __init__(self, world: "World") -> None:
        self._world = world

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        weather = self._world.weather
        await request.aread()
        if weather.strikes("callbacks are late"):
            await asyncio.sleep(weather.uniform(0.1, 29.0))
        if weather.strikes("callbacks are lost"):
            raise httpx.ConnectError("lost")
        if weather.strikes("callbacks come twice"):
            await self.deliver(request)
        status = await self.deliver(request)
        if status is None:
            raise httpx.ConnectError("nobody there")
        return httpx.Response(status)

    async def deliver(self, request: httpx.Request) -> int | None:
        """The status that a place answers with; None if nobody is there."""
        there = [place for place in self._world.addressees(request) if place.receiver and place.process]
        if not there:
            return None
        place = self._world.weather.choice(there)
        process = place.process
        assert process is not None
        task = self._world.loop.spawn(process, _posted(place, request), "callback")
        await asyncio.wait([task], timeout=35.0)
        if not task.done() or task.cancelled():
            return None
        if isinstance(task.exception(), Dropped):
            return None
        if task.exception() is not None:
            self._world.rules.broke(f"a receiver raised {task.exception()!r}")
            return None
        return int(task.result())


async def _posted(place: "Place", request: httpx.Request) -> int:
    assert place.receiver is not None
    transport = httpx.ASGITransport(place.receiver)  # type: ignore[arg-type]
    response = await transport.handle_async_request(request)
    return response.status_code


async def forge(world: "World", post: Post) -> None:
    """Now and then a callback that nobody has sent: wrongly signed, or signed and untrue."""
    weather = world.weather
    while world.weather.bad and weather.has("callbacks are forged"):
        await asyncio.sleep(weather.uniform(0.5, 20.0))
        jobs = list(world.sandbox.jobs.values())
        if not jobs or not weather.strikes("callbacks are forged"):
            continue
        job = weather.choice(jobs)
        account: dict[str, Any] = {"partner_id": world.sandbox.partner_id, "api_key": world.sandbox.api_key}
        if weather.chance(0.5):
            account["api_key"] = "a guess"
        code = weather.choice((job.kind.approved, job.kind.human["approve"], job.kind.rejected))
        told = {"job_type": job.job_type, "smile_job_id": job.smile_job_id, "timestamp": BEGAN + world.loop.now}
        body = callback_body(job.user_id, job.job_id, code=code, **told, **account)
        headers = {"content-type": "application/json"}
        await post.deliver(httpx.Request("POST", "https://hooks.test/", content=body, headers=headers))
