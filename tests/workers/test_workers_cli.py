"""`batch run` and `worker` over PostgreSQL as they are typed, and ledgers of the version before chunks."""

import asyncio
import json
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest
from batch_support import command, ledger_of_version_1, write_csv
from crash_support import python
from postgres import Postgres
from street import Pictures
from workers_support import fresh, planned, registrations

from smile_async.batch import job_id_of
from smile_async.cli import main
from smile_async.errors import BadConfiguration, LedgerFailed
from smile_async.ledger import Ledger
from smile_async.ledger.batches import Batches
from smile_async.sandbox import RunningSandbox
from smile_async.workers import Queue


@pytest.fixture
def manifest(tmp_path: Path, pictures: Pictures) -> Path:
    """Thirty registrations."""
    rows = [{"user_id": f"u{n}", "selfie": pictures.selfie_path, "job_type": 4} for n in range(30)]
    return write_csv(tmp_path / "m.csv", [{**row, "param.sandbox_result": 0} for row in rows])


async def test_a_batch_from_enqueue_to_report(
    server: Postgres,
    running: RunningSandbox,
    manifest: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """--enqueue leaves the work to a worker, which ends when nothing is left; status, report and resume see it."""
    url, out = fresh(server), manifest.parent / "out.jsonl"
    tell = (running, capsys, monkeypatch)
    code, said, _ = await command(*tell, "run", manifest, "--ledger", url, "--out", out, "--enqueue", "--chunk", 10)
    assert (code, said["pending"], said["read_whole"], out.exists()) == (2, 30, True, False)
    assert not running.sandbox.jobs
    worked = await asyncio.to_thread(main, ["worker", "--ledger", url, "--until-empty", "--json"])
    shift = capsys.readouterr()
    assert (worked, json.loads(shift.out)["chunks"]) == (0, {"done": 3})
    assert json.loads(shift.out)["decisions"] == {"approved": 30}
    assert "30 rows" in shift.err
    code, said, _ = await command(*tell, "status", "--ledger", url)
    assert (code, said["done"]) == (0, 30)
    page = manifest.parent / "r.html"
    assert (await command(*tell, "report", "--ledger", url, "--out", page))[0] == 0
    code, said, _ = await command(*tell, "resume", "--ledger", url)
    assert (code, said["done"], len(running.sandbox.jobs)) == (0, 30, 30)
    assert len(out.read_text().splitlines()) == 30


async def job_types(url: str) -> list[int]:
    """The job type of each row of the batch `people`, as it is on record."""
    async with Ledger(url, read_only=True) as ledger:
        return [row["job_type"] async for row in Batches(ledger).rows("people")]


async def test_a_job_type_that_comes_too_late(
    server: Postgres,
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until a worker has sent a row, planning it again may change its job type; afterwards that changes nothing."""
    url = fresh(server)
    people = write_csv(tmp_path / "people.csv", [{"user_id": "u0", "selfie": pictures.selfie_path}])
    enqueue = (running, capsys, monkeypatch, "run", people, "--ledger", url, "--enqueue")
    assert (await command(*enqueue))[0] == 2
    assert (await command(*enqueue, "--register"))[0] == 2
    assert await job_types(url) == [4]
    assert await asyncio.to_thread(main, ["worker", "--ledger", url, "--until-empty"]) == 0
    assert [int(job.job_type) for job in running.sandbox.jobs.values()] == [4]
    code, said, _ = await command(*enqueue)
    assert (code, "people was sent with --register" in said["message"]) == (4, True)
    assert await job_types(url) == [4]
    assert (await command(running, capsys, monkeypatch, "status", "--ledger", url))[0] == 0


@pytest.mark.parametrize("options", [("--rate", "0"), ("--patience", "inf"), ("--drain", "inf")])
async def test_options_that_no_worker_could_follow(
    server: Postgres,
    running: RunningSandbox,
    manifest: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, str],
) -> None:
    """A rate of 0 or an endless time is refused by name, and nothing is written down for workers; so is their own."""
    url = fresh(server)
    tell = (running, capsys, monkeypatch)
    code, said, _ = await command(*tell, "run", manifest, "--ledger", url, "--enqueue", *options)
    assert (code, options[0] in said["message"]) == (4, True)
    async with Ledger(url) as ledger:
        assert await Batches(ledger).names() == []
    assert await asyncio.to_thread(main, ["worker", "--ledger", url, "--lease", "inf"]) == 4
    assert "--lease" in capsys.readouterr().err


async def test_a_run_that_works_alone(
    server: Postgres,
    running: RunningSandbox,
    manifest: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without any worker `batch run` brings its batch to the end; what failed is sent once more by `retry-failed`."""
    url = fresh(server)
    tell = (running, capsys, monkeypatch)
    lost = job_id_of("m", "u7")
    running.sandbox.fault("upload", status=400, body={"code": "2413", "error": "no"}, times=None, job_id=lost)
    code, said, _ = await command(*tell, "run", manifest, "--ledger", url)
    assert (code, said["done"], said["failed"]) == (3, 29, 1)
    running.sandbox.mend()
    code, said, _ = await command(*tell, "retry-failed", "--ledger", url)
    assert (code, said["done"], len(running.sandbox.jobs)) == (0, 30, 30)


async def test_a_second_run_of_a_batch_is_refused(
    server: Postgres,
    running: RunningSandbox,
    manifest: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While one process runs a batch, another one is told so; other batches of the ledger may run meanwhile."""
    url = fresh(server)
    tell = (running, capsys, monkeypatch)
    async with Ledger(url) as ledger, Batches(ledger).alone("m"):
        code, said, _ = await command(*tell, "run", manifest, "--ledger", url, "--enqueue")
        assert (code, said["error"]) == (3, "LedgerFailed")
        assert "being run by another process" in said["message"]
        assert (await command(*tell, "run", manifest, "--ledger", url, "--enqueue", "--name", "n"))[0] == 2
    assert (await command(*tell, "run", manifest, "--ledger", url, "--enqueue", "--name", "m"))[0] == 2


async def test_what_needs_a_server_says_so(
    running: RunningSandbox,
    manifest: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers and --enqueue want a postgresql:// ledger; a server that is away is named without its password."""
    tell = (running, capsys, monkeypatch)
    code, said, _ = await command(*tell, "run", manifest, "--enqueue")
    assert (code, "give --ledger postgresql://" in said["message"]) == (4, True)
    assert await asyncio.to_thread(main, ["worker", "--ledger", str(manifest.parent / "l")]) == 4
    assert "give --ledger postgresql://" in capsys.readouterr().err
    away = "postgresql://smile:pass-canary@127.0.0.1:1/postgres"
    assert await asyncio.to_thread(main, ["worker", "--ledger", away]) == 3
    code, said, told = await command(*tell, "run", manifest, "--ledger", away)
    assert code == 3
    assert "canary" not in json.dumps(said) + told + repr(Queue(Ledger(away))) + capsys.readouterr().err


async def test_a_queue_that_is_away_is_told_without_its_password() -> None:
    """The queue's own errors and repr name the server and not its password."""
    queue = Queue(Ledger("postgresql://smile:pass-canary@127.0.0.1:1/postgres"))
    with pytest.raises(LedgerFailed) as caught:
        await queue.__aenter__()
    assert "canary" not in str(caught.value) + repr(queue)
    assert caught.value.__cause__ is None


async def test_ctrl_c_ends_a_worker(server: Postgres, running: RunningSandbox, pictures: Pictures) -> None:
    """SIGTERM ends a worker process with exit code 0 and its shift on standard output."""
    url = fresh(server)
    async with Ledger(url) as ledger:
        await planned(ledger, registrations(pictures, 1))
    child = await asyncio.create_subprocess_exec(
        *(*python(), "-m", "smile_async.cli", "worker", "--ledger", url, "--json"),
        env={
            **os.environ,
            "SMILE_PARTNER_ID": running.partner_id,
            "SMILE_API_KEY": running.api_key,
            "SMILE_BASE_URL": running.base_url,
            "SMILE_CA_FILE": str(running.ca_file),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stderr is not None
    assert (
        await asyncio.wait_for(child.stderr.readline(), 20)
        == f"{running.base_url.split('/')[2]}, partner 001\n".encode()
    )
    assert b"chunk 1 of batch b: done" in await asyncio.wait_for(child.stderr.readline(), 20)
    child.send_signal(signal.SIGTERM)
    said, told = await asyncio.wait_for(child.communicate(), 20)
    assert (child.returncode, json.loads(said)["rows"]) == (0, 1)
    assert b"stopping" in told


# Ledgers from before.


async def known(where: str | Path) -> list[dict[str, Any]]:
    """The job of the old ledger, as this version reads it."""
    async with Ledger(where) as ledger:
        batches = Batches(ledger)
        assert await batches.start("b", {}) == 1
        async with ledger.reading() as connection:
            found = await connection.exec_driver_sql("SELECT job_id, created_at, chunk FROM smile_jobs")
            return [dict(row) for row in found.mappings()]


async def test_a_file_of_version_1(tmp_path: Path) -> None:
    """A SQLite ledger from before chunks keeps its jobs; reading alone does not change it."""
    with sqlite3.connect(tmp_path / "l") as old:
        for statement in ledger_of_version_1():
            old.execute(statement)
    old.close()
    with pytest.raises(BadConfiguration, match="version 1, this library 3: run the batch"):
        await Ledger(tmp_path / "l", read_only=True).open()
    assert await known(tmp_path / "l") == [{"job_id": "j1", "created_at": 7.5, "chunk": None}]
    async with Ledger(tmp_path / "l", read_only=True) as ledger:
        assert await Batches(ledger).names() == ["b"]


async def test_a_database_of_version_1(server: Postgres, pictures: Pictures) -> None:
    """The same on PostgreSQL, by two processes at once; then workers can share it."""
    url = fresh(server)
    with psycopg.connect(url) as old:
        for statement in ledger_of_version_1("BIGSERIAL"):
            old.execute(statement)  # type: ignore[arg-type]
    async with Ledger(url), Ledger(url):
        pass
    assert await known(url) == [{"job_id": "j1", "created_at": 7.5, "chunk": None}]
    async with Ledger(url) as ledger:
        assert len(await planned(ledger, registrations(pictures, 3), name="c")) == 1


async def test_two_processes_make_the_same_ledger(server: Postgres) -> None:
    """A new database that several machines open at the same moment becomes one ledger and one queue."""
    url = fresh(server)
    ledgers = [Ledger(url) for _ in range(4)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))
    await asyncio.gather(*(ledger.join("partner 001") for ledger in ledgers))
    queues = [Queue(ledger) for ledger in ledgers]
    await asyncio.gather(*(queue.__aenter__() for queue in queues))
    for queue, ledger in zip(queues, ledgers, strict=True):
        await queue.__aexit__(None, None, None)
        await ledger.aclose()
