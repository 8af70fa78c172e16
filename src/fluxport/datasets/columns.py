"""Columns of a dataset: their types in the file, independent of the database's own types.

A value that the declared type cannot hold exactly fails the export: nothing is rounded, truncated or guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from fluxport.errors import QueryFailed
from fluxport.stages import FIELD_AS_TEXT, FIELD_FORMAT, FIELD_KIND, FIELD_TYPE, FIELD_WIDTH, Apply, Step

if TYPE_CHECKING:
    import pyarrow as pa

TYPE = re.compile(
    r"(?P<name>integer|number|text|boolean|json|binary)"
    r"|(?P<date>date)"
    r"|(?P<datetime>datetime|timestamp)(?:\((?P<digits>[036])\))?"
    r"|(?P<decimal>decimal)\((?P<precision>[1-9]\d?),\s*(?P<scale>\d\d?)\)"
)
TYPES_SHOWN = "integer, decimal(18,4), number, text, boolean, date, datetime(3), timestamp(3), json, binary"
_MOMENTS = ("epoch_s", "epoch_ms", "julian_day")
STORED = {"decimal": ("minor_units",), "date": _MOMENTS, "datetime": _MOMENTS}
_UNITS = {"0": "s", "3": "ms", "6": "us"}


@dataclass(frozen=True)
class Column:
    """``type`` matches TYPE; ``datetime`` is a wall-clock time, ``timestamp`` an instant, in UTC in the query's rows.

    ``stored`` gives the meaning of the query's numbers: units of the last decimal place, time since 1970, or Julian
    days, which SQLite counts from noon of 24 November 4714 BC.
    ``sortable``: callers may sort by it.
    """

    name: str
    type: str
    label: str | None = None
    width: float | None = None
    format: str | None = None
    as_text: bool = False
    stored: str | None = None
    sortable: bool = True

    @property
    def arrow(self) -> pa.DataType:
        import pyarrow as pa

        match = TYPE.fullmatch(self.type)
        assert match is not None
        if match["decimal"]:
            return pa.decimal128(int(match["precision"]), int(match["scale"]))
        if match["datetime"]:
            unit = _UNITS[match["digits"] or "0"]
            return pa.timestamp(unit, "UTC" if match["datetime"] == "timestamp" else None)
        return {
            "integer": pa.int64(),
            "number": pa.float64(),
            "boolean": pa.bool_(),
            "date": pa.date32(),
            "binary": pa.binary(),
        }.get(self.type, pa.utf8())

    @property
    def choice(self) -> dict[str, Any]:
        """The column in the form of the formats' option ``columns``."""
        settings = {"label": self.label, "width": self.width, "format": self.format, "as_text": self.as_text or None}
        return {"name": self.name} | {key: value for key, value in settings.items() if value is not None}

    @property
    def metadata(self) -> dict[bytes, bytes]:
        metadata = {
            FIELD_TYPE: self.type,
            FIELD_KIND: "json" if self.type == "json" else None,
            FIELD_WIDTH: self.width,
            FIELD_FORMAT: self.format,
            FIELD_AS_TEXT: 1 if self.as_text else None,
        }
        return {key: str(value).encode() for key, value in metadata.items() if value is not None}


def typed(dataset: str, columns: Sequence[Column]) -> Step:
    """A step that returns the declared columns, in their order and with their types.

    QueryFailed (``dataset_columns``) if the query returns other columns, (``dataset_type``) if a value does not fit.
    """

    def step(schema: pa.Schema) -> tuple[pa.Schema, Apply]:
        import pyarrow as pa

        names = [column.name for column in columns]
        if sorted(schema.names) != sorted(names):
            raise QueryFailed(
                f"The query of dataset {dataset!r} returns the columns {', '.join(schema.names)}; the declared columns "
                f"are {', '.join(names)}.",
                code="dataset_columns",
            )
        indices = [schema.names.index(name) for name in names]
        types = [
            _type_of(schema.field(index).type, column.arrow) for index, column in zip(indices, columns, strict=True)
        ]
        declared = pa.schema(
            [pa.field(column.name, kind, metadata=column.metadata) for column, kind in zip(columns, types, strict=True)]
        )

        def apply(batch: pa.RecordBatch) -> pa.RecordBatch:
            arrays = [
                array if array.type == kind else _exact(array, column, dataset)
                for array, column, kind in zip(map(batch.column, indices), columns, types, strict=True)
            ]
            return pa.RecordBatch.from_arrays(arrays, schema=declared)

        return declared, apply

    return step


def _type_of(source: pa.DataType, target: pa.DataType) -> pa.DataType:
    """``target``, except for decimals of just that type that the source has as text."""
    from fluxport.decimals import DecimalText

    return source if isinstance(source, DecimalText) and source.decimal == target else target


def _exact(array: pa.Array, column: Column, dataset: str) -> pa.Array:
    import pyarrow as pa

    from fluxport.decimals import exact

    array, target = exact(array), column.arrow
    if array.type == target:
        return array
    try:
        return _converter(array.type, target, column.stored)(array, target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, _Inexact):
        raise QueryFailed(
            f"Dataset {dataset!r}: column {column.name!r} has a value that is not exactly {column.type}; correct the "
            "query or the declared type.",
            code="dataset_type",
        ) from None


