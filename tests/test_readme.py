"""The README keeps its word: every block in it that can run here runs, as written, against a sandbox."""

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from street import Pictures, until

from smile_async.sandbox import RunningSandbox

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: A fenced block, and the remark to this test above it, if there is one.
BLOCK = re.compile(r"(?:<!-- readme: (?P<remark>\w+) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL)

#: A run of a user's tests; hypothesis takes half of such a process to import.
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")


@dataclass(frozen=True)
class Block:
    """One fenced block of the README."""

    line: int
    kind: str
    remark: str
    text: str

    def __str__(self) -> str:
        return f"line {self.line}"


def blocks(kind: str, remark: str = "") -> list[Block]:
    """The README's blocks of this *kind*."""
    found = [
        Block(README.count("\n", 0, match.start("text")), match["kind"], match["remark"] or "", match["text"])
        for match in BLOCK.finditer(README)
    ]
    return [block for block in found if (block.kind, block.remark) == (kind, remark)]


def commands(block: Block) -> list[str]:
    """The lines behind the prompt, without their comments."""
    return [line[2:].split("  #")[0].strip() for line in block.text.splitlines() if line.startswith("$ ")]


@pytest.fixture
def desk(tmp_path: Path, pictures: Pictures) -> Path:
    """A directory with the pictures that the README speaks of."""
    for name in ("selfie.jpg", "me.jpg"):
        (tmp_path / name).write_bytes(pictures.selfie)
    for number, frame in enumerate(pictures.liveness):
        (tmp_path / f"frame_{number}.jpg").write_bytes(frame)
    return tmp_path


def surroundings(**variables: str) -> dict[str, str]:
    """The environment of a newcomer whose virtual environment is active, without anybody's account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SMILE_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), **variables}


async def output_of(*command: str, desk: Path, **variables: str) -> str:
    """What *command* prints; it must succeed."""
    child = await asyncio.create_subprocess_exec(
        *command, cwd=desk, env=surroundings(**variables), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    out, _ = await child.communicate()
    assert child.returncode == 0, out.decode()
    return out.decode()


@pytest.mark.parametrize("block", blocks("python"), ids=str)
async def test_python(block: Block, running: RunningSandbox, desk: Path) -> None:
    """A Python block runs as written, in a process of its own, and prints something."""
    out = await output_of(
        *(sys.executable, "-W", "error", "-c", block.text),
        desk=desk,
        SMILE_PARTNER_ID=running.partner_id,
        SMILE_API_KEY=running.api_key,
        SMILE_BASE_URL=running.base_url,
        SMILE_CA_FILE=running.ca_file,
    )
    assert "welcome, ada" in out or "approved" in out


def test_first_sample_is_short() -> None:
    """A newcomer reads first what to install; the first sample has ten lines, and decides by `verdict.approved`."""
    (install,) = blocks("console", "install")
    first = blocks("python")[0]
    assert commands(install) == ["pip install '.[batch,sandbox]'"]
    assert install.line < first.line
    assert len([line for line in first.text.splitlines() if line]) <= 10
    assert "verdict.approved" in first.text


@pytest.mark.parametrize("block", blocks("python", "pytest"), ids=str)
async def test_users_test(block: Block, desk: Path) -> None:
    """A test that the README shows is a test that passes."""
    (desk / "test_shown.py").write_text(block.text, encoding="utf-8")
    out = await output_of(*PYTEST, "test_shown.py", desk=desk)
    assert "3 passed" in out


@pytest.fixture
def login(desk: Path) -> Path:
    """The directory with the login of the README in it, as login.py."""
    (block,) = blocks("python", "login")
    (desk / "login.py").write_text(block.text, encoding="utf-8")
    return desk


async def test_login_by_its_own_tests(login: Path) -> None:
    """The test file that the README shows passes, for the login that the README shows, without a warning."""
    (block,) = blocks("python", "fixtures")
    (login / "test_login.py").write_text(block.text, encoding="utf-8")
    out = await output_of(
        *(*PYTEST, "-W", "error", "-c", "/dev/null"),
        *("-o", "asyncio_default_fixture_loop_scope=function", "--rootdir=.", "test_login.py"),
        desk=login,
    )
    assert "3 passed" in out
    assert "warning" not in out


async def test_login_over_sockets(login: Path, running: RunningSandbox, pictures: Pictures) -> None:
    """Run as its first line says, the login lets ada in after a review, told by a callback, and an impostor not.

    A stranger is 404 and a body that is no picture 422.
    """
    port = free_port()
    public = f"http://127.0.0.1:{port}"
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "uvicorn", "--factory", "login:from_env", "--port", str(port)),
        cwd=login,
        env=surroundings(
            PUBLIC_URL=public,
            SMILE_PARTNER_ID=running.partner_id,
            SMILE_API_KEY=running.api_key,
            SMILE_BASE_URL=running.base_url,
            SMILE_CA_FILE=running.ca_file,
        ),
    )
    try:
        async with httpx.AsyncClient(base_url=public, trust_env=False) as browser:
            await until_up(browser)
            for code, approved in (("1220", True), ("1221", False)):
                running.sandbox.script("ada", code="0822", after=0.1, then=[(0.3, code)])
                reply = await browser.post("/logins/ada", content=pictures.selfie, timeout=30)
                said = reply.json()
                assert (reply.status_code, said["approved"]) == (200, approved)
                assert (await browser.get(f"/logins/{said['login']}")).json() == {"approved": approved}
                await until(lambda job=running.sandbox.jobs[said["login"]]: len(job.callbacks) == 2)  # type: ignore[misc]
            for user, body, status in (("ada", b"no picture", 422), ("eve", pictures.selfie, 404)):
                assert (await browser.post(f"/logins/{user}", content=body)).status_code == status
    finally:
        server.terminate()
        await server.wait()
    assert {sent.status for job in running.sandbox.jobs.values() for sent in job.callbacks} == {200}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until_up(browser: httpx.AsyncClient) -> None:
    """Wait until the server answers."""
    for _ in range(400):
        try:
            await browser.get("/")
            return
        except httpx.ConnectError:
            await asyncio.sleep(0.05)
    raise AssertionError("the server did not start")


@pytest.fixture
async def first_shell(desk: Path) -> AsyncIterator[None]:
    """The README's first shell: it runs a sandbox until the test is over."""
    (block,) = blocks("console", "background")
    (command,) = commands(block)
    assert "smile-async sandbox" in command
    # The default ports may be taken on this machine.
    command = command.replace("smile-async sandbox", "exec_sandbox")
    script = f'exec_sandbox() {{ "{sys.executable}" -m smile_async.cli sandbox --port 0 --storage-port 0; }}\n{command}'
    child = await asyncio.create_subprocess_exec(
        *("bash", "-c", script), cwd=desk, env=surroundings(), stdout=subprocess.PIPE, start_new_session=True
    )
    assert child.stdout is not None
    printed = [await child.stdout.readline() for _ in range(4)]
    assert all(line.startswith(b"export SMILE_") for line in printed)
    # tee prints a line before it writes it to its file.
    await until(lambda: (desk / "sandbox.env").read_bytes() == b"".join(printed))
    yield
    os.killpg(child.pid, 15)
    await child.communicate()


def shown(block: Block) -> Iterator[re.Pattern[str]]:
    """What a console block says is printed, in order; a lone ellipsis stands for anything."""
    for line in block.text.splitlines():
        if not line.startswith("$ ") and line != "…":
            yield re.compile(re.escape(line))


@pytest.mark.usefixtures("first_shell")
async def test_second_shell(desk: Path) -> None:
    """The second shell's commands run as written and print what the README shows."""
    (block,) = [block for block in blocks("console") if "sandbox.env" in block.text]
    shim = f'smile-async() {{ "{sys.executable}" -m smile_async.cli "$@"; }}'
    out = await output_of("bash", "-e", "-c", "\n".join([shim, *commands(block)]), desk=desk)
    at = 0
    for pattern in shown(block):
        found = pattern.search(out, at)
        assert found, f"{pattern.pattern} is not in\n{out}"
        at = found.end()


def test_make_targets() -> None:
    """The two commands that the README promises are targets of the Makefile, and no other block goes unrun."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (block,) = [block for block in blocks("console") if "make" in block.text]
    assert commands(block) == ["make demo", "make test"]
    for command in commands(block):
        assert f"\n{command.removeprefix('make ')}:" in makefile
    shown = (*blocks("python", "pytest"), *blocks("python", "login"), *blocks("python", "fixtures"))
    shown += tuple(blocks("console", "install"))
    run = [*blocks("python"), *shown, *blocks("console"), *blocks("console", "background")]
    assert len(run) == README.count("\n```") // 2


def test_links() -> None:
    """Every relative link leads to a file."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_errors_table() -> None:
    """The table of errors names every error there is, and none that is not."""
    from smile_async import errors  # noqa: PLC0415

    table = README.split("## Errors")[1].split("## ")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == set(errors.__all__) - {"SmileError"}
