"""One attempt at a stored export: plan, read, encode, store, verify, record. Independent of the queue.

Each attempt stores its file under its own name, which becomes the export's file once :meth:`JobStore.move` has recorded
it under the attempt's fence. An attempt that loses this race removes its own file; an attempt that follows a killed one
first removes the files of earlier fences:

    fence 1   <id>.csv     worker killed                     removed by the attempt with fence 2
    fence 2   <id>-2.csv   stored -> move(fence=2) -> the export's file
"""

from __future__ import annotations

import logging
import math
import random
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar, Unpack

from fluxport.error_codes import Failure
from fluxport.errors import Canceled, Conflict, FluxportError
from fluxport.jobs.outcome import Changes, FailedAttempt
from fluxport.jobs.progress import watch
from fluxport.jobs.states import Status
from fluxport.jobs.store import WORKER_LOST, WORKER_STOPPED, JobStore, Record, log_start
from fluxport.jobs.storing import attempt_attributes, completed, put, rename
from fluxport.loops import background
from fluxport.partfiles import Names, remove_parts
from fluxport.pipeline import as_failure
from fluxport.plan import Export
from fluxport.spec import ExportSpec
from fluxport.stages import Sink
from fluxport.tables import patiently
from fluxport.telemetry import events, logs, traces

T = TypeVar("T")

log = logging.getLogger("fluxport.exports")


@dataclass(frozen=True)
class AttemptOptions:
    """``keep_s``: retention of files, in seconds. ``tries_max`` limits the attempts that fail because of the source or
    the sink; ``attempts_max`` also counts those of lost workers."""

    keep_s: float
    tries_max: int = 3
    attempts_max: int = 10
    retry_first_s: float = 0.5
    retry_most_s: float = 30.0


