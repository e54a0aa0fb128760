"""The log tells every exchange, refused ones and callbacks too, and gives nothing away."""

import base64
import gzip
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import httpx
import pytest
from canary_support import Canary
from hypothesis import given
from hypothesis import strategies as st
from sandbox_support import KEY, HandClock, Partner, TurningClock, entry, in_process, jpeg, sign, zipped
from street import until
from v3_sandbox_support import FACES, NIN, V3Partner, picture

from smile_async.sandbox.redaction import FOREIGN, OURS, THEIRS, document_of, form_of, headers_of, shown, target_of
from smile_async.sandbox.request_log import LogEntry, RequestLog

URL = "https://user:canarypass@shop.test/smile?token=canaryurl"
NUMBER = "22222222220"


@pytest.fixture
def partner() -> Any:
    """A partner of a sandbox without sockets, whose user ada is enrolled."""
    with in_process(clock=TurningClock()) as partner:
        partner.sandbox.enroll("ada")
        yield partner


def told(partner: Partner) -> list[LogEntry]:
    """The log, oldest first."""
    return [*partner.sandbox.log]


async def test_a_job_leaves_its_legs(partner: Partner) -> None:
    """Each leg is there in order with user, job, method, path, status and both bodies, as far as they may be seen."""
    await partner.submit("ada", "j1", order="A-19")
    links = await partner.status("ada", "j1", image_links=True)
    await partner.http.get(links["image_links"]["selfie_image"])
    entries = told(partner)
    assert [(each.leg, each.method, each.status) for each in entries] == [
        ("upload", "POST", 200),
        ("put", "PUT", 200),
        ("job_status", "POST", 200),
        ("image", "GET", 200),
    ]
    assert {(each.user_id, each.job_id, each.kind, each.reason) for each in entries} == {("ada", "j1", "request", "")}
    asked, answered = entries[0].request["body"], entries[0].answer["body"]
    assert (asked["partner_params"]["job_type"], asked["signature"]) == (2, "<44 characters>")
    assert (asked["partner_params"]["order"], asked["model_parameters"]) == ("<4 characters>", {})
    assert answered["code"] == "2202"
    assert answered["upload_url"].endswith(" characters>")
    assert entries[1].path.startswith("/videos/001/001-0000000001-")
    assert entries[1].path.endswith(
        "?AWSAccessKeyId=…&Content-Type=…&Expires=…&Signature=…&x-amz-server-side-encryption=…"
    )
    assert entries[2].answer["body"]["result"]["Actions"]["Selfie_Provided"] == "Passed"
    assert entries[3].answer["body"].endswith(" bytes>")
    assert [each.number for each in entries] == [1, 2, 3, 4]
    assert all(0 <= each.seconds < 60 for each in entries)


async def test_refusals_are_told_with_their_reason(partner: Partner) -> None:
    """Whatever is refused, by the API, storage, V3 or for want of a path, stands there with the words it was told."""
    await partner.post("upload", partner.prep("nobody", "j1"))
    await partner.post("job_status", b'{"broken')
    await partner.post("uploads", {})
    await partner.http.get("https://sandbox.test/v1/upload")
    await partner.put(f"https://sandbox.test/videos/001/x/selfie.zip?Signature={NUMBER}", zipped())
    await partner.post("job_status", b" " * 1_000_001)
    visitor = V3Partner(partner.sandbox)
    visitor.token = "canarytoken"
    await visitor.post("enhanced_kyc", **NIN)
    await visitor.sign_in()
    await visitor.post("enhanced_kyc", **{**NIN, "country": "nowhere"})
    assert [(each.leg, each.status, each.reason) for each in told(partner) if each.leg != "token"] == [
        ("upload", 400, "2210: no enrolled user found under this user id"),
        ("job_status", 400, "2203: the request body is not valid JSON"),
        ("", 404, "there is no POST /v1/uploads here"),
        ("", 405, "there is no GET /v1/upload here"),
        ("put", 403, "AccessDenied: Access Denied"),
        ("job_status", 413, "2203: the request body is too large"),
        ("submit", 401, "Invalid token"),
        ("submit", 400, "Required field 'country' is missing or invalid."),
    ]
    refused = told(partner)[-1]
    assert refused.request["body"]["country"] == "nowhere"
    assert refused.request["body"]["id_number"] == "<11 characters>"


