"""``sensors.SensorService``: points of sensors, acknowledged once they are durable.

Messages that arrive during a write are written together. While AHEAD of them are queued, nothing more is read: the
back-pressure reaches the client through HTTP/2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from fluxport.errors import Refused
from fluxport.grpc import sensors_pb2 as pb
from fluxport.grpc.callers import PushCallers, metadata_of
from fluxport.grpc.calls import Context, translated
from fluxport.grpc.writer import observed
from fluxport.series import Points, SensorStore
from fluxport.series.points import GOOD, QUALITY_MAX, check_sensor_id, checked
from fluxport.telemetry import metrics

NAME = "sensors.SensorService"
AHEAD = 32  # messages
WRITERS = 8


class SensorService:
    """Runs next to ExportService, in the same event loop and with the same callers. ``store`` returns the sensor store,
    or raises Disabled."""

    def __init__(self, store: Callable[[], SensorStore], callers: PushCallers) -> None:
        self._store = store
        self._callers = callers
        self._threads = ThreadPoolExecutor(WRITERS, thread_name_prefix="fluxport-points")

    def handlers(self) -> grpc.GenericRpcHandler:
        append: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            self.append, request_deserializer=None, response_serializer=pb.Accepted.SerializeToString
        )
        return grpc.method_handlers_generic_handler(NAME, {"Append": append})

    async def append(self, _: Any, context: Context) -> None:
        async with translated(NAME, "Append", context):
            caller, _ = await asyncio.to_thread(self._callers.verified, metadata_of(context), context.peer())
            caller.need("push")
            await self._append(context, self._store())

    async def _append(self, context: Context, store: SensorStore) -> None:
        waiting: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD)
        reading = asyncio.ensure_future(_read(context, waiting))
        reading.add_done_callback(observed)
        try:
            ended = False
            while not ended:
                messages = [await waiting.get()]
                while not waiting.empty():
                    messages.append(waiting.get_nowait())
                ended = messages[-1] is None
                bodies = [message for message in messages if message is not None]
                if bodies:
                    storing = asyncio.get_running_loop().run_in_executor(self._threads, _stored, store, bodies)
                    responses, error = await storing
                    for response in responses:
                        await context.write(response)
                    if error is not None:
                        raise error
            await reading
        finally:
            reading.cancel()


async def _read(context: Context, waiting: asyncio.Queue[bytes | None]) -> None:
    """Queue every message, and None after the last, even if the connection fails; not if canceled, as nothing reads
    the queue any more."""
    try:
        while (message := await context.read()) is not grpc.aio.EOF:
            await waiting.put(message)
    except Exception:
        await waiting.put(None)
        raise
    await waiting.put(None)


def _stored(store: SensorStore, bodies: list[bytes]) -> tuple[list[pb.Accepted], Refused | None]:
    """Store all messages, or those before the first invalid one, in one write; returns the responses and the error."""
    points: list[tuple[str, Points]] = []
    responses: list[pb.Accepted] = []
    invalid: Refused | None = None
    for body in bodies:
        try:
            message = _parsed(body)
            points.append((message.sensor_id, _points(message)))
        except Refused as error:
            invalid = error
            break
        responses.append(pb.Accepted(sequence=message.sequence, points=len(message.timestamp_ms)))
    store.append(points)
    metrics.points("grpc", sum(response.points for response in responses))
    return responses, invalid


def _parsed(body: bytes) -> pb.Points:
    try:
        return pb.Points.FromString(body)
    except DecodeError:
        raise Refused("A message is not a Points message of sensors.proto.", code="bad_message") from None


def _points(message: pb.Points) -> Points:
    count = len(message.timestamp_ms)
    if len(message.value) != count or len(message.quality) not in (0, count):
        raise Refused(
            "A message of points has columns of different lengths; 'quality' may be left out.", code="bad_points"
        )
    quality = np.array(message.quality, np.int64) if message.quality else np.full(count, GOOD)
    if count and quality.max() > QUALITY_MAX:
        raise Refused(f"'quality' is 0 (bad), 1 (good) or another number up to {QUALITY_MAX}.", code="bad_points")
    check_sensor_id(message.sensor_id)
    ms, values = np.array(message.timestamp_ms, np.int64), np.array(message.value, np.float64)
    return checked(Points(ms, values, quality.astype(np.uint8)))
