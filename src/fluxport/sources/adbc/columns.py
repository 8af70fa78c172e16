"""A driver's Arrow data as the pipeline takes it: text that is UTF-8, and no value whose meaning only the driver knows.

PostgreSQL's driver names the types of columns in metadata. Its decimals are text, which becomes decimals where the
column declares a precision; its infinite dates are numbers that no date has, which are found by value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_strings import values_of
from fluxport.errors import Broken, Refused
from fluxport.findings import Findings
from fluxport.stages import FIELD_KIND, FIELD_TYPE

Convert = Callable[[pa.Array], pa.Array]
POSTGRES_TYPE, POSTGRES_MODIFIER = b"POSTGRESQL:type", b"POSTGRESQL:typmod"
# No Arrow array: the fork server imports this, and Arrow's first allocation reserves a gigabyte, which is all that a
# statement's process may have.
_NOT_FINITE = ("nan", "inf", "-inf", "NaN", "Infinity", "-Infinity")


@dataclass(frozen=True)
class Column:
    field: pa.Field
    convert: Convert | None = None  # None: the array is taken as it is


class Columns:
    """The columns of a result as the driver describes it; Refused for a type that cannot be read."""

    def __init__(self, schema: pa.Schema, findings: Findings) -> None:
        self._findings = findings
        self._columns = [self._column(field) for field in schema]
        self.schema = pa.schema([column.field for column in self._columns])

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [
            array if column.convert is None else column.convert(array)
            for column, array in zip(self._columns, batch.columns, strict=True)
        ]
        return self._valid(pa.record_batch(arrays, schema=self.schema))

    def _column(self, field: pa.Field) -> Column:
        kind, name = field.type, field.name
        told = (field.metadata or {}).get(POSTGRES_TYPE, b"").decode(errors="replace")
        if isinstance(kind, pa.OpaqueType):
            told = told or kind.type_name
            if not pa.types.is_string(kind.storage_type) or told == "money":
                raise _unreadable(name, told)
            if told == "numeric":
                return self._numeric(field)
            return Column(_field(name, kind.storage_type, told), _storage)
        if isinstance(kind, pa.JsonType):
            return Column(_field(name, pa.utf8(), told or "json", "json"), _text)
        if told == "money":
            raise _unreadable(name, told)
        if told and pa.types.is_time(kind):  # which may be 24:00:00
            return Column(_field(name, pa.duration("us"), told, "time"), _duration)
        if told and (pa.types.is_date32(kind) or pa.types.is_timestamp(kind)):
            return Column(_field(name, kind, told), lambda array: self._finite(name, array))
        return Column(field.with_metadata({**(field.metadata or {}), FIELD_TYPE: (told or str(kind)).encode()}))

    def _numeric(self, field: pa.Field) -> Column:
        decimal = _decimal(int(field.metadata.get(POSTGRES_MODIFIER, b"-1")))

        def convert(array: pa.Array) -> pa.Array:
            texts = _storage(array)
            special = pc.is_in(texts, pa.array(_NOT_FINITE))
            if count := pc.sum(special).as_py():
                self._findings.add("not_a_number", field.name, count)
                texts = pc.if_else(special, pa.scalar(None, pa.utf8()), texts)
            return texts if decimal is None else texts.cast(decimal)

        kind = None if decimal is not None else "number"
        return Column(_field(field.name, decimal or pa.utf8(), "numeric", kind), convert)

    def _finite(self, name: str, array: pa.Array) -> pa.Array:
        """PostgreSQL's dates with null for the infinite ones. The driver counts them from 1970, not from 2000 as the
        server does, which makes numbers before all dates of the extreme ones."""
        days = pa.types.is_date32(array.type)
        numbers = values_of(array, np.int32 if days else np.int64)
        low, infinite = (_DAYS_MIN, _INFINITE_DAYS) if days else (_MICROS_MIN, _INFINITE_MICROS)
        wrapped = (numbers < low) & array.is_valid().to_numpy(zero_copy_only=False)
        if not wrapped.any():
            return array
        endless = np.isin(numbers, infinite) & wrapped
        if (wrapped & ~endless).any():
            raise Broken(
                f"Column {name!r} has a date or time that is too late for the driver; CAST it AS text in the query.",
                code="timestamp_overflow",
            )
        self._findings.add("infinity_null", name, int(endless.sum()))
        return pc.if_else(pa.array(endless), pa.scalar(None, array.type), array)

    def _valid(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with U+FFFD for bytes that are not UTF-8."""
        try:
            batch.validate(full=True)
        except pa.ArrowInvalid:
            return pa.record_batch(
                [self._decoded(field.name, array) for field, array in zip(batch.schema, batch.columns, strict=True)],
                schema=batch.schema,
            )
        return batch

    def _decoded(self, name: str, array: pa.Array) -> pa.Array:
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            array.validate(full=True)
            return array
        raw = array.cast(pa.large_binary()).to_pylist()
        texts = [None if value is None else value.decode(errors="replace") for value in raw]
        changed = sum(text is not None and text.encode() != value for text, value in zip(texts, raw, strict=True))
        self._findings.add("invalid_text_replaced", name, changed)
        return pa.array(texts, array.type)


# What 2000-01-01 is in days and microseconds since 1970, added to the server's numbers of infinity; the sums wrap.
_DAYS, _MICROS = 10_957, 946_684_800_000_000
_INFINITE_DAYS = [-(1 << 31) + _DAYS - 1, -(1 << 31) + _DAYS]
_INFINITE_MICROS = [-(1 << 63) + _MICROS - 1, -(1 << 63) + _MICROS]
# The first day that PostgreSQL has, 4714-11-24 BC.
_DAYS_MIN = -2_440_588
_MICROS_MIN = _DAYS_MIN * 86_400_000_000


def _storage(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _text(array: pa.Array) -> pa.Array:
    return _storage(array).cast(pa.utf8())


def _duration(array: pa.Array) -> pa.Array:
    return array.cast(pa.int64()).cast(pa.duration("us"))


def _field(name: str, kind: pa.DataType, told: str, meaning: str | None = None) -> pa.Field:
    metadata = {FIELD_TYPE: told.encode()}
    if meaning:
        metadata[FIELD_KIND] = meaning.encode()
    return pa.field(name, kind, metadata=metadata)


def _decimal(modifier: int) -> pa.DataType | None:
    """The type of a NUMERIC with PostgreSQL's type modifier; None without a declared precision, or beyond 38 digits."""
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
    if modifier < 4 or scale > precision or precision > 38:
        return None
    return pa.decimal128(precision, scale)


def _unreadable(name: str, told: str) -> Refused:
    return Refused(
        f"Column {name!r} has the type {told}, whose bytes only the driver can read; CAST it AS text in the query.",
        code="unsupported_type",
    )
