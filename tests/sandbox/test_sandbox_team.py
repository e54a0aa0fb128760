"""The guide to a team's sandbox keeps its word: its lines run as written, and one container finds another."""

import asyncio
import json
import os
import shlex
import shutil
import socket
import ssl
import stat
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from crash_support import python
from sandbox_support import KEY, TurningClock, in_process, partner_of, zipped
from street import Pictures, session_of, until
from v3_sandbox_support import NIN, V3Partner

import smile_async.sandbox
from smile_async.sandbox import RunningSandbox, Sandbox, serve_forever

GUIDE = smile_async.sandbox.__doc__ or ""
LINES = textwrap.dedent(GUIDE[GUIDE.index("    steer() {") : GUIDE.index("Or without curl")])
COMPOSE = GUIDE[GUIDE.index("    services:") : GUIDE.index("The name of --public-host")]
BEFORE, AFTER = LINES.split("# now your application sends its job login-1 of ada's, which people are to review\n")
STEER = BEFORE[: BEFORE.index("}\n") + 2]
TOKEN = "a-token-of-the-team"

needs_curl = pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="no curl, or no bash")


def variables(running: RunningSandbox, **more: str) -> dict[str, str]:
    """The environment of a second shell."""
    found = {"SMILE_BASE_URL": running.base_url, "SMILE_CA_FILE": running.ca_file, "PATH": os.environ["PATH"]}
    return {**found, "http_proxy": "", "https_proxy": "", **more}


async def bash(script: str, env: Mapping[str, str], *, good: bool = True) -> list[dict[str, Any]]:
    """What the lines of *script* print, an object of JSON each; all must be *good*, or the last must fail."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("bash", "-ec", script, stdout=pipe, stderr=pipe, env=env)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode == 0) is good, err.decode()
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.usefixtures("soon")
@needs_curl
async def test_curl_steers_a_sandbox_through_a_review(pictures: Pictures) -> None:
    """The guide's lines: what curl has scripted and troubled happens to a job, which waits until curl approves it."""
    async with Sandbox.serve(callback_url="http://127.0.0.1:9/smile") as running:
        running.sandbox.enroll("bob")
        done = await bash(BEFORE, variables(running))
        assert [each["message"] for each in done] == [
            "the sandbox is as it was started: no jobs, users, scripts, faults, and nothing in the log",
            "user ada is enrolled",
            "jobs of ada come to 0822",
            "fault waiting: job_status: answers 503, 2 times",
        ]
        async with session_of(running) as session:
            ticket = await session.submit(pictures.job(job_id="login-1"))
            assert (await session.wait(ticket)).decision == "provisional"
            await until(lambda: bool(running.sandbox.jobs["login-1"].callbacks))
            jobs, reviewed, callbacks, log = await bash(STEER + AFTER, variables(running))
            assert (await session.wait(ticket, until="final")).approved
        assert [(job["job_id"], job["standing"]) for job in jobs["jobs"]] == [("login-1", "provisional")]
        assert (reviewed["message"], reviewed["job"]["code"]) == ("job login-1 of ada approved", "1220")
        assert {each["reason"] for each in callbacks["callbacks"]} == {"no answer: ConnectError"}
        assert [each["fault"] for each in log["log"] if each["leg"] == "job_status"][:2] == ["answers 503"] * 2
        assert await bash(f"{STEER}steer jobs", variables(running, SMILE_BASE_URL=running.base_url_v3))
        (refused,) = await bash(f"{STEER}steer enroll -d '{{}}'", variables(running), good=False)
        assert refused["error"] == "give user_id"


