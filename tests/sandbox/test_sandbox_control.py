"""The control API does over HTTP what a test in Python does to its sandbox, for nobody but those who may."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_support import KEY, Partner, TurningClock, in_process, zipped
from street import until
from v3_sandbox_support import AMINA, NIN, V3Partner

from smile_async.sandbox import Sandbox, Settings
from smile_async.sandbox.control.operations import OPERATIONS
from smile_async.sandbox.control.reading import read

TOKEN = "a-token-of-the-team"


class Hand(httpx.AsyncClient):
    """Whoever steers *sandbox*, from the address *peer*."""

    def __init__(self, sandbox: Sandbox, peer: str = "127.0.0.1", **headers: str) -> None:
        transport = httpx.ASGITransport(sandbox.app, client=(peer, 50_000))
        super().__init__(transport=transport, base_url="https://localhost:8443", headers=headers)

    async def act(self, name: str, **said: Any) -> dict[str, Any]:
        """An action, which must be done."""
        reply = await self.post(f"/_sandbox/{name}", json=said)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    async def ask(self, name: str, **query: Any) -> Any:
        """A list."""
        reply = await self.get(f"/_sandbox/{name}", params=query)
        assert reply.status_code == 200, reply.text
        return reply.json()[name]


@pytest.fixture
def partner() -> Any:
    """A partner of a sandbox without sockets."""
    with in_process(clock=TurningClock()) as partner:
        yield partner


@pytest.fixture
async def hand(partner: Partner) -> AsyncIterator[Hand]:
    """Somebody on this machine who steers it."""
    async with Hand(partner.sandbox, **{"x-smile-sandbox": "1"}) as hand:
        yield hand


# ---- what it does


async def test_a_review_by_http_alone(partner: Partner, hand: Hand) -> None:
    """Enrolled, scripted, submitted, listed as provisional, approved: each step is one call, and the client sees it."""
    assert (await hand.act("enroll", user_id="ada"))["message"] == "user ada is enrolled"
    said = await hand.act("script", user_id="ada", code="0822", then=[[7200, "1221"]])
    assert said["message"] == "jobs of ada come to 0822, then 1221"
    assert await hand.ask("scripts") == {"ada": {"code": "0822", "after": None, "then": [[7200.0, "1221"]]}}
    await partner.submit("ada", "login-1", order="A-19")
    (job,) = await hand.ask("jobs", user_id="ada", state="provisional")
    assert (job["job_id"], job["code"], job["final"], job["planned"][0]["code"]) == ("login-1", "0822", False, "1221")
    assert (job["partner_params"]["order"], job["images"][0]["image_type_id"]) == ("A-19", 0)
    done = await hand.act("review", job_id="login-1", judgement="approve")
    assert done["message"] == "job login-1 of ada approved"
    assert (done["job"]["code"], done["job"]["final"], done["job"]["planned"]) == ("1220", True, [])
    assert (await partner.status("ada", "login-1"))["result"]["ResultCode"] == "1220"


async def test_v3_is_steered_by_the_same_calls(hand: Hand, partner: Partner) -> None:
    """A job of V3 is scripted in its own words, listed, reviewed and called back like one of v1's."""
    partner.sandbox.settings.callback_url = "https://shop.test/smile"
    visitor = V3Partner(partner.sandbox)
    await visitor.sign_in()
    await hand.act("script", user_id="ada", code="processing")
    async with partner.sandbox.sending_callbacks(httpx.MockTransport(lambda _: httpx.Response(200, json={"a": "b"}))):
        job = await visitor.submit("enhanced_kyc", user_id="ada", **NIN)
        (listed,) = await hand.ask("jobs", job_id=job.job_id)
        assert (listed["api"], listed["code"], listed["standing"]) == ("v3", "processing", "provisional")
        assert "id_number" in listed["id_fields"]
        assert NIN["id_number"] not in json.dumps(listed)
        await hand.act("review", job_id=job.job_id, judgement="block:spoof_detected")
        assert await visitor.status(job.job_id) == (200, "block")
        await until(lambda: len(job.callbacks) == 2)
    sent = await hand.ask("callbacks", job_id=job.job_id)
    assert [(each["leg"], each["request"]["body"]["status"]) for each in sent] == [
        ("webhook", "processing"),
        ("webhook", "block"),
    ]
    await hand.act("expire")
    assert (await visitor.get(f"status/{job.job_id}")).status_code == 401


