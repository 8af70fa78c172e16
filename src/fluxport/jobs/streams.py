"""Direct streams: the file goes straight to a client, and its record shows the outcome afterwards."""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from fluxport.auth.caller import Caller
from fluxport.error_codes import Failure
from fluxport.errors import Broken, Canceled, Conflict
from fluxport.jobs.catalog import Catalog
from fluxport.jobs.outcome import Changes, Result
from fluxport.jobs.slots import Reading, Slots
from fluxport.jobs.spool import Spool
from fluxport.jobs.states import Status
from fluxport.jobs.store import JobStore, Record
from fluxport.jobs.transfers import Transfers, shutting_down
from fluxport.pipeline import as_failure, check_deadline
from fluxport.plan import Checked, Export
from fluxport.spec import ExportSpec
from fluxport.stages import Chunks

log = logging.getLogger("fluxport.exports")


@dataclass
class Stream:
    """A direct stream: ``chunks`` is the file; call ``gone`` when the client has disconnected.

    Before its end ``chunks`` has an empty chunk: pull what follows, which records the outcome, once all has been sent.
    ``length`` is the file's length, known with the first bytes, or None for a file that is sent while it is written.
    A pull waits until ``reading.enter()`` is done."""

    record: Record
    export: Export
    chunks: Chunks
    gone: Callable[[], None]
    reading: Reading
    length: Callable[[], int] | None


@dataclass(frozen=True)
class Streams:
    """Opens direct streams. ``slots`` are those of each connection; slow clients' files go to the ``spool``."""

    catalog: Catalog
    store: JobStore
    transfers: Transfers
    slots: Mapping[str, Slots]
    spool: Spool

    def check(self, spec: ExportSpec, caller: Caller) -> Checked:
        """The checked request; raises if the caller may not make it, or the service is shutting down."""
        self.transfers.check_open()
        return self.catalog.allowed(spec, caller)

    def open(self, spec: ExportSpec, caller: Caller, *, whole: bool = False) -> Stream:
        """A direct stream of the file, recorded as running. No query runs before the first pull.

        ``whole``: send nothing before all of the file has been written, so that its length is known; until then pulls
        return empty chunks."""
        export_id = str(uuid.uuid4())
        export = self.check(spec, caller).open(export_id)
        spec = export.spec
        record = self.store.create_stream(export_id, spec, caller)
        export.tally.ids = record.ids
        in_time = partial(check_deadline, export.tally, self.catalog.limits)
        reading = Reading(self.slots[spec.connection], self.spool, export.chunks, export.source.close, in_time)
        gone = threading.Event()

        def leave() -> None:
            gone.set()
            reading.end()

        chunks = reading.whole() if whole else reading.chunks()
        observed = self._observed(record, export, reading, chunks, gone)
        return Stream(record, export, observed, leave, reading, reading.length if whole else None)

    def _observed(
        self, record: Record, export: Export, reading: Reading, chunks: Chunks, gone: threading.Event
    ) -> Chunks:
        error: BaseException | None = None
        taken_bytes = 0
        try:
            with self.transfers.running(record.id, reading.end), contextlib.closing(chunks):
                for chunk in chunks:
                    yield chunk
                    taken_bytes += len(chunk)
                yield b""
                reading.check_running()  # as while there were chunks
        except BaseException as raised:
            error = raised
            raise
        finally:
            if gone.is_set() or isinstance(error, GeneratorExit):
                error = Canceled("The client disconnected before the end.", code="client_gone")
            elif isinstance(error, Canceled) and error.code == "canceled" and self.transfers.closing:
                error = shutting_down()
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

        self.transfers.record("a stream", recorded)
