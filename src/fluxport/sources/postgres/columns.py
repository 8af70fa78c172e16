"""PostgreSQL's types and their modifiers as Arrow types, and COPY's CSV as record batches.

pyarrow's CSV reader parses a block of whole rows at once. A block that it refuses (infinity, NaN in decimals, years
other than four digits, bytes that are not UTF-8) is parsed again column by column, more slowly; values that Arrow
cannot hold become null with a finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from fluxport import compute as pc
from fluxport.errors import Broken, Unavailable
from fluxport.findings import Findings
from fluxport.stages import FIELD_KIND, FIELD_TYPE


@dataclass(frozen=True)
class Column:
    name: str
    arrow: pa.DataType
    type_name: str
    kind: str | None = None

    @property
    def field(self) -> pa.Field:
        metadata = {FIELD_TYPE: self.type_name.encode()}
        if self.kind:
            metadata[FIELD_KIND] = self.kind.encode()
        return pa.field(self.name, self.arrow, metadata=metadata)

    @property
    def parsed(self) -> pa.DataType:
        """The type that the CSV reader produces; :meth:`finished` converts it to the column's."""
        if pa.types.is_duration(self.arrow):
            return pa.time64("us")
        if pa.types.is_binary(self.arrow) or pa.types.is_decimal256(self.arrow):
            return pa.utf8()
        return self.arrow

    def finished(self, parsed: pa.Array) -> pa.Array:
        if pa.types.is_duration(self.arrow):
            return parsed.cast(pa.int64()).cast(pa.duration("us")).cast(self.arrow)
        if pa.types.is_binary(self.arrow):
            return _unhexed(parsed)
        return parsed if parsed.type == self.arrow else parsed.cast(self.arrow)

    def slow(self, cells: pa.Array, findings: Findings) -> pa.Array:
        """Convert the bytes of the column's cells, for values that the CSV reader refuses."""
        for kind, parse in _SLOW:
            if kind(self.arrow):
                return parse(cells, self, findings)
        return self.finished(cells.cast(pa.utf8()).cast(self.parsed))


BOOL, BYTEA, CHAR1, NAME, INT8, INT2, INT4, TEXT, OID, JSON = 16, 17, 18, 19, 20, 21, 23, 25, 26, 114
FLOAT4, FLOAT8, BPCHAR, VARCHAR, DATE, TIME, TIMESTAMP, TIMESTAMPTZ = 700, 701, 1042, 1043, 1082, 1083, 1114, 1184
NUMERIC, JSONB = 1700, 3802

_PLAIN: dict[int, pa.DataType] = {
    BOOL: pa.bool_(),
    BYTEA: pa.binary(),
    INT2: pa.int16(),
    INT4: pa.int32(),
    INT8: pa.int64(),
    OID: pa.uint32(),
    FLOAT4: pa.float32(),
    FLOAT8: pa.float64(),
    DATE: pa.date32(),
}


def column(name: str, oid: int, modifier: int, type_name: str) -> Column:
    """Types without an exact Arrow form (bit, inet, ranges, arrays, NUMERIC without a scale, ...) become text."""
    if oid in _PLAIN:
        return Column(name, _PLAIN[oid], type_name)
    if oid == NUMERIC:
        return Column(name, _decimal(modifier), type_name)
    unit = "s" if modifier == 0 else "ms" if 0 < modifier <= 3 else "us"
    if oid in (TIMESTAMP, TIMESTAMPTZ):
        return Column(name, pa.timestamp(unit, "UTC" if oid == TIMESTAMPTZ else None), type_name)
    if oid == TIME:
        return Column(name, pa.duration(unit), type_name, "time")
    return Column(name, pa.utf8(), type_name, "json" if oid in (JSON, JSONB) else None)


def _decimal(modifier: int) -> pa.DataType:
    if modifier < 4:
        return pa.utf8()
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
    scale = scale - 0x800 if scale > 1000 else scale  # eleven bits with a sign
    if scale < 0:
        precision, scale = precision - scale, 0
    precision = max(precision, scale)
    if precision > 76:
        return pa.utf8()
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


