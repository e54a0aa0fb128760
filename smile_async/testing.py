"""Tests of your own code without a network: fixtures for pytest, and properly signed replies to build others from.

`pip install '.[testing]'` brings both. Take the first that fits:

| you want | take |
|---|---|
| hours of review in milliseconds, callbacks, a whole login | the fixtures |
| one reply, as your HTTP mock serves it | the builders of this module |
| a server for a program in another language, or another process | `smile_async.sandbox` |

## A login, hours of review included

The fixtures of `smile_async.pytest_plugin` work with pytest-asyncio and with anyio's plugin. This is a whole test file
for the login with a database of `smile_async.callbacks`, and needs fastapi and aiosqlite as that does. The two hours of
its review take a few milliseconds:

```python
# test_login.py
import httpx
import pytest
from login import make_app
from smile_async import Job
from smile_async.testing import SELFIE

URL = "https://you.example"

@pytest.mark.asyncio
@pytest.mark.parametrize(("code", "approved"), [("1220", True), ("1221", False)])
async def test_a_person_decides(smile_sandbox, smile_session, smile_clock, tmp_path, code, approved):
    smile_sandbox.enroll("ada")
    smile_sandbox.script("ada", code="0822", after=3, then=[(7200, code)])
    you = httpx.ASGITransport(make_app(smile_session, URL, tmp_path / "logins.db"))
    async with smile_sandbox.sending_callbacks(you), httpx.AsyncClient(transport=you, base_url=URL) as browser:
        reply = await browser.post("/logins/ada", content=SELFIE)
        assert reply.status_code == 202
        login = f"/logins/{reply.json()['login']}"
        assert (await browser.get(login)).json() == {"approved": None}
        await smile_clock.sleep(7200)
        assert (await browser.get(login)).json() == {"approved": approved}

@pytest.mark.asyncio
async def test_a_forged_approval_is_not_believed(smile_sandbox, smile_session, smile_callback):
    smile_sandbox.enroll("ada")
    smile_sandbox.script("ada", code="0821")
    ticket = await smile_session.submit(Job.authenticate("ada", SELFIE))
    forged = smile_callback(user_id="ada", job_id=ticket.job_id, code="0820")
    verdict = await smile_session.deliver(forged)
    assert verdict.decision == "rejected"
```

- `smile_sandbox` wants to be told what each job comes to, by `script` or a `sandbox_result`. An approval nobody asked
  for would prove nothing: a job without is refused, and fails the test.
- `smile_session` is an open session on it. `smile_settings` are its arguments, for code that makes its own.
- `smile_api` says "v1"; a module or class that overrides it to say "v3" has its sessions speak V3.
- `smile_callback(user_id=..., job_id=..., code=...)` builds signed callbacks.
- `smile_clock` jumps ahead when nobody has anything to do but wait: neither the event loop nor a thread, and open
  sockets have been silent for ten real milliseconds. So databases need nothing. A hang says who waits, and for what.
  `asyncio.timeout` counts real time: use `patience`.
- `pytest --smile-sockets` runs the same tests over real HTTP/2, in real time: two hours take two hours then.

## Without a server: signed replies

The session believes only what your key has signed, so a reply that a test makes up by hand is refused as forged. These
builders sign. They make plain dictionaries (and, for a callback, the raw body), so they go with
[respx](https://lundberg.github.io/respx/), with `httpx.MockTransport` and with anything else:

```python
# test_may_enter.py
import pytest
import respx
from smile_async import Job, Pace, SmileSession
from smile_async.testing import API_KEY, BASE_URL, PARTNER_ID, SELFIE, UPLOAD_URL, status_reply, upload_reply

async def may_enter(session, user_id, selfie, login):  # your code
    verdict = await session.verify(Job.authenticate(user_id, selfie, job_id=login))
    return verdict.approved

@pytest.mark.asyncio
@pytest.mark.parametrize(("code", "enters"), [("0820", True), ("0821", False), ("0822", False)])
@respx.mock
async def test_only_the_approved_enter(code, enters):
    respx.post(f"{BASE_URL}/upload").respond(json=upload_reply())
    respx.put(UPLOAD_URL).respond(200)
    respx.post(f"{BASE_URL}/job_status").respond(json=status_reply("ada", "login-1", code=code))
    async with SmileSession(PARTNER_ID, API_KEY, pace=Pace.fixed(first=0.01)) as session:
        assert await may_enter(session, "ada", SELFIE, "login-1") is enters
```

## With sockets

`Sandbox.serve()` is the sandbox of the README's first sample: real TLS, real uploads, and a server that checks what you
send. Tell it what should happen, and look at what did:

```python
import asyncio
from smile_async import Job, Pace, SmileSession
from smile_async.errors import Unavailable
from smile_async.sandbox import Sandbox
from smile_async.testing import SELFIE

async def main():
    quick = Pace.fixed(first=0.1, times=99)  # seconds between two questions, and how many of them
    async with Sandbox.serve() as smile, SmileSession(**smile.account, pace=quick) as session:
        smile.sandbox.enroll("ada")
        smile.sandbox.script("ada", code="0822", after=0.1, then=[(0.5, "1220")])  # a reviewer approves
        verdict = await session.verify(Job.authenticate("ada", SELFIE, job_id="login-1"), until="final")
        print(verdict.decision, verdict.code, "submitted", smile.sandbox.count("login-1"), "time")

        smile.sandbox.fault("upload", status=500, times=None)
        try:
            await session.verify(Job.authenticate("ada", SELFIE))
        except Unavailable as error:
            print("no job was made:", error)

asyncio.run(main())
```
"""