async def test_faults_are_what_python_can_ask_for(partner: Partner, hand: Hand) -> None:
    """Status, body, headers, a patch of the true reply, how often and to whom; listed while they wait, then mended."""
    await hand.act("enroll", user_id="ada")
    said = await hand.act("fault", leg="upload", status=503, body={"error": "busy"}, headers={"Retry-After": "7"})
    assert said["message"] == "fault waiting: upload: answers 503, body tampered with, headers added, once"
    reply = await partner.post("upload", partner.prep("ada", "j1"))
    assert (reply.status_code, reply.json(), reply.headers["retry-after"]) == (503, {"error": "busy"}, "7")
    await partner.submit("ada", "j1")
    patch = {"result": {"ResultCode": "0821", "Source": None}, "job_success": None}
    await hand.act("fault", leg="job_status", tamper=patch, times=None, user_id="ada")
    for _ in range(2):
        forged = await partner.status("ada", "j1")
        assert (forged["result"]["ResultCode"], "Source" in forged["result"], "job_success" in forged) == (
            "0821",
            False,
            False,
        )
        assert forged["result"]["SmileJobID"] == "0000000001"
    (waiting,) = await hand.ask("faults")
    assert (waiting["leg"], waiting["times"], waiting["user_id"]) == ("job_status", None, "ada")
    await hand.act("mend", leg="put")
    assert len(await hand.ask("faults")) == 1
    await hand.act("mend")
    assert await hand.ask("faults") == []


async def test_users_times_and_callbacks(partner: Partner, hand: Hand) -> None:
    """Users are listed and forgotten, times are set, a callback is sent again and seen with what was answered."""
    settings = partner.sandbox.settings
    settings.callback_url = "https://shop.test/smile?token=canary"
    await hand.act("enroll", user_id="ada")
    await hand.act("timing", latency=0.5, review=60)
    assert (settings.latency, settings.review) == (0.5, 60.0)
    await hand.act("timing", review=None)
    assert (settings.latency, settings.review) == (0.5, None)
    answers = [httpx.Response(500, json={"code": 7, "said": "no"}), httpx.Response(200)]
    async with partner.sandbox.sending_callbacks(httpx.MockTransport(lambda _: answers.pop(0))):
        settings.callback_retries = 0
        await partner.submit("ada", "j1")
        await until(lambda: len(partner.sandbox.jobs["j1"].callbacks) == 1)
        await hand.act("resend", job_id="j1")
        await until(lambda: len(partner.sandbox.jobs["j1"].callbacks) == 2)
    first, second = await hand.ask("callbacks")
    assert (first["status"], second["status"], first["path"]) == (500, 200, "https://shop.test/…")
    assert first["request"]["body"]["ResultCode"] == "0820"
    assert first["answer"]["body"] == {"code": "<a number>", "said": "<2 characters>"}
    assert [each["status"] for each in (await hand.ask("jobs"))[0]["callbacks"]] == [500, 200]
    assert await hand.ask("users") == ["ada"]
    await hand.act("forget", user_id="ada")
    assert await hand.ask("users") == []


async def test_reset_forgets_all_and_what_is_on_its_way(tmp_path: Any) -> None:
    """Jobs, users, scripts, faults, pictures, log and times are as at the start, on disk too; no callback follows."""
    with in_process(clock=TurningClock(), state=tmp_path, callback_url="https://shop.test/") as partner:
        sandbox, called = partner.sandbox, []

        async def receive(request: httpx.Request) -> httpx.Response:
            called.append(request)
            return httpx.Response(200)

        async with Hand(sandbox, **{"x-smile-sandbox": "1"}) as hand:
            for name, said in (
                ("enroll", {"user_id": "ada"}),
                ("script", {"user_id": "ada", "code": "0822"}),
                ("fault", {"leg": "put", "delay": 0.01}),
                ("timing", {"latency": 60, "review": 60}),
            ):
                await hand.act(name, **said)
            await partner.submit("ada", "j1")
            job = sandbox.jobs["j1"]
            late = await partner.upload("ada", "j2")
            visitor = V3Partner(sandbox)
            await visitor.sign_in()
            await visitor.submit("enhanced_kyc", **NIN)
            await hand.act("reset")
            assert (await hand.ask("jobs"), await hand.ask("users"), await hand.ask("scripts")) == ([], [], {})
            assert (await hand.ask("faults"), await hand.ask("log")) == ([], [])
            assert (sandbox.settings.latency, sandbox.settings.review) == (0.0, None)
            assert [*(tmp_path / "images").iterdir()] == []
            assert (await partner.put(late["upload_url"], zipped())).status_code == 403
            sandbox.registry.save(job)  # as a reader of its zip would, that ends now
            async with sandbox.sending_callbacks(httpx.MockTransport(receive)):
                sandbox.notify(job)
                await hand.act("enroll", user_id="ada")
                await partner.submit("ada", "j1")
                await until(lambda: bool(sandbox.jobs["j1"].callbacks))
            assert (len(called), job.callbacks) == (1, [])
            assert (await visitor.get(f"status/{job.job_id}")).status_code in (400, 404), "its token is good still"
        again = Sandbox("001", state=tmp_path, clock=sandbox.settings.clock)
        assert (again.api_key, [*again.jobs], again.registry.enrolled_users(9)) == (KEY, ["j1"], ["ada"])


