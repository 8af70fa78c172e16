"""Exports as the product knows them: every statement over our tables is here, each with its name.

A state changes by one conditional UPDATE whose WHERE holds the states the table allows and, for a worker, the fence of
its attempt; so two who race are told apart by the database, and a paused worker that comes back changes nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Unpack

import sqlalchemy as sa

from fluxport import migrations
from fluxport.auth.caller import Caller
from fluxport.error_codes import Failure
from fluxport.errors import Broken, Conflict, NotFound, TooMany, Unavailable, Unprocessable
from fluxport.jobs import queue
from fluxport.jobs.outcome import Changes, FailedAttempt, Result
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.states import ACTIVE, FINAL, Phase, Status, leading_to
from fluxport.spec import ExportSpec
from fluxport.tables import (
    DatabaseClock,
    audit,
    connect,
    counters,
    events,
    executors,
    exports,
    insert_into,
    links,
    probes,
    pushes,
    reading,
    transaction,
)
from fluxport.telemetry import measures

log = logging.getLogger("fluxport.exports")

# One lock for all who create, held for the few milliseconds of a creation: counts and insert are one step.
_CREATE_LOCK = 0x666C7578
PURGE_AT_ONCE = 500
HAPPENED_MAX = 5000
PROBE_BYTES = 1024
# Reasons of attempts that nothing outside ended: they use up none of the tries.
WORKER_LOST = Failure.of(
    Unavailable("The worker that carried this attempt ended, or gave no sign of life.", code="worker_lost")
)
WORKER_STOPPED = Failure.of(
    Unavailable("The worker was stopped before the end; the export went back to the queue.", code="worker_stopped")
)
EVENT_KINDS: dict[Status, str] = {"completed": "completed", "failed": "failed", "canceled": "canceled"}


@dataclass(frozen=True)
class Record:
    """One row of the table of exports. Times are Unix seconds."""

    id: str
    owner: str
    door: str
    scope: str
    key_id: str | None
    stored: bool
    status: Status
    phase: str | None
    spec: ExportSpec
    priority: int
    counted: bool
    fence: int
    rows: int
    rows_total: int | None
    bytes: int
    result: Result | None
    attempts: int
    attempt_errors: tuple[FailedAttempt, ...]
    error: Failure | None
    notify: dict[str, Any]
    request_id: str
    trace_id: str
    address: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    expires_at: float | None


def visible(caller: Caller) -> sa.ColumnElement[bool]:
    """:meth:`fluxport.auth.caller.Caller.sees` as a condition on the table of exports."""
    mine = exports.c.owner == caller.owner
    if caller.person:
        return mine
    kinds = sorted(scope.removesuffix("*") for scope in caller.scopes if scope.endswith(":*"))
    within = sa.or_(exports.c.scope.in_(sorted(caller.scopes)), *(exports.c.scope.startswith(kind) for kind in kinds))
    return sa.and_(mine, within, exports.c.key_id == caller.key_id) if caller.own_results else sa.and_(mine, within)


_FIELDS = [exports.c[f.name] for f in dataclasses.fields(Record)]
# Made once: SQLAlchemy takes longer to make a statement, and to see that it knows it, than SQLite to run it.
_INSERT = sa.insert(exports)
_QUEUE = _INSERT.returning(*_FIELDS)
_GET = sa.select(*_FIELDS).where(exports.c.id == sa.bindparam("of"))
# How many stored exports are active, of them one owner's, and those that have not begun; without those of pushes.
_ACTIVE = sa.select(
    sa.func.count(),
    sa.func.coalesce(sa.func.sum(sa.case((exports.c.owner == sa.bindparam("owner"), 1), else_=0)), 0),
    sa.func.coalesce(sa.func.sum(sa.case((exports.c.status == "queued", 1), else_=0)), 0),
).where(exports.c.stored, exports.c.status.in_(ACTIVE), exports.c.id.not_in(sa.select(pushes.c.export_id)))
_NOTE = sa.insert(audit)
_LAST = sa.select(sa.func.coalesce(sa.func.max(events.c.seq), 0)).where(events.c.export_id == sa.bindparam("of"))
_EMIT = sa.insert(events).values(
    {c.name: sa.bindparam(f"new_{c.name}", type_=c.type) for c in events.c if c.name != "seq"}
    | {"seq": _LAST.scalar_subquery() + 1}
)


# ``since`` is {export: seq} as JSON.
_HAPPENED = {
    dialect: sa.text(
        "SELECT listened.key, exports.status, events.seq, events.kind, events.data "  # noqa: S608  a word of our own
        f"FROM {each} AS listened LEFT JOIN exports ON exports.id = listened.key "
        "LEFT JOIN events ON events.export_id = listened.key AND events.seq > CAST(listened.value AS INTEGER) "
        "ORDER BY listened.key, events.seq LIMIT :most"
    ).columns(data=sa.JSON)
    for dialect, each in (("sqlite", "json_each(:since)"), ("postgresql", "json_each_text(CAST(:since AS json))"))
}


@functools.cache
def _change(status: Status, fenced: bool, names: tuple[str, ...]) -> sa.UpdateBase:
    """Change the state ``of`` an export and the columns ``names`` to their ``new_`` values."""
    update = sa.update(exports).where(exports.c.id == sa.bindparam("of"), exports.c.status.in_(leading_to(status)))
    if fenced:
        update = update.where(exports.c.fence == sa.bindparam("at_fence"))
    values = {name: sa.bindparam(f"new_{name}", type_=exports.c[name].type) for name in names}
    return update.values(values).returning(*_FIELDS)


@functools.cache
def _raise(count: int) -> sa.TextClause:
    """Raise so many counters in one statement, which is prepared once; SQLAlchemy would compile it each time."""
    rows = ", ".join(f"(:name{n}, :labels{n}, :value{n})" for n in range(count))
    return sa.text(
        f"INSERT INTO counters (name, labels, value) VALUES {rows} "  # noqa: S608  names of our own
        "ON CONFLICT (name, labels) DO UPDATE SET value = counters.value + excluded.value"
    )


_CLAIM = (
    sa.update(exports)
    .where(exports.c.id.in_(sa.bindparam("ids", expanding=True)), exports.c.status.in_(leading_to("running")))
    .where(exports.c.attempts < sa.bindparam("most"))
    .values(
        status="running",
        phase="planning",
        fence=exports.c.fence + 1,
        attempts=exports.c.attempts + 1,
        rows=0,
        rows_total=None,
        bytes=0,
        started_at=sa.func.coalesce(exports.c.started_at, sa.bindparam("now", type_=sa.Double)),
    )
    .returning(*_FIELDS)
)


@dataclass(frozen=True)
class Event:
    """Something that happened to an export; ``seq`` rises by one within it."""

    export_id: str
    seq: int
    kind: str
    data: dict[str, Any] = field(default_factory=dict)


class Happened(NamedTuple):
    """The state of an export, None if there is none, and its events after one of them, in order. Not ``whole``: there
    may be more than these."""

    status: Status | None
    events: list[Event]
    whole: bool


class JobStore:
    """The tables, reached by any number of threads and processes."""

    def __init__(self, url: str, *, clock: Callable[[], float] | None = None, **pool: Any) -> None:
        """``clock`` (Unix seconds) stands for the database's; ``pool`` as :func:`fluxport.tables.connect` takes it."""
        self.engine = connect(url, **pool)
        self.clock = clock or DatabaseClock()

    def now(self, connection: sa.Connection) -> float:
        """The database's clock, which says what has expired, whatever this process's own shows."""
        return self.clock.read(connection) if isinstance(self.clock, DatabaseClock) else self.clock()

    def check_clock(self) -> None:
        """Unavailable if this process's clock differs from the database's: then it sweeps nothing."""
        if isinstance(self.clock, DatabaseClock) and self.clock.differ:
            raise Unavailable(f"{self.clock.sentence} Nothing is swept until it is right.", code="clock_differs")

    def create_tables(self) -> None:
        """Bring the tables to this program's version. Raises as :func:`fluxport.migrations.upgrade` does."""
        migrations.upgrade(self.engine)
        with reading(self.engine) as connection:
            self.now(connection)

    def close(self) -> None:
        self.engine.dispose()

    def probe(self) -> None:
        """Write something small; raises as :func:`transaction` does if that is not possible now."""
        with transaction(self.engine) as connection:
            row = {"id": 1, "at": self.now(connection), "filling": secrets.token_hex(PROBE_BYTES // 2)}
            insert = insert_into(connection, probes).values(row)
            changed = {"at": insert.excluded.at, "filling": insert.excluded.filling}
            connection.execute(insert.on_conflict_do_update(index_elements=[probes.c.id], set_=changed))

    def youngest_beat_s(self) -> float | None:
        """How long ago a worker gave a sign of life last; None if there is none, but such as ended in order."""
        query = sa.select(sa.func.max(executors.c.seen_at)).where(executors.c.seen_at > 0)
        with reading(self.engine) as connection:
            seen_at = connection.execute(query).scalar_one()
            return None if seen_at is None else self.now(connection) - seen_at

    # -- creating --------------------------------------------------------------------------------------------------

    def create(
        self,
        asked: ExportRequest,
        caller: Caller,
        *,
        door: str,
        active_max: int,
        queue_max: int,
        idempotency: tuple[str, str] | None = None,
        unless_active: str | None = None,
    ) -> tuple[Record, bool]:
        """A queued export and whether it is new; ``idempotency`` is (key, SHA-256 of the body). Conflict if one of the
        caller's whose key begins with ``unless_active`` has not ended.

        Counting, inserting and queueing are one transaction behind one lock, so no two callers both see room for a last
        one. TooMany at the caller's limit, Unavailable with a full queue, Unprocessable for a key used before.
        """
        with transaction(self.engine) as connection:
            self._lock(connection)
            if idempotency is not None and (known := self._by_key(connection, caller, *idempotency)):
                return known, False
            self._check_room(connection, caller, active_max, queue_max)
            if unless_active is not None:
                self._check_alone(connection, caller.owner, unless_active)
            record = self._insert(connection, asked, caller, door, idempotency)
            queue.put(
                connection,
                export_id=record.id,
                reads=record.spec.connection,
                owner=record.owner,
                priority=record.priority,
                asked_at=record.created_at,
            )
            return record, True

    def create_failed(
        self,
        asked: ExportRequest,
        caller: Caller,
        *,
        door: str,
        key: tuple[str, str],
        error: Failure,
        unless: Callable[[sa.Connection], bool] = lambda _: False,
    ) -> Record | None:
        """An export that ended before it could begin, once for each ``key``; None if ``unless``, asked in the same
        transaction, says so."""
        with transaction(self.engine) as connection:
            self._lock(connection)
            if unless(connection):
                return None
            if (known := self._by_key(connection, caller, *key)) is not None:
                return known
            record = self._insert(connection, asked, caller, door, key)
            record = self._move(connection, record.id, "failed", error=error)
        log_end(record)
        return record

    def _insert(
        self,
        connection: sa.Connection,
        asked: ExportRequest,
        caller: Caller,
        door: str,
        idempotency: tuple[str, str] | None,
    ) -> Record:
        key, digest = idempotency or (None, None)
        row: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "owner": caller.owner,
            "door": door,
            "scope": asked.spec.scope,
            "key_id": caller.key_id,
            "stored": True,
            "status": "queued",
            "phase": None,
            "spec": dataclasses.asdict(asked.spec),
            "idempotency_key": key,
            "body_sha256": digest,
            "priority": asked.priority,
            "counted": asked.count,
            "attempt_errors": [],
            "notify": dict(asked.notify or {}),
            "request_id": caller.request_id,
            "trace_id": caller.trace_id,
            "address": caller.address,
            "created_at": self.clock(),
        }
        return _record(connection.execute(_QUEUE, row).one())

    def create_stream(self, export_id: str, spec: ExportSpec, caller: Caller) -> Record:
        """A direct stream, running from the start; it counts against no queue."""
        now = self.clock()
        record = Record(
            id=export_id,
            owner=caller.owner,
            door="native",
            scope=spec.scope,
            key_id=caller.key_id,
            stored=False,
            status="running",
            phase="reading",
            spec=spec,
            priority=ExportRequest(spec).priority,
            counted=False,
            fence=1,
            rows=0,
            rows_total=None,
            bytes=0,
            result=None,
            attempts=1,
            attempt_errors=(),
            error=None,
            notify={},
            request_id=caller.request_id,
            trace_id=caller.trace_id,
            address=caller.address,
            created_at=now,
            started_at=now,
            finished_at=None,
            expires_at=None,
        )
        with transaction(self.engine) as connection:
            row = _columns({name: value for name, value in vars(record).items() if value is not None})
            connection.execute(_INSERT, row)
            self._note(connection, "export", record.owner, "begun", record)  # its bytes leave while it runs
        return record

    def _lock(self, connection: sa.Connection) -> None:
        # SQLite's BEGIN IMMEDIATE has taken the one writer's turn already.
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATE_LOCK})

    def _by_key(self, connection: sa.Connection, caller: Caller, key: str, digest: str) -> Record | None:
        used = sa.and_(exports.c.owner == caller.owner, exports.c.idempotency_key == key)
        found = connection.execute(sa.select(*_FIELDS, exports.c.body_sha256).where(used)).one_or_none()
        if found is None:
            return None
        if found.body_sha256 != digest:
            raise Unprocessable(
                "This Idempotency-Key was used with another body; use a new key for a new request.",
                code="idempotency_mismatch",
            )
        if not caller.sees(found.owner, found.scope, found.key_id):
            raise Unprocessable(
                "This Idempotency-Key was used with another key of this user; use a new one.",
                code="idempotency_mismatch",
            )
        return _record(found)

    def _check_room(self, connection: sa.Connection, caller: Caller, active_max: int, queue_max: int) -> None:
        _, own, queued = connection.execute(_ACTIVE, {"owner": caller.owner}).one()
        limit = active_max if caller.active_max is None else caller.active_max
        if own >= limit:
            raise TooMany(
                f"{limit} of your exports are active already; wait until one ends or cancel one.",
                code="too_many_active",
                retry_after_s=5,
            )
        if queued >= queue_max:
            raise Unavailable(
                f"{queue_max} exports are waiting already; ask again in a moment.", code="queue_full", retry_after_s=10
            )

    def _check_alone(self, connection: sa.Connection, owner: str, prefix: str) -> None:
        query = sa.select(exports.c.id).where(
            exports.c.owner == owner,
            exports.c.idempotency_key.startswith(prefix, autoescape=True),
            exports.c.status.in_(ACTIVE),
        )
        if (active := connection.execute(query.limit(1)).scalar_one_or_none()) is not None:
            raise Conflict(
                f"The run before, {active}, was still going; this one was left out.", code="schedule_overlap"
            )

    # -- looking ---------------------------------------------------------------------------------------------------

    def get(self, export_id: str, caller: Caller | None = None) -> Record:
        """The export; NotFound if there is none that the caller sees (None sees all)."""
        with reading(self.engine) as connection:
            return self._get(connection, export_id, caller)

    def _get(self, connection: sa.Connection, export_id: str, caller: Caller | None = None) -> Record:
        found = connection.execute(_GET, {"of": export_id}).one_or_none()
        if found is None or (caller is not None and not caller.sees(found.owner, found.scope, found.key_id)):
            raise NotFound("There is no such export.", code="no_such_export")
        return _record(found)

    def page(
        self,
        caller: Caller,
        *,
        status: Status | None = None,
        door: str | None = None,
        request_id: str | None = None,
        starting_after: str | None = None,
        limit: int = 20,
    ) -> list[Record]:
        """The exports that the caller sees, newest first, at most ``limit``, those after ``starting_after``."""
        query = sa.select(*_FIELDS).where(visible(caller))
        if status is not None:
            query = query.where(exports.c.status == status)
        if door is not None:
            query = query.where(exports.c.door == door)
        if request_id is not None:
            query = query.where(exports.c.request_id == request_id)
        with reading(self.engine) as connection:
            if starting_after is not None:
                after = self._get(connection, starting_after, caller)
                query = query.where(
                    sa.tuple_(exports.c.created_at, exports.c.id) < sa.tuple_(after.created_at, after.id)
                )
            query = query.order_by(exports.c.created_at.desc(), exports.c.id.desc()).limit(limit)
            return [_record(row) for row in connection.execute(query)]

    def last_with_key(self, owner: str, prefix: str) -> Record | None:
        """The newest export whose idempotency key begins with ``prefix``."""
        query = (
            sa.select(*_FIELDS)
            .where(exports.c.owner == owner, exports.c.idempotency_key.startswith(prefix, autoescape=True))
            .order_by(exports.c.created_at.desc())
            .limit(1)
        )
        with reading(self.engine) as connection:
            found = connection.execute(query).one_or_none()
            return None if found is None else _record(found)

    # -- pushed rows -----------------------------------------------------------------------------------------------

    def create_push(
        self,
        spec: ExportSpec,
        caller: Caller,
        *,
        door: str,
        key: tuple[str, str],
        held_until: float,
    ) -> tuple[Record, bool]:
        """An export whose rows come through a connection of this process, and whether it is new; ``key`` as in
        :meth:`create`. One that failed, or whose file is gone, gives its key up: its sender tries again."""
        with transaction(self.engine) as connection:
            self._lock(connection)
            over = ("failed", "canceled", "expired")
            mine = sa.and_(exports.c.owner == caller.owner, exports.c.idempotency_key == key[0])
            connection.execute(
                sa.update(exports)
                .where(mine, exports.c.status.in_(over))
                .values(idempotency_key=None, body_sha256=None)
            )
            if (known := self._by_key(connection, caller, *key)) is not None:
                return known, False
            if caller.active_max is not None:
                self._check_active(connection, caller, caller.active_max)
            record = self._insert(connection, ExportRequest(spec), caller, door, key)
            connection.execute(sa.insert(pushes).values(export_id=record.id, held_until=held_until))
            return record, True

    def _check_active(self, connection: sa.Connection, caller: Caller, limit: int) -> None:
        active = sa.select(sa.func.count()).where(exports.c.owner == caller.owner, exports.c.status.in_(ACTIVE))
        if connection.execute(active).scalar_one() >= limit:
            raise TooMany(
                f"{limit} of your exports are active already; wait until one ends or cancel one.",
                code="too_many_active",
                retry_after_s=5,
            )

    def hold_pushes(self, export_ids: Sequence[str], until: float) -> None:
        """Say that this process still holds the connections of these exports."""
        with transaction(self.engine) as connection:
            connection.execute(sa.update(pushes).where(pushes.c.export_id.in_(export_ids)).values(held_until=until))

    def release_push(self, export_id: str) -> None:
        with transaction(self.engine) as connection:
            connection.execute(sa.delete(pushes).where(pushes.c.export_id == export_id))

    def lost_pushes(self) -> list[str]:
        """Exports whose connection no process holds any more."""
        with reading(self.engine) as connection:
            query = sa.select(pushes.c.export_id).where(pushes.c.held_until < self.now(connection))
            return list(connection.scalars(query))

    # -- counting ----------------------------------------------------------------------------------------------------

    def measured(self) -> tuple[dict[str, int], list[measures.Rise]]:
        """How many stored exports wait and run, and every counter."""
        active = (
            sa.select(exports.c.status, sa.func.count())
            .where(exports.c.stored, exports.c.status.in_(ACTIVE))
            .group_by(exports.c.status)
        )
        with reading(self.engine) as connection:
            states = {row[0]: row[1] for row in connection.execute(active)}
            rows = connection.execute(sa.select(counters.c.name, counters.c.labels, counters.c.value))
            return states, [measures.Rise(*row) for row in rows]

    def _count(self, connection: sa.Connection, rises: list[measures.Rise]) -> None:
        """Raise counters, by all in the same order, so that no two transactions wait for each other."""
        if rises:
            values = {
                f"{name}{n}": value for n, rise in enumerate(sorted(rises)) for name, value in rise._asdict().items()
            }
            connection.execute(_raise(len(rises)), values)

    # -- changing --------------------------------------------------------------------------------------------------

    def claim(self, export_id: str, *, attempts_max: int) -> Record | None:
        """Begin the next attempt: ``running`` with a new fence; None if the export has ended already."""
        with transaction(self.engine) as connection:
            return next(iter(self._claim(connection, [export_id], attempts_max)), None)

    def _claim(self, connection: sa.Connection, export_ids: Sequence[str], attempts_max: int) -> list[Record]:
        values = {"ids": export_ids, "most": attempts_max, "now": self.clock()}
        found = [_record(row) for row in connection.execute(_CLAIM, values)]
        if again := sum(record.attempts > 1 for record in found):
            self._count(connection, [measures.rise("fluxport_retries_total", again)])
        return [self._with_lost_attempts(connection, record, record.attempts - 1) for record in found]

    def _with_lost_attempts(self, connection: sa.Connection, record: Record, ended: int) -> Record:
        """Of the attempts that have ended, those without a reason were a lost worker's: now they have one."""
        missing = ended - len(record.attempt_errors)
        if missing <= 0:
            return record
        lost = FailedAttempt.now(WORKER_LOST, self.clock())
        reasons = (*record.attempt_errors, *[lost] * missing)
        values = _columns({"attempt_errors": reasons})
        connection.execute(sa.update(exports).where(exports.c.id == record.id).values(values))
        return replace(record, attempt_errors=reasons)

    def take(
        self, connection: sa.Connection, worker: str, queries_max: Mapping[str, int], most: int, attempts_max: int
    ) -> tuple[list[Record], list[Record]]:
        """Take exports out of the queue, those of :func:`queue.waiting`, as part of the caller's transaction: those at
        which the next attempt has begun, and those that were begun too often and have failed."""
        if not (ids := queue.waiting(connection, queries_max, most, self.clock())):
            return [], []
        taken = self._claim(connection, ids, attempts_max)
        given_up: list[Record] = []
        for export_id in set(ids) - {record.id for record in taken}:
            if (record := self._get(connection, export_id)).status in ACTIVE:  # not ended at this very moment
                self._with_lost_attempts(connection, record, record.attempts)
                error = Failure.of(
                    Broken(f"{record.attempts} workers ended while they carried it out.", code="workers_died")
                )
                given_up.append(self._move(connection, export_id, "failed", error=error))
        if taken:
            queue.take(connection, [record.id for record in taken], worker)
        return taken, given_up

    def move(
        self,
        export_id: str,
        status: Status,
        *,
        fence: int | None = None,
        audited: Mapping[str, Any] | None = None,
        **changes: Unpack[Changes],
    ) -> Record:
        """Change the state and tell it as an event; Conflict if the table or the fence does not allow it. ``audited``
        is what only the audit has of an end."""
        with transaction(self.engine) as connection:
            record = self._move(connection, export_id, status, fence=fence, audited=audited, **changes)
        if status in EVENT_KINDS:
            log_end(record)
        return record

    def _move(
        self,
        connection: sa.Connection,
        export_id: str,
        status: Status,
        *,
        fence: int | None = None,
        audited: Mapping[str, Any] | None = None,
        **changes: Unpack[Changes],
    ) -> Record:
        ended = {"finished_at": self.clock(), "phase": None} if status in FINAL and status != "expired" else {}
        values = _columns({"status": status, **ended, **changes})
        given = {"of": export_id, "at_fence": fence} | {f"new_{name}": value for name, value in values.items()}
        changed = connection.execute(_change(status, fence is not None, tuple(values)), given).one_or_none()
        if changed is None:
            record = self._get(connection, export_id)
            raise Conflict(f"This export is {record.status} and cannot become {status}.", code="wrong_state")
        record = _record(changed)
        if status in EVENT_KINDS:
            self._emit(
                connection,
                export_id,
                EVENT_KINDS[status],
                {"status": status, "error": record.error and record.error.to_json()},
            )
            self._note(connection, "export", record.owner, status, record, **(audited or {}))
            if record.stored:
                queue.end(connection, export_id, status, record.notify)
            # Others that end wait for these rows until the transaction does, so they come last.
            self._count(connection, measures.ended(_measured(record)))
        return record

    def expect(self, export_id: str, fence: int, rows_total: int | None) -> None:
        """Note how many rows an attempt will have, or that nobody knows."""
        with transaction(self.engine) as connection:
            connection.execute(
                sa.update(exports)
                .where(exports.c.id == export_id, exports.c.fence == fence)
                .values(rows_total=rows_total)
            )

    def progress(self, export_id: str, fence: int, phase: Phase, rows: int, size_bytes: int) -> Status | None:
        """Note how far an attempt is; the export's state, or None if the attempt is no longer the one that counts."""
        with transaction(self.engine) as connection:
            changed = connection.execute(
                sa.update(exports)
                .where(exports.c.id == export_id, exports.c.fence == fence, exports.c.status == "running")
                .values(phase=phase, rows=rows, bytes=size_bytes)
            )
            if changed.rowcount:
                self._emit(connection, export_id, "progress", {"phase": phase, "rows": rows, "bytes": size_bytes})
                return "running"
            found = self._get(connection, export_id)
            return found.status if found.fence == fence else None

    def attempt_failed(self, export_id: str, fence: int, error: Failure) -> None:
        """Record the reason of an attempt that will be followed by another."""
        with transaction(self.engine) as connection:
            record = self._get(connection, export_id)
            reasons = (*record.attempt_errors, FailedAttempt.now(error, self.clock()))
            connection.execute(
                sa.update(exports)
                .where(exports.c.id == export_id, exports.c.fence == fence)
                .values(_columns({"attempt_errors": reasons}))
            )

    def _emit(self, connection: sa.Connection, export_id: str, kind: str, data: Mapping[str, Any]) -> None:
        row = {"of": export_id, "new_export_id": export_id, "new_kind": kind}
        connection.execute(_EMIT, row | {"new_data": dict(data), "new_at": self.clock()})

    def happened(self, since: Mapping[str, int], most: int = HAPPENED_MAX) -> dict[str, Happened]:
        """What has happened to exports since an event of each, by one statement, whose parts are of one moment. Of
        exports that do not fit into ``most`` rows there is nothing."""
        statement = _HAPPENED[self.engine.dialect.name]
        with reading(self.engine) as connection:
            rows = connection.execute(statement, {"since": json.dumps(dict(since)), "most": most}).all()
        found: dict[str, Happened] = {}
        for export_id, status, seq, kind, data in rows:
            happened = found.setdefault(export_id, Happened(status, [], whole=True))
            if seq is not None:
                happened.events.append(Event(export_id, seq, kind, data))
        if len(rows) == most:
            found[export_id] = found[export_id]._replace(whole=False)
        return found

    # -- links, expiry, audit --------------------------------------------------------------------------------------

    def link_used(self, token_sha256: str) -> bool:
        with reading(self.engine) as connection:
            found = connection.execute(sa.select(links.c.token_sha256).where(links.c.token_sha256 == token_sha256))
            return found.one_or_none() is not None

    def used_links(self, token_sha256s: Sequence[str]) -> set[str]:
        """Those of the tokens that have been used."""
        with reading(self.engine) as connection:
            found = connection.scalars(sa.select(links.c.token_sha256).where(links.c.token_sha256.in_(token_sha256s)))
            return set(found)

    def issue_link(self, export_id: str, *, after: int) -> Record:
        """Note that a link was issued now, or as early as that is later than ``after`` (Unix seconds)."""
        with transaction(self.engine) as connection:
            record = self._get(connection, export_id)
            if record.result is None:
                return record
            result = replace(record.result, link_issued_at=max(int(self.clock()), after + 1))
            values = _columns({"result": result})
            connection.execute(sa.update(exports).where(exports.c.id == export_id).values(values))
            return replace(record, result=result)

    def use_link(self, token_sha256: str, export_id: str, expires_at: float) -> bool:
        """Use a one-time link up; False if somebody has done so before."""
        row = {
            "token_sha256": token_sha256,
            "export_id": export_id,
            "used_at": self.clock(),
            "expires_at": expires_at,
        }
        try:
            with transaction(self.engine) as connection:
                connection.execute(sa.insert(links).values(row))
        except sa.exc.IntegrityError:
            return False
        return True

    def expire(self) -> list[Record]:
        """Move exports whose files are past their time to ``expired``, and delete their events, and links that have
        expired. Unavailable if this process's clock is wrong."""
        with transaction(self.engine) as connection:
            now = self.now(connection)
            self.check_clock()
            due = connection.execute(
                sa.select(*_FIELDS).where(exports.c.status == "completed", exports.c.expires_at <= now)
            ).all()
            ids = [row.id for row in due]
            connection.execute(sa.update(exports).where(exports.c.id.in_(ids)).values(status="expired"))
            connection.execute(sa.delete(events).where(events.c.export_id.in_(ids)))
            connection.execute(sa.delete(links).where(links.c.expires_at <= now))
        return [_record(row) for row in due]

    def lost_streams(self, running_s: float) -> list[str]:
        """Direct streams that have run for so long that they must have ended: their process has died."""
        with reading(self.engine) as connection:
            query = sa.select(exports.c.id).where(
                exports.c.stored.is_(False),
                exports.c.status == "running",
                exports.c.started_at < self.now(connection) - running_s,
            )
            return list(connection.scalars(query))

    def purge_history(self, after_s: float) -> int:
        """Delete exports that ended so long ago and have no file any more, with what happened to them; how many. The
        audit stays. Unavailable if this process's clock is wrong."""
        with transaction(self.engine) as connection:
            ended_before = self.now(connection) - after_s
            self.check_clock()
            old = sa.select(exports.c.id).where(
                exports.c.status.in_(FINAL),
                exports.c.finished_at < ended_before,
                sa.or_(exports.c.status != "completed", exports.c.stored.is_(False)),
            )
            ids = list(connection.scalars(old.limit(PURGE_AT_ONCE)))
            connection.execute(sa.delete(events).where(events.c.export_id.in_(ids)))
            connection.execute(sa.delete(exports).where(exports.c.id.in_(ids)))
        return len(ids)

    def purge_audit(self, after_s: float) -> None:
        """Delete lines so old; Unavailable if this process's clock is wrong."""
        with transaction(self.engine) as connection:
            before = self.now(connection) - after_s
            self.check_clock()
            connection.execute(sa.delete(audit).where(audit.c.at < before))

    def note(
        self, action: str, owner: str, outcome: str, *, address: str = "", export_id: str | None = None, **detail: Any
    ) -> None:
        """One line of the audit; ``export_id`` if it is about an export."""
        row = {"at": self.clock(), "owner": owner, "action": action, "export_id": export_id, "outcome": outcome}
        with transaction(self.engine) as connection:
            connection.execute(sa.insert(audit).values(row | {"address": address, "detail": detail}))

    def note_download(self, record: Record, outcome: str, address: str, **more: Any) -> None:
        """One line of the audit: the export's file, or part of it, begins to leave or has left."""
        record = replace(record, address=address)
        with transaction(self.engine) as connection:
            self._note(connection, "download", record.owner, outcome, record, **more)

    def _note(
        self,
        connection: sa.Connection,
        action: str,
        owner: str,
        outcome: str,
        record: Record,
        **more: Any,
    ) -> None:
        """Who, what source and filters, which columns, how much, where to, from where, and how it ended."""
        detail = {
            "door": record.door,
            "source": {name: getattr(record.spec, name) for name in ("query", "dataset", "connection", "params")},
            "format": record.spec.format,
            "store": record.spec.store if record.stored else None,
            "columns": [column["name"] for column in record.result.columns] if record.result else [],
            "rows": record.rows,
            "bytes": record.bytes,
            "error_code": record.error and record.error.code,
            **more,
        }
        row = {
            "at": self.clock(),
            "owner": owner,
            "action": action,
            "export_id": record.id,
            "outcome": outcome,
            "address": record.address,
            "detail": detail,
        }
        connection.execute(_NOTE, row)

    def audit_page(
        self,
        *,
        owner: str | None = None,
        action: str | None = None,
        export_id: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Any]:
        """Audit lines, newest first; ``before`` is the id of the last line seen."""
        query = sa.select(audit)
        for column, wanted in ((audit.c.owner, owner), (audit.c.action, action), (audit.c.export_id, export_id)):
            if wanted is not None:
                query = query.where(column == wanted)
        if before is not None:
            query = query.where(audit.c.id < before)
        with reading(self.engine) as connection:
            found: Sequence[Any] = connection.execute(query.order_by(audit.c.id.desc()).limit(limit)).mappings().all()
            return list(found)


