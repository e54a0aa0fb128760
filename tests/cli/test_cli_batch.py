"""What `smile-async batch` says of a batch, and what it refuses before the first row."""

import asyncio
import os
import shlex
import sys
from collections import Counter
from pathlib import Path

import pytest
from batch_support import write_csv
from cli_support import Run
from street import Pictures

from smile_async.batch import Tally
from smile_async.batch.output import write_whole
from smile_async.cli import main
from smile_async.cli.output import to_copy
from smile_async.cli.progress import _figures, _rows_in, shown
from smile_async.cli.standing import SHOWN
from smile_async.sandbox import RunningSandbox


def commands_in(text: str, before: str) -> list[str]:
    """The arguments of the one command that *text* tells one to copy."""
    (line,) = [line for line in text.splitlines() if line.startswith(before)]
    program, *arguments = shlex.split(line.removeprefix(before))
    assert program == "smile-async"
    return arguments


def files_in(folder: Path) -> list[tuple[Path, int]]:
    """What lies there, and who may read it."""
    return sorted((path, path.stat().st_mode) for path in folder.iterdir())


async def test_failures_are_named_with_a_command_to_copy(
    run: Run, account: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """A run ends with its first five failures, line and cause, and with commands that do what they say as they are."""
    account.sandbox.enroll("ada")
    users = ["ada", *(f"nobody-{number}" for number in range(7))]
    manifest = write_csv(tmp_path / "it's.csv", [{"user_id": who, "selfie": pictures.selfie_path} for who in users])
    there = ("--base-url", account.base_url)
    ran = await run("batch", "run", str(manifest), "--name", "may", *there)
    assert ran.code == 3
    named = [line for line in ran.err.splitlines() if line.startswith("line ")]
    assert [line.split(":")[:2] for line in named] == [[f"line {n + 3}", f" user nobody-{n}"] for n in range(SHOWN)]
    assert all("UserNotEnrolled 2210: " in line for line in named)
    assert "…" not in ran.err
    listed = await run(*commands_in(ran.err, "see all of them with: "))
    assert listed.err.count("line ") == 7
    assert [line.split() for line in listed.out.splitlines()] == [
        ["batch", "may"],
        ["rows", "8"],
        ["approved", "1"],
        ["failed", "7"],
        ["no", "verdict", "0"],
    ]
    machine = (await run("batch", "status", "--failed", "--ledger", f"{manifest}.ledger", "--json")).document
    assert [failure["line"] for failure in machine["failures"]] == list(range(3, 10))
    assert machine["failures"][0].keys() == {"line", "user_id", "job_id", "error", "code", "why"}
    for who in users:
        account.sandbox.enroll(who)
    go_on = commands_in(ran.err, "go on with: ")
    assert go_on == ["batch", "retry-failed", "--ledger", f"{manifest}.ledger", "--name", "may", *there]
    assert (await run(*go_on)).code == 0


def test_no_password_of_a_ledger_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command to copy, a worker's for a batch that was left to workers, names a database without its password."""
    from smile_async.cli import batch_run  # noqa: PLC0415
    from smile_async.cli.standing import Standing  # noqa: PLC0415

    async def enqueue(*_: object) -> Standing:
        return Standing("may", {"planned": 3}, {})

    monkeypatch.setattr(batch_run, "enqueue", enqueue)
    url = "postgresql://ada:canary@db.example/people"
    assert main(["batch", "run", "people.csv", "--enqueue", "--ledger", url]) == 2
    said = capsys.readouterr().err
    assert "canary" not in said
    assert commands_in(said, "go on with: ") == ["worker", "--ledger", "postgresql://ada:***@db.example/people"]


def test_commands_to_copy_survive_a_shell() -> None:
    """Options of the account are part of a command, and what a shell would take apart is quoted."""
    command = to_copy("status", "--user-id", "a b", account={"base_url": "https://x/v1", "http": "httpx2"})
    assert command == "smile-async status --user-id 'a b' --base-url https://x/v1 --http httpx2"


# Progress.


def test_a_job_under_review_is_not_waiting() -> None:
    """The bar counts provisional rows as over for this run, and by their name; what has no verdict yet waits."""
    tally = Tally(rows=100, done=60, failed=3, decisions=Counter(approved=50, rejected=10, provisional=7))
    said, figures = _figures(tally, 1000, rate=10.0)
    assert said == ["approved 50", "provisional 7", "rejected 10", "failed 3", "waiting 30"]
    assert figures == {
        "total": 1000,
        "completed": 70,
        "count": "70/~1,000",
        "rate": "10.0/s",
        "left": "eta 0:01:33",
    }
    tally.whole = True
    assert _figures(tally, 1000, rate=0.0)[1]["count"] == "70/100"
    assert _figures(tally, 1000, rate=0.0)[1]["left"] == "eta -"


def test_rows_are_counted_by_the_size_of_the_manifest(tmp_path: Path) -> None:
    """How many rows there will be is known at once, about, and what can be read only once is left alone."""
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"user_id": "ada"}\n' * 200_000)
    assert 199_000 < _rows_in(manifest) < 201_000
    os.mkfifo(tmp_path / "fifo")
    assert _rows_in(tmp_path / "fifo") == _rows_in(tmp_path / "none") == 0


