"""Responses: tasks as messages of the protocol, and errors as a status, a code and a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc

from fluxport.errors import Broken, FluxportError
from fluxport.grpc import export_pb2 as pb
from fluxport.grpc.metadata import FORMATS
from fluxport.jobs.view import eta_s

if TYPE_CHECKING:
    from fluxport.jobs.store import Record

# Error codes that clients of the export middleware know, by our codes; other codes are sent in upper case.
CLIENT_CODES = {
    "queue_timeout": "QUEUE_TIMEOUT",
    "unknown_format": "INVALID_FORMAT",
    "bad_metadata": "INVALID_METADATA",
    "no_metadata": "INVALID_METADATA",
    "bad_option": "VALIDATION_ERROR",
    "bad_filename": "VALIDATION_ERROR",
    "too_many_columns": "VALIDATION_ERROR",
    "bad_batch": "VALIDATION_ERROR",
    "batch_too_large": "VALIDATION_ERROR",
    "wrong_type": "VALIDATION_ERROR",
    "wrong_width": "VALIDATION_ERROR",
    "rows_missing": "VALIDATION_ERROR",
    "invalid_text": "VALIDATION_ERROR",
    "too_many_rows": "VALIDATION_ERROR",
    "too_many_bytes": "VALIDATION_ERROR",
    "cell_too_large": "VALIDATION_ERROR",
    "idempotency_mismatch": "VALIDATION_ERROR",
    "batch_gap": "STREAM_ERROR",
    "bad_message": "STREAM_ERROR",
    "stream_idle": "STREAM_ERROR",
    "client_gone": "STREAM_ERROR",
    "holder_died": "STREAM_ERROR",
    "closing": "STREAM_ERROR",
    "deadline": "STREAM_ERROR",
    "store_full": "STORAGE_ERROR",
    "not_writable": "STORAGE_ERROR",
    "file_exists": "STORAGE_ERROR",
    "bad_name": "STORAGE_ERROR",
    "store_failed": "UPLOAD_ERROR",
    "store_differs": "FINALIZE_ERROR",
    "internal": "INTERNAL",
}


def status_of(error: FluxportError) -> grpc.StatusCode:
    status: grpc.StatusCode = grpc.StatusCode[error.grpc_status]
    return status


def client_code(code: str) -> str:
    return CLIENT_CODES.get(code, code.upper())


def failure_event(code: str) -> str | None:
    """The log event of an error of a push, as the middleware named it; None if it had none."""
    known = client_code(code)
    if known == "STREAM_ERROR":
        return "StreamReceiveError" if code in ("client_gone", "bad_message") else "StreamError"
    return "ValidationError" if known in ("VALIDATION_ERROR", "INVALID_METADATA", "INVALID_FORMAT") else None


def as_error(record: Record) -> FluxportError:
    """The error of a failed task."""
    return record.error.error() if record.error else Broken("The task failed.", code="internal")


Url = Callable[["Record"], str]


def task_status(record: Record) -> pb.TaskStatus:
    if record.status == "queued":
        return pb.TASK_STATUS_QUEUED
    if record.status == "running":
        return pb.TASK_STATUS_UPLOADING if record.phase == "uploading" else pb.TASK_STATUS_PROCESSING
    return pb.TASK_STATUS_COMPLETED if record.status in ("completed", "expired") else pb.TASK_STATUS_FAILED


def percent(record: Record, rows: int) -> float:
    """The percentage of a known total, else 0; never estimated."""
    if record.status in ("completed", "expired"):
        return 100.0
    return min(round(100 * rows / record.rows_total, 1), 99.9) if record.rows_total else 0.0


def response(record: Record, url: Url) -> pb.ExportResponse:
    """A task as a response of ``StreamExport``."""
    result, error = record.result, record.error
    return pb.ExportResponse(
        task_id=record.id,
        status=task_status(record),
        oss_url=url(record),
        file_size_bytes=record.bytes,
        record_count=record.rows,
        progress_percent=percent(record, record.rows),
        checksum_sha256=result.sha256 if result else "",
        error_message=error.message if error else "",
        error_code=client_code(error.code) if error else "",
        start_time=_seconds(record.started_at),
        completion_time=_seconds(record.finished_at),
    )


def status_response(record: Record, url: Url, now: float) -> pb.TaskStatusResponse:
    """A task as the response of ``QueryTaskStatus``."""
    task = response(record, url)
    format_names = {name: pb.ExportFormat.Name(number) for number, name in FORMATS.items()}
    return pb.TaskStatusResponse(
        task_id=task.task_id,
        status=task.status,
        format=format_names.get(record.spec.format, "FORMAT_UNSPECIFIED"),
        filename=(record.result.filename if record.result else record.spec.filename) or "",
        records_processed=task.record_count,
        progress_percent=task.progress_percent,
        oss_url=task.oss_url,
        file_size_bytes=task.file_size_bytes,
        error_message=task.error_message,
        error_code=task.error_code,
        start_time=task.start_time,
        completion_time=task.completion_time,
        estimated_time_remaining=round(eta_s(record, now) or 0.0),
        checksum_sha256=task.checksum_sha256,
    )


def failed_response(task_id: str, error: FluxportError) -> pb.ExportResponse:
    """The last response of a call whose task does not exist or has not ended."""
    return pb.ExportResponse(
        task_id=task_id,
        status=pb.TASK_STATUS_FAILED,
        error_message=error.message,
        error_code=client_code(error.code),
    )


def _seconds(moment: float | None) -> int:
    return 0 if moment is None else int(moment)


def trailers(error: FluxportError, task_id: str) -> tuple[tuple[str, str], ...]:
    """Trailing metadata of an error: its code and the task's id."""
    pairs: list[tuple[str, Any]] = [("x-fluxport-error-code", client_code(error.code))]
    if task_id:
        pairs.append(("x-fluxport-task-id", task_id))
    return tuple(pairs)
