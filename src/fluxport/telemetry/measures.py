"""Metrics of exports, over all processes that run them.

The counters are in the service's own database and are incremented in the transaction that ends an export: a killed
worker loses nothing and counts nothing twice, a restart resets nothing, and every service exposes those of all workers.
A histogram is stored as one counter per bucket (not cumulative) and one for the sum.
"""

from __future__ import annotations

import bisect
import json
from dataclasses import dataclass
from typing import NamedTuple

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 900)
_RATES = (1e3, 3e3, 1e4, 3e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6)


@dataclass(frozen=True)
class Counted:
    """A counter, or with ``buckets`` (their upper bounds) a histogram."""

    about: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def bounds(self) -> list[str]:
        """The upper bounds as values of the label ``le``."""
        return [*(str(float(bound)) for bound in self.buckets), "+Inf"]


COUNTED: dict[str, Counted] = {
    "export_duration_seconds": Counted("From the first attempt's start to completion or failure", buckets=_SECONDS),
    "export_upload_duration_seconds": Counted(
        "Time that a completed export waited for its store, beyond reading and encoding", buckets=_SECONDS
    ),
    "export_errors_total": Counted("Exports that failed, by error code", ("code",)),
    "export_records_processed_total": Counted("Rows of completed exports, headers not counted"),
    "fluxport_bytes_total": Counted("Bytes of completed exports as sent or stored"),
    "fluxport_retries_total": Counted("Attempts after the first, whatever ended the one before"),
    "fluxport_rows_per_second": Counted(
        "Rows of a completed export per second of its duration", ("format", "source"), _RATES
    ),
}


class Sample(NamedTuple):
    """A stored counter with its value, or with an increment to it; ``labels`` is JSON text with sorted keys."""

    name: str
    labels: str
    value: float


def increment(name: str, amount: float = 1.0, **labels: str) -> Sample:
    return Sample(name, json.dumps(labels, sort_keys=True), amount)


def observed(name: str, value: float, **labels: str) -> list[Sample]:
    """The increments for one observation of a histogram."""
    counted = COUNTED[name]
    bucket = counted.bounds[bisect.bisect_left(counted.buckets, value)]
    return [increment(f"{name}_bucket", 1.0, le=bucket, **labels), increment(f"{name}_sum", value, **labels)]


@dataclass(frozen=True)
class Ended:
    """The measurements of an ended export; ``error_code`` is that of a failed one, ``upload_s`` is None if no store was
    written."""

    canceled: bool
    error_code: str | None
    format: str
    source: str
    rows: int
    size_bytes: int
    duration_s: float
    upload_s: float | None


def ended(export: Ended) -> list[Sample]:
    """The increments for an ended export, at most one per counter."""
    if export.canceled:
        return []
    increments = observed("export_duration_seconds", export.duration_s)
    if export.error_code is not None:
        return [*increments, increment("export_errors_total", code=export.error_code)]
    increments.append(increment("export_records_processed_total", export.rows))
    increments.append(increment("fluxport_bytes_total", export.size_bytes))
    if export.upload_s is not None:
        increments += observed("export_upload_duration_seconds", export.upload_s)
    if export.rows and export.duration_s > 0:
        rate = export.rows / export.duration_s
        increments += observed("fluxport_rows_per_second", rate, format=export.format, source=export.source)
    return increments
