"""`smile-async doctor` from a shell: lines for people, one document for machines, a report for a ticket."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import Run
from street import Pictures

from smile_async.sandbox import RunningSandbox


@pytest.fixture(autouse=True)
def impatient(hasty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reviews here, so a review is not worth the wait."""
    monkeypatch.setattr("smile_async.doctor.selfie.REVIEW", 0.1)


async def test_people_read_lines(run: Run, pictures: Pictures) -> None:
    """A line a finding, with its state and its cure; nothing failed, so the exit code is 0.

    What nobody knows of the provider is counted, and told line by line to those who ask with --selfie.
    """
    ran = await run("doctor")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert any("ok" in line and "setting partner_id: 001, from SMILE_PARTNER_ID" in line for line in lines)
    assert any("key: accepted" in line and " s  ok" in line for line in lines)
    assert "still unknown" not in ran.out
    assert "still unknown" in ran.err
    assert "--selfie PICTURE asks" in ran.err
    ran = await run("doctor", "--selfie", pictures.selfie_path, "--patience", "5")
    lines = ran.out.splitlines()
    assert any("still unknown" in line and "→ mount a CallbackReceiver" in line for line in lines)
    assert "--selfie PICTURE asks" not in ran.err


async def test_machines_read_one_document(
    run: Run, account: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """--json prints what --save writes, for its owner alone; jobs are made only with --selfie."""
    saved = tmp_path / "report.json"
    ran = await run("doctor", "--json", "--save", str(saved))
    assert (ran.code, ran.document["failed"], ran.document["api"]) == (0, False, "v1")
    assert json.loads(saved.read_text()) == ran.document
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert not account.sandbox.jobs
    ran = await run("doctor", "--json", "--selfie", pictures.selfie_path, "--patience", "5")
    assert ran.code == 0
    assert account.sandbox.jobs
    assert any("export SMILE_UPLOAD_HOSTS=" in finding["cure"] for finding in ran.document["findings"])


async def test_a_failure_has_its_exit_code(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """3 for what is wrong, with the report written all the same; 4 for jobs that may be billed."""
    saved = tmp_path / "report.json"
    monkeypatch.setenv("SMILE_PARTNER_ID", "002")
    ran = await run("doctor", "--save", str(saved))
    assert ran.code == 3
    assert "failure" in ran.out
    assert json.loads(saved.read_text())["failed"] is True
    monkeypatch.setenv("SMILE_BASE_URL", "https://smile.company.example/v1")
    ran = await run("doctor", "--selfie", "face.jpg")
    assert ran.code == 4
    assert "--production" in ran.err


async def test_v3(run: Run, account: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API is chosen by an option or a variable; a base URL of the other API is a finding."""
    ran = await run("doctor", "--json", "--api", "v3")
    assert (ran.code, ran.document["api"], ran.document["findings"][0]["name"]) == (3, "v3", "settings")
    assert "does not end in /v3" in ran.document["findings"][0]["text"]
    monkeypatch.setenv("SMILE_BASE_URL", account.base_url_v3)
    ran = await run("doctor", "--json", "--api", "v3")
    assert (ran.code, ran.document["api"]) == (0, "v3")
    monkeypatch.setenv("SMILE_API", "v3")
    ran = await run("doctor")
    assert ran.code == 0
    assert "setting api: v3, from SMILE_API" in ran.out


async def test_ctrl_c_leaves_at_once(tmp_path: Path) -> None:
    """Interrupted while a server is silent, it waits for nothing, ends with 130, and saves what was found so far."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"https://127.0.0.1:{mute.getsockname()[1]}/v1"
        env = {**os.environ, "SMILE_PARTNER_ID": "001", "SMILE_API_KEY": "a-key", "SMILE_BASE_URL": url}
        saved = tmp_path / "report.json"
        command = (sys.executable, "-m", "smile_async", "doctor", "--save", str(saved))
        child = await asyncio.create_subprocess_exec(*command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert child.stdout is not None
        async with asyncio.timeout(60):
            while b"tcp API" not in await child.stdout.readline():
                pass
        child.send_signal(signal.SIGINT)
        await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == 130
    # Had it waited for the handshake, it would have noted that nobody answers.
    assert [found["name"] for found in json.loads(saved.read_text())["findings"]][-2:] == ["dns API", "tcp API"]


async def test_an_unknown_api(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that names no API is a finding."""
    monkeypatch.setenv("SMILE_API", "v2")
    ran = await run("doctor")
    assert ran.code == 3
    assert "SMILE_API is 'v2'" in ran.out