class _Inexact(Exception):
    """A value, or a whole type, that the declared type cannot hold exactly."""


_Convert: TypeAlias = "Callable[[pa.Array, pa.DataType], pa.Array]"


def _converter(source: pa.DataType, target: pa.DataType, stored: str | None) -> _Convert:
    import pyarrow as pa

    t = pa.types
    zone_lost = t.is_timestamp(source) and source.tz is not None and getattr(target, "tz", None) is None
    number = t.is_integer(source) or t.is_floating(source) or t.is_decimal(source)
    rules: tuple[tuple[bool, _Convert], ...] = (
        (t.is_null(source), _cast),
        (t.is_decimal(target) and t.is_floating(source), _never),
        (zone_lost, _never),
        (stored == "minor_units", _from_minor_units),
        (stored == "julian_day", _from_julian_days),
        (stored == "epoch_s" and t.is_floating(source), _from_real_seconds),
        (stored == "epoch_s", _from_epoch("s")),
        (stored == "epoch_ms", _from_epoch("ms")),
        (t.is_boolean(target), _to_boolean),
        (t.is_decimal(target) and t.is_integer(source), _integer_to_decimal),
        (t.is_string(target) and number, _number_to_text),
        (t.is_integer(target) and t.is_string(source), _text_to_integer),
        (t.is_timestamp(target) and t.is_string(source), _text_to_timestamp),
        (t.is_date(target) and t.is_string(source), _text_to_date),
        (t.is_date(target) and t.is_timestamp(source), _timestamp_to_date),
    )
    return next((convert for applies, convert in rules if applies), _cast)


def _cast(array: pa.Array, target: pa.DataType) -> pa.Array:
    return array.cast(target)


def _never(array: pa.Array, target: pa.DataType) -> pa.Array:
    raise _Inexact


def _from_minor_units(array: pa.Array, target: pa.DataType) -> pa.Array:
    import pyarrow as pa

    whole = array.cast(pa.decimal128(38, 0))
    widest = pa.decimal128(38, target.scale)
    return pa.Array.from_buffers(widest, len(whole), whole.buffers(), whole.null_count, whole.offset).cast(target)


def _from_epoch(unit: str) -> _Convert:
    import pyarrow as pa

    return lambda array, target: _moment(array.cast(pa.int64()).cast(pa.timestamp(unit)), target)


EPOCH_JULIAN_DAY, DAY_MS = 2440587.5, 86_400_000


def _from_julian_days(array: pa.Array, target: pa.DataType) -> pa.Array:
    import pyarrow as pa

    from fluxport import compute as pc

    # The difference of two such numbers is exact, the product is not.
    days = pc.subtract(array.cast(pa.float64()), EPOCH_JULIAN_DAY)
    return _milliseconds(pc.multiply(days, float(DAY_MS)), target)


def _from_real_seconds(array: pa.Array, target: pa.DataType) -> pa.Array:
    from fluxport import compute as pc

    return _milliseconds(pc.multiply(array, 1000.0), target)


def _milliseconds(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Doubles as moments, to the millisecond: a day or second with a fraction is a decimal that no double holds."""
    import pyarrow as pa

    from fluxport import compute as pc

    return _moment(pc.round(array).cast(pa.int64()).cast(pa.timestamp("ms")), target)


def _moment(moments: pa.Array, target: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return _timestamp_to_date(moments, target) if pa.types.is_date(target) else moments.cast(target)


def _to_boolean(array: pa.Array, target: pa.DataType) -> pa.Array:
    import pyarrow as pa

    from fluxport import compute as pc

    whole = array.cast(pa.int64())
    booleans = pc.equal(whole, 1)
    if pc.any(pc.not_equal(whole, pc.cast(booleans, pa.int64()))).as_py():
        raise _Inexact
    return booleans


def _number_to_text(array: pa.Array, _: pa.DataType) -> pa.Array:
    from fluxport.digits import number_text

    return number_text(array)


def _text_to_integer(array: pa.Array, target: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return array.cast(pa.decimal128(38, 0)).cast(target)


def _text_to_timestamp(array: pa.Array, target: pa.DataType) -> pa.Array:
    import pyarrow as pa

    try:
        return array.cast(pa.timestamp(target.unit)).cast(target)
    except pa.ArrowInvalid:
        if target.tz is None:
            raise
        return array.cast(target)  # each text has its zone


def _text_to_date(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Dates, also those with a time of midnight, as SQLite's and other functions write them."""
    import pyarrow as pa

    try:
        return array.cast(target)
    except pa.ArrowInvalid:
        return _timestamp_to_date(array.cast(pa.timestamp("us")), target)


def _integer_to_decimal(array: pa.Array, target: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return array.cast(pa.decimal128(20, 0)).cast(target)  # Arrow refuses the cast if the type could be too small


def _timestamp_to_date(array: pa.Array, target: pa.DataType) -> pa.Array:
    dates = array.cast(target)
    if not dates.cast(array.type).equals(array):
        raise _Inexact
    return dates
