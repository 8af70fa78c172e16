"""The bodies of ``/v1``, ``/session`` and ``/health``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import ConfigDict, Field, RootModel

from fluxport.datasets.order import ROWS_MAX
from fluxport.http.historian import ATTRIBUTES_MAX, TEXT_MAX
from fluxport.http.history import AUDIT_MAX
from fluxport.http.openapi.base import Answer, Body, Failure, example, options_models
from fluxport.http.openapi.names import (
    Aggregate,
    Compression,
    Digest,
    Format,
    Priority,
    Timestamp,
    Url,
    Verified,
    WarningCode,
)
from fluxport.jobs.notify import MAILS_MAX
from fluxport.jobs.states import Phase, Status
from fluxport.sources.series import SENSORS_MAX
from fluxport.spec import ExportSpec

Instant = Annotated[
    int | str, Field(description="milliseconds since 1970, or a date and time with its zone (RFC 3339)")
]

# -- requests ----------------------------------------------------------------------------------------------------------


class QuerySource(Body):
    """One SELECT on a connection."""

    query: str = Field(description="one SELECT")
    connection: str = Field(ExportSpec.connection, description="a connection of the configuration: GET /v1/connections")
    params: list[Any] | dict[str, Any] = Field([], description="values for ? (a list) or :name (an object)")


class SortKey(Body):
    """A column to sort by. NULLs come first, descending last."""

    column: str
    descending: bool = False


class DatasetSource(Body):
    """A dataset, whose connection and query the operator declares."""

    dataset: str = Field(description="its name: GET /v1/datasets")
    params: dict[str, Any] = Field(
        {}, description="its filters, also with an operator as NAME.OPERATOR, and their values"
    )
    sort: str | list[Annotated[str, Field(min_length=1)] | SortKey] | None = Field(
        None, description="columns, as -placedAt,id or as a list; equal rows are in the dataset's own order"
    )
    limit: Annotated[int, Field(ge=1, le=ROWS_MAX)] | None = Field(None, description="the most rows of a page")
    offset: Annotated[int, Field(ge=0, le=ROWS_MAX)] | None = Field(None, description="the rows before the page")


class SensorSource(Body):
    """A range of one or several sensors."""

    sensor_id: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=SENSORS_MAX)]
    )
    start_ts: Instant | None = Field(None, description="start of the range, inclusive")
    end_ts: Instant | None = Field(None, description="end of the range, inclusive")
    layout: Literal["long", "wide"] = Field("long", description="a row for each point, or a column for each sensor")
    aggregate: Aggregate | None = Field(None, description="one value per interval")
    interval: int | str | None = Field(
        None, description="the interval of an aggregate: milliseconds, or like 10s, 15m, 1h, 1d"
    )
    time: Literal["ms", "datetime"] = Field("ms", description="the form of timestamps")


class Upload(Body):
    """A presigned URL of the caller, to which the file is sent by PUT."""

    url: Url
    headers: dict[str, str] = Field({}, description="the headers that the URL was signed with")


class Notify(Body):
    """Where to send notifications when a stored export has ended."""

    email: list[str] = Field([], max_length=MAILS_MAX)
    webhook: Url | None = None
    upload: Url | Upload | None = None


if TYPE_CHECKING:
    Options = dict[str, Any]
else:
    Options = Union[*options_models()]  # of all installed formats


class StreamRequest(Body):
    """An export as one file."""

    model_config = example({"source": {"query": "SELECT id, name FROM users"}, "format": "csv"})

    source: QuerySource | DatasetSource | SensorSource
    format: Format = Format(ExportSpec.format)
    options: Options = Field({}, description="options of the format")
    compression: Compression = Compression(ExportSpec.compression)
    filename: str | None = Field(
        None,
        description="the file's name; {date}, {time}, {job_id}, {user}, {connection}, {dataset} and {param.NAME} are "
        "replaced",
    )
    store: str = Field(ExportSpec.store, description="a store of the configuration; a direct stream uses none")


class ExportRequest(StreamRequest):
    """A stored export."""

    model_config = example(
        {
            "source": {"dataset": "trades", "params": {"status": "closed"}},
            "format": "xlsx",
            "filename": "trades-{date}",
            "priority": "normal",
        }
    )

    notify: Notify | None = None
    priority: Priority = Field(Priority("normal"), description="among the caller's own queued exports")
    count: bool = Field(False, description="count the rows first, so that `percent` is known")


class LinkRequest(Body):
    """The kind of link; without a body, one that works until it expires."""

    model_config = example({"one_time": True})

    one_time: bool = Field(False, description="whether only the client whose download begins first gets the file")


class Login(Body):
    model_config = example({"user": "ann", "password": "correct horse battery staple"})

    user: str
    password: str = Field(json_schema_extra={"format": "password"})


class Description(Body):
    """A sensor's name, unit and attributes, or some of them."""

    model_config = example({"name": "Oven 1", "unit": "°C", "attributes": {"line": "3"}})

    name: str = Field("", max_length=TEXT_MAX)
    unit: str = Field("", max_length=TEXT_MAX)
    attributes: dict[str, str] = Field({}, max_length=ATTRIBUTES_MAX, description="replace all previous ones")


