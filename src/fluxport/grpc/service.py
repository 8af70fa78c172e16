"""``export.ExportService``: pushed rows become a stored file while they come in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from fluxport.auth.caller import Caller
from fluxport.errors import Canceled, FluxportError, Refused, TimedOut
from fluxport.grpc import export_pb2 as pb
from fluxport.grpc import wire
from fluxport.grpc.answers import as_error, failed_response, response, status_of, status_response, trailers
from fluxport.grpc.callers import PushCallers
from fluxport.grpc.handover import Handover
from fluxport.grpc.metadata import read_metadata
from fluxport.jobs.pushes import Admission, AdmissionOptions, Push, Pushes, PushRequest, named
from fluxport.jobs.states import FINAL
from fluxport.jobs.store import Record
from fluxport.pipeline import as_failure
from fluxport.plan import Export
from fluxport.sources.pushed import PushedBatch, PushedSource
from fluxport.telemetry import logs, metrics

log = logging.getLogger("fluxport.grpc")

NAME = "export.ExportService"
ANSWER_EVERY_S = 1.0
LOOK_EVERY_S = 0.5
ANSWER_WAIT_S = 30.0
Context = Any  # grpc.aio.ServicerContext, whose types do not know raw requests


@dataclass(frozen=True)
class ServiceOptions:
    admission: AdmissionOptions = field(default_factory=AdmissionOptions)
    idle_s: float = 30.0
    batch_rows_max: int = 65_536


class ExportService:
    """The three calls, in the event loop that the server runs in; ``url`` makes the link to a record's file."""

    def __init__(
        self, pushes: Pushes, callers: PushCallers, url: Callable[[Record], str], options: ServiceOptions
    ) -> None:
        self._pushes = pushes
        self._exports = pushes.exports
        self._callers = callers
        self._url = url
        self._options = options
        self._admission = Admission(options.admission)
        # Of each task: one that carries it, and one for what is asked of the database meanwhile.
        self._threads = ThreadPoolExecutor(options.admission.tasks_max, thread_name_prefix="fluxport-push")

    def handlers(self) -> grpc.GenericRpcHandler:
        """Requests of the stream stay bytes here: they are parsed in the thread that works on them."""
        serialize = pb.ExportResponse.SerializeToString
        told = pb.TaskStatusResponse.SerializeToString
        unary = grpc.unary_unary_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            NAME,
            {
                "StreamExport": grpc.stream_stream_rpc_method_handler(
                    self.stream_export, request_deserializer=None, response_serializer=serialize
                ),
                "QueryTaskStatus": unary(self.query_task_status, pb.TaskStatusRequest.FromString, told),
                "CancelTask": unary(self.cancel_task, pb.CancelTaskRequest.FromString, told),
            },
        )

    def close(self) -> None:
        self._threads.shutdown(wait=True)

    # -- the three calls -----------------------------------------------------------------------------------------------

    async def stream_export(self, _: Any, context: Context) -> None:
        answers = Answers(context)
        async with self._answered("StreamExport", context, answers):
            caller, answers.one = await self._verified(context)
            with self._admission.admitted():
                await self._push(context, caller, answers)

    async def query_task_status(self, request: pb.TaskStatusRequest, context: Context) -> pb.TaskStatusResponse:
        async with self._answered("QueryTaskStatus", context, None):
            caller, _ = await self._verified(context)
            caller.need("push")
            record = await asyncio.to_thread(self._exports.store.get, request.task_id, caller)
            return await asyncio.to_thread(status_response, record, self._url, self._exports.store.clock())
        raise AssertionError

    async def cancel_task(self, request: pb.CancelTaskRequest, context: Context) -> pb.TaskStatusResponse:
        async with self._answered("CancelTask", context, None):
            caller, _ = await self._verified(context)
            caller.need("push")
            record = await asyncio.to_thread(self._exports.cancel, request.task_id, caller)
            return status_response(record, self._url, self._exports.store.clock())
        raise AssertionError

    async def _verified(self, context: Context) -> tuple[Caller, bool]:
        metadata = [(name, value) for name, value in context.invocation_metadata() or ()]
        return await asyncio.to_thread(self._callers.verified, metadata, context.peer())

    @contextlib.asynccontextmanager
    async def _answered(self, method: str, context: Context, answers: Answers | None) -> AsyncIterator[None]:
        """Errors as the status, code and sentence that callers know; every call is counted and logged with one line."""
        began = time.monotonic()
        status = grpc.StatusCode.OK
        try:
            yield
        except asyncio.CancelledError:
            status = grpc.StatusCode.CANCELLED
            raise
        except Exception as raised:
            if not isinstance(raised, FluxportError):
                log.exception("call failed")
            error = as_failure(raised)
            status = status_of(error)
            metrics.refusal(error.code)
            task_id = answers.task_id if answers is not None else ""
            if answers is not None:
                await answers.last(failed_response(task_id, error), failed=True)
            await context.abort(status, error.message, trailers(error, task_id))
        finally:
            metrics.call(method, status.name)
            fields = {"status": status.name, "duration_ms": round((time.monotonic() - began) * 1000, 1)}
            log.info("%s", method, extra=fields)

    # -- one push ------------------------------------------------------------------------------------------------------

    async def _push(self, context: Context, caller: Caller, answers: Answers) -> None:
        asked = read_metadata(await self._metadata(context))
        caller = named(caller, asked.request_id)
        logs.bind(request_id=caller.request_id, trace_id=caller.trace_id)
        handover = Handover()
        source = PushedSource(
            asked.columns,
            partial(_next_batch, handover, len(asked.columns)),
            handover.close,
            asked.source_options(self._options.batch_rows_max),
        )
        push = await self._begin(asked, source, caller)
        record = push.record
        answers.task_id = record.id
        logs.bind(task_id=record.id, request_id=caller.request_id, trace_id=caller.trace_id)
        if not push.new:
            await self._follow(record, answers)
            return
        turn = self._admission.turn()

        def end() -> None:
            handover.close()
            turn.cancel()

        with self._exports.running(record.id, end):
            try:
                await answers.progress(response(record, self._url))
                await _given(turn)
            except BaseException as error:
                self._admission.cancel(turn)
                await _uninterrupted(asyncio.to_thread(self._pushes.fail, record, _cause(error)))
                raise
            try:
                push = replace(push, record=replace(record, rows_total=asked.rows_expected))
                record = await self._carry(context, push, source, handover, answers)
            finally:
                self._admission.leave()
        await self._tell_end(record, answers)

    async def _metadata(self, context: Context) -> pb.ExportMetadata:
        message = await self._read(context)
        request = pb.ExportRequest() if message is None else _parsed(message)
        if request.WhichOneof("payload") != "metadata":
            raise Refused("The first message must be the metadata.", code="no_metadata")
        return request.metadata

    async def _read(self, context: Context) -> bytes | None:
        """The next message; None at the end of the requests."""
        try:
            async with asyncio.timeout(self._options.idle_s):
                message = await context.read()
        except TimeoutError:
            raise TimedOut(
                f"Nothing was sent for {self._options.idle_s:g} s; the stream was ended.", code="stream_idle"
            ) from None
        return None if message is grpc.aio.EOF else message

    async def _carry(
        self, context: Context, push: Push, source: PushedSource, handover: Handover, answers: Answers
    ) -> Record:
        """Messages go to the thread that works on them until it has ended; how far it is, is answered meanwhile."""
        gone, record = threading.Event(), push.record
        planned: list[Export] = []

        def confirm() -> None:
            if gone.is_set():
                raise _gone()

        work = partial(
            self._pushes.carry, push, rows_expected=record.rows_total, planned=planned.append, confirm=confirm
        )
        carrying = asyncio.get_running_loop().run_in_executor(self._threads, work)
        pumping = asyncio.ensure_future(self._pump(context, handover, answers, record))
        try:
            while not carrying.done():
                await asyncio.wait({carrying}, timeout=ANSWER_EVERY_S)
                if planned and not carrying.done() and not source.ended:
                    await answers.progress(_progress(record, planned[0]))
            return carrying.result()
        except asyncio.CancelledError:
            gone.set()
            raise
        finally:
            pumping.cancel()
            handover.fail(_gone())
            await _uninterrupted(carrying)

    async def _pump(self, context: Context, handover: Handover, answers: Answers, record: Record) -> None:
        try:
            while (message := await self._read(context)) is not None:
                await handover.put(message)
            # A connection that breaks ends the requests as well. Only what can still be answered was ended on purpose:
            # nothing can be sent on a stream that is gone.
            await answers.received(record)
        except FluxportError as error:
            handover.fail(error)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001  whatever gRPC raises of a call that is over
            handover.fail(_gone())
        else:
            handover.end()

    async def _follow(self, record: Record, answers: Answers) -> None:
        """Another call pushes, or has pushed, the same: its end is answered here too."""
        seq = 0
        while record.status not in FINAL:
            coming = asyncio.wrap_future(self._exports.watch.after(record.id, seq))
            try:
                await answers.progress(response(record, self._url))
                while not (await asyncio.wait({coming}, timeout=LOOK_EVERY_S))[0]:
                    await answers.progress(response(record, self._url))
                seq = max([seq, *(event.seq for event in coming.result().events)])
            finally:
                coming.cancel()
            record = await asyncio.to_thread(self._exports.store.get, record.id)
        await self._tell_end(record, answers)

    async def _tell_end(self, record: Record, answers: Answers) -> None:
        if record.status not in ("completed", "expired"):
            raise as_error(record)
        # In a thread: a store that signs its links may have to fetch credentials for it.
        await answers.last(await asyncio.to_thread(response, record, self._url))

    async def _begin(self, asked: PushRequest, source: PushedSource, caller: Caller) -> Push:
        """A task, and whether it is new; one that is begun for a client that leaves meanwhile is failed."""
        beginning = asyncio.ensure_future(asyncio.to_thread(self._pushes.begin, asked, source, caller, door="grpc"))
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:
            await asyncio.wait({beginning})
            if beginning.exception() is None:
                push = beginning.result()
                if push.new:
                    await asyncio.to_thread(self._pushes.fail, push.record, _gone())
            raise