class Decoder:
    """Decodes blocks of whole CSV rows to record batches of ``columns``."""

    def __init__(self, columns: Sequence[Column], findings: Findings) -> None:
        self.schema = pa.schema([column.field for column in columns])
        self._columns = columns
        self._findings = findings
        self._names = [f"c{index}" for index in range(len(columns))]

    def batch(self, block: bytes) -> pa.RecordBatch:
        """Unavailable if the rows do not match the columns."""
        try:
            parsed = self._read(block, [column.parsed for column in self._columns])
            arrays = [column.finished(array) for column, array in zip(self._columns, parsed, strict=True)]
        except pa.ArrowInvalid:
            try:
                cells = self._read(block, [pa.binary()] * len(self._columns))
                arrays = [c.slow(array, self._findings) for c, array in zip(self._columns, cells, strict=True)]
            except (ValueError, OverflowError) as error:  # Arrow's own errors are ValueErrors
                raise unreadable() from error
        return pa.record_batch(arrays, schema=self.schema)

    def _read(self, block: bytes, types: Sequence[pa.DataType]) -> list[pa.Array]:
        if block.startswith(b"\xef\xbb\xbf"):
            block = b"\xef\xbb\xbf" + block  # the reader drops a leading BOM, which here is part of a value
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            pyarrow.csv.ReadOptions(column_names=self._names, use_threads=False, block_size=len(block) + 1),
            pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            pyarrow.csv.ConvertOptions(
                column_types=dict(zip(self._names, types, strict=True)),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                null_values=[""],
                true_values=["t"],
                false_values=["f"],
            ),
        )
        return [_whole(chunked) for chunked in table.columns]


def unreadable() -> Unavailable:
    return Unavailable("The rows of the database cannot be read; the result cannot be trusted.", code="source_broken")


def _whole(chunked: pa.ChunkedArray) -> pa.Array:
    return chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()


_NIBBLES = np.full(256, 255, np.uint8)
_NIBBLES[[*b"0123456789abcdef"]] = np.arange(16)


