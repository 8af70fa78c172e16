"""The worker: claims exports and notifications from the tables of :mod:`fluxport.jobs.queue` and runs them.

It sleeps until something is queued (:mod:`fluxport.jobs.wake`); heartbeats renew its lease on what it has claimed. A
job that becomes due without waking a worker, such as a lost worker's, is noticed at the next heartbeat.

    worker A   take ..beat ..beat .. SIGKILL
    others      .....beat ..beat ...beat ...beat ...   no heartbeat of A for DEAD_AFTER_S: its jobs are queued again
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from fluxport.errors import FluxportError, Unavailable
from fluxport.jobs import queue
from fluxport.jobs.attempts import Attempts
from fluxport.jobs.clock import Clock
from fluxport.jobs.notify import Notifier
from fluxport.jobs.schedule import Scheduler
from fluxport.jobs.store import JobStore, Record, log_end
from fluxport.jobs.wake import Wake
from fluxport.loops import attempt, background, end_process
from fluxport.tables import patiently, transaction

K = TypeVar("K")
T = TypeVar("T")

log = logging.getLogger("fluxport.engine")

NOTIFICATIONS_AT_ONCE = 8
BEAT_EVERY_S = 3.0
LOOK_EVERY_S = 60.0
LOOKS_APART_S = 0.003
AGAIN_S = 2.0
REQUEUE_S = 5.0  # stopped jobs are requeued within this time, else by another worker when the lease expires
ENDED_LOOK_S = 0.05
UNUSABLE_MAX_S = 30.0  # how long a database error that is not temporary may last before the process exits
# PostgreSQL sessions of the service's own database, besides the listening one; each is used for a few milliseconds.
SESSIONS = 3


class Worker:
    """``start`` begins to claim jobs; ``stop`` lets running ones finish and requeues the rest."""

    def __init__(
        self,
        store: JobStore,
        attempts: Attempts,
        *,
        workers: int,
        queries_max: Mapping[str, int],
        notifier: Notifier,
        scheduler: Scheduler,
    ) -> None:
        self._store = store
        self._attempts = attempts
        self._queries_max = queries_max
        self._notifier = notifier
        self._clock = Clock(scheduler, store.engine)
        self._wake = Wake(store.engine)
        self.executor_id = uuid.uuid4().hex
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers + NOTIFICATIONS_AT_ONCE, thread_name_prefix="fluxport-job")
        self._exports: dict[Future[None], str] = {}
        self._notifications: dict[Future[None], queue.Notification] = {}
        self._unsure = False  # whether the database may list jobs as this worker's that are not among these
        self._ending = threading.Event()  # claim no more jobs
        self._stopped = threading.Event()
        # By time.monotonic(): the last heartbeat, and the time from which workers without one count as lost.
        self._beaten, self._judge_at = time.monotonic(), 0.0
        self._threads: tuple[threading.Thread, threading.Thread]

    def start(self) -> None:
        self._beat()
        self._clock.mark()
        self._threads = (background("fluxport-take", self._take_on), background("fluxport-lease", self._keep_alive))
        if self._clock.needed:
            background("fluxport-clock", self._clock.run, self._ending)

    def stop(self, grace_s: float, hurried: Callable[[float], bool]) -> None:
        """Let running jobs finish for ``grace_s``, or until ``hurried`` (which waits the given seconds) returns True;
        then stop and requeue the rest for other workers. The process must exit afterwards: threads may be left."""
        until = time.monotonic() + grace_s
        self._ending.set()
        self._wake.wake()
        taking, lease = self._threads
        while (taking.is_alive() or self._exports or self._notifications) and time.monotonic() < until:
            if hurried(ENDED_LOOK_S):
                break
        self._attempts.stop_running()
        wait([*self._exports, *self._notifications], REQUEUE_S)
        self._attempts.requeue_running()
        self._stopped.set()
        lease.join(BEAT_EVERY_S)
        # If this fails, other workers take over when the lease expires.
        with contextlib.suppress(FluxportError), transaction(self._store.engine) as connection:
            queue.leave(connection, self.executor_id)

    # -- claiming --------------------------------------------------------------------------------------------------

    def _take_on(self) -> None:
        failing = False
        while not self._ending.is_set():
            failing = not attempt("taking jobs", lambda: self._wake.wait(self._take()), quiet=failing)
            # One pass serves several wake-ups in quick succession.
            self._ending.wait(AGAIN_S if failing else LOOKS_APART_S)

    def _take(self) -> float:
        """Begin as many jobs as there are free threads; returns the seconds until the next one is due."""
        records: list[Record] = []
        exhausted: list[Record] = []
        due: list[queue.Notification] = []
        now = self._store.clock()
        # A transaction may have been committed although its reply was lost, or a thread could not be started.
        unsure, self._unsure = self._unsure, True
        exports, notifications = list(self._exports.values()), list(self._notifications.values())
        with transaction(self._store.engine) as connection:
            if unsure:
                queue.give_back_unknown(connection, self.executor_id, exports, notifications)
            if (free := self._workers - len(self._exports)) > 0:
                records, exhausted = self._store.take(
                    connection, self.executor_id, self._queries_max, free, self._attempts.options.attempts_max
                )
            export_s, notify_s = queue.next_due(connection, now)
            if (
                notify_s is not None
                and notify_s <= 0
                and (free := NOTIFICATIONS_AT_ONCE - len(self._notifications)) > 0
            ):
                due = queue.take_notifications(connection, self.executor_id, free, now)
        for record in exhausted:
            log_end(record)
        for record in records:
            self._begin(self._exports, record.id, self._run, record)
        for notification in due:
            self._begin(self._notifications, notification, self._notify, notification)
        self._unsure = False
        # A due notification that was not claimed waits until one of this worker's ends, which wakes this thread.
        waits = [wait_s for wait_s in (export_s, notify_s) if wait_s is not None and wait_s > 0]
        return min([LOOK_EVERY_S, *waits])

    def _begin(self, under_way: dict[Future[None], K], key: K, work: Callable[[T], None], what: T) -> None:
        def over(job: Future[None]) -> None:
            under_way.pop(job)
            self._wake.wake()

        job = self._pool.submit(work, what)
        under_way[job] = key
        job.add_done_callback(over)

    def _run(self, record: Record) -> None:
        wait_s = self._done(lambda: self._attempts.run(record))
        if wait_s is not None:
            self._done(lambda: patiently(lambda: self._give_back(record.id, wait_s), self._stopped, staying=True))

    def _give_back(self, export_id: str, wait_s: float) -> None:
        with transaction(self._store.engine) as connection:
            queue.give_back(connection, export_id, self.executor_id, wait_s)

    def _notify(self, notification: queue.Notification) -> None:
        def notify_and_record() -> None:
            again_s = self._notifier.notify(*notification)
            patiently(lambda: self._notified(notification, again_s), self._stopped, staying=True)

        self._done(notify_and_record)

    def _notified(self, notification: queue.Notification, again_s: float | None) -> None:
        with transaction(self._store.engine) as connection:
            queue.notified(connection, notification, self.executor_id, again_s)

    def _done(self, do: Callable[[], T | None]) -> T | None:
        """The result of ``do``. If it raises, a job's outcome could not be recorded, and the job would stay with this
        worker forever: so the process exits, unless it is already draining, and another worker takes over."""
        try:
            return do()
        except Exception as error:  # noqa: BLE001  any error leaves the job unrecorded
            if not self._attempts.draining.is_set():
                end_process("a job's outcome could not be recorded", error)
            return None

    # -- the lease -------------------------------------------------------------------------------------------------

    def _keep_alive(self) -> None:
        while not self._stopped.wait(BEAT_EVERY_S):
            try:
                self._beat()
            except Unavailable as error:
                log.warning("heartbeat failed: %s", error.message)
                continue
            except Exception as error:  # the next heartbeat may succeed
                log.exception("heartbeat failed")
                if time.monotonic() - self._beaten > UNUSABLE_MAX_S:
                    end_process("the service's own database stays unusable", error)
                continue

    def _beat(self) -> None:
        # If this worker could not write heartbeats for a while, others probably could not either: allow them the same
        # time before they count as lost.
        gap = time.monotonic() - self._beaten > queue.DEAD_AFTER_S
        with transaction(self._store.engine) as connection:
            now, judge = self._store.now(connection), not gap and time.monotonic() >= self._judge_at
            returned, waits = queue.beat(connection, self.executor_id, now, judge=judge)
        if gap:
            self._judge_at = time.monotonic() + queue.DEAD_AFTER_S
        self._beaten = time.monotonic()
        if returned:
            log.warning("requeued %d jobs of lost workers", returned)
        if waits:
            self._wake.wake()
