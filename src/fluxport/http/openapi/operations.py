"""The inputs and responses of each operation, by the ``operation_id`` of its route in ``http/``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pydantic import BaseModel

from fluxport.database_errors import AWAY, UNUSABLE
from fluxport.formats import FORMATS
from fluxport.http.downloads import SESSION
from fluxport.http.historian import OPTIONS as HISTORIAN_OPTIONS
from fluxport.http.historian import PAGE_MAX as SENSORS_PAGE_MAX
from fluxport.http.history import AUDIT_MAX
from fluxport.http.native import PAGE_MAX
from fluxport.http.openapi import models, older
from fluxport.http.openapi.base import Problem
from fluxport.http.openapi.names import with_aliases
from fluxport.jobs.states import Status
from fluxport.series.aggregate import AGGREGATES
from fluxport.series.bodies import ARROW, CSV, JSON, PROTOBUF
from fluxport.series.downsample import LEAST
from fluxport.sources.series import POINTS_MOST, POINTS_USUAL
from fluxport.spec import ExportSpec
from fluxport.telemetry.metrics import CONTENT_TYPE

Access = Literal["caller", "reader", "link", "anyone"]

TEXT: dict[str, Any] = {"type": "string"}


@dataclass(frozen=True)
class Reply:
    """A successful response: a model as JSON, or ``content`` by media type; ``files``: any format and compression;
    ``events``: server-sent events. A header whose name ends with a question mark is optional."""

    about: str
    model: type[BaseModel] | Sequence[type[BaseModel]] | None = None
    content: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: bool = False
    events: type[BaseModel] | None = None
    headers: Sequence[str] = ()


@dataclass(frozen=True)
class Parameter:
    """A parameter in the query or in the headers."""

    name: str
    about: str
    schema: Mapping[str, Any] = field(default_factory=lambda: TEXT)
    required: bool = False
    where: Literal["query", "header"] = "query"


@dataclass(frozen=True)
class Operation:
    """``codes`` are the error codes by status. ``more``: the many codes of databases and stores are possible too.
    ``error`` is the model of all error bodies."""

    replies: Mapping[int, Reply]
    codes: Mapping[int, Sequence[str]] = field(default_factory=dict)
    access: Access = "caller"
    body: Mapping[str, type[BaseModel] | None] = field(default_factory=dict)
    body_required: bool = True
    parameters: Sequence[Parameter] = ()
    more: bool = False
    error: type[BaseModel] = Problem


# -- errors ------------------------------------------------------------------------------------------------------------

# Any request: a NUL in the address, an internal error, an unreachable job database.
ANY: dict[int, tuple[str, ...]] = {400: ("bad_parameter",), 500: ("internal", UNUSABLE), 503: (AWAY,)}
# A request that must be authenticated.
KNOWN: dict[int, tuple[str, ...]] = {
    401: ("unauthorized", "replayed"),
    413: ("body_too_large",),
    429: ("too_many_requests",),
    503: ("replay_store_unavailable",),
}
# An export that is planned or started before the response begins.
RUNS: dict[int, tuple[str, ...]] = {
    400: (
        "bad_json",
        "bad_body",
        "bad_source",
        "unknown_key",
        "unknown_format",
        "query_not_select",
        "query_table",
        "query_failed",
    ),
    403: ("missing_scope",),
    404: ("no_such_sensor",),
    413: ("row_too_large", "too_many_bytes", "too_many_rows", "spool_too_small"),
    429: ("connection_busy", "too_many_active"),
    501: ("no_series",),
    503: ("closing", "deadline", "source_unreachable", "spool_full", "spool_failed", "queue_full"),
}
NO_EXPORT = {404: ("no_such_export",)}
NO_FILE = {409: ("not_ready", "not_stored"), 410: ("file_expired",)}
TOKEN = {403: ("bad_token",), 410: ("link_expired", "link_used")}
SENSORS = {403: ("missing_scope",), 501: ("no_series",), 503: ("series_away",), 429: ("ingest_busy",)}
SERIES_STORE = {500: ("series_damaged", "series_shape"), 507: ("series_full",)}
CLOSED = {404: ("not_found",)}
SWITCHED_OFF = {501: ("disabled",)}


def codes(*groups: Mapping[int, Sequence[str]]) -> dict[int, tuple[str, ...]]:
    """All of the groups, by status."""
    merged: dict[int, dict[str, None]] = {}
    for group in groups:
        for status, names in group.items():
            merged.setdefault(status, {}).update(dict.fromkeys(names))
    return {status: tuple(names) for status, names in sorted(merged.items())}


# -- parts that several operations share -------------------------------------------------------------------------------


def whole(about: str, usual: int, least: int, most: int, name: str = "limit") -> Parameter:
    """A whole number between two bounds."""
    return Parameter(name, about, {"type": "integer", "default": usual, "minimum": least, "maximum": most})


def enum(names: Sequence[str], default: str | None = None) -> dict[str, Any]:
    return {"type": "string", "enum": list(names)} | ({} if default is None else {"default": default})


FORMAT = enum(with_aliases(FORMATS), ExportSpec.format)
AFTER = Parameter("starting_after", "the last id of the previous page")
NO_MORE_EVENTS = Reply("Last-Event-ID names the last event; a browser does not connect again")
LAST_EVENT = Parameter("Last-Event-ID", "continue after that event", {"type": "integer", "minimum": 0}, where="header")
RANGE = (
    Parameter("start_ts", "start of the range, inclusive: milliseconds since 1970 or RFC 3339"),
    Parameter("end_ts", "end of the range, inclusive"),
)
RANGE_NEEDED = tuple(Parameter(p.name, p.about, p.schema, required=True) for p in RANGE)
MAX_POINTS = whole("maximum number of points in the response", POINTS_USUAL, LEAST, POINTS_MOST, "max_points")
ANY_POINTS = Parameter(
    "max_points", f"points in the response, at most {POINTS_MOST:,}", {"type": "number", "default": POINTS_USUAL}
)
SENSOR_NEEDED = Parameter("sensor_id", "the sensor", required=True)
TOKEN_PARAMETER = Parameter("token", "the credentials for this file, as contained in the link", required=True)
PART = Parameter("part", "the number of a part file, from 1", {"type": "integer", "minimum": 1})
# How a client asks again for a file that it has begun to download.
RANGE_HEADERS = (
    Parameter(SESSION, "the session of the client that redeemed this one-time link", where="header"),
    Parameter("Range", "one byte range, such as bytes=0-1023", where="header"),
    Parameter("If-Range", "the ETag of the file that the range belongs to", where="header"),
)
BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
STREAM = ("Content-Disposition", "X-Export-Id")
WHOLE_FILE = ("Content-Disposition", "X-Export-Id", "X-Export-Rows")
REDEEMED = (f"{SESSION}?", "Set-Cookie?")
NO_BODY = Reply("no content")

STREAMED = Reply("the file in chunks; a failure after the first byte breaks the connection", files=True, headers=STREAM)
SENT_FILE = {
    200: Reply(
        "the file, or a ZIP of all part files", files=True, headers=(*WHOLE_FILE, "ETag?", "Repr-Digest?", *REDEEMED)
    ),
    206: Reply("the range", files=True, headers=(*WHOLE_FILE, "ETag", "Repr-Digest", "Content-Range", *REDEEMED)),
    416: Reply("the range lies beyond the file", headers=("Content-Range",)),
}
PAGE = {"text/html": TEXT}


def _problem(*groups: Mapping[int, Sequence[str]]) -> dict[int, tuple[str, ...]]:
    return codes(ANY, KNOWN, *groups)


OPERATIONS: dict[str, Operation] = {
    # -- /v1/exports ---------------------------------------------------------------------------------------------------
    "stream_export": Operation({200: STREAMED}, _problem(RUNS), body={JSON: models.StreamRequest}, more=True),
    "create_export": Operation(
        {
            202: Reply("the queued export", models.Export, headers=("Location", "Retry-After")),
            200: Reply(
                "the export of an earlier request with the same Idempotency-Key", models.Export, headers=("Location",)
            ),
        },
        _problem(RUNS, {400: ("bad_priority", "bad_notify", "bad_idempotency_key"), 422: ("idempotency_mismatch",)}),
        body={JSON: models.ExportRequest},
        parameters=(
            Parameter(
                "Idempotency-Key",
                "requests with the same key create one export",
                {"type": "string", "minLength": 1, "maxLength": 255},
                where="header",
            ),
        ),
        more=True,
    ),
    "list_exports": Operation(
        {200: Reply("a page of exports", models.ExportPage)},
        _problem({400: ("bad_status", "bad_limit")}, NO_EXPORT),
        parameters=(
            Parameter("status", "only exports in this state", enum(get_args(Status))),
            whole("maximum number of exports", 20, 1, PAGE_MAX),
            AFTER,
        ),
    ),
    "get_export": Operation(
        {200: Reply("the export; Retry-After until it has ended", models.Export, headers=("Retry-After?",))},
        _problem(NO_EXPORT),
    ),
    "cancel_export": Operation(
        {200: Reply("the canceled export", models.Export)}, _problem(NO_EXPORT, {409: ("wrong_state",)})
    ),
    "export_events": Operation(
        {
            200: Reply(
                "server-sent events, each with an id and JSON data: `progress`, and at the end `completed`, "
                "`failed` or `canceled`; a comment every 15 seconds in between",
                events=models.ExportEvent,
            ),
            204: NO_MORE_EVENTS,
        },
        _problem(NO_EXPORT, {400: ("bad_event_id",)}),
        parameters=(LAST_EVENT,),
    ),
    "create_link": Operation(
        {201: Reply("the link", models.Link)},
        _problem(NO_EXPORT, NO_FILE, {400: ("bad_body", "bad_json")}),
        body={JSON: models.LinkRequest},
        body_required=False,
    ),
    "download_file": Operation(
        SENT_FILE
        | {200: Reply(SENT_FILE[200].about, None, PAGE, files=True, headers=("ETag?", "Repr-Digest?", *REDEEMED))},
        codes(ANY, TOKEN, NO_FILE, {404: ("no_such_export", "no_such_part", "no_such_file"), 503: ("client_slow",)}),
        access="link",
        more=True,
        parameters=(TOKEN_PARAMETER, PART, *RANGE_HEADERS),
    ),
    "redeem_link": Operation(
        SENT_FILE,
        codes(ANY, TOKEN, NO_FILE, {404: ("no_such_export", "no_such_part", "no_such_file"), 503: ("client_slow",)}),
        access="link",
        more=True,
        parameters=(TOKEN_PARAMETER, PART, *RANGE_HEADERS),
    ),
    # -- formats -----------------------------------------------------------------------------------------------------
    "list_formats": Operation({200: Reply("the formats and the compressions", models.Formats)}, _problem()),
    "get_format": Operation({200: Reply("the format", models.FormatWithOptions)}, _problem({404: ("no_such_format",)})),
    # -- what can be exported ------------------------------------------------------------------------------------------
    "list_datasets": Operation({200: Reply("the datasets", models.Datasets)}, _problem()),
    "get_dataset": Operation({200: Reply("the dataset", models.Dataset)}, _problem({404: ("no_such_dataset",)})),
    "list_connections": Operation({200: Reply("the connections", models.Connections)}, _problem()),
    "preview_export": Operation(
        {200: Reply("the rows", models.Preview)}, _problem(RUNS), body={JSON: models.StreamRequest}, more=True
    ),
    # -- history -------------------------------------------------------------------------------------------------------
    "list_schedules": Operation({200: Reply("the schedules", models.Schedules)}, _problem()),
    "list_audit": Operation(
        {200: Reply("the entries", models.Audit)},
        _problem({400: ("bad_limit",), 403: ("missing_scope",)}),
        parameters=(
            Parameter("user", "only entries of this user"),
            Parameter("action", "only entries with this action"),
            Parameter("export_id", "only entries about this export"),
            Parameter("before", "the id of the last entry seen", {"type": "integer", "minimum": 0}),
            whole("maximum number of entries", 100, 1, AUDIT_MAX),
        ),
    ),
    # -- sensors -------------------------------------------------------------------------------------------------------
    "list_sensors": Operation(
        {200: Reply("a page of sensors", models.SensorPage)},
        _problem(SENSORS, SERIES_STORE, {400: ("bad_limit",)}),
        access="reader",
        more=True,
        parameters=(
            Parameter("search", "only sensors whose id or name contains this"),
            whole("maximum number of sensors", 100, 1, SENSORS_PAGE_MAX),
            AFTER,
        ),
    ),
    "get_sensor": Operation(
        {200: Reply("the sensor", models.Sensor)},
        _problem(SENSORS, SERIES_STORE, {404: ("no_such_sensor",)}),
        access="reader",
        more=True,
    ),
    "describe_sensor": Operation(
        {200: Reply("the sensor", models.Sensor)},
        _problem(
            SENSORS,
            SERIES_STORE,
            {400: ("bad_json", "bad_body", "bad_sensor"), 501: ("series_read_only",), 404: ("no_such_sensor",)},
        ),
        body={JSON: models.Description},
    ),
    "sensor_points": Operation(
        {200: Reply("the points, downsampled", models.Chart)},
        _problem(SENSORS, SERIES_STORE, {400: ("bad_range", "bad_limit", "bad_source"), 404: ("no_such_sensor",)}),
        access="reader",
        more=True,
        parameters=(*RANGE, MAX_POINTS),
    ),
    "append_points": Operation(
        {200: Reply("the points are durable", models.Accepted)},
        _problem(
            SENSORS,
            SERIES_STORE,
            {
                400: ("bad_points", "bad_points_type", "bad_point", "bad_sensor", "too_many_sensors"),
                413: ("too_many_points",),
                501: ("series_read_only",),
            },
        ),
        body={JSON: models.NewPoints, CSV: None, ARROW: None, PROTOBUF: None},
    ),
    # -- sessions ------------------------------------------------------------------------------------------------------
    "get_session": Operation({200: Reply("the user and its scopes", models.Who)}, _problem()),
    "sign_in": Operation(
        {201: Reply("signed in, by a cookie", models.Who, headers=("Set-Cookie",))},
        codes(
            ANY,
            {
                400: ("bad_json", "bad_body"),
                401: ("wrong_password",),
                403: ("cross_site",),
                413: ("body_too_large",),
                429: ("too_many_logins",),
                503: ("busy",),
            },
        ),
        access="anyone",
        body={JSON: models.Login},
    ),
    "sign_in_as_developer": Operation(
        {201: Reply("signed in, by a cookie", models.Who, headers=("Set-Cookie",))},
        codes(ANY, CLOSED, {403: ("cross_site",)}),
        access="anyone",
    ),
    "session_state": Operation(
        {200: Reply("the signed-in user, if any", models.SessionState)},
        codes(ANY, {413: ("body_too_large",), 429: ("too_many_requests",)}),
        access="anyone",
    ),
    "sign_out": Operation({204: NO_BODY}, codes(ANY, {403: ("cross_site",)}), access="anyone"),
    # -- operators -----------------------------------------------------------------------------------------------------
    "health_live": Operation({200: Reply("the process responds", models.Live)}, codes(ANY), access="anyone"),
    "health_ready": Operation(
        {200: Reply("everything is usable", models.Ready), 503: Reply("something is not usable", models.Ready)},
        {400: ANY[400], 500: ANY[500]},
        access="anyone",
    ),
    "metrics": Operation(
        {200: Reply("the metrics in the text format of Prometheus", None, {CONTENT_TYPE.partition(";")[0]: TEXT})},
        codes(ANY, CLOSED),
        access="anyone",
    ),
    # -- FluxQuery -----------------------------------------------------------------------------------------------------
    "fluxquery_export": Operation(
        {202: Reply("the job's id", older.FluxQueryQueued)},
        _problem(RUNS, {400: ("bad_query", "bad_email", "bad_recipient"), 403: ("recipient_not_allowed",)}),
        body={JSON: older.FluxQueryRequest},
        more=True,
        error=older.FluxQueryError,
    ),
    "fluxquery_job": Operation(
        {200: Reply("the status; for a signed request, all details", (older.FluxQueryJob, older.FluxQueryStatusOnly))},
        _problem(NO_EXPORT, {400: ("no_id",)}),
        access="reader",
        parameters=(Parameter("id", "the id of the job", required=True),),
        error=older.FluxQueryError,
    ),
    # -- Export queue --------------------------------------------------------------------------------------------------
    "queue_health": Operation(
        {200: Reply("counts since the first export", older.QueueHealthAnswer)},
        codes(ANY, CLOSED),
        access="anyone",
        error=older.QueueError,
    ),
    "queue_create": Operation(
        {202: Reply("the queued job", older.QueueJobAnswer)},
        _problem(RUNS, SWITCHED_OFF, {400: ("bad_notify",)}),
        body={JSON: older.QueueRequest},
        more=True,
        error=older.QueueError,
    ),
    "queue_jobs": Operation(
        {200: Reply("the jobs", older.QueueJobsAnswer)},
        _problem(SWITCHED_OFF),
        parameters=(Parameter("requestId", "only jobs of this request"),),
        error=older.QueueError,
    ),
    "queue_job": Operation(
        {200: Reply("the job", older.QueueJobAnswer)}, _problem(NO_EXPORT, SWITCHED_OFF), error=older.QueueError
    ),
    "queue_events": Operation(
        {
            200: Reply(
                "server-sent events, each with an id and JSON data: `progress`, and at the end `completed` or `failed` "
                "with the job; a comment every 15 seconds in between",
                events=older.QueueEvent,
            ),
            204: NO_MORE_EVENTS,
        },
        _problem(NO_EXPORT, SWITCHED_OFF, {400: ("bad_event_id",)}),
        parameters=(LAST_EVENT,),
        error=older.QueueError,
    ),
    "queue_token": Operation(
        {200: Reply("the job with its new token", older.QueueJobAnswer)},
        _problem(NO_EXPORT, NO_FILE, SWITCHED_OFF, {403: ("cross_site",)}),
        error=older.QueueError,
    ),
    "queue_download": Operation(
        SENT_FILE,
        _problem(TOKEN, NO_FILE, SWITCHED_OFF, {404: ("no_such_export", "no_such_part", "no_such_file")}),
        parameters=(TOKEN_PARAMETER, PART, *RANGE_HEADERS),
        more=True,
        error=older.QueueError,
    ),
    "queue_stream": Operation(
        {200: STREAMED},
        _problem(RUNS, SWITCHED_OFF),
        parameters=(
            Parameter("type", "the name of a dataset", required=True),
            Parameter("format", "of the file", FORMAT),
            Parameter("selectedColumns", "the columns of the file, separated by commas"),
        ),
        more=True,
        error=older.QueueError,
    ),
    # -- Historian -----------------------------------------------------------------------------------------------------
    "historian_export": Operation(
        {200: STREAMED},
        _problem(RUNS, SENSORS, {400: ("missing_parameter",)}),
        access="reader",
        parameters=(
            Parameter("sensor_id", "a sensor, or several", {"type": "array", "items": TEXT}, required=True),
            *RANGE_NEEDED,
            Parameter("format", "of the file", FORMAT),
            Parameter("layout", "a row for each point, or a column for each sensor", enum(("long", "wide"), "long")),
            Parameter("aggregate", "one value per interval", enum(AGGREGATES)),
            Parameter("interval", "the interval of an aggregate: milliseconds, or like 10s, 15m, 1h, 1d"),
            Parameter("time", "the form of timestamps", enum(("ms", "datetime"), "ms")),
            *(Parameter(name, "an option of the format") for name in HISTORIAN_OPTIONS),
        ),
        more=True,
    ),
    "historian_query": Operation(
        {200: Reply("the points, downsampled", older.HistorianPoints)},
        _problem(
            SENSORS, SERIES_STORE, {400: ("missing_parameter", "bad_range", "bad_limit"), 404: ("no_such_sensor",)}
        ),
        access="reader",
        more=True,
        parameters=(SENSOR_NEEDED, *RANGE_NEEDED, ANY_POINTS),
    ),
    "historian_metadata": Operation(
        {200: Reply("the sensors", older.HistorianSensors)}, _problem(SENSORS, SERIES_STORE), access="reader", more=True
    ),
}