import base64
import struct
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from smile_async.jobs.codes import Decision, meaning_of
from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE, Ticket
from smile_async.protocol.signature import Secret, Signer, format_timestamp
from smile_async.settings import ENVIRONMENTS

__all__ = [
    "API_KEY",
    "BASE_URL",
    "LIVENESS",
    "PARTNER_ID",
    "SELFIE",
    "SELFIE_JPEG",
    "UPLOAD_URL",
    "callback_body",
    "status_reply",
    "upload_reply",
]

#: The account that the builders sign for unless told otherwise.
PARTNER_ID, API_KEY = "001", "test-api-key"
#: Where `SmileSession(PARTNER_ID, API_KEY)` talks to.
BASE_URL = ENVIRONMENTS["sandbox"]
#: Where `upload_reply` sends the zip: the host of the documented presigned URLs (wire.md §4).
UPLOAD_URL = "https://smile-uploads-test.s3.us-west-2.amazonaws.com/videos/001/001-0000000123-test/selfie.zip"

_NUMBER = "0000000123"


def _png() -> bytes:
    """The smallest colour picture: one white pixel."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0\xff\xff\xff")),
        (b"IEND", b""),
    )
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def _jpeg(comment: str = "") -> bytes:
    """The smallest colour picture as a baseline JPEG, with a *comment* in it."""
    told = b"\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment.encode() if comment else b""
    tables = b"".join(b"\xff\xdb\0\x43" + bytes([number]) + b"\xff" * 64 for number in range(2))
    return b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0" + told + tables + base64.b64decode(_PIXEL)


#: Frame header, Huffman tables and data of one white pixel.
_PIXEL = (
    "/8AAEQgAAQABAwEiAAIRAQMRAf/EABUAAQEAAAAAAAAAAAAAAAAAAAAD/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/EABQB"
    "AQAAAAAAAAAAAAAAAAAAAAD/xAAUEQEAAAAAAAAAAAAAAAAAAAAA/9oADAMBAAIRAxEAPwCgAP/Z"
)

#: A picture that every check before sending lets pass: one pixel of colour PNG.
SELFIE = _png()
#: The same as JPEG, the one format that V3 takes of faces, and six liveness frames that differ from it.
SELFIE_JPEG = _jpeg()
LIVENESS = tuple(_jpeg(f"frame {number}") for number in range(6))


def upload_reply(
    *, code: str = "2202", upload_url: str = UPLOAD_URL, smile_job_id: str = _NUMBER, **more: Any
) -> dict[str, Any]:
    """What `POST /upload` answers; it is not signed, because Smile ID does not sign it.

    Another *code* than 2202 makes a refusal, such as 2210 (no such user) or 2215 (job exists): answer it with HTTP
    status 400. *more* adds fields or replaces them.
    """
    if code != "2202":
        return {"error": _text(code), "code": code, **more}
    return {
        "upload_url": upload_url,
        "ref_id": f"{PARTNER_ID}-{smile_job_id}-test",
        "smile_job_id": smile_job_id,
        "camera_config": None,
        "code": code,
        **more,
    }


def status_reply(
    user_id: str,
    job_id: str,
    *,
    job_type: int = 2,
    code: str | None = "0820",
    call_code: str = "2302",
    job_complete: bool | None = None,
    timestamp: float | str | None = None,
    partner_id: str = PARTNER_ID,
    api_key: str = API_KEY,
    smile_job_id: str = _NUMBER,
    history: Sequence[str] | None = None,
    image_links: Mapping[str, str] | None = None,
    **result: Any,
) -> dict[str, Any]:
    """What `POST /job_status` answers, signed.

    *code* is the result, None while there is none (*call_code* "2314" then says that no zip has come). *job_complete*
    follows from the code unless given. *timestamp*: seconds since 1970 or a text; by default now. *history*: result
    codes, newest first. *result*: fields of the result to add or replace, such as ConfidenceValue="7" or Actions={…}.
    """
    ticket = Ticket(user_id, job_id, job_type, smile_job_id)
    signed = _signed(timestamp, partner_id, api_key)
    body: dict[str, Any] = {**signed, "code": call_code, "job_complete": bool(job_complete), "job_success": False}
    if code is None:
        body["result"] = "No zip file received" if call_code == "2314" else "No result yet"
    else:
        meaning = meaning_of(code, job_type)
        final = meaning is None or meaning.final is not False
        complete = final if job_complete is None else job_complete
        approved = meaning is not None and meaning.decision is Decision.APPROVED
        body |= {"job_complete": complete, "job_success": complete and approved}
        body["result"] = _result(code, ticket, signed) | result
    if history is not None:
        body["history"] = [_result(past, ticket, signed) for past in history]
    if image_links is not None:
        body["image_links"] = dict(image_links)
    return body


def callback_body(
    user_id: str,
    job_id: str,
    *,
    job_type: int = 2,
    code: str = "0820",
    timestamp: float | str | None = None,
    partner_id: str = PARTNER_ID,
    api_key: str = API_KEY,
    smile_job_id: str = _NUMBER,
    **result: Any,
) -> bytes:
    """The body that Smile ID posts to a callback URL, signed; the arguments are those of `status_reply`."""
    signed = _signed(timestamp, partner_id, api_key)
    return orjson.dumps(_result(code, Ticket(user_id, job_id, job_type, smile_job_id), signed) | result)


def _signed(timestamp: float | str | None, partner_id: str, api_key: str) -> dict[str, str]:
    if not isinstance(timestamp, str):
        timestamp = format_timestamp(time.time() if timestamp is None else timestamp)
    return {"timestamp": timestamp, "signature": Signer(partner_id, Secret(api_key)).sign(timestamp)}


def _result(code: str, ticket: Ticket, signed: Mapping[str, str]) -> dict[str, Any]:
    return {
        "ResultCode": code,
        "ResultText": _text(code, ticket.job_type),
        "SmileJobID": ticket.smile_job_id,
        "PartnerParams": {"user_id": ticket.user_id, "job_id": ticket.job_id, "job_type": ticket.job_type},
        "Actions": {"Liveness_Check": "Passed", "Selfie_Provided": "Passed"},
        "ConfidenceValue": "99",
        "Source": "WebAPI",
        **signed,
    }


def _text(code: str, job_type: int = UNKNOWN_JOB_TYPE) -> str:
    meaning = meaning_of(code, job_type)
    return meaning.text.capitalize() if meaning else f"Result {code}"
