"""``/metrics``: counters of this process's requests, and those of exports from the database."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from fluxport.errors import FluxportError
from fluxport.telemetry.measures import COUNTED, Counted, Sample

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types there

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
# A client may send any method; label values must be bounded.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_OF_PROCESS = CollectorRegistry()
ProcessCollector(registry=_OF_PROCESS)
_REQUESTS = Counter(
    "fluxport_http_requests_total",
    "Requests answered by this process",
    ["method", "route", "status"],
    registry=_OF_PROCESS,
)
_CALLS = Counter(
    "fluxport_grpc_calls_total", "gRPC calls that this process answered", ["method", "status"], registry=_OF_PROCESS
)
_REFUSALS = Counter(
    "fluxport_refusals_total", "Requests that this process refused, by error code", ["code"], registry=_OF_PROCESS
)
_POINTS = Counter(
    "fluxport_points_total", "Points of sensors that this process stored, by API", ["door"], registry=_OF_PROCESS
)
_DEAD_LETTERS = Counter(
    "fluxport_dead_letters_total",
    "Messages with points that could never be stored and were moved to the dead letters, by API",
    ["door"],
    registry=_OF_PROCESS,
)
_FIRST_BYTE = Histogram(
    "fluxport_first_byte_seconds",
    "From a direct stream's beginning to its first bytes",
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
    registry=_OF_PROCESS,
)

Measured = tuple[Mapping[str, int], Iterable[Sample]]


def method_name(method: str) -> str:
    return method if method in _METHODS else "other"


def request(method: str, route: str | None, status: int) -> None:
    """Count a request; ``route`` is its template, None if no route matched."""
    _REQUESTS.labels(method_name(method), route or "none", str(status)).inc()


def call(method: str, status: str) -> None:
    """Count a gRPC call that has ended."""
    _CALLS.labels(method, status).inc()


def refusal(code: str) -> None:
    _REFUSALS.labels(code).inc()


def points(api: str, count: int) -> None:
    """Count points that are durable."""
    _POINTS.labels(api).inc(count)


def dead_letter(api: str) -> None:
    _DEAD_LETTERS.labels(api).inc()


def first_byte(seconds: float) -> None:
    _FIRST_BYTE.observe(seconds)


def exposition(measured: Callable[[], Measured]) -> bytes:
    """Prometheus' text format; ``measured`` returns the number of exports in each state and the stored counters.

    If ``measured`` raises FluxportError, only the process's metrics and ``fluxport_database_up 0`` are exposed.
    """
    return generate_latest(_OF_PROCESS) + generate_latest(_OfDatabase(measured))


class _OfDatabase(Collector):
    def __init__(self, measured: Callable[[], Measured]) -> None:
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        about = "Whether the service's own database is available; without it, metrics of exports are missing"
        try:
            states, counters = self._measured()
        except FluxportError:
            yield GaugeMetricFamily("fluxport_database_up", about, 0)
            return
        yield GaugeMetricFamily("fluxport_database_up", about, 1)
        yield GaugeMetricFamily("export_active_tasks", "Stored exports that are running", states.get("running", 0))
        yield GaugeMetricFamily("export_queued_tasks", "Stored exports in the queue", states.get("queued", 0))
        stored: dict[str, dict[str, float]] = defaultdict(dict)
        for row in counters:
            stored[row.name][row.labels] = row.value
        for name, counted in COUNTED.items():
            yield _histogram(name, counted, stored) if counted.buckets else _counter(name, counted, stored[name])


def _counter(name: str, counted: Counted, stored: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, counted.about, labels=counted.labels)
    values = {_values(counted, labels): value for labels, value in stored.items()}
    for label_values, value in (values or _zero(counted)).items():
        family.add_metric(label_values, value)
    return family


def _histogram(name: str, counted: Counted, stored: Mapping[str, Mapping[str, float]]) -> Metric:
    bounds = counted.bounds
    sums = {_values(counted, labels): value for labels, value in stored.get(f"{name}_sum", {}).items()}
    counts: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for labels, value in stored.get(f"{name}_bucket", {}).items():
        counts[_values(counted, labels)][json.loads(labels)["le"]] = value
    family = HistogramMetricFamily(name, counted.about, labels=counted.labels)
    for label_values, total in (sums or _zero(counted)).items():
        cumulative = accumulate(counts[label_values].get(bound, 0.0) for bound in bounds)
        family.add_metric(label_values, list(zip(bounds, cumulative, strict=True)), total)
    return family


def _values(counted: Counted, labels: str) -> tuple[str, ...]:
    values = json.loads(labels)
    return tuple(values[name] for name in counted.labels)


def _zero(counted: Counted) -> dict[tuple[str, ...], float]:
    """A counter that was never incremented is 0 if it has no labels, else absent."""
    return {} if counted.labels else {(): 0.0}