async def test_a_key_and_a_number_are_new_after_a_reset(partner: Partner, hand: Hand) -> None:
    """An idempotency key makes a job once more, and a blocked id number may be asked about again."""
    partner.sandbox.settings.submissions_per_number = 1
    visitor = V3Partner(partner.sandbox)
    await visitor.sign_in()
    about = {"countries": ["NG"], "full_name": "Amina Fatou Clearwater", "user_details": AMINA}
    for _ in range(2):
        reply = await visitor.post("aml/sync", headers={"SmileID-Idempotency-Key": "key-0123456789abc"}, **about)
        assert reply.status_code == 200, reply.text
        assert (await visitor.post("enhanced_kyc", **NIN)).status_code == 202
        assert (await visitor.post("enhanced_kyc", **NIN)).status_code == 429
        assert len(partner.sandbox.jobs) == 2
        await hand.act("reset")


async def test_the_console_counts_anew_after_a_reset(partner: Partner, hand: Hand) -> None:
    """What the page has counted is forgotten with the jobs."""
    await hand.act("enroll", user_id="ada")
    await partner.submit("ada", "j1")
    assert "<b>1</b>" in (await hand.get("/")).text
    await hand.act("reset")
    assert "<b>1</b>" not in (await hand.get("/")).text


async def test_lists_are_bounded_and_paged(partner: Partner, hand: Hand) -> None:
    """Jobs come newest first, so many at a time, and the answer says where the next page begins."""
    await hand.act("enroll", user_id="ada")
    for number in range(5):
        await partner.submit("ada", f"j{number}")
    page = (await hand.get("/_sandbox/jobs", params={"limit": 2})).json()
    assert ([job["job_id"] for job in page["jobs"]], page["older"], page["total"]) == (["j4", "j3"], 3, 5)
    page = (await hand.get("/_sandbox/jobs", params={"limit": 2, "before": page["older"]})).json()
    assert [job["job_id"] for job in page["jobs"]] == ["j2", "j1"]
    assert await hand.ask("jobs", job_id="nobody's") == []
    assert await hand.ask("jobs", job_id="j1", state="waiting") == []
    newest = await hand.ask("log", limit=3)
    assert [entry["number"] for entry in newest] == [8, 9, 10]
    assert [entry["number"] for entry in await hand.ask("log", after=9)] == [10]
    assert {entry["leg"] for entry in await hand.ask("log", leg="put")} == {"put"}


async def test_the_contents_name_every_operation(hand: Hand) -> None:
    """Whoever knows nothing asks `/_sandbox`, with or without a slash, and learns what there is and what it takes."""
    for path in ("/_sandbox", "/_sandbox/"):
        told = (await hand.get(path)).json()
        assert told["operations"].keys() == OPERATIONS.keys()
        assert told["operations"]["enroll"] == {
            "method": "POST",
            "does": "make a user an enrolled one",
            "takes": ["user_id"],
            "needs": ["user_id"],
        }
    assert told["partner_id"] == "001"


