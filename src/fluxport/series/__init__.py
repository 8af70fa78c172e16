"""Sensors: points over time, where they rest and what a chart needs of them.

``SensorStore`` is what the doors know. The embedded one (embedded.py) keeps points in an SQLite file; a remote one
(remote.py) reads them from a table of a database that something else fills.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from fluxport.series.points import Points

__all__ = ["Extent", "Opened", "PointBatches", "Points", "Sensor", "SensorStore"]

PointBatches: TypeAlias = Generator[Points, None, None]
Opened: TypeAlias = Callable[[Callable[[], None]], None]


@dataclass(frozen=True)
class Extent:
    """First and last moment of a sensor's points, milliseconds since 1970."""

    first_ms: int
    last_ms: int


@dataclass(frozen=True)
class Sensor:
    """``id`` is what callers name it by; ``extent`` None: it has no points."""

    id: str
    name: str = ""
    unit: str = ""
    extent: Extent | None = None


class SensorStore(Protocol):
    """Any number of threads may use one. Unavailable when the engine behind it is away.

    ``start`` begins what the store does by itself in the background, in one process of those that use it; ``close``
    ends it. ``append`` returns when the points are durable, all of them or none; a point at a moment that the sensor
    has one for takes its place. ``mark`` stores a number under a name for those that bring points, and returns the one
    before. Disabled where points come another way. ``scan`` yields the points between two moments, both included, in
    order of time, a few MiB at a time; closing it ends the query. ``opened`` is handed what ends the
    query from another thread, where there is one. Each batch is as the store is when it is read: no point that was
    there when the scan began is missing or doubled, a newer one may be there. ``outline`` gives at most ``most`` of a
    range's points, all its peaks among them, and how many there are (downsample.py).
    """

    def start(self) -> None: ...

    def sensors(self, search: str = "", *, limit: int = 1000, after: str = "") -> list[Sensor]: ...

    def sensor(self, sensor_id: str) -> Sensor: ...

    def describe(self, sensor_id: str, *, name: str | None = None, unit: str | None = None) -> Sensor: ...

    def append(self, points: Sequence[tuple[str, Points]]) -> None: ...

    def mark(self, name: str, value: int) -> int | None: ...

    def scan(self, sensor_id: str, start_ms: int, end_ms: int, opened: Opened = lambda end: None) -> PointBatches: ...

    def outline(self, sensor_id: str, start_ms: int, end_ms: int, most: int) -> tuple[Points, int]: ...

    def close(self) -> None: ...