@needs_curl
def test_the_guides_containers_find_each_other(tmp_path: Path) -> None:
    """The compose file's command serves; its health check passes; its name and CA file are what a neighbour trusts."""
    command = COMPOSE[COMPOSE.index("command: ") + 9 : COMPOSE.index("environment:")]
    health = COMPOSE[COMPOSE.index("{test: ") + 7 : COMPOSE.index(", interval")]
    told = command.replace("${SMILE_API_KEY:?}", KEY).replace("--state /smile", f"--state {tmp_path}")
    program = f"{shlex.join(python())} -m smile_async.cli"
    serve = told.replace("smile-async", program) + " --port 0 --storage-port 0"
    env = {**os.environ, "SMILE_SANDBOX_TOKEN": TOKEN, "http_proxy": "", "https_proxy": ""}
    with subprocess.Popen(
        shlex.split(serve), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        exported = dict(shlex.split(process.stdout.readline())[1].split("=", 1) for _ in range(5))
        said = [process.stderr.readline() for _ in range(2)]
        port = str(httpx.URL(exported["SMILE_BASE_URL"]).port)
        try:
            healthy = health.replace("8443", port).replace("/smile", str(tmp_path)).replace("smile-async", program)
            subprocess.run(shlex.split(healthy), env=env, check=True, timeout=60, stdout=subprocess.DEVNULL)
            near = f'curl() {{ command curl --connect-to "sandbox:{port}:127.0.0.1:{port}" "$@"; }}\n'
            script = f"{near}{STEER}steer jobs"
            ran = subprocess.run(["bash", "-ec", script], env={**env, **exported}, check=True, capture_output=True)
            stranger = {**env, **exported, "SMILE_SANDBOX_TOKEN": "1"}
            refused = subprocess.run(["bash", "-c", script], env=stranger, check=False, capture_output=True)
        finally:
            process.terminate()
    assert json.loads(ran.stdout) == {"jobs": [], "older": None, "total": 0}
    assert "must be the access token" in json.loads(refused.stdout)["error"]
    assert exported["SMILE_BASE_URL"] == f"https://sandbox:{port}/v1"
    assert exported["SMILE_SANDBOX_TOKEN"] == TOKEN
    assert exported["SMILE_CA_FILE"] == str(tmp_path / "ca.pem")
    assert any(line.startswith(f"trust our CA: SMILE_CA_FILE={tmp_path}/ca.pem") for line in said)
    assert any(line == f"console: https://sandbox:{port}/?token={TOKEN}\n" for line in said)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir() if path.is_file()}
    assert modes == {"ca.pem": 0o644, "journal.jsonl": 0o600}, "others may read whom to trust, and nothing else"


async def test_the_public_name_is_everywhere() -> None:
    """API, storage, upload URLs, console and control API are addressed by it, and the certificate vouches for it."""
    async with Sandbox.serve(public_host="sandbox") as running:
        for url in (running.base_url, running.storage_url, running.control_url, running.console_url):
            assert httpx.URL(url).host == "sandbox"
        partner = partner_of(running)
        partner.base_url = running.base_url.replace("sandbox", "127.0.0.1", 1)
        async with partner.http:
            running.sandbox.enroll("ada")
            upload = httpx.URL((await partner.upload("ada", "j1"))["upload_url"])
        assert (upload.host, upload.port) == ("sandbox", httpx.URL(running.storage_url).port)
        trust = ssl.create_default_context(cafile=running.ca_file)
        for url in (running.base_url, running.storage_url):
            _, writer = await asyncio.open_connection(
                "127.0.0.1", httpx.URL(url).port, ssl=trust, server_hostname="sandbox"
            )
            writer.close()


def address_off_loopback() -> str:
    """An address by which a neighbour reaches this machine; "" if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return ""
        return str(probe.getsockname()[0])


async def test_a_neighbour_works_by_the_public_address(pictures: Pictures) -> None:
    """Off loopback: API, upload and plain callback go by that address, and the control API wants the token."""
    address = address_off_loopback()
    if not address or address.startswith("127."):
        pytest.skip("this machine has no address off loopback")

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{"taken": true}')
        await writer.drain()
        writer.close()

    receiver = await asyncio.start_server(receive, address, 0)
    there = {"callback_url": f"http://{address}:{receiver.sockets[0].getsockname()[1]}/", "insecure_callbacks": True}
    async with receiver, Sandbox.serve(host="0.0.0.0", public_host=address, token=TOKEN, **there) as running:
        running.sandbox.enroll("ada")
        async with session_of(running) as session:
            assert (await session.verify(pictures.job(job_id="j1"))).approved
        await until(lambda: bool(running.sandbox.jobs["j1"].callbacks))
        assert {httpx.URL(running.base_url).host, httpx.URL(running.storage_url).host} == {address}
        trust = ssl.create_default_context(cafile=running.ca_file)
        async with httpx.AsyncClient(verify=trust, trust_env=False, base_url=running.control_url) as hand:
            assert (await hand.get("log", headers={"x-smile-sandbox": "1"})).status_code == 401
            log = (await hand.get("log", headers={"x-smile-sandbox": running.token})).json()["log"]
    called = [each for each in log if each["kind"] == "callback"]
    assert [(each["status"], each["answer"]["body"]) for each in called] == [(200, {"taken": True})]
    assert {each["request"]["headers"]["host"] for each in log if each["leg"] == "put"} == {
        running.storage_url.removeprefix("https://")
    }


@pytest.fixture
def mine(tmp_path: Path) -> dict[str, str]:
    """A certificate of one's own for loopback: its files, and those of the CA that a machine trusts already."""
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost")
    files = {name: str(tmp_path / f"{name}.pem") for name in ("cert_file", "key_file", "ca_file")}
    Path(files["cert_file"]).write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    server.private_key_pem.write_to_path(files["key_file"])
    authority.cert_pem.write_to_path(files["ca_file"])
    return files


