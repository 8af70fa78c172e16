"""The durable engine that carries jobs: DBOS on the same database, and a lease that hands a dead worker's jobs on.

The API's side (:class:`Queue`) only writes a workflow into the queue, inside the transaction that creates the export.
The worker's side (:class:`Worker`) runs the workflow: attempts with durable sleeps between them, then the telling, each
step once per export whatever dies. DBOS recovers the workflows of an executor that is known to be dead; who is dead is
told by heartbeats in our own table.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from fluxport.errors import Unavailable
from fluxport.jobs.carry import Carrier
from fluxport.jobs.schedule import NOBODY, Scheduler
from fluxport.jobs.store import Record, Store
from fluxport.jobs.tell import Teller
from fluxport.tables import AWAY, executors, transaction

if TYPE_CHECKING:
    from dbos import DBOSClient, EnqueueOptions

log = logging.getLogger("fluxport.engine")

WORKFLOW = "fluxport.export"
TELL_WORKFLOW = "fluxport.tell"
SCHEDULED_WORKFLOW = "fluxport.scheduled"
MISSED_WORKFLOW = "fluxport.missed"
TELLS = "tells"
TELLS_AT_ONCE = 8
SCHEDULES = "schedules"
SCHEDULES_AT_ONCE = 4
# Workflows of one version are carried by workers of that version alone; ours stay compatible with their past.
APPLICATION_VERSION = "1"
BEAT_EVERY_S = 2.0
DEAD_AFTER_S = 8.0
POLL_EVERY_S = 0.05
FORGET_AT_ONCE = 500


def queue_name(connection: str) -> str:
    """Each database connection has a queue of its own, whose global concurrency is the queries it may run."""
    return f"exports-{connection}"


def engine_url(url: str) -> str:
    """The URL in the form that the engine reads."""
    parsed = sa.make_url(url)
    if parsed.drivername.startswith("postgres"):
        return parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    return parsed.render_as_string(hide_password=False)


class Queue:
    """The API's side of the engine."""

    def __init__(self, url: str) -> None:
        self._url = engine_url(url)
        self._client: DBOSClient | None = None
        self._lock = threading.Lock()

    def migrate(self) -> None:
        """Create or upgrade the engine's own tables."""
        from dbos import DBOS

        logging.getLogger("dbos").setLevel(logging.WARNING)
        DBOS.migrate(self._url)

    def put(self, connection: sa.Connection, record: Record) -> None:
        """Queue the export as part of the caller's transaction."""
        self._reached().enqueue_in_transaction(
            connection,
            {
                "workflow_name": WORKFLOW,
                "queue_name": queue_name(record.spec["connection"]),
                "workflow_id": record.id,
                "app_version": APPLICATION_VERSION,
                "queue_partition_key": record.owner,
                "priority": record.priority,
            },
            record.id,
        )

    def _reached(self) -> DBOSClient:
        with self._lock:
            if self._client is None:
                from dbos import DBOSClient, DBOSPortableJSONSerializer

                self._client = DBOSClient(
                    system_database_url=self._url,
                    serializer=DBOSPortableJSONSerializer(),
                    application_name="fluxport",
                    lazy=True,
                    retry_connection_errors=False,
                )
            return self._client

    def forget(self, ended_before: float) -> int:
        """Delete what the engine keeps of workflows that ended before this time; how many there were. Unavailable if
        the database is away."""
        try:
            return self._forget(ended_before)
        except sa.exc.SQLAlchemyError as error:
            raise Unavailable("The service's own database is away; it is tidied later.", code=AWAY) from error

    def _forget(self, ended_before: float) -> int:
        client = self._reached()
        forgotten = 0
        while True:
            found = client.list_workflows(
                completed_before=datetime.fromtimestamp(ended_before, UTC).isoformat(),
                status=["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
                limit=FORGET_AT_ONCE,
                load_input=False,
                load_output=False,
            )
            client.delete_workflows([workflow.workflow_id for workflow in found])
            forgotten += len(found)
            if len(found) < FORGET_AT_ONCE:
                return forgotten

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.destroy()


class Worker:
    """The worker's side: ``start`` begins taking jobs, ``stop`` ends it and hands on what is left."""

    def __init__(
        self,
        store: Store,
        url: str,
        carrier: Carrier,
        *,
        workers: int,
        queries_max: dict[str, int],
        teller: Teller,
        scheduler: Scheduler,
    ) -> None:
        self._store = store
        self._url = engine_url(url)
        self._carrier = carrier
        self._workers = workers
        self._queries_max = queries_max
        self._teller = teller
        self._scheduler = scheduler
        self.executor_id = uuid.uuid4().hex
        self._stopped = threading.Event()
        self._beats: threading.Thread | None = None

    def start(self) -> None:
        from dbos import DBOS, DBOSPortableJSONSerializer

        DBOS(
            config={
                "name": "fluxport",
                "system_database_url": self._url,
                "application_version": APPLICATION_VERSION,
                "executor_id": self.executor_id,
                "serializer": DBOSPortableJSONSerializer(),
                "log_level": "ERROR",
                "max_executor_threads": 2 * self._workers + 8,
            }
        )
        scheduled = _register(self._carrier, self._teller, self._scheduler)
        self._beat()
        DBOS.listen_queues([TELLS, SCHEDULES, *(queue_name(name) for name in self._queries_max)])
        DBOS.launch()
        for name, at_once in ((TELLS, TELLS_AT_ONCE), (SCHEDULES, SCHEDULES_AT_ONCE)):
            DBOS.register_queue(name, worker_concurrency=at_once, polling_interval_sec=0.5, on_conflict="always_update")
        for name, queries in self._queries_max.items():
            DBOS.register_queue(
                queue_name(name),
                global_concurrency=queries,
                worker_concurrency=min(self._workers, queries),
                partition_concurrency=queries,
                polling_interval_sec=POLL_EVERY_S,
                on_conflict="always_update",
            )
        self._apply_schedules(scheduled)
        self._beats = threading.Thread(target=self._keep_alive, name="fluxport-lease", daemon=True)
        self._beats.start()

    def _apply_schedules(self, scheduled: Callable[[Any, dict[str, str]], None]) -> None:
        """Give the engine the schedules of the configuration, and tell of runs since it last ran one."""
        from dbos import DBOS

        now = datetime.now(UTC)
        kept = {entry["schedule_name"]: entry for entry in DBOS.list_schedules()}
        for name in kept.keys() - self._scheduler.schedules.keys():
            DBOS.delete_schedule(name)
        DBOS.apply_schedules(
            [
                {
                    "schedule_name": name,
                    "workflow_fn": scheduled,
                    "schedule": schedule.cron,
                    "cron_timezone": schedule.timezone,
                    "queue_name": SCHEDULES,
                    # Kept as it is: a definition that changes is begun anew, and could lose the run of that moment.
                    "context": kept[name]["context"] if name in kept else {"name": name, "since": now.isoformat()},
                }
                for name, schedule in self._scheduler.schedules.items()
            ]
        )
        for name, entry in kept.items():
            if name in self._scheduler.schedules:
                self._tell_missed(name, entry["last_fired_at"] or entry["context"]["since"], now)

    def _tell_missed(self, name: str, last_run: str, now: datetime) -> None:
        from dbos import DBOS

        schedule = self._scheduler.schedules[name]
        told = self._scheduler.told_until(name)
        after = datetime.fromisoformat(last_run)
        missed = schedule.missed(after if told is None else max(after, told), now)
        if not missed:
            return
        first, last = missed[0].isoformat(), missed[-1].isoformat()
        # The same id whichever of several workers sees it.
        options: EnqueueOptions = {
            "workflow_name": MISSED_WORKFLOW,
            "queue_name": SCHEDULES,
            "workflow_id": f"missed-{name}-{last}",
            "app_version": APPLICATION_VERSION,
        }
        DBOS.enqueue_workflow_with_options(options, name, len(missed), first, last)

    def stop(self, grace_s: float) -> None:
        """Give what runs ``grace_s`` to finish; what does not goes back to the queue for whoever is alive."""
        from dbos import DBOS

        timer = threading.Timer(grace_s, self._carrier.stop_running)
        timer.start()
        try:
            DBOS.destroy(workflow_completion_timeout_sec=int(grace_s) + 5)
        finally:
            timer.cancel()
            self._stopped.set()
            if self._beats is not None:
                self._beats.join(BEAT_EVERY_S + 1)
            # Long ago: whoever looks next takes over at once what this one leaves. If it cannot be told, they wait.
            with contextlib.suppress(Unavailable), transaction(self._store.engine) as connection:
                connection.execute(sa.update(executors).where(executors.c.id == self.executor_id).values(seen_at=0.0))

    # -- the lease -------------------------------------------------------------------------------------------------

    def _keep_alive(self) -> None:
        while not self._stopped.wait(BEAT_EVERY_S):
            try:
                self._beat()
                for dead in self._dead():
                    self._take_over(dead)
            except Unavailable:
                log.warning("the database is away; no heartbeat")

    def _beat(self) -> None:
        with transaction(self._store.engine) as connection:
            now = _now(connection)
            changed = connection.execute(
                sa.update(executors).where(executors.c.id == self.executor_id).values(seen_at=now)
            )
            if not changed.rowcount:
                connection.execute(sa.insert(executors).values(id=self.executor_id, seen_at=now))

    def _dead(self) -> Iterable[str]:
        with transaction(self._store.engine) as connection:
            limit = _now(connection) - DEAD_AFTER_S
            return list(connection.scalars(sa.select(executors.c.id).where(executors.c.seen_at < limit)))

    def _take_over(self, dead: str) -> None:
        """Put a dead worker's workflows back into their queues. Any number of workers may do so at once."""
        from dbos import DBOS

        # Not public, and the only way without a paid control plane: pinned with the version, proved by the kill tests.
        taken: Sequence[Any] = DBOS._recover_pending_workflows([dead])
        if taken:
            log.warning("took over %d exports of a worker that is gone", len(taken))
        with transaction(self._store.engine) as connection:
            limit = _now(connection) - DEAD_AFTER_S
            connection.execute(sa.delete(executors).where(executors.c.id == dead, executors.c.seen_at < limit))


def _register(carrier: Carrier, teller: Teller, scheduler: Scheduler) -> Callable[[Any, dict[str, str]], None]:
    """The workflows. What schedules run is given back."""
    return _register_schedules(scheduler, _register_exports(carrier, teller))


def _register_exports(carrier: Carrier, teller: Teller) -> Callable[[str], None]:
    """Attempts with durable sleeps between them, then each target told by a workflow of its own, which waits for its
    next try in the queue and so holds nothing up. What tells everybody of an export is given back."""
    from dbos import DBOS

    @DBOS.step(name="fluxport.attempt")
    def attempt(export_id: str) -> float | None:
        return carrier.attempt(export_id)

    @DBOS.step(name="fluxport.targets")
    def targets(export_id: str) -> list[str]:
        return teller.targets(export_id)

    @DBOS.step(name="fluxport.tell")
    def tell_once(export_id: str, target: str, tries: int) -> float | None:
        return teller.tell(export_id, target, tries)

    def enqueue_tell(export_id: str, target: str, tries: int, delay_s: float) -> None:
        options: EnqueueOptions = {
            "workflow_name": TELL_WORKFLOW,
            "queue_name": TELLS,
            "workflow_id": f"{export_id}:{target}:{tries}",
            "app_version": APPLICATION_VERSION,
        }
        if delay_s:
            options["delay_seconds"] = delay_s
        DBOS.enqueue_workflow_with_options(options, export_id, target, tries)

    def tell_all(export_id: str) -> None:
        for target in targets(export_id):
            enqueue_tell(export_id, target, 0, 0.0)

    @DBOS.workflow(name=WORKFLOW)
    def export(export_id: str) -> None:
        while (wait_s := attempt(export_id)) is not None:
            DBOS.sleep(wait_s)
        tell_all(export_id)

    @DBOS.workflow(name=TELL_WORKFLOW)
    def tell(export_id: str, target: str, tries: int) -> None:
        if (wait_s := tell_once(export_id, target, tries)) is not None:
            enqueue_tell(export_id, target, tries + 1, wait_s)

    return tell_all


def _register_schedules(scheduler: Scheduler, tell_all: Callable[[str], None]) -> Callable[[Any, dict[str, str]], None]:
    """Runs by the clock, and those that were missed; what the engine calls at each moment is given back."""
    from dbos import DBOS, error

    # Only what is not there now is raised; anything else is an export that failed.
    @DBOS.step(name="fluxport.run", retries_allowed=True, max_attempts=8, interval_seconds=2.0, backoff_rate=2.0)
    def run(name: str, at: str) -> str | None:
        return scheduler.run(name, at)

    @DBOS.step(name="fluxport.missed", retries_allowed=True, max_attempts=8, interval_seconds=2.0, backoff_rate=2.0)
    def tell_missed(name: str, count: int, first: str, last: str, why: str = NOBODY) -> str | None:
        return scheduler.tell_missed(name, count, first, last, why)

    @DBOS.workflow(name=SCHEDULED_WORKFLOW)
    def scheduled(at: Any, context: dict[str, str]) -> None:
        name, moment = context["name"], str(at)  # what JSON made of the moment
        try:
            failed = run(name, moment)
        except error.DBOSMaxStepRetriesExceeded:
            # The queue was full, or the service closing, at every try: what is not asked for must be told all the same.
            failed = tell_missed(name, 1, moment, moment, "the service took nothing for minutes")
        if failed is not None:
            tell_all(failed)

    @DBOS.workflow(name=MISSED_WORKFLOW)
    def missed(name: str, count: int, first: str, last: str) -> None:
        if (failed := tell_missed(name, count, first, last)) is not None:
            tell_all(failed)
        schedule = scheduler.schedules.get(name)
        if schedule is not None and schedule.catch_up and (failed := run(name, last)) is not None:
            tell_all(failed)

    return scheduled


def _now(connection: sa.Connection) -> float:
    """The database's clock: the one that all workers share, whatever their own say."""
    sqlite = "SELECT (julianday('now') - 2440587.5) * 86400.0"
    postgres = "SELECT extract(epoch FROM clock_timestamp())"
    return float(connection.execute(sa.text(sqlite if connection.dialect.name == "sqlite" else postgres)).scalar_one())