def _unhexed(text: pa.Array) -> pa.Array:
    r"""bytea's text ``\x0aff`` as bytes."""
    if not len(text):
        return pa.array([], pa.binary())
    if pc.all(pc.starts_with(text, "\\x")).as_py() is False:
        raise pa.ArrowInvalid("not bytea as PostgreSQL writes it")
    text = pc.utf8_slice_codeunits(text, 2)
    _, offsets, data = text.buffers()
    ends = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
    digits = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data else np.empty(0, np.uint8)
    nibbles = _NIBBLES[digits]
    if (np.diff(ends) & 1).any() or nibbles.max(initial=0) > 15:
        raise pa.ArrowInvalid("not bytea as PostgreSQL writes it")
    raw = (nibbles[0::2] << 4) | nibbles[1::2]
    array = pa.Array.from_buffers(
        pa.binary(), len(text), [None, pa.py_buffer(((ends - ends[0]) // 2).astype(np.int32)), pa.py_buffer(raw)]
    )
    return pc.if_else(text.is_valid(), array, pa.scalar(None, pa.binary())) if text.null_count else array


# --- values that the CSV reader refuses

_SPECIAL = {b"infinity", b"-infinity", b"NaN", b"Infinity", b"-Infinity"}
_TIMESTAMP = re.compile(
    rb"(?P<year>\d+)-(?P<month>\d\d)-(?P<day>\d\d)"
    rb"(?: (?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6}))?)?(?:\+00)?(?P<bc> BC)?"
)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6}


def _without_special(cells: pa.Array, column: Column, code: str, findings: Findings) -> list[bytes | None]:
    values: list[bytes | None] = cells.to_pylist()
    special = sum(value in _SPECIAL for value in values)
    findings.add(code, column.name, special)
    return [None if value in _SPECIAL else value for value in values] if special else values


def _slow_decimal(cells: pa.Array, column: Column, findings: Findings) -> pa.Array:
    return (
        pa.array(_without_special(cells, column, "not_a_number", findings), pa.binary())
        .cast(pa.utf8())
        .cast(column.arrow)
    )


def _slow_date(cells: pa.Array, column: Column, findings: Findings) -> pa.Array:
    values = _without_special(cells, column, "infinity_null", findings)
    return pa.array([None if v is None else _micros(v) // 86_400_000_000 for v in values], pa.int32()).cast(pa.date32())


def _slow_timestamp(cells: pa.Array, column: Column, findings: Findings) -> pa.Array:
    values = _without_special(cells, column, "infinity_null", findings)
    divisor = 10**6 // _PER_SECOND[column.arrow.unit]
    counts = [None if v is None else _micros(v) // divisor for v in values]
    if max((count for count in counts if count is not None), default=0) >= 1 << 63:
        raise Broken(
            f"Column {column.name!r} has a timestamp after 294247-01-10, the last that 64 bits of microseconds hold; "
            "CAST it AS text in the query.",
            code="timestamp_overflow",
        )
    return pa.array(counts, pa.int64()).cast(column.arrow)


def _slow_time(cells: pa.Array, column: Column, findings: Findings) -> pa.Array:
    divisor = 10**6 // _PER_SECOND[column.arrow.unit]
    values = [None if v is None else _micros(b"1970-01-01 " + v) // divisor for v in cells.to_pylist()]
    return pa.array(values, pa.int64()).cast(column.arrow)


def _slow_text(cells: pa.Array, column: Column, findings: Findings) -> pa.Array:
    try:
        return cells.cast(pa.utf8())
    except pa.ArrowInvalid:
        values = [None if v is None else v.decode(errors="replace") for v in cells.to_pylist()]
        changed = sum(v is not None and v.encode() != raw for v, raw in zip(values, cells.to_pylist(), strict=True))
        findings.add("invalid_text_replaced", column.name, changed)
        return pa.array(values, pa.utf8())


def _micros(text: bytes) -> int:
    """Microseconds since 1970 of a date or timestamp as PostgreSQL writes it, in any of its years."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise pa.ArrowInvalid("not a timestamp as PostgreSQL writes it")
    part = match.groupdict(b"0")
    clock = int(part["hour"]), int(part["minute"]), int(part["second"])
    if clock > (24, 0, 0) or max(clock[1:]) > 59:
        raise pa.ArrowInvalid("not a timestamp as PostgreSQL writes it")
    year = int(part["year"])
    if match["bc"]:
        year = 1 - year
    # Python's calendar ends at 9999; the Gregorian one repeats every 400 years, which are 146,097 days.
    cycles = (year - 2000) // 400
    days = date(year - 400 * cycles, int(part["month"]), int(part["day"])).toordinal() - 719_163 + 146_097 * cycles
    seconds = (clock[0] * 60 + clock[1]) * 60 + clock[2]
    fraction = int(part["fraction"].ljust(6, b"0"))
    return (days * 86_400 + seconds) * 10**6 + fraction


def _slow_bool(cells: pa.Array, column: Column, findings: Findings) -> pa.Array:
    try:
        return pa.array([None if v is None else _BOOLEANS[v] for v in cells.to_pylist()], pa.bool_())
    except KeyError:
        raise pa.ArrowInvalid("not a boolean as PostgreSQL writes it") from None


_BOOLEANS = {b"t": True, b"f": False}
_Slow = Callable[[pa.Array, Column, Findings], pa.Array]
_SLOW: tuple[tuple[Callable[[Any], bool], _Slow], ...] = (
    (pa.types.is_boolean, _slow_bool),
    (pa.types.is_decimal, _slow_decimal),
    (pa.types.is_date, _slow_date),
    (pa.types.is_timestamp, _slow_timestamp),
    (pa.types.is_duration, _slow_time),
    (pa.types.is_string, _slow_text),
)
