"""The bodies of ``/v1``, ``/session`` and ``/health``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import ConfigDict, Field, RootModel

from fluxport.http.historian import TEXT_MAX
from fluxport.http.history import AUDIT_MAX
from fluxport.http.openapi.base import Answer, Asked, Failure, example, options_models
from fluxport.http.openapi.names import (
    Aggregate,
    Compression,
    Digest,
    Format,
    Moment,
    Priority,
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


class QuerySource(Asked):
    """One SELECT on a connection."""

    query: str = Field(description="one SELECT")
    connection: str = Field(ExportSpec.connection, description="a connection of the configuration: GET /v1/connections")
    params: list[Any] | dict[str, Any] = Field([], description="values for ? (a list) or :name (an object)")


class DatasetSource(Asked):
    """A declared dataset, whose connection and query are the operator's."""

    dataset: str = Field(description="its name: GET /v1/datasets")
    params: dict[str, Any] = Field({}, description="its filters and their values")


class SensorSource(Asked):
    """A range of one or several sensors."""

    sensor_id: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=SENSORS_MAX)]
    )
    start_ts: Instant | None = Field(None, description="the first moment")
    end_ts: Instant | None = Field(None, description="the last moment, included")
    layout: Literal["long", "wide"] = Field("long", description="a row for each point, or a column for each sensor")
    aggregate: Aggregate | None = Field(None, description="one value per interval")
    interval: int | str | None = Field(None, description="of an aggregate: milliseconds, or like 10s, 15m, 1h, 1d")
    time: Literal["ms", "datetime"] = Field("ms", description="how moments are written")


class Upload(Asked):
    """A presigned URL of the caller's own, which takes the file by PUT."""

    url: Url
    headers: dict[str, str] = Field({}, description="headers that the URL was signed with")


class Notify(Asked):
    """Where a message goes when a stored export has ended."""

    email: list[str] = Field([], max_length=MAILS_MAX)
    webhook: Url | None = None
    upload: Url | Upload | None = None


if TYPE_CHECKING:
    Options = dict[str, Any]
else:
    Options = Union[*options_models()]  # of the formats that are there


class StreamRequest(Asked):
    """An export as one file."""

    model_config = example({"source": {"query": "SELECT id, name FROM users"}, "format": "csv"})

    source: QuerySource | DatasetSource | SensorSource
    format: Format = Format(ExportSpec.format)
    options: Options = Field({}, description="options of the format")
    compression: Compression = Compression(ExportSpec.compression)
    filename: str | None = Field(None, description="for people; {date}, {time} and {job_id} are filled in")
    store: str = Field(ExportSpec.store, description="a store of the configuration; a stream stores nothing")


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
    priority: Priority = Field(Priority("normal"), description="among the caller's own exports that wait")
    count: bool = Field(False, description="count the rows first, so that percent is known")


class LinkRequest(Asked):
    """What kind of link; no body asks for one that works until it expires."""

    model_config = example({"one_time": True})

    one_time: bool = Field(False, description="used up by the first complete download")


class Login(Asked):
    model_config = example({"user": "ann", "password": "correct horse battery staple"})

    user: str
    password: str = Field(json_schema_extra={"format": "password"})


class Description(Asked):
    """A sensor's name and unit, or one of them."""

    model_config = example({"name": "Oven 1", "unit": "°C"})

    name: str = Field("", max_length=TEXT_MAX)
    unit: str = Field("", max_length=TEXT_MAX)


class Point(Asked):
    timestamp_ms: int = Field(description="milliseconds since 1970")
    value: float | int | None = Field(description="null where there is no number")
    quality: int | None = Field(1, ge=0, description="0 is bad, 1 is good")


class PointColumns(Asked):
    timestamp_ms: list[int]
    value: list[float | int | None]
    quality: list[int | None] | None = None


class PointList(Asked):
    points: list[Point]


class NewPoints(RootModel[Point | PointColumns | PointList | list[Point]]):
    """Points of one sensor: one, a list, an object with the list, or an object of columns."""

    model_config = example({"points": [{"timestamp_ms": 1700000000000, "value": 21.5, "quality": 1}]})


# -- exports -----------------------------------------------------------------------------------------------------------


class PushedColumn(Answer):
    name: str
    type: str


class PushedSource(Answer):
    """Columns of rows that came over gRPC or Arrow Flight."""

    pushed: list[PushedColumn]


class ExportFile(Answer):
    name: str
    rows: int
    bytes: int
    sha256: Digest
    verified: Verified | None = Field(
        description="by what the store confirmed that it holds these bytes; null for a stream"
    )


class ResultColumn(Answer):
    name: str
    type: str = Field(description="the database's own word for it")


class DataWarning(Answer):
    """What had to be changed in the data, and how often."""

    code: WarningCode
    column: str | None
    count: int
    message: str


class AttemptError(Failure):
    """Why an attempt that was begun did not complete."""

    at: Moment


class Link(Answer):
    model_config = example(
        {
            "url": "https://exports.example.com/v1/exports/5c1852b6-b992-467c-afce-218d633ba465/file?token=MTc2...",
            "expires_at": "2026-11-20T13:58:02.000Z",
        }
    )

    url: Url = Field(description="needs no other credentials")
    expires_at: Moment


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
    """A stored export or a stream. Every key is always there."""

    model_config = example(EXPORT_EXAMPLE)

    id: str
    status: Status
    phase: Phase | None = Field(description="of one that runs")
    source: QuerySource | DatasetSource | SensorSource | PushedSource = Field(description="as it was requested")
    format: str = Field(description="as it was requested: a format or its other name")
    compression: str = Field(description="as it was requested")
    options: dict[str, Any] = Field(description="as they were requested")
    rows: int = Field(description="so far")
    rows_total: int | None = Field(description="known at the end, and before that where `count` was requested")
    bytes: int = Field(description="so far")
    percent: float | None = Field(ge=0, le=100)
    eta_s: float | None = Field(description="seconds until the last row")
    files: list[ExportFile] = Field(description="of a completed one; several where it was split")
    columns: list[ResultColumn]
    warnings: list[DataWarning]
    truncated: bool = Field(description="whether rows beyond `limit` were left out")
    attempts: int = Field(description="how often it was begun")
    attempt_errors: list[AttemptError]
    error: Failure | None
    download: Link | None = Field(description="of a stored export that is completed")
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    expires_at: Moment | None = Field(description="when the file is deleted")
    request_id: str
    priority: Priority


