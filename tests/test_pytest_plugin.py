"""The fixtures do what they say: in any asyncio plugin, with or without sockets, strictly, and without a trace."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from smile_async import Decision, Job, SmileSession, pytest_plugin, verify_callback
from smile_async.errors import Refused, StillPending, UserNotEnrolled
from smile_async.sandbox import Sandbox
from smile_async.testing import SELFIE
from smile_async.timing.clock import SystemClock
from smile_async.timing.virtual_clock import VirtualClock

#: A test file of a user, but for the marker that his plugin needs.
SAMPLE = """
import json
import pytest
import anyio
from smile_async import Job
from smile_async.testing import SELFIE

{marker}

async def test_twelve_people_at_once(smile_sandbox, smile_session, smile_clock):
    story = []

    async def one(number):
        user = f"user-{{number}}"
        smile_sandbox.enroll(user)
        smile_sandbox.script(user, code="0822", after=number % 7, then=[(60 * number, "1220")])
        verdict = await smile_session.verify(Job.authenticate(user, SELFIE), until="final", patience=20_000)
        story.append((verdict.ticket.user_id, smile_clock.monotonic(), verdict.source))

    async with anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(one, number)
    print("STORY", json.dumps(story))

async def test_a_job_left_open(smile_sandbox, smile_session):
    smile_sandbox.enroll("ada")
    smile_sandbox.script("ada", code="0820", after=3600)
    await smile_session.submit(Job.authenticate("ada", SELFIE))

@pytest.fixture
def wrapped(smile_session):
    return smile_session

async def test_a_fixture_of_the_users_own(wrapped):
    assert wrapped.stats.submitted == 0
"""
INI = "[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\naddopts = -p no:cacheprovider\n"
MODES = {
    "strict": ("pytestmark = pytest.mark.asyncio", INI + "asyncio_mode = strict\n"),
    "auto": ("", INI + "asyncio_mode = auto\n"),
    "session loop": ('pytestmark = pytest.mark.asyncio(loop_scope="session")', INI + "asyncio_mode = strict\n"),
    "anyio": (
        'pytestmark = pytest.mark.anyio\n\n@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n',
        INI + "asyncio_mode = strict\n",
    ),
}


SOCKETS = """
import pytest
from smile_async import Job
from smile_async.testing import SELFIE

pytestmark = pytest.mark.asyncio

async def test_sockets(smile_sandbox, smile_session, smile_clock, smile_callback):
    smile_sandbox.enroll("ada")
    smile_sandbox.script("ada", code="0820", after=0)
    verdict = await smile_session.verify(Job.authenticate("ada", SELFIE))
    assert verdict.approved
    assert smile_session.stats.api_http_version == "HTTP/2"
    assert type(smile_clock).__name__ == "SystemClock"
    body = smile_callback(user_id="ada", job_id=verdict.ticket.job_id)
    assert (await smile_session.deliver(body)).approved
"""
NO_FIXTURE = """
import sys

def test_modules():
    ours = {name for name in sys.modules if name.split(".")[0] == "smile_async"}
    assert ours == {"smile_async", "smile_async.errors", "smile_async.pytest_plugin"}
"""
SILENT = """
import contextlib
import pytest
from smile_async import Job, SmileError
from smile_async.testing import SELFIE

@pytest.mark.asyncio
async def test_loud(smile_sandbox, smile_session):
    smile_sandbox.enroll("ada")
    await smile_session.verify(Job.authenticate("ada", SELFIE))

@pytest.mark.asyncio
async def test_swallowed(smile_sandbox, smile_session):
    with contextlib.suppress(SmileError):
        await smile_session.verify(Job.register("bob", SELFIE))

def test_sync(smile_session):
    pass
"""
#: Runs pytest once a folder, each time with the options that follow it, and ends what each has printed with a rule.
RUNS = """
import json
import sys
import pytest

