"""Sensors: the Historian's API, ``/api/v1``, compatible with its dashboards, and the native ``/v1/sensors``."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from fastapi import Request
from fastapi.responses import JSONResponse, Response

from fluxport import formats
from fluxport.auth.caller import Caller
from fluxport.errors import Refused
from fluxport.http.bridge import DirectStreams
from fluxport.http.callers import Callers
from fluxport.http.responses import NO_STORE
from fluxport.http.routing import Router
from fluxport.http.session import is_local
from fluxport.jobs.catalog import Catalog
from fluxport.series import Description, Points, Sensor
from fluxport.series.bodies import read_points
from fluxport.series.downsample import LEAST
from fluxport.sources.series import POINTS_MOST, POINTS_USUAL, Selection, points_wanted
from fluxport.spec import ExportSpec
from fluxport.stages import PROCESSORS
from fluxport.strict_json import read_json
from fluxport.telemetry import metrics

T = TypeVar("T")

FILES_AT_ONCE = max(2, PROCESSORS)
PAGE_MAX = 1000
TEXT_MAX = 200
ATTRIBUTES_MAX = 32
DASHBOARD_FIELDS = ("desc", "type", "factory", "line", "machine")
READER = frozenset({"series"})
# Format options that the query of an export accepts, beside the keys of a source.
OPTIONS = ("profile", "timezone", "locale")


@dataclass(frozen=True)
class HistorianOptions:
    """``open_to``: who may read sensors without a key: callers on this machine, everybody, or no one."""

    open_to: Literal["local", "on", "off"]
    body_max_bytes: int


@dataclass(frozen=True)
class SensorApi:
    """What the routes of both APIs share: authentication and access to the sensor store."""

    catalog: Catalog
    callers: Callers
    options: HistorianOptions
    threads: Executor

    async def reader(self, request: Request) -> Caller:
        """The authenticated caller; an anonymous one if ``open_to`` admits it, whatever credentials of other systems
        the request has."""
        open_to = self.options.open_to
        if (open_to == "on" or (open_to == "local" and is_local(request))) and not self.callers.has_credentials(
            request
        ):
            return self.callers.anonymous(request, READER)
        caller, _ = await self.callers.verified(request)
        caller.need("series")
        return caller

    async def writer(self, request: Request) -> bytes:
        """The body of a request whose caller may write points."""
        caller, body = await self.callers.verified(request, body_max_bytes=self.options.body_max_bytes)
        caller.need("push")
        return body

    async def chart(self, sensor_id: str, query: Mapping[str, str], most: int) -> tuple[Points, int]:
        """The points of a range, at most ``most`` of them, and how many points the range has."""
        selection = Selection.from_json({"sensor_id": sensor_id} | _picked(query, ("start_ts", "end_ts")))
        store = self.catalog.sensor_store()
        return await self.run_apart(lambda: selection.chart(store, most))

    async def run_apart(self, work: Callable[[], T]) -> T:
        """Run ``work``, which may take a long time, outside the few threads that every other request needs."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)


def router(catalog: Catalog, streams: DirectStreams, callers: Callers, options: HistorianOptions) -> Router:
    routes = Router()
    api = SensorApi(catalog, callers, options, streams.threads)
    # Reading the embedded store is pure CPU work, no waiting for a database: only about one file per core advances at a
    # time, in turns, so that writers of points do not wait for all of them.
    if catalog.sensors_embedded:
        streams = replace(streams, threads=ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="fluxport-points"))
    add_historian(routes, api, streams)
    add_native(routes, api)
    return routes