class Point(Body):
    timestamp_ms: int = Field(description="milliseconds since 1970")
    value: float | int | None = Field(description="null where there is no number")
    quality: int | None = Field(1, ge=0, description="0 is bad, 1 is good")


class PointColumns(Body):
    timestamp_ms: list[int]
    value: list[float | int | None]
    quality: list[int | None] | None = None


class PointList(Body):
    points: list[Point]


class NewPoints(RootModel[Point | PointColumns | PointList | list[Point]]):
    """Points of one sensor: one, a list, an object with the list, or an object of columns."""

    model_config = example({"points": [{"timestamp_ms": 1700000000000, "value": 21.5, "quality": 1}]})


# -- exports -----------------------------------------------------------------------------------------------------------


class PushedColumn(Answer):
    name: str
    type: str


class PushedSource(Answer):
    """The columns of rows pushed over gRPC or Arrow Flight."""

    pushed: list[PushedColumn]


class ExportFile(Answer):
    name: str
    rows: int
    bytes: int
    sha256: Digest
    verified: Verified | None = Field(
        description="how the store confirmed that it holds these bytes; null for a stream"
    )


class ResultColumn(Answer):
    name: str
    type: str = Field(description="the type's name in the database")


class DataWarning(Answer):
    """Values that could not be written exactly, and how many."""

    code: WarningCode
    column: str | None
    count: int
    message: str


class AttemptError(Failure):
    """Why an attempt failed."""

    at: Timestamp


class Link(Answer):
    model_config = example(
        {
            "url": "https://exports.example.com/v1/exports/5c1852b6-b992-467c-afce-218d633ba465/file?token=MTc2...",
            "expires_at": "2026-11-20T13:58:02.000Z",
        }
    )

    url: Url = Field(description="contains its credentials")
    expires_at: Timestamp


EXPORT_EXAMPLE: dict[str, Any] = {
    "id": "5c1852b6-b992-467c-afce-218d633ba465",
    "status": "completed",
    "phase": None,
    "source": {"query": "SELECT id, name FROM users", "connection": "main"},
    "format": "csv",
    "compression": "none",
    "options": {},
    "rows": 2,
    "rows_total": 2,
    "bytes": 24,
    "percent": 100.0,
    "eta_s": None,
    "files": [
        {
            "name": "export-2026-11-20-125801.csv",
            "rows": 2,
            "bytes": 24,
            "sha256": "f898ae24986a639964cb3177407f9e1ae987e52c935df05156bd8e527a6da759",
            "verified": "size",
        }
    ],
    "columns": [{"name": "id", "type": "bigint"}, {"name": "name", "type": "varchar(255)"}],
    "warnings": [],
    "truncated": False,
    "attempts": 1,
    "attempt_errors": [],
    "error": None,
    "download": None,
    "created_at": "2026-11-20T12:58:01.570Z",
    "started_at": "2026-11-20T12:58:02.408Z",
    "finished_at": "2026-11-20T12:58:02.905Z",
    "expires_at": "2026-11-27T12:58:02.905Z",
    "request_id": "86d942478436456f8797b0743366c7b8",
    "priority": "normal",
}


class Export(Answer):
    """A stored export or a direct stream. Every key is always present."""

    model_config = example(EXPORT_EXAMPLE)

    id: str
    status: Status
    phase: Phase | None = Field(description="what a running export does; else null")
    source: QuerySource | DatasetSource | SensorSource | PushedSource = Field(description="as requested")
    format: str = Field(description="as requested: a format or an alias")
    compression: str = Field(description="as requested")
    options: dict[str, Any] = Field(description="as requested")
    rows: int = Field(description="so far")
    rows_total: int | None = Field(description="known at the end, or earlier if `count` was requested")
    bytes: int = Field(description="so far")
    percent: float | None = Field(ge=0, le=100)
    eta_s: float | None = Field(description="estimated seconds until the last row")
    files: list[ExportFile] = Field(description="the files of a completed export; several if it was split")
    columns: list[ResultColumn]
    warnings: list[DataWarning]
    truncated: bool = Field(description="whether rows beyond `limit` were omitted")
    attempts: int = Field(description="attempts that were started")
    attempt_errors: list[AttemptError]
    error: Failure | None
    download: Link | None = Field(description="a link to the file of a completed stored export")
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    expires_at: Timestamp | None = Field(description="when the file is deleted")
    request_id: str
    priority: Priority


