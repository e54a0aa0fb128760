"""Fixtures that more than one test module needs."""

import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
from coverage import Coverage
from hypothesis import HealthCheck, settings
from postgres import Postgres, a_server
from scripted import Authority, ScriptedSmile, make_authority
from street import QUICK, Pictures, nothing_left, session_of, sweep

from smile_async import SmileSession
from smile_async.sandbox import RunningSandbox, Sandbox

# A loaded machine is slow, which is no reason to fail.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", patient, max_examples=50)
# For `make soak`, as --hypothesis-profile; a test that says how many examples it needs has as many in both.
settings.register_profile("soak", patient, max_examples=2000)
settings.load_profile("quick")

# To load the system's certificates takes each client milliseconds, and nobody here shows one of theirs.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("nobody.pem"))
os.environ.pop("SSL_CERT_DIR", None)

# In the background of a shell it is ignored, by all that is started from here as well.
signal.signal(signal.SIGINT, signal.default_int_handler)


# At each 700th object is too often.
gc.set_threshold(50_000)


def pytest_collection_finish() -> None:
    """Whoever looks for garbage does not look through six thousand tests each time."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """What hypothesis happens upon counts for no coverage: examples that are written down must reach every line."""
    if Coverage.current() is None or not getattr(pyfuncitem.obj, "is_hypothesis_test", False):
        return (yield)
    measuring = sys.gettrace()
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(measuring)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """Real pictures, made once."""
    return Pictures.made_in(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA, and a certificate for loopback."""
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def foreign_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA nobody has a reason to trust."""
    return make_authority(tmp_path_factory.mktemp("foreign"))


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A PostgreSQL; whoever wants to be alone there takes a database of his own."""
    with a_server() as server:
        yield server


@pytest.fixture
async def tidy() -> AsyncIterator[None]:
    """The test must leave no task behind."""
    async with nothing_left():
        yield


@pytest.fixture
async def running() -> AsyncIterator[RunningSandbox]:
    """A sandbox over real sockets, with "ada" enrolled."""
    async with Sandbox.serve() as running:
        running.sandbox.enroll("ada")
        yield running


@pytest.fixture
async def session(running: RunningSandbox) -> AsyncIterator[SmileSession]:
    """A session on the running sandbox."""
    async with session_of(running) as session:
        yield session


@pytest.fixture
async def smile(authority: Authority) -> AsyncIterator[ScriptedSmile]:
    """A scripted Smile ID over HTTP/1.1."""
    async with ScriptedSmile(authority) as smile:
        yield smile


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again at the usual pace where a poll has failed: how long that is put off decides nothing."""
    monkeypatch.setattr("smile_async.traffic.pending.failing_delay", lambda _failures, delay, **_: delay)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again soon: how long a doctor pauses between two questions decides no finding."""
    monkeypatch.setattr("smile_async.doctor.doctor._PACE", QUICK)
    monkeypatch.setattr("smile_async.doctor.lookups._GAPS", (0.0, 0.01, 0.01, 0.01))
    monkeypatch.setattr("smile_async.doctor.v3_jobs._GAP", 0.01)


@pytest.fixture(scope="module", autouse=True)
def swept() -> Iterator[None]:
    """Sockets that httpcore leaves to the garbage collector are not the next module's to be blamed for."""
    yield
    sweep()
    gc.freeze()