def _measured(record: Record) -> measures.Ended:
    began = record.created_at if record.started_at is None else record.started_at
    ended = record.created_at if record.finished_at is None else record.finished_at
    return measures.Ended(
        canceled=record.status == "canceled",
        error_code=record.error.code if record.status == "failed" and record.error else None,
        format=record.spec.format,
        source=record.spec.connection,
        rows=record.rows,
        size_bytes=record.bytes,
        duration_s=max(ended - began, 0.0),
        upload_s=None if record.result is None else record.result.upload_s,
    )


def log_end(record: Record) -> None:
    fields = {
        "task_id": record.id,
        "request_id": record.request_id,
        "trace_id": record.trace_id,
        "rows": record.rows,
        "bytes": record.bytes,
        "error_code": record.error and record.error.code,
        "duration_ms": round(_measured(record).duration_s * 1000, 1),
    }
    log.info("export %s", record.status, extra=fields)


def _record(row: Any) -> Record:
    """A row of the table, its JSON typed; :func:`_columns` is the way back."""
    found = {f.name: getattr(row, f.name) for f in dataclasses.fields(Record)}
    found["spec"] = ExportSpec(**found["spec"])
    found["attempt_errors"] = tuple(FailedAttempt.from_json(reason) for reason in found["attempt_errors"])
    found["error"] = found["error"] and Failure.from_json(found["error"])
    found["result"] = found["result"] and Result.from_json(found["result"])
    return Record(**found)


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a record as the table has them."""
    return {
        name: _JSON[name](value) if name in _JSON and value is not None else value for name, value in values.items()
    }


_JSON: dict[str, Callable[[Any], Any]] = {
    "spec": dataclasses.asdict,
    "result": Result.to_json,
    "error": Failure.to_json,
    "attempt_errors": lambda reasons: [reason.to_json() for reason in reasons],
}
