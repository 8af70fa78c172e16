"""Records of jobs and lines of the audit as JSON, as the API and notifications show them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fluxport.jobs.outcome import StoredFile
from fluxport.jobs.request import PRIORITIES
from fluxport.jobs.store import Record
from fluxport.spec import ExportSpec


def job_json(record: Record, now: float, download: dict[str, Any] | None = None) -> dict[str, Any]:
    """The job at ``now`` (Unix seconds by the database's clock), every field always present; times are RFC 3339 UTC;
    ``percent`` and ``eta_s`` need a known total."""
    result, spec = record.result, record.spec
    complete = record.status in ("completed", "expired")
    files = [_file(file) for file in result.parts] if complete and result else []
    return {
        "id": record.id,
        "status": record.status,
        "phase": record.phase if record.status == "running" else None,
        "source": _source(spec),
        "format": spec.format,
        "compression": spec.compression,
        "options": dict(spec.options),
        "rows": record.rows,
        "rows_total": known_total(record, record.rows),
        "bytes": record.bytes,
        "percent": percent(record),
        "eta_s": eta_s(record, now),
        "files": files,
        "columns": list(result.columns) if result else [],
        "warnings": list(result.warnings) if result else [],
        "truncated": result is not None and result.truncated,
        "attempts": record.attempts,
        "attempt_errors": [reason.to_json() | {"at": rfc3339(reason.at)} for reason in record.attempt_errors],
        "error": record.error and record.error.to_json(),
        "download": download,
        "created_at": rfc3339(record.created_at),
        "started_at": rfc3339(record.started_at),
        "finished_at": rfc3339(record.finished_at),
        "expires_at": rfc3339(record.expires_at),
        "request_id": record.request_id,
        "priority": _PRIORITY_NAMES[record.priority],
    }


_PRIORITY_NAMES = {number: name for name, number in PRIORITIES.items()}


def _file(stored: StoredFile) -> dict[str, Any]:
    """One file; ``verified`` is None for a direct stream and for files that older versions stored."""
    return {
        "name": stored.filename,
        "rows": stored.rows,
        "bytes": stored.bytes,
        "sha256": stored.sha256,
        "verified": stored.verified,
    }


def _source(spec: ExportSpec) -> dict[str, Any]:
    if spec.series is not None:
        return dict(spec.series)
    if spec.pushed is not None:
        return {"pushed": spec.pushed}
    if spec.dataset is not None:
        return {"dataset": spec.dataset, "params": spec.params} | spec.rows
    return {"query": spec.query, "connection": spec.connection} | ({"params": spec.params} if spec.params else {})


def known_total(record: Record, rows: int) -> int | None:
    """The number of rows to expect; None if it is unknown, which it also is once more ``rows`` than counted arrived."""
    return None if record.rows_total is None or rows > record.rows_total else record.rows_total


def percent(record: Record) -> float | None:
    """How much of the rows was read; None if their number is unknown."""
    if record.status in ("completed", "expired"):
        return 100.0
    total = known_total(record, record.rows)
    return round(100 * record.rows / total, 1) if total else None


def eta_s(record: Record, now: float) -> float | None:
    """Seconds left at the average rate of the attempt that runs; None if total or rate is unknown."""
    total = known_total(record, record.rows)
    if record.status != "running" or not total or not record.rows or record.started_at is None:
        return None
    # The first attempt began at started_at, a later one after the one before it ended.
    began = max([record.started_at, *(failed.at for failed in record.attempt_errors)])
    return round((total - record.rows) * max(now - began, 0.0) / record.rows, 1)


def audit_json(line: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the audit."""
    return {
        "id": line["id"],
        "at": rfc3339(line["at"]),
        "user": line["owner"],
        "action": line["action"],
        "export_id": line["export_id"],
        "outcome": line["outcome"],
        "address": line["address"],
        **{name: value for name, value in line["detail"].items() if name not in _AUDIT_KEYS},
    }


_AUDIT_KEYS = frozenset({"id", "at", "user", "action", "export_id", "outcome", "address"})


def rfc3339(moment: float | None) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix(moment: str) -> float:
    """The inverse of :func:`rfc3339`: Unix seconds."""
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
