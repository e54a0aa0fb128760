"""Batches from the manifest to the result file: every bad row is named, and no run does anything twice."""

import asyncio
import contextlib
import csv
import json
import os
import signal
import sqlite3
import stat
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from batch_support import command, ledger_at, write_csv
from crash_support import python
from scripted import ScriptedSmile, cut, say
from street import Pictures, session_of, until

from smile_async import Job, Pace, SmileSession
from smile_async.batch import Flaw, Planner, Row, Run, chunk_run, job_id_of, job_of, render
from smile_async.batch.dry_run import check
from smile_async.batch.orders import Orders
from smile_async.batch.worker import Worker
from smile_async.cli.demo import neighbour
from smile_async.cli.standing import SHOWN, Standing, show_end
from smile_async.errors import BadConfiguration, LeaseLost, LedgerFailed, NotAuthorized, SessionClosed, Unavailable
from smile_async.jobs.ticket import Ticket
from smile_async.ledger import Ledger
from smile_async.ledger.batches import Batches
from smile_async.ledger.schema import chunks
from smile_async.limits import Limits
from smile_async.protocol.steps import Reach
from smile_async.sandbox import RunningSandbox
from smile_async.timing.clock import Event, SystemClock


def rows_of(pictures: Pictures, number: int, **more: object) -> list[dict[str, object]]:
    """So many registrations with one and the same picture."""
    return [{"user_id": f"u{n}", "selfie": pictures.selfie_path, "job_type": 4, **more} for n in range(number)]


def lines_of(path: Path) -> list[dict[str, Any]]:
    """A result of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def files_in(folder: Path) -> set[str]:
    """The names of everything there."""
    return {path.name for path in folder.iterdir()}


def test_a_job_id_is_the_same_for_ever() -> None:
    """The job_id of a row depends on batch and key alone: this figure must not change with a new version."""
    assert job_id_of("campaign", "ada") == "91c2156f-d6a8-5af1-b9fe-066e5603631f"
    assert job_id_of("campaign", "ada") != job_id_of("campaig", "nada")


# A run, from the command line.


async def test_a_batch_to_its_end(
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every row gets one line in every format of the result, all private; a second run submits nothing."""
    rows = rows_of(pictures, 9)
    for number, row in enumerate(rows):
        row["param.sandbox_result"] = number % 2
    manifest = write_csv(tmp_path / "m.csv", rows)
    out = tmp_path / "out.jsonl"
    code, said, _ = await command(running, capsys, monkeypatch, "run", manifest, "--out", out)
    assert (code, said["rows"], said["done"], said["pending"], said["failed"]) == (0, 9, 9, 0, 0)
    assert said["decisions"] == {"approved": 5, "rejected": 4}
    lines = lines_of(out)
    assert [line["user_id"] for line in lines] == [f"u{n}" for n in range(9)]
    assert {line["job_id"] for line in lines} == set(running.sandbox.jobs)
    assert all({"user_id", "job_id", "decision", "code", "final"} <= line.keys() for line in lines)
    table, page = tmp_path / "out.csv", tmp_path / "out.parquet"
    for again in (table, page):
        assert (await command(running, capsys, monkeypatch, "run", manifest, "--out", again))[0] == 0
    assert all(job.submissions == 1 and not job.refusals for job in running.sandbox.jobs.values())
    with table.open(newline="") as file:
        assert [line["decision"] for line in csv.DictReader(file)] == [line["decision"] for line in lines]
    parquet = pytest.importorskip("pyarrow.parquet")
    assert parquet.read_table(page).to_pylist() == lines
    assert {stat.S_IMODE(path.stat().st_mode) for path in (out, table, page)} == {0o600}
    code, said, _ = await command(running, capsys, monkeypatch, "status", "--ledger", f"{manifest}.ledger")
    assert (code, said["done"], said["read_whole"]) == (0, 9, True)