async def test_the_bar_fits_60_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A million rows: percent, count, rate and time left stand on one line of 60 columns, all counts below it."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb-but-forced")

    class Running:
        tally = Tally(
            rows=1_000_000,
            done=654_321,
            failed=12_345,
            fresh=0,
            whole=True,
            decisions=Counter(approved=600_000, rejected=54_321, provisional=11_111),
        )

    with shown(Running(), tmp_path / "none"):
        await asyncio.sleep(0)
        await asyncio.sleep(0.3)
    text = capsys.readouterr().err
    from rich.text import Text  # noqa: PLC0415

    frames = [Text.from_ansi(line).plain for line in text.splitlines()]
    assert max(map(len, frames)) <= 60
    seen = " ".join(" ".join(frames).split())
    assert "68% " in seen
    assert "677,777/1,000,000 0.0/s eta -" in seen
    for count in ("approved 600,000", "provisional 11,111", "rejected 54,321", "failed 12,345", "waiting 322,223"):
        assert count in seen


# What is refused before the first row.


async def test_a_result_that_can_not_be_written_is_refused_first(
    run: Run, account: RunningSandbox, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--out is checked before anything is sent or written down, by a dry run too; manifest and ledger stay."""
    manifest = write_csv(tmp_path / "m.csv", [{"user_id": "ada", "selfie": pictures.selfie_path}])
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "link.csv").symlink_to(manifest)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    before = files_in(tmp_path)
    given = ("batch", "run", str(manifest), "--ledger", str(tmp_path / "l.csv"), "--json")
    for out, says in (
        ("o.xlsx", "name a .jsonl, .csv or .parquet file"),
        ("none/o.csv", "No such file or directory"),
        ("/proc/o.csv", "can not be written"),
        ("folder.csv", "is a directory"),
        ("m.csv", "is taken"),
        ("folder.csv/../m.csv", "is taken"),
        ("link.csv", "is taken"),
        ("l.csv", "is taken"),
        ("o.parquet", "smile-async[parquet]"),
    ):
        for more in ((), ("--dry-run",)):
            ran = await run(*given, "--out", str(tmp_path / out), *more)
            assert (ran.code, says in ran.document["message"]) == (4, True), out
    assert not account.sandbox.jobs
    assert files_in(tmp_path) == before


async def test_lines_that_became_no_job_are_counted(
    run: Run, account: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """A manifest of which nothing can be used is not shown as a batch of no rows in which nothing has failed."""
    manifest = write_csv(tmp_path / "m.csv", [{"user_id": "", "selfie": pictures.selfie_path}] * 2)
    ran = await run("batch", "run", str(manifest))
    assert (ran.code, " ".join(ran.err.split()).endswith("rows 0 failed 0 no verdict 0 bad lines 2")) == (4, True)


async def test_a_command_that_is_missing_is_answered_with_the_help(run: Run) -> None:
    """Whoever types the bare command is shown the help, not an error that has it for a message."""
    for words in ((), ("batch",)):
        ran = await run(*words)
        assert (ran.code, (ran.out + ran.err).lstrip().startswith("Usage: ")) == (4, True)


async def test_a_result_that_was_possible_once_is_checked_again(
    run: Run, account: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """`resume` refuses where the result's folder has gone meanwhile; a report replaces no manifest and no ledger."""
    account.sandbox.script("ada", code="0822", after=0.0)
    account.sandbox.enroll("ada")
    manifest = write_csv(tmp_path / "m.csv", [{"user_id": "ada", "selfie": pictures.selfie_path}])
    folder = tmp_path / "results"
    folder.mkdir()
    ledger = f"{manifest}.ledger"
    assert (await run("batch", "run", str(manifest), "--out", str(folder / "o.csv"))).code == 2
    (folder / "o.csv").unlink()
    folder.rmdir()
    polls = [job.polls for job in account.sandbox.jobs.values()]
    ran = await run("batch", "resume", "--ledger", ledger)
    assert (ran.code, str(folder) in ran.err) == (4, True)
    assert [job.polls for job in account.sandbox.jobs.values()] == polls
    page = tmp_path / "r.html"
    other = tmp_path / "other.csv"
    other.write_text("user_id,selfie\n")
    for places in (
        ("--out", ledger),
        ("--out", str(page), "--csv", str(manifest)),
        ("--out", str(folder / "r.html")),
        ("--out", str(other)),
    ):
        ran = await run("batch", "report", "--ledger", ledger, *places)
        assert ran.code == 4
        assert places[-1] in ran.err.replace("\n", "")
    assert manifest.read_text().startswith("user_id")
    assert other.read_text().startswith("user_id")
    assert not page.exists()
    assert (await run("batch", "status", "--ledger", ledger)).code == 2


def test_the_name_of_a_private_file_is_nobody_s_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong with a file names the one that was asked for, not the one that stands in for it."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/tmp/.secret.x7")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/page\.html'$"):
        write_whole(tmp_path / "page.html", "")
    assert list(tmp_path.iterdir()) == []