async def test_a_certificate_of_ones_own(mine: dict[str, str], pictures: Pictures) -> None:
    """It is served on both ports; nobody is told of a CA file, for whoever trusts it does so already."""
    ca_file = mine.pop("ca_file")
    async with Sandbox.serve(**mine) as running:
        running.sandbox.enroll("ada")
        assert running.ca_file == ""
        assert "ca_file" not in running.account
        async with session_of(running, ca_file=ca_file) as session:
            assert (await session.verify(pictures.job())).approved


@pytest.mark.parametrize("wrong", ["no such file", "the other's key", "no key", "encrypted"])
async def test_what_is_no_certificate_is_refused_in_words(mine: dict[str, str], tmp_path: Path, wrong: str) -> None:
    """Files that are missing, unfit or locked are a ValueError that names them; no password is asked for."""
    key = {"no such file": str(tmp_path / "gone.pem"), "no key": mine["cert_file"]}.get(wrong, mine["key_file"])
    if wrong == "the other's key":
        trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(key)
    if wrong == "encrypted":
        locked = ["openssl", "pkey", "-aes256", "-passout", "pass:word", "-in", key, "-out", str(tmp_path / "locked")]
        await asyncio.to_thread(subprocess.run, locked, check=True, timeout=60)
        key = str(tmp_path / "locked")
    with pytest.raises(ValueError, match=r"are no certificate and its key, in PEM and not encrypted"):
        async with Sandbox.serve(cert_file=mine["cert_file"], key_file=key):
            pass
    with pytest.raises(ValueError, match="cert_file and key_file go together"):
        Sandbox(cert_file=mine["cert_file"])


@pytest.mark.parametrize("insecure", [False, True])
async def test_plain_callbacks_between_containers(insecure: bool) -> None:
    """Plain http to another machine is called when that is allowed, for both APIs; else not, and V3 refuses it."""
    called = []

    async def receive(request: httpx.Request) -> httpx.Response:
        called.append(request.url.host)
        return httpx.Response(200)

    with in_process(clock=TurningClock(), insecure_callbacks=insecure) as partner:
        sandbox = partner.sandbox
        async with sandbox.sending_callbacks(httpx.MockTransport(receive)):
            sandbox.enroll("ada")
            prep = {**partner.prep("ada", "j1"), "callback_url": "http://app:8000/smile"}
            upload = (await partner.post("upload", prep)).json()["upload_url"]
            await partner.put(upload, zipped())
            visitor = V3Partner(sandbox)
            await visitor.sign_in()
            reply = await visitor.post("enhanced_kyc", **NIN, callback_url="http://app:8000/smile")
            assert reply.status_code == (202 if insecure else 400)
            bound = await visitor.fetch_token(payload={"callback_url": "http://app:8000/smile"})
            assert bound.status_code == (200 if insecure else 400)
            sandbox.settings.callback_url = "https://shop.test/smile"
            await partner.submit("ada", "j2")
            await until(lambda: len(called) == (3 if insecure else 1))
    assert called.count("app") == (2 if insecure else 0)


async def test_a_portal_url_that_would_never_be_called_is_refused() -> None:
    """A process that is nothing but a sandbox says so at its start, and the way out."""
    with pytest.raises(ValueError, match="insecure_callbacks allows http anywhere"):
        await serve_forever(print, port=0, storage_port=0, callback_url="http://app:8000/smile")
