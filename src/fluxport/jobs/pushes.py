"""Exports whose rows a client pushes. They have the same table and states as others, but the process that holds the
client's connection runs them, as no other can read from it.

That process renews a lease in the table ``pushes``; another process fails the exports whose lease has expired:

    process A   begin: held_until = now + HELD_S ... renewed ... renewed ... SIGKILL
    process B                                              now > held_until: the export of A fails
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Unpack

from fluxport import formats
from fluxport.auth.caller import Caller
from fluxport.error_codes import Failure
from fluxport.errors import Broken, Canceled, Conflict, Refused, TimedOut, TooMany, Unavailable
from fluxport.jobs.catalog import Catalog
from fluxport.jobs.outcome import Changes
from fluxport.jobs.progress import watch
from fluxport.jobs.slots import Slots
from fluxport.jobs.states import Status
from fluxport.jobs.store import JobStore, Record, log_start
from fluxport.jobs.storing import attempt_attributes, completed, put
from fluxport.jobs.transfers import Transfers
from fluxport.loops import attempt, background, keep_going
from fluxport.pipeline import as_failure
from fluxport.plan import Checked, Export, of_push
from fluxport.sources.pushed import DeclaredSource, PushedColumn, PushedOptions
from fluxport.spec import ExportSpec
from fluxport.tables import patiently
from fluxport.telemetry import events, logs, traces

log = logging.getLogger("fluxport.pushes")

HOLD_EVERY_S = 10.0
HELD_S = 60.0
REQUEST_ID_CHARS_MAX = 200
ROWS_EXPECTED_MAX = (1 << 63) - 1  # the column is a BIGINT


@dataclass(frozen=True)
class PushRequest:
    """A sender's request before the first row; Refused (``bad_metadata``) if no API accepts it.
    ``request_id`` and ``digest``, the SHA-256 of the whole request, are the idempotency key."""

    request_id: str
    digest: str
    format: str
    filename: str
    columns: tuple[PushedColumn, ...]
    options: dict[str, Any] = field(default_factory=dict)
    compression: str = "none"
    rows_expected: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.request_id) <= REQUEST_ID_CHARS_MAX:
            raise Refused(
                f"'request_id' has 1 to {REQUEST_ID_CHARS_MAX} characters; pushes with the same one are one task.",
                code="bad_metadata",
            )
        if self.rows_expected is not None and not 0 <= self.rows_expected <= ROWS_EXPECTED_MAX:
            raise Refused(f"'expected_rows' is 0 to {ROWS_EXPECTED_MAX:,}.", code="bad_metadata")

    def spec(self, store: str) -> ExportSpec:
        return ExportSpec(
            connection="push",
            format=self.format,
            options=self.options,
            compression=self.compression,
            filename=self.filename,
            store=store,
            pushed=[{"name": column.name, "type": column.kind} for column in self.columns],
        )

    def source_options(self, batch_rows_max: int) -> PushedOptions:
        """How the source reads values for the requested format."""
        written = formats.FORMATS[formats.canonical(self.format)]
        return PushedOptions(
            exact_text=written.exact_text,
            exact_numbers=written.exact_numbers,
            batch_rows_max=batch_rows_max,
            rows_expected=self.rows_expected,
        )


@dataclass(frozen=True)
class Push:
    """A push that has begun: its export, and the checked request to run, which is None if another call has begun it."""

    record: Record
    checked: Checked | None

    @property
    def new(self) -> bool:
        return self.checked is not None


@dataclass(frozen=True)
class AdmissionOptions:
    """How many pushes run at once, how many more may wait, and for how long (seconds)."""

    tasks_max: int
    queue_max: int
    queue_s: float


class Admission:
    """Admits the pushes of one protocol, first come, first served."""

    def __init__(self, options: AdmissionOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._tasks = 0
        self._turns = Slots(options.tasks_max, options.queue_s, self._late)

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a push while it runs or waits; TooMany if the queue is full."""
        options = self._options
        with self._lock:
            if self._tasks >= options.tasks_max + options.queue_max:
                events.emit("TaskQueueFull", error_code="queue_full")
                raise TooMany(
                    f"The queue is full ({options.queue_max} tasks); push again in a moment.",
                    code="queue_full",
                    retry_after_s=10,
                )
            self._tasks += 1
        try:
            yield
        finally:
            with self._lock:
                self._tasks -= 1

    def turn(self) -> Future[None]:
        """A future, done once the push may begin; call :meth:`leave` after the push. Fails with TimedOut after
        ``queue_s``."""
        return self._turns.enter()

    def cancel(self, turn: Future[None]) -> None:
        """Leave the queue, or free the slot if the push already has one."""
        self._turns.cancel(turn)

    def leave(self) -> None:
        self._turns.leave()

    def _late(self) -> TimedOut:
        return TimedOut(
            f"The task waited {self._options.queue_s:g} s for its turn; push again later.", code="queue_timeout"
        )