def add_historian(routes: Router, api: SensorApi, streams: DirectStreams) -> None:
    tags: list[Any] = ["Historian"]

    @routes.get("/api/v1/export", operation_id="historian_export", tags=tags, summary="A range of sensors as a file")
    async def export(request: Request) -> Response:
        caller = await api.reader(request)
        spec = read_export(request.query_params.multi_items())
        return await streams.response(spec, caller, request)

    @routes.get("/api/v1/query", operation_id="historian_query", tags=tags, summary="A range of a sensor for a chart")
    async def query(request: Request) -> Response:
        await api.reader(request)
        parameters = request.query_params
        _need(parameters, ("sensor_id", "start_ts", "end_ts"))
        points, _ = await api.chart(parameters["sensor_id"], parameters, read_wanted(parameters.get("max_points")))
        rows = zip(points.ms.tolist(), _numbers(points), points.quality.tolist(), strict=True)
        data = [{"timestamp": ms, "value": value, "quality": quality} for ms, value, quality in rows]
        return JSONResponse({"points": data}, headers=NO_STORE)

    @routes.get("/api/v1/metadata", operation_id="historian_metadata", tags=tags, summary="The sensors")
    async def metadata(request: Request) -> Response:
        await api.reader(request)
        store = api.catalog.sensor_store()
        listed = await api.run_apart(lambda: store.sensors(limit=100_000))
        return JSONResponse({"sensors": [dashboard_sensor(sensor) for sensor in listed]}, headers=NO_STORE)


def add_native(routes: Router, api: SensorApi) -> None:
    tags: list[Any] = ["sensors"]

    @routes.get("/v1/sensors", operation_id="list_sensors", tags=tags, summary="The sensors, by id")
    async def sensors(request: Request) -> Response:
        await api.reader(request)
        parameters = request.query_params
        limit = _number(parameters, "limit", 100, 1, PAGE_MAX)
        search, after = parameters.get("search", ""), parameters.get("starting_after", "")
        store = api.catalog.sensor_store()
        listed = await api.run_apart(lambda: store.sensors(search, limit=limit + 1, after=after))
        data = [sensor_json(sensor) for sensor in listed[:limit]]
        return JSONResponse({"data": data, "has_more": len(listed) > limit}, headers=NO_STORE)

    @routes.get(
        "/v1/sensors/{sensor_id:path}/points",
        operation_id="sensor_points",
        tags=tags,
        summary="A range of a sensor, downsampled",
    )
    async def points(request: Request, sensor_id: str) -> Response:
        await api.reader(request)
        most = _number(request.query_params, "max_points", POINTS_USUAL, LEAST, POINTS_MOST)
        chart, count = await api.chart(sensor_id, request.query_params, most)
        columns = {
            "timestamp_ms": chart.ms.tolist(),
            "value": _numbers(chart),
            "quality": chart.quality.tolist(),
        }
        summary = {"sensor_id": sensor_id, "count": count, "downsampled": len(chart) < count}
        return JSONResponse(summary | columns, headers=NO_STORE)

    @routes.post(
        "/v1/sensors/{sensor_id:path}/points", operation_id="append_points", tags=tags, summary="Add points to a sensor"
    )
    async def append(request: Request, sensor_id: str) -> Response:
        body = await api.writer(request)
        store = api.catalog.sensor_store()
        media_type = request.headers.get("content-type", "")

        def stored() -> int:
            batches = read_points(body, media_type, sensor_id)
            store.append(batches)
            return sum(len(points) for _, points in batches)

        count = await api.run_apart(stored)
        metrics.points("http", count)
        return JSONResponse({"accepted": count}, headers=NO_STORE)

    @routes.get("/v1/sensors/{sensor_id:path}", operation_id="get_sensor", tags=tags, summary="One sensor")
    async def sensor(request: Request, sensor_id: str) -> Response:
        await api.reader(request)
        store = api.catalog.sensor_store()
        return JSONResponse(sensor_json(await api.run_apart(lambda: store.sensor(sensor_id))), headers=NO_STORE)

    @routes.put(
        "/v1/sensors/{sensor_id:path}",
        operation_id="describe_sensor",
        tags=tags,
        summary="Set the name, the unit and the attributes of a sensor",
    )
    async def describe(request: Request, sensor_id: str) -> Response:
        body = await api.writer(request)
        description = read_description(read_json(body))
        store = api.catalog.sensor_store()
        described = await api.run_apart(lambda: store.describe(sensor_id, description))
        return JSONResponse(sensor_json(described), headers=NO_STORE)


