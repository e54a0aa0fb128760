"""The ledger's tables, and how a ledger of an older version becomes one of this version.

One row a job, wide rather than spread over joins: what happens to a job is an update of one row, so a crash can not
leave half of it. No column holds an image, a key, a link or the provider's raw reply; pictures are paths and digests.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Float, Integer

from smile_async.errors import BadConfiguration

__all__ = [
    "MIGRATIONS",
    "NOW",
    "OPEN_STATES",
    "VERSION",
    "PrivateText",
    "State",
    "Text",
    "batches",
    "chunks",
    "events",
    "id_info",
    "jobs",
    "meta",
    "prepare",
    "problems",
    "storable",
    "take_back",
]

#: Raised by every change of the tables; each raise adds a step to MIGRATIONS.
VERSION = 3
#: Key of the PostgreSQL advisory lock under which tables are made: two machines may be the first at once.
_MAKING = 0x736D696C65

_metadata = sa.MetaData()
_OPEN = sa.text("done_at IS NULL")
#: Seconds since 1970 UTC by the one clock that everybody who writes here shares: a file's ledger has its own `Clock`,
#: which is not set back while it is open (`clock.forward`), a server its own time, since machines disagree. An SQL
#: function, so that tests can replace it.
NOW: sa.ColumnElement[float] = sa.func.smile_now(type_=Float)
_Serial = sa.BigInteger().with_variant(Integer, "sqlite")


def storable(text: str | None) -> str | None:
    """*text* with escapes in place of what no database takes, and a file name or a provider may hold."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()


class Text(sa.types.TypeDecorator[str]):
    """Text of anybody's: NUL, which PostgreSQL refuses, and half a surrogate pair are stored as escapes."""

    impl = sa.Text
    cache_ok = True

    def bind_processor(self, dialect: sa.Dialect) -> Callable[[str | None], str | None]:  # noqa: ARG002
        """What each value passes through on its way into a statement."""
        return storable


class _Unseen(str):
    """A text that does not show itself: aiosqlite logs each call with its parameters, at DEBUG."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} characters>"


class PrivateText(Text):
    """The same, of whom a job is about."""

    cache_ok = True

    def bind_processor(self, dialect: sa.Dialect) -> Callable[[str | None], str | None]:  # noqa: ARG002
        """What each value passes through on its way into a statement."""
        return lambda text: None if text is None else _Unseen(storable(text))


class State(StrEnum):
    """How far a job has come; it only moves forward, except that what failed may be tried again."""

    PLANNED = "planned"
    #: Written down before anything is sent: from here on the job may exist at Smile ID.
    SENDING = "sending"
    ACCEPTED = "accepted"
    PROVISIONAL = "provisional"
    FINAL = "final"
    FAILED = "failed"


#: What still waits for something: not failed, and without a last word.
OPEN_STATES = (State.PLANNED, State.SENDING, State.ACCEPTED, State.PROVISIONAL)

meta = sa.Table("smile_meta", _metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

jobs = sa.Table(
    "smile_jobs",
    _metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("job_id", Text, nullable=False, unique=True),
    Column("user_id", Text, nullable=False),
    Column("job_type", Integer, nullable=False),
    Column("state", Text, nullable=False),
    #: Hex SHA-256 over the digests of all pictures (`Payload.digest`); null until it was first sent.
    Column("digest", Text),
    #: `steps.Reach`: how far it may have come at Smile ID.
    Column("reach", Integer, nullable=False),
    Column("smile_job_id", Text),
    #: Raised by each `begin`: what an earlier attempt has to say of it does not count any more.
    Column("attempts", Integer, nullable=False),
    #: Which of the provider's APIs it went to (null: v1), its product where job_type does not tell, the API's own key.
    Column("api", Text),
    Column("product", Text),
    Column("provider_id", Text),
    #: HMAC-SHA-256 of the id fields it was sent with, by which a later run knows whether they have changed.
    Column("id_digest", Text),
    # The row of a manifest: how to make the job again, and size and age of its files when they were last looked at.
    Column("batch", Text),
    Column("row_key", Text),
    Column("line", Integer),
    Column("run", Integer),
    Column("spec", Text),
    Column("marks", Text),
    #: The chunk that a worker takes it in; null for a job that no batch sent.
    Column("chunk", sa.BigInteger),
    # The verdict.
    Column("decision", Text),
    Column("final", Boolean),
    Column("code", Text),
    Column("text", Text),
    Column("confidence", Float),
    Column("source", Text),
    Column("timestamp", Text),
    Column("actions", Text),
    # What went wrong last.
    Column("error", Text),
    Column("error_code", Text),
    Column("error_text", Text),
    Column("retryable", Boolean),
    # Seconds since 1970 UTC.
    Column("created_at", Float, nullable=False, default=NOW),
    Column("sent_at", Float),
    #: When it may first have been taken, by a counter that nobody sets (`clock.stamp`), as clocks are.
    Column("sent_stamp", Text),
    Column("accepted_at", Float),
    Column("decided_at", Float),
    Column("final_at", Float),
    sa.Index("smile_jobs_of_batch", "batch", "seq"),
    sa.Index("smile_jobs_of_chunk", "chunk"),
)

events = sa.Table(
    "smile_events",
    _metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("job_id", Text, nullable=False),
    Column("at", Float, nullable=False, default=NOW),
    Column("kind", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("user_id", Text),
)

batches = sa.Table(
    "smile_batches",
    _metadata,
    Column("name", Text, primary_key=True),
    Column("run", Integer, nullable=False),
    #: JSON: what `batch run` was told.
    Column("options", Text, nullable=False),
    #: Rows of the manifest as the latest run read it; null until that has come to its end.
    Column("lines", Integer),
    Column("created_at", Float, nullable=False, default=NOW),
    #: When the next job may start, where workers share one rate: seconds since 1970 by the database's clock.
    Column("next_start", Float),
)

#: Some hundred jobs of a batch that one worker at a time drives. All times are the database's: machines disagree.
chunks = sa.Table(
    "smile_chunks",
    _metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("batch", Text, nullable=False),
    #: Raised by each claim: what a worker holds is void once somebody else has claimed after it.
    Column("token", sa.BigInteger, nullable=False),
    Column("holder", Text),
    Column("lease_until", Float),
    #: Not to be claimed earlier.
    Column("due_at", Float, nullable=False),
    #: How often it was put aside since it was planned.
    Column("parks", Integer, nullable=False),
    Column("planned_at", Float, nullable=False),
    Column("done_at", Float),
    sa.Index("smile_chunks_of_batch", "batch"),
    sa.Index("smile_chunks_open", "due_at", sqlite_where=_OPEN, postgresql_where=_OPEN),
)

#: Id fields of jobs that are not over: deleted with the job's last word, so that no id number outlives its purpose.
id_info = sa.Table(
    "smile_id_info",
    _metadata,
    Column("job_id", Text, primary_key=True),
    Column("fields", PrivateText, nullable=False),
)

#: Rows of a manifest that became no job: their line, and why.
problems = sa.Table(
    "smile_problems",
    _metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("batch", Text, nullable=False),
    Column("run", Integer, nullable=False),
    Column("line", Integer, nullable=False),
    Column("why", Text, nullable=False),
    #: Whose row it was, as far as it could be read.
    Column("user_id", Text),
)


def _to_2(connection: sa.Connection) -> None:
    """Chunks: for workers on many machines."""
    connection.execute(sa.text("ALTER TABLE smile_jobs ADD COLUMN chunk BIGINT"))
    connection.execute(sa.text("CREATE INDEX smile_jobs_of_chunk ON smile_jobs (chunk)"))
    connection.execute(sa.text("ALTER TABLE smile_batches ADD COLUMN next_start FLOAT"))
    chunks.create(connection)


def _to_3(connection: sa.Connection) -> None:
    """Room for other products and APIs, and one clock."""
    for column in ("api", "product", "provider_id", "id_digest", "sent_stamp"):
        connection.execute(sa.text(f"ALTER TABLE smile_jobs ADD COLUMN {column} TEXT"))
    for table in ("smile_problems", "smile_events"):
        connection.execute(sa.text(f"ALTER TABLE {table} ADD COLUMN user_id TEXT"))
    id_info.create(connection)


#: From each version, the step to the next one.
MIGRATIONS: Mapping[int, Callable[[sa.Connection], None]] = {1: _to_2, 2: _to_3}


def _with_clock(connection: sa.Connection) -> None:
    """Make NOW, unless it is there; a file's connections get theirs when they are opened."""
    if connection.dialect.name == "postgresql":
        known = connection.execute(sa.text("SELECT to_regprocedure('smile_now()')")).scalar()
        if known is None:
            connection.execute(sa.text(_CLOCK))


