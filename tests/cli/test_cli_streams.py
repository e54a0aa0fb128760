"""What a command does with the streams it is given: odd encodings, closed pipes, narrow terminals, a log."""

import io
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_support import Run, export
from scripted import Authority
from street import Pictures

import smile_async
from smile_async.cli import main
from smile_async.cli.streams import lasting
from smile_async.sandbox import RunningSandbox
from smile_async.testing import API_KEY, PARTNER_ID

#: Its first letter is neither in cp1252 nor in ASCII.
ODD = "Ωmega"


@pytest.fixture
def broken() -> Iterator[Any]:
    """A pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        yield stream


async def test_the_exit_code_is_the_decision_whatever_can_be_printed(
    run: Run, account: RunningSandbox, broken: Any, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An approved face exits with 0 and a rejected one with 1, where standard output is cp1252, ASCII, or gone."""
    account.sandbox.enroll(ODD)
    closed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    closed.close()
    odd = [io.TextIOWrapper(io.BytesIO(), encoding=name) for name in ("cp1252", "ascii", "utf-8")]
    for result in ("0", "1"):
        how = ("--job-id", f"login-{result}", "--param", f"sandbox_result={result}")
        await run("verify", pictures.selfie_path, "--user-id", ODD, *how)
    each = itertools.product((*odd, closed, broken, None), ("0", "1"), ((), ("--json",)))
    for stream, result, json in each:
        with monkeypatch.context() as shell:
            shell.setattr(sys, "stdout", stream)
            ran = await run("status", "--user-id", ODD, "--job-id", f"login-{result}", *json)
        assert str(ran.code) == result, (stream, json, ran.err)
    for stream in odd:
        said = stream.buffer.getvalue().decode(stream.encoding)  # type: ignore[attr-defined]
        assert r"\u03a9mega" in said
        assert (ODD in said) is (stream.encoding == "utf-8")