class ExportPage(Answer):
    """Newest first."""

    model_config = example({"data": [EXPORT_EXAMPLE], "has_more": False})

    data: list[Export]
    has_more: bool = Field(description="the next page has `starting_after` set to the last id of this one")


class Progress(Answer):
    """The data of a `progress` event."""

    phase: Phase
    rows: int
    bytes: int


class Ended(Answer):
    """The data of the last event, `completed`, `failed` or `canceled`."""

    status: Literal["completed", "failed", "canceled"]
    error: Failure | None


class ExportEvent(Answer):
    """One server-sent event, with its three fields."""

    model_config = example(
        {"id": 1, "event": "progress", "data": {"phase": "reading", "rows": 65536, "bytes": 2097152}}
    )

    id: int = Field(description="for Last-Event-ID")
    event: Literal["progress", "completed", "failed", "canceled"]
    data: Progress | Ended = Field(description="as JSON")


class PreviewColumn(Answer):
    name: str
    type: str
    key: str = Field(description="the key of its values in `rows`: the name, unless that is empty or repeated")


class Preview(Answer):
    """The first 50 rows."""

    model_config = example(
        {
            "columns": [{"name": "id", "type": "bigint", "key": "id"}],
            "truncated": False,
            "rows": [{"id": 1}, {"id": 2}],
        }
    )

    columns: list[PreviewColumn]
    truncated: bool = Field(description="whether there are more rows")
    rows: list[dict[str, Any]] = Field(description="numbers have all their digits, which may exceed a double")


# -- datasets, formats, connections, schedules, audit ------------------------------------------------------------------


class DatasetColumn(Answer):
    name: str
    type: str
    label: str
    width: float | None
    format: str | None
    as_text: bool
    sortable: bool = Field(description="whether `sort` may name it")


class Filter(Answer):
    """A filter of a dataset. Which keys are present beside the first four depends on `type`."""

    name: str
    params: list[str] = Field(description="its keys in `params`: two for a range, else one")
    type: Literal["date_range", "one_of", "any_of", "number_range", "text", "limit"]
    operators: list[str] = Field(
        description="what may follow its name in `params`, as in note.not.contains: `is_empty` takes true or false, "
        "the others take the filter's own values"
    )
    zone: str = Field("UTC", description="date_range: the time zone of its days")
    instants: bool = Field(False, description="date_range: whether timestamps are accepted besides days")
    values: list[str] = Field([], description="one_of: the values")
    items: Literal["text", "integer"] = Field("text", description="any_of: the type of its values")
    items_max: int = Field(0, description="any_of: the maximum number of values")
    match: Literal["equals", "contains", "starts_with"] = Field("equals", description="text: how it is compared")
    max: int = Field(0, description="limit: the maximum")


DATASET_EXAMPLE: dict[str, Any] = {
    "name": "trades",
    "title": "Trades",
    "paging": True,
    "columns": [
        {
            "name": "id",
            "type": "text",
            "label": "Id",
            "width": None,
            "format": None,
            "as_text": False,
            "sortable": True,
        }
    ],
    "filters": [
        {
            "name": "status",
            "params": ["status"],
            "type": "one_of",
            "values": ["open", "closed"],
            "operators": ["not", "is_empty"],
        }
    ],
}


class Dataset(Answer):
    model_config = example(DATASET_EXAMPLE)

    name: str
    title: str
    paging: bool = Field(description="whether `limit` and `offset` of a source are allowed")
    columns: list[DatasetColumn]
    filters: list[Filter]


class Datasets(Answer):
    model_config = example({"data": [DATASET_EXAMPLE]})

    data: list[Dataset]


FORMAT_EXAMPLE: dict[str, Any] = {
    "name": "xlsx",
    "label": "Excel (XLSX)",
    "aliases": ["excel"],
    "suffixes": [".xlsx"],
    "media_type": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "packed": True,
    "delimited": False,
    "sheets": True,
    "package": None,
}


class FormatRow(Answer):
    name: Format
    label: str = Field(description="for people")
    aliases: list[str]
    suffixes: list[str] = Field(description="of file names; files get the first")
    media_type: str
    packed: bool = Field(description="whether its bytes are already compressed")
    delimited: bool = Field(description="whether it is delimited text, read by a locale, such as CSV")
    sheets: bool = Field(description="whether rows are in named sheets")
    package: str | None = Field(description="the package that adds it, with its version; null if built in")


