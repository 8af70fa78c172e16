"""The worker: takes exports and notifications out of the tables of :mod:`fluxport.jobs.queue` and carries them out.

It sleeps until something is queued (:mod:`fluxport.jobs.wake`), and holds what it took by a heartbeat. What
wakes no worker, as the wait of a dead worker's export, is found with the next heartbeat.
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
from fluxport.jobs.carry import Carrier
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
GIVING_BACK_S = 5.0  # what is stopped goes back to the queue within this, or is taken over
ENDED_LOOK_S = 0.05
UNUSABLE_MAX_S = 30.0  # so long may an error of the database last that does not pass by itself
# Of the service's PostgreSQL, beside the one that listens: each is held for a few milliseconds at a time.
SESSIONS = 3


class Worker:
    """``start`` begins taking jobs, ``stop`` ends that and gives back what is left."""

    def __init__(
        self,
        store: JobStore,
        carrier: Carrier,
        *,
        workers: int,
        queries_max: Mapping[str, int],
        notifier: Notifier,
        scheduler: Scheduler,
    ) -> None:
        self._store = store
        self._carrier = carrier
        self._queries_max = queries_max
        self._teller = notifier
        self._clock = Clock(scheduler, store.engine)
        self._wake = Wake(store.engine)
        self.executor_id = uuid.uuid4().hex
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers + NOTIFICATIONS_AT_ONCE, thread_name_prefix="fluxport-job")
        self._exports: dict[Future[None], str] = {}
        self._notifications: dict[Future[None], queue.Notification] = {}
        self._unsure = False  # whether something may have been taken that is not among these
        self._ending = threading.Event()  # nothing more is taken
        self._stopped = threading.Event()
        # On the clock of time.monotonic(): the last heartbeat, and from when on silent workers are taken for dead.
        self._beaten, self._judge_at = time.monotonic(), 0.0
        self._threads: tuple[threading.Thread, threading.Thread]

    def start(self) -> None:
        self._beat()
        self._clock.mark()
        self._threads = (background("fluxport-take", self._take_on), background("fluxport-lease", self._keep_alive))
        if self._clock.needed:
            background("fluxport-clock", self._clock.run, self._ending)

    def stop(self, grace_s: float, hurried: Callable[[float], bool]) -> None:
        """Give what runs ``grace_s`` to finish, or until ``hurried``, which waits so many seconds, says so; what does
        not goes back to the queue for any worker that is alive. The process is to end then: threads may be left."""
        until = time.monotonic() + grace_s
        self._ending.set()
        self._wake.wake()
        taking, lease = self._threads
        while (taking.is_alive() or self._exports or self._notifications) and time.monotonic() < until:
            if hurried(ENDED_LOOK_S):
                break
        self._carrier.stop_running()
        wait([*self._exports, *self._notifications], GIVING_BACK_S)
        self._carrier.requeue_running()
        self._stopped.set()
        lease.join(BEAT_EVERY_S)
        # If that cannot be recorded now, the others wait for the lease to end.
        with contextlib.suppress(FluxportError), transaction(self._store.engine) as connection:
            queue.leave(connection, self.executor_id)

    # -- taking ----------------------------------------------------------------------------------------------------

    def _take_on(self) -> None:
        failing = False
        while not self._ending.is_set():
            failing = not attempt("taking jobs", lambda: self._wake.wait(self._take()), quiet=failing)
            # What wakes in quick succession is seen by one look.
            self._ending.wait(AGAIN_S if failing else LOOKS_APART_S)

    def _take(self) -> float:
        """Begin what there is room for; the seconds until something that waits is due."""
        records: list[Record] = []
        given_up: list[Record] = []
        due: list[queue.Notification] = []
        now = self._store.clock()
        # A transaction may have been committed although its answer, or a thread for what it took, never came.
        unsure, self._unsure = self._unsure, True
        exports, notifications = list(self._exports.values()), list(self._notifications.values())
        with transaction(self._store.engine) as connection:
            if unsure:
                queue.give_back_unknown(connection, self.executor_id, exports, notifications)
            if (room := self._workers - len(self._exports)) > 0:
                records, given_up = self._store.take(
                    connection, self.executor_id, self._queries_max, room, self._carrier.options.attempts_max
                )
            export_s, notify_s = queue.next_due(connection, now)
            if (
                notify_s is not None
                and notify_s <= 0
                and (free := NOTIFICATIONS_AT_ONCE - len(self._notifications)) > 0
            ):
                due = queue.take_notifications(connection, self.executor_id, free, now)
        for record in given_up:
            log_end(record)
        for record in records:
            self._begin(self._exports, record.id, self._carry, record)
        for notification in due:
            self._begin(self._notifications, notification, self._notify, notification)
        self._unsure = False
        # A notification that was due and has not been taken waits for one of ours to end, and that wakes.
        waits = [wait_s for wait_s in (export_s, notify_s) if wait_s is not None and wait_s > 0]
        return min([LOOK_EVERY_S, *waits])

    def _begin(self, under_way: dict[Future[None], K], key: K, work: Callable[[T], None], what: T) -> None:
        def over(job: Future[None]) -> None:
            under_way.pop(job)
            self._wake.wake()

        job = self._pool.submit(work, what)
        under_way[job] = key
        job.add_done_callback(over)

    def _carry(self, record: Record) -> None:
        wait_s = self._done(lambda: self._carrier.attempt(record))
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
        """What ``do`` gives. If it raises, what became of a job could not be recorded, and the job would stay with this
        worker for ever: the process ends, unless it does so already, and another worker takes over."""
        try:
            return do()
        except Exception as error:  # noqa: BLE001  whatever it is
            if not self._carrier.draining.is_set():
                end_process("what became of a job could not be recorded", error)
            return None

    # -- the lease -------------------------------------------------------------------------------------------------

    def _keep_alive(self) -> None:
        while not self._stopped.wait(BEAT_EVERY_S):
            try:
                self._beat()
            except Unavailable as error:
                log.warning("no heartbeat: %s", error.message)
                continue
            except Exception as error:
                log.exception("no heartbeat")
                if time.monotonic() - self._beaten > UNUSABLE_MAX_S:
                    end_process("the service's own database stays unusable", error)
                continue

    def _beat(self) -> None:
        # After a time in which this one could not say that it lives, neither could the others: they get as long for it.
        gap = time.monotonic() - self._beaten > queue.DEAD_AFTER_S
        with transaction(self._store.engine) as connection:
            now, judge = self._store.now(connection), not gap and time.monotonic() >= self._judge_at
            returned, waits = queue.beat(connection, self.executor_id, now, judge=judge)
        if gap:
            self._judge_at = time.monotonic() + queue.DEAD_AFTER_S
        self._beaten = time.monotonic()
        if returned:
            log.warning("%d jobs of workers that are gone wait again", returned)
        if waits:
            self._wake.wake()