for folder, *options in json.loads(sys.argv[1]):
    # Without hypothesis, which takes half of such a process to import.
    pytest.main([folder, "-c", f"{folder}/pytest.ini", "-s", "-p", "no:hypothesispytest", *options])
    print("=" * 10, "END", flush=True)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What pytest prints about each file of tests, in a process that takes every warning for an error."""
    files = {"no fixture": (NO_FIXTURE, INI), "silent": (SILENT, INI), "sockets": (SOCKETS, INI)}
    files |= {mode: (SAMPLE.format(marker=marker), ini) for mode, (marker, ini) in MODES.items()}
    folders = {name: tmp_path_factory.mktemp(name.replace(" ", "-")) for name in files}
    for name, (text, ini) in files.items():
        # One process imports a file of each name once.
        (folders[name] / f"test_{name.replace(' ', '_')}.py").write_text(text)
        (folders[name] / "pytest.ini").write_text(ini)
    plan = [[str(folder), *(["--smile-sockets"] if name == "sockets" else [])] for name, folder in folders.items()]
    command = [sys.executable, "-W", "error", "-c", RUNS, json.dumps(plan)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    said = ran.stdout.split(f"{'=' * 10} END\n")
    assert (ran.returncode, len(said), said[-1]) == (0, len(files) + 1, ""), ran.stdout
    return dict(zip(files, said, strict=False))


def test_every_asyncio_plugin(outcomes: Mapping[str, str]) -> None:
    """In pytest-asyncio's strict and auto modes, with one loop for the whole run, and with anyio's plugin: all pass.

    Nothing is left behind that Python would warn of, and twelve jobs at once tell the same story to the millisecond.
    """
    stories = set()
    for mode in MODES:
        assert "3 passed" in outcomes[mode], f"{mode}: {outcomes[mode]}"
        assert "warning" not in outcomes[mode].lower(), f"{mode}: {outcomes[mode]}"
        stories.update(re.findall("STORY (.*)", outcomes[mode]))
    (story,) = stories
    assert len(json.loads(story)) == 12


def test_over_sockets(outcomes: Mapping[str, str]) -> None:
    """With --smile-sockets the same fixtures work over TLS, with HTTP/2 to the API, in real time."""
    assert "1 passed" in outcomes["sockets"], outcomes["sockets"]


def test_who_uses_no_fixture_waits_for_nothing(outcomes: Mapping[str, str]) -> None:
    """A run that uses none of the fixtures loads the plugin and nothing that it would need for them."""
    assert "1 passed" in outcomes["no fixture"], outcomes["no fixture"]


def test_who_says_nothing_fails(outcomes: Mapping[str, str]) -> None:
    """A job nobody scripted fails its test: by the refusal, and at the end even if the code swallowed the refusal.

    Both messages name the user and the cure. A sync test that wants a session is told what it lacks.
    """
    out = outcomes["silent"]
    assert "1 failed, 1 passed, 3 errors" in out, out
    assert "the test has not said what jobs of 'ada' come to: script() them first" in out
    assert "call smile_sandbox.script('bob', code='0820') before the job is submitted" in out
    assert "test_sync has no event loop for smile_async: make it an async test" in out


async def test_a_review_of_two_hours(
    smile_sandbox: Sandbox, smile_session: SmileSession, smile_clock: VirtualClock
) -> None:
    """A two-hour human review is followed to its end in virtual time."""
    smile_sandbox.enroll("ada")
    smile_sandbox.script("ada", code="0822", after=5, then=[(7200, "1220")])
    ticket = await smile_session.submit(Job.authenticate("ada", SELFIE))
    async with smile_session.follow(ticket) as verdicts:
        seen = [(verdict.code, verdict.final) async for verdict in verdicts]
    assert seen == [("0822", False), ("1220", True)]
    assert smile_clock.monotonic() >= 7205


async def test_the_test_is_the_reviewer(smile_sandbox: Sandbox, smile_session: SmileSession) -> None:
    """Between two awaits the test may act: reject what was provisional, and see it arrive."""
    smile_sandbox.enroll("ada")
    smile_sandbox.script("ada", code="0822", after=0)
    ticket = await smile_session.submit(Job.authenticate("ada", SELFIE))
    assert (await smile_session.wait(ticket)).decision is Decision.PROVISIONAL
    smile_sandbox.review(ticket.job_id, "reject")
    assert (await smile_session.wait(ticket, until="final")).decision is Decision.REJECTED


async def test_patience_runs_out_in_virtual_time(smile_sandbox: Sandbox, smile_session: SmileSession) -> None:
    """A job that takes longer than the patience is StillPending after exactly that."""
    smile_sandbox.enroll("ada")
    smile_sandbox.script("ada", code="0820", after=500)
    with pytest.raises(StillPending) as caught:
        await smile_session.verify(Job.authenticate("ada", SELFIE), patience=100)
    assert caught.value.ticket is not None
    assert (await smile_session.wait(caught.value.ticket, patience=1000)).approved


async def test_strangers_are_refused_as_documented(smile_sandbox: Sandbox, smile_session: SmileSession) -> None:
    """A user nobody enrolled is 2210, scripted or not, and that is no failure of the test's own."""
    smile_sandbox.script("bob", code="0820")
    for user in ("ada", "bob"):
        with pytest.raises(UserNotEnrolled) as caught:
            await smile_session.verify(Job.authenticate(user, SELFIE))
        assert caught.value.code == "2210"


async def test_a_forced_result_is_a_script(smile_sandbox: Sandbox, smile_session: SmileSession) -> None:
    """The documented sandbox_result says what a job comes to as well as a script does."""
    smile_sandbox.enroll("ada")
    verdict = await smile_session.verify(Job.authenticate("ada", SELFIE, partner_params={"sandbox_result": "1"}))
    assert verdict.decision is Decision.REJECTED


