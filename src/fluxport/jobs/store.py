"""The job store: every SQL statement over the export tables, each with a name.

A state changes by one conditional UPDATE. Its WHERE clause holds the states that TRANSITIONS allows and, for a worker,
the fence of its attempt. So the database decides every race, and a paused worker that resumes changes nothing:

    worker A   claim: fence 1 ... paused ...................... move(fence=1): 0 rows, Conflict
    worker B                          claim: fence 2 ... move(fence=2): completed
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
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
from fluxport.jobs import queue, redemption
from fluxport.jobs.outcome import Changes, FailedAttempt, Result
from fluxport.jobs.redemption import Redemption
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.states import ACTIVE, FINAL, Phase, Status, leading_to
from fluxport.spec import ExportSpec
from fluxport.tables import (
    DatabaseClock,
    audit,
    connect,
    counters,
    events,
    exports,
    insert_into,
    probes,
    pushes,
    reading,
    transaction,
)
from fluxport.telemetry import events as log_events
from fluxport.telemetry import measures, traces
from fluxport.telemetry.logs import Ids

# One lock for all creators, held for a few milliseconds: counting and inserting are one step.
_CREATE_LOCK = 0x666C7578
PURGE_AT_ONCE = 500
HAPPENED_MAX = 5000
PROBE_BYTES = 1024
_PROBE, _DOWNLOAD_SECRET = 1, 2  # rows of the table ``probes``
# Attempts that ended for these reasons do not count towards the limit: neither source nor sink failed.
WORKER_LOST = Failure.of(
    Unavailable("The worker that ran this attempt exited or sent no heartbeat.", code="worker_lost")
)
WORKER_STOPPED = Failure.of(
    Unavailable("The worker was stopped during this attempt; the export was requeued.", code="worker_stopped")
)
_END_EVENTS: dict[Status, str] = {"completed": "TaskCompleted", "failed": "TaskFailed", "canceled": "TaskCanceled"}
# The span that created an export is stored among its targets, a JSON object whose other keys every version ignores.
_TRACEPARENT = "traceparent"
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

    @property
    def ids(self) -> Ids:
        """The ids of its log lines and spans."""
        return Ids(self.id, self.request_id, self.trace_id, self.notify.get(_TRACEPARENT, ""))

    @property
    def file(self) -> Result | None:
        """The result of a completed export whose file is stored."""
        stored = self.status == "completed" and self.result is not None and self.result.location is not None
        return self.result if stored else None

    @property
    def link_issued_at(self) -> int:
        """When the link of the file was issued (Unix seconds): at the end of the export, or when it was renewed."""
        renewed_at = self.result.link_issued_at if self.result else None
        return int(renewed_at or self.finished_at or 0)


def visible(caller: Caller) -> sa.ColumnElement[bool]:
    """:meth:`fluxport.auth.caller.Caller.sees` as a condition on the table of exports."""
    mine = exports.c.owner == caller.owner
    if caller.person:
        return mine
    kinds = sorted(scope.removesuffix("*") for scope in caller.scopes if scope.endswith(":*"))
    within = sa.or_(exports.c.scope.in_(sorted(caller.scopes)), *(exports.c.scope.startswith(kind) for kind in kinds))
    return sa.and_(mine, within, exports.c.key_id == caller.key_id) if caller.own_results else sa.and_(mine, within)


_FIELDS = [exports.c[f.name] for f in dataclasses.fields(Record)]
# Built once: SQLAlchemy takes longer to build a statement and look it up in its cache than SQLite takes to run it.
_INSERT = sa.insert(exports)
_QUEUE = _INSERT.returning(*_FIELDS)
_GET = sa.select(*_FIELDS).where(exports.c.id == sa.bindparam("of"))
_GET_LOCKED = _GET.with_for_update()
_MINE = exports.c.owner == sa.bindparam("owner")
# Counts of active stored exports, without pushes: one owner's, those of them at one API, and all that are still queued.
_ACTIVE = sa.select(
    *(
        sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)
        for condition in (
            _MINE,
            sa.and_(_MINE, exports.c.door == sa.bindparam("api")),
            exports.c.status == "queued",
        )
    )
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
        "SELECT listened.key, exports.status, events.seq, events.kind, events.data "  # noqa: S608  a constant above
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
def _increment(count: int) -> sa.TextClause:
    """Increment ``count`` counters in one statement, which is cached; SQLAlchemy would compile it each time."""
    rows = ", ".join(f"(:name{n}, :labels{n}, :value{n})" for n in range(count))
    return sa.text(
        f"INSERT INTO counters (name, labels, value) VALUES {rows} "  # noqa: S608  only numbered parameters
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
    """An event of an export; ``seq`` increases by one within the export."""

    export_id: str
    seq: int
    kind: str
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def last(self) -> bool:
        """Whether the export has ended with it."""
        return self.kind in EVENT_KINDS.values()


class Happened(NamedTuple):
    """The state of an export (None if it does not exist) and its events after a given one, in order. ``whole`` is
    False if more events may exist than were read."""

    status: Status | None
    events: list[Event]
    whole: bool


class JobStore:
    """The export tables; safe for any number of threads and processes."""

    def __init__(self, url: str, *, clock: Callable[[], float] | None = None, **pool: Any) -> None:
        """``clock`` (Unix seconds) replaces the database's; ``pool`` is passed to :func:`fluxport.tables.connect`."""
        self.engine = connect(url, **pool)
        self.clock = clock or DatabaseClock()

    def now(self, connection: sa.Connection) -> float:
        """The time by the database's clock, which decides what has expired; this process's clock may differ."""
        return self.clock.read(connection) if isinstance(self.clock, DatabaseClock) else self.clock()

    def check_clock(self) -> None:
        """Unavailable if this process's clock differs from the database's: then nothing is swept."""
        if isinstance(self.clock, DatabaseClock) and self.clock.differ:
            raise Unavailable(f"{self.clock.sentence} Nothing is swept until it is corrected.", code="clock_differs")

    def create_tables(self) -> None:
        """Bring the tables to this program's version. Raises as :func:`fluxport.migrations.upgrade` does."""
        migrations.upgrade(self.engine)
        with reading(self.engine) as connection:
            self.now(connection)

    def close(self) -> None:
        self.engine.dispose()

    def probe(self) -> None:
        """Write one small row; raises as :func:`transaction` does if the database cannot be written now."""
        with transaction(self.engine) as connection:
            row = {"id": _PROBE, "at": self.now(connection), "filling": secrets.token_hex(PROBE_BYTES // 2)}
            insert = insert_into(connection, probes).values(row)
            changed = {"at": insert.excluded.at, "filling": insert.excluded.filling}
            connection.execute(insert.on_conflict_do_update(index_elements=[probes.c.id], set_=changed))

    def download_secret(self) -> bytes:
        """The secret of this database: 32 random bytes, created when first asked for, the same in every process. Raises
        as :func:`transaction` does."""
        known = sa.select(probes.c.filling).where(probes.c.id == _DOWNLOAD_SECRET)
        with reading(self.engine) as connection:
            secret = connection.scalar(known)
        if secret is None:
            with transaction(self.engine) as connection:
                row = {"id": _DOWNLOAD_SECRET, "at": self.now(connection), "filling": secrets.token_hex(32)}
                insert = insert_into(connection, probes).values(row)
                # Of several processes at once, the first one's row stays, and all of them read it.
                stays = insert.on_conflict_do_update(index_elements=[probes.c.id], set_={"at": probes.c.at})
                secret = connection.scalar(stays.returning(probes.c.filling))
        return bytes.fromhex(str(secret))

    # -- creating --------------------------------------------------------------------------------------------------

    def create(
        self,
        request: ExportRequest,
        caller: Caller,
        *,
        api: str,
        active_max: int,
        queue_max: int,
        idempotency: tuple[str, str] | None = None,
        unless_active: str | None = None,
    ) -> tuple[Record, bool]:
        """A queued export and whether it is new; ``idempotency`` is (key, SHA-256 of the body). Conflict if an export
        of this caller whose key begins with ``unless_active`` is still active.

        Counting, inserting and queueing are one transaction under one lock, so two callers cannot both take the last
        free place. TooMany if the caller has ``active_max`` active exports at this API, or at all as many as its key
        may have; Unavailable if the queue is full; Unprocessable if the key was used with another body.
        """
        with transaction(self.engine) as connection:
            self._lock(connection)
            if idempotency is not None and (known := self._by_key(connection, caller, *idempotency)):
                return known, False
            self._check_room(connection, caller, api, active_max, queue_max)
            if unless_active is not None:
                self._check_alone(connection, caller.owner, unless_active)
            record = self._insert(connection, request, caller, api, idempotency)
            queue.put(
                connection,
                export_id=record.id,
                reads=record.spec.connection,
                owner=record.owner,
                priority=record.priority,
                asked_at=record.created_at,
            )
        _log_queued(record)
        return record, True

    def create_failed(
        self,
        request: ExportRequest,
        caller: Caller,
        *,
        api: str,
        key: tuple[str, str],
        error: Failure,
        unless: Callable[[sa.Connection], bool] = lambda _: False,
    ) -> Record | None:
        """Record an export that failed before it began, once for each ``key``; None if ``unless``, called in the same
        transaction, returns True."""
        with transaction(self.engine) as connection:
            self._lock(connection)
            if unless(connection):
                return None
            if (known := self._by_key(connection, caller, *key)) is not None:
                return known
            record = self._insert(connection, request, caller, api, key)
            record = self._move(connection, record.id, "failed", error=error)
        log_end(record)
        return record

    def _insert(
        self,
        connection: sa.Connection,
        request: ExportRequest,
        caller: Caller,
        api: str,
        idempotency: tuple[str, str] | None,
    ) -> Record:
        key, digest = idempotency or (None, None)
        row: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "owner": caller.owner,
            "door": api,
            "scope": request.spec.scope,
            "key_id": caller.key_id,
            "stored": True,
            "status": "queued",
            "phase": None,
            "spec": request.spec.to_json(),
            "idempotency_key": key,
            "body_sha256": digest,
            "priority": request.priority,
            "counted": request.count,
            "attempt_errors": [],
            "notify": dict(request.notify or {}) | _traced(caller),
            "request_id": caller.request_id,
            "trace_id": traces.trace_id(caller.traceparent),
            "address": caller.address,
            "created_at": self.clock(),
        }
        return _record(connection.execute(_QUEUE, row).one())

    def create_stream(self, export_id: str, spec: ExportSpec, caller: Caller) -> Record:
        """Record a direct stream, running from the start; it takes no place in the queue."""
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
            notify=_traced(caller),
            request_id=caller.request_id,
            trace_id=traces.trace_id(caller.traceparent),
            address=caller.address,
            created_at=now,
            started_at=now,
            finished_at=None,
            expires_at=None,
        )
        with transaction(self.engine) as connection:
            row = _columns({name: value for name, value in vars(record).items() if value is not None})
            connection.execute(_INSERT, row)
            self._note(connection, "export", record.owner, "begun", record)  # bytes are sent while it runs
        return record

    def _lock(self, connection: sa.Connection) -> None:
        # On SQLite, BEGIN IMMEDIATE already holds the write lock.
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATE_LOCK})

    def _by_key(self, connection: sa.Connection, caller: Caller, key: str, digest: str) -> Record | None:
        used = sa.and_(exports.c.owner == caller.owner, exports.c.idempotency_key == key)
        row = connection.execute(sa.select(*_FIELDS, exports.c.body_sha256).where(used)).one_or_none()
        if row is None:
            return None
        if row.body_sha256 != digest:
            raise Unprocessable(
                "This Idempotency-Key was used with another body; use a new key for a new request.",
                code="idempotency_mismatch",
            )
        if not caller.sees(row.owner, row.scope, row.key_id):
            raise Unprocessable(
                "This Idempotency-Key was used with another API key of this user; use a new Idempotency-Key.",
                code="idempotency_mismatch",
            )
        return _record(row)

    def _check_room(self, connection: sa.Connection, caller: Caller, api: str, active_max: int, queue_max: int) -> None:
        own, own_here, queued = connection.execute(_ACTIVE, {"owner": caller.owner, "api": api}).one()
        active, limit = (own_here, active_max) if caller.active_max is None else (own, caller.active_max)
        if active >= limit:
            raise _too_many_active(limit)
        if queued >= queue_max:
            log_events.emit("TaskQueueFull", error_code="queue_full")
            raise Unavailable(
                f"The queue is full ({queue_max} exports); retry in a moment.", code="queue_full", retry_after_s=10
            )

    def _check_alone(self, connection: sa.Connection, owner: str, prefix: str) -> None:
        query = sa.select(exports.c.id).where(
            exports.c.owner == owner,
            exports.c.idempotency_key.startswith(prefix, autoescape=True),
            exports.c.status.in_(ACTIVE),
        )
        if (active := connection.execute(query.limit(1)).scalar_one_or_none()) is not None:
            raise Conflict(
                f"The previous run, {active}, was still active; this run was skipped.", code="schedule_overlap"
            )

    # -- reading ---------------------------------------------------------------------------------------------------

    def get(self, export_id: str, caller: Caller | None = None) -> Record:
        """The export; NotFound if it does not exist or ``caller`` may not see it (None sees all)."""
        with reading(self.engine) as connection:
            return self._get(connection, export_id, caller)

    def _get(
        self, connection: sa.Connection, export_id: str, caller: Caller | None = None, query: sa.Select[Any] = _GET
    ) -> Record:
        row = connection.execute(query, {"of": export_id}).one_or_none()
        if row is None or (caller is not None and not caller.sees(row.owner, row.scope, row.key_id)):
            raise NotFound("There is no such export.", code="no_such_export")
        return _record(row)

    def page(
        self,
        caller: Caller,
        *,
        status: Status | None = None,
        api: str | None = None,
        request_id: str | None = None,
        starting_after: str | None = None,
        limit: int = 20,
    ) -> list[Record]:
        """At most ``limit`` of the exports that the caller may see, newest first, beginning after the export with the
        id ``starting_after``."""
        query = sa.select(*_FIELDS).where(visible(caller))
        if status is not None:
            query = query.where(exports.c.status == status)
        if api is not None:
            query = query.where(exports.c.door == api)
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
            row = connection.execute(query).one_or_none()
            return None if row is None else _record(row)

    # -- pushed rows -----------------------------------------------------------------------------------------------

    def create_push(
        self,
        spec: ExportSpec,
        caller: Caller,
        *,
        api: str,
        key: tuple[str, str],
        held_until: float,
    ) -> tuple[Record, bool]:
        """An export whose rows arrive through a connection of this process, and whether it is new; ``key`` is the
        idempotency key, as in :meth:`create`. A failed, canceled or expired export releases its key, so that its sender
        can retry."""
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
            record = self._insert(connection, ExportRequest(spec), caller, api, key)
            connection.execute(sa.insert(pushes).values(export_id=record.id, held_until=held_until))
        _log_queued(record)
        return record, True

    def _check_active(self, connection: sa.Connection, caller: Caller, limit: int) -> None:
        active = sa.select(sa.func.count()).where(exports.c.owner == caller.owner, exports.c.status.in_(ACTIVE))
        if connection.execute(active).scalar_one() >= limit:
            raise _too_many_active(limit)

    def hold_pushes(self, export_ids: Sequence[str], until: float) -> None:
        """Renew this process's lease on these pushes until ``until`` (Unix seconds)."""
        with transaction(self.engine) as connection:
            connection.execute(sa.update(pushes).where(pushes.c.export_id.in_(export_ids)).values(held_until=until))

    def release_push(self, export_id: str) -> None:
        with transaction(self.engine) as connection:
            connection.execute(sa.delete(pushes).where(pushes.c.export_id == export_id))

    def lost_pushes(self) -> list[str]:
        """The ids of pushes whose lease has expired: the process that held their connection is lost."""
        with reading(self.engine) as connection:
            query = sa.select(pushes.c.export_id).where(pushes.c.held_until < self.now(connection))
            return list(connection.scalars(query))

    # -- counting ----------------------------------------------------------------------------------------------------

    def measured(self) -> tuple[dict[str, int], list[measures.Sample]]:
        """The number of stored exports in each active state, and every counter."""
        active = (
            sa.select(exports.c.status, sa.func.count())
            .where(exports.c.stored, exports.c.status.in_(ACTIVE))
            .group_by(exports.c.status)
        )
        with reading(self.engine) as connection:
            states = {row[0]: row[1] for row in connection.execute(active)}
            rows = connection.execute(sa.select(counters.c.name, counters.c.labels, counters.c.value))
            return states, [measures.Sample(*row) for row in rows]

    def _count(self, connection: sa.Connection, increments: list[measures.Sample]) -> None:
        """Increment counters, always in the same order, so that transactions do not deadlock."""
        if increments:
            values = {
                f"{name}{n}": value
                for n, sample in enumerate(sorted(increments))
                for name, value in sample._asdict().items()
            }
            connection.execute(_increment(len(increments)), values)

    # -- changing --------------------------------------------------------------------------------------------------

    def claim(self, export_id: str, *, attempts_max: int) -> Record | None:
        """Begin the next attempt: ``running`` with a new fence; None if the export has ended already."""
        with transaction(self.engine) as connection:
            return next(iter(self._claim(connection, [export_id], attempts_max)), None)

    def _claim(self, connection: sa.Connection, export_ids: Sequence[str], attempts_max: int) -> list[Record]:
        values = {"ids": export_ids, "most": attempts_max, "now": self.clock()}
        claimed = [_record(row) for row in connection.execute(_CLAIM, values)]
        if retries := sum(record.attempts > 1 for record in claimed):
            self._count(connection, [measures.increment("fluxport_retries_total", retries)])
        return [self._with_lost_attempts(connection, record, record.attempts - 1) for record in claimed]

    def _with_lost_attempts(self, connection: sa.Connection, record: Record, ended: int) -> Record:
        """Record WORKER_LOST for each of the ``ended`` attempts without a reason: their worker could not record one."""
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
        """Claim the exports of :func:`queue.waiting` within the caller's transaction. Returns those whose next attempt
        has begun, and those that have failed because they reached ``attempts_max``."""
        if not (ids := queue.waiting(connection, queries_max, most, self.clock())):
            return [], []
        taken = self._claim(connection, ids, attempts_max)
        exhausted: list[Record] = []
        for export_id in set(ids) - {record.id for record in taken}:
            if (record := self._get(connection, export_id)).status in ACTIVE:  # else it ended concurrently
                self._with_lost_attempts(connection, record, record.attempts)
                error = Failure.of(
                    Broken(f"The worker exited {record.attempts} times while running this export.", code="workers_died")
                )
                exhausted.append(self._move(connection, export_id, "failed", error=error))
        if taken:
            queue.take(connection, [record.id for record in taken], worker)
        return taken, exhausted

    def move(
        self,
        export_id: str,
        status: Status,
        *,
        fence: int | None = None,
        audited: Mapping[str, Any] | None = None,
        **changes: Unpack[Changes],
    ) -> Record:
        """Change the state and emit an event; Conflict if TRANSITIONS or the fence does not allow it. ``audited`` holds
        details that only the audit records."""
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
        bound = {"of": export_id, "at_fence": fence} | {f"new_{name}": value for name, value in values.items()}
        changed = connection.execute(_change(status, fence is not None, tuple(values)), bound).one_or_none()
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
            # Transactions of other ending exports wait for these row locks, so they are taken last.
            self._count(connection, measures.ended(_measured(record)))
        return record

    def expect(self, export_id: str, fence: int, rows_total: int | None) -> None:
        """Record how many rows an attempt will have; None if the number is unknown."""
        with transaction(self.engine) as connection:
            connection.execute(
                sa.update(exports)
                .where(exports.c.id == export_id, exports.c.fence == fence)
                .values(rows_total=rows_total)
            )

    def progress(self, export_id: str, fence: int, phase: Phase, rows: int, size_bytes: int) -> Status | None:
        """Record the progress of an attempt; returns the export's state, or None if another attempt has replaced it."""
        with transaction(self.engine) as connection:
            changed = connection.execute(
                sa.update(exports)
                .where(exports.c.id == export_id, exports.c.fence == fence, exports.c.status == "running")
                .values(phase=phase, rows=rows, bytes=size_bytes)
            )
            if changed.rowcount:
                self._emit(connection, export_id, "progress", {"phase": phase, "rows": rows, "bytes": size_bytes})
                return "running"
            record = self._get(connection, export_id)
            return record.status if record.fence == fence else None

    def attempt_failed(self, export_id: str, fence: int, error: Failure) -> None:
        """Record why an attempt failed."""
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
        """State and new events of each export in ``since`` ({export id: last seq}), read by one statement and so
        consistent. Exports beyond ``most`` rows are missing."""
        statement = _HAPPENED[self.engine.dialect.name]
        with reading(self.engine) as connection:
            rows = connection.execute(statement, {"since": json.dumps(dict(since)), "most": most}).all()
        by_export: dict[str, Happened] = {}
        for export_id, status, seq, kind, data in rows:
            happened = by_export.setdefault(export_id, Happened(status, [], whole=True))
            if seq is not None:
                happened.events.append(Event(export_id, seq, kind, data))
        if len(rows) == most:
            by_export[export_id] = by_export[export_id]._replace(whole=False)
        return by_export

    # -- links, expiry, audit --------------------------------------------------------------------------------------

    def check_open(self, token_sha256: str, session: str | None) -> bool:
        """As :func:`redemption.check_open`."""
        with reading(self.engine) as connection:
            return redemption.check_open(connection, token_sha256, session, self.clock())

    def used_links(self, token_sha256s: Sequence[str]) -> set[str]:
        """The given one-time links that have been redeemed or replaced."""
        with reading(self.engine) as connection:
            return redemption.used(connection, token_sha256s)

    def renew_link(self, export_id: str, digest_of: Callable[[Record], str]) -> Record:
        """Replace the link of a stored file; ``digest_of`` returns the digest of the present one, which is used up. The
        new one is issued now, but a second later than the present one at the earliest: of any number of renewals, no
        two make the same link."""
        with transaction(self.engine) as connection:
            record = self._get(connection, export_id, query=_GET_LOCKED)
            if record.file is None:
                return record
            now = self.clock()
            redemption.close(connection, digest_of(record), export_id, _kept_until(record), now)
            result = replace(record.file, link_issued_at=max(int(now), record.link_issued_at + 1))
            values = _columns({"result": result})
            connection.execute(sa.update(exports).where(exports.c.id == export_id).values(values))
            return replace(record, result=result)

    def expire(self) -> list[Record]:
        """Move completed exports past ``expires_at`` to ``expired``, and delete their events and expired links.
        Unavailable if this process's clock differs from the database's."""
        with transaction(self.engine) as connection:
            now = self.now(connection)
            self.check_clock()
            due = sa.update(exports).where(exports.c.status.in_(leading_to("expired")), exports.c.expires_at <= now)
            expired = [_record(row) for row in connection.execute(due.values(status="expired").returning(*_FIELDS))]
            for first in range(0, len(expired), PURGE_AT_ONCE):  # databases limit the parameters of a statement
                ids = [record.id for record in expired[first : first + PURGE_AT_ONCE]]
                connection.execute(sa.delete(events).where(events.c.export_id.in_(ids)))
            redemption.purge(connection, now)
        return expired

    def lost_streams(self, running_s: float) -> list[str]:
        """Direct streams that have been running for more than ``running_s``: their process must have exited."""
        with reading(self.engine) as connection:
            query = sa.select(exports.c.id).where(
                exports.c.stored.is_(False),
                exports.c.status == "running",
                exports.c.started_at < self.now(connection) - running_s,
            )
            return list(connection.scalars(query))

    def purge_history(self, after_s: float) -> int:
        """Delete exports without a file that ended more than ``after_s`` ago, and their events; returns how many. The
        audit stays. Unavailable if this process's clock differs from the database's."""
        with transaction(self.engine) as connection:
            ended_before = self.now(connection) - after_s
            self.check_clock()
            old = sa.select(exports.c.id).where(
                exports.c.status.in_(FINAL),
                exports.c.finished_at < ended_before,
                sa.or_(exports.c.status != "completed", exports.c.stored.is_(False)),
            )
            ids = list(connection.scalars(old.limit(PURGE_AT_ONCE)))
            self._delete(connection, ids)
        return len(ids)

    def forget(self, api: str, after_s: float) -> list[Record]:
        """Delete exports of this API that completed more than ``after_s`` ago and have notified everyone, and their
        events; returns at most PURGE_AT_ONCE, whose files the caller deletes. The audit stays. Unavailable if this
        process's clock differs from the database's."""
        with transaction(self.engine) as connection:
            ended_before = self.now(connection) - after_s
            self.check_clock()
            old = sa.select(*_FIELDS).where(
                exports.c.door == api,
                exports.c.status.in_(("completed", "expired")),
                exports.c.finished_at <= ended_before,
                exports.c.id.not_in(queue.notifying()),
            )
            records = [_record(row) for row in connection.execute(old.limit(PURGE_AT_ONCE))]
            self._delete(connection, [record.id for record in records])
        return records

    def _delete(self, connection: sa.Connection, export_ids: Sequence[str]) -> None:
        """Delete exports and their events; databases limit the number of ids."""
        connection.execute(sa.delete(events).where(events.c.export_id.in_(export_ids)))
        connection.execute(sa.delete(exports).where(exports.c.id.in_(export_ids)))

    def purge_audit(self, after_s: float) -> None:
        """Delete lines older than ``after_s``; Unavailable if this process's clock differs from the database's."""
        with transaction(self.engine) as connection:
            before = self.now(connection) - after_s
            self.check_clock()
            connection.execute(sa.delete(audit).where(audit.c.at < before))

    def note(
        self, action: str, owner: str, outcome: str, *, address: str = "", export_id: str | None = None, **detail: Any
    ) -> None:
        """Write one line of the audit; ``export_id`` if it concerns an export."""
        row = {"at": self.clock(), "owner": owner, "action": action, "export_id": export_id, "outcome": outcome}
        with transaction(self.engine) as connection:
            connection.execute(sa.insert(audit).values(row | {"address": address, "detail": detail}))

    def begin_download(self, record: Record, address: str, redeemed: Redemption | None, **more: Any) -> None:
        """Write one line of the audit: a download of the export's file, or of a range of it, begins; ``redeemed`` if it
        is by a one-time link. Gone if another client has redeemed that link."""
        with transaction(self.engine) as connection:
            if redeemed is not None:
                redemption.begin(connection, redeemed, record.id, _kept_until(record), self.clock())
            self._note_download(connection, record, "begun", address, **more)

    def end_download(
        self, record: Record, outcome: str, address: str, redeemed: Redemption | None, *, sent: bool, **more: Any
    ) -> None:
        """Write one line of the audit: the download has ended; ``sent`` is False if not even the status was sent."""
        with transaction(self.engine) as connection:
            if redeemed is not None:
                redemption.end(connection, redeemed, self.clock(), sent=sent)
            self._note_download(connection, record, outcome, address, **more)

    def give_back(self, redeemed: Redemption) -> None:
        """Give the one-time link back, if it was redeemed by a download of which nothing was sent."""
        with transaction(self.engine) as connection:
            redemption.end(connection, redeemed, self.clock(), sent=False)

    def _note_download(
        self, connection: sa.Connection, record: Record, outcome: str, address: str, **more: Any
    ) -> None:
        self._note(connection, "download", record.owner, outcome, replace(record, address=address), **more)

    def _note(
        self,
        connection: sa.Connection,
        action: str,
        owner: str,
        outcome: str,
        record: Record,
        **more: Any,
    ) -> None:
        """Write one line of the audit: user, source and filters, columns, rows and bytes, sink, client address,
        outcome."""
        detail = {
            "door": record.door,
            "source": record.spec.source,
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
            lines: Sequence[Any] = connection.execute(query.order_by(audit.c.id.desc()).limit(limit)).mappings().all()
            return list(lines)


def _traced(caller: Caller) -> dict[str, Any]:
    return {_TRACEPARENT: caller.traceparent} if caller.traceparent else {}


def _kept_until(record: Record) -> float:
    """Until when a used link of the file has to be known: as long as there is a file (Unix seconds)."""
    return math.inf if record.expires_at is None else record.expires_at


def _too_many_active(limit: int) -> TooMany:
    return TooMany(
        f"{limit} of your exports are active already; wait until one ends or cancel one.",
        code="too_many_active",
        retry_after_s=5,
    )


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


def _log_queued(record: Record) -> None:
    log_events.emit("TaskCreated", record.ids)
    log_events.emit("TaskQueued", record.ids)


def log_start(record: Record, now: float) -> None:
    """Log that an attempt begins."""
    waited_ms = round((now - record.created_at) * 1000, 1)
    log_events.emit("TaskStarted", record.ids, attempt=record.attempts, duration_ms=waited_ms)


def log_end(record: Record) -> None:
    """Log that an export has ended."""
    log_events.emit(
        _END_EVENTS[record.status],
        record.ids,
        rows=record.rows,
        bytes=record.bytes,
        error_code=None if record.error is None else record.error.code,
        duration_ms=round(_measured(record).duration_s * 1000, 1),
    )


def _record(row: Any) -> Record:
    """A row of the table with its JSON columns as types; :func:`_columns` is the inverse."""
    values = {f.name: getattr(row, f.name) for f in dataclasses.fields(Record)}
    values["spec"] = ExportSpec(**values["spec"])
    values["attempt_errors"] = tuple(FailedAttempt.from_json(reason) for reason in values["attempt_errors"])
    values["error"] = values["error"] and Failure.from_json(values["error"])
    values["result"] = values["result"] and Result.from_json(values["result"])
    return Record(**values)


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a record as the table stores them."""
    return {
        name: _JSON[name](value) if name in _JSON and value is not None else value for name, value in values.items()
    }


_JSON: dict[str, Callable[[Any], Any]] = {
    "spec": ExportSpec.to_json,
    "result": Result.to_json,
    "error": Failure.to_json,
    "attempt_errors": lambda reasons: [reason.to_json() for reason in reasons],
}
