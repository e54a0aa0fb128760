"""Try what is to be published: the wheel in empty environments, bare and with each extra alone, as `make dist` does.

`python tests/try_dist.py DIST`, with every extra installed where this runs: a sandbox is served from here, and what the
README and the guides show first for an extra must run there, with nothing of this repository in reach.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from guides import ROOT, Block, account, blocks, lay_out
from postgres import a_server, binaries
from street import Pictures
from workers_support import fresh

from smile_async.sandbox import RunningSandbox, Sandbox

DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: Modules that need more than the bare wheel, for `public_names.py`.
LEDGER, CLI_BATCH = ("smile_async.ledger", "smile_async.batch"), "smile_async/batch/__init__.py"


@dataclass
class Trial:
    """What must work with an extra."""

    #: What its reader is shown first.
    samples: Callable[[], list[Block]]
    modules: tuple[str, ...] = ()
    #: Of SMILE_HTTP.
    http: str = "httpx"
    #: What the sample itself imports, as it says.
    also: tuple[str, ...] = ()
    swap: dict[str, str] = field(default_factory=dict)


def _first() -> list[Block]:
    return blocks("python")[:1]


def _real() -> list[Block]:
    return [next(block for block in blocks("python") if "from_env" in block.text)]


def _shell(where: str) -> list[Block]:
    return [block for block in blocks("console") if block.where == where][-1:]


def _tests() -> list[Block]:
    return [block for block in blocks("python") if block.file]


#: By extra; "" is the bare wheel.
TRIALS = {
    "": Trial(_real),
    "httpx2": Trial(_real, http="httpx2"),
    "rust": Trial(_real, http="pyreqwest"),
    "otel": Trial(_real),
    "cli": Trial(lambda: _shell("smile_async/cli/__init__.py")),
    "sandbox": Trial(_first, ("smile_async.sandbox",)),
    "batch": Trial(lambda: _shell(CLI_BATCH), LEDGER),
    "parquet": Trial(lambda: _shell(CLI_BATCH), LEDGER, swap={"verdicts.csv": "verdicts.parquet"}),
    "workers": Trial(lambda: _shell("smile_async/workers/__init__.py"), (*LEDGER, "smile_async.workers")),
    "testing": Trial(_tests, ("smile_async.sandbox", "smile_async.pytest_plugin"), also=("fastapi", "aiosqlite")),
    "all": Trial(lambda: [*_first(), *_real()], ("smile_async.sandbox", *LEDGER, "smile_async.workers")),
}


def run(*command: str | Path, desk: Path, **variables: str) -> None:
    """Run *command* to its end; raises CalledProcessError after showing what it said."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SMILE_", "PYTHON"))}
    done = subprocess.run(
        command, check=False, cwd=desk, env={**kept, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        sys.stderr.write(done.stdout.decode())
        done.check_returncode()


def install(wheel: Path, extra: str, trial: Trial, desk: Path) -> Path:
    """An environment with *wheel* and one *extra* in it; the folder of its programs."""
    programs = desk / "venv" / "bin"
    run(sys.executable, "-m", "venv", "--without-pip", "venv", desk=desk)
    pip = (sys.executable, "-m", "pip", "--python", programs / "python", "-q", "--disable-pip-version-check")
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    run(*pip, "install", "--no-compile", wanted, *trial.also, desk=desk)
    run(*pip, "check", desk=desk)
    return programs


def try_out(wheel: Path, extra: str, running: RunningSandbox, database: str) -> None:
    """Install, import every documented name, compare versions, and run the samples."""
    trial = TRIALS[extra]
    with tempfile.TemporaryDirectory() as folder:
        desk = lay_out(Path(folder), Pictures.made_in(Path(folder)))
        # Where a guide says so, it has the lines that a first shell printed; here the variables are set already.
        (desk / "sandbox.env").touch()
        programs = install(wheel, extra, trial, desk)
        python = programs / "python"
        run(python, ROOT / "tests" / "public_names.py", *trial.modules, desk=desk)
        version = f"import smile_async; assert smile_async.__version__ == {DECLARED['version']!r}"
        run(python, "-c", version, desk=desk)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        variables = {**account(running), "SMILE_HTTP": trial.http, "PATH": path}
        swap = {"postgresql://user@host/database": database, **trial.swap}
        for block in trial.samples():
            run(*as_shown(block, python, swap, desk), desk=desk, **variables)


def as_shown(block: Block, python: Path, swap: dict[str, str], desk: Path) -> list[str | Path]:
    """The command that does with *block* what its reader would."""
    if block.kind == "console":
        script = "\n".join(block.commands)
        for shown, meant in swap.items():
            script = script.replace(shown, meant)
        return ["bash", "-e", "-c", script]
    if not block.file:
        return [python, "-W", "error", "-c", block.text]
    (desk / block.file).write_text(block.text, encoding="utf-8")
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=."] if block.file.startswith("test_") else []
    return [python, *tests, block.file]


def wheel_of(dist: Path) -> Path:
    """The wheel in *dist*; ends the program unless it and an sdist are there, of the version that is declared."""
    if TRIALS.keys() - {""} != DECLARED["optional-dependencies"].keys():
        raise SystemExit("an extra is declared that nobody tries, or tried that is not declared")
    name = f"smile_async-{DECLARED['version']}"
    (wheel,) = dist.resolve().glob(f"{name}-*.whl")
    if not (dist / f"{name}.tar.gz").is_file():
        raise SystemExit("there is no sdist of the version that pyproject.toml declares")
    return wheel


async def main(wheel: Path) -> None:
    """Try *wheel* bare, and every extra that is declared; the first that fails ends it."""
    with nullcontext() if binaries() is None else a_server() as server:
        for extra in TRIALS:
            if extra == "workers" and server is None:
                print("workers: not tried, PostgreSQL is not installed")
                continue
            async with Sandbox.serve() as running:
                running.sandbox.enroll("ada")
                database = "" if server is None else fresh(server)
                await asyncio.to_thread(try_out, wheel, extra, running, database)
            print(f"{extra or 'bare'}: works", flush=True)


if __name__ == "__main__":
    asyncio.run(main(wheel_of(Path(sys.argv[1]))))