async def test_a_run_cut_off_before_it_read_all_rows_is_not_done(
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the latest run has not come to the manifest's end, `batch status` says so and ends with 2, not with 0."""
    manifest = write_csv(tmp_path / "m.csv", rows_of(pictures, 2))
    ledger = f"{manifest}.ledger"
    assert (await command(running, capsys, monkeypatch, "run", manifest))[0] == 0
    async with ledger_at(Path(ledger)) as opened:
        await Batches(opened).start("m", {})
    code, said, told = await command(running, capsys, monkeypatch, "status", "--ledger", ledger)
    assert (code, said["done"], said["pending"], said["read_whole"]) == (2, 2, 0, False)
    assert "not read to its end" in told
    assert (await command(running, capsys, monkeypatch, "run", manifest))[0] == 0
    assert (await command(running, capsys, monkeypatch, "status", "--ledger", ledger))[0] == 0


async def test_bad_rows_are_named_and_the_rest_goes_on(
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A doubled key names both lines, a missing file fails its row, an id that no job can have too; others finish."""
    rows = [*rows_of(pictures, 3), *rows_of(pictures, 1)]
    rows.append({**rows[0], "user_id": "gone", "selfie": "missing.jpg"})
    rows.append({**rows[0], "user_id": "x" * 300})
    manifest = write_csv(tmp_path / "m.csv", rows)
    code, said, _ = await command(running, capsys, monkeypatch, "run", manifest, "--dry-run")
    assert code == 4
    assert [problem["line"] for problem in said["problems"]] == [5, 6, 7]
    assert not running.sandbox.jobs
    out = tmp_path / "o.jsonl"
    code, said, told = await command(running, capsys, monkeypatch, "run", manifest, "--out", out)
    assert (code, said["done"], said["failed"]) == (4, 3, 2)
    assert said["problems"] == [
        {"line": 5, "why": "key 'u0' is there twice, in lines 2 and 5: give each row its own key"}
    ]
    assert "line 5" in told
    status, asked, told = await command(running, capsys, monkeypatch, "status", "--ledger", f"{manifest}.ledger")
    assert (status, asked) == (code, said)
    assert "line 5" in told
    failed = {line["user_id"][:4]: line["error_text"] for line in lines_of(out) if line["error"]}
    assert "missing.jpg" in failed["gone"]
    assert "300 characters" in failed["xxxx"]


async def test_failures_are_tried_again_on_request(
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows that failed for good stay failed in another run, and retry-failed finishes them once the cause is gone."""
    picture = tmp_path / "late.jpg"
    manifest = write_csv(tmp_path / "m.csv", [*rows_of(pictures, 1), {**rows_of(pictures, 2)[1], "selfie": picture}])
    ledger = f"{manifest}.ledger"
    assert (await command(running, capsys, monkeypatch, "run", manifest))[0] == 3
    picture.write_bytes(pictures.other)
    code, said, _ = await command(running, capsys, monkeypatch, "resume", "--ledger", ledger)
    assert (code, said["failed"]) == (3, 1)
    code, said, _ = await command(running, capsys, monkeypatch, "retry-failed", "--ledger", ledger)
    assert (code, said["done"]) == (0, 2)


async def test_a_manifest_that_changed(
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another picture under a used key is refused with both hashes, the same one elsewhere is not; fewer rows warn."""
    picture = tmp_path / "p.jpg"
    picture.write_bytes(pictures.selfie)
    rows = [{**row, "selfie": picture} for row in rows_of(pictures, 3)]
    manifest = write_csv(tmp_path / "m.csv", rows)
    assert (await command(running, capsys, monkeypatch, "run", manifest))[0] == 0
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(pictures.selfie)
    write_csv(manifest, [{**rows[0], "selfie": copy}, rows[1]])
    code, said, told = await command(running, capsys, monkeypatch, "run", manifest)
    assert (code, said["gone"]) == (0, 1)
    assert "shrunk" in told
    picture.write_bytes(pictures.other)
    code, said, _ = await command(running, capsys, monkeypatch, "run", manifest)
    assert code == 4
    (problem,) = said["problems"]
    assert problem["line"] == 3
    assert (
        len(set(problem["why"].split()) & {word for word in problem["why"].split() if len(word.strip(")")) >= 64}) == 2
    )
    picture.unlink()
    assert (await command(running, capsys, monkeypatch, "run", manifest))[0] == 0
    write_csv(manifest, [{**rows[1], "user_id": "other", "key": "u1"}])
    code, said, _ = await command(running, capsys, monkeypatch, "run", manifest)
    assert "stands for user u1" in said["problems"][0]["why"]
    assert len(running.sandbox.jobs) == 3


async def test_a_register_that_was_forgotten(
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows sent with --register are not asked for without it, nor the other way round: nothing of the batch changes."""
    people, ledger = tmp_path / "people.csv", tmp_path / "people.csv.ledger"
    rows: list[dict[str, object]] = [{"user_id": f"u{n}", "selfie": pictures.selfie_path} for n in range(2)]
    write_csv(people, rows)
    tell = (running, capsys, monkeypatch)
    assert (await command(*tell, "run", people, "--register"))[0] == 0
    before = await command(*tell, "status", "--ledger", ledger)
    code, said, _ = await command(*tell, "run", people)
    why = "batch people was sent with --register (line 2: user u0, job type 4): give it again; nothing was changed"
    assert (code, said["error"], said["message"]) == (4, "BadConfiguration", why)
    assert await command(*tell, "status", "--ledger", ledger) == before
    assert (await command(*tell, "resume", "--ledger", ledger))[0] == 0
    write_csv(people, [{**row, "key": f"login-{row['user_id']}"} for row in rows])
    assert (await command(*tell, "run", people))[0] == 0
    code, said, _ = await command(*tell, "run", people, "--register")
    assert (code, "sent without --register" in said["message"]) == (4, True)
    write_csv(people, rows)
    assert (await command(*tell, "run", people, "--name", "logins"))[0] == 0
    assert Counter(int(job.job_type) for job in running.sandbox.jobs.values()) == {4: 2, 2: 4}


@pytest.mark.parametrize(
    "options",
    [
        ("--rate", "0"),
        ("--rate", "-1"),
        ("--rate", "nan"),
        ("--patience", "inf"),
        ("--patience", "-1"),
        ("--drain", "nan"),
    ],
)
async def test_options_that_nobody_could_follow(
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, str],
) -> None:
    """A rate or a time that is none is refused by name before anything is written."""
    manifest = write_csv(tmp_path / "m.csv", rows_of(pictures, 1))
    code, said, _ = await command(running, capsys, monkeypatch, "run", manifest, *options)
    assert (code, options[0] in said["message"]) == (4, True)
    assert files_in(tmp_path) == {"m.csv"}


async def test_options_of_an_older_version(
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A ledger that was told a rate of 0 and an endless patience, which is JSON's null, can be resumed."""
    manifest = write_csv(tmp_path / "m.csv", rows_of(pictures, 2))
    told = {"manifest": str(manifest), "out": None, "job_type": 2, "until": "decision"}
    async with ledger_at(tmp_path / "l") as ledger:
        await Batches(ledger).start("m", {**told, "patience": float("inf"), "rate": 0.0, "drain": float("inf")})
    code, said, _ = await command(running, capsys, monkeypatch, "resume", "--ledger", tmp_path / "l")
    assert (code, said["done"]) == (0, 2)


async def test_a_run_that_never_began_is_not_the_latest(
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A manifest that is not there or has no columns, or an account that is none, leaves batch and folder as it was."""
    manifest, none, bad = (
        write_csv(tmp_path / "m.csv", rows_of(pictures, 2)),
        tmp_path / "none.csv",
        tmp_path / "bad.csv",
    )
    bad.write_text("hair\nred\n")
    tell = (running, capsys, monkeypatch)
    assert (await command(*tell, "run", manifest))[0] == 0
    before, ledger = files_in(tmp_path), f"{manifest}.ledger"
    for refused in (("run", none), ("run", bad), ("run", none, "--ledger", ledger), ("run", bad, "--ledger", ledger)):
        assert (await command(*tell, *refused))[0] == 4
    assert (await command(*tell, "run", manifest, "--http", "carrier pigeon"))[0] == 4
    assert files_in(tmp_path) == before
    code, said, _ = await command(*tell, "status", "--ledger", ledger)
    assert (code, said["done"], said["read_whole"]) == (0, 2, True)
    assert (await command(*tell, "resume", "--ledger", ledger))[0] == 0


async def test_a_row_for_a_job_that_a_program_sent(
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A row that names a job of the ledger which no manifest sent has its verdict, but only for the same picture."""
    ledger = tmp_path / "l"
    async with session_of(running, ledger=ledger) as session:
        assert (await session.verify(Job.register("grace", pictures.selfie_path, job_id="j1"))).approved
    other = tmp_path / "other.jpg"
    other.write_bytes(pictures.other)
    for selfie, code in ((other, 4), (pictures.selfie_path, 0)):
        row = {"user_id": "grace", "selfie": selfie, "job_type": 4, "job_id": "j1"}
        manifest = write_csv(tmp_path / "m.csv", [row])
        found = await command(running, capsys, monkeypatch, "run", manifest, "--ledger", ledger)
        assert (found[0], len(found[1]["problems"])) == (code, code // 4)
    assert running.sandbox.count("j1") == 1


async def test_a_batch_that_was_sent_before(
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without its old ledger a batch fails with JobExists and is told what helps, which then does; resume is not it."""
    manifest = write_csv(tmp_path / "m.csv", [{"user_id": "ada", "selfie": pictures.selfie_path}])
    tell = (running, capsys, monkeypatch)
    assert (await command(*tell, "run", manifest))[0] == 0
    fresh = ("--ledger", tmp_path / "fresh")
    code, said, told = await command(*tell, "run", manifest, *fresh)
    assert (code, said["failed"]) == (3, 1)
    assert "1 failed rows have job_ids that were used before" in told
    assert "give the rows a key or job_id of their own, or the batch a new --name, which sends every row anew" in told
    assert "resume" not in told
    write_csv(manifest, [{"user_id": user, "selfie": pictures.selfie_path} for user in ("ada", "u" * 300)])
    code, said, told = await command(*tell, "run", manifest, *fresh)
    assert (code, said["failed"]) == (3, 2)
    assert "1 failed rows" in told
    assert "retry-failed" in told
    write_csv(manifest, [{"user_id": "ada", "key": "ada in may", "selfie": pictures.selfie_path}])
    code, said, told = await command(*tell, "run", manifest, *fresh)
    assert (said["done"], said["gone"]) == (1, 2)
    assert "job_ids that were used before" not in told
    write_csv(manifest, [{"user_id": "ada", "selfie": pictures.selfie_path}])
    assert (await command(*tell, "run", manifest, *fresh, "--name", "may"))[0] == 0


async def test_provisional_rows_are_pending_until_somebody_decides(
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A job under review is pending (2), costs a later run one question, and is done when the reviewer has spoken."""
    rows = rows_of(pictures, 2, **{"param.sandbox_result": 2})
    manifest = write_csv(tmp_path / "m.jsonl.csv", rows)
    code, said, _ = await command(
        running, capsys, monkeypatch, "run", manifest, "--ledger", tmp_path / "l", "--name", "x"
    )
    assert (code, said["batch"], said["pending"], said["decisions"]) == (2, "x", 2, {"provisional": 2})
    code, said, _ = await command(running, capsys, monkeypatch, "resume", "--ledger", tmp_path / "l")
    assert (code, said["pending"]) == (2, 2)
    for job_id in running.sandbox.jobs:
        running.sandbox.review(job_id, "approve")
    code, said, _ = await command(running, capsys, monkeypatch, "resume", "--ledger", tmp_path / "l")
    assert (code, said["decisions"]) == (0, {"approved": 2})
    assert all(job.uploads == 1 for job in running.sandbox.jobs.values())


async def test_commands_that_can_not_be_followed(
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No ledger, an unknown batch, an age that is none: each ends with 4 and a reason, and leaves no file behind."""
    manifest = write_csv(tmp_path / "m.csv", rows_of(pictures, 1))
    nowhere = ("--ledger", tmp_path / "none")
    before = [(path, path.stat().st_mode) for path in tmp_path.iterdir()]  # noqa: ASYNC240
    for arguments in (
        ("resume", *nowhere),
        ("retry-failed", *nowhere),
        ("status", *nowhere),
        ("report", *nowhere, "--out", tmp_path / "r.html"),
        ("purge", *nowhere, "--older-than", "1d"),
        ("erase", *nowhere, "--user-id", "u0"),
        ("run", tmp_path / "none.csv"),
        ("run", manifest, "--ledger", "mysql://x/y"),
        ("run", manifest, "--ca-file", manifest),
        ("run", manifest, "--base-url", "https://shop.example"),
        ("run", manifest, "--ledger", manifest),
    ):
        assert (await command(running, capsys, monkeypatch, *arguments))[0] == 4
    assert [(path, path.stat().st_mode) for path in tmp_path.iterdir()] == before  # noqa: ASYNC240
    assert (await command(running, capsys, monkeypatch, "run", manifest))[0] == 0
    ledger = f"{manifest}.ledger"
    assert (await command(running, capsys, monkeypatch, "status", "--ledger", ledger, "--name", "other"))[0] == 4
    assert (await command(running, capsys, monkeypatch, "purge", "--ledger", ledger, "--older-than", "soon"))[0] == 4
    code, said, _ = await command(running, capsys, monkeypatch, "purge", "--ledger", ledger, "--older-than", "1d")
    assert (code, said["erased"]) == (0, 0)
    code, said, _ = await command(running, capsys, monkeypatch, "erase", "--ledger", ledger, "--user-id", "u0")
    assert (code, said["erased"]) == (0, 1)


async def test_ctrl_c_once_drains_and_twice_leaves(pictures: Pictures, tmp_path: Path) -> None:
    """The first Ctrl-C ends a run as pending with its result written, the second at once; both are resumed."""
    rows = [{**row, "param.sandbox_result": 2} for row in rows_of(pictures, 300)]
    manifest = write_csv(tmp_path / "m.csv", rows)
    arguments = ("batch", "run", str(manifest), "--out", str(tmp_path / "o.jsonl"), "--rate", "20")
    async with neighbour(5.0) as found:
        for signals, drain in ((1, "0.2"), (2, "60")):
            child = await asyncio.create_subprocess_exec(
                *(*python(), "-m", "smile_async.cli", *arguments, "--drain", drain, "--json"),
                env={**os.environ, **found},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            await until(Path(f"{manifest}.ledger-wal").exists, patience=20)
            await asyncio.sleep(1.2)
            for _ in range(signals):
                child.send_signal(signal.SIGINT)
                await asyncio.sleep(0.3)
            said, told = await asyncio.wait_for(child.communicate(), 15)
            assert child.returncode == 2, told
            if signals == 1:
                assert not json.loads(said)["read_whole"] or json.loads(said)["pending"]
    assert b"stopping" in told
    async with ledger_at(Path(f"{manifest}.ledger")) as ledger:
        assert sum((await Batches(ledger).counts("m")).values()) == 300


# A run, from within.


async def run_of(ledger: Ledger, session: Any, rows: list[Row | Flaw], **told: Any) -> Run:
    """A run over *rows*, to its end."""
    number = await Batches(ledger).start("b", told)
    run = Run(session, ledger, Planner(ledger, "b", number))
    await run.go(iter(rows))
    with contextlib.suppress(LedgerFailed):
        await ledger.flush()
    return run


def many(pictures: Pictures, number: int) -> list[Row | Flaw]:
    """So many authentications of ada."""
    return [Row(n, f"u{n}", "ada", pictures.selfie_path) for n in range(number)]


async def test_an_outage_ends_a_run_instead_of_failing_every_row(
    smile: ScriptedSmile, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When job after job finds nobody, the run stops taking rows, and another run finishes what it left."""
    monkeypatch.setattr("smile_async.batch.chunk_run.OUTAGE_JOBS", 16)
    smile.fault("upload", cut(), always=True)
    async with ledger_at(tmp_path / "l") as ledger:
        async with session_of(smile, ledger=ledger, limits=Limits(uploads=16)) as session:
            run = await run_of(ledger, session, many(pictures, 48))
        assert isinstance(run.trouble, Unavailable)
        assert not run.tally.whole or run.tally.failed < 48
        smile._always.clear()
        async with session_of(smile, ledger=ledger) as session:
            run = await run_of(ledger, session, many(pictures, 48))
        assert run.trouble is None
        assert await Batches(ledger).counts("b") == {"final": 48}


async def test_an_outage_is_not_written_down_as_failures(
    smile: ScriptedSmile,
    pictures: Pictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One job that waited in vain for the end of an outage ends the run: no row has failed, the next run goes on."""
    monkeypatch.setattr("smile_async.traffic.stream.SUBMIT_SECONDS", 1.0)
    smile.fault("upload", say(502), always=True)

    async def insist(session: SmileSession) -> None:
        while True:
            with contextlib.suppress(Unavailable):
                await session.verify(pictures.job())

    async with ledger_at(tmp_path / "l") as ledger:
        async with session_of(smile, ledger=ledger) as session, anyio.create_task_group() as others:
            for _ in range(8):
                others.start_soon(insist, session)
            await until(lambda: " is away " in caplog.text)
            run = await run_of(ledger, session, many(pictures, 100), patience=1.0)
            others.cancel_scope.cancel()
        assert "an outage of smile id" in str(run.trouble)
        assert "failed" not in await Batches(ledger).counts("b")
        assert len(smile.asked["upload"]) < 60
        smile._always.clear()
        async with session_of(smile, ledger=ledger) as session:
            run = await run_of(ledger, session, many(pictures, 100))
        assert run.trouble is None
        assert await Batches(ledger).counts("b") == {"final": 100}


async def test_a_wrong_key_ends_a_run(smile: ScriptedSmile, pictures: Pictures, tmp_path: Path) -> None:
    """An account that is refused would be refused for every row: the first refusal ends the run."""
    smile.fault("upload", say(401, {"code": "2205", "error": "no"}), always=True)
    async with ledger_at(tmp_path / "l") as ledger, session_of(smile, ledger=ledger) as session:
        run = await run_of(ledger, session, many(pictures, 2000))
    assert isinstance(run.trouble, NotAuthorized)
    assert run.tally.failed < 100


async def test_a_signal_may_stop_a_run(running: RunningSandbox, pictures: Pictures, tmp_path: Path) -> None:
    """`stop` may be called where there is no task, as a signal's handler is: it raises nothing, the run ends."""
    rows: list[Row | Flaw] = [Row(n, f"u{n}", f"u{n}", pictures.selfie_path, job_type=4) for n in range(3)]
    for number in range(3):
        running.sandbox.script(f"u{number}", code="0840", after=3600.0)
    async with ledger_at(tmp_path / "l") as ledger, session_of(running, ledger=ledger) as session:
        number = await Batches(ledger).start("b", {})
        run = Run(session, ledger, Planner(ledger, "b", number), drain=0.1)
        task = asyncio.create_task(run.go(iter(rows)))
        await until(lambda: session.stats.submitted == 3)
        stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def asked_to_stop() -> None:
            try:
                stopped.set_result(run.stop())
            except Exception as error:  # noqa: BLE001 - told to the test
                stopped.set_exception(error)

        asyncio.get_running_loop().call_soon(asked_to_stop)
        await stopped
        await asyncio.wait_for(task, 20)
        assert run.tally.pending == 3


class Failing(SystemClock):
    """A clock that fails the poller, once it is told to."""

    failing = False

    async def wait(self, event: Event, timeout: float | None) -> bool:
        task = asyncio.current_task()
        while task is not None and task.get_name() == "smile_async poller":
            if self.failing:
                raise RuntimeError("the clock has failed")
            if await super().wait(event, 0.01 if timeout is None else min(timeout, 0.01)):
                return True
            if timeout is not None and (timeout := timeout - 0.01) <= 0:
                return False
        return await super().wait(event, timeout)


@pytest.mark.parametrize("parks", [0, 1], ids=["sent", "asked about"])
async def test_a_session_that_ends_ends_a_run(
    parks: int,
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No chunk has failed: all are given back, the run says why it has ended, and the next run finds every job."""
    monkeypatch.setattr(chunk_run, "FIRST_PARK", 0.05)
    rows: list[Row | Flaw] = [Row(n, f"u{n}", f"u{n}", pictures.selfie_path, job_type=4) for n in range(6)]
    for number in range(6):
        running.sandbox.script(f"u{number}", code="0840", after=3600.0)
    async with ledger_at(tmp_path / "l") as ledger:
        clock = Failing()
        async with session_of(running, ledger=ledger, clock=clock) as session:
            number = await Batches(ledger).start("b", {"patience": 60.0})
            run = Run(session, ledger, Planner(ledger, "b", number, chunk_jobs=2))
            assert run._worker is not None
            run._worker._shift.park_after = 0.2 if parks else 60.0
            task = asyncio.create_task(run.go(iter(rows)))
            await until(lambda: session.stats.submitted == 6)
            if parks:
                await until(lambda: run._worker.stats.chunks["parked"] >= 3)  # type: ignore[union-attr]
            clock.failing = True
            await asyncio.wait_for(task, 20)
        assert isinstance(run.trouble, SessionClosed)
        assert "please report" not in caplog.text
        async with ledger.reading() as connection:
            assert set((await connection.execute(sa.select(chunks.c.holder))).scalars()) == {None}
        for job_id in running.sandbox.jobs:
            running.sandbox.review(job_id, "0840")
        async with session_of(running, ledger=ledger) as session:
            assert (await run_of(ledger, session, rows)).trouble is None
        assert await Batches(ledger).counts("b") == {"final": 6}
    assert [job.prep_uploads for job in running.sandbox.jobs.values()] == [1] * 6


async def test_a_job_of_a_moment_ago_is_not_given_up(
    smile: ScriptedSmile, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that /job_status does not know yet when its parked chunk is looked at is waited for; an old one is not."""
    monkeypatch.setattr(chunk_run, "FIRST_PARK", 0.01)
    monkeypatch.setattr("smile_async.traffic.v1.forgetful_for", lambda _product: 3600.0)
    smile.fault("job_status", say(400, {"code": "2304", "error": "no"}), always=True)
    async with ledger_at(tmp_path / "l") as ledger, session_of(smile, ledger=ledger) as session:
        number = await Batches(ledger).start("b", {"patience": 60.0})
        run = Run(session, ledger, Planner(ledger, "b", number))
        assert run._worker is not None
        run._worker._shift.park_after = 0.05
        going = asyncio.create_task(run.go(iter(many(pictures, 1))))
        chunks_ended = run._worker.stats.chunks
        await until(lambda: chunks_ended["parked"] >= 3)
        assert await Batches(ledger).counts("b") == {"accepted": 1}
        session._driver._expected.clear()
        await going
        assert await Batches(ledger).counts("b") == {"failed": 1}
    assert len(smile.asked["put"]) == 1


async def test_a_poll_that_is_refused_fails_its_row(smile: ScriptedSmile, pictures: Pictures, tmp_path: Path) -> None:
    """A status query that fails for good is a failure of its row, and the next run asks again."""
    smile.fault("job_status", say(400, {"code": "2304", "error": "no"}), always=True)
    async with ledger_at(tmp_path / "l") as ledger:
        async with session_of(smile, ledger=ledger) as session:
            run = await run_of(ledger, session, many(pictures, 1), patience=0.5)
            assert run.tally.pending == 1
        smile.fault("job_status", say(400, {"code": "2413", "error": "no"}), always=True)
        async with session_of(smile, ledger=ledger) as session:
            run = await run_of(ledger, session, many(pictures, 1))
        assert await Batches(ledger).counts("b") == {"failed": 1}
        smile._always.clear()
        async with session_of(smile, ledger=ledger) as session:
            run = await run_of(ledger, session, many(pictures, 1))
        assert await Batches(ledger).counts("b") == {"final": 1}
    assert len(smile.asked["put"]) == 1


async def test_a_ledger_that_fills_up_ends_a_run_cleanly(
    smile: ScriptedSmile, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the ledger can not be written any more the run stops, says so, and is finished after the disk is mended."""
    async with ledger_at(tmp_path / "l") as ledger:
        async with session_of(smile, ledger=ledger) as session:

            def failing(*_: object, **__: object) -> Any:
                raise sa.exc.OperationalError("x", {}, sqlite3.OperationalError("database or disk is full"))

            with monkeypatch.context() as broken:
                broken.setattr("smile_async.ledger.ledger.commit", failing)
                number = await Batches(ledger).start("b", {})
                run = Run(session, ledger, Planner(ledger, "b", number))
                await run.go(iter(many(pictures, 100)))
            assert isinstance(run.trouble, LedgerFailed)
            again = await run_of(ledger, session, many(pictures, 100))
        assert again.trouble is None
        assert await Batches(ledger).counts("b") == {"final": 100}
    assert len(smile.asked["put"]) == 100


async def test_a_job_that_was_sent_needs_its_pictures_no_more(
    smile: ScriptedSmile, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows cut off in the PUT are asked about first: who arrived ends well without its picture, who did not waits."""
    monkeypatch.setattr(chunk_run, "FIRST_PARK", 0.01)
    picture = tmp_path / "share.jpg"
    picture.write_bytes(pictures.selfie)
    rows: list[Row | Flaw] = [Row(n, f"u{n}", f"u{n}", str(picture), job_type=4) for n in range(4)]
    arrived = [job_id_of("b", f"u{n}") for n in (0, 1)]
    async with ledger_at(tmp_path / "l") as ledger:
        async with session_of(smile, ledger=ledger) as session:
            marked = ledger.mark

            async def mark_and_die(ticket: Ticket, reach: Reach, attempt: int) -> None:
                await marked(ticket, reach, attempt)
                if ticket.job_id not in arrived:
                    raise LeaseLost("cut off")

            monkeypatch.setattr(ledger, "mark", mark_and_die)
            monkeypatch.setattr(ledger, "accepted", lambda _ticket: None)
            run = Run(session, ledger, Planner(ledger, "b", await Batches(ledger).start("b", {})))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run.go, iter(rows))
                await until(lambda: len(smile.asked["put"]) == 2 and not session.stats.in_flight, patience=45)
                tasks.cancel_scope.cancel()
        monkeypatch.undo()
        assert await Batches(ledger).counts("b") == {"sending": 4}
        picture.unlink()
        async with session_of(smile, ledger=ledger) as session:
            await run_of(ledger, session, rows)
        assert await Batches(ledger).counts("b") == {"final": 2, "failed": 2}
        picture.write_bytes(pictures.selfie)
        async with session_of(smile, ledger=ledger) as session:
            number = await Batches(ledger).start("b", {})
            await Run(session, ledger, Planner(ledger, "b", number, "all")).go(iter(rows))
        assert await Batches(ledger).counts("b") == {"final": 4}
    assert len(smile.asked["put"]) == 4


async def test_a_defect_in_one_chunk_costs_that_chunk_some_time(
    smile: ScriptedSmile,
    pictures: Pictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What the run of a chunk raises is logged, the other chunks go on, and it is driven again a little later."""
    monkeypatch.setattr("smile_async.batch.worker.AFTER_DEFECT", 0.05)
    monkeypatch.setitem(Worker.__init__.__kwdefaults__, "lease", 0.2)
    broken = ["once"]
    whole = chunk_run.ChunkRun._advance

    async def breaking(self: chunk_run.ChunkRun, rows: list[dict[str, Any]]) -> None:
        if broken and rows[0]["user_id"] == "ada":
            raise TypeError(broken.pop())
        await whole(self, rows)

    monkeypatch.setattr(chunk_run.ChunkRun, "_advance", breaking)
    async with ledger_at(tmp_path / "l") as ledger, session_of(smile, ledger=ledger) as session:
        planner = Planner(ledger, "b", await Batches(ledger).start("b", {}), chunk_jobs=2)
        run = Run(session, ledger, planner)
        await run.go(iter(many(pictures, 6)))
        assert run.trouble is None
        assert await Batches(ledger).counts("b") == {"final": 6}
    (record,) = [record for record in caplog.records if "failed (TypeError)" in record.getMessage()]
    assert record.exc_info


async def test_a_batch_whose_options_can_not_be_read_ends_no_worker(
    smile: ScriptedSmile, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong once a chunk is claimed costs that chunk its lease; the others have their turn at once."""
    monkeypatch.setitem(Worker.__init__.__kwdefaults__, "lease", 0.4)
    whole, broken = Orders.of, ["once"]

    def reading(told: dict[str, Any]) -> Orders:
        if broken:
            raise TypeError(broken.pop())
        return whole(told)

    monkeypatch.setattr(Orders, "of", reading)
    async with ledger_at(tmp_path / "l") as ledger, session_of(smile, ledger=ledger) as session:
        planner = Planner(ledger, "b", await Batches(ledger).start("b", {}), chunk_jobs=2)
        run = Run(session, ledger, planner)
        await run.go(iter(many(pictures, 6)))
        assert (run.trouble, await Batches(ledger).counts("b")) == (None, {"final": 6})


async def test_a_row_that_somebody_else_sends_costs_nobody_anything(
    smile: ScriptedSmile, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that another call has overtaken leaves its row as it is, the others go on, and later it is sent."""
    monkeypatch.setattr(chunk_run, "FIRST_PARK", 0.01)
    overtaken = [job_id_of("b", "u1")]
    async with ledger_at(tmp_path / "l") as ledger, session_of(smile, ledger=ledger) as session:
        marked = ledger.mark

        async def mark(ticket: Ticket, reach: Reach, attempt: int) -> None:
            if ticket.job_id in overtaken:
                overtaken.clear()
                raise LedgerFailed("being sent by another call", retryable=True)
            await marked(ticket, reach, attempt)

        monkeypatch.setattr(ledger, "mark", mark)
        run = await run_of(ledger, session, many(pictures, 4))
        assert (run.trouble, await Batches(ledger).counts("b")) == (None, {"final": 4})


async def test_planning_that_fails_ends_a_run_too(
    smile: ScriptedSmile, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that fails while rows are written down ends the run with that as its trouble."""

    async def failing(*_: object, **__: object) -> None:
        raise LedgerFailed("full")

    async with ledger_at(tmp_path / "l") as ledger, session_of(smile, ledger=ledger) as session:
        monkeypatch.setattr(Batches, "plan", failing)
        run = await run_of(ledger, session, many(pictures, 5))
    assert isinstance(run.trouble, LedgerFailed)
    end = Standing("b", {}, {}, trouble=run.trouble, problems=[(n, "x") for n in range(SHOWN + 2)])
    show_end(end, (), {})
    assert end.exit_code == 4
    assert Standing("b", {}, {}, trouble=run.trouble).exit_code == 3
    assert Standing("b", {}, {}, unread=True).exit_code == 2


async def test_what_was_sent_with_a_job_is_not_changed_behind_it(
    smile: ScriptedSmile, pictures: Pictures, tmp_path: Path
) -> None:
    """A row that was sent keeps its type, parameters, callback and selfie; one that never was takes the new values."""
    row = Row(2, "ada", "ada", pictures.selfie_path, params={"a": "1", "b": "1"})
    url = "https://you.example/"
    changes: list[tuple[dict[str, Any], str]] = [
        ({"job_type": 4}, "job_type (2 then, 4 now)"),
        ({"params": {"b": "2", "c": "1"}}, "param.a, param.b, param.c"),
        ({"callback_url": url}, "callback_url"),
        ({"selfie": None, "liveness": (pictures.selfie_path,)}, "selfie"),
        ({"job_type": 4, "callback_url": url, "params": {"a": "1"}}, "job_type (2 then, 4 now), callback_url, param.b"),
    ]
    async with ledger_at(tmp_path / "l") as ledger, session_of(smile, ledger=ledger) as session:
        batches = Batches(ledger)
        first = Planner(ledger, "b", await batches.start("b", {}))
        assert await first.next(iter([replace(row, job_type=4, params={}, callback_url=url)])) is not None
        assert (await run_of(ledger, session, [row])).tally.done == 1
        (record,) = [record async for record in batches.rows("b")]
        assert record["job_type"] == 2
        for change, named in changes:
            again = Planner(ledger, "b", await batches.start("b", {}))
            work = await again.next(iter([replace(row, **change)]))
            assert work is not None
            assert not work.send
            (flaw,) = work.problems
            assert flaw.why.startswith(f"key 'ada' was sent with another {named}: give the row a key or job_id of its")
        assert (await run_of(ledger, session, [row])).tally.done == 1
        given = replace(row, job_id=record["job_id"], job_type=4)
        work = await Planner(ledger, "b", await batches.start("b", {})).next(iter([given]))
        assert work is not None
        assert work.problems[0].why.endswith("give the row a job_id of its own")
    assert len(smile.asked["put"]) == 1


async def test_a_refused_row_is_still_in_the_manifest(
    smile: ScriptedSmile, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused row is not counted as gone, and only its place is new on record; another batch's row stays as it is."""
    monkeypatch.setattr("smile_async.batch.planning.PAGE", 1)
    rows = [Row(n, f"u{n}", "ada", pictures.selfie_path) for n in (2, 3, 4)]
    async with ledger_at(tmp_path / "l") as ledger, session_of(smile, ledger=ledger) as session:
        batches = Batches(ledger)
        assert (await run_of(ledger, session, [*rows])).tally.done == 3
        before = [dict(record) async for record in batches.rows("b")]
        number = await batches.start("b", {})
        planner = Planner(ledger, "b", number)
        # u2 has gone, u3 asks for another job two lines further down, and once more below.
        manifest = iter([replace(rows[1], line=line, job_type=4) for line in (5, 6)] + rows[2:])
        problems: list[str] = []
        while (work := await planner.next(manifest)) is not None:
            problems += [flaw.why for flaw in work.problems]
        assert problems[0].startswith("key 'u3' was sent with another job_type")
        assert problems[1].startswith("key 'u3' is there twice, in lines 5 and 6")
        assert await batches.read_whole("b", number) == 1
        after = [dict(record) async for record in batches.rows("b")]
        assert after == [before[0], {**before[1], "run": number, "line": 5}, {**before[2], "run": number}]
        other = Planner(ledger, "other", await batches.start("other", {}))
        work = await other.next(iter([replace(rows[0], job_id=before[0]["job_id"], user_id="eve")]))
        assert work is not None
        assert "stands for user ada" in work.problems[0].why
        assert [dict(record) async for record in batches.rows("b")] == after


async def test_a_row_of_another_batch_is_not_taken_over(tmp_path: Path, pictures: Pictures) -> None:
    """A row whose job_id is another batch's, sent or not, is a problem that names that batch, and changes nothing."""
    async with ledger_at(tmp_path / "l") as ledger:
        batches = Batches(ledger)
        for name in ("first", "second"):
            planner = Planner(ledger, name, await batches.start(name, {}))
            work = await planner.next(iter([Row(2, "k", "ada", pictures.selfie_path, job_id="j1")]))
        assert work is not None
        assert [flaw.why.partition(":")[0] for flaw in work.problems] == [
            "key 'k' (job j1) is a row of batch first already"
        ]
        assert await batches.counts("first") == {"planned": 1}
        assert await batches.counts("second") == {}


async def test_refused_rows_cost_a_commit_a_page(
    tmp_path: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is wrong with a page of a manifest is written down at once, and whose row it was if that is known."""
    begun: list[int] = []
    whole = Ledger.writing
    monkeypatch.setattr(Ledger, "writing", lambda ledger: begun.append(1) or whole(ledger))
    rows: list[Row | Flaw] = [Flaw(n, "has no user_id") for n in range(2, 90)]
    rows += [Row(n, "k", "ada", pictures.selfie_path) for n in (90, 91)]
    async with ledger_at(tmp_path / "l") as ledger:
        batches = Batches(ledger)
        planner = Planner(ledger, "b", await batches.start("b", {}))
        begun.clear()
        assert await planner.next(iter(rows)) is not None
        assert len(begun) == 1
        assert len(await batches.problems("b", 1)) == 89
        async with ledger.reading() as connection:
            found = await connection.exec_driver_sql(
                "SELECT line, user_id FROM smile_problems ORDER BY id DESC LIMIT 2"
            )
            assert [tuple(row) for row in found] == [(91, "ada"), (89, None)]


async def test_many_jobs_of_an_earlier_run_wait_for_room(
    smile: ScriptedSmile, pictures: Pictures, tmp_path: Path
) -> None:
    """Jobs that were accepted before are asked about within the session's bound of waiting jobs."""
    smile.plans.update({job_id_of("b", f"u{n}"): [""] * 10 + ["0820"] for n in range(20)})
    async with ledger_at(tmp_path / "l") as ledger:
        slow = Pace.fixed(60.0, 1, 60.0)
        async with session_of(smile, ledger=ledger, pace=slow) as session:
            run = await run_of(ledger, session, many(pictures, 20), patience=0.05)
            assert run.tally.pending == 20
        async with session_of(smile, ledger=ledger, limits=Limits(pending=3)) as session:
            run = await run_of(ledger, session, many(pictures, 20), until="final")
    assert run.tally.decisions == Counter(approved=20)


async def test_cells_that_a_spreadsheet_would_run(tmp_path: Path) -> None:
    """Cells beginning with = + - @ are defused in CSV, and only there; a result appears whole or not at all.

    A number with a sign, such as a telephone's, is not: it would not come back as the id it was.
    """
    evil = ("=1+1", "+1-1", "-x", "@x", "+2348012345678", "-1")
    rows: list[Row | Flaw] = [Row(n, user, user, "/none.jpg") for n, user in enumerate(evil)]
    async with ledger_at(tmp_path / "l") as ledger:
        batches = Batches(ledger)
        number = await batches.start("b", {})
        assert await Planner(ledger, "b", number).next(iter(rows)) is not None
        assert await render(batches, "b", tmp_path / "o.csv") == len(evil)
        await render(batches, "b", tmp_path / "o.jsonl")
        with pytest.raises(BadConfiguration, match=r"name a \.jsonl"):
            await render(batches, "b", tmp_path / "o.txt")
    with (tmp_path / "o.csv").open(newline="") as file:
        found = [line["user_id"] for line in csv.DictReader(file)]
    assert found == ["'=1+1", "'+1-1", "'-x", "'@x", "+2348012345678", "-1"]
    assert [line["user_id"] for line in lines_of(tmp_path / "o.jsonl")] == list(evil)
    assert files_in(tmp_path) == {"l", "l.lock", "o.csv", "o.jsonl"}


async def test_a_key_far_down_names_both_lines(tmp_path: Path, pictures: Pictures) -> None:
    """Two rows with one key are told apart however far from each other they stand."""
    rows = [Row(n, f"k{n % 1200}", "ada", pictures.selfie_path) for n in range(2, 1300)]
    total, flaws = await check(iter(rows), "b")
    assert total == 1298
    assert (flaws[0].line, len(flaws)) == (1202, 98)
    assert "lines 2 and 1202" in flaws[0].why


async def test_an_empty_cell_approves_nobody(tmp_path: Path, pictures: Pictures) -> None:
    """A row without any picture is refused: the face on file compared with nothing may pass for an approval."""
    nothing, frames = Row(2, "ada", "ada", None), Row(3, "bob", "bob", None, (pictures.selfie_path,))
    (flaw,) = (await check(iter([nothing, frames]), "b"))[1]
    assert (flaw.line, "there is no picture: give a selfie" in flaw.why) == (2, True)
    assert job_of(frames, "j").use_enrolled_image


async def test_a_callback_without_tls_is_found_by_the_dry_run(
    tmp_path: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dry run looks at callback URLs as the run will, by the same variable, at the same server."""
    job = Row(2, "ada", "ada", pictures.selfie_path, callback_url="http://shop.example/smile")
    (flaw,) = (await check(iter([job]), "b"))[1]
    assert (flaw.line, flaw.why.split(":")[0]) == (2, "callback_url is not https")
    monkeypatch.setenv("SMILE_INSECURE_CALLBACKS", "1")
    assert await check(iter([job]), "b") == (1, [])
    with pytest.raises(BadConfiguration, match="insecure_callbacks does not go with production"):
        await check(iter([job]), "b", {"environment": "production"})
