"""The command line against a sandbox of the test's own."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cli_support import Ran, Run, export

from smile_async.cli import main
from smile_async.sandbox import RunningSandbox


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command's event loop in a thread of its own.

    On Python 3.11 coverage loses track of the frames below an event loop in which generators were resumed.
    """
    run = asyncio.run

    def run_elsewhere(main: Coroutine[Any, Any, Any]) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(run, main).result()

    monkeypatch.setattr(asyncio, "run", run_elsewhere)


@pytest.fixture
def account(running: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> RunningSandbox:
    """A sandbox whose variables are exported."""
    export(monkeypatch, running.partner_id, running.api_key, running.base_url, running.ca_file)
    return running


@pytest.fixture
def run(account: RunningSandbox, elsewhere: None, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in a thread, as it brings its own event loop; no output may show the key."""

    async def run(*arguments: str) -> Ran:
        code = await asyncio.to_thread(main, arguments)
        ran = Ran(code, *capsys.readouterr())
        assert account.api_key not in ran.out + ran.err
        return ran

    return run