async def test_the_refusal_of_the_unscripted(smile_sandbox: Sandbox, smile_session: SmileSession) -> None:
    """The refusal is not retried, and creates no job; a test that knows better may forgive it."""
    smile_sandbox.enroll("ada")
    with pytest.raises(Refused, match="script\\(\\) them first") as caught:
        await smile_session.verify(Job.authenticate("ada", SELFIE))
    assert (caught.value.code, caught.value.retryable) == ("9999", False)
    assert smile_sandbox.jobs == {}
    with pytest.raises(pytest.fail.Exception, match=r"call smile_sandbox\.script\('ada', code='0820'\) before"):
        pytest_plugin._check_scripted(smile_sandbox)
    smile_sandbox.registry.unscripted.clear()


async def test_code_that_makes_its_own_session(smile_sandbox: Sandbox, smile_settings: Mapping[str, Any]) -> None:
    """smile_settings are a session's arguments, for an application that opens it itself."""
    smile_sandbox.script("ada", code="0840")
    async with SmileSession(**smile_settings) as session:
        verdict = await session.verify(Job.register("ada", SELFIE))
    assert verdict.approved


async def test_callbacks_are_signed_for_the_job(
    smile_sandbox: Sandbox, smile_session: SmileSession, smile_clock: VirtualClock, smile_callback: Callable[..., bytes]
) -> None:
    """A built callback carries the sandbox's own SmileJobID and job type, its key, and the clock's time."""
    smile_sandbox.script("ada", code="0840")
    ticket = await smile_session.submit(Job.register("ada", SELFIE))
    await smile_clock.sleep(86_400)
    body = smile_callback(user_id="ada", job_id=ticket.job_id, code="0840", ConfidenceValue="7")
    account = {"partner_id": smile_sandbox.partner_id, "api_key": smile_sandbox.api_key}
    verdict = verify_callback(body, **account, now=smile_clock.time())
    assert (verdict.ticket, verdict.confidence) == (ticket, 7.0)
    delivered = await smile_session.deliver(body)
    assert delivered is not None
    assert delivered.approved
    stranger = verify_callback(smile_callback(user_id="eve", job_id="none"), **account, now=smile_clock.time())
    assert (stranger.ticket.job_type, stranger.code) == (2, "0820")


def test_a_sandbox_is_enough_for_sync_tests(smile_sandbox: Sandbox, smile_callback: Callable[..., bytes]) -> None:
    """Without a session no event loop is needed."""
    assert (
        verify_callback(
            smile_callback(user_id="ada", job_id="j1"), partner_id="001", api_key=smile_sandbox.api_key
        ).ticket.job_id
        == "j1"
    )


@pytest.fixture
def with_sockets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this run had been started with --smile-sockets."""
    monkeypatch.setattr(request.config.option, "smile_sockets", True)


@pytest.mark.usefixtures("with_sockets")
async def test_sockets_in_this_process(
    with_sockets: None, smile_clock: Any, smile_sandbox: Sandbox, smile_session: SmileSession
) -> None:
    """The sandbox of --smile-sockets is served, real-timed, and as strict."""
    assert isinstance(smile_clock, SystemClock)
    assert smile_sandbox.running is not None
    smile_sandbox.script("ada", code="0841", after=0)
    assert (await smile_session.verify(Job.register("ada", SELFIE))).decision is Decision.REJECTED
    with pytest.raises(Refused):
        await smile_session.verify(Job.register("bob", SELFIE))
    smile_sandbox.registry.unscripted.clear()


class Node:
    """A test as pytest shows it to a fixture."""

    name = "test_it"

    def __init__(self, marker: pytest.Mark | None) -> None:
        self.marker = marker

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return self.marker


@pytest.mark.parametrize(
    ("marker", "names", "found"),
    [
        (pytest.mark.asyncio.mark, [], "_x_asyncio_function"),
        (pytest.mark.asyncio(loop_scope="module").mark, ["anyio_backend"], "_x_asyncio_module"),
        (None, ["anyio_backend"], "_x_anyio"),
    ],
)
def test_the_loop_of_the_test(
    request: pytest.FixtureRequest, marker: pytest.Mark | None, names: list[str], found: str
) -> None:
    """The fixture of the plugin that runs the test is chosen, and of the loop that the test runs in."""

    class Request:
        node = Node(marker)
        fixturenames = names
        config = request.config

    whoever: Any = Request()
    assert pytest_plugin._in_loop(whoever, "_x") == found


def test_no_loop(request: pytest.FixtureRequest) -> None:
    """Where there is none, the test fails with the cure."""

    class Request:
        node = Node(None)
        fixturenames: tuple[str, ...] = ()

    whoever: Any = Request()
    with pytest.raises(pytest.fail.Exception, match="test_it has no event loop"):
        pytest_plugin._in_loop(whoever, "_x")
