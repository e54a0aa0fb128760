"""Fixtures for your tests: a sandbox, a session on it, signed callbacks, and a clock that makes hours pass in no time.

By default everything runs inside your event loop, without sockets and in virtual time; `pytest --smile-sockets` runs
the same tests over real HTTP/2 and in real time. The sandbox fails a test that does not say what its jobs come to: an
approval nobody asked for would prove nothing. Works with pytest-asyncio, strict or auto, and with anyio's plugin.
`smile_async.testing` shows how to test a login with a database by them.

All imports are inside the fixtures, so that a run that uses none of them waits for no HTTP client and no server.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from smile_async.sandbox import Sandbox
    from smile_async.session import SmileSession
    from smile_async.timing.clock import Clock

__all__ = ["smile_callback", "smile_clock", "smile_sandbox", "smile_session", "smile_settings"]

#: Where the sandbox without sockets is believed to be; no request leaves the process.
IN_PROCESS_URL = "https://sandbox.test/v1"
#: pytest-asyncio runs a fixture in the loop of one of these scopes, which must be the test's.
LOOP_SCOPES: tuple[Any, ...] = ("function", "class", "module", "package", "session")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --smile-sockets."""
    parser.getgroup("smile_async", "Smile ID").addoption(
        "--smile-sockets",
        action="store_true",
        help="run smile_sandbox over real HTTP/2 and TLS sockets, in real time",
    )


@pytest.fixture
def smile_clock(request: pytest.FixtureRequest) -> "Clock":
    """The clock that sandbox and session share: `await smile_clock.sleep(7200)` takes two hours, or no time at all.

    A `VirtualClock`, which jumps when nobody has anything to do but wait; the machine's own with --smile-sockets.
    """
    from smile_async.timing.clock import SystemClock  # noqa: PLC0415
    from smile_async.timing.virtual_clock import VirtualClock  # noqa: PLC0415

    return SystemClock() if request.config.getoption("--smile-sockets") else VirtualClock()


@pytest.fixture
def smile_sandbox(request: pytest.FixtureRequest, smile_clock: "Clock") -> "Iterator[Sandbox]":
    """A `Sandbox` of the test's own: `smile_sandbox.enroll("ada")`, `.script("ada", code="0820")`, `.jobs`, `.fault`.

    A job needs a script for its user, or a `sandbox_result`: one without is refused, and fails the test at its end
    even if the code under test has swallowed the refusal. An authentication also needs an enrolled user, else it is
    refused as Smile ID does (2210).
    """
    if request.config.getoption("--smile-sockets"):
        sandbox: Sandbox = request.getfixturevalue(_in_loop(request, "_smile_served"))
    else:
        from smile_async.sandbox import Sandbox as Made  # noqa: PLC0415

        sandbox = Made(clock=smile_clock, scripted_only=True)
    yield sandbox
    _check_scripted(sandbox)


@pytest.fixture
def smile_api() -> str:
    """Which of Smile ID's APIs `smile_session` speaks: "v1"; override it to return "v3", in a module or a class."""
    return "v1"


@pytest.fixture
def smile_settings(smile_sandbox: "Sandbox", smile_clock: "Clock", smile_api: str) -> Mapping[str, Any]:
    """What a session needs to talk to the sandbox, for code that makes its own: `SmileSession(**smile_settings)`.

    On V3 with a consent for jobs that name none.
    """
    account: dict[str, Any] = {"partner_id": smile_sandbox.partner_id, "api_key": smile_sandbox.api_key}
    if smile_api != "v1":
        from smile_async.jobs.person import Consent  # noqa: PLC0415

        account |= {"api": smile_api, "consent": Consent("https://shop.example/privacy")}
    running = smile_sandbox.running
    if running is not None:
        from smile_async.timing.pacing import Pace  # noqa: PLC0415

        # Real time: a test does not wait for a poll as people do.
        base_url = running.base_url.removesuffix("v1") + smile_api
        return {**account, "base_url": base_url, "ca_file": running.ca_file, "pace": Pace.fixed(0.05, 1, 0.1)}
    return {
        **account,
        "base_url": IN_PROCESS_URL.removesuffix("v1") + smile_api,
        "http": _in_process(smile_sandbox, smile_clock),
        "clock": smile_clock,
        "in_thread": _at_once,
    }


@pytest.fixture
def smile_session(request: pytest.FixtureRequest) -> "SmileSession":
    """An open `SmileSession` on the sandbox, for async tests."""
    session: SmileSession = request.getfixturevalue(_in_loop(request, "_smile_entered"))
    return session