class Answers:
    """Answers of one call, one at a time; ``one``: only the last is sent."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = asyncio.Lock()
        self._sending: asyncio.Task[None] | None = None
        self.one = False
        self.task_id = ""

    async def progress(self, answer: pb.ExportResponse) -> None:
        """Left out while the one before has not left: a client that does not read holds nothing up."""
        if self.one or (self._sending is not None and not self._sending.done()):
            return
        self._sending = asyncio.ensure_future(self._send(answer))
        self._sending.add_done_callback(_observed)

    async def received(self, record: Record) -> None:
        """Say that all has been received, by an answer or at least by the call's headers; raises once it is over."""
        if self.one:
            async with asyncio.timeout(ANSWER_WAIT_S):
                await self._context.send_initial_metadata(())
        else:
            await self._send(pb.ExportResponse(task_id=record.id, status=pb.TASK_STATUS_UPLOADING))

    async def last(self, answer: pb.ExportResponse, *, failed: bool = False) -> None:
        """The last answer. With ``failed`` a status follows that says the same, so it is sent only where more than one
        answer is expected, and as well as it can be."""
        if not failed:
            await self._send(answer)
        elif not self.one:
            with contextlib.suppress(Exception):
                await self._send(answer)

    async def _send(self, answer: pb.ExportResponse) -> None:
        """To its end, whatever becomes of who sends it: a write that is broken off takes the later ones with it."""
        writing = asyncio.ensure_future(self._write(answer))
        writing.add_done_callback(_observed)
        await asyncio.shield(writing)

    async def _write(self, answer: pb.ExportResponse) -> None:
        async with asyncio.timeout(ANSWER_WAIT_S), self._lock:
            await self._context.write(answer)


