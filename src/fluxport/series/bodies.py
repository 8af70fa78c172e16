"""Parses messages of points (JSON, CSV, an Arrow stream, the Historian's protobuf), completely and before any point is
stored.

Columns are ``timestamp_ms``, ``value`` and optionally ``quality`` (default 1, good); also ``sensor_id``, if a message
may hold several sensors, and always in the Historian's message. Refused (``bad_points``) names the problem, never the
value.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fluxport.errors import LimitExceeded, Refused
from fluxport.series.points import GOOD, QUALITY_MAX, Points, checked
from fluxport.strict_json import read_json

COLUMNS = ("timestamp_ms", "value", "quality")
JSON, CSV, ARROW = "application/json", "text/csv", "application/vnd.apache.arrow.stream"
PROTOBUF = "application/x-protobuf"  # one historian.v1.SensorData
HISTORIAN_SUBJECT = "data.raw"  # of NATS; its producers send protobuf without headers
_OTHER_NAMES = {"application/protobuf": PROTOBUF, "application/vnd.google.protobuf": PROTOBUF}
POINTS_MAX = 1_000_000
NAME_SHOWN_MAX = 60  # characters of a message's own text in an error

Columns = Mapping[str, Any]


def read_points(body: bytes, media_type: str, sensor_id: str, *, several: bool = False) -> list[tuple[str, Points]]:
    """The points of a message by sensor: ``sensor_id``, or with ``several`` those that the message names."""
    kind = points_type(media_type or JSON)
    columns = READERS[kind](body)
    if kind == PROTOBUF and not several:
        columns = _of_sensor(columns, sensor_id)
    named = several and "sensor_id" in columns
    known = ("sensor_id", *COLUMNS) if named else COLUMNS
    for name in columns:
        if name not in known:
            raise _bad(f"the column {name[:NAME_SHOWN_MAX]!r} is unknown; choose from {', '.join(known)}")
    for name in known:
        if name not in columns and name != "quality":
            raise _bad(f"the column {name!r} is missing")
    points = Points(_whole(columns["timestamp_ms"]), _values(columns["value"]), _quality(columns))
    if not len(points.ms) == len(points.values) == len(points.quality):
        raise _bad("the columns have different lengths")
    if len(points) > POINTS_MAX:
        raise LimitExceeded(f"One message holds at most {POINTS_MAX:,} points; send several.", code="too_many_points")
    if named:
        return _by_sensor(columns["sensor_id"], points)
    return [(sensor_id, checked(points))]


def points_type(media_type: str) -> str:
    """The type that a Content-Type names, without its parameters; Refused (``bad_points_type``) for one that holds no
    points."""
    name = media_type.partition(";")[0].strip().lower()
    name = _OTHER_NAMES.get(name, name)
    if name not in READERS:
        raise Refused(f"The type of points (Content-Type) must be one of {', '.join(READERS)}.", code="bad_points_type")
    return name


def _of_sensor(columns: Columns, sensor_id: str) -> Columns:
    """The columns without the sensor's id, which may be left out or must be this one."""
    if columns["sensor_id"] not in ([sensor_id], [""]):
        raise _bad("the message names another sensor than the request")
    return {name: column for name, column in columns.items() if name != "sensor_id"}


def _by_sensor(ids: Any, points: Points) -> list[tuple[str, Points]]:
    names = _list(ids)
    if len(names) != len(points) or not all(isinstance(name, str) for name in names):
        raise _bad("every point must name its sensor as text")
    sensors = sorted(set(names))
    numbers = {name: number for number, name in enumerate(sensors)}
    index = np.fromiter(map(numbers.__getitem__, names), np.intp, len(names))
    order = np.argsort(index, kind="stable")
    ends = np.cumsum(np.bincount(index, minlength=len(sensors))).tolist()
    own = [order[start:end] for start, end in itertools.pairwise([0, *ends])]
    return [(name, checked(points[rows])) for name, rows in zip(sensors, own, strict=True)]


def _json(body: bytes) -> Columns:
    """``{"points": [{...}, ...]}``, a list of points, one point, or an object of columns."""
    given = read_json(body, code="bad_points")
    if isinstance(given, dict) and set(given) == {"points"}:
        given = given["points"]
    if isinstance(given, dict) and not isinstance(given.get("timestamp_ms"), list):
        given = [given]
    if isinstance(given, dict):
        return given
    if not isinstance(given, list) or not all(isinstance(point, dict) for point in given):
        raise _bad('JSON is {"points": [{"timestamp_ms": 1700000000000, "value": 21.5}]}')
    names = list(dict.fromkeys(name for point in given for name in point)) or [*COLUMNS, "sensor_id"]
    columns = {name: [point.get(name) for point in given] for name in names}
    if "quality" in columns:
        columns["quality"] = [GOOD if q is None else q for q in columns["quality"]]
    return columns


