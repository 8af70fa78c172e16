"""Sensors: points over time, their storage, and the reduced series that charts need.

The APIs use ``SensorStore``. The embedded one (embedded.py) stores points in an SQLite file; the remote one (remote.py)
reads them from a table of a database that another program fills.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from fluxport.series.points import Points

__all__ = ["Description", "Extent", "Opened", "PointBatches", "Points", "Sensor", "SensorStore"]

PointBatches: TypeAlias = Generator[Points, None, None]
Opened: TypeAlias = Callable[[Callable[[], None]], None]


@dataclass(frozen=True)
class Extent:
    """First and last timestamp of a sensor's points, milliseconds since 1970."""

    first_ms: int
    last_ms: int


@dataclass(frozen=True)
class Sensor:
    """``id`` is its name for callers; ``attributes`` are further texts by name, such as ``line`` or ``machine``;
    ``extent`` None: it has no points."""

    id: str
    name: str = ""
    unit: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    extent: Extent | None = None


@dataclass(frozen=True)
class Description:
    """What to set of a sensor: its name, its unit or all its attributes; None leaves what it has."""

    name: str | None = None
    unit: str | None = None
    attributes: Mapping[str, str] | None = None


class SensorStore(Protocol):
    """Thread-safe. Methods raise Unavailable if the database of the store cannot be reached.

    ``start`` begins the store's background work, in only one of the processes that use it; ``close`` ends it.
    ``append`` returns when the points are durable, all or none; a point replaces the sensor's point with the same
    timestamp. ``mark`` stores a number under a name, for ingests, and returns the previous one. Writes raise Disabled
    if another program fills the store. ``scan`` yields the points between two timestamps, inclusive, in order of time,
    a few MiB at a time; closing it ends the query, and ``opened`` receives a callable that ends it from another thread,
    if there is one. ``beside``: many are read at the same time, so its batches are smaller, and between them the scan
    holds no connection to a server. Each batch is read from the store's current state: no point that existed when the
    scan began is missing or duplicated, newer ones may appear. ``outline`` returns at most ``most`` points of a range,
    with all its peaks, and the number of points in the range (downsample.py).
    """

    def start(self) -> None: ...

    def sensors(self, search: str = "", *, limit: int = 1000, after: str = "") -> list[Sensor]: ...

    def sensor(self, sensor_id: str) -> Sensor: ...

    def describe(self, sensor_id: str, description: Description) -> Sensor: ...

    def append(self, points: Sequence[tuple[str, Points]]) -> None: ...

    def mark(self, name: str, value: int) -> int | None: ...

    def scan(
        self,
        sensor_id: str,
        start_ms: int,
        end_ms: int,
        opened: Opened = lambda end: None,
        *,
        beside: bool = False,
    ) -> PointBatches: ...

    def outline(self, sensor_id: str, start_ms: int, end_ms: int, most: int) -> tuple[Points, int]: ...

    def close(self) -> None: ...