class Pushes:
    """Runs pushes for the APIs that take rows. ``begin`` and ``run`` block; each push has its own thread."""

    def __init__(
        self, catalog: Catalog, store: JobStore, transfers: Transfers, *, store_name: str, keep_s: float
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._transfers = transfers
        self._store_name = store_name
        self._keep_s = keep_s
        self._held: set[str] = set()
        self._stopped = threading.Event()
        # By time.monotonic(): the last successful renewal, and the time from which expired leases are failed.
        self._looked, self._expire_at = time.monotonic(), 0.0
        self._holder = background(
            "fluxport-pushes", keep_going, "holding pushes", self._stopped, HOLD_EVERY_S, self._hold
        )

    def begin(self, request: PushRequest, source: DeclaredSource, caller: Caller, *, api: str) -> Push:
        """Create a queued export; a bad request is refused before anything is written."""
        self._transfers.check_open()
        spec = request.spec(self._store_name)
        checked = self._catalog.allowed(spec, caller, origin=of_push(source), may_split=True)
        record, new = self._store.create_push(
            spec,
            caller,
            api=api,
            key=(f"push:{request.request_id}", request.digest),
            held_until=self._store.clock() + HELD_S,
        )
        if new:
            self._held.add(record.id)
        return Push(record, checked if new else None)

    def run(
        self,
        push: Push,
        *,
        rows_expected: int | None,
        planned: Callable[[Export], None],
        confirm: Callable[[], None],
    ) -> Record:
        """Read the rows and store the file; returns the record of the ended export, completed or not.

        ``planned`` gets the export, whose tally shows its progress. ``confirm`` is called after the file is stored and
        before it is recorded; it raises if the sender has disconnected, and then the file is removed.
        """
        assert push.checked is not None
        record, export = push.record, None
        logs.bind(record.ids)
        try:
            claimed = self._store.claim(record.id, attempts_max=1)
            if claimed is None:
                return self._ended(record)
            log_start(claimed, self._store.clock())
            self._store.expect(record.id, claimed.fence, rows_expected)
            export = push.checked.open(record.id)
            planned(export)
            with traces.span("attempt", record.ids.traceparent, attempt_attributes(claimed)) as span:
                export.tally.ids = record.ids._replace(traceparent=span.traceparent)
                self._run(claimed, export, confirm)
        except BaseException as error:  # noqa: BLE001  the export must not stay active, whatever the error
            return self.fail(record, error, export)
        return self._ended(record)

    def _run(self, record: Record, export: Export, confirm: Callable[[], None]) -> None:
        sink = self._catalog.sinks[record.spec.store]
        finished = threading.Event()
        watcher = background("fluxport-watch", watch, self._store, record, export, finished)
        try:
            result = put(export, sink, object_key(record, export.filename))
        finally:
            finished.set()
            watcher.join()

        def remove() -> None:
            for location in result.locations:
                sink.remove(location)

        try:
            confirm()
        except BaseException:
            remove()
            raise
        expires_at = self._store.clock() + self._keep_s
        try:
            self._move(record, "completed", fence=record.fence, **completed(result, expires_at))
        except Conflict:
            if self._store.get(record.id).status != "completed":  # canceled while the last bytes were stored
                remove()

    def fail(self, record: Record, error: BaseException, export: Export | None = None) -> Record:
        """Fail an export unless it has already ended; returns its record afterwards."""
        if isinstance(error, Canceled) and error.code == "canceled" and self._transfers.closing:
            error = Unavailable("The service is shutting down; push again in a moment.", code="closing")
        failure = as_failure(error)
        if isinstance(failure, Broken):
            log.error("push failed", exc_info=error, extra={"task_id": record.id})
        changes: Changes = {"error": Failure.of(failure)}
        if export is not None:
            changes |= {"rows": export.tally.rows, "bytes": export.tally.size_bytes}
        with contextlib.suppress(Conflict):  # it was canceled
            self._move(record, "failed", **changes)
        return self._ended(record)

    def _move(self, record: Record, status: Status, *, fence: int | None = None, **changes: Unpack[Changes]) -> None:
        """Change the state, retrying while the service's own database is unavailable; Conflict if it has changed."""
        patiently(lambda: self._store.move(record.id, status, fence=fence, **changes), self._stopped)

    def _ended(self, record: Record) -> Record:
        self._held.discard(record.id)
        attempt("releasing a push", partial(self._store.release_push, record.id))  # else its lease expires
        return patiently(lambda: self._store.get(record.id), self._stopped)

    def expire(self) -> None:
        """Fail pushes of lost processes."""
        for export_id in self._store.lost_pushes():
            error = Failure.of(Unavailable("The service that held the connection exited.", code="holder_died"))
            with contextlib.suppress(Conflict):
                self._store.move(export_id, "failed", error=error)
            self._store.release_push(export_id)

    def close(self) -> None:
        self._stopped.set()
        self._holder.join()

    def _hold(self) -> None:
        began = time.monotonic()
        # If this process could not renew its leases for a while, others probably could not either: allow them the same.
        if began - self._looked > HELD_S / 2:
            self._expire_at = began + HELD_S / 2
        if held := list(self._held):
            self._store.hold_pushes(held, self._store.clock() + HELD_S)
        if began >= self._expire_at:
            self.expire()
        self._looked = began


def idle(idle_s: float, advice: str = "") -> TimedOut:
    """The error of a push whose client sends nothing; ``advice`` is a sentence more."""
    return TimedOut(f"Nothing was sent for {idle_s:g} s; the stream was ended. {advice}".rstrip(), code="stream_idle")


def named(caller: Caller, request_id: str) -> Caller:
    """The caller with its request id, or with a new one if that is not safe to log."""
    return replace(caller, request_id=request_id if _REQUEST_ID.fullmatch(request_id) else uuid.uuid4().hex)


_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def object_key(record: Record, filename: str) -> str:
    """``YYYY/MM/DD/<id>_<YYYYMMDD-HHMMSS>_<name>``, as the export middleware named its objects; characters that are not
    safe in every store become ``_``."""
    moment = datetime.fromtimestamp(record.created_at, UTC)
    name = _UNSAFE.sub("_", filename)[-100:]
    return f"{moment:%Y/%m/%d}/{record.id}_{moment:%Y%m%d-%H%M%S}_{name}"