@pytest.mark.parametrize("closing", ["2>&- >&-", "| true"])
def test_a_real_pipe_that_closes(closing: str) -> None:
    """In a real shell, in the POSIX locale, a closed output costs neither the exit code nor a traceback."""
    command = f'set -o pipefail; "{sys.executable}" -m smile_async explain 0812 {closing}'
    surroundings = {**os.environ, "LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    ran = subprocess.run(["bash", "-c", command], env=surroundings, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


async def test_a_sent_job_is_found_again_without_standard_output(
    run: Run, broken: Any, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody reads the ticket that `submit` prints, standard error still names the job."""
    monkeypatch.setattr(sys, "stdout", broken)
    ran = await run("submit", pictures.selfie_path, "--user-id", "ada", "--job-id", "login-1", "--json")
    assert ran.code == 0
    assert "smile-async status --user-id ada --job-id login-1" in ran.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An answer that could not be written, though somebody wants it, exits with 3; a hint may be lost."""
    with Path("/dev/full").open("w", encoding="utf-8") as full, monkeypatch.context() as shell:
        shell.setattr(sys, "stderr", full)
        with lasting():
            sys.stderr.write("a hint")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["explain", "0812", "--json"]) == 3
    assert "No space left" in capsys.readouterr().err


def test_commands_inside_each_other_leave_the_streams_as_they_were() -> None:
    """Whoever calls `main` has its streams back afterwards, also where two were called at once."""
    before = sys.stdout, sys.stderr
    first, second = lasting(), lasting()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert (sys.stdout, sys.stderr) == before


def test_text_from_elsewhere_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters are shown as escapes, in errors as in answers."""
    assert main(["status", "--user-id", "\x1b[2Jada\x07"]) == 4
    assert main(["explain", "\x1b[2J\x9b31m"]) == 3
    assert main(["verify", "\x1b[2J.jpg", "--liveness", "\x1b[2J", "--user-id", "ada"]) == 4
    said = capsys.readouterr()
    assert r"\x1b[2J" in said.err
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", said.out + said.err)


# Narrow terminals.


async def test_ids_are_never_cut(run: Run, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 60 columns, and into a pipe, the ids stand whole on one line."""
    monkeypatch.setenv("COLUMNS", "60")
    job_id, user_id = "j" * 90, "u" * 90
    ran = await run("verify", pictures.selfie_path, "--user-id", user_id, "--register", "--job-id", job_id)
    asked = await run("status", "--user-id", user_id, "--job-id", job_id)
    for said in (ran.out, asked.out):
        assert {f"user {user_id}", f"job {job_id}"} <= {" ".join(line.split()) for line in said.splitlines()}


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ((), ("--version", "--verbose", "--debug", "--install-completion", "1 rejected", "4 bad input")),
        (("sandbox",), ("--storage-port", "--public-host", "--no-console")),
        (("verify",), ("--use-enrolled-image", "--allow-new-enroll", "SMILE_ENVIRONMENT")),
        (("worker",), ("--until-empty", "a postgresql:// ledger")),
        (("batch",), ("retry-failed",)),
        (("batch", "run"), ("--dry-run", "--ledger PATH_OR_URL", "SMILE_ENVIRONMENT")),
    ],
)
def test_help_fits_60_columns(
    command: tuple[str, ...],
    says: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On 60 columns the help wraps, and cuts neither the name of an option nor what a command is for."""
    monkeypatch.setenv("COLUMNS", "60")
    assert main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 60
    assert "..." not in text.replace("[ARGS]...", "")
    for words in says:
        assert words in " ".join(text.split())


# The options of every command.


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` is the package's."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"smile-async {smile_async.__version__}\n"


async def test_the_log_on_standard_error(run: Run, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before or after the command's name, --verbose and --debug show the log; standard output stays the answer's."""
    arguments = ("verify", pictures.selfie_path, "--user-id", "ada", "--json")
    quiet = await run(*arguments)
    before, after = await run("--verbose", *arguments), await run(*arguments, "--debug")
    for ran in (before, after):
        assert ran.document["approved"] is True
        assert re.search(rf" INFO job {ran.document['ticket']['job_id']}: approved", ran.err)
    assert " INFO " not in quiet.err
    assert " INFO " not in (await run(*arguments)).err


def test_completion(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The shell's completion, once installed, is answered with commands."""
    monkeypatch.setenv("_SMILE_ASYNC_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "smile-async ver")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert main([]) == 0
    assert capsys.readouterr().out.split() == ["verify"]


async def test_the_server_is_named(run: Run, account: RunningSandbox, pictures: Pictures) -> None:
    """The first thing said, on standard error, is whose account at which server is meant."""
    for arguments in (
        ("verify", pictures.selfie_path, "--user-id", "ada"),
        ("status", "--user-id", "a", "--job-id", "b"),
    ):
        ran = await run(*arguments)
        assert ran.err.splitlines()[0] == f"{account.base_url.split('/')[2]}, partner {account.partner_id}"


# Extras.

_WITHOUT = """
import sys
from smile_async.cli import main
batch = ("sqlalchemy", "aiosqlite", "psycopg", "psycopg_pool", "procrastinate", "fsspec", "pyarrow")
sys.modules.update(dict.fromkeys((*batch, "granian", "starlette", "jinja2", "trustme", "PIL")))
ledger = ("--ledger", "l")
for words in (
    ("batch", "run", "people.csv"),
    ("batch", "run", "people.csv", "--dry-run"),
    ("batch", "status", *ledger),
    ("batch", "report", *ledger),
    ("batch", "erase", *ledger, "--user-id", "ada"),
    ("worker", *ledger),
    ("sandbox",),
    ("demo",),
):
    print(main(words), words)
"""


def test_every_missing_extra_is_named(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra `cli` alone, whatever needs another one names it, exits with 4 and leaves no file behind."""
    export(monkeypatch, PARTNER_ID, API_KEY, "https://127.0.0.1:9/v1", authority.ca_file)
    ran = subprocess.run(
        [sys.executable, "-c", _WITHOUT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(smile_async.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line[0] for line in ran.stdout.splitlines()] == ["4"] * 8
    extras = re.findall(r"pip install 'smile-async\[(\w+)\]'", ran.stderr)
    assert extras == ["batch"] * 5 + ["workers", "sandbox", "sandbox"]
    assert len(ran.stderr.splitlines()) == 8
    assert list(tmp_path.iterdir()) == []
