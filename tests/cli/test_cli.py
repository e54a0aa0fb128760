"""The command line, run as a person or a script would, against a sandbox over real sockets."""

import asyncio
import base64
import io
import json
import os
import runpy
import shlex
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from cli_support import VARIABLES, Run, export
from crash_support import python
from PIL import Image as Picture
from scripted import Authority
from street import Pictures, until

import smile_async.cli
from smile_async import Job, SmileSession
from smile_async.cli import demo as demo_module
from smile_async.cli import main
from smile_async.cli.demo import neighbour
from smile_async.cli.jobs import _under_way
from smile_async.cli.output import ExitCode, code_of
from smile_async.cli.pictures import draw_portrait, portraits_of
from smile_async.jobs.codes import MEANINGS, Decision
from smile_async.jobs.verdict import Verdict
from smile_async.sandbox import RunningSandbox, Sandbox
from smile_async.testing import API_KEY, PARTNER_ID

PORTS = ("--port", "0", "--storage-port", "0")


# verify, submit, status


async def test_register_then_verify(run: Run, account: RunningSandbox, pictures: Pictures) -> None:
    """A person registers and authenticates a user, and sees the decision, the code and the actions."""
    frames = str(Path(pictures.selfie_path).parent / "frame*.jpg")
    registered = await run("verify", pictures.selfie_path, "--user-id", "grace", "--register", "--liveness", frames)
    verified = await run("verify", pictures.selfie_path, "--user-id", "grace", "--liveness", pictures.liveness_paths[0])
    assert (registered.code, verified.code) == (0, 0)
    assert registered.out.startswith("approved  0840")
    assert "selfie provided" in verified.out
    jobs = list(account.sandbox.jobs.values())
    assert [(job.job_type, len(job.images)) for job in jobs] == [(4, 9), (2, 2)]


@pytest.mark.parametrize(
    ("result", "code", "decision"), [("0", 0, "approved"), ("1", 1, "rejected"), ("2", 2, "provisional")]
)
async def test_exit_codes(run: Run, pictures: Pictures, result: str, code: int, decision: str) -> None:
    """The exit code is the decision, and --json prints the verdict and nothing else."""
    arguments = ("verify", pictures.selfie_path, "--user-id", "ada", "--param", f"sandbox_result={result}")
    machine = await run(*arguments, "--json")
    person = await run(*arguments)
    assert machine.code == person.code == code
    assert machine.document["decision"] == decision
    assert machine.document["approved"] is (decision == "approved")
    assert machine.document["ticket"]["user_id"] == "ada"
    assert person.out.startswith(decision)
    assert ("ask for this job again" in person.err) is (decision == "provisional")


async def test_the_server_that_is_meant(run: Run, account: RunningSandbox, pictures: Pictures) -> None:
    """Standard error begins with it; the variables of a desk's sandbox do not move to a vendor's environment."""
    arguments = ("verify", pictures.selfie_path, "--user-id", "ada", "--json")
    ran = await run(*arguments)
    assert ran.err.startswith(f"{account.base_url.split('/')[2]}, partner {account.partner_id}\n")
    for environment in ("production", "sandbox"):
        moved = await run(*arguments, "--environment", environment)
        assert (moved.code, moved.document["error"]) == (4, "BadConfiguration")
        assert f"environment is '{environment}', but SMILE_BASE_URL names the host" in moved.document["message"]
    assert len(account.sandbox.jobs) == 1


async def test_unknown_code_is_an_error(run: Run, account: RunningSandbox, pictures: Pictures) -> None:
    """A code nobody has documented exits with 3, like an error of the provider."""
    account.sandbox.script("ada", code="7777")
    assert (await run("verify", pictures.selfie_path, "--user-id", "ada", "--json")).code == 3


async def test_until_final(run: Run, account: RunningSandbox, pictures: Pictures) -> None:
    """--until final waits for the reviewer."""
    account.sandbox.script("ada", code="0822", then=[(0.2, "1221")])
    ran = await run("verify", pictures.selfie_path, "--user-id", "ada", "--until", "final", "--json")
    assert (ran.code, ran.document["code"]) == (1, "1221")