_NO_VALUE = ["", "NaN", "nan"]


def _csv(body: bytes) -> Columns:
    import pyarrow as pa
    from pyarrow import csv

    types = {"timestamp_ms": pa.int64(), "value": pa.float64(), "quality": pa.int64(), "sensor_id": pa.string()}
    options = csv.ConvertOptions(column_types=types, null_values=_NO_VALUE, strings_can_be_null=False)
    try:
        columns = _table(csv.read_csv(io.BytesIO(body), convert_options=options))
        if "value" in columns and np.isinf(columns["value"].to_numpy()).any():
            _check_infinities(body)
        return columns
    except pa.ArrowInvalid:
        raise _bad("the CSV needs a header such as timestamp_ms,value,quality and numbers below it") from None


def _check_infinities(body: bytes) -> None:
    """Refused if an infinite value was a number beyond doubles, such as 1e999, and not written as ``inf``."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    options = csv.ConvertOptions(
        column_types={"value": pa.string()}, include_columns=["value"], null_values=_NO_VALUE, strings_can_be_null=True
    )
    texts = csv.read_csv(io.BytesIO(body), convert_options=options)["value"].combine_chunks()
    written_inf = pc.match_substring_regex(texts, r"^\s*[+-]?inf(inity)?\s*$", ignore_case=True)
    numbers = pc.fill_null(pc.cast(pc.if_else(written_inf, None, texts), pa.float64()), 0.0)
    if pc.any(pc.is_inf(numbers)).as_py():
        raise _too_large()


def _arrow(body: bytes) -> Columns:
    import pyarrow as pa

    from fluxport.arrow_ipc import opened, read

    with opened(body, "The body", "bad_points") as reader:
        return _table(pa.Table.from_batches(list(read(reader)), reader.schema))


def _protobuf(body: bytes) -> Columns:
    from fluxport.series.sensor_data import read_sensor_data

    try:
        return read_sensor_data(body)
    except ValueError:
        raise _bad("the body is not one message SensorData of historian.proto") from None


def _table(table: Any) -> Columns:
    try:
        names = table.column_names
    except UnicodeDecodeError:
        raise _bad("the name of a column is not text in UTF-8") from None
    if len(set(names)) != len(names):
        raise _bad("two columns have the same name")
    return dict(zip(names, table.columns, strict=True))


READERS: dict[str, Callable[[bytes], Columns]] = {JSON: _json, CSV: _csv, ARROW: _arrow, PROTOBUF: _protobuf}


def _list(column: Any) -> list[Any]:
    if isinstance(column, list):
        return column
    if hasattr(column, "to_pylist"):
        listed: list[Any] = column.to_pylist()
        return listed
    raise _bad("a column must be a list")


def _whole(column: Any) -> Any:
    """Whole numbers as int64; other types are refused."""
    if hasattr(column, "to_pylist"):
        import pyarrow as pa

        if column.null_count or not (pa.types.is_integer(column.type) or pa.types.is_timestamp(column.type)):
            raise _bad("'timestamp_ms' and 'quality' must be whole numbers")
        try:
            milliseconds = pa.timestamp("ms", column.type.tz) if pa.types.is_timestamp(column.type) else pa.int64()
            return column.cast(milliseconds).cast(pa.int64()).to_numpy()
        except pa.ArrowInvalid:
            raise _bad("a timestamp is not a whole number of milliseconds") from None
    if not all(type(item) is int and abs(item) < 1 << 63 for item in _list(column)):
        raise _bad("'timestamp_ms' and 'quality' must be whole numbers")
    return np.array(column, np.int64)


def _values(column: Any) -> Any:
    if hasattr(column, "to_pylist"):
        import pyarrow as pa

        kind = column.type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
            raise _bad("'value' must be a number or null")
        try:
            return column.cast(pa.float64()).to_numpy()
        except pa.ArrowInvalid:
            raise _bad("'value' must be a number that a double holds exactly") from None
    if not all(item is None or type(item) in (int, float) for item in _list(column)):
        raise _bad("'value' must be a number or null")
    try:
        return np.array([np.nan if item is None else item for item in column], np.float64)
    except OverflowError:
        raise _too_large() from None


def _quality(columns: Columns) -> Any:
    given = columns.get("quality")
    if given is None:
        return np.full(len(columns["timestamp_ms"]), GOOD, np.uint8)
    quality = _whole(given)
    if len(quality) and not (quality.min() >= 0 and quality.max() <= QUALITY_MAX):
        raise _bad(f"'quality' is 0 (bad), 1 (good) or another number up to {QUALITY_MAX}")
    return quality.astype(np.uint8)


def _too_large() -> Refused:
    return _bad("'value' must be a number within the range of a double")


def _bad(what: str) -> Refused:
    return Refused(f"The points cannot be read: {what}.", code="bad_points")