@pytest.fixture
def smile_callback(smile_sandbox: "Sandbox", smile_clock: "Clock") -> Callable[..., bytes]:
    """Makes the bodies of callbacks, signed as by Smile ID; takes `user_id`, `job_id`, `code` ("0820") and more.

    Job type and SmileJobID are the sandbox's, or 2 and a made-up number for a job it does not know. Keywords replace
    fields (`ConfidenceValue="7"`) or what is signed for (`timestamp`, `api_key`, `partner_id`, `job_type`).
    """
    from smile_async.sandbox.credentials import timestamp_at  # noqa: PLC0415
    from smile_async.testing import callback_body  # noqa: PLC0415

    def build(*, user_id: str, job_id: str, code: str = "0820", **overrides: Any) -> bytes:
        facts: dict[str, Any] = {
            "partner_id": smile_sandbox.partner_id,
            "api_key": smile_sandbox.api_key,
            # Smile ID's own form, in milliseconds: in ours, it would pass for one that our session has signed.
            "timestamp": timestamp_at(smile_clock.time()),
        }
        job = smile_sandbox.jobs.get(job_id)
        if job is not None:
            facts |= {"job_type": job.job_type, "smile_job_id": job.smile_job_id}
        return callback_body(user_id, job_id, code=code, **(facts | overrides))

    return build


def _in_process(sandbox: "Sandbox", clock: Any) -> Any:
    """A transport into the sandbox; while a request is under way, no virtual time passes."""
    import httpx  # noqa: PLC0415

    class InProcess(httpx.AsyncBaseTransport):
        def __init__(self) -> None:
            self._inner = httpx.ASGITransport(sandbox.app)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            with clock.hold():
                return await self._inner.handle_async_request(request)

    return InProcess()


def _check_scripted(sandbox: "Sandbox") -> None:
    """Fail the test if it left open what a job comes to, whatever became of the refusal."""
    if unscripted := list(sandbox.registry.unscripted):
        cure = f"smile_sandbox.script({unscripted[0]!r}, code='0820')"
        pytest.fail(
            f"the test did not say what jobs of {', '.join(map(repr, unscripted))} come to: call {cure} before the job"
            " is submitted, or give it partner_params={'sandbox_result': '0'}",
            pytrace=False,
        )


async def _at_once(work: Callable[..., Any], *args: Any) -> Any:
    """Let the session read pictures in the event loop: threads end in any order, and so would the test."""
    return work(*args)


async def _served() -> "AsyncIterator[Sandbox]":
    from smile_async.sandbox import Sandbox  # noqa: PLC0415

    async with Sandbox.serve(scripted_only=True) as running:
        yield running.sandbox


async def _entered(smile_settings: Mapping[str, Any]) -> "AsyncIterator[SmileSession]":
    from smile_async.session import SmileSession  # noqa: PLC0415

    async with SmileSession(**smile_settings) as session:
        yield session


def _in_loop(request: pytest.FixtureRequest, name: str) -> str:
    """The one of the async fixtures called *name* that runs in the event loop of the test."""
    marker = request.node.get_closest_marker("asyncio")
    if marker is not None:
        return f"{name}_asyncio_{_loop_scope(request, marker)}"
    if "anyio_backend" in request.fixturenames:
        return f"{name}_anyio"
    pytest.fail(
        f"{request.node.name} has no event loop for smile_async: make it an async test, marked asyncio or anyio",
        pytrace=False,
    )


def _loop_scope(request: pytest.FixtureRequest, marker: pytest.Mark) -> str:
    said = marker.kwargs.get("loop_scope") or request.config.getini("asyncio_default_test_loop_scope")
    return str(said or "function")


def _async_fixtures(name: str, opener: Any) -> "Iterator[tuple[str, Any]]":
    """*opener* as a fixture for anyio's plugin, and as one for each kind of loop of pytest-asyncio."""
    yield f"{name}_anyio", pytest.fixture(name=f"{name}_anyio")(_copy(opener))
    try:
        import pytest_asyncio  # noqa: PLC0415
    except ImportError:  # pragma: no cover - the test environment has it
        return
    for scope in LOOP_SCOPES:
        own = f"{name}_asyncio_{scope}"
        yield own, pytest_asyncio.fixture(loop_scope=scope, name=own)(_copy(opener))


def _copy(function: Any) -> Any:
    # pytest-asyncio marks the function itself.
    return FunctionType(function.__code__, function.__globals__, function.__name__)


globals().update(_async_fixtures("_smile_served", _served))
globals().update(_async_fixtures("_smile_entered", _entered))
