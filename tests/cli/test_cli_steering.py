"""`smile-async sandbox WORD …` steers a sandbox that runs elsewhere, and says what keeps it from doing so."""

import json
import socket
import sys
from pathlib import Path

import httpx
import pytest
from cli_support import Run
from scripted import Authority
from street import Pictures, session_of

from smile_async.cli import main
from smile_async.sandbox import RunningSandbox, Sandbox


async def test_a_review_from_a_shell(run: Run, account: RunningSandbox, pictures: Pictures) -> None:
    """Enrol, script, list, approve and look at the log: a word each, and the library sees what came of it."""
    assert (await run("sandbox", "reset")).out.startswith("the sandbox is as it was started")
    assert (await run("sandbox", "enroll", "grace")).out == "user grace is enrolled\n"
    scripted = await run("sandbox", "script", "grace", "0822", "--after", "0", "--then", "7200:1221")
    assert scripted.out == "jobs of grace come to 0822, then 1221\n"
    async with session_of(account) as session:
        ticket = await session.submit(pictures.job("grace", job_id="login-1"))
        listed = await run("sandbox", "jobs", "--state", "provisional")
        assert listed.out.split()[:5] == ["provisional", "0822", "grace", "login-1", "authentication"]
        done = await run("sandbox", "review", "login-1", "approve", "--json")
        assert done.document["message"] == "job login-1 of grace approved"
        assert (await session.wait(ticket, until="final")).code == "1220"
    lines = (await run("sandbox", "log", "--job-id", "login-1")).out.splitlines()
    assert lines[0].split()[2:] == ["upload", "POST", "/v1/upload", "200", "grace", "login-1"]
    number = json.loads((await run("sandbox", "log", "--leg", "put", "--json")).out)["log"][0]["number"]
    later = (await run("sandbox", "log", "--after", str(number))).out.splitlines()
    assert later
    assert all(int(line.split()[0]) > number for line in later)
    assert (await run("sandbox", "enroll", "grace", "--forget")).out == "user grace is forgotten\n"


async def test_troubles_from_a_shell(run: Run, account: RunningSandbox) -> None:
    """Every option of a fault arrives, and mend takes it away; times are set, and a callback that nobody can send."""
    sandbox = account.sandbox
    words = ("job_status", "--status", "503", "--body", "busy", "--delay", "0.5", "--times", "0", "--effect", "--cut")
    said = await run("sandbox", "fault", *words, "--user-id", "ada", "--job-id", "j1")
    assert said.out.startswith("fault waiting: job_status: connection dropped, answers 503")
    ((_, fault),) = sandbox.faults.waiting()
    assert (fault.status, fault.body, fault.delay, fault.times, fault.effect, fault.cut) == (
        *(503, "busy", 0.5, None, True, True),
    )
    assert (fault.user_id, fault.job_id) == ("ada", "j1")
    await run("sandbox", "mend", "job_status")
    await run("sandbox", "fault", "job_status", "--tamper", '{"code": "9"}')
    content = {"code": "1"}
    tamper = sandbox.faults.waiting()[0][1].tamper
    assert tamper is not None
    tamper(content)
    assert content == {"code": "9"}
    await run("sandbox", "mend")
    assert sandbox.faults.waiting() == []
    await run("sandbox", "timing", "--latency", "0.25", "--review", "60")
    assert (sandbox.settings.latency, sandbox.settings.review) == (0.25, 60.0)
    await run("sandbox", "timing", "--no-review")
    assert sandbox.settings.review is None
    sandbox.registry.enroll("ada")
    assert (await run("sandbox", "resend", "nobody's")).code == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("review", "nobody's", "approve"), "there is no such job"),
        (("script", "ada", "12"), "'0820'"),
        (("script", "ada", "0820", "--then", "1220"), "is not SECONDS:CODE, such as 7200:1220"),
        (("fault", "moon", "--status", "500"), "leg must be one of upload"),
        (("fault", "put", "--tamper", "{"), "--tamper is no JSON"),
        (("jobs", "--state", "lost"), "state must be one of waiting"),
        (("timing",), "give latency or review"),
        (("jobs", "--url", "https://api.smileidentity.com/v1"), "is Smile ID's production, which nobody steers"),
        (("jobs", "--url", "http://sandbox:8443"), "is not https"),
        (("jobs", "--ca-file", "nowhere.pem"), "'nowhere.pem' can not be used"),
    ],
)
async def test_what_can_not_be_done(run: Run, words: tuple[str, ...], said: str) -> None:
    """Bad input exits with 4, for people and machines alike, with the sandbox's words or ours."""
    person, machine = await run("sandbox", *words), await run("sandbox", *words, "--json")
    assert (person.code, machine.code, person.out) == (4, 4, "")
    assert said in person.err
    assert said in machine.document["message"]


async def test_options_of_serving_do_not_get_lost(run: Run) -> None:
    """What stands before the word and means nothing there is refused, not passed over."""
    ran = await run("sandbox", "--port", "0", "jobs")
    assert ran.code == 4
    assert "--port is for serving: put what `jobs` takes behind that word" in ran.err


async def test_nobody_is_home(
    run: Run, authority: Authority, account: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server, one that nothing here vouches for, and one that is no sandbox exit with 3 and say which it is."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        gone = await run("sandbox", "jobs", "--url", f"https://127.0.0.1:{taken.getsockname()[1]}")
    assert (gone.code, "no sandbox answers at https://127.0.0.1:" in gone.err) == (3, True)
    strange = await run("sandbox", "jobs", "--ca-file", authority.ca_file)
    assert (strange.code, "nothing here vouches for" in strange.err) == (3, True)
    other = await run("sandbox", "jobs", "--url", account.storage_url)
    assert (other.code, "is no sandbox (status 403)" in other.err) == (3, True)


async def test_the_token_is_shown(
    run: Run, account: RunningSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where others can connect it comes from --token or SMILE_SANDBOX_TOKEN, and is on no output."""
    async with Sandbox.serve(host="0.0.0.0", token="canary-token") as running:
        there = ("--url", running.control_url, "--ca-file", running.ca_file)
        refused = await run("sandbox", "jobs", *there)
        wrong = await run("sandbox", "jobs", *there, "--token", "canary-other")
        given = await run("sandbox", "jobs", *there, "--token", "canary-token")
        monkeypatch.setenv("SMILE_SANDBOX_TOKEN", "canary-token")
        told = await run("sandbox", "jobs", *there, "--json")
    assert (refused.code, wrong.code, given.code, told.code) == (4, 4, 0, 0)
    assert "must be the access token" in refused.err
    assert not any("canary" in text for ran in (refused, wrong, given, told) for text in (ran.out, ran.err))


def test_steering_needs_nothing_of_serving(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the extra `sandbox` the commands are there all the same, and the usual address is asked."""
    asked = []

    def answer(method: str, url: str, **_: object) -> httpx.Response:
        asked.append((method, url))
        return httpx.Response(200, json={"message": "done"})

    for name in ("SMILE_BASE_URL", "SMILE_CA_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in sys.modules if name.startswith("smile_async.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("granian", "starlette", "smile_async.sandbox"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(httpx.Client, "request", lambda _, method, url, **more: answer(method, url, **more))
    assert main(["sandbox", "enroll", "ada"]) == 0
    assert asked == [("POST", "https://127.0.0.1:8443/_sandbox/enroll")]
    assert capsys.readouterr().out == "done\n"
