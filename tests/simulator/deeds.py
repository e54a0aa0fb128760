"""What a request to the API may meet, as an antic of the HTTP/2 server: see `weather`."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
from h2.errors import ErrorCodes
from h2_server import (
    Antic,
    Asking,
    cut_connection,
    drips,
    empty_reply,
    fall_silent,
    goaway,
    headers_only,
    honest,
    lower_streams,
    nonsense,
    reset_stream,
)
from simulator.weather import Weather

__all__ = ["DEEDS", "DOUBTFUL", "passing"]

#: What no server should ask for.
WISHES = ("86400", "-1", "soon", "1e9", "0", "Fri, 31 Dec 9999 23:59:59 GMT", "7", "")

#: What a Date header may say; the run takes place in January 2026.
DATES = (
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "yesterday",
    "Sat, 03 Jan 2026 12:00:00 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "",
)


def passing(weather: Weather, antic: Antic) -> Antic:
    """A request takes a moment; the date of its reply may be anybody's."""

    async def later(asking: Asking) -> None:
        await asyncio.sleep(weather.uniform(0.001, 0.02))
        if antic is honest and weather.strikes("the server's date is off"):
            reply = await asking.work()
            reply.headers["date"] = weather.choice(DATES)
            asking.answer(reply)
            return
        await antic(asking)

    return later


def _status(status: int, body: bytes, *, work: bool = False, headers: Any = ()) -> Antic:
    async def antic(asking: Asking) -> None:
        if work:
            await asking.work()
        asking.answer(httpx.Response(status, content=body, headers=[("content-type", "text/html"), *headers]))

    return antic


def _coded(status: int, code: str) -> Antic:
    async def antic(asking: Asking) -> None:
        asking.answer(httpx.Response(status, json={"error": "drawn by the weather", "code": code}))

    return antic


async def _lost(asking: Asking) -> None:
    asking.line.drop()


def _reset(weather: Weather) -> Antic:
    """RST_STREAM; one that is refused has had no effect (RFC 9113 §8.7)."""
    code = weather.choice((ErrorCodes.REFUSED_STREAM, ErrorCodes.INTERNAL_ERROR, ErrorCodes.CANCEL))
    return reset_stream(code, work=code is not ErrorCodes.REFUSED_STREAM and weather.chance(0.5))


def _slow(weather: Weather) -> Antic:
    async def antic(asking: Asking) -> None:
        early = weather.chance(0.5)
        reply = await asking.work() if early else None
        await asyncio.sleep(weather.uniform(0.5, 60.0))
        asking.answer(await asking.work() if reply is None else reply)

    return antic


def _tampered(weather: Weather) -> Antic:
    """A true reply that nobody has signed, or that speaks of another job."""

    async def antic(asking: Asking) -> None:
        reply = await asking.work()
        try:
            content = json.loads(reply.content)
        except ValueError:
            content = {}
        # The reply to a product's one request is the result itself; that it will come later nobody signs.
        result = content if "ResultCode" in content else content.get("result")
        if weather.chance(0.5) and "success" not in content:
            content["signature"] = "AAAA" + str(content.get("signature", ""))[4:]
            if result is not content:
                content |= {"job_complete": True, "code": "2302"}
        elif isinstance(result, dict):
            result["PartnerParams"] = {"user_id": "eve", "job_id": "another", "job_type": 4}
        asking.answer(httpx.Response(reply.status_code, json=content))

    return antic


async def _unsigned(asking: Asking) -> None:
    reply = await asking.work()
    content = {name: value for name, value in json.loads(reply.content).items() if name != "signature"}
    asking.answer(httpx.Response(reply.status_code, json=content))


Made = Callable[[Weather], Antic]
DEEDS: dict[str, Made] = {
    "lost": lambda _: _lost,
    "its reply is lost": lambda _: cut_connection,
    "silence": lambda _: fall_silent,
    "headers, then silence": lambda _: headers_only,
    "a reply in drops": lambda _: drips(1.0),
    "slow": _slow,
    "500": lambda weather: _status(weather.choice((500, 502, 504)), b"<html>oops</html>"),
    "500 after all": lambda weather: _status(weather.choice((500, 502, 504)), b"", work=True),
    "400": lambda weather: _status(weather.choice((400, 401, 403, 404, 413)), b"<html>no</html>"),
    "429": lambda weather: _status(weather.choice((429, 503)), b"", headers=[("Retry-After", weather.choice(WISHES))]),
    "2222": lambda _: _coded(429, "2222"),
    "2304": lambda _: _coded(404, "2304"),
    "an empty reply": lambda _: empty_reply,
    "a reply of another": _tampered,
    "an unsigned reply": lambda _: _unsigned,
    "goaway": lambda weather: goaway(seen=weather.chance(0.7), work=weather.chance(0.7)),
    "a stream reset": _reset,
    "fewer streams": lambda weather: lower_streams(weather.choice((1, 2, 8))),
    "nonsense frames": lambda _: nonsense,
    "502": lambda _: _status(502, b"<html>Bad Gateway</html>"),
    "503": lambda _: _status(503, b""),
    "504": lambda _: _status(504, b""),
}

#: After these nobody but the provider knows whether the request was taken.
DOUBTFUL = (
    *("lost", "its reply is lost", "silence", "headers, then silence", "a reply in drops", "an empty reply"),
    *("500", "500 after all", "502", "504"),
)
