"""The tables of the service's own database, and access to them: SQLite for one machine, PostgreSQL for several.

Times are Unix seconds (UTC) in double precision; structured values are JSON text.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from fluxport.database_errors import AWAY, BUSY, UNUSABLE, discard_connection, translated
from fluxport.errors import FluxportError, Refused, Unavailable
from fluxport.private import reserve
from fluxport.systems import steady

T = TypeVar("T")

log = logging.getLogger("fluxport.tables")

CLOCKS_DIFFER_S = 30.0
_ALONE_LOCK = 0x666C757A
_READ, _WRITE = "BEGIN", "BEGIN IMMEDIATE"  # SQLite
SQLITE_WAIT_S = 15.0  # for other writers
PING_AFTER_S = 1.0  # PostgreSQL sessions that were idle for this long are pinged before use

metadata = sa.MetaData()

exports = sa.Table(
    "exports",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("owner", sa.String(128), nullable=False),
    sa.Column("door", sa.String(16), nullable=False),
    sa.Column("scope", sa.String(128), nullable=False),
    sa.Column("key_id", sa.String(64)),  # the caller's key; NULL for a person
    sa.Column("stored", sa.Boolean, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("phase", sa.String(16)),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("idempotency_key", sa.String(255)),
    sa.Column("body_sha256", sa.String(64)),
    sa.Column("priority", sa.Integer, nullable=False, default=2),  # jobs.request.PRIORITIES: normal
    # Whether to count the rows before reading them.
    sa.Column("counted", sa.Boolean, nullable=False, default=False),
    # Incremented by each attempt; a worker that was paused beyond its lease has an old fence and changes nothing.
    sa.Column("fence", sa.Integer, nullable=False, default=0),
    sa.Column("rows", sa.BigInteger, nullable=False, default=0),
    sa.Column("rows_total", sa.BigInteger),
    sa.Column("bytes", sa.BigInteger, nullable=False, default=0),
    sa.Column("result", sa.JSON),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("attempt_errors", sa.JSON, nullable=False, default=list),
    sa.Column("error", sa.JSON),
    sa.Column("notify", sa.JSON, nullable=False, default=dict),
    sa.Column("request_id", sa.String(64), nullable=False, default=""),
    sa.Column("trace_id", sa.String(32), nullable=False, default=""),
    sa.Column("address", sa.String(64), nullable=False, default=""),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.Column("expires_at", sa.Double),
    sa.UniqueConstraint("owner", "idempotency_key"),
    sa.Index("exports_by_owner", "owner", "created_at"),
    sa.Index("exports_by_status", "status", "expires_at"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("export_id", sa.String(36), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)

# Exports whose rows arrive through a connection of one process, which renews the lease ``held_until``.
pushes = sa.Table(
    "pushes",
    metadata,
    sa.Column("export_id", sa.String(36), primary_key=True),
    sa.Column("held_until", sa.Double, nullable=False, index=True),
)

# One-time links that were redeemed or replaced. The client with that session may fetch the file again until
# ``open_until``; NULL: no client may. A row is deleted after ``expires_at``.
links = sa.Table(
    "used_links",
    metadata,
    sa.Column("token_sha256", sa.String(64), primary_key=True),
    sa.Column("export_id", sa.String(36), nullable=False, index=True),
    sa.Column("used_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("session_sha256", sa.String(64)),
    sa.Column("open_until", sa.Double),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Double, nullable=False, index=True),
    sa.Column("owner", sa.String(128), nullable=False, index=True),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("export_id", sa.String(36), index=True),
    sa.Column("outcome", sa.String(32), nullable=False),
    sa.Column("address", sa.String(64), nullable=False, default=""),
    sa.Column("detail", sa.JSON, nullable=False),
)

# Stored exports that have not ended. ``worker`` is the one that has claimed the export, ``due_at`` is when the next
# attempt may begin.
queue = sa.Table(
    "queue",
    metadata,
    sa.Column("export_id", sa.String(36), primary_key=True),
    sa.Column("connection", sa.String(255), nullable=False),
    sa.Column("owner", sa.String(128), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("asked_at", sa.Double, nullable=False),
    sa.Column("due_at", sa.Double, nullable=False, default=0.0),
    sa.Column("worker", sa.String(64)),
    sa.Index("queue_by_connection", "connection", "owner", "worker"),
    sa.Index("queue_by_worker", "worker", "due_at"),
)

# Pending notifications of ended exports.
notifications = sa.Table(
    "tells",
    metadata,
    sa.Column("export_id", sa.String(36), primary_key=True),
    sa.Column("target", sa.String(32), primary_key=True),
    sa.Column("tries", sa.Integer, nullable=False, default=0),
    sa.Column("due_at", sa.Double, nullable=False, default=0.0),
    sa.Column("worker", sa.String(64)),
    sa.Index("tells_by_worker", "worker", "due_at"),
)

executors = sa.Table(
    "executors",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("seen_at", sa.Double, nullable=False),
)

# Two rows: one that the readiness check writes, to test whether the database can be written, and one whose ``filling``
# is the secret of download links, where none is configured (jobs.store.JobStore.download_secret).
probes = sa.Table(
    "probes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("filling", sa.Text, nullable=False),
)

# ``looked_at`` is the time up to which the runs of a schedule have been handled; ``definition`` is its cron expression
# and time zone.
schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("looked_at", sa.Double, nullable=False),
)

# Totals of all workers since the first export; see telemetry.measures.
counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("labels", sa.Text, primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
)

# Used only on PostgreSQL, which machines share; with SQLite, signatures are in a separate file (auth.replay).
used_signatures = sa.Table(
    "used_signatures",
    metadata,
    sa.Column("signature", sa.LargeBinary(32), primary_key=True),
    sa.Column("expires_at", sa.Double, nullable=False, index=True),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("secret_sha256", sa.String(64), nullable=False),
    sa.Column("owner", sa.String(128), nullable=False, index=True),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("active_max", sa.Integer),
    sa.Column("own_results", sa.Boolean, nullable=False, default=False),
    sa.Column("mail_domains", sa.JSON(none_as_null=True)),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double),
    sa.Column("last_used_at", sa.Double),
    sa.Column("revoked_at", sa.Double),
)
# A name can be reused once its key is revoked.
_LIVE = keys.c.revoked_at.is_(None)
sa.Index("keys_by_name", keys.c.name, unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE)

users = sa.Table(
    "users",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("password_hash", sa.String(255), nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("token_sha256", sa.String(64), primary_key=True),
    sa.Column("owner", sa.String(128), nullable=False, index=True),
    sa.Column("how", sa.String(16), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("used_at", sa.Double, nullable=False),
)

login_attempts = sa.Table(
    "login_attempts",
    metadata,
    sa.Column("owner", sa.String(128), primary_key=True),
    sa.Column("address", sa.String(64), primary_key=True),
    sa.Column("pause_s", sa.Double, nullable=False),
    sa.Column("next_at", sa.Double, nullable=False, index=True),
)


def connect(url: str, *, pool_size: int = 5, patient: bool = False) -> sa.Engine:
    """An engine for ``sqlite:///FILE`` or ``postgresql://...``; Refused for anything else. A ``patient`` caller retries
    all failures: it waits for one of its ``pool_size`` PostgreSQL sessions, and idle ones are not pinged before use."""
    parsed = _parsed(url)
    if parsed.drivername.startswith("postgres"):
        engine = sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=pool_size,
            max_overflow=0 if patient else 10,
            pool_timeout=60 if patient else 5,
            connect_args={"connect_timeout": 5},
            hide_parameters=True,  # a logged or stored error must not quote callers' values
        )
        sa.event.listen(engine, "handle_error", discard_connection)
        if not patient:
            _ping_idle(engine)
        return engine
    if parsed.database and not parsed.database.startswith((":", "file:")):
        reserve(Path(parsed.database))
    engine = sa.create_engine(
        parsed,
        connect_args={"timeout": SQLITE_WAIT_S, "check_same_thread": False},
        hide_parameters=True,
        # Serializes the writers of one process: SQLite makes waiting writers sleep for increasingly long intervals.
        execution_options={"turn": threading.Lock()},
    )

    @sa.event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        write_ahead(connection, SQLITE_WAIT_S)
        connection.execute("PRAGMA foreign_keys = ON")

    sa.event.listen(engine, "handle_error", discard_connection)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A transaction that will write takes the write lock at once: a later upgrade could fail halfway.
        begin = connection.get_execution_options().get("begin", _WRITE)
        if connection.info.get("begin", _WRITE) != begin:  # set only when it changes
            connection.exec_driver_sql(f"PRAGMA query_only = {int(begin == _READ)}")
            connection.info["begin"] = begin
        connection.exec_driver_sql(begin)

    return engine


def write_ahead(session: sqlite3.Connection, wait_s: float) -> None:
    """Set an SQLite file to WAL mode, in which readers and writers do not block each other, without a sync at every
    commit: a crash of the process loses no transaction, only a power loss can. SQLite does not wait for other processes
    when it changes the journal mode, so this function does."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            session.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    session.execute("PRAGMA synchronous = NORMAL")


