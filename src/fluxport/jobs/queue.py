"""The queue of exports and of notifications, and which worker has claimed them.

Every statement over the tables ``queue``, ``tells`` (notifications) and ``executors`` (heartbeats of workers) is here,
each as part of its caller's transaction. An export has a row in ``queue`` from the transaction that creates it to the
one that ends it, which inserts its targets into ``tells``. A worker claims a row by writing its id into it. The rows of
a worker without a heartbeat are requeued by the next worker that checks:

    queue / tells   | export_id | ... | worker: NULL = waiting, else an id of executors | due_at |
    executors       | id | seen_at: older than DEAD_AFTER_S = lost |
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from fluxport.jobs.states import Status
from fluxport.jobs.wake import CHANNEL
from fluxport.tables import database_now, executors, insert_into, notifications, queue

DEAD_AFTER_S = 8.0
# One lock for all workers, held for a few milliseconds: counting running exports and claiming more are one step.
_TAKE_LOCK = 0x666C7579


class Notification(NamedTuple):
    """A target to notify: ``email:0``, ``webhook:0``, ``upload:0``."""

    export_id: str
    target: str
    tries: int


# Statements are built once: SQLAlchemy takes longer to build one than SQLite takes to run it. ``now`` is the time by
# the database's clock, ``name`` a connection, ``me`` the worker, ``most`` the limit.
_NOW: sa.BindParameter[float] = sa.bindparam("now")
_NAME: sa.BindParameter[str] = sa.bindparam("name")
_MOST: sa.BindParameter[int] = sa.bindparam("most")
_FREE = queue.c.worker.is_(None)
_PUT = sa.insert(queue)
_NOTIFY = sa.select(sa.func.pg_notify(CHANNEL, ""))
_LOCK = sa.text(f"SELECT pg_advisory_xact_lock({_TAKE_LOCK})")
_END = sa.delete(queue).where(queue.c.export_id == sa.bindparam("of"))
_TAKE = (
    sa.update(queue).where(queue.c.export_id.in_(sa.bindparam("ids", expanding=True))).values(worker=sa.bindparam("me"))
)
# Connections with waiting exports, and how many of their exports are claimed.
_RUNNING = (
    sa.select(queue.c.connection, sa.func.count(queue.c.worker))
    .group_by(queue.c.connection)
    .having(sa.func.count() > sa.func.count(queue.c.worker))
)
_DUE_NOTIFICATIONS = (
    sa.select(notifications.c.export_id, notifications.c.target)
    .where(notifications.c.worker.is_(None), notifications.c.due_at <= _NOW)
    .order_by(notifications.c.due_at)
    .limit(_MOST)
    .with_for_update(skip_locked=True)
)
# When the next delayed export is due, and the next notification.
_NEXT_DUE = sa.select(
    sa.select(sa.func.min(queue.c.due_at)).where(_FREE, queue.c.due_at > _NOW).scalar_subquery(),
    sa.select(sa.func.min(notifications.c.due_at)).where(notifications.c.worker.is_(None)).scalar_subquery(),
)


def _next() -> sa.Select[Any]:
    """The next exports of a connection. Owners take turns: the one with the fewest running exports is next; among the
    exports of one owner, priority and age decide."""
    busy = (
        sa.select(queue.c.owner, sa.func.count().label("busy"))
        .where(queue.c.connection == _NAME, queue.c.worker.is_not(None))
        .group_by(queue.c.owner)
        .subquery()
    )
    own = sa.func.row_number().over(partition_by=queue.c.owner, order_by=(queue.c.priority, queue.c.asked_at))
    turn = sa.func.coalesce(busy.c.busy, 0) + own
    return (
        sa.select(queue.c.export_id)
        .outerjoin(busy, busy.c.owner == queue.c.owner)
        .where(queue.c.connection == _NAME, _FREE, queue.c.due_at <= _NOW)
        .order_by(turn, queue.c.asked_at)
        .limit(_MOST)
    )


_NEXT = _next()


def put(connection: sa.Connection, *, export_id: str, reads: str, owner: str, priority: int, asked_at: float) -> None:
    """Queue an export that reads from the connection named ``reads``, and wake workers when the transaction commits."""
    row = {"export_id": export_id, "connection": reads, "owner": owner, "priority": priority, "asked_at": asked_at}
    connection.execute(_PUT, row | {"due_at": 0.0})
    wake(connection)


def end(connection: sa.Connection, export_id: str, status: Status, notify: Mapping[str, Any]) -> None:
    """Remove an export that has ended from the queue, and queue its notifications."""
    connection.execute(_END, {"of": export_id})
    if rows := [{"export_id": export_id, "target": target} for target in targets(status, notify)]:
        connection.execute(sa.insert(notifications), rows)
        wake(connection)


def targets(status: Status, notify: Mapping[str, Any]) -> list[str]:
    """The targets to notify of this final status."""
    mails = notify.get("email", []) if status != "canceled" else []
    names = [f"email:{n}" for n in range(len(mails))]
    if notify.get("webhook"):
        names.append("webhook:0")
    if notify.get("upload") and status == "completed":
        names.append("upload:0")
    return names


def wake(connection: sa.Connection) -> None:
    """Wake the workers. No worker misses this transaction: on SQLite a worker's write waits for its commit, and
    PostgreSQL sends notifications after the commit."""
    if connection.dialect.name == "postgresql":
        connection.execute(_NOTIFY)
        return
    with contextlib.suppress(OSError):  # workers also check periodically
        os.utime(connection.engine.url.database or "")


def waiting(connection: sa.Connection, queries_max: Mapping[str, int], most: int, now: float) -> list[str]:
    """At most ``most`` exports that may be claimed in this transaction, within ``queries_max`` of each connection."""
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK)
    export_ids: list[str] = []
    for name, running in connection.execute(_RUNNING).all():
        if (free := min(queries_max.get(name, 0) - running, most - len(export_ids))) > 0:
            export_ids += connection.scalars(_NEXT, {"name": name, "most": free, "now": now}).all()
    return export_ids


def take(connection: sa.Connection, export_ids: Sequence[str], worker: str) -> None:
    connection.execute(_TAKE, {"ids": export_ids, "me": worker})


def give_back(connection: sa.Connection, export_id: str, worker: str, wait_s: float) -> None:
    """Requeue the export for its next attempt in ``wait_s``, unless another worker has claimed it."""
    mine = sa.update(queue).where(queue.c.export_id == export_id, queue.c.worker == worker)
    connection.execute(mine.values(worker=None, due_at=database_now(connection) + wait_s))
    wake(connection)


def give_back_unknown(
    connection: sa.Connection, worker: str, export_ids: Sequence[str], known: Sequence[Notification]
) -> None:
    """Requeue what the database lists as claimed by this worker, except these exports and targets."""
    mine = sa.update(queue).where(queue.c.worker == worker, queue.c.export_id.not_in(export_ids))
    others = sa.tuple_(notifications.c.export_id, notifications.c.target).not_in(
        [notification[:2] for notification in known]
    )
    for lost in (mine, sa.update(notifications).where(notifications.c.worker == worker, others)):
        connection.execute(lost.values(worker=None))


def take_notifications(connection: sa.Connection, worker: str, most: int, now: float) -> list[Notification]:
    """Claim at most ``most`` targets whose next attempt is due."""
    due = [tuple(row) for row in connection.execute(_DUE_NOTIFICATIONS, {"now": now, "most": most})]
    if not due:
        return []
    taking = (
        sa.update(notifications)
        .where(sa.tuple_(notifications.c.export_id, notifications.c.target).in_(due))
        .values(worker=worker)
    )
    rows = connection.execute(
        taking.returning(notifications.c.export_id, notifications.c.target, notifications.c.tries)
    )
    return [Notification(*row) for row in rows]


def notified(connection: sa.Connection, notification: Notification, worker: str, again_s: float | None) -> None:
    """Record that an attempt has ended; the next one is due in ``again_s`` seconds, None if there is none."""
    mine = (
        notifications.c.export_id == notification.export_id,
        notifications.c.target == notification.target,
        notifications.c.worker == worker,
    )
    if again_s is None:
        connection.execute(sa.delete(notifications).where(*mine))
        return
    later = {"worker": None, "tries": notification.tries + 1, "due_at": database_now(connection) + again_s}
    connection.execute(sa.update(notifications).where(*mine).values(later))


def notifying() -> sa.Select[tuple[str]]:
    """The exports with pending notifications."""
    return sa.select(notifications.c.export_id)


def next_due(connection: sa.Connection, now: float) -> tuple[float | None, float | None]:
    """Seconds until the next delayed export is due, and until the next unclaimed notification is due (negative if it
    already is); None where there is none."""
    export_at, notify_at = connection.execute(_NEXT_DUE, {"now": now}).one()
    return None if export_at is None else export_at - now, None if notify_at is None else notify_at - now


# -- the lease -----------------------------------------------------------------------------------------------------


def beat(connection: sa.Connection, worker: str, now: float, *, judge: bool = True) -> tuple[int, bool]:
    """Write this worker's heartbeat (``now`` by the database's clock) and, with ``judge``, expire workers without one.
    Returns how many jobs of lost workers were requeued, and whether any job is due."""
    insert = insert_into(connection, executors)
    heartbeat = insert.on_conflict_do_update(index_elements=[executors.c.id], set_={"seen_at": insert.excluded.seen_at})
    connection.execute(heartbeat, {"id": worker, "seen_at": now})
    if judge:
        connection.execute(sa.delete(executors).where(executors.c.seen_at < now - DEAD_AFTER_S))
    registered = sa.select(executors.c.id)
    returned, waits = 0, False
    for table in (queue, notifications):
        lost = (
            sa.update(table).where(table.c.worker.is_not(None), table.c.worker.not_in(registered)).values(worker=None)
        )
        returned += connection.execute(lost).rowcount
        due = sa.select(sa.exists().where(table.c.worker.is_(None), table.c.due_at <= now))
        waits = waits or bool(connection.execute(due).scalar_one())
    if returned:
        wake(connection)
    return returned, waits


def newest_heartbeat(connection: sa.Connection) -> float | None:
    """When any worker wrote its last heartbeat; None if there is none, or all workers shut down cleanly."""
    query = sa.select(sa.func.max(executors.c.seen_at)).where(executors.c.seen_at > 0)
    seen_at: float | None = connection.execute(query).scalar_one()
    return seen_at


def leave(connection: sa.Connection, worker: str) -> None:
    """Unregister a worker and requeue its unfinished jobs."""
    connection.execute(sa.delete(executors).where(executors.c.id == worker))
    for table in (queue, notifications):
        connection.execute(sa.update(table).where(table.c.worker == worker).values(worker=None))
    wake(connection)