def _observed(task: asyncio.Future[None]) -> None:
    if not task.cancelled():
        task.exception()


async def _given(turn: Future[None]) -> None:
    """Wait for a turn; Canceled if the task was canceled meanwhile, TimedOut if that took too long."""
    waiting = asyncio.wrap_future(turn)
    waiting.add_done_callback(_observed)
    await asyncio.wait({waiting})
    if turn.cancelled():
        raise Canceled("The task was canceled.")
    turn.result()


async def _uninterrupted(work: Awaitable[Any]) -> None:
    """Wait for ``work`` to its end, whatever is done to the caller meanwhile."""
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
    return _gone() if isinstance(error, asyncio.CancelledError) else error


def _gone() -> Canceled:
    return Canceled(
        "The client disconnected before the end, or sent more than one message may hold.", code="client_gone"
    )


def _parsed(message: bytes) -> pb.ExportRequest:
    try:
        return pb.ExportRequest.FromString(message)
    except DecodeError:
        raise Refused("A message is no ExportRequest.", code="bad_message") from None


def _next_batch(handover: Handover, width: int) -> PushedBatch | None:
    """The next batch, parsed; called in the thread that works on it."""
    message = handover.take()
    if message is None:
        return None
    if (found := wire.columns(message, width)) is not None:
        return PushedBatch(found[0], message, columns=found[1])
    request = _parsed(message)
    if request.WhichOneof("payload") != "batch":
        raise Refused("After the metadata every message is a batch.", code="bad_message")
    batch = request.batch
    rows = [record.values for record in batch.records]
    return PushedBatch(batch.batch_sequence, message, rows, arrow=batch.arrow_ipc)


def _progress(record: Record, export: Export) -> pb.ExportResponse:
    rows = export.tally.rows
    return pb.ExportResponse(
        task_id=record.id,
        status=pb.TASK_STATUS_PROCESSING,
        record_count=rows,
        file_size_bytes=export.tally.size_bytes,
        progress_percent=min(round(100 * rows / record.rows_total, 1), 99.9) if record.rows_total else 0.0,
    )