def _ping_idle(engine: sa.Engine) -> None:
    """Ping a session that was idle for a while before it is used; a ping costs as much as a small statement."""

    @sa.event.listens_for(engine, "checkin")
    def _left(_: Any, record: Any) -> None:
        record.info["idle_since"] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def _taken(session: Any, record: Any, _: Any) -> None:
        if time.monotonic() - record.info.get("idle_since", math.inf) < PING_AFTER_S:
            return
        try:
            engine.dialect.do_ping(session)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa.exc.InvalidatePoolError from error  # the pool opens new sessions


def _parsed(url: str) -> sa.URL:
    example = "sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise Refused(f"The setting 'database' is not a URL; write {example}.", code="bad_configuration") from None
    if parsed.drivername != "sqlite" and parsed.drivername.partition("+")[0] not in ("postgres", "postgresql"):
        raise Refused(
            f"The setting 'database' names {parsed.drivername!r}, which is not supported; write {example}.",
            code="bad_configuration",
        )
    if parsed.drivername != "sqlite" and importlib.util.find_spec("psycopg") is None:
        raise Refused(
            "A PostgreSQL database needs psycopg: pip install 'fluxport[postgres]'.", code="bad_configuration"
        )
    if parsed.drivername != "sqlite":
        _check_options(parsed)
    return parsed