async def test_out_of_patience(run: Run, account: RunningSandbox, pictures: Pictures) -> None:
    """Out of patience exits with 2 and tells a machine the ticket and the latest provisional verdict."""
    account.sandbox.script("ada", code="0822", after=0.0, then=[(600, "1220")])
    arguments = ("verify", pictures.selfie_path, "--user-id", "ada", "--until", "final", "--patience", "2")
    ran = await run(*arguments, "--json")
    assert ran.code == 2
    assert ran.document["error"] == "StillPending"
    assert ran.document["ticket"]["user_id"] == "ada"
    assert ran.document["verdict"]["code"] == "0822"


async def test_submit_then_status(
    run: Run, account: RunningSandbox, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Submit prints a ticket that status takes as an argument, from a pipe, or as its two ids."""
    account.sandbox.script("ada", code="0822", after=0.0)
    sent = await run("submit", pictures.selfie_path, "--user-id", "ada", "--job-id", "login-1", "--json")
    assert sent.code == 0
    assert sent.document["job_id"] == "login-1"
    monkeypatch.setattr(sys, "stdin", io.StringIO(sent.out))
    piped = await run("status", "--json")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"\ufeff{sent.out}"))
    dashed = await run("status", "-", "--json")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe{\0")))
    assert (await run("status", "-")).code == 4
    given = await run("status", sent.out, "--json", "--history", "--image-links")
    named = await run("status", "--user-id", "ada", "--job-id", "login-1", "--history", "--image-links")
    assert [piped.code, dashed.code, given.code, named.code] == [2, 2, 2, 2]
    assert piped.document["verdict"]["code"] == "0822"
    assert "history" not in piped.document
    assert [past["code"] for past in given.document["history"]] == ["0822"]
    assert given.document["image_links"]["selfie_image"].startswith("https://")
    assert named.out.startswith("provisional")
    assert "earlier" in named.out
    assert "selfie_image" in named.out


async def test_status_without_verdict(run: Run, account: RunningSandbox, pictures: Pictures) -> None:
    """A job without a verdict is pending, with or without its pictures."""
    account.sandbox.script("ada", code="0820", after=600)
    person = await run("submit", pictures.selfie_path, "--user-id", "ada", "--job-id", "slow")
    assert json.loads(person.out)["job_id"] == "slow"
    machine = await run("status", "--user-id", "ada", "--job-id", "slow", "--json")
    waiting = await run("status", person.out.strip())
    account.sandbox.fault("put", status=403, times=None)
    await run("submit", pictures.selfie_path, "--user-id", "ada", "--job-id", "bare")
    bare = await run("status", "--user-id", "ada", "--job-id", "bare")
    assert (machine.code, waiting.code, bare.code) == (2, 2, 2)
    assert machine.document["verdict"] is None
    assert "no verdict yet" in waiting.out
    assert "no pictures" in bare.out


async def test_refused(run: Run, pictures: Pictures) -> None:
    """A refusal exits with 3; a machine gets class, message, code, ticket and whether to try again.

    No job was made, so nobody is told to ask for it.
    """
    arguments = ("verify", pictures.selfie_path, "--user-id", "nobody")
    machine = await run(*arguments, "--json")
    person = await run(*arguments)
    assert machine.code == person.code == 3
    assert machine.document.keys() == {"error", "message", "ticket", "retryable", "code"}
    assert machine.document["error"] == "UserNotEnrolled"
    assert machine.document["code"] == "2210"
    assert person.err.splitlines()[-1].startswith("UserNotEnrolled: ")
    assert "ask for this job again" not in person.err
    assert not person.out


async def test_the_way_back(run: Run, account: RunningSandbox, pictures: Pictures) -> None:
    """Where a job may exist a person is told how to ask for it again: out of patience, or its upload was not taken."""
    account.sandbox.script("ada", code="0820", after=600)
    arguments = ("verify", pictures.selfie_path, "--user-id", "ada", "--patience", "1", "--job-id")
    pending = await run(*arguments, "slow")
    account.sandbox.fault("put", status=403, times=None)
    bare = await run(*arguments, "bare")
    account.sandbox.script("ada", code="0822", after=0.0)
    there = ("--base-url", account.base_url, "--ca-file", account.ca_file)
    reviewed = await run("verify", pictures.selfie_path, "--user-id", "ada", "--job-id", "odd 'id'", *there)
    for ran, said, job_id, given in (
        (pending, "StillPending: ", "slow", ()),
        (bare, "UploadFailed: ", "bare", ()),
        (reviewed, None, "odd 'id'", there),
    ):
        *_, way_back = [line for line in ran.err.splitlines() if "ask for this job again" in line]
        assert shlex.split(way_back.removeprefix("ask for this job again with: ")) == [
            *("smile-async", "status", "--user-id", "ada", "--job-id", job_id, *given)
        ]
        assert said is None or ran.err.splitlines()[-1].startswith(said)


async def test_enrolled_image(run: Run, pictures: Pictures) -> None:
    """With the picture on file no selfie is needed, and an enrolled user may be enrolled anew on request."""
    stored = await run("verify", "--user-id", "ada", "--use-enrolled-image", "--json")
    again = await run("verify", pictures.selfie_path, "--user-id", "ada", "--register", "--json")
    anew = await run("verify", pictures.selfie_path, "--user-id", "ada", "--register", "--allow-new-enroll", "--json")
    assert stored.document["code"] == "0820"
    assert again.document["code"] == "2209"
    assert anew.code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("verify", "{selfie}"), "--user-id"),
        (("verify", "--user-id", "ada"), "no selfie"),
        (("verify", "missing.jpg", "--user-id", "ada"), "missing.jpg"),
        (("verify", "{selfie}", "--user-id", ""), "user_id"),
        (("verify", "{selfie}", "--user-id", "ada", "--param", "colour"), "NAME=VALUE"),
        (("verify", "{selfie}", "--user-id", "ada", "--param", "job_id=1"), "set by the job"),
        (("verify", "{selfie}", "--user-id", "ada", "--allow-new-enroll"), "--register"),
        (("verify", "{selfie}", "--user-id", "ada", "--use-enrolled-image", "--register"), "--register"),
        (("verify", "{selfie}", "--user-id", "ada", "--liveness", "none*.jpg"), "no file matches"),
        (("verify", "{selfie}", "--user-id", "ada", "--liveness", "{empty}"), "holds no .jpg"),
        (("verify", "{selfie}", "--user-id", "ada", "--callback-url", "http://shop.example"), "https"),
        (("verify", "{selfie}", "--user-id", "ada", "--until", "doomsday"), "doomsday"),
        (("submit", "{selfie}", "--user-id", "ada", "--base-url", "https://shop.example"), "/v1"),
        (("submit", "{selfie}", "--user-id", "ada", "--ca-file", "none.pem"), "none.pem"),
        (("submit", "{selfie}", "--user-id", "ada", "--http", "curl"), "curl"),
        (("status", "--user-id", "ada"), "--job-id"),
        (("status", "{{}}"), "not a ticket"),
        (("status",), "give a ticket"),
        (("sandbox", "--port", "70000"), "65535"),
        (("sandbox", *PORTS, "--partner-id", "a b"), "partner_id"),
        (("explain",), "Missing argument"),
        (("frobnicate",), "frobnicate"),
    ],
)
def test_bad_input(
    pictures: Pictures,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    """Bad input exits with 4 and says what is wrong, in words and as JSON; nobody has to listen for that."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    export(monkeypatch, PARTNER_ID, API_KEY, "https://127.0.0.1:9/v1", authority.ca_file)
    given = [text.format(selfie=pictures.selfie_path, empty=tmp_path) for text in arguments]
    assert main([*given, "--json"]) == 4
    out, err = capsys.readouterr()
    assert says in json.loads(out)["message"]
    assert says in err


async def test_no_account(run: Run, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without SMILE_API_KEY the message names it."""
    monkeypatch.delenv("SMILE_API_KEY")
    ran = await run("verify", pictures.selfie_path, "--user-id", "ada", "--json")
    assert ran.code == 4
    assert ran.document["error"] == "BadConfiguration"
    assert "SMILE_API_KEY" in ran.document["message"]


def test_liveness_in_order(pictures: Pictures, tmp_path: Path) -> None:
    """A directory means its pictures, frame 10 after frame 9."""
    from smile_async.cli.options import frames_of  # noqa: PLC0415

    for number in (10, 9, 1):
        (tmp_path / f"frame_{number}.jpg").write_bytes(pictures.selfie)
    (tmp_path / "notes.txt").write_text("not a picture")
    assert [Path(path).name for path in frames_of(str(tmp_path))] == ["frame_1.jpg", "frame_9.jpg", "frame_10.jpg"]


def test_a_frame_given_as_base64_is_not_repeated(pictures: Pictures, capsys: pytest.CaptureFixture[str]) -> None:
    """A picture in place of a frame's path is refused as bad input, and stands neither in the message nor elsewhere."""
    frame = base64.b64encode(pictures.selfie * 20).decode()
    code = main(["submit", pictures.selfie_path, "--user-id", "ada", "--liveness", frame, "--json"])
    said = capsys.readouterr()
    assert (code, "use Image.from_base64" in said.out) == (4, True)
    assert frame[:24] not in said.out + said.err


async def test_interrupted(account: RunningSandbox, pictures: Pictures) -> None:
    """Ctrl-C stops the waiting with exit code 130 and says how to find the job again."""
    account.sandbox.script("ada", code="0820", after=600)
    child = await asyncio.create_subprocess_exec(
        *(*python(), "-m", "smile_async.cli", "verify", pictures.selfie_path, "--user-id", "ada"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    await until(lambda: any(job.polls for job in account.sandbox.jobs.values()), 20)
    child.send_signal(signal.SIGINT)
    out, err = await child.communicate()
    assert child.returncode == 130
    assert not out
    assert b"smile-async status --user-id ada --job-id" in err
    assert b"Traceback" not in err


async def test_progress(
    session: SmileSession, pictures: Pictures, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal progress follows the job; if it is interrupted it shows the way back."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    job = pictures.job()

    async def interrupted() -> None:
        async with _under_way(session, job.ticket, "verifying", {}):
            await session.submit(job)
            await asyncio.sleep(0.5)
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await interrupted()
    err = capsys.readouterr().err
    assert "verifying ada: uploading" in err
    assert "asked 0 times" in err
    assert job.job_id in err


def test_unconfirmed_is_no_success() -> None:
    """An approval that no status query confirmed never exits with 0."""
    verdict = Verdict(Decision.APPROVED, True, "0820", "", Job.authenticate("ada", use_enrolled_image=True).ticket)
    assert code_of(verdict) is ExitCode.ERROR


# explain


async def test_explain(run: Run) -> None:
    """Explain shows what a code says for each job type, to people and to machines."""
    person, machine = await run("explain", "812"), await run("explain", "0812", "--json")
    unknown = await run("explain", "9999", "--json")
    everywhere = await run("explain", "0001")
    assert (person.code, machine.code, everywhere.code) == (0, 0, 0)
    assert "provisional" in person.out
    assert "rejected" in person.out
    assert "any" in everywhere.out
    rows = machine.document["meanings"]
    assert [(row["job_types"], row["decision"], row["final"]) for row in rows] == [
        ([1], "provisional", False),
        ([6, 11], "rejected", True),
    ]
    assert all(row["sources"] for row in rows)
    assert (unknown.code, unknown.document["meanings"]) == (3, [])
    assert "never as approved" in unknown.err


def test_explain_on_a_narrow_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In 80 columns every code's meaning stands on one line, and so does each other thing that is said of it."""
    monkeypatch.setenv("COLUMNS", "80")
    for meaning in MEANINGS:
        assert main(["explain", meaning.code]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        assert any(meaning.text in line for line in lines)
        assert any(f"source: {', '.join(meaning.sources)}" in line for line in lines)


# sandbox


@pytest.fixture
def no_input() -> Any:
    """Standard input at its end, at the level of file descriptors."""
    kept, null = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    yield
    os.dup2(kept, 0)
    os.close(kept)
    os.close(null)


@pytest.mark.usefixtures("no_input")
def test_sandbox_prints_exports(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is four export lines, quoted for a shell, or one line of JSON."""
    arguments = ("sandbox", *PORTS, "--until-eof", "--partner-id", "085", "--api-key", "it's")
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main([*arguments, "--json"]) == 0
    machine = json.loads(capsys.readouterr().out)
    exported = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    assert [line.split("=")[0] for line in lines] == [f"export {name}" for name in machine]
    assert exported["SMILE_PARTNER_ID"] == machine["SMILE_PARTNER_ID"] == "085"
    assert exported["SMILE_API_KEY"] == "it's"
    assert exported["SMILE_BASE_URL"].endswith("/v1")


@pytest.mark.usefixtures("no_input")
def test_sandbox_leads_to_v3(capsys: pytest.CaptureFixture[str]) -> None:
    """With --api v3 the same account's lines lead to V3, and say so; another API is no choice."""
    assert main(["sandbox", *PORTS, "--until-eof", "--api", "v3", "--json"]) == 0
    machine = json.loads(capsys.readouterr().out)
    assert (machine["SMILE_API"], machine["SMILE_BASE_URL"][-3:], machine["SMILE_PARTNER_ID"]) == ("v3", "/v3", "001")
    assert main(["sandbox", *PORTS, "--api", "v2"]) == 4


async def test_sandbox_hint(
    run: Run, account: RunningSandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal, and only there, a hint says what to do with the lines."""

    async def announced(announce: Callable[[RunningSandbox], None], **_: object) -> None:
        announce(account)

    monkeypatch.setattr("smile_async.sandbox.serve_forever", announced)
    assert await asyncio.to_thread(main, ["sandbox"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert await asyncio.to_thread(main, ["sandbox"]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 4
    assert "second shell" in err
    assert "your browser will warn about the certificate" in err


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_sandbox_in_a_second_shell(
    stop: signal.Signals, pictures: Pictures, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second process that reads the exports verifies against it; SIGINT and SIGTERM end it with exit code 0."""
    command = [*python(), "-m", "smile_async.cli", "sandbox", *PORTS, "--latency", "0.01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(4):
            monkeypatch.setenv(*shlex.split(child.stdout.readline())[1].split("=", 1))
        assert main(["verify", pictures.selfie_path, "--user-id", "grace", "--register", "--json"]) == 0
        child.send_signal(stop)
        rest, errors = child.communicate(timeout=20)
    assert child.returncode == 0
    assert rest == ""
    assert errors == ""
    assert json.loads(capsys.readouterr().out)["approved"] is True


def test_sandbox_refuses_foreign_hosts() -> None:
    """The console of a sandbox that was given no --public-host answers 421 to a foreign Host, and 200 to its own."""
    command = [*python(), "-m", "smile_async.cli", "sandbox", *PORTS, "--until-eof", "--json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        account = json.loads(child.stdout.readline())
        home = httpx.URL(account["SMILE_BASE_URL"]).copy_with(path="/")
        trust = ssl.create_default_context(cafile=account["SMILE_CA_FILE"])
        with httpx.Client(verify=trust, trust_env=False) as browser:
            answers = [browser.get(home, headers={"host": host}).status_code for host in ("evil.example", home.host)]
    assert answers == [421, 200]


def test_port_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is taken is an error that names it and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["sandbox", "--port", port, "--storage-port", "0", "--json"]) == 3
    message = json.loads(capsys.readouterr().out)["message"]
    assert port in message
    assert "--storage-port" in message


# demo


@pytest.mark.usefixtures("elsewhere")
def test_demo(capsys: pytest.CaptureFixture[str]) -> None:
    """The demo registers and authenticates everybody over HTTP/2 and HTTP/1.1, and reports one line of JSON."""
    assert main(["demo", "--users", "3", "--json"]) == 0
    out = capsys.readouterr().out
    report = json.loads(out)
    assert out.count("\n") == 1
    assert (report["jobs"], report["finished"], report["failed"]) == (6, 6, 0)
    assert report["decisions"] == {"approved": 6}
    assert (report["api_http_version"], report["storage_http_version"]) == ("HTTP/2", "HTTP/1.1")
    assert report["polls_per_job"] >= 1
    assert report["jobs_per_second"] == pytest.approx(6 / report["seconds"])


@pytest.mark.usefixtures("elsewhere")
def test_demo_with_failures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo with failures shows them and exits with 3."""

    @asynccontextmanager
    async def broken(latency: float) -> AsyncIterator[dict[str, str]]:
        async with Sandbox.serve(latency=latency) as running:
            running.sandbox.fault("upload", status=400, body={"error": "no", "code": "2212"})
            values = (running.partner_id, running.api_key, running.base_url, running.ca_file)
            yield dict(zip(VARIABLES, values, strict=True))

    monkeypatch.setattr(demo_module, "neighbour", broken)
    assert main(["demo", "--users", "2"]) == 3
    out, err = capsys.readouterr()
    assert "2, 2" in out  # one registration is refused, and so the authentication of that user
    assert "failed Refused" in err


async def test_neighbour_is_terminated() -> None:
    """The demo's sandbox is another process, and gone when the block is left, even by an exception."""
    urls: list[str] = []

    async def visit() -> None:
        async with neighbour(0.0) as found:
            urls.append(found["SMILE_BASE_URL"])
            async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=found["SMILE_CA_FILE"])) as client:
                assert (await client.get(urls[0])).status_code == 404
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await visit()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", httpx.URL(urls[0]).port)


def test_sandbox_that_does_not_start(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """If the child process dies the demo says so instead of waiting."""
    monkeypatch.setattr(sys, "executable", "false")
    assert main(["demo", "--users", "1"]) == 3
    assert "did not start" in capsys.readouterr().err


async def test_stubborn_neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox that ignores SIGTERM is killed."""
    script = tmp_path / "stubborn"
    script.write_text("""#!/bin/sh\ntrap '' TERM\necho '{"SMILE_PARTNER_ID": "x"}'\nexec sleep 60\n""")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(demo_module, "STOP_SECONDS", 0.1)
    async with neighbour(0.0) as found:
        assert found["SMILE_PARTNER_ID"] == "x"


def test_portraits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Portraits are distinct colour JPEGs of about 60 kB; without hard links they are copied."""
    pool = [tmp_path / "one.jpg", tmp_path / "two.jpg"]
    for number, path in enumerate(pool):
        draw_portrait(number, path)
        with Picture.open(path) as picture:
            assert (picture.format, picture.mode) == ("JPEG", "RGB")
        assert 50_000 < path.stat().st_size < 70_000
    assert pool[0].read_bytes() != pool[1].read_bytes()

    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    files = list(portraits_of(1, pool, tmp_path))
    assert len(set(files)) == 9
    assert files[0].read_bytes() == pool[1].read_bytes()


# main itself


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """No arguments show the help and exit with 4; --help exits with 0."""
    assert main([]) == 4
    assert main(["--help"]) == 0
    assert "Exit codes" in capsys.readouterr().out


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_missing_extra(package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the extra `cli` the command says what to install and exits with 4."""
    for name in [name for name in sys.modules if name.startswith(("smile_async.cli.", f"{package}."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["explain", "0812", "--json"]) == 4
    out, err = capsys.readouterr()
    assert "pip install 'smile-async[cli]'" in json.loads(out)["message"]
    assert "pip install 'smile-async[cli]'" in err
    assert main(["explain", "0812"]) == 4


def test_broken_installation(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Any other failed import is not blamed on a missing extra, and no rejection."""
    monkeypatch.delitem(sys.modules, "smile_async.cli.app")
    monkeypatch.setitem(sys.modules, "smile_async.cli.explain", None)
    assert main(["explain", "0812"]) == 3
    assert "smile_async.cli.explain" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code"),
    [(ZeroDivisionError(), 3), (asyncio.CancelledError(), 3), (SystemExit(1), 3), (KeyboardInterrupt(), 130)],
    ids=repr,
)
def test_what_nobody_foresaw(
    raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A defect of ours is shown with its traceback, and exits with 3: Python's own 1 would say "rejected"."""

    def perform(*_: object) -> None:
        raise raised

    monkeypatch.setattr(demo_module, "perform", perform)
    assert main(["demo", "--json"]) == code
    out, err = capsys.readouterr()
    if not isinstance(raised, SystemExit | KeyboardInterrupt):
        assert "Traceback" in err
        assert json.loads(out)["error"] == type(raised).__name__


@pytest.mark.parametrize("package", [smile_async, smile_async.cli], ids=lambda package: package.__name__)
def test_module(package: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m smile_async` and `python -m smile_async.cli` are the command."""
    monkeypatch.setattr(sys, "argv", ["smile-async", "explain", "0820", "--json"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(Path(package.__file__ or "").with_name("__main__.py")), run_name="__main__")
    assert caught.value.code == 0
    assert json.loads(capsys.readouterr().out)["code"] == "0820"