NONSENSE: list[tuple[str, Any, int, str]] = [
    ("enroll", b"{", 400, "no JSON"),
    ("enroll", b"[]", 400, "an object of JSON"),
    ("enroll", b"\xff", 400, "no JSON"),
    ("enroll", {}, 400, "give user_id"),
    ("enroll", {"user_id": ""}, 400, "give user_id"),
    ("enroll", {"user_id": 5}, 400, "user_id must be a text"),
    ("enroll", {"user_id": "ada", "userid": "eve"}, 400, "no field 'userid': it takes user_id"),
    ("reset", {"all": True}, 400, "it takes no fields"),
    ("script", {"user_id": "ada", "code": "12"}, 400, "'0820'"),
    ("script", {"user_id": "ada", "code": "0820", "then": [["soon", "1220"]]}, 400, '[[7200, "1220"]]'),
    ("script", {"user_id": "ada", "code": "0820", "then": "1220"}, 400, "then must be a list"),
    ("script", {"user_id": "ada", "code": "0820", "after": -1}, 400, "after must be a number of seconds"),
    ("fault", {"leg": "moon", "status": 500}, 400, "leg must be one of upload, put"),
    ("fault", {"leg": ["put"], "status": 500}, 400, "leg must be one of"),
    ("fault", {"leg": "put"}, 400, "choose what goes wrong"),
    ("fault", {"leg": "put", "status": 99}, 400, "status must be a whole number from 200 to 599"),
    ("fault", {"leg": "put", "status": True}, 400, "status must be"),
    ("fault", {"leg": "put", "status": 500, "times": 0}, 400, "times must be"),
    ("fault", {"leg": "put", "status": 500, "effect": "maybe"}, 400, "effect must be true or false"),
    ("fault", {"leg": "put", "status": 500, "cut": 1}, 400, "cut must be true or false"),
    ("fault", {"leg": "put", "delay": 1e9}, 400, "delay must be a number of seconds from 0 to 600"),
    ("fault", {"leg": "put", "delay": True}, 400, "delay must be"),
    ("fault", {"leg": "put", "headers": {"a b": "c"}}, 400, "headers must be"),
    ("fault", {"leg": "put", "headers": {"a": "b\r\nc: d"}}, 400, "headers must be"),
    ("fault", {"leg": "put", "headers": ["a"]}, 400, "headers must be an object"),
    ("fault", {"leg": "put", "body": [1]}, 400, "body must be a text or an object"),
    ("fault", {"leg": "put", "tamper": "x"}, 400, "tamper must be an object"),
    ("review", {"judgement": "approve"}, 400, "give job_id"),
    ("review", {"job_id": "j1"}, 400, "give judgement"),
    ("review", {"job_id": "nobody's", "judgement": "approve"}, 404, "there is no such job: 2 are known"),
    ("review", {"job_id": "no-zip", "judgement": "approve"}, 400, "has no zip to review yet"),
    ("review", {"job_id": "j1", "judgement": "maybe"}, 400, "one of approve, reject, spoof, a code"),
    ("resend", {"job_id": "j1"}, 400, "callbacks are sent only while"),
    ("timing", {}, 400, "give latency or review"),
    ("timing", {"latency": "soon"}, 400, "latency must be a number of seconds"),
    ("moon", {}, 404, "there is no 'moon': there are script, enroll"),
    ("jobs", {}, 405, "jobs is asked for by GET"),
    ("enroll", b'"' + b"x" * 1_000_001 + b'"', 413, "larger than 1000000 bytes"),
]


@pytest.mark.parametrize(("name", "said", "status", "words"), NONSENSE)
async def test_nonsense_is_refused_in_words(
    partner: Partner, hand: Hand, name: str, said: Any, status: int, words: str
) -> None:
    """What cannot be done is refused with what is wrong and what to give, and changes nothing."""
    partner.sandbox.enroll("ada")
    await partner.submit("ada", "j1")
    await partner.upload("ada", "no-zip")
    content = said if isinstance(said, bytes) else json.dumps(said)
    reply = await hand.post(f"/_sandbox/{name}", content=content)
    assert (reply.status_code, [*reply.json()]) == (status, ["error"])
    assert words in reply.json()["error"]
    assert (partner.sandbox.jobs["j1"].code, await hand.ask("faults"), await hand.ask("users")) == ("0820", [], ["ada"])
    assert await hand.ask("scripts") == {}


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "all"}, {"state": "lost"}, {"find": "x"}])
async def test_lists_refuse_what_they_do_not_know(hand: Hand, query: dict[str, str]) -> None:
    """A misspelt filter is refused: passed over, it would show everything."""
    assert (await hand.get("/_sandbox/jobs", params=query)).status_code == 400
    assert (await hand.get("/_sandbox/enroll")).status_code == 405


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["put", "5", "0820"]),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each, max_size=3),
    max_leaves=4,
)