async def test_faults_are_told_with_what_they_hit(partner: Partner) -> None:
    """The fault that applied is named; a reply that was cut off is an exchange all the same."""
    sandbox = partner.sandbox
    sandbox.fault("upload", status=503, effect=True, body={"error": "busy", "code": "9"})
    sandbox.fault("upload", cut=True, delay=0.01)
    for _ in range(2):
        with suppress(ConnectionError):
            await partner.post("upload", partner.prep("ada", "j1"))
    await partner.post("upload", {**partner.prep("ada", "j1"), "retry": True})
    first, second, third = told(partner)
    assert (first.fault, first.reason) == ("answers 503, body tampered with, after the work is done", "9: busy")
    assert (second.fault, second.answer["headers"]["content-length"]) == ("connection dropped, 0.01 s late", "1")
    assert (third.fault, third.status, third.job_id) == ("", 200, "j1")


async def test_callbacks_are_told_with_their_answer(partner: Partner) -> None:
    """Body, headers and answer of each attempt; what kept an answer from coming, and what a fault held back."""
    sandbox = partner.sandbox
    sandbox.settings.callback_url, sandbox.settings.callback_retries = URL, 3
    answers: list[Any] = [
        httpx.ConnectError("canaryerror"),
        httpx.Response(503, json={"error": "canaryanswer", "ok": False}, headers={"set-cookie": "canarycookie"}),
        httpx.Response(200, text="thanks"),
    ]

    async def receive(request: httpx.Request) -> httpx.Response:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    sandbox.fault("callback", status=500)
    async with sandbox.sending_callbacks(httpx.MockTransport(receive)):
        await partner.submit("ada", "j1")
        await until(lambda: len(sandbox.jobs["j1"].callbacks) == 4)
    held, lost, failed, taken = [each for each in told(partner) if each.kind == "callback"]
    assert (held.status, held.fault, held.reason) == (500, "answers 500", "not sent: a fault has kept it back")
    assert (held.request, held.answer) == ({}, {})
    assert (lost.status, lost.reason, lost.answer) == (None, "no answer: ConnectError", {})
    assert lost.request["body"]["ResultCode"] == "0820"
    assert (lost.path, lost.leg, lost.user_id, lost.job_id) == ("https://shop.test/…", "callback", "ada", "j1")
    assert failed.answer["body"] == {"error": "<12 characters>", "ok": False}
    assert failed.answer["headers"]["set-cookie"] == "<12 characters>"
    assert (taken.status, taken.answer["body"]) == (200, "<6 bytes, no JSON>")


async def test_a_late_fault_and_a_silent_receiver_are_told(partner: Partner) -> None:
    """A callback that a fault has held back says so when it is sent; one that is never answered says for how long."""
    sandbox = partner.sandbox
    sandbox.settings.callback_url, sandbox.settings.callback_timeout = URL, 0.05

    async def receive(_: httpx.Request) -> httpx.Response:
        await until(lambda: False)
        raise AssertionError

    sandbox.settings.callback_retries = 0
    sandbox.fault("callback", delay=60)
    async with sandbox.sending_callbacks(httpx.MockTransport(receive)):
        await partner.submit("ada", "j1")
        await until(lambda: bool(sandbox.jobs["j1"].callbacks))
    late = told(partner)[-1]
    assert (late.fault, late.status, late.reason) == ("60 s late", None, "no answer within 0.05 s")


async def test_an_endless_answer_is_not_listened_to_for_ever(partner: Partner) -> None:
    """Of a receiver that goes on talking the beginning is read, and its status counts."""

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            while True:
                yield b"x" * 10_000

    async def receive(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Endless())

    partner.sandbox.settings.callback_url = URL
    async with partner.sandbox.sending_callbacks(httpx.MockTransport(receive)):
        await partner.submit("ada", "j1")
        await until(lambda: bool(partner.sandbox.jobs["j1"].callbacks))
    last = told(partner)[-1]
    assert (last.status, last.answer["body"]) == (200, "<70000 bytes>")


