"""Exports as the APIs use them: submitted, read, canceled, streamed. Workers (:mod:`fluxport.jobs.engine`) run the
stored ones, in this process or another."""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from fluxport.auth.caller import Caller
from fluxport.datasets import Dataset
from fluxport.delivery.webhook import WebhookOptions
from fluxport.error_codes import Failure
from fluxport.errors import Broken, Canceled, Conflict, Disabled, NotFound, Refused, TooMany, Unavailable
from fluxport.findings import Findings
from fluxport.formats.names import unique_names
from fluxport.jobs.notify import check_notify
from fluxport.jobs.outcome import Changes, Result
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.slots import Reading, Slots
from fluxport.jobs.spool import Spool, SpoolOptions
from fluxport.jobs.states import Status
from fluxport.jobs.store import JobStore, Record
from fluxport.jobs.watch import Watch
from fluxport.loops import attempt, background
from fluxport.pipeline import as_failure, check_deadline
from fluxport.plan import (
    Checked,
    Connection,
    Export,
    Origin,
    Sensors,
    check,
    check_form,
    of_dataset,
    of_query,
    of_sensors,
)
from fluxport.series import SensorStore
from fluxport.spec import ExportSpec
from fluxport.stages import Chunks, Limits, Sink
from fluxport.tables import patiently

LOST_AFTER_S = 300.0  # beyond the longest time of an export
PREVIEW_ROWS = 50
PREVIEW_LIMITS = Limits(bytes_max=8 << 20, cell_bytes_max=1 << 20, deadline_s=30.0)

log = logging.getLogger("fluxport.exports")


@dataclass(frozen=True)
class ExportsOptions:
    active_max: int = 5
    queue_max: int = 100
    connection_wait_s: float = 60.0
    history_s: float = 90 * 86400.0
    audit_s: float = 400 * 86400.0
    webhooks: WebhookOptions = field(default_factory=WebhookOptions)
    mail_domains: tuple[str, ...] | None = None
    limits: Limits = field(default_factory=lambda: Limits(deadline_s=900.0))
    spool: SpoolOptions = field(default_factory=SpoolOptions)


@dataclass(frozen=True)
class Preview:
    """``rows`` is a JSON array of objects; ``truncated``: the result has more rows. Columns are name, type, and the key
    in the objects, which differs from the name if that is empty or repeated."""

    columns: list[tuple[str, str, str]]
    rows: str
    truncated: bool


@dataclass
class Stream:
    """A direct stream: ``chunks`` is the file; call ``gone`` when the client has disconnected.

    ``length`` is the file's length, known with the first bytes, or None for a file that is sent while it is written.
    A pull waits until ``reading.enter()`` is done."""

    record: Record
    export: Export
    chunks: Chunks
    gone: Callable[[], None]
    reading: Reading
    length: Callable[[], int] | None