def _check_options(parsed: sa.URL) -> None:
    """Refused for an option after ``?`` that libpq does not have."""
    from psycopg import ProgrammingError, conninfo

    try:
        conninfo.make_conninfo("", **{name: str(value) for name, value in parsed.query.items()})
    except ProgrammingError:
        raise Refused(
            "The setting 'database' has an option that PostgreSQL does not know, after the '?' of its URL.",
            code="bad_configuration",
        ) from None


@contextlib.contextmanager
def transaction(engine: sa.Engine, *, wait_s: float = SQLITE_WAIT_S) -> Iterator[sa.Connection]:
    """A write transaction; on SQLite it waits up to ``wait_s`` for other writers. Unavailable (``database_away``) if
    the database cannot be used now, Broken (``database_unusable``) if an operator must act first."""
    with (
        translated(engine),
        _turn(engine, wait_s),
        engine.connect() as connection,
        _waiting(connection, wait_s),
        connection.begin(),
    ):
        yield connection


@contextlib.contextmanager
def _turn(engine: sa.Engine, wait_s: float) -> Iterator[None]:
    """Hold this process's write lock of an SQLite database, waiting for it as long as SQLite would wait."""
    lock: threading.Lock | None = engine.get_execution_options().get("turn")
    if lock is None:
        yield
        return
    if not lock.acquire(timeout=wait_s):
        raise Unavailable(BUSY, code=AWAY)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _waiting(connection: sa.Connection, wait_s: float) -> Iterator[None]:
    """Set how long SQLite waits for writers of other processes, if it differs from the default."""
    if connection.dialect.name != "sqlite" or wait_s == SQLITE_WAIT_S:
        yield
        return
    session = connection.connection.driver_connection
    assert session is not None
    session.execute(f"PRAGMA busy_timeout = {wait_s * 1000:.0f}")
    try:
        yield
    finally:
        session.execute(f"PRAGMA busy_timeout = {SQLITE_WAIT_S * 1000:.0f}")


