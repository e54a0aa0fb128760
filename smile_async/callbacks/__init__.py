"""What Smile ID posts to you: callbacks, and a login with a database that is told by them.

Read this first. A v1 signature covers a timestamp and your partner id, neither the message nor its direction (wire.md
§2.1). Whoever has seen one signed message, even a request of yours, can sign any verdict for five minutes. So a
callback is a hint. `CallbackReceiver`, an ASGI app, checks the signature, then asks `/job_status`, and believes the
answer: what it hands on is confirmed. `verify_callback` alone proves a signature, not a verdict: its verdicts are never
`approved`. Of V3 (`smile_async.protocol.v3`) all of this holds as well: its signature stands in the headers, and covers
neither body nor ids.

## A login with a database

It asks for a face, and keeps nobody waiting for longer than ten seconds. What a reviewer decides hours later arrives as
a callback. `smile_async.testing` has a whole test file for it.

```python
# login.py: pip install fastapi uvicorn aiosqlite; PUBLIC_URL=https://you.example uvicorn --factory login:from_env
import logging
import os
import uuid
from contextlib import asynccontextmanager
import aiosqlite  # or whatever your database speaks
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from smile_async import CallbackReceiver, Job, SmileSession
from smile_async.errors import InvalidJob, SmileError, StillPending, UserNotEnrolled

def make_app(session, public_url, database):
    async def sql(statement, *values):
        async with aiosqlite.connect(database) as connection:
            await connection.execute("CREATE TABLE IF NOT EXISTS logins (login PRIMARY KEY, approved)")
            rows = await connection.execute_fetchall(statement, values)
            await connection.commit()
            return list(rows)

    async def decide(login, approved):
        await sql("UPDATE logins SET approved = ? WHERE login = ?", approved, login)

    async def on_verdict(verdict):
        if verdict.final:
            await decide(verdict.ticket.job_id, verdict.approved)

    @asynccontextmanager
    async def lifespan(app):
        async with session:
            yield

    app = FastAPI(lifespan=lifespan)
    receiver = CallbackReceiver(session, on_verdict, require_token=True)
    app.mount("/smile", receiver)

    @app.post("/logins/{user_id}")
    async def log_in(user_id: str, request: Request):
        login = str(uuid.uuid4())
        url = receiver.url_for(f"{public_url}/smile/", login)  # with its slash: without it a mount answers 307
        await sql("INSERT INTO logins VALUES (?, NULL)", login)  # NULL while nobody knows
        try:
            job = Job.authenticate(user_id, await request.body(), job_id=login, callback_url=url)
            verdict = await session.verify(job, until="final", patience=10)
        except InvalidJob as error:  # no picture
            return JSONResponse({"error": str(error)}, 422)
        except UserNotEnrolled as error:
            return JSONResponse({"error": str(error)}, 404)
        except StillPending:  # a person is looking at it: the callback will say
            return JSONResponse({"login": login}, 202)
        except SmileError:  # an outage, a key that is refused: the log says; nobody is let in
            return JSONResponse({"login": login}, 503)
        await decide(login, verdict.approved)
        return {"login": login, "approved": verdict.approved}

    @app.get("/logins/{login}")
    async def look(login: str):
        rows = await sql("SELECT approved FROM logins WHERE login = ?", login)
        return {"approved": bool(rows[0][0]) if rows and rows[0][0] is not None else None}

    return app

def from_env():
    logging.basicConfig(level=logging.INFO)  # uvicorn writes its own log only: without this nobody reads ours
    return make_app(SmileSession.from_env(), os.environ["PUBLIC_URL"], "logins.db")
```

Two things keep strangers out before anything is asked. `url_for` puts an unguessable token of the job into the URL, and
`require_token=True` takes no other URL. `allow_from=PRODUCTION_ADDRESSES` takes callbacks from Smile ID's published
addresses alone; behind a proxy check the address there, because the app sees the proxy's. V3's webhooks come from
others: `PRODUCTION_ADDRESSES_V3`, and for the provider's sandbox `SANDBOX_ADDRESSES_V3`. Both are an integrator's list
of 2026-09-05 (`smile_async/protocol/v3/wire.md` §8), and may have changed: compare them with the portal's before you
refuse everybody else.

Everything that waits in the same session (`verify`, `wait`, `stream`, `follow`) is woken by a callback at once. Behind
several web workers the one that gets it runs `on_verdict`; waiters elsewhere find the verdict by their own polls. So a
lost callback costs time, never a verdict.

Callbacks save polls, never the question. Those for jobs that this session neither waits for nor has just sent share a
budget of 64 queries at once and four more a second. True ones do not use it up. Beyond it the sender is told to come
back.

## Without callbacks: follow the reviews

Where nothing can reach you, keep the tickets, and let a process of yours follow them. `follow` gives each new verdict,
and ends after the final one. Reviews take hours, so it asks ever more rarely, at last every five minutes
(`Pace.ceiling`); a callback wakes it at once:

```python
import asyncio
from smile_async import Job, SmileSession, Ticket

async def follow(session, ticket):
    async with session.follow(ticket) as verdicts:
        async for verdict in verdicts:  # provisional, and hours later the final one
            print(ticket.user_id, verdict.decision, "final" if verdict.final else "under review")

async def main():
    async with SmileSession.from_env() as session:
        ticket = await session.submit(Job.authenticate("ada", "selfie.jpg"))
        saved = [ticket.to_json()]  # your database
        await asyncio.gather(*(follow(session, Ticket.from_json(text)) for text in saved))

asyncio.run(main())
```

With a ledger you need not keep tickets: `session.stream(session.pending(), until="final", patience=86_400)` goes on
after a restart with all that wait for their last word. The README shows it.

## What the sender is answered

Your access log shows the status, and a line of the log below the cause:

| answer | message | why, and what to do |
|---|---|---|
| 200 | `taken` | confirmed and handed on; or status is behind, and is asked until it agrees |
| 200 | `known` | the same message was taken before |
| 307 | | your framework's: give `url_for` the mount with its slash |
| 400 | `unreadable` | no JSON of a callback's shape: not Smile ID's |
| 403 | `not signed by smile id, or stale` | another key's (`SMILE_API_KEY`, `previous_api_keys`), or old: your clock |
| 403 | `no token of this job` | the job was sent with another callback_url than `url_for` gives |
| 403 | `not from here` | add the address to `allow_from`, if it is Smile ID's |
| 404 | `no such job` | status knows no job of these ids: another environment's; V3: no ticket that it could be about |
| 405, 408, 413, 415 | | no POST; a body that took 10 s, or more than 2 MB; no JSON: no callback of Smile ID's |
| 503 | `not ready`, `busy` | the session is not open, or 64 callbacks are being confirmed: the sender comes back |
| 503 | `try again` | status gave no answer, or the budget is used up |

V3 tries a webhook up to three times more; whether v1 sends a callback again is not documented. Expect repeats in any
order, and lost ones. What a refused callback would have told, the poll of a waiter or `session.status` tells as well.

## What the log says

The logger is `smile_async`, and has no handler: `logging.basicConfig()`, or a configuration of yours, writes it.
`smile_async.traffic` explains its other lines.

| level | line, for example | what it means |
|---|---|---|
| WARNING | `a callback for job 7f3e claims 0820, but status says 0821: status is believed` | forged, or very late |
| WARNING | `a callback was refused (403 no token of this job): …` | why; each answer once a minute at most |
| WARNING | `callback of job 7f3e could not be confirmed: Unavailable` | nothing was delivered; the sender got 503 |
| WARNING | `a callback for job 7f3e was never confirmed (0820)` | status did not agree for ten minutes |
| WARNING | `a callback could not be tied to a job: Unavailable` | V3: status gave no answer; the sender got 503 |
| WARNING | `a webhook for job 7f3e was dropped: that job is older` | V3: a stranger's, or another job's |
| INFO | `job 7f3e got its TypeID by webhook` | V3: the answer to its submission had been lost |
| ERROR | `on_verdict failed for job 7f3e; its verdict is approved` | your handler raised; waiters have the verdict |

The first has the fields `smile_job_id`, `smile_claim` and `smile_code`, the second `smile_status`; those of V3 that
name a job, `smile_job_id`. After the last, the next callback of that job, even a duplicate, runs `on_verdict` again.
"""

from smile_async.callbacks.receiver import (
    PRODUCTION_ADDRESSES,
    PRODUCTION_ADDRESSES_V3,
    SANDBOX_ADDRESSES_V3,
    CallbackReceiver,
    verify_callback,
)

__all__ = [
    "PRODUCTION_ADDRESSES",
    "PRODUCTION_ADDRESSES_V3",
    "SANDBOX_ADDRESSES_V3",
    "CallbackReceiver",
    "verify_callback",
]