#: Not now(), which stands still within a transaction.
_CLOCK = """
CREATE FUNCTION smile_now() RETURNS double precision LANGUAGE sql VOLATILE
AS 'SELECT extract(epoch FROM clock_timestamp())::double precision'
"""


def prepare(connection: sa.Connection, *, write: bool = True, create: bool = True) -> None:
    """Make the tables, or bring them up to VERSION, in the transaction of *connection*; BadConfiguration if neither.

    Without *write* nothing is changed, and anything but VERSION is refused; without *create* no tables are made.
    """
    if write and connection.dialect.name == "postgresql":
        # Large tables, and another machine that is at it, take longer than usual statements may.
        connection.execute(sa.text("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '30s'"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MAKING)))
    elif write:
        # Of itself sqlite3 begins a transaction before a change of rows only, and each table would stand by itself.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    if write:
        _with_clock(connection)
    found = set(sa.inspect(connection).get_table_names())
    if meta.name not in found:
        if not create:
            raise BadConfiguration("this is no ledger yet: run a batch first")
        if jobs.name in found:
            raise BadConfiguration(f"the database has a table {jobs.name} but is no ledger: choose another database")
        _metadata.create_all(connection)
        connection.execute(meta.insert(), {"name": "version", "value": str(VERSION)})
        return
    version = int(connection.execute(sa.select(meta.c.value).where(meta.c.name == "version")).scalar_one())
    if version > VERSION or (version < VERSION and not write):
        advice = "upgrade smile-async" if version > VERSION else "run the batch with this version once"
        raise BadConfiguration(f"the ledger has schema version {version}, this library {VERSION}: {advice}")
    if write:
        _bring_up(connection, version)


def _bring_up(connection: sa.Connection, version: int) -> None:
    while version < VERSION:
        if version not in MIGRATIONS:
            raise BadConfiguration(f"the ledger has schema version {version}, from which no migration leads here")
        MIGRATIONS[version](connection)
        version += 1
        connection.execute(meta.update().where(meta.c.name == "version").values(value=str(version)))
    # Ledgers of version 3 from before it was released lack it.
    if "sent_stamp" not in {column["name"] for column in sa.inspect(connection).get_columns(jobs.name)}:
        connection.execute(sa.text("ALTER TABLE smile_jobs ADD COLUMN sent_stamp TEXT"))


def take_back(connection: sa.Connection) -> None:
    """Void what an earlier process of a file's has reserved: there is one at a time, and clocks are set meanwhile."""
    connection.execute(chunks.update().where(_OPEN).values(holder=None, lease_until=None, due_at=NOW))
    connection.execute(batches.update().values(next_start=None))
