"""README and guides keep their word: every block in them that can run here runs, as written, against a sandbox."""

import ast
import asyncio
import importlib
import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from crash_support import python
from guides import GUIDES, README, ROOT, Block, account, blocks, guide, home_of, lay_out, texts
from postgres import Postgres
from street import Pictures, until
from workers_support import fresh

from smile_async import Consent, Person, SmileSession, errors
from smile_async.sandbox import RunningSandbox
from smile_async.testing import LIVENESS, SELFIE, SELFIE_JPEG

#: A run of a user's tests; hypothesis takes half of such a process to import.
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")

SCRIPTS = [block for block in blocks("python") if not block.file]
FILES = {block.file: block for block in blocks("python") if block.file}
#: Console blocks that a reader's own shell runs: they install, or build, or stay for as long as they are wanted.
INSTALL = [block for block in blocks("console") if block.commands[0].startswith("pip ")]
MAKE = [block for block in blocks("console") if block.commands[0].startswith("make ")]
FIRST_SHELL = [block for block in blocks("console") if "smile-async sandbox" in block.commands[0]]
SHELLS = [block for block in blocks("console") if block not in (*INSTALL, *MAKE, *FIRST_SHELL)]


@pytest.fixture
def desk(tmp_path: Path, pictures: Pictures) -> Path:
    """A directory with the pictures that the guides speak of."""
    return lay_out(tmp_path, pictures)


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


@pytest.mark.parametrize("block", SCRIPTS, ids=str)
async def test_a_script(block: Block, running: RunningSandbox, desk: Path) -> None:
    """A script runs as written, in a process of its own, without a warning, and somebody is let in."""
    out = await output_of(*python(), "-c", block.text, desk=desk, **account(running))
    assert "welcome, ada" in out or "approved" in out


def test_the_first_sample_is_short() -> None:
    """A newcomer reads first what to install; the first sample has ten lines, and decides by `verdict.approved`."""
    first = SCRIPTS[0]
    assert [block.commands for block in INSTALL] == [["pip install '.[batch,sandbox]'"]]
    assert (INSTALL[0].where, first.where) == ("README.md", "README.md")
    assert INSTALL[0].line < first.line
    assert len([line for line in first.text.splitlines() if line]) <= 10
    assert "verdict.approved" in first.text


async def test_a_users_test(desk: Path) -> None:
    """A test that a guide shows is a test that passes."""
    (desk / "test_may_enter.py").write_text(FILES["test_may_enter.py"].text, encoding="utf-8")
    out = await output_of(*PYTEST, "test_may_enter.py", desk=desk)
    assert "3 passed" in out


@pytest.fixture
def login(desk: Path) -> Path:
    """The directory with the login of the guides in it, as login.py."""
    (desk / "login.py").write_text(FILES["login.py"].text, encoding="utf-8")
    return desk


async def test_the_login_by_its_own_tests(login: Path) -> None:
    """The test file that a guide shows passes, for the login that a guide shows, without a warning."""
    (login / "test_login.py").write_text(FILES["test_login.py"].text, encoding="utf-8")
    out = await output_of(
        *(*PYTEST, "-W", "error", "-c", "/dev/null"),
        *("-o", "asyncio_default_fixture_loop_scope=function", "--rootdir=.", "test_login.py"),
        desk=login,
    )
    assert "3 passed" in out
    assert "warning" not in out


async def test_the_login_over_sockets(login: Path, running: RunningSandbox, pictures: Pictures) -> None:
    """Run as its first line says, the login lets ada in after a review, told by a callback, and an impostor not.

    A stranger is 404 and a body that is no picture 422.
    """
    port = free_port()
    public = f"http://127.0.0.1:{port}"
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "uvicorn", "--factory", "login:from_env", "--port", str(port)),
        cwd=login,
        env=surroundings(PUBLIC_URL=public, **account(running)),
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


async def test_the_login_on_v3(login: Path, running: RunningSandbox, tmp_path: Path) -> None:
    """Given liveness frames, another session and a person, the same login works with V3."""
    job = "Job.authenticate(user_id, await request.body(), "
    text = (login / "login.py").read_text(encoding="utf-8").replace(job, f"{job}liveness=LIVENESS, person=AMINA, ")
    amina = Person("Amina Fatou", "Clearwater", "amina.clearwater@example.com")
    names: dict[str, Any] = {"LIVENESS": LIVENESS, "AMINA": amina}
    exec(text, names)
    session = SmileSession(**running.account_v3, consent=Consent("https://you.example/privacy"))
    app = names["make_app"](session, "https://you.example", str(tmp_path / "logins.db"))
    running.sandbox.enroll("ada")
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as browser:
        for word, approved in (("clear", True), ("block:spoof_detected", False)):
            running.sandbox.script("ada", code=word)
            reply = await browser.post("https://you.example/logins/ada", content=SELFIE_JPEG)
            assert (reply.status_code, reply.json()["approved"]) == (200, approved)
        assert (await browser.post("https://you.example/logins/ada", content=SELFIE)).status_code == 422


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


def smile_async() -> str:
    """The command, for a shell."""
    return f'smile-async() {{ {shlex.join(python())} -m smile_async.cli "$@"; }}'


