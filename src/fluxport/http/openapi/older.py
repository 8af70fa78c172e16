"""The bodies of the APIs of FluxQuery, the Export queue and the Historian, compatible with their clients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from fluxport.http.fluxquery import STATUS_NAMES as FLUXQUERY_NAMES
from fluxport.http.openapi.base import Answer, Body, example
from fluxport.http.openapi.models import SENSOR_EXAMPLE, DataWarning, Notify, Progress, ResultColumn
from fluxport.http.openapi.names import Digest, Format, OneOf, Timestamp, Url
from fluxport.http.queue import STATUS_NAMES as QUEUE_NAMES
from fluxport.spec import ExportSpec


class FluxQueryStatus(OneOf):
    @classmethod
    def names(cls) -> Iterable[str]:
        return dict.fromkeys(FLUXQUERY_NAMES.values())


class QueueStatus(OneOf):
    @classmethod
    def names(cls) -> Iterable[str]:
        return dict.fromkeys(QUEUE_NAMES.values())


# -- FluxQuery ---------------------------------------------------------------------------------------------------------


class FluxQueryError(Answer):
    model_config = example({"error": "'query' must be a SELECT statement.", "code": "bad_query"})

    error: str
    code: str


class FluxQueryRequest(Answer):
    """Other keys are ignored."""

    model_config = example({"query": "SELECT * FROM users", "format": "excel", "email": "ann@example.com"})

    query: str
    email: str | None = None
    format: Format | None = Field(Format(ExportSpec.format), description="json is JSON Lines here")


class FluxQueryQueued(Answer):
    model_config = example({"job_id": "5c1852b6-b992-467c-afce-218d633ba465"})

    job_id: str


class FluxQueryStatusOnly(Answer):
    """The response to a request without a signature."""

    model_config = example({"status": "PROCESSING"})

    status: FluxQueryStatus


class FluxQueryJob(Answer):
    """The response to a signed request."""

    model_config = example(
        {
            "status": "COMPLETED",
            "job_id": "5c1852b6-b992-467c-afce-218d633ba465",
            "rows": 2,
            "bytes": 24,
            "sha256": "f898ae24986a639964cb3177407f9e1ae987e52c935df05156bd8e527a6da759",
            "filename": "export-2026-11-20-125804.csv",
            "download_url": "https://exports.example.com/v1/exports/5c1852b6-b992-467c-afce-218d633ba465/file?token=MTc",
            "error": None,
            "error_code": None,
            "columns": [{"name": "id", "type": "bigint"}],
            "warnings": [],
            "created_at": "2026-11-20T12:58:01.570Z",
            "started_at": "2026-11-20T12:58:02.408Z",
            "finished_at": "2026-11-20T12:58:02.905Z",
            "expires_at": "2026-11-27T12:58:02.905Z",
        }
    )

    status: FluxQueryStatus
    job_id: str
    rows: int
    bytes: int
    sha256: Digest | None
    filename: str | None
    download_url: Url | None
    error: str | None
    error_code: str | None
    columns: list[ResultColumn]
    warnings: list[DataWarning]
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    expires_at: Timestamp | None


# -- Export queue ------------------------------------------------------------------------------------------------------


class QueueErrorBody(Answer):
    code: str
    message: str


class QueueError(Answer):
    model_config = example({"data": None, "error": {"code": "NOT_FOUND", "message": "There is no such export."}})

    data: None
    error: QueueErrorBody


class QueueRequest(Body):
    model_config = example({"type": "trades", "format": "csv", "params": {"status": "closed"}})

    type: str = Field(description="the name of a dataset")
    format: Format = Format(ExportSpec.format)
    params: dict[str, Any] | None = Field(None, description="filters; one with an empty value is ignored")
    selectedColumns: list[Any] | str | None = Field(None, description="columns of the file; all unless set")
    requestId: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]{1,64}$")
    notify: Notify | None = None
    count: bool = Field(False, description="count the rows first, so that `total` and `percent` are known")


class QueueJob(Answer):
    """Times are milliseconds since 1970."""

    id: str
    type: str
    format: Format
    status: QueueStatus
    createdAt: int
    startedAt: int | None
    completedAt: int | None
    error: str | None
    filename: str | None
    downloadToken: str | None = Field(description="of the file, also before there is one")
    tokenExpiresAt: int | None
    tokenConsumed: bool
    requestId: str
    attemptCount: int
    rows: int
    total: int | None
    percent: float | None


JOB_EXAMPLE: dict[str, Any] = {
    "id": "5c1852b6-b992-467c-afce-218d633ba465",
    "type": "trades",
    "format": "csv",
    "status": "queued",
    "createdAt": 1763643481570,
    "startedAt": None,
    "completedAt": None,
    "error": None,
    "filename": None,
    "downloadToken": "9f86d081884c7d659a2feaa0c55ad015",
    "tokenExpiresAt": None,
    "tokenConsumed": False,
    "requestId": "86d942478436456f8797b0743366c7b8",
    "attemptCount": 0,
    "rows": 0,
    "total": None,
    "percent": None,
}


class QueueJobAnswer(Answer):
    model_config = example({"data": JOB_EXAMPLE, "error": None})

    data: QueueJob
    error: None


class QueueEvent(Answer):
    """One server-sent event, with its three fields; the last one has the job."""

    model_config = example(
        {"id": 1, "event": "progress", "data": {"phase": "reading", "rows": 65536, "bytes": 2097152}}
    )

    id: int = Field(description="for Last-Event-ID")
    event: Literal["progress", "completed", "failed"]
    data: Progress | QueueJobAnswer = Field(description="as JSON")


class QueueJobsAnswer(Answer):
    model_config = example({"data": [JOB_EXAMPLE], "error": None})

    data: list[QueueJob]
    error: None


class QueueMeasures(Answer):
    mode: Literal["disabled", "persistent", "memory"]
    queued: int
    running: int
    processed: int
    failed: int
    retried: int
    avgDurationMs: int


class QueueMetrics(Answer):
    export: QueueMeasures


class QueueHealth(Answer):
    status: Literal["ok"]
    metrics: QueueMetrics


class QueueHealthAnswer(Answer):
    model_config = example(
        {
            "data": {
                "status": "ok",
                "metrics": {
                    "export": {
                        "mode": "persistent",
                        "queued": 0,
                        "running": 1,
                        "processed": 17,
                        "failed": 2,
                        "retried": 1,
                        "avgDurationMs": 840,
                    }
                },
            },
            "error": None,
        }
    )

    data: QueueHealth
    error: None


# -- Historian ---------------------------------------------------------------------------------------------------------


class HistorianPoint(Answer):
    timestamp: int
    value: float | None
    quality: int


class HistorianPoints(Answer):
    model_config = example({"points": [{"timestamp": 1700000000000, "value": 21.5, "quality": 1}]})

    points: list[HistorianPoint]


DASHBOARD_EXAMPLE = {"desc": "", "type": "", "factory": "", "line": "3", "machine": ""}


class HistorianSensor(Answer):
    sensor_id: str
    id: str
    name: str
    unit: str
    attributes: dict[str, str]
    desc: str = Field(description="of the attributes, as are the next four; empty if there is none")
    type: str
    factory: str
    line: str
    machine: str
    first_ms: int | None
    last_ms: int | None


class HistorianSensors(Answer):
    model_config = example({"sensors": [{"sensor_id": "oven-1"} | SENSOR_EXAMPLE | DASHBOARD_EXAMPLE]})

    sensors: list[HistorianSensor]