@given(st.sampled_from([*OPERATIONS]), st.data())
def test_whatever_is_said_is_read_or_refused(name: str, data: st.DataObject) -> None:
    """A value of any kind in any field is a value the operation can use, or a sentence."""
    operation = OPERATIONS[name]
    said = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(operation.takes, VALUES)))
    with suppress(ValueError):
        found = read(said, operation.takes, operation.needs, operation.nulls)
        assert {*operation.needs} <= {*found} <= {*operation.takes}
        assert {name for name, value in found.items() if value is None} <= {*operation.nulls}


# ---- whom it answers


CALLS = [("GET", "/_sandbox"), ("GET", "/_sandbox/log"), ("POST", "/_sandbox/enroll"), ("POST", "/_sandbox/nothing")]


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_the_header_is_wanted_and_the_host_is_ours(partner: Partner, method: str, path: str) -> None:
    """A form of another site can not send the header, a page rebound by DNS sends its own Host: both are refused."""
    async with Hand(partner.sandbox) as hand:
        for headers, status in (
            ({}, 403),
            ({"x-smile-sandbox": ""}, 403),
            ({"origin": "https://evil.test", "content-type": "text/plain"}, 403),
            ({"x-smile-sandbox": "1", "host": "evil.test"}, 421),
            ({"x-smile-sandbox": partner.sandbox.console.token, "host": "evil.test:8443"}, 421),
            ({"x-smile-sandbox": "1", "host": ""}, 421),
        ):
            reply = await hand.request(method, path, headers=headers, content=b'{"user_id": "eve"}')
            assert (reply.status_code, [*reply.json()]) == (status, ["error"])
            assert "access-control-allow-origin" not in reply.headers
        preflight = {"origin": "https://evil.test", "access-control-request-headers": "x-smile-sandbox"}
        assert (await hand.options(path, headers=preflight)).status_code == 405
    assert not partner.sandbox.registry.enrolled("eve")


async def test_others_must_show_the_token() -> None:
    """Another machine, a proxy's client and a public name need the token of the settings; so does all if exposed."""
    with in_process(token=TOKEN, public_host="sandbox.test") as partner:
        sandbox = partner.sandbox
        public = {"host": "sandbox.test:8443"}
        async with Hand(sandbox, "10.0.0.7") as far, Hand(sandbox) as near:
            for hand, headers in ((far, {}), (far, public), (near, public), (near, {"x-forwarded-for": "8.8.8.8"})):
                for shown, status in (("1", 401), (TOKEN + "x", 401), ("ünicode", 401), (TOKEN, 200)):
                    pairs = [
                        (name.encode(), text.encode()) for name, text in {**headers, "x-smile-sandbox": shown}.items()
                    ]
                    reply = await hand.get("/_sandbox/users", headers=pairs)
                    assert reply.status_code == status
            assert (await near.get("/_sandbox/users", headers={"x-smile-sandbox": "1"})).status_code == 200
            sandbox.console.exposed = True
            assert (await near.get("/_sandbox/users", headers={"x-smile-sandbox": "1"})).status_code == 401
            assert (await near.get("/", params={"token": TOKEN})).status_code == 303
        assert TOKEN not in repr(sandbox.settings)


async def test_it_is_there_without_the_console() -> None:
    """console=False takes the page away, not the control API; nor is a call of it an exchange in the log."""
    with in_process(console=False) as partner:
        async with Hand(partner.sandbox, **{"x-smile-sandbox": "1"}) as hand:
            assert (await hand.get("/")).status_code == 404
            assert await hand.ask("log") == []


@pytest.mark.parametrize("token", ["two words", "línea", "a\nb"])
def test_a_token_can_travel(token: str) -> None:
    """What no header can carry is refused when the sandbox is made."""
    with pytest.raises(ValueError, match="token must be printable ASCII"):
        Settings(token=token)


async def test_console_and_control_api_do_the_same(partner: Partner, hand: Hand) -> None:
    """A form of the console and a call of the API end in one function: same words, same effect."""
    form = {"csrf": partner.sandbox.console.csrf, "user_id": " eve ", "back": ""}
    headers = {"origin": "https://localhost:8443", "x-csrf-token": partner.sandbox.console.csrf}
    shown = (await hand.post("/console/do/enroll", data=form, headers=headers)).text
    assert shown == (await hand.act("enroll", user_id="eve"))["message"]
    assert (await hand.post("/console/do/jobs", data=form, headers=headers)).status_code == 404
