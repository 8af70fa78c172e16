"""The Flight server, in its own threads: ``DoGet`` is a direct stream like ``POST /v1/stream``, ``DoPut`` a push
like ``StreamExport``, with the same keys, tables and limits."""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from fluxport.auth.caller import Caller
from fluxport.auth.keys import Keys
from fluxport.auth.proxies import Proxies, grpc_peer
from fluxport.auth.rate import Rate
from fluxport.error_codes import Failure
from fluxport.errors import (
    Broken,
    Canceled,
    Disabled,
    FluxportError,
    Refused,
    TimedOut,
    TooMany,
    Unauthorized,
    Unavailable,
)
from fluxport.flight.handover import Handover
from fluxport.jobs.pushes import Admission, AdmissionOptions, Push, Pushes, PushRequest, named
from fluxport.jobs.store import Record
from fluxport.jobs.streams import Stream, Streams
from fluxport.jobs.transfers import Transfers
from fluxport.pipeline import as_failure
from fluxport.plan import Export
from fluxport.sources.pushed import PushedColumn, ReadSource, kind_of_type
from fluxport.spec import ExportSpec
from fluxport.stages import Chunks
from fluxport.strict_json import read_json
from fluxport.telemetry import events, logs, metrics, traces

log = logging.getLogger("fluxport.flight")

SERVICE = "arrow.flight.protocol.FlightService"
COMMAND_BYTES_MAX = 1 << 20
# Other calls are refused before pyarrow handles them: for an error in most of them it would send the stack trace.
SERVED = (fl.FlightMethod.DO_GET, fl.FlightMethod.GET_FLIGHT_INFO, fl.FlightMethod.DO_PUT)
PUT_KEYS = ("request_id", "format", "filename", "options", "compression", "expected_rows")


@dataclass(frozen=True)
class FlightOptions:
    """``streams_max`` limits DoGet calls, ``admission`` DoPut calls, which fail after ``idle_s`` without a batch.
    ``certificate`` and ``key`` enable TLS."""

    host: str
    port: int
    admission: AdmissionOptions
    idle_s: float
    batch_rows_max: int
    streams_max: int = 64
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    proxies: Proxies = field(default_factory=Proxies)