class FormatWithOptions(FormatRow):
    model_config = example(
        FORMAT_EXAMPLE
        | {"options": {"header": {"type": "boolean", "default": True, "description": "a first row of names"}}}
    )

    options: dict[str, dict[str, Any]] = Field(description="by name, each as JSON Schema")


class CompressionRow(Answer):
    name: Compression
    label: str = Field(description="for people")
    aliases: list[str]
    suffix: str = Field(description="appended to that of the format")


class Formats(Answer):
    model_config = example(
        {
            "data": [FORMAT_EXAMPLE],
            "compressions": [{"name": "gzip", "label": "gzip", "aliases": ["gz"], "suffix": ".gz"}],
        }
    )

    data: list[FormatRow]
    compressions: list[CompressionRow]


class Connection(Answer):
    name: str
    kind: str = Field(description="the scheme of its URL, such as mysql")


class Connections(Answer):
    model_config = example({"data": [{"name": "main", "kind": "mysql"}]})

    data: list[Connection]


class LastRun(Answer):
    export_id: str
    status: Status
    created_at: Timestamp
    error: Failure | None


class Schedule(Answer):
    name: str
    cron: str
    timezone: str
    user: str
    next_at: Timestamp
    last: LastRun | None


class Schedules(Answer):
    model_config = example(
        {
            "data": [
                {
                    "name": "daily",
                    "cron": "0 6 * * 1-5",
                    "timezone": "Europe/Berlin",
                    "user": "ann",
                    "next_at": "2026-11-20T05:00:00.000Z",
                    "last": None,
                }
            ]
        }
    )

    data: list[Schedule]


class AuditLine(Answer):
    """One entry; further keys depend on the action."""

    model_config = ConfigDict(extra="allow")

    id: int
    at: Timestamp
    user: str
    action: str = Field(description="such as export, download, login, key create")
    export_id: str | None
    outcome: str = Field(description="such as begun, completed, sent, refused, or the code of an error")
    address: str


class Audit(Answer):
    __doc__ = f"Newest first, at most {AUDIT_MAX:,} entries."

    model_config = example(
        {
            "data": [
                {
                    "id": 17,
                    "at": "2026-11-20T12:58:02.905Z",
                    "user": "ann",
                    "action": "export",
                    "export_id": "5c1852b6-b992-467c-afce-218d633ba465",
                    "outcome": "completed",
                    "address": "203.0.113.9",
                    "rows": 2,
                }
            ]
        }
    )

    data: list[AuditLine]


# -- sensors -----------------------------------------------------------------------------------------------------------


SENSOR_EXAMPLE: dict[str, Any] = {
    "id": "oven-1",
    "name": "Oven 1",
    "unit": "°C",
    "attributes": {"line": "3"},
    "first_ms": 1700000000000,
    "last_ms": 1700000060000,
}


class Sensor(Answer):
    model_config = example(SENSOR_EXAMPLE)

    id: str
    name: str
    unit: str
    attributes: dict[str, str] = Field(description="further texts, by name")
    first_ms: int | None = Field(description="the first point, in milliseconds since 1970; null without points")
    last_ms: int | None


class SensorPage(Answer):
    model_config = example({"data": [SENSOR_EXAMPLE], "has_more": False})

    data: list[Sensor]
    has_more: bool = Field(description="the next page has `starting_after` set to the last id of this one")


class Chart(Answer):
    """A range as columns, downsampled such that peaks are preserved."""

    model_config = example(
        {
            "sensor_id": "oven-1",
            "count": 2,
            "downsampled": False,
            "timestamp_ms": [1700000000000, 1700000060000],
            "value": [21.5, None],
            "quality": [1, 0],
        }
    )

    sensor_id: str
    count: int = Field(description="points in the range")
    downsampled: bool
    timestamp_ms: list[int]
    value: list[float | None]
    quality: list[int]


class Accepted(Answer):
    model_config = example({"accepted": 2})

    accepted: int = Field(description="the number of points, which are now durable")


# -- people and operators ----------------------------------------------------------------------------------------------


class Who(Answer):
    model_config = example({"user": "ann", "scopes": ["dataset:*", "series"], "admin": False})

    user: str
    scopes: list[str]
    admin: bool


class SessionState(Answer):
    model_config = example({"user": None, "ways": ["password"]})

    user: Who | None
    ways: list[Literal["password", "dev"]] = Field(description="the ways to sign in from here")


class Live(Answer):
    model_config = example({"status": "ok"})

    status: Literal["ok"]


class Ready(Answer):
    """`status`, and, for callers who may see them, the dependencies of the service by name."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"status": "ok", "queue": "ok", "connection main": "ok"}]}
    )
    __pydantic_extra__: dict[str, Literal["ok", "unavailable"]]

    status: Literal["ok", "unavailable"]