class Exports:
    """Checks, submits and streams exports for every API."""

    def __init__(
        self,
        connections: Mapping[str, Connection],
        stores: Mapping[str, Sink],
        store: JobStore,
        options: ExportsOptions,
        datasets: Mapping[str, Dataset] | None = None,
        sensors: Sensors | None = None,
    ) -> None:
        self.connections = connections
        self.sensors = sensors
        self.datasets = datasets or {}
        self.stores = stores
        self.store = store
        self.options = options
        self.spool = Spool(options.spool)
        self.watch = Watch(store.happened)
        # The sensor store reads in few threads: a stream waiting for a slot there could block the one that holds it.
        self._slots = {
            name: Slots(most, options.connection_wait_s if name in connections else 0.0, partial(_busy, name))
            for name, most in self.queries_max.items()
        }
        self._streams: dict[str, Callable[[], None]] = {}
        self._closing = threading.Event()

    @property
    def queries_max(self) -> dict[str, int]:
        """How many exports may read at once, by connection name."""
        limits = {name: c.queries_max for name, c in self.connections.items()}
        if self.sensors is not None:
            limits.setdefault(self.sensors.connection, self.sensors.queries_max)
        return limits

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    # -- submitting ------------------------------------------------------------------------------------------------

    def plan(self, spec: ExportSpec, export_id: str, owner: str) -> Export:
        """The export for a worker to run; it may become several files."""
        return self.check(spec, owner, may_split=True).open(export_id)

    def check(
        self,
        spec: ExportSpec,
        owner: str,
        *,
        origin: Origin | None = None,
        limits: Limits | None = None,
        may_split: bool = False,
    ) -> Checked:
        """Check everything that can be refused without a database; of a dataset, ``owner`` gets the rows it may see.
        ``origin`` is the source of a push."""
        origin = self._origin(spec, owner) if origin is None else origin
        if spec.store not in self.stores:
            raise Refused(
                f"Unknown store {spec.store!r}; choose one of: {', '.join(sorted(self.stores))}.", code="unknown_store"
            )
        return check(spec, origin, limits=limits or self.options.limits, may_split=may_split)

    def _origin(self, spec: ExportSpec, owner: str) -> Origin:
        if spec.series is not None:
            return of_sensors(spec, self.sensor_store)
        connection = self.connections.get(spec.connection)
        if connection is None:
            raise Refused(
                f"Unknown connection {spec.connection!r}; choose one of: {', '.join(sorted(self.connections))}.",
                code="unknown_connection",
            )
        if spec.dataset is not None:
            return of_dataset(spec, connection, self.dataset(spec.dataset), owner)
        return of_query(spec, connection)

    def sensor_store(self) -> SensorStore:
        """The sensor store; Disabled if none is configured."""
        if self.sensors is None:
            raise Disabled(
                "No sensor store is configured; set series.path or series.connection.",
                code="no_series",
            )
        return self.sensors.store

    def dataset(self, name: str) -> Dataset:
        dataset = self.datasets.get(name)
        if dataset is None:
            raise Refused(f"Unknown dataset {name!r}; GET /v1/datasets lists the datasets.", code="unknown_dataset")
        return dataset

    def allowed(
        self, spec: ExportSpec, caller: Caller, *, origin: Origin | None = None, may_split: bool = False
    ) -> Checked:
        """The checked request, with the connection that it reads in its ``spec``. Raises if the caller may not make it,
        the service is shutting down, or anything can be refused before it is written."""
        self.check_open()
        caller.need(spec.scope)
        spec = self._located(spec)
        checked = self.check(spec, caller.owner, origin=origin, may_split=may_split)
        if spec.series is not None:
            _ = checked.rows.source.schema  # raises if the store lacks one of the sensors; opens nothing
        return checked

    def _located(self, spec: ExportSpec) -> ExportSpec:
        """The spec with the connection that its rows come from."""
        if spec.series is not None and self.sensors is not None:
            return replace(spec, connection=self.sensors.connection)
        return spec if spec.dataset is None else replace(spec, connection=self.dataset(spec.dataset).connection)

    def submit(
        self,
        request: ExportRequest,
        caller: Caller,
        *,
        api: str,
        idempotency: tuple[str, str] | None = None,
        unless_active: str | None = None,
    ) -> tuple[Record, bool]:
        """A queued export and whether it is new; what can be refused is refused before anything is written."""
        self.allowed(request.spec, caller, may_split=request.may_split)
        return self.store.create(
            self.checked(request, caller),
            caller,
            api=api,
            active_max=self.options.active_max,
            queue_max=self.options.queue_max,
            idempotency=idempotency,
            unless_active=unless_active,
        )

    def checked(self, request: ExportRequest, caller: Caller) -> ExportRequest:
        """The request in the form that is stored: with the connection of a dataset and checked targets."""
        domains = self.options.mail_domains if caller.mail_domains is None else caller.mail_domains
        notify = check_notify(request.notify, self.options.webhooks, domains)
        return replace(request, spec=self._located(request.spec), notify=notify)

    def cancel(self, export_id: str, caller: Caller) -> Record:
        """Cancel a queued or running export; Conflict if it has ended. Its worker cancels the query within 2 s."""
        record = self.store.get(export_id, caller)
        error = Failure.of(Canceled("The export was canceled."))
        canceled = self.store.move(record.id, "canceled", error=error)
        if (end := self._streams.get(export_id)) is not None:
            end()
        return canceled

    def expire(self) -> None:
        """Expire exports and delete their files, fail streams of lost processes, purge history and audit.
        Unavailable, and nothing is done, if this process's clock differs from the database's."""
        for record in self.store.expire():
            for location in [] if record.result is None else record.result.locations:
                attempt(f"deleting a file of export {record.id}", partial(self._remove, record.spec.store, location))
        options = self.options
        error = Failure.of(Broken("The service exited during this stream.", code="service_died"))
        for export_id in self.store.lost_streams((options.limits.deadline_s or 86400.0) + LOST_AFTER_S):
            with contextlib.suppress(Conflict):
                self.store.move(export_id, "failed", error=error)
        while self.store.purge_history(options.history_s):
            pass
        self.store.purge_audit(options.audit_s)

    def _remove(self, store: str, location: str) -> None:
        if store not in self.stores:
            raise NotFound(
                f"The store {store!r} is no longer configured; {location} was not deleted.", code="unknown_store"
            )
        self.stores[store].remove(location)

    # -- streaming -------------------------------------------------------------------------------------------------

    def stream(self, spec: ExportSpec, caller: Caller, *, whole: bool = False) -> Stream:
        """A direct stream of the file; its record shows the outcome afterwards. No query runs before the first pull.

        ``whole``: send nothing before all of the file has been written, so that its length is known; until then pulls
        return empty chunks."""
        export_id = str(uuid.uuid4())
        export = self.allowed(spec, caller).open(export_id)
        spec = export.spec
        record = self.store.create_stream(export_id, spec, caller)
        check = partial(check_deadline, export.tally, self.options.limits)
        reading = Reading(self._slots[spec.connection], self.spool, export.chunks, export.source.close, check)
        gone = threading.Event()

        def leave() -> None:
            gone.set()
            reading.end()

        chunks = reading.whole() if whole else reading.chunks()
        observed = self._observed(record, export, reading, chunks, gone)
        return Stream(record, export, observed, leave, reading, reading.length if whole else None)

    def preview(self, spec: ExportSpec, caller: Caller) -> Preview:
        """The first rows, after the whole request has been checked."""
        self.check_open()
        caller.need(spec.scope)
        spec = self._located(spec)
        wanted = check_form(spec, None if spec.dataset is None else self.dataset(spec.dataset))
        rows = wanted.options.limit
        shown = replace(
            spec,
            format="json",
            compression="none",
            options={name: spec.options[name] for name in ("columns", "timezone") if name in spec.options},
        )
        limits = replace(PREVIEW_LIMITS, rows=PREVIEW_ROWS if rows is None else min(rows, PREVIEW_ROWS))
        export = self.check(shown, caller.owner, limits=limits).open("preview")
        with self._slots[spec.connection].held():
            text = b"".join(export.chunks()).decode()
        tally = export.tally
        detail: dict[str, Any] = {"columns": [name for name, _ in tally.columns], "rows": tally.rows}
        self.store.note("preview", caller.owner, "completed", address=caller.address, source=spec.source, **detail)
        keys = unique_names([name for name, _ in tally.columns], Findings())
        columns = [(name, kind, key) for (name, kind), key in zip(tally.columns, keys, strict=True)]
        return Preview(columns, text, tally.truncated)

    def _observed(
        self, record: Record, export: Export, reading: Reading, chunks: Chunks, gone: threading.Event
    ) -> Chunks:
        error: BaseException | None = None
        taken_bytes = 0
        try:
            with self.running(record.id, reading.end), contextlib.closing(chunks):
                for chunk in chunks:
                    yield chunk
                    taken_bytes += len(chunk)
        except BaseException as raised:
            error = raised
            raise
        finally:
            if gone.is_set() or isinstance(error, GeneratorExit):
                error = Canceled("The client disconnected before the end.", code="client_gone")
            elif isinstance(error, Canceled) and error.code == "canceled" and self.closing:
                error = _closing()
            sent_bytes = taken_bytes if reading.sent_bytes is None else reading.sent_bytes
            self._ended(record, export, error, sent_bytes)

    def _ended(self, record: Record, export: Export, error: BaseException | None, sent_bytes: int) -> None:
        tally = export.tally
        values: Changes = {"rows": tally.rows, "bytes": tally.size_bytes}
        if error is None:
            values |= {"rows_total": tally.rows, "result": Result.of(export, tally.sha256)}
        else:
            failure = as_failure(error)
            if isinstance(failure, Broken):
                log.error("export failed", exc_info=error, extra={"task_id": record.id})
            values["error"] = Failure.of(failure)
        status: Status = "completed" if error is None else "failed"

        def recorded() -> None:
            with contextlib.suppress(Conflict):  # it was canceled
                self.store.move(record.id, status, fence=record.fence, audited={"sent_bytes": sent_bytes}, **values)

        self.record("a stream", recorded)

    def record(self, what: str, do: Callable[[], object]) -> None:
        """Record by ``do`` what was sent; if the database is unavailable, retry in the background."""
        try:
            do()
        except Unavailable:
            background("fluxport-ended", attempt, f"recording {what}", partial(patiently, do, self._closing))

    # -- ending ----------------------------------------------------------------------------------------------------

    def check_open(self) -> None:
        if self._closing.is_set():
            raise _closing()

    @contextlib.contextmanager
    def running(self, export_id: str, end: Callable[[], None]) -> Iterator[None]:
        """While this process streams an export to a client; ``end`` makes it stop."""
        self._streams[export_id] = end
        try:
            yield
        finally:
            del self._streams[export_id]

    @property
    def streaming(self) -> bool:
        """Whether this process is streaming an export."""
        return bool(self._streams)

    def drain(self) -> None:
        """Accept no new exports; running streams go on."""
        self._closing.set()

    def close(self) -> None:
        """Accept no new exports, end running streams and event listeners."""
        self.drain()
        for end in list(self._streams.values()):
            end()
        self.watch.close(_closing())


def _busy(connection: str) -> TooMany:
    return TooMany(
        f"Connection {connection!r} is running its maximum number of queries; retry in a moment.",
        code="connection_busy",
        retry_after_s=10,
    )


def _closing() -> Unavailable:
    return Unavailable("The service is shutting down; retry in a moment.", code="closing", retry_after_s=5)
