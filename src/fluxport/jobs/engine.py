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
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from fluxport.database_errors import translated
from fluxport.errors import FluxportError, Unavailable
from fluxport.jobs.carry import Carrier
from fluxport.jobs.clock import SCHEDULES, Clock
from fluxport.jobs.schedule import Scheduler
from fluxport.jobs.store import Record, Store
from fluxport.jobs.tell import Teller
from fluxport.loops import attempt, background, end_process
from fluxport.tables import database_now, executors, transaction

if TYPE_CHECKING:
    from dbos import DBOSClient, EnqueueOptions

T = TypeVar("T")

log = logging.getLogger("fluxport.engine")

WORKFLOW = "fluxport.export"
TELL_WORKFLOW = "fluxport.tell"
TELLS = "tells"
TELLS_AT_ONCE = 8
SCHEDULES_AT_ONCE = 4
# Workflows of one version are carried by workers of that version alone; ours stay compatible with their past.
APPLICATION_VERSION = "1"
BEAT_EVERY_S = 2.0
DEAD_AFTER_S = 8.0
LOOK_EVERY_S = 0.05
SETTLE_S = 5.0  # what is stopped goes back to the queue within this, or is taken over
UNUSABLE_MAX_S = 30.0  # so long may an error of the database last that does not pass by itself
POLL_EVERY_S = 0.05
AT_ONCE = 500


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
        self.url = engine_url(url)
        self._client: DBOSClient | None = None
        self._lock = threading.Lock()

    def migrate(self) -> None:
        """Create or upgrade the engine's own tables."""
        from dbos import DBOS

        logging.getLogger("dbos").setLevel(logging.WARNING)
        with translated():
            DBOS.migrate(self.url)

    def put(self, connection: sa.Connection, record: Record) -> None:
        """Queue the export as part of the caller's transaction."""
        self.enqueue(
            connection,
            {
                "workflow_name": WORKFLOW,
                "queue_name": queue_name(record.spec["connection"]),
                "workflow_id": record.id,
                "queue_partition_key": record.owner,
                "priority": record.priority,
            },
            record.id,
        )

    def enqueue(self, connection: sa.Connection, options: EnqueueOptions, *args: Any) -> None:
        """Queue a workflow as part of the caller's transaction."""
        self._reached().enqueue_in_transaction(connection, {**options, "app_version": APPLICATION_VERSION}, *args)

    def known(self, workflow_ids: Sequence[str]) -> set[str]:
        """Those of the workflows that the engine has, whatever became of them. Unavailable if the database is away."""
        found: set[str] = set()
        with translated():
            for start in range(0, len(workflow_ids), AT_ONCE):
                listed = self._reached().list_workflows(
                    workflow_ids=list(workflow_ids[start : start + AT_ONCE]), load_input=False, load_output=False
                )
                found.update(workflow.workflow_id for workflow in listed)
        return found

    def _reached(self) -> DBOSClient:
        with self._lock:
            if self._client is None:
                from dbos import DBOSClient, DBOSPortableJSONSerializer

                self._client = DBOSClient(
                    system_database_url=self.url,
                    serializer=DBOSPortableJSONSerializer(),
                    application_name="fluxport",
                    lazy=True,
                    retry_connection_errors=False,
                )
            return self._client

    def forget(self, ended_before: float) -> int:
        """Delete what the engine keeps of workflows that ended before this time; how many there were. Unavailable if
        the database is away."""
        with translated():
            return self._forget(ended_before)

    def _forget(self, ended_before: float) -> int:
        client = self._reached()
        forgotten = 0
        while True:
            found = client.list_workflows(
                completed_before=datetime.fromtimestamp(ended_before, UTC).isoformat(),
                status=["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
                limit=AT_ONCE,
                load_input=False,
                load_output=False,
            )
            client.delete_workflows([workflow.workflow_id for workflow in found])
            forgotten += len(found)
            if len(found) < AT_ONCE:
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
        queue: Queue,
        carrier: Carrier,
        *,
        workers: int,
        queries_max: dict[str, int],
        teller: Teller,
        scheduler: Scheduler,
    ) -> None:
        self._store = store
        self._url = queue.url
        self._carrier = carrier
        self._workers = workers
        self._queries_max = queries_max
        self._teller = teller
        self._clock = Clock(scheduler, store.engine, queue)
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
        scheduled = self._clock.register(_register_exports(self._carrier, self._teller))
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
        self._clock.start(scheduled)
        self._beats = background("fluxport-lease", self._keep_alive)

    def stop(self, grace_s: float, hurried: threading.Event) -> None:
        """Give what runs ``grace_s`` to finish, or until ``hurried`` is set; what does not goes back to the queue for
        whoever is alive. The process is to end then: threads of the engine may still be there."""
        from dbos import DBOS

        until = time.monotonic() + grace_s
        # It takes nothing new from here on, and is over when nothing runs any more.
        destroy = partial(DBOS.destroy, workflow_completion_timeout_sec=max(1, int(grace_s)))
        ending = background("fluxport-end", attempt, "ending the engine", destroy)
        while ending.is_alive() and time.monotonic() < until and not hurried.wait(LOOK_EVERY_S):
            pass
        self._carrier.stop_running()
        self._carrier.settle(SETTLE_S)
        self._stopped.set()
        if self._beats is not None:
            self._beats.join(BEAT_EVERY_S)
        # Long ago: whoever looks next takes over at once what this one leaves. If it cannot be told, they wait.
        with contextlib.suppress(FluxportError), transaction(self._store.engine) as connection:
            connection.execute(sa.update(executors).where(executors.c.id == self.executor_id).values(seen_at=0.0))

    # -- the lease -------------------------------------------------------------------------------------------------

    def _keep_alive(self) -> None:
        beaten = time.monotonic()
        while not self._stopped.wait(BEAT_EVERY_S):
            try:
                self._beat()
            except Unavailable as error:
                log.warning("no heartbeat: %s", error.message)
                continue
            except Exception as error:
                log.exception("no heartbeat")
                if time.monotonic() - beaten > UNUSABLE_MAX_S:
                    end_process("the service's own database stays unusable", error)
                continue
            beaten = time.monotonic()
            # What is wrong with one of these must not end the lease, nor what runs under it.
            attempt("looking back at the runs of schedules", self._clock.look_back)
            attempt("taking over what dead workers left", self._take_over_all)

    def _take_over_all(self) -> None:
        for dead in self._dead():
            self._take_over(dead)

    def _beat(self) -> None:
        with transaction(self._store.engine) as connection:
            now = self._store.now(connection)
            changed = connection.execute(
                sa.update(executors).where(executors.c.id == self.executor_id).values(seen_at=now)
            )
            if not changed.rowcount:
                connection.execute(sa.insert(executors).values(id=self.executor_id, seen_at=now))

    def _dead(self) -> Iterable[str]:
        with transaction(self._store.engine) as connection:
            limit = database_now(connection) - DEAD_AFTER_S
            return list(connection.scalars(sa.select(executors.c.id).where(executors.c.seen_at < limit)))

    def _take_over(self, dead: str) -> None:
        """Put a dead worker's workflows back into their queues. Any number of workers may do so at once."""
        from dbos import DBOS

        # Not public, and the only way without a paid control plane: pinned with the version, proved by the kill tests.
        taken: Sequence[Any] = DBOS._recover_pending_workflows([dead])
        if taken:
            log.warning("took over %d exports of a worker that is gone", len(taken))
        with transaction(self._store.engine) as connection:
            limit = database_now(connection) - DEAD_AFTER_S
            connection.execute(sa.delete(executors).where(executors.c.id == dead, executors.c.seen_at < limit))


def _or_end(do: Callable[[], T]) -> T:
    """What ``do`` gives. If it raises, the state of an export could not be recorded: as a failed step that would end
    the workflow and leave the export as it is for ever, so the process ends and another worker recovers it."""
    try:
        return do()
    except Exception as error:  # noqa: BLE001  whatever it is
        end_process("the state of an export could not be recorded", error)


def _register_exports(carrier: Carrier, teller: Teller) -> Callable[[str], None]:
    """Attempts with durable sleeps between them, then each target told by a workflow of its own, which waits for its
    next try in the queue and so holds nothing up. What tells everybody of an export is given back."""
    from dbos import DBOS

    @DBOS.step(name="fluxport.attempt")
    def attempt(export_id: str) -> float | None:
        return _or_end(lambda: carrier.attempt(export_id))

    @DBOS.step(name="fluxport.targets")
    def targets(export_id: str) -> list[str]:
        return _or_end(lambda: teller.targets(export_id))

    @DBOS.step(name="fluxport.tell")
    def tell_once(export_id: str, target: str, tries: int) -> float | None:
        return _or_end(lambda: teller.tell(export_id, target, tries))

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
