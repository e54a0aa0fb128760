"""Where a ledger lies, and who may write to it: a private SQLite file under a lock, or a PostgreSQL database.

The lock is the operating system's and sits on a file beside the ledger, because SQLite's own locks are dropped whenever
any descriptor of the database is closed. It dies with its process, so after a crash the next run takes over at once.
"""

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from smile_async.errors import BadConfiguration, LedgerFailed
from smile_async.undivided import undivided

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["NO_IDLING", "Database", "FileConnection", "dialect_insert", "is_outage", "is_passing", "words_of"]

#: Seconds to wait for somebody else's transaction: a reader that copies the file, a checkpoint.
BUSY_SECONDS = 5.0
#: The same for the thread that commits, which nobody can cancel: it is tried again, and meanwhile one may leave.
WRITER_BUSY_SECONDS = 1.0
#: A process that is stopped, or cut off, in the middle of a transaction must not keep its locks: others wait for them.
NO_IDLING = "SET idle_in_transaction_session_timeout = '5s'"
#: What a statement may cost that waits for another's rows, or for the disk.
BOUNDED = "SET lock_timeout = '5s'; SET statement_timeout = '30s'"
#: Seconds (the last: milliseconds) after which a server that can not be reached counts as away.
REACHABLE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
#: Classes of SQLSTATE that are about what was to be written: data, constraints, limits of the program.
_OF_THE_ROW = ("22", "23", "54")

Method = TypeVar("Method", bound=Callable[..., Any])