async def test_500_are_kept(partner: Partner) -> None:
    """The oldest make room; numbers go on, after a reset as well."""
    for _ in range(503):
        await partner.post("nowhere", {})
    assert (len(partner.sandbox.log), told(partner)[0].number, told(partner)[-1].number) == (500, 4, 503)
    partner.sandbox.reset()
    await partner.post("nowhere", {})
    assert [each.number for each in told(partner)] == [504]


# ---- what it gives away

PERSON = {"country": "NG", "id_type": "BVN", "id_number": NUMBER, "first_name": "Canaryfirst", "dob": "1971-02-03"}
PICTURE = jpeg()
BASE64 = base64.b64encode(PICTURE).decode()
ODD_BODIES: list[Any] = [
    {"id_number": int(NUMBER)},
    {"unknown": {"deep": [[[{"er": NUMBER}]]]}, "callback_url": URL},
    {"timestamp": "signature", "error": NUMBER, "message": NUMBER, "code": NUMBER},
    [NUMBER, {"status": NUMBER}],
    NUMBER,
    {NUMBER: 1, f"a {NUMBER}": 2},
    {"Actions": {"x": NUMBER}, "reason": NUMBER, "result": NUMBER},
    {"source_sdk": KEY, "partner_params": {"job_id": KEY}},
]


async def _everything(partner: Partner) -> str:
    """All legs of both APIs, well and badly asked; the V3 token that was used."""
    await partner.submit(
        "bob", "j1", 1, zipped({"images": [entry(0, "selfie.jpg"), entry(1, "s.jpg")], "id_info": PERSON})
    )
    status = await partner.status("bob", "j1", image_links=True, history=True)
    for link in (status.get("image_links") or {}).values():
        await partner.http.get(link)
    lookup = {**PERSON, "partner_params": {"user_id": "eve", "job_id": "j2"}, "callback_url": URL}
    await partner.post("id_verification", partner.signed(partner_id="001", **lookup))
    await partner.post("id_verification?id_number=" + NUMBER, partner.signed(partner_id="002", **lookup))
    for odd in ODD_BODIES:
        said = {**odd, "signature": sign("now")} if isinstance(odd, dict) else odd
        await partner.post("upload", said)
    await partner.post("upload", json.dumps(lookup).encode()[:-1])
    zipped_body = gzip.compress(json.dumps(partner.signed(partner_id="001", **lookup)).encode())
    await partner.http.post(
        f"{partner.base_url}/id_verification", content=zipped_body, headers={"content-encoding": "gzip"}
    )
    headers = {"authorization": f"Bearer {KEY}", "smileid-partner-id": KEY, "x-key": KEY, "cookie": NUMBER}
    await partner.http.post(f"{partner.base_url}/services", headers=headers)
    visitor = V3Partner(partner.sandbox)
    await visitor.sign_in(payload={"id_number": NUMBER})
    await visitor.post("enhanced_kyc", **{**NIN, "id_number": NUMBER})
    await visitor.post("enhanced_kyc", **{**NIN, "id_number": NUMBER}, callback_url=URL)
    await visitor.post("registration", *FACES, picture("selfie_image", PICTURE), extra=BASE64, notes=NUMBER)
    await visitor.post("enhanced_kyc/sync", **{**NIN, "id_number": NUMBER}, partner_params={"x": NUMBER})
    await visitor.get("services/id_status", country="NG", id_number=NUMBER)
    return visitor.token


