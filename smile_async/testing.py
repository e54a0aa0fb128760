"""What Smile ID would have said: properly signed replies and callbacks, for your own tests.

The session believes only what your key has signed, so a reply that a test makes up by hand is refused as forged. These
builders sign. They make plain dictionaries (and, for a callback, the raw body), so they go with respx, with
`httpx.MockTransport` and with anything else. A whole test, which needs respx and pytest-asyncio:

    import respx
    from smile_async import Job, Pace, SmileSession
    from smile_async.testing import API_KEY, BASE_URL, PARTNER_ID, SELFIE, UPLOAD_URL, status_reply, upload_reply

    @respx.mock
    async def test_ada_gets_in():
        respx.post(f"{BASE_URL}/upload").respond(json=upload_reply())
        put = respx.put(UPLOAD_URL).respond(200)
        respx.post(f"{BASE_URL}/job_status").respond(json=status_reply("ada", "login-1", code="0820"))
        async with SmileSession(PARTNER_ID, API_KEY, pace=Pace.fixed(0.01)) as session:
            verdict = await session.verify(Job.authenticate("ada", SELFIE, job_id="login-1"))
        assert verdict.approved
        assert put.call_count == 1

For tests with real sockets, and with a server that checks what you send, take `smile_async.sandbox`.
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
