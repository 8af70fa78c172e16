"""Arrow types of rows of Python objects.

The driver declares a type where it knows one, else the first rows decide. What a column's type does not hold in a later
row is an error; only text and exact numbers in text (FIELD_KIND "number") hold anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa

from fluxport.errors import QueryFailed
from fluxport.findings import Findings
from fluxport.stages import FIELD_KIND, FIELD_TYPE

NUMBER = "number"
_INFERRED: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.utf8(),
    bytes: pa.binary(),
    bytearray: pa.binary(),
    date: pa.date32(),
    datetime: pa.timestamp("us"),
    time: pa.duration("us"),
    timedelta: pa.duration("us"),
}


# The types of cells that an Arrow type holds: Arrow itself would make 1 of 1.5, and a date of a number.
_HELD: tuple[tuple[Callable[[Any], bool], frozenset[type]], ...] = (
    (pa.types.is_boolean, frozenset({bool})),
    (pa.types.is_integer, frozenset({int})),
    (pa.types.is_floating, frozenset({float, int})),
    (pa.types.is_decimal, frozenset({Decimal, int})),
    (pa.types.is_binary, frozenset({bytes, bytearray})),
    (pa.types.is_date, frozenset({date})),
    (pa.types.is_timestamp, frozenset({datetime})),
    (pa.types.is_duration, frozenset({timedelta})),
)


@dataclass(frozen=True)
class Column:
    name: str
    arrow: pa.DataType
    kind: str | None = None

    @property
    def field(self) -> pa.Field:
        metadata = {FIELD_TYPE: (self.kind or str(self.arrow)).encode()}
        if self.kind:
            metadata[FIELD_KIND] = self.kind.encode()
        return pa.field(self.name, self.arrow, metadata=metadata)

    def array(self, cells: Sequence[Any], findings: Findings) -> pa.Array:
        """QueryFailed for a cell that the type does not hold."""
        if self.kind == NUMBER or pa.types.is_decimal(self.arrow):
            cells = self._finite(cells, findings)
        if self.kind == NUMBER:
            cells = [None if cell is None else _digits(cell) for cell in cells]
        elif self.kind == "time":
            cells = [_since_midnight(cell) if type(cell) is time else cell for cell in cells]
        elif pa.types.is_string(self.arrow):
            cells = self._texts(cells, findings)
        if self._holds(cells):
            with suppress(pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
                return pa.array(cells, self.arrow)
        raise QueryFailed(
            f"Column {self.name!r} has a value that its type {self.arrow} does not hold; CAST it in the query.",
            code="unstable_types",
        )

    def _holds(self, cells: Sequence[Any]) -> bool:
        held = next((types for is_kind, types in _HELD if is_kind(self.arrow)), None)
        return held is None or set(map(type, cells)) <= held | {type(None)}

    def _finite(self, cells: Sequence[Any], findings: Findings) -> Sequence[Any]:
        special = sum(type(cell) is Decimal and not cell.is_finite() for cell in cells)
        if not special:
            return cells
        findings.add("not_a_number", self.name, special)
        return [None if type(cell) is Decimal and not cell.is_finite() else cell for cell in cells]

    def _texts(self, cells: Sequence[Any], findings: Findings) -> Sequence[Any]:
        kinds = set(map(type, cells)) - {str, type(None), UUID}
        if not kinds and UUID not in set(map(type, cells)):
            return cells
        findings.add("mixed_types_as_text", self.name, sum(type(cell) in kinds for cell in cells))
        return [cell if cell is None or type(cell) is str else _as_text(cell) for cell in cells]


def decided(name: str, declared: pa.DataType | None, cells: Sequence[Any]) -> Column:
    """The column for a declared type and the cells of the first rows."""
    kinds = set(map(type, cells)) - {type(None)}
    if Decimal in kinds or (declared is not None and pa.types.is_decimal(declared)):
        fits = declared is not None and pa.types.is_decimal(declared) and kinds <= {Decimal}
        return Column(name, declared) if fits else Column(name, pa.utf8(), NUMBER)
    if declared is not None:
        return Column(name, declared, "time" if pa.types.is_duration(declared) else None)
    if len(kinds) != 1:
        return Column(name, pa.utf8())
    arrow = _INFERRED.get(kinds.pop(), pa.utf8())
    if pa.types.is_duration(arrow):
        return Column(name, arrow, "time")
    values = [cell for cell in cells if cell is not None]
    if pa.types.is_int64(arrow) and max(values) >= 1 << 63 and min(values) >= 0:
        return Column(name, pa.uint64())
    if pa.types.is_timestamp(arrow) and all(value.tzinfo is not None for value in values):
        return Column(name, pa.timestamp("us", "UTC"))
    return Column(name, arrow)


class Decoder:
    """Rows as record batches of ``columns``."""

    def __init__(self, columns: Sequence[Column], findings: Findings) -> None:
        self.schema = pa.schema([column.field for column in columns])
        self._columns = columns
        self._findings = findings

    def batch(self, rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
        cells = zip(*rows, strict=True)
        arrays = [column.array(values, self._findings) for column, values in zip(self._columns, cells, strict=True)]
        return pa.record_batch(arrays, schema=self.schema)


def _digits(cell: Any) -> str:
    return format(cell, "f") if isinstance(cell, Decimal) else str(cell)


def _since_midnight(cell: time) -> timedelta:
    return timedelta(hours=cell.hour, minutes=cell.minute, seconds=cell.second, microseconds=cell.microsecond)


_TEXTS: dict[type, Callable[[Any], str]] = {bytes: bytes.hex, bytearray: bytearray.hex, float: repr}


def _as_text(cell: Any) -> str:
    return _TEXTS.get(type(cell), str)(cell)