async def test_nobody_finds_a_secret_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """No key, signature, token, picture, number, name or usable address: in the API, on the page, in server logs."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, "httpx")  # the test's own clients
    settings = {"clock": TurningClock(), "callback_url": URL, "callback_retries": 0, "token": "canarysandboxtoken"}
    with in_process(**settings) as partner:
        sandbox = partner.sandbox

        async def echo(request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=b'{"message": "%s"}' % NUMBER.encode(), headers={"x-key": KEY})

        async with sandbox.sending_callbacks(httpx.MockTransport(echo)):
            token = await _everything(partner)
            await until(lambda: sum(each.kind == "callback" for each in sandbox.log) >= 3)
        canary = Canary(caplog, KEY, NUMBER, "Canaryfirst", "Amina", "amina.clearwater", "1971-02-03", "canary")
        canary.secrets += [token, BASE64[:40], PICTURE[:30].hex(), sign("now"), "Signature=S", "/9j/"]
        for message in told(partner):
            canary.look(message, message.document())
        canary.look(sandbox.log, sandbox)
        transport = httpx.ASGITransport(sandbox.app, client=("127.0.0.1", 5))
        async with httpx.AsyncClient(transport=transport, base_url="https://localhost") as reader:
            for path in ("/_sandbox/log", "/_sandbox/callbacks", "/", "/console/log", "/console/log/live"):
                reply = await reader.get(path, headers={"x-smile-sandbox": "1"})
                assert reply.status_code == 200
                canary.seen.append(reply.text)
            for message in told(partner):
                canary.seen.append((await reader.get("/console/log", params={"entry": message.number})).text)
        assert len(told(partner)) > 25
        assert {"upload", "put", "job_status", "request", "callback", "token", "submit", "webhook", ""} <= {
            message.leg for message in told(partner)
        }
        canary.assert_nothing()


SECRET = "s3cr3t-value"
#: Names of fields that nobody has listed.
NAMES = st.text(max_size=8).map("x{}".format)
TEXTS = st.sampled_from([SECRET, f"{SECRET}/x", "ok"]) | st.text(max_size=5)
DOCUMENTS = st.recursive(
    TEXTS | st.integers() | st.none() | st.booleans(),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(NAMES, each, max_size=4),
    max_leaves=12,
)


@given(DOCUMENTS, st.sampled_from([THEIRS, OURS, FOREIGN]))
def test_only_listed_fields_show_their_values(document: Any, known: frozenset[str]) -> None:
    """Whatever a document is made of, a text in a field that is not listed is not in what is shown of it."""
    seen = json.dumps([shown("any", document, known), document_of(json.dumps(document).encode(), "", known)])
    assert SECRET not in seen


@given(st.dictionaries(NAMES, TEXTS, max_size=5))
def test_headers_queries_and_forms_show_no_values(pairs: Mapping[str, str]) -> None:
    """The same of headers, queries and forms, whatever their names."""
    query = "&".join(f"{name}={value}" for name, value in pairs.items())
    headers = [(name.encode(), value.encode("utf-8", "replace")) for name, value in pairs.items()]
    assert SECRET not in json.dumps([headers_of(headers), target_of("/v1/upload", query), form_of(pairs, {})])


@given(st.binary(max_size=40), st.sampled_from(["", "application/xml", "application/json"]))
def test_no_body_breaks_the_log(body: bytes, media_type: str) -> None:
    """Whatever is sent as a body, there is something to say of it."""
    json.dumps(document_of(body, media_type, OURS))


def test_deep_and_wide_documents_are_cut() -> None:
    """Levels, fields and characters have an end; so do lists."""
    deep: Any = "x"
    for _ in range(50):
        deep = {"a": deep}
    wide = {"user_id": "u" * 1000, "list": [1] * 1000, **{f"f{number}": 1 for number in range(1000)}}
    assert json.dumps(shown("", deep, THEIRS)).count("a") < 12
    assert len(json.dumps(shown("", wide, THEIRS))) < 4_000
    nested: Any = []
    for _ in range(50):
        nested = [nested]
    assert "<a list>" in json.dumps(shown("", nested, THEIRS))


def test_a_short_key_is_not_searched_for() -> None:
    """A key of a few letters would blot out words that are none of it."""
    for key, said in (("ada", "ada"), ("ada-the-user", "<the API key>")):
        log = RequestLog(HandClock(), key)
        scope = {"path": "/v1/x", "query_string": b"", "method": "GET", "headers": [(b"user-agent", key.encode())]}
        exchange = log.request(scope)
        assert exchange is not None
        log.add(exchange)
        exchange.hear({"type": "http.response.start", "status": 200, "headers": []})
        (message,) = log
        assert message.request["headers"]["user-agent"] == said
