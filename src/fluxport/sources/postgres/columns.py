"""PostgreSQL's types and their modifiers as Arrow types, and how their cells are sent.

A type that numpy can decode is sent in its binary form. Text is sent as it is. An array is sent as JSON, which other
programs read. Of every other type (ranges, intervals, addresses, composites, ...) the server sends the text that it
would print.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from fluxport.decimals import DecimalText
from fluxport.stages import FIELD_KIND, FIELD_TYPE

# What a cell is.
Kind = Literal["integer", "float", "bool", "date", "timestamp", "time", "uuid", "text", "bytes", "jsonb", "numeric"]

BOOL, BYTEA, INT8, INT2, INT4, OID, JSON = 16, 17, 20, 21, 23, 26, 114
FLOAT4, FLOAT8, MONEY, DATE, TIME, TIMESTAMP, TIMESTAMPTZ = 700, 701, 790, 1082, 1083, 1114, 1184
NUMERIC, UUID, JSONB = 1700, 2950, 3802
# pg_proc's textsend, unknownsend, namesend, bpcharsend, varcharsend, enum_send, json_send: the functions of types whose
# binary form is the text that they print.
TEXT_SENDERS = frozenset({2415, 2417, 2423, 2431, 2433, 3533, 324})
ARRAY_SENDER = 2401

_FIXED: dict[int, tuple[Kind, int, pa.DataType]] = {
    BOOL: ("bool", 1, pa.bool_()),
    INT2: ("integer", 2, pa.int16()),
    INT4: ("integer", 4, pa.int32()),
    INT8: ("integer", 8, pa.int64()),
    OID: ("integer", 4, pa.uint32()),
    FLOAT4: ("float", 4, pa.float32()),
    FLOAT8: ("float", 8, pa.float64()),
    DATE: ("date", 4, pa.date32()),
    UUID: ("uuid", 16, pa.utf8()),
}


@dataclass(frozen=True)
class Column:
    """One column: how its cells are sent (``kind``, and ``width`` bytes, 0 where that varies) and what they become
    (``arrow``). ``sent`` is the expression for a column that is not sent as it is, with ``{}`` for its name."""

    name: str
    kind: Kind
    arrow: pa.DataType
    type_name: str
    width: int = 0
    meaning: str | None = None
    sent: str | None = None

    @property
    def alike(self) -> Hashable:
        """Equal for columns whose cells are read alike."""
        return self.kind, self.arrow, self.width, self.meaning == "number"

    @property
    def field(self) -> pa.Field:
        metadata = {FIELD_TYPE: self.type_name.encode()}
        if self.meaning:
            metadata[FIELD_KIND] = self.meaning.encode()
        return pa.field(self.name, self.arrow, metadata=metadata)


# concat() prints a value as the server does, unlike a cast to text, which types may define otherwise (inet). A
# composite of nulls IS NULL, but is distinct from it.
_PRINTED = "CASE WHEN {0} IS DISTINCT FROM NULL THEN pg_catalog.concat({0}) END"
_ARRAY = "pg_catalog.array_to_json({})"
# How many digits of a money are its fraction depends on the server's lc_monetary; the cast applies it.
_MONEY = "{}::pg_catalog.numeric"


def column(name: str, oid: int, modifier: int, type_name: str, sender: int, *, decimal_text: bool = False) -> Column:
    """``sender`` is the type's send function; ``decimal_text``: decimals are DecimalText. NUMERIC without a declared
    scale, which may differ from row to row, is numbers as text."""
    if oid in _FIXED:
        kind, width, arrow = _FIXED[oid]
        return Column(name, kind, arrow, type_name, width)
    unit = "s" if modifier == 0 else "ms" if 0 < modifier <= 3 else "us"
    if oid in (TIMESTAMP, TIMESTAMPTZ):
        zone = "UTC" if oid == TIMESTAMPTZ else None
        return Column(name, "timestamp", pa.timestamp(unit, zone), type_name, 8)
    if oid == TIME:
        return Column(name, "time", pa.duration(unit), type_name, 8, "time")
    if oid == NUMERIC:
        return _numeric(name, _decimal(modifier), type_name, decimal_text=decimal_text)
    if oid == MONEY:
        return Column(name, "numeric", pa.utf8(), type_name, meaning="number", sent=_MONEY)
    if oid == BYTEA:
        return Column(name, "bytes", pa.binary(), type_name)
    if oid == JSONB:
        return Column(name, "jsonb", pa.utf8(), type_name, meaning="json")
    meaning = "json" if oid == JSON or sender == ARRAY_SENDER else None
    sent = _ARRAY if sender == ARRAY_SENDER else None if sender in TEXT_SENDERS else _PRINTED
    return Column(name, "text", pa.utf8(), type_name, meaning=meaning, sent=sent)


def _numeric(name: str, decimal: pa.DataType | None, type_name: str, *, decimal_text: bool) -> Column:
    if decimal is None:
        return Column(name, "numeric", pa.utf8(), type_name, meaning="number")
    return Column(name, "numeric", DecimalText(decimal) if decimal_text else decimal, type_name)


def _decimal(modifier: int) -> pa.DataType | None:
    if modifier < 4:
        return None
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
    scale = scale - 0x800 if scale > 1000 else scale  # eleven bits with a sign
    if scale < 0:
        precision, scale = precision - scale, 0
    precision = max(precision, scale)
    if precision > 76:
        return None
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