class ExportPage(Answer):
    """Newest first."""

    model_config = example({"data": [EXPORT_EXAMPLE], "has_more": False})

    data: list[Export]
    has_more: bool = Field(description="ask again with `starting_after`, the id of the last one here")


class Progress(Answer):
    """The data of an event `progress`."""

    phase: Phase
    rows: int
    bytes: int


class Ended(Answer):
    """The data of the last event, `completed`, `failed` or `canceled`."""

    status: Literal["completed", "failed", "canceled"]
    error: Failure | None


class ExportEvent(Answer):
    """One server-sent event, as its three lines say."""

    model_config = example(
        {"id": 1, "event": "progress", "data": {"phase": "reading", "rows": 65536, "bytes": 2097152}}
    )

    id: int = Field(description="for Last-Event-ID")
    event: Literal["progress", "completed", "failed", "canceled"]
    data: Progress | Ended = Field(description="as JSON")


class PreviewColumn(Answer):
    name: str
    type: str
    key: str = Field(description="of its values in the rows: the name, unless that is empty or repeated")


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
    rows: list[dict[str, Any]] = Field(description="numbers have all their digits: more than a double holds")


# -- what can be exported, and what has happened -----------------------------------------------------------------------


class DatasetColumn(Answer):
    name: str
    type: str
    label: str
    width: float | None
    format: str | None
    as_text: bool


class Filter(Answer):
    """What `params` of a dataset may hold. Which keys there are beside the first three follows from `type`."""

    name: str
    params: list[str] = Field(description="the keys of `params`: two of a range, else one")
    type: Literal["date_range", "one_of", "any_of", "number_range", "text", "limit"]
    zone: str = Field("UTC", description="date_range: the zone of its days")
    instants: bool = Field(False, description="date_range: whether moments are taken beside days")
    values: list[str] = Field([], description="one_of: the values")
    items: Literal["text", "integer"] = Field("text", description="any_of: what its values are")
    items_max: int = Field(0, description="any_of: how many")
    match: Literal["equals", "contains", "starts_with"] = Field("equals", description="text: how it is compared")
    max: int = Field(0, description="limit: the largest")


DATASET_EXAMPLE: dict[str, Any] = {
    "name": "trades",
    "title": "Trades",
    "columns": [{"name": "id", "type": "text", "label": "Id", "width": None, "format": None, "as_text": False}],
    "filters": [{"name": "status", "params": ["status"], "type": "one_of", "values": ["open", "closed"]}],
}


class Dataset(Answer):
    model_config = example(DATASET_EXAMPLE)

    name: str
    title: str
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
    suffixes: list[str] = Field(description="of its files; theirs is the first")
    media_type: str
    packed: bool = Field(description="its bytes are compressed already")
    delimited: bool = Field(description="read by a locale, as CSV is")
    sheets: bool = Field(description="rows are in sheets, which have names")
    package: str | None = Field(description="the package that adds it and its version; null for what is built in")


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
    suffix: str = Field(description="after that of the format")


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
    created_at: Moment
    error: Failure | None


class Schedule(Answer):
    name: str
    cron: str
    timezone: str
    user: str
    next_at: Moment
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
    """One line; what else is known of the action stands beside these."""

    model_config = ConfigDict(extra="allow")

    id: int
    at: Moment
    user: str
    action: str = Field(description="such as export, download, login, key create")
    export_id: str | None
    outcome: str = Field(description="such as begun, completed, sent, refused, or the code of an error")
    address: str


class Audit(Answer):
    __doc__ = f"Newest first, at most {AUDIT_MAX:,} lines."

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
    "first_ms": 1700000000000,
    "last_ms": 1700000060000,
}


class Sensor(Answer):
    model_config = example(SENSOR_EXAMPLE)

    id: str
    name: str
    unit: str
    first_ms: int | None = Field(description="the first point, in milliseconds since 1970; null without points")
    last_ms: int | None


class SensorPage(Answer):
    model_config = example({"data": [SENSOR_EXAMPLE], "has_more": False})

    data: list[Sensor]
    has_more: bool = Field(description="ask again with `starting_after`, the id of the last one here")


class Chart(Answer):
    """A range as columns, downsampled so that its peaks stay."""

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

    accepted: int = Field(description="points that are durable now")


# -- people and operators ----------------------------------------------------------------------------------------------


class Who(Answer):
    model_config = example({"user": "ann", "scopes": ["dataset:*", "series"], "admin": False})

    user: str
    scopes: list[str]
    admin: bool


class SessionState(Answer):
    model_config = example({"user": None, "ways": ["password"]})

    user: Who | None
    ways: list[Literal["password", "dev"]] = Field(description="how one may sign in from here")


class Live(Answer):
    model_config = example({"status": "ok"})

    status: Literal["ok"]


class Ready(Answer):
    """`status`, and for those who may see it each thing that the service depends on by name."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"status": "ok", "queue": "ok", "connection main": "ok"}]}
    )
    __pydantic_extra__: dict[str, Literal["ok", "unavailable"]]

    status: Literal["ok", "unavailable"]
