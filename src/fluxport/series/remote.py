"""Sensors in a database table that another program fills, read by SQL through a configured connection.

The statements are portable, so that MySQL, MariaDB, PostgreSQL and compatible databases (TimescaleDB) all work. Time is
a column of whole milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxport.errors import Broken, Disabled, NotFound, Refused
from fluxport.series import Description, Extent, Opened, PointBatches, Sensor
from fluxport.series.downsample import downsampled
from fluxport.series.points import GOOD, QUALITY_MAX, Points, joined

if TYPE_CHECKING:
    from fluxport.stages import Source

PAGE_ROWS = 1 << 14
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")


@dataclass(frozen=True)
class RemoteOptions:
    """The table and its columns; ``quality``, ``sensors_table``, ``name`` and ``unit`` are empty if there is none;
    ``attributes`` are further columns of ``sensors_table``, by the name of the attribute.

    ``sensors_table`` has a row per sensor; its column ``sensor`` has the same name as in the points' table.
    """

    table: str
    sensor: str
    time: str
    value: str
    quality: str
    sensors_table: str
    name: str
    unit: str
    attributes: Mapping[str, str]


class RemoteStore:
    """See :class:`fluxport.series.SensorStore`. ``run`` opens a source for a statement and the values of its ``?``."""

    def __init__(self, options: RemoteOptions, run: Callable[[str, Sequence[Any]], Source]) -> None:
        plain = vars(options) | {f"attributes.{key}": column for key, column in options.attributes.items()}
        del plain["attributes"]
        for what, name in plain.items():
            if name and not _NAME.fullmatch(name):
                raise Refused(f"Setting 'series.remote.{what}' is not the name of a table or column.", code="bad_name")
        self._options = options
        self._run = run

    def start(self) -> None:
        pass

    def sensors(self, search: str = "", *, limit: int = 1000, after: str = "") -> list[Sensor]:
        o = self._options
        conditions = [
            f"{o.sensor} > ?",
            f"(LOWER({o.sensor}) LIKE ?" + (f" OR LOWER({o.name}) LIKE ?)" if o.name else ")"),
        ]
        like = "%" + re.sub(r"([\\%_])", r"\\\1", search.lower()) + "%"
        values: list[Any] = [after, like, *([like] if o.name else [])]
        rows = self._rows(
            f"SELECT DISTINCT {self._described()} FROM {o.sensors_table or o.table} WHERE {' AND '.join(conditions)} "
            f"ORDER BY {o.sensor} LIMIT {int(limit)}",
            values,
        )
        return [self._sensor(row) for row in rows]

    def sensor(self, sensor_id: str) -> Sensor:
        o = self._options
        rows = self._rows(
            f"SELECT {self._described()} FROM {o.sensors_table or o.table} WHERE {o.sensor} = ? LIMIT 1",
            [sensor_id],
        )
        if not rows:
            raise NotFound(f"There is no sensor {sensor_id!r}; GET /v1/sensors lists them.", code="no_such_sensor")
        low, high = self._rows(
            f"SELECT MIN({o.time}) AS low, MAX({o.time}) AS high FROM {o.table} WHERE {o.sensor} = ?",
            [sensor_id],
        )[0].values()
        return self._sensor(rows[0], None if low is None else Extent(low, high))

    def _described(self) -> str:
        o = self._options
        described = [(column, name) for name, column in (("name", o.name), ("unit", o.unit)) if column]
        described += [(column, f"attribute_{number}") for number, column in enumerate(o.attributes.values())]
        return ", ".join([f"{o.sensor} AS id", *(f"{column} AS {name}" for column, name in described)])

    def _sensor(self, row: Mapping[str, Any], extent: Extent | None = None) -> Sensor:
        texts = {
            name: "" if row[f"attribute_{n}"] is None else str(row[f"attribute_{n}"])
            for n, name in enumerate(self._options.attributes)
        }
        return Sensor(str(row["id"]), str(row.get("name") or ""), str(row.get("unit") or ""), texts, extent)

    def describe(self, sensor_id: str, description: Description) -> Sensor:
        raise _elsewhere()

    def append(self, points: Sequence[tuple[str, Points]]) -> None:
        raise _elsewhere()

    def mark(self, name: str, value: int) -> int | None:
        raise _elsewhere()

    def scan(
        self,
        sensor_id: str,
        start_ms: int,
        end_ms: int,
        opened: Opened = lambda end: None,
        *,
        beside: bool = False,
    ) -> PointBatches:
        read = self._pages if beside else self._query
        return read(sensor_id, start_ms, end_ms, opened)

    def _pages(self, sensor_id: str, start_ms: int, end_ms: int, opened: Opened) -> PointBatches:
        """A query for each batch of about PAGE_ROWS points."""
        page = _Page()
        opened(page.end)
        position, rows = start_ms, PAGE_ROWS
        while True:
            points = joined(list(self._query(sensor_id, position, end_ms, page.opened, rows)))
            if len(points) < rows:
                if len(points):
                    yield points
                return
            # Rows with the last timestamp may follow: without a unique key there may be several.
            if whole := int(points.ms.searchsorted(points.ms[-1])):
                position, rows = int(points.ms[-1]), PAGE_ROWS
                yield points[:whole]
            else:
                rows *= 2

    def _query(
        self, sensor_id: str, start_ms: int, end_ms: int, opened: Opened, rows: int | None = None
    ) -> PointBatches:
        """The points that one query finds, at most ``rows``."""
        o = self._options
        quality = f", {o.quality} AS quality" if o.quality else ""
        source = self._run(
            f"SELECT {o.time} AS ms, {o.value} AS value{quality} FROM {o.table} "
            f"WHERE {o.sensor} = ? AND {o.time} >= ? AND {o.time} <= ? ORDER BY {o.time}"
            + ("" if rows is None else f" LIMIT {rows}"),
            [sensor_id, start_ms, end_ms],
        )
        opened(source.close)
        try:
            for batch in source.batches():
                if batch.num_rows:
                    yield _points(batch)
        finally:
            source.close()

    def outline(self, sensor_id: str, start_ms: int, end_ms: int, most: int) -> tuple[Points, int]:
        return downsampled(self.scan(sensor_id, start_ms, end_ms), most)

    def close(self) -> None:
        pass

    def _rows(self, statement: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        source = self._run(statement, values)
        try:
            return [row for batch in source.batches() for row in batch.to_pylist()]
        finally:
            source.close()


class _Page:
    """The query that reads a page; ``end``, which another thread may call, ends it and each later one."""

    def __init__(self) -> None:
        self._close: Callable[[], None] = lambda: None
        self._ended = False

    def opened(self, close: Callable[[], None]) -> None:
        self._close = close
        if self._ended:
            close()

    def end(self) -> None:
        self._ended = True
        self._close()


def _points(batch: Any) -> Points:
    import pyarrow as pa

    from fluxport import compute as pc

    try:
        ms = batch.column("ms").cast(pa.int64()).to_numpy(zero_copy_only=False)
        values = batch.column("value").cast(pa.float64()).to_numpy(zero_copy_only=False)
        if "quality" not in batch.schema.names:
            return Points(ms, values, np.full(len(ms), GOOD, np.uint8))
        quality = pc.fill_null(batch.column("quality").cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        raise Broken(
            "The table of sensors does not have the types that series.remote requires: time in whole milliseconds, "
            "numbers as values, whole numbers as quality.",
            code="series_shape",
        ) from None
    return Points(ms, values, np.clip(quality, 0, QUALITY_MAX).astype(np.uint8))


def _elsewhere() -> Disabled:
    return Disabled(
        "The points of these sensors are in a database that another program fills; write them there.",
        code="series_read_only",
    )
