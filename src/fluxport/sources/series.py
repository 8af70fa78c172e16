"""Sensors as a source: the points of a time range as record batches, raw or one value per interval, one sensor after
the other (long) or one column per sensor (wide)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from fluxport.errors import Refused
from fluxport.sources.base import BaseSource
from fluxport.stages import FIELD_FORMAT, FIELD_WIDTH, Batches

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from fluxport.series import PointBatches, Points, SensorStore

SENSORS_MAX = 200
OPEN_MAX = 8  # sensors side by side, up to which each is one query of a remote store, open to the end
ROWS_AHEAD = 1 << 18  # of all sensors together, in one step of the wide layout
POINTS_LEAST, POINTS_ENOUGH = 256, 1024  # of a sensor; with fewer, more are loaded before the next step
BATCH_BYTES = 4 << 20
KEYS = ("sensor_id", "start_ts", "end_ts", "layout", "aggregate", "interval", "time")
# Bounds of an open range: wider than any calendar.
BEGIN_MS, END_MS = -(10**15), 10**15
# Points of a chart: by default, and at most.
POINTS_USUAL, POINTS_MOST = 1000, 20_000
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True)
class Selection:
    """Which sensors, from when to when (milliseconds since 1970, both included), and in which form."""

    sensors: tuple[str, ...]
    start_ms: int | None = None
    end_ms: int | None = None
    several: bool = False  # rows have a sensor_id column
    wide: bool = False
    aggregate: str | None = None
    interval_ms: int = 0
    timestamps: bool = False  # instead of milliseconds

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Selection:
        """Parse the object ``source`` of an export request; Refused with the reason."""
        for name in given:
            if name not in KEYS:
                near = difflib.get_close_matches(str(name), KEYS, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(KEYS)}."
                raise Refused(f"Unknown key {name!r} in source; {hint}", code="unknown_key")
        sensors, several = _sensors(given.get("sensor_id"))
        start, end = (_milliseconds(given.get(name), name) for name in ("start_ts", "end_ts"))
        if start is not None and end is not None and start > end:
            raise Refused("'start_ts' is after 'end_ts'; both are included in the range.", code="bad_range")
        layout = _one_of(given, "layout", ("long", "wide"))
        aggregate, interval_ms = _aggregate(given)
        return cls(
            sensors,
            start,
            end,
            several=several,
            wide=layout == "wide",
            aggregate=aggregate,
            interval_ms=interval_ms,
            timestamps=_one_of(given, "time", ("ms", "datetime")) == "datetime",
        )

    @property
    def stem(self) -> str:
        """The download file name without its suffix."""
        sensors = self.sensors[0] if len(self.sensors) == 1 else f"{len(self.sensors)}-sensors"
        since = "begin" if self.start_ms is None else str(self.start_ms)
        until = "now" if self.end_ms is None else str(self.end_ms)
        return re.sub(r"[{}]", "_", f"{sensors}_{since}_{until}")

    def scan(self, store: SensorStore, sensor_id: str, opened: Callable[[Callable[[], None]], None]) -> PointBatches:
        batches = store.scan(sensor_id, *self._bounds, opened, beside=self.wide and len(self.sensors) > OPEN_MAX)
        if self.aggregate is None:
            return batches
        from fluxport.series.aggregate import aggregated

        return aggregated(batches, self.aggregate, self.interval_ms)

    def chart(self, store: SensorStore, most: int) -> tuple[Points, int]:
        """At most ``most`` points that draw the line of the one sensor, and how many points the range has."""
        from fluxport.series.downsample import LEAST, downsample

        (sensor_id,) = self.sensors
        points, count = store.outline(sensor_id, *self._bounds, max(most, LEAST))
        return downsample(points, most), count

    @property
    def _bounds(self) -> tuple[int, int]:
        return BEGIN_MS if self.start_ms is None else self.start_ms, END_MS if self.end_ms is None else self.end_ms


def points_wanted(number: float) -> int:
    """How many points a chart of the Historian's APIs has at most; its clients send any number, such as a width in
    pixels."""
    wanted = int(min(number, POINTS_MOST))
    return wanted if wanted > 0 else POINTS_USUAL


def _sensors(given: Any) -> tuple[tuple[str, ...], bool]:
    if isinstance(given, str) and given:
        return (given,), False
    if not isinstance(given, list | tuple) or not given or not all(isinstance(s, str) and s for s in given):
        raise Refused("'sensor_id' is the name of a sensor or a list of them.", code="bad_source")
    if len(given) > SENSORS_MAX:
        raise Refused(f"One export holds at most {SENSORS_MAX} sensors.", code="too_many_sensors")
    return tuple(dict.fromkeys(given)), True


def _milliseconds(value: Any, name: str) -> int | None:
    """Milliseconds since 1970 from a number, its text, or an RFC 3339 timestamp; None if not given."""
    if value is None or value == "":
        return None
    text = str(value).strip()
    if isinstance(value, int | str) and not isinstance(value, bool) and re.fullmatch(r"[+-]?\d{1,15}", text):
        return int(text)
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            time = None
        if time is not None and time.tzinfo is not None:
            return round(time.timestamp() * 1000)
    raise Refused(
        f"{name!r} is milliseconds since 1970 or a time with its zone, such as 2026-01-31T23:59:59Z.", code="bad_range"
    )


def _one_of(given: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> str:
    value = given.get(name, choices[0])
    if value not in choices:
        raise Refused(f"{name!r} is one of: {', '.join(choices)}.", code="bad_source")
    return str(value)


def _aggregate(given: Mapping[str, Any]) -> tuple[str | None, int]:
    from fluxport.series.aggregate import AGGREGATES

    aggregate, interval = given.get("aggregate"), given.get("interval")
    if aggregate is None and interval is None:
        return None, 0
    if aggregate not in AGGREGATES:
        raise Refused(f"'aggregate' is one of: {', '.join(AGGREGATES)}; with an 'interval'.", code="bad_source")
    match = re.fullmatch(r"(\d{1,15})(ms|s|m|h|d)?", str(interval)) if not isinstance(interval, bool) else None
    interval_ms = int(match[1]) * _UNITS_MS[match[2] or "ms"] if match else 0
    if interval_ms < 1:
        raise Refused("'interval' is milliseconds or like 10s, 15m, 1h, 1d.", code="bad_source")
    return aggregate, interval_ms


class SeriesSource(BaseSource):
    """The points of a selection. An ``owned`` store is closed with it."""

    def __init__(self, store: SensorStore, selection: Selection, *, owned: bool = False) -> None:
        super().__init__()
        self._store = store
        self._owned = owned
        self._selection = selection
        self._cancels: list[Callable[[], None]] = []
        self._batches: Batches | None = None

    def open(self) -> pa.Schema:
        selection = self._selection
        for sensor_id in selection.sensors:
            self._store.sensor(sensor_id)
        schema = _schema(selection)
        scans = [partial(selection.scan, self._store, s, self._cancels.append) for s in selection.sensors]
        self._batches = (_wide if selection.wide else _long)(scans, selection, schema)
        return schema

    def read(self) -> pa.RecordBatch | None:
        assert self._batches is not None
        return next(self._batches, None)

    def interrupt(self) -> None:
        for end in list(self._cancels):
            end()

    def free(self) -> None:
        if self._batches is not None:
            self._batches.close()

    def close(self) -> None:
        super().close()
        if self._owned:  # even if nothing was read from it
            self._store.close()


def _schema(selection: Selection) -> pa.Schema:
    import pyarrow as pa

    wide = {FIELD_WIDTH: b"20"}
    if selection.timestamps:
        time = pa.field("timestamp", pa.timestamp("ms", "UTC"), metadata=wide)
    else:
        time = pa.field("timestamp_ms", pa.int64(), metadata=wide | {FIELD_FORMAT: b"0"})
    if selection.wide:
        columns = [
            field
            for sensor in selection.sensors
            for field in (pa.field(sensor, pa.float64()), pa.field(f"{sensor}_quality", pa.uint8()))
        ]
        return pa.schema([time, *columns])
    named = [pa.field("sensor_id", pa.string(), metadata=wide)] if selection.several else []
    return pa.schema([*named, time, pa.field("value", pa.float64()), pa.field("quality", pa.uint8())])


def _long(scans: Sequence[Callable[[], PointBatches]], selection: Selection, schema: pa.Schema) -> Batches:
    """One sensor after the other."""
    import pyarrow as pa

    time = schema.field("timestamp" if selection.timestamps else "timestamp_ms").type
    for sensor, scan in zip(selection.sensors, scans, strict=True):
        with closing(scan()) as batches:
            for points in batches:
                columns = [pa.array(points.ms).cast(time), _numbers(points.values), pa.array(points.quality)]
                if selection.several:
                    columns.insert(0, pa.repeat(sensor, len(points)))
                yield pa.record_batch(columns, schema=schema)


def _wide(scans: Sequence[Callable[[], PointBatches]], selection: Selection, schema: pa.Schema) -> Batches:
    """All sensors side by side, a row for every timestamp at which any of them has a point.

    Rows are emitted up to the horizon, the time up to which the points of every sensor are loaded::

        sensor a  x  x x   x|  x x
        sensor b    x     x |x  x      loaded points; the rest of each sensor is still in the store
                            ^ horizon

    A step costs as much per sensor as hundreds of points. So a sensor with few points left loads its next batch first,
    and one that has ended does not limit the horizon.
    """
    import numpy as np

    loading = [_Loading(scan()) for scan in scans]
    most = max(POINTS_ENOUGH, ROWS_AHEAD // len(loading))
    rows = max(1, BATCH_BYTES // (8 + 9 * len(loading)))
    try:
        while True:
            for each in loading:
                each.fill()
            parts = [part for each in loading for part in each.parts]
            if not parts:
                return
            horizon = min(each.horizon(most) for each in loading)
            ms = np.unique(np.concatenate([part.between(BEGIN_MS, horizon).ms for part in parts]))
            for start in range(0, len(ms), rows):
                own = ms[start : start + rows]
                yield _side_by_side(own, [each.taken(int(own[-1])) for each in loading], schema)
            del parts  # what has been used is freed before more is loaded
    finally:
        for each in loading:
            each.batches.close()


class _Loading:
    """A sensor whose points are being read; ``parts`` are those loaded and not yet used."""

    def __init__(self, batches: PointBatches) -> None:
        self.batches = batches
        self.parts: list[Points] = []
        self._ended = False
        self._least = 1

    def fill(self) -> None:
        """Load the next batch if few points are left, fewer than half the last batch, or points of one time only."""
        from fluxport.series.points import EMPTY, joined

        while not self._ended and (sum(map(len, self.parts)) < self._least or self._last_ms() == self.parts[0].ms[0]):
            if self.parts:
                self.parts[-1] = joined([EMPTY, self.parts[-1]])  # a copy, that its batch may be freed
            more = next(self.batches, None)
            if more is None:
                self._ended = True
            elif len(more):
                self._least = min(max(POINTS_LEAST, len(more) // 2), POINTS_ENOUGH)
                self.parts.append(more)

    def horizon(self, most: int) -> int:
        """The time of the first ``most`` points, up to which all points are loaded: others may follow that have the
        time of the last one. END_MS if none will follow."""
        loaded = END_MS if self._ended else self._last_ms() - 1
        for part in self.parts:
            if len(part) >= most:
                return min(int(part.ms[most - 1]), loaded)
            most -= len(part)
        return loaded

    def _last_ms(self) -> int:
        return int(self.parts[-1].ms[-1])

    def taken(self, until: int) -> Points:
        """The points up to a time, inclusive, which are no longer among the loaded ones."""
        from fluxport.series.points import joined

        counts = [int(part.ms.searchsorted(until, "right")) for part in self.parts]
        taken = [part[:count] for part, count in zip(self.parts, counts, strict=True) if count]
        rest = [part[count:] for part, count in zip(self.parts, counts, strict=True)]
        self.parts = [part for part in rest if len(part)]
        return joined(taken)


def _side_by_side(ms: NDArray[np.int64], parts: list[Points], schema: pa.Schema) -> pa.RecordBatch:
    """A row for each of ``ms``, which has all timestamps of the points."""
    import numpy as np
    import pyarrow as pa

    columns = [pa.array(ms).cast(schema.field(0).type)]
    for points in parts:
        at = np.searchsorted(ms, points.ms)
        values, quality, missing = np.full(len(ms), np.nan), np.zeros(len(ms), np.uint8), np.ones(len(ms), np.bool_)
        values[at], quality[at], missing[at] = points.values, points.quality, False
        columns += [_numbers(values), pa.array(quality, mask=missing)]
    return pa.record_batch(columns, schema=schema)


def _numbers(values: Any) -> pa.Array:
    """Floats, null where there is no value."""
    import pyarrow as pa

    return pa.array(values, from_pandas=True)
