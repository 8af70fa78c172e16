"""``historian.v1.HistorianQuery``: points of a sensor for a chart, for the Historian's clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import grpc

from fluxport.grpc import historian_pb2 as pb
from fluxport.grpc.callers import PushCallers, metadata_of
from fluxport.grpc.calls import Context, translated
from fluxport.series import Points, SensorStore
from fluxport.sources.series import Selection, points_wanted

NAME = "historian.v1.HistorianQuery"
READERS = 4


class HistorianQuery:
    """Runs next to ExportService, in the same event loop. ``store`` returns the sensor store, or raises Disabled."""

    def __init__(self, store: Callable[[], SensorStore], callers: PushCallers) -> None:
        self._store = store
        self._callers = callers
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="fluxport-query")

    def handlers(self) -> grpc.GenericRpcHandler:
        query = grpc.unary_stream_rpc_method_handler(
            self.query, pb.QueryRequest.FromString, pb.SensorData.SerializeToString
        )
        return grpc.method_handlers_generic_handler(NAME, {"Query": query})

    async def query(self, request: pb.QueryRequest, context: Context) -> AsyncIterator[pb.SensorData]:
        async with translated(NAME, "Query", context):
            await asyncio.to_thread(self._callers.check_reader, metadata_of(context), context.peer())
            points = await asyncio.get_running_loop().run_in_executor(self._threads, _chart, self._store(), request)
            rows = zip(points.ms.tolist(), points.values.tolist(), points.quality.tolist(), strict=True)
            for ms, value, quality in rows:
                yield pb.SensorData(sensor_id=request.sensor_id, value=value, timestamp_ms=ms, quality=quality)


def _chart(store: SensorStore, request: pb.QueryRequest) -> Points:
    """The points that the request selects; proto3 leaves out a 0, which so means that there is no bound."""
    bounds = {"start_ts": request.start_ts or None, "end_ts": request.end_ts or None}
    selection = Selection.from_json({"sensor_id": request.sensor_id} | bounds)
    points, _ = selection.chart(store, points_wanted(request.max_points))
    return points