@dataclass
class Attempts:
    """Runs the attempts of this process; while ``draining`` is set, a stopped attempt is requeued."""

    store: JobStore
    sinks: Mapping[str, Sink]
    plan: Callable[[ExportSpec, str, str], Export]
    options: AttemptOptions
    draining: threading.Event = field(default_factory=threading.Event)
    _running: set[Export] = field(default_factory=set)
    _attempted: dict[tuple[str, int], Record] = field(default_factory=dict)

    def run(self, record: Record) -> float | None:
        """Run the claimed attempt of this export; returns the seconds until the next attempt, or None if the export has
        ended. Unavailable if this process is exiting and cannot record the outcome."""
        logs.bind(record.ids)
        self._log_start(record)
        self._attempted[record.id, record.fence] = record
        try:
            with traces.span("attempt", record.ids.traceparent, attempt_attributes(record), kind="consumer") as span:
                self._run(record, record.ids._replace(traceparent=span.traceparent))
        except FluxportError as error:
            return self._failed(record, error)
        except Exception as error:  # a bug fails this export only
            log.exception("export failed")
            return self._failed(record, as_failure(error))
        finally:
            del self._attempted[record.id, record.fence]
        return None

    def stop_running(self) -> None:
        """Stop the running attempts of this process; other workers can run them."""
        self.draining.set()
        for export in list(self._running):
            export.source.close()

    def requeue_running(self) -> None:
        """Requeue attempts that have not ended although they were stopped, such as one whose store hangs. The process
        must exit before they end."""
        for record in list(self._attempted.values()):
            with suppress(FluxportError):  # it has just ended, or the database is unavailable: then its lease expires
                reasons = (*record.attempt_errors, FailedAttempt.now(WORKER_STOPPED, self.store.clock()))
                self.store.move(record.id, "queued", fence=record.fence, attempt_errors=reasons)
                self._log_retry(record, WORKER_STOPPED)

    def _retrying(self, do: Callable[[], T]) -> T:
        """Access the service's own database, retrying while it is unavailable."""
        return patiently(do, self.draining, staying=True)

    # -- one attempt -----------------------------------------------------------------------------------------------

    def _run(self, record: Record, ids: logs.Ids) -> None:
        export = self.plan(record.spec, record.id, record.owner)
        rename(export, record.door)
        export.tally.ids = ids
        sink = self.sinks[record.spec.store]
        self._remove_leftovers(record, sink, export)
        if record.counted:
            total = export.rows_to_come()
            self._retrying(lambda: self.store.expect(record.id, record.fence, total))
        finished = threading.Event()
        self._running.add(export)
        if self.draining.is_set():  # it was set before the export was added, so stop_running() missed the export
            export.source.close()
        watcher = background("fluxport-watch", watch, self.store, record, export, finished)
        try:
            result = put(export, sink, object_name(record.id, record.fence, export.suffix))
        finally:
            finished.set()
            self._running.discard(export)
            watcher.join()
        expires_at = self.store.clock() + self.options.keep_s
        if not self._move(record, "completed", **completed(result, expires_at)):
            # Canceled while the last bytes were stored, or superseded by another attempt: the export has no use for it.
            for location in result.locations:
                sink.remove(location)

    def _remove_leftovers(self, record: Record, sink: Sink, export: Export) -> None:
        for fence in range(1, record.fence):
            if export.parts is None:
                sink.remove(object_name(record.id, fence, export.suffix))
            else:
                remove_parts(sink, Names(object_name(record.id, fence, "/"), export.suffix))
        if record.fence > 1:
            sink.sweep(math.inf, self.store.clock())  # no file is that old: removes only unfinished uploads

    # -- the end of an attempt -------------------------------------------------------------------------------------

    def _failed(self, record: Record, error: FluxportError) -> float | None:
        failure = Failure.of(error)
        if isinstance(error, Canceled) and self.draining.is_set():
            self._retrying(lambda: self.store.attempt_failed(record.id, record.fence, WORKER_STOPPED))
            return self._requeue(record, WORKER_STOPPED, 0.0)
        workers = (WORKER_LOST.code, WORKER_STOPPED.code)
        tries = 1 + sum(reason.code not in workers for reason in record.attempt_errors)
        self._retrying(lambda: self.store.attempt_failed(record.id, record.fence, failure))
        if error.retryable and error.again and tries < self.options.tries_max:
            return self._requeue(record, failure, self._wait(record, tries))
        self._move(record, "failed", error=failure)
        return None

    def _requeue(self, record: Record, failure: Failure, wait_s: float) -> float | None:
        if not self._move(record, "queued"):
            return None
        self._log_retry(record, failure)
        return wait_s

    def _log_start(self, record: Record) -> None:
        if record.attempt_errors and record.attempt_errors[-1].code == WORKER_LOST.code:
            self._log_retry(replace(record, attempts=record.attempts - 1), WORKER_LOST)  # its worker could not
        log_start(record, self.store.clock())

    def _log_retry(self, record: Record, failure: Failure) -> None:
        events.emit("TaskRetried", record.ids, attempt=record.attempts, error_code=failure.code)

    def _wait(self, record: Record, tries: int) -> float:
        longest = min(self.options.retry_first_s * 2**tries, self.options.retry_most_s)
        return random.uniform(longest / 2, longest)  # noqa: S311  jitter, not a secret

    def _move(self, record: Record, status: Status, **changes: Unpack[Changes]) -> bool:
        """Change the state; False if it was changed by another process instead."""
        try:
            self._retrying(lambda: self.store.move(record.id, status, fence=record.fence, **changes))
        except Conflict:
            # The connection may have failed after the commit; then this attempt has made the change.
            now = self._retrying(lambda: self.store.get(record.id))
            return (now.status, now.fence) == (status, record.fence)
        return True


def object_name(export_id: str, fence: int, suffix: str) -> str:
    """The name of an attempt's file; the first attempt's omits the fence, as older clients expect."""
    return f"{export_id}{suffix}" if fence == 1 else f"{export_id}-{fence}{suffix}"