class FlightServer(fl.FlightServerBase):  # type: ignore[misc]  # pyarrow has no types
    """Listens once constructed. ``url`` returns the link to a record's file."""

    def __init__(
        self,
        pushes: Pushes,
        streams: Streams,
        transfers: Transfers,
        keys: Keys,
        rate: Rate,
        url: Callable[[Record], str],
        options: FlightOptions,
    ) -> None:
        self._pushes = pushes
        self._streams = streams
        self._transfers = transfers
        self._url = url
        self._options = options
        self._free = threading.BoundedSemaphore(options.streams_max)
        self._admission = Admission(options.admission)
        admitted = options.admission.tasks_max + options.admission.queue_max
        self._threads = ThreadPoolExecutor(admitted, thread_name_prefix="fluxport-flight")
        tls = options.certificate is not None and options.key is not None
        host = f"[{options.host}]" if ":" in options.host else options.host
        super().__init__(
            f"grpc{'+tls' if tls else ''}://{host}:{options.port}",
            middleware={"caller": _Callers(keys, rate, options.proxies)},
            tls_certificates=_pair(options) if tls else None,
            verify_client=options.client_ca is not None,
            root_certificates=None if options.client_ca is None else options.client_ca.read_bytes(),
        )

    # -- calls of clients -----------------------------------------------------------------------------------------

    def do_get(self, context: fl.ServerCallContext, ticket: fl.Ticket) -> fl.FlightDataStream:
        """The rows of a query or a dataset; the ticket is the body of POST /v1/stream; its format is always Arrow."""
        with contextlib.ExitStack() as opened:
            opened.enter_context(_translated("DoGet"))
            caller = _caller(context, opened.enter_context(_span(context, "DoGet")))
            spec = _spec(ticket.ticket)
            if not self._free.acquire(blocking=False):
                raise TooMany("Too many streams are running; try again in a moment.")
            opened.callback(self._free.release)
            stream = self._streams.open(spec, caller)
            reader = pa.ipc.open_stream(pa.PythonFile(_File(stream.chunks), mode="r"))
            batches = self._batches(stream, reader, opened.pop_all())
            next(batches)
            return fl.GeneratorStream(reader.schema, batches)

    def _batches(
        self, stream: Stream, reader: pa.RecordBatchReader, opened: contextlib.ExitStack
    ) -> Iterator[pa.RecordBatch | None]:
        """A None, then the batches; then ``opened`` is closed. Only a started generator runs its ``finally``, so the
        caller pulls the None at once, in case the client disconnects before it requests a batch."""
        with opened, contextlib.closing(stream.chunks):
            yield None
            yield from reader
            for _ in stream.chunks:
                """There are no bytes after Arrow's end, but exhausting the stream completes the export."""

    def get_flight_info(self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor) -> fl.FlightInfo:
        """The columns that DoGet would return, and its ticket; the query is started for them and canceled."""
        with _translated("GetFlightInfo"), _span(context, "GetFlightInfo") as span:
            caller = _caller(context, span)
            if not descriptor.command:
                raise Refused("The descriptor must be a command: the body of POST /v1/stream.", code="bad_body")
            stream = self._streams.open(_spec(descriptor.command), caller)
            try:
                schema = pa.ipc.open_stream(pa.PythonFile(_File(stream.chunks), mode="r")).schema
            finally:
                stream.gone()
                stream.chunks.close()
            return fl.FlightInfo(schema, descriptor, [fl.FlightEndpoint(descriptor.command, [])], -1, -1)

    def do_put(
        self,
        context: fl.ServerCallContext,
        descriptor: fl.FlightDescriptor,
        reader: fl.MetadataRecordBatchReader,
        writer: fl.FlightMetadataWriter,
    ) -> None:
        """Record batches to a stored file; the last metadata message describes the file."""
        with _translated("DoPut"), _span(context, "DoPut") as span:
            caller = _caller(context, span)
            with self._admission.admitted():
                record = self._put(context, caller, _push_request(descriptor, reader.schema), reader, writer)
            if record.status != "completed":
                raise record.error.error() if record.error else Broken("The export failed.", code="internal")
            writer.write(json.dumps(self._result(record)).encode())
            events.emit("ExportCompleted", record.ids, rows=record.rows, bytes=record.bytes)

    # -- one push --------------------------------------------------------------------------------------------------

    def _put(
        self,
        context: fl.ServerCallContext,
        caller: Caller,
        request: PushRequest,
        reader: fl.MetadataRecordBatchReader,
        writer: fl.FlightMetadataWriter,
    ) -> Record:
        """Read the batches here, while another thread runs the push (see :class:`Handover`)."""
        handover: Handover[pa.RecordBatch] = Handover(self._options.idle_s)

        def read() -> pa.RecordBatch | None:
            try:
                return reader.read_chunk().data
            except StopIteration:
                confirm()
                return None
            except (pa.ArrowException, OSError):
                raise _client_gone() from None

        def confirm() -> None:
            """A broken connection ends the batches as well: then a write fails, or the call is marked as cancelled."""
            try:
                writer.write(b'{"status": "received"}')
            except (pa.ArrowException, OSError):
                raise _client_gone() from None
            if context.is_cancelled():
                raise _client_gone()

        caller = named(caller, request.request_id)
        options = request.source_options(self._options.batch_rows_max)
        source = ReadSource(reader.schema, handover.take, handover.close, options)
        push = self._pushes.begin(request, source, caller, api="flight")
        record = push.record
        logs.bind(logs.Ids(record.id, caller.request_id, traces.trace_id(caller.traceparent)))
        if not push.new:
            return record if record.status == "completed" else _in_progress(record)

        def run() -> Record:
            try:
                ended = self._run(push, request, handover, confirm)
                if ended.error is not None and ended.error.code == "stream_idle":
                    _report_idle(ended, writer)
                return ended
            finally:
                handover.end()

        running = self._threads.submit(contextvars.copy_context().run, run)
        handover.serve(read)
        return running.result()

    def _run(
        self, push: Push, request: PushRequest, handover: Handover[pa.RecordBatch], confirm: Callable[[], None]
    ) -> Record:
        """Wait for a turn, then run the push; returns the record of the ended export."""
        record, turn = push.record, self._admission.turn()

        def end() -> None:
            handover.close()
            turn.cancel()

        with self._transfers.running(record.id, end):
            try:
                turn.result()
            except CancelledError:
                return self._pushes.fail(record, Canceled("The task was canceled."))
            except TimedOut as late:
                return self._pushes.fail(record, late)
            try:
                return self._pushes.run(push, rows_expected=request.rows_expected, planned=_ignored, confirm=confirm)
            finally:
                self._admission.leave()

    def _result(self, record: Record) -> dict[str, Any]:
        return {
            "status": "completed",
            "task_id": record.id,
            "url": self._url(record),
            "rows": record.rows,
            "bytes": record.bytes,
            "sha256": record.result and record.result.sha256,
        }


