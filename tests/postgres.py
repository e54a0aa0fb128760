"""A PostgreSQL server for one test session, in a directory of its own, as a user without rights."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest


def binaries() -> Path | None:
    """Where the server's programs are, None if it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


class Postgres:
    """A server that can be restarted."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.data = folder / "data"
        self.programs = programs
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"postgresql://smile@127.0.0.1:{self.port}/postgres"

    def run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs, as nobody if we are root: PostgreSQL refuses to be root."""
        whose = {"user": pwd.getpwnam("nobody").pw_uid} if os.geteuid() == 0 else {}
        command = [str(self.programs / program), *arguments]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **whose)

    def database(self, name: str) -> str:
        """The URL of a fresh, empty database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url.removesuffix("postgres") + name

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        settings = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self.run("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.data / "log"), "-o", settings, "start")

    def stop(self) -> None:
        """Stop at once, as a crash would."""
        self.run("pg_ctl", "-D", str(self.data), "-w", "-m", "immediate", "stop")

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Let it answer nothing, while its connections stay open and new ones are taken, as a stopped machine does."""
        first = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        said = subprocess.run(["pgrep", "-P", str(first)], capture_output=True, text=True, check=True).stdout
        # The first one first: it takes no new connections then, and starts nobody.
        found = [first, *map(int, said.split())]
        for pid in found:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in found:
                os.kill(pid, signal.SIGCONT)


@contextmanager
def serving(folder: Path) -> Iterator[Postgres]:
    """A fresh server; skips the test where PostgreSQL is not installed."""
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    server = Postgres(folder, programs)
    server.data.mkdir()
    if os.geteuid() == 0:
        os.chown(server.data, pwd.getpwnam("nobody").pw_uid, -1)
    server.run("initdb", "-D", str(server.data), "-U", "smile", "-A", "trust", "--no-sync")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def a_server() -> Iterator[Postgres]:
    """A PostgreSQL in a directory that its user can reach."""
    with tempfile.TemporaryDirectory(prefix="smile-pg-") as folder:
        Path(folder).chmod(0o755)
        with serving(Path(folder)) as server:
            yield server