def sensor_json(sensor: Sensor) -> dict[str, Any]:
    extent = sensor.extent
    return {
        "id": sensor.id,
        "name": sensor.name or sensor.id,
        "unit": sensor.unit,
        "attributes": dict(sensor.attributes),
        "first_ms": None if extent is None else extent.first_ms,
        "last_ms": None if extent is None else extent.last_ms,
    }


def dashboard_sensor(sensor: Sensor) -> dict[str, Any]:
    """The sensor with the texts that the Historian's dashboard reads; those without an attribute are empty."""
    fields = {name: sensor.attributes.get(name, "") for name in DASHBOARD_FIELDS}
    return {"sensor_id": sensor.id} | sensor_json(sensor) | fields


def read_wanted(text: str | None) -> int:
    """The parameter ``max_points`` of the Historian's API; Refused if it is no number."""
    if text is None:
        return POINTS_USUAL
    if not re.fullmatch(r"[+-]?[0-9]{1,300}(\.[0-9]*)?", text):
        raise Refused("'max_points' must be a number.", code="bad_limit")
    return points_wanted(float(text))


def read_export(items: Sequence[tuple[str, str]]) -> ExportSpec:
    """The export that a query of ``/api/v1/export`` requests; several ``sensor_id`` go to one file."""
    parameters = dict(items)
    known = ("sensor_id", "start_ts", "end_ts", "format", "layout", "aggregate", "interval", "time", *OPTIONS)
    for name in parameters:
        if name not in known:
            raise Refused(f"Unknown parameter {name!r}; choose from: {', '.join(known)}.", code="unknown_key")
    _need(parameters, ("sensor_id", "start_ts", "end_ts"))
    ids = [value for name, value in items if name == "sensor_id"]
    series = _picked(parameters, ("start_ts", "end_ts", "layout", "aggregate", "interval", "time"))
    return ExportSpec(
        series={"sensor_id": ids if len(ids) > 1 else ids[0]} | series,
        format=formats.canonical(parameters.get("format", ExportSpec.format)),
        options=_picked(parameters, OPTIONS),
    )


def read_description(body: Any) -> Description:
    """What the body has; Refused if it is invalid."""
    if not isinstance(body, dict) or set(body) - {"name", "unit", "attributes"}:
        raise Refused(
            'The body must be {"name": "...", "unit": "...", "attributes": {"line": "..."}} or some of these.',
            code="bad_body",
        )
    attributes = body.get("attributes", {})
    if not isinstance(attributes, dict) or len(attributes) > ATTRIBUTES_MAX:
        raise Refused(f"'attributes' must be an object of at most {ATTRIBUTES_MAX} texts.", code="bad_body")
    if name := next((name for name in attributes if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name)), None):
        raise Refused(
            f"The name of the attribute {name!r} must be 1 to 64 letters, digits, '.', '_' or '-'.", code="bad_body"
        )
    own = [(key, value) for key, value in body.items() if key != "attributes"]
    for what, value in [*own, *attributes.items()]:
        if not isinstance(value, str) or len(value) > TEXT_MAX:
            raise Refused(f"{what!r} must be a text of at most {TEXT_MAX} characters.", code="bad_body")
    return Description(body.get("name"), body.get("unit"), body.get("attributes"))


def _need(parameters: Mapping[str, str], names: tuple[str, ...]) -> None:
    for name in names:
        if not parameters.get(name):
            raise Refused(f"The parameter {name!r} is missing.", code="missing_parameter")


def _picked(query: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: query[name] for name in names if query.get(name)}


def _number(query: Mapping[str, str], name: str, usual: int, least: int, most: int) -> int:
    text = query.get(name, str(usual))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise Refused(f"{name!r} must be {least:,} to {most:,}.", code="bad_limit")
    return int(text)


def _numbers(points: Points) -> list[float | None]:
    """The values for JSON: exact, with null for NaN and the infinities."""
    finite = np.isfinite(points.values)
    values: list[float | None] = points.values.tolist()
    for index in np.flatnonzero(~finite):
        values[index] = None
    return values