class _File:
    """Chunks as a file, for Arrow's reader."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._held = memoryview(b"")
        self.closed = False

    def read(self, size: int) -> bytes:
        parts: list[memoryview] = []
        while size > 0:
            if not self._held:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._held = memoryview(chunk)
            parts.append(self._held[:size])
            size -= len(parts[-1])
            self._held = self._held[len(parts[-1]) :]
        return b"".join(parts)


class _Callers(fl.ServerMiddlewareFactory):  # type: ignore[misc]  # pyarrow has no types
    """Checks each call first: its key, and whether its method is served."""

    def __init__(self, keys: Keys, rate: Rate, proxies: Proxies) -> None:
        self._keys = keys
        self._rate = rate
        self._proxies = proxies

    def start_call(self, info: fl.CallInfo, headers: Mapping[str, list[str]]) -> _Verified:
        with _translated(str(info.method)):
            given = {name.lower(): values for name, values in headers.items()}
            key = self._keys.bearer(given.get("authorization", []))
            if key is None:
                raise Unauthorized("This needs a key as header 'authorization: Bearer ...'.")
            self._rate.take(f"key {key.id}")
            if info.method not in SERVED:
                raise Disabled("This call is not supported; use DoGet, GetFlightInfo or DoPut.", code="not_served")
            received = traces.accepted(next(iter(given.get("traceparent", [])), ""))
            caller = replace(Caller.of_key(key), traceparent=received)
            return _Verified(caller, self._proxies, given.get(self._proxies.header, []))


class _Verified(fl.ServerMiddleware):  # type: ignore[misc]  # pyarrow has no types
    def __init__(self, caller: Caller, proxies: Proxies, forwarded: list[str]) -> None:
        self._caller = caller
        self._proxies = proxies
        self._forwarded = forwarded

    @property
    def received(self) -> str:
        """The ``traceparent`` of the call, or an empty string."""
        return self._caller.traceparent

    def caller(self, peer: str) -> Caller:
        origin = self._proxies.origin(grpc_peer(peer), self._forwarded)
        return replace(self._caller, address=str(origin.address or ""))


def _span(context: fl.ServerCallContext, method: str) -> contextlib.AbstractContextManager[traces.Span]:
    """The span of a call, below the ``traceparent`` in its headers."""
    verified: _Verified = context.get_middleware("caller")
    attributes = {"rpc.system": "grpc", "rpc.service": SERVICE, "rpc.method": method}
    return traces.span(f"{SERVICE}/{method}", verified.received, attributes, kind="server")


def _caller(context: fl.ServerCallContext, span: traces.Span) -> Caller:
    verified: _Verified = context.get_middleware("caller")
    return replace(verified.caller(str(context.peer())), traceparent=span.traceparent)


def _json(content: bytes) -> Any:
    if len(content) > COMMAND_BYTES_MAX:
        raise Refused("A ticket or command is at most 1 MiB of JSON.", code="bad_json")
    return read_json(content, "A ticket or command")


def _spec(content: bytes) -> ExportSpec:
    return replace(ExportSpec.from_json(_json(content)), format="arrow", compression="none")


def _push_request(descriptor: fl.FlightDescriptor, schema: pa.Schema) -> PushRequest:
    given = _json(descriptor.command or b"null")
    if not isinstance(given, dict) or set(given) - set(PUT_KEYS):
        raise Refused(f"The command of a push is a JSON object of: {', '.join(PUT_KEYS)}.", code="bad_metadata")
    request_id, filename, options = given.get("request_id"), given.get("filename", "export"), given.get("options", {})
    expected = given.get("expected_rows")
    texts = [
        request_id,
        filename,
        given.get("format", ExportSpec.format),
        given.get("compression", ExportSpec.compression),
    ]
    whole = expected is None or (isinstance(expected, int) and not isinstance(expected, bool))
    if not all(isinstance(text, str) for text in texts) or not isinstance(options, dict) or not whole:
        raise Refused(
            "'request_id' (required), 'format', 'compression' and 'filename' are text, 'options' is an object, "
            "'expected_rows' a whole number.",
            code="bad_metadata",
        )
    columns = tuple(PushedColumn(field.name, kind_of_type(field.type) or "string") for field in schema)
    digest = hashlib.sha256(descriptor.command + schema.serialize().to_pybytes()).hexdigest()
    return PushRequest(texts[0], digest, texts[2], filename, columns, options, texts[3], expected)


def _in_progress(record: Record) -> Record:
    raise Unavailable("This task is being pushed already; try again in a moment.", code="in_progress")


def _client_gone() -> Canceled:
    return Canceled("The client disconnected before the end.", code="client_gone")


def _report_idle(record: Record, writer: fl.FlightMetadataWriter) -> None:
    """Send the error as a metadata message: the call itself ends only when its client sends a batch, ends the stream or
    disconnects."""
    assert record.error is not None
    message = {"status": "failed", "task_id": record.id, "error": record.error.to_json()}
    with contextlib.suppress(pa.ArrowException, OSError):
        writer.write(json.dumps(message).encode())


def _ignored(export: Export) -> None:
    """Flight reports no progress."""


def _pair(options: FlightOptions) -> list[tuple[bytes, bytes]]:
    assert options.certificate is not None
    assert options.key is not None
    return [(options.certificate.read_bytes(), options.key.read_bytes())]


@contextlib.contextmanager
def _translated(method: str) -> Iterator[None]:
    """Translate errors to Flight's, with our message."""
    try:
        yield
    except fl.FlightError:
        raise
    except Exception as raised:  # Flight would send the traceback
        error = as_failure(raised)
        if not isinstance(raised, FluxportError):
            log.exception("%s failed", method)
        metrics.refusal(error.code)
        raise _flight_error(error) from None


def _flight_error(error: FluxportError) -> Exception:
    """The error as a Flight error; pyarrow would send any other exception with its stack trace. ``extra_info`` is JSON
    of the code, the message and whether to retry."""
    flight_error: Exception = getattr(fl, error.flight_error)(
        error.message, json.dumps(Failure.of(error).to_json()).encode()
    )
    return flight_error