class Database:
    """A file or a database; *where* is a path, `sqlite:///path` or `postgresql://…`. Raises BadConfiguration."""

    def __init__(
        self,
        where: str | os.PathLike[str],
        *,
        read_only: bool = False,
        create: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        text = os.fspath(where)
        self.read_only = read_only
        self.create = create and not read_only
        self._clock = clock
        #: Connections to a server, of psycopg.
        self._open: list[Any] = []
        self.path: Path | None = None
        self._lock: int | None = None
        if text.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
            self._url = sa.make_url("postgresql+psycopg://" + text.split("://", 1)[1])
        elif "://" in text and not text.startswith("sqlite:///"):
            raise BadConfiguration("ledger is of an unknown kind: give a path, or postgresql://user@host/database")
        else:
            self.path = Path(text.removeprefix("sqlite:///")).absolute()
            self._url = sa.URL.create("sqlite+aiosqlite", database=str(self.path))

    def __repr__(self) -> str:
        if self.path:
            return str(self.path)
        # As it is given: the driver is ours to choose.
        return self._url.set(drivername=self._url.get_backend_name()).render_as_string(hide_password=True)

    @property
    def is_file(self) -> bool:
        """Whether it is a local SQLite file."""
        return self.path is not None

    def conninfo(self) -> str:
        """How to reach the server, password included: for libraries, never for a log. Raises BadConfiguration."""
        if self.path is not None:
            raise BadConfiguration(
                "workers share a ledger in a database: give --ledger postgresql://user@host/database"
            )
        return self._url.set(drivername="postgresql").render_as_string(hide_password=False)

    def take(self) -> None:
        """Become the one process that writes; makes a file that only its owner may read. Blocking."""
        if self.path is None:
            return
        if not (self.create or self.path.is_file()):
            raise BadConfiguration(f"there is no ledger at {self.path}: check the path")
        if self.read_only:
            return
        try:
            self._lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._hold()
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            # One that was made by hand, or copied: it names people.
            self.path.chmod(0o600)
        except OSError as error:
            self.release()
            raise LedgerFailed(f"the ledger {self.path} can not be opened for writing ({error.strerror})") from None
        except LedgerFailed:
            self.release()
            raise

    def _hold(self) -> None:
        if fcntl is None or self._lock is None:  # pragma: no cover - Windows
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise LedgerFailed(f"the ledger {self.path} is in use by another process: wait for its end") from None
            raise LedgerFailed(
                f"the ledger {self.path} can not be locked ({error.strerror}): put it on a local disk, or use"
                " postgresql://"
            ) from None

    def release(self) -> None:
        """Let the next process have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def writer(self) -> sa.Engine | None:
        """A blocking engine for the one thread that commits to a file; None for a database server.

        A commit is some ten calls, and aiosqlite takes each to its thread and back: half of what a ledger costs.
        """
        if self.path is None or self.read_only:
            return None
        url = sa.URL.create("sqlite", database=str(self.path))
        connect_args = {"timeout": WRITER_BUSY_SECONDS, "check_same_thread": False}
        engine = sa.create_engine(url, connect_args=connect_args, poolclass=sa.StaticPool, hide_parameters=True)
        sa.event.listen(engine, "connect", self._tune)
        return engine

    def engine(self) -> AsyncEngine:
        """An engine on this place, durable at every commit; its errors do not repeat what was to be written."""
        try:
            if self.path is None:
                # What the URL says of itself counts.
                reachable = {name: value for name, value in REACHABLE.items() if name not in self._url.query}
                engine = create_async_engine(
                    self._url, pool_pre_ping=True, pool_size=4, connect_args=reachable, hide_parameters=True
                )
                sa.event.listen(engine.sync_engine, "connect", self._bound)
                return engine
            engine = create_async_engine(self._url, connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True)
        except ImportError as missing:
            raise BadConfiguration(
                f"the package {missing.name} is missing: run  pip install 'smile-async[batch]'"
            ) from None
        sa.event.listen(engine.sync_engine, "connect", self._tune)
        return engine

    def hang_up(self) -> None:
        """Close what is left of connections to a server that says no goodbye; sends nothing and waits for nothing."""
        for connection in self._open:
            if not connection.closed:
                connection.pgconn.finish()

    def _bound(self, connection: Any, _record: object) -> None:
        self._open = [each for each in self._open if not each.closed] + [connection.driver_connection]
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(NO_IDLING)
            cursor.execute(BOUNDED)
        connection.commit()

    def _tune(self, connection: Any, _record: object) -> None:
        connection.create_function("smile_now", 0, self._clock)
        with contextlib.closing(connection.cursor()) as cursor:
            if self.read_only:
                cursor.execute("PRAGMA query_only=ON")
            else:
                cursor.execute("PRAGMA journal_mode=WAL")
                # An id number that is deleted must not stay in a free page.
                cursor.execute("PRAGMA secure_delete=ON")
                # Not NORMAL: in WAL mode that may lose the last commits with the power.
                cursor.execute("PRAGMA synchronous=FULL")


def _whole(method: Method) -> Method:
    @wraps(method)
    async def whole(*args: Any, **more: Any) -> Any:
        return await undivided(partial(method, *args, **more))

    return cast("Method", whole)


class FileConnection(AsyncConnection):
    """A connection to a file, with which all is over soon: who is cancelled meanwhile goes when it is.

    Of what is cut short SQLAlchemy leaves a connection, a task, and of a transaction the lock, to the garbage
    collector. `begin`, for which there is `commit`, and `stream` can still be cut short.
    """

    start = _whole(AsyncConnection.start)
    execute = _whole(AsyncConnection.execute)
    exec_driver_sql = _whole(AsyncConnection.exec_driver_sql)
    execution_options = _whole(AsyncConnection.execution_options)
    run_sync = _whole(AsyncConnection.run_sync)
    commit = _whole(AsyncConnection.commit)
    close = _whole(AsyncConnection.close)


def dialect_insert(connection: AsyncConnection) -> Any:
    """The `insert` that knows ON CONFLICT, which SQLAlchemy has for each of the two databases by itself."""
    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert


def is_outage(error: BaseException) -> bool:
    """Whether *error* is about the database, or the way to it, and not about what was to be written."""
    said = getattr(error, "orig", None) or error
    state = getattr(said, "sqlstate", None)
    if state:
        return not state.startswith(_OF_THE_ROW)
    kinds = (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError, OSError)
    return isinstance(error, kinds) or type(said) is sqlite3.DatabaseError


def is_passing(error: BaseException) -> bool:
    """Whether *error* is an outage that may be over soon: a server that restarts, a file that somebody else locks."""
    said = getattr(error, "orig", None)
    if isinstance(said, sqlite3.Error):
        return getattr(said, "sqlite_errorname", "").startswith("SQLITE_BUSY")
    return is_outage(error)


def words_of(error: BaseException) -> str:
    """What a database said, without the statement and its parameters, which name people."""
    said = getattr(error, "orig", None) or error
    code = getattr(said, "sqlite_errorname", "")
    if isinstance(said, sqlite3.Error):
        return f"{said} {code}".strip()
    return str(said).partition("\n")[0] or type(said).__name__