@contextlib.contextmanager
def alone(engine: sa.Engine, wait_s: float) -> Iterator[sa.Connection]:
    """A transaction that may change the schema, one at a time across all processes; waits up to ``wait_s`` for another.
    Both databases roll back schema changes, too, if it fails or the process exits. Raises as :func:`transaction`."""
    if engine.dialect.name == "sqlite":
        with transaction(engine, wait_s=wait_s) as connection:
            yield connection
        return
    with transaction(engine.execution_options(isolation_level="READ COMMITTED")) as connection:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {wait_s * 1000:.0f}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ALONE_LOCK})")
        # A long lock on a table, as pg_dump's, must not make all other transactions queue behind this one.
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {SQLITE_WAIT_S * 1000:.0f}")
        yield connection


@contextlib.contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A read-only transaction, which waits for no writer. Raises as :func:`transaction`; a write in it fails as on a
    read-only database."""
    with (
        translated(engine),
        engine.connect().execution_options(begin=_READ) as connection,
        _read_only(connection),
        connection.begin(),
    ):
        yield connection


@contextlib.contextmanager
def _read_only(connection: sa.Connection) -> Iterator[None]:
    """Make PostgreSQL transactions read-only; on SQLite, the ``begin`` hook of :func:`connect` does."""
    if connection.dialect.name != "postgresql":
        yield
        return
    session: Any = connection.connection.driver_connection
    session.read_only = True
    try:
        yield
    finally:
        if not session.closed:
            session.read_only = None  # not False, which would override a read-only default of the server


def record_use(engine: sa.Engine, statement: sa.Update) -> None:
    """Execute an update that need not be exact, such as when a key was last used. If it would have to wait for another
    writer, or the database is read-only now, it is skipped: the next use records it."""
    with contextlib.suppress(Unavailable), transaction(engine, wait_s=0.0) as connection:
        connection.execute(statement)


def insert_into(connection: sa.Connection, table: sa.Table) -> Any:
    """An INSERT of the database's dialect, which supports ``on_conflict_do_update``."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def database_now(connection: sa.Connection) -> float:
    """The time by the database's clock (Unix seconds), which all workers share."""
    on_sqlite = "SELECT (julianday('now') - 2440587.5) * 86400.0"
    on_postgresql = "SELECT extract(epoch FROM clock_timestamp())"
    query = on_sqlite if connection.dialect.name == "sqlite" else on_postgresql
    return float(connection.execute(sa.text(query)).scalar_one())


class DatabaseClock:
    """The database's clock as this process last read it, extrapolated by a monotonic clock.

    Recorded times come from here, without a query; code that deletes or expires something reads the database's clock in
    its own transaction. Before the first reading this is the process's own clock.
    """

    def __init__(self) -> None:
        self._ahead_of_steady_s: float | None = None
        self.differs_s = 0.0  # this process's clock minus the database's

    def __call__(self) -> float:
        """Unix seconds."""
        return time.time() if self._ahead_of_steady_s is None else steady() + self._ahead_of_steady_s

    def read(self, connection: sa.Connection) -> float:
        """Read the database's clock (Unix seconds), and log when the two clocks begin to differ, or agree again."""
        now = database_now(connection)
        self._ahead_of_steady_s = now - steady()
        differed, self.differs_s = self.differ, time.time() - now
        if self.differ and not differed:
            log.error("%s Synchronize it, by NTP.", self.sentence)
        elif differed and not self.differ:
            log.info("the clock of this process agrees with the database's again")
        return now

    @property
    def differ(self) -> bool:
        return abs(self.differs_s) > CLOCKS_DIFFER_S

    @property
    def sentence(self) -> str:
        side = "ahead of" if self.differs_s > 0 else "behind"
        return f"The clock of this process is {abs(self.differs_s):,.0f} s {side} that of the service's database."


def patiently(do: Callable[[], T], ended: threading.Event, *, staying: bool = False) -> T:
    """The result of ``do``, retried while the service's own database is unavailable: finished work must be recorded,
    however long that takes. With ``staying``, errors that an operator must fix are retried, too. Once ``ended`` is set,
    the last error of ``do`` is raised."""
    again = (AWAY, UNUSABLE) if staying else (AWAY,)
    wait_s = 0.2
    while True:
        try:
            return do()
        except FluxportError as error:
            if error.code not in again or ended.wait(wait_s):
                raise
        wait_s = min(2 * wait_s, 5.0)
