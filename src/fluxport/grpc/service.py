"""``export.ExportService``: pushed rows are encoded and stored as they arrive."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from fluxport.auth.caller import Caller
from fluxport.errors import Canceled, FluxportError, NotFound, Refused
from fluxport.grpc import export_pb2 as pb
from fluxport.grpc import wire
from fluxport.grpc.answers import Answers
from fluxport.grpc.callers import PushCallers, metadata_of
from fluxport.grpc.calls import Context, translated
from fluxport.grpc.handover import Handover
from fluxport.grpc.metadata import read_metadata
from fluxport.grpc.responses import as_error, failed_response, failure_event, percent, response, status_response
from fluxport.grpc.writer import ResponseWriter, observed
from fluxport.jobs.pushes import Admission, AdmissionOptions, Push, Pushes, PushRequest, idle, named
from fluxport.jobs.states import FINAL
from fluxport.jobs.store import JobStore, Record
from fluxport.jobs.transfers import Transfers, cancel
from fluxport.jobs.watch import Watch
from fluxport.plan import Export
from fluxport.sources.pushed import PushedBatch, PushedSource
from fluxport.telemetry import events, logs, traces

NAME = "export.ExportService"
PROGRESS_EVERY_S = 1.0
LOOK_EVERY_S = 0.5
WAITS_IN_VAIN = "A program that waits for a response before it sends its rows needs grpc.answers_of: stream."
PAUSE_S = 0.5  # without a message: the client waits for a response


@dataclass(frozen=True)
class ServiceOptions:
    admission: AdmissionOptions
    idle_s: float
    batch_rows_max: int


class ExportService:
    """The three calls, in the server's event loop; ``url`` returns the link to a record's file."""

    def __init__(
        self,
        pushes: Pushes,
        store: JobStore,
        transfers: Transfers,
        watch: Watch,
        callers: PushCallers,
        url: Callable[[Record], str],
        options: ServiceOptions,
    ) -> None:
        self._pushes = pushes
        self._store = store
        self._transfers = transfers
        self._watch = watch
        self._callers = callers
        self._url = url
        self._options = options
        self._admission = Admission(options.admission)
        # One per task. The calls' own database access runs in asyncio's default threads.
        self._threads = ThreadPoolExecutor(options.admission.tasks_max, thread_name_prefix="fluxport-push")

    def handlers(self) -> grpc.GenericRpcHandler:
        """Requests of the stream stay bytes here; the thread that processes them parses them."""
        serialize = pb.ExportResponse.SerializeToString
        serialize_status = pb.TaskStatusResponse.SerializeToString
        unary = grpc.unary_unary_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            NAME,
            {
                "StreamExport": grpc.stream_stream_rpc_method_handler(
                    self.stream_export, request_deserializer=None, response_serializer=serialize
                ),
                "QueryTaskStatus": unary(self.query_task_status, pb.TaskStatusRequest.FromString, serialize_status),
                "CancelTask": unary(self.cancel_task, pb.CancelTaskRequest.FromString, serialize_status),
            },
        )

    # -- the three calls -----------------------------------------------------------------------------------------------

    async def stream_export(self, _: Any, context: Context) -> None:
        responses = ResponseWriter(context)

        async def failed(error: FluxportError) -> str:
            if (event := failure_event(error.code)) is not None:
                events.emit(event, None, error)
            await responses.last(failed_response(responses.task_id, error), failed=True)
            return responses.task_id

        async with translated(NAME, "StreamExport", context, failed) as span:
            try:
                await self._stream(context, responses, span)
            except asyncio.CancelledError:
                events.emit("StreamReceiveError", error_code="client_gone")
                raise

    async def _stream(self, context: Context, responses: ResponseWriter, span: traces.Span) -> None:
        caller, responses.answers = await self._verified(context, span)
        with self._admission.admitted():
            await self._push(context, caller, responses)

    async def query_task_status(self, request: pb.TaskStatusRequest, context: Context) -> pb.TaskStatusResponse:
        async with translated(NAME, "QueryTaskStatus", context) as span:
            caller, _ = await self._verified(context, span)
            caller.need("push")
            try:
                record = await asyncio.to_thread(self._store.get, request.task_id, caller)
            except NotFound:
                events.emit("StatusNotFound")
                raise
            events.emit("StatusQueried", record.ids)
            return await asyncio.to_thread(status_response, record, self._url, self._store.clock())
        raise AssertionError

    async def cancel_task(self, request: pb.CancelTaskRequest, context: Context) -> pb.TaskStatusResponse:
        async with translated(NAME, "CancelTask", context) as span:
            caller, _ = await self._verified(context, span)
            caller.need("push")
            record = await asyncio.to_thread(cancel, request.task_id, caller, self._store, self._transfers)
            return status_response(record, self._url, self._store.clock())
        raise AssertionError

    async def _verified(self, context: Context, span: traces.Span) -> tuple[Caller, Answers]:
        logs.bind(logs.Ids(trace_id=traces.trace_id(span.traceparent)))
        caller, answers = await asyncio.to_thread(self._callers.verified, metadata_of(context), context.peer())
        return replace(caller, traceparent=span.traceparent), answers

    # -- one push ------------------------------------------------------------------------------------------------------

    async def _push(self, context: Context, caller: Caller, responses: ResponseWriter) -> None:
        request = read_metadata(await self._metadata(context, responses))
        responses.begin()
        caller = named(caller, request.request_id)
        logs.bind(logs.Ids(request_id=caller.request_id, trace_id=traces.trace_id(caller.traceparent)))
        handover = Handover()
        source = PushedSource(
            request.columns,
            partial(_next_batch, handover, len(request.columns)),
            handover.close,
            request.source_options(self._options.batch_rows_max),
            handover.ready,
        )
        push = await self._begin(request, source, caller)
        record = push.record
        responses.task_id = record.id
        logs.bind(logs.Ids(record.id, caller.request_id, traces.trace_id(caller.traceparent)))
        if not push.new:
            await self._follow(context, record, responses)
            return
        turn = self._admission.turn()
        running = asyncio.wrap_future(turn)
        running.add_done_callback(observed)

        def end() -> None:
            handover.close()
            turn.cancel()

        with self._transfers.running(record.id, end):
            pumping = asyncio.ensure_future(self._pump(context, handover, responses, record, running))
            try:
                responses.progress(response(record, self._url))
                await _wait_for(running)
            except BaseException as error:
                pumping.cancel()
                self._admission.cancel(turn)
                await _uninterrupted(asyncio.to_thread(self._pushes.fail, record, _cause(error)))
                raise
            try:
                responses.limit_hold()
                push = replace(push, record=replace(record, rows_total=request.rows_expected))
                record = await self._run(push, source, handover, responses, pumping)
            finally:
                self._admission.leave()
        await self._send_result(record, responses)

    async def _metadata(self, context: Context, responses: ResponseWriter) -> pb.ExportMetadata:
        message = await self._read(context.read(), responses)
        request = pb.ExportRequest() if message is None else _parsed(message)
        if request.WhichOneof("payload") != "metadata":
            raise Refused("The first message must be the metadata.", code="no_metadata")
        return request.metadata

    async def _read(self, reading: Awaitable[Any], responses: ResponseWriter) -> bytes | None:
        """The message; None at the end of the requests, TimedOut if nothing arrives for ``idle_s``."""
        try:
            async with asyncio.timeout(self._options.idle_s):
                message: Any = await reading
        except TimeoutError:
            raise idle(self._options.idle_s, WAITS_IN_VAIN if responses.answers == "final" else "") from None
        return None if message is grpc.aio.EOF else message

    async def _next(self, context: Context, responses: ResponseWriter, running: asyncio.Future[None]) -> bytes | None:
        """The next message, as :meth:`_read`, which a client may take any time for until its task is ``running``. If it
        pauses while responses are held, it waits for one, which is sent then."""
        with responses.pausing(PAUSE_S):
            # Without a task for the reading: each turn of the event loop waits for the worker's thread.
            if running.done():
                return await self._read(context.read(), responses)
            reading = asyncio.ensure_future(context.read())
            reading.add_done_callback(observed)
            try:
                await asyncio.wait({reading, running}, return_when=asyncio.FIRST_COMPLETED)
                return await self._read(reading, responses)
            finally:
                reading.cancel()

    async def _run(
        self,
        push: Push,
        source: PushedSource,
        handover: Handover,
        responses: ResponseWriter,
        pumping: asyncio.Future[None],
    ) -> Record:
        """Wait until the worker thread has finished, which gets the messages from ``pumping``; send its progress."""
        disconnected, record = threading.Event(), push.record
        planned: list[Export] = []

        def confirm() -> None:
            if disconnected.is_set():
                raise _client_gone()

        work = partial(self._pushes.run, push, rows_expected=record.rows_total, planned=planned.append, confirm=confirm)
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            while not running.done():
                await asyncio.wait({running}, timeout=PROGRESS_EVERY_S)
                if planned and not running.done() and not source.ended:
                    responses.progress(_progress(record, planned[0]))
            return running.result()
        except asyncio.CancelledError:
            disconnected.set()
            raise
        finally:
            pumping.cancel()
            handover.fail(_client_gone())
            await _uninterrupted(running)

    async def _pump(
        self,
        context: Context,
        handover: Handover,
        responses: ResponseWriter,
        record: Record,
        running: asyncio.Future[None],
    ) -> None:
        """Read ahead, also before the task is ``running``: the end of the requests decides which responses are sent."""
        try:
            while (message := await self._next(context, responses, running)) is not None:
                await handover.put(message)
            responses.requests_ended()
            if not responses.only_last:
                await asyncio.wait({running})  # the confirmation is UPLOADING, which no task is that waits
            # A broken connection ends the requests as well. Only if a response can still be sent did the client end
            # them on purpose.
            await responses.received(record)
        except FluxportError as error:
            handover.fail(error)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001  gRPC's errors for a call that has ended
            handover.fail(_client_gone())
        else:
            handover.end()

    async def _follow(self, context: Context, record: Record, responses: ResponseWriter) -> None:
        """Another call pushes, or has pushed, the same task: send its result here too."""
        discarding = asyncio.ensure_future(self._discard(context, record, responses))
        discarding.add_done_callback(observed)
        responses.limit_hold()
        seq = 0
        try:
            while record.status not in FINAL:
                news = asyncio.wrap_future(self._watch.after(record.id, seq))
                try:
                    responses.progress(response(record, self._url))
                    while not (await asyncio.wait({news}, timeout=LOOK_EVERY_S))[0]:
                        responses.progress(response(record, self._url))
                    seq = max([seq, *(event.seq for event in news.result().events)])
                finally:
                    news.cancel()
                record = await asyncio.to_thread(self._store.get, record.id)
        finally:
            discarding.cancel()
        await self._send_result(record, responses)

    async def _discard(self, context: Context, record: Record, responses: ResponseWriter) -> None:
        """Read the requests of a call that follows another one; it may wait for the result without sending any."""
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        while await self._next(context, responses, never) is not None:
            pass
        responses.requests_ended()
        if responses.only_last:  # its client learns the task's id; for others UPLOADING would speak of the other call
            await responses.received(record)

    async def _send_result(self, record: Record, responses: ResponseWriter) -> None:
        if record.status not in ("completed", "expired"):
            raise as_error(record)
        # In a thread: presigning a URL may have to fetch credentials.
        await responses.last(await asyncio.to_thread(response, record, self._url))
        events.emit("ExportCompleted", record.ids, rows=record.rows, bytes=record.bytes)

    async def _begin(self, request: PushRequest, source: PushedSource, caller: Caller) -> Push:
        """Begin a task; if the client disconnects meanwhile, a new task is failed."""
        beginning = asyncio.ensure_future(asyncio.to_thread(self._pushes.begin, request, source, caller, api="grpc"))
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:
            await asyncio.wait({beginning})
            if beginning.exception() is None:
                push = beginning.result()
                if push.new:
                    await asyncio.to_thread(self._pushes.fail, push.record, _client_gone())
            raise


async def _wait_for(running: asyncio.Future[None]) -> None:
    """Wait for a turn; Canceled if the task was canceled meanwhile, TimedOut if the wait took too long."""
    await asyncio.wait({running})
    if running.cancelled():
        raise Canceled("The task was canceled.")
    running.result()


async def _uninterrupted(work: Awaitable[Any]) -> None:
    """Wait until ``work`` has ended, even if the caller is canceled meanwhile."""
    future = asyncio.ensure_future(work)
    interrupted = False
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError:
            interrupted = True
    if not future.cancelled():
        future.exception()
    if interrupted:
        raise asyncio.CancelledError


def _cause(error: BaseException) -> BaseException:
    return _client_gone() if isinstance(error, asyncio.CancelledError) else error


def _client_gone() -> Canceled:
    return Canceled(
        "The client disconnected before the end, or sent more than one message may hold.", code="client_gone"
    )


def _parsed(message: bytes) -> pb.ExportRequest:
    try:
        return pb.ExportRequest.FromString(message)
    except DecodeError:
        raise Refused("A message is not an ExportRequest.", code="bad_message") from None


def _next_batch(handover: Handover, width: int) -> PushedBatch | None:
    """The next batch, parsed; runs in the worker thread."""
    message = handover.take()
    if message is None:
        return None
    if (parsed := wire.cells(message, width)) is not None:
        return PushedBatch(parsed[0], message, cells=parsed[1])
    request = _parsed(message)
    if request.WhichOneof("payload") != "batch":
        raise Refused("After the metadata every message is a batch.", code="bad_message")
    batch = request.batch
    rows = [record.values for record in batch.records]
    return PushedBatch(batch.batch_sequence, message, rows, arrow=batch.arrow_ipc)


def _progress(record: Record, export: Export) -> pb.ExportResponse:
    return pb.ExportResponse(
        task_id=record.id,
        status=pb.TASK_STATUS_PROCESSING,
        record_count=export.tally.rows,
        file_size_bytes=export.tally.size_bytes,
        progress_percent=percent(record, export.tally.rows),
    )