@pytest.fixture
async def first_shell(desk: Path) -> AsyncIterator[None]:
    """The first shell of a guide: it runs a sandbox until the test is over."""
    (command,) = FIRST_SHELL[0].commands
    # The default ports may be taken on this machine.
    script = f"{smile_async()}\n{command.replace('sandbox', 'sandbox --port 0 --storage-port 0', 1)}"
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


def shown(block: Block) -> Iterator[str]:
    """What a console block says is printed, in order; a lone ellipsis stands for anything."""
    return (line for line in block.text.splitlines() if not line.startswith("$ ") and line != "…")


@pytest.mark.usefixtures("first_shell")
@pytest.mark.parametrize("block", SHELLS, ids=str)
async def test_a_second_shell(block: Block, desk: Path, request: pytest.FixtureRequest) -> None:
    """A second shell's commands run as written and print what the guide shows."""
    lines = [smile_async(), ". ./sandbox.env", *block.commands]
    script = "\n".join(lines)
    if "postgresql://user@host/database" in script:
        server: Postgres = request.getfixturevalue("server")
        script = script.replace("postgresql://user@host/database", shlex.quote(fresh(server)))
    out = await output_of("bash", "-e", "-c", script, desk=desk)
    at = 0
    for line in shown(block):
        at = out.find(line, at)
        assert at >= 0, f"{line} is not in\n{out}"
        at += len(line)


def test_make_targets() -> None:
    """The commands that the README promises are targets of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (block,) = MAKE
    assert block.commands == ["make demo", "make test"]
    for target in {*re.findall(r"\bmake\s([a-z-]+)`", README), "demo", "test"}:
        assert f"\n{target}:" in makefile


def test_no_block_goes_unrun() -> None:
    """Every fenced block of README and guides is run by a test of this file."""
    assert len(FIRST_SHELL) == len(INSTALL) == 1
    assert FILES.keys() == {"login.py", "test_login.py", "test_may_enter.py"}
    run = [*SCRIPTS, *FILES.values(), *INSTALL, *MAKE, *FIRST_SHELL, *SHELLS]
    assert len(run) == sum(text.count("\n```") for _, _, text in texts()) // 2


def test_the_readme_is_short() -> None:
    """The README has at most 250 lines: what is longer is a guide."""
    assert README.count("\n") <= 250


def test_the_changelog_knows_the_version() -> None:
    """The version that pyproject.toml declares, the only place that does, heads a part of the changelog."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert any(declared in heading for heading in headings)


def test_every_guide_is_found() -> None:
    """The README leads to every guide, by a name that imports and by a link to the file that holds it."""
    for module in GUIDES:
        importlib.import_module(module)
        link = f"[{module}]({home_of(module).relative_to(ROOT).as_posix()})"
        assert module == "smile_async.pytest_plugin" or link in README


@pytest.mark.parametrize(
    ("path", "text"), [pytest.param(path, text, id=str(path.relative_to(ROOT))) for path, _, text in texts()]
)
def test_links(path: Path, text: str) -> None:
    """Every relative link leads to a file, every anchor to a heading, and every module that is named is there."""
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        assert target[1:] in anchors if target.startswith("#") else (path.parent / target).is_file(), target
    for name in re.findall(r"`(smile_async(?:\.\w+)+)`", text):
        module, _, attribute = name.rpartition(".")
        is_there = home_of(name).is_file() or hasattr(importlib.import_module(module), attribute)
        assert is_there or name in METRICS, name


#: What telemetry names so.
METRICS = {*re.findall(r"`(smile_async\.\w+)`", guide("smile_async.traffic").split("## Spans and metrics")[1])}


def test_the_table_of_errors() -> None:
    """The table of errors names every error there is, and none that is not."""
    table = guide("smile_async.errors").split("## What to do")[1]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == set(errors.__all__) - {"SmileError"}


def logged() -> Iterator[str]:
    """Every text that the library logs at INFO or above, with its placeholders."""
    for path in sorted((ROOT / "smile_async").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            call = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if re.fullmatch(r"say|log\.(info|warning|error|exception|critical)", call):
                yield ast.literal_eval(node.args[0])  # type: ignore[attr-defined]


def test_the_tables_of_log_lines() -> None:
    """Each line that the library logs at INFO or above stands in a table of a guide, and each in a table is logged."""
    tables = guide("smile_async.traffic"), guide("smile_async.callbacks")
    rows = [
        row
        for table in tables
        for row in re.findall(r"^\| (?:INFO|WARNING|ERROR) \| (.*) \| .* \|$", table, re.MULTILINE)
    ]
    lines = {line for row in rows for line in re.findall(r"`([^`]+)`", row)}
    wanted = {text: re.compile(".+".join(map(re.escape, re.split(r"%[-.\d]*[a-z]", text)))) for text in logged()}
    assert {text for text, pattern in wanted.items() if not any(map(pattern.fullmatch, lines))} == set()
    special = [pattern for text, pattern in wanted.items() if text != "%s: %s"]
    others = {line for line in lines if not any(pattern.fullmatch(line) for pattern in special)}
    assert len(others) == 1, "one example of a call that ended with an error, and nothing that is not logged"
