"""From a column definition to an Arrow type and the database's name of the type."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa

from fluxport.decimals import DecimalText
from fluxport.errors import QueryFailed
from fluxport.sources.mysql.definitions import (
    ENUM_FLAG,
    EXTENDED_FORMAT,
    EXTENDED_TYPE,
    SET_FLAG,
    Definition,
    Type,
)
from fluxport.stages import FIELD_KIND, FIELD_TYPE

# What a cell is, in either protocol.
Kind = Literal[
    "integer", "float", "bool", "decimal", "date", "datetime", "time", "text", "bytes", "bit", "bit_or_digits",
    "geometry", "hex", "null",
]  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One column: how its cells are read (``code``, ``kind``) and what they become (``arrow``)."""

    name: str
    code: int
    kind: Kind
    arrow: pa.DataType
    type_name: str
    json: bool = False

    @property
    def alike(self) -> Hashable:
        """Equal for columns whose cells are read alike."""
        return self.kind, self.arrow, None if self.kind in ("text", "bytes", "decimal") else (self.code, self.type_name)

    @property
    def field(self) -> pa.Field:
        metadata = {FIELD_TYPE: self.type_name.encode()}
        kind = "json" if self.json else {"time": "time", "geometry": "wkb"}.get(self.kind)
        if kind:
            metadata[FIELD_KIND] = kind.encode()
        return pa.field(self.name, self.arrow, metadata=metadata)


_INTEGERS: dict[int, tuple[str, pa.DataType, pa.DataType]] = {
    Type.TINY: ("tinyint", pa.int8(), pa.uint8()),
    Type.SHORT: ("smallint", pa.int16(), pa.uint16()),
    Type.INT24: ("mediumint", pa.int32(), pa.uint32()),
    Type.LONG: ("int", pa.int32(), pa.uint32()),
    Type.LONGLONG: ("bigint", pa.int64(), pa.uint64()),
    Type.YEAR: ("year", pa.uint16(), pa.uint16()),
}
_BLOBS = frozenset({Type.TINY_BLOB, Type.MEDIUM_BLOB, Type.LONG_BLOB, Type.BLOB})
_STRINGS = frozenset({Type.VARCHAR, Type.VAR_STRING, Type.STRING, Type.ENUM, Type.SET})


def column(
    definition: Definition, *, tinyint1_bool: bool = False, mariadb: bool = False, decimal_text: bool = False
) -> Column:
    """``tinyint1_bool``: TINYINT(1) is a boolean on this connection; ``decimal_text``: decimals are DecimalText.
    QueryFailed if the column cannot be decoded."""
    if mariadb and definition.code == Type.BIT and definition.expression:
        return _bit_expression(definition)
    if tinyint1_bool and definition.code == Type.TINY and definition.length == 1:
        return Column(definition.name, definition.code, "bool", pa.bool_(), "tinyint(1)")
    if mariadb and definition.narrow:
        # The type of the computation: the declared one is too narrow for the values of some expressions.
        return replace(_integer(replace(definition, code=Type.LONGLONG)), code=definition.code)
    made = _MAKERS.get(definition.code, _string)(definition)
    return replace(made, arrow=DecimalText(made.arrow)) if decimal_text and made.kind == "decimal" else made


def _integer(d: Definition) -> Column:
    name, signed, unsigned = _INTEGERS[d.code]
    if d.code == Type.TINY and d.length == 1:
        name = "tinyint(1)"
    if d.code != Type.YEAR and d.unsigned:
        name += " unsigned"
    return Column(d.name, d.code, "integer", unsigned if d.unsigned else signed, name)


def _float(d: Definition) -> Column:
    name, arrow = ("float", pa.float32()) if d.code == Type.FLOAT else ("double", pa.float64())
    return Column(d.name, d.code, "float", arrow, name + (" unsigned" if d.unsigned else ""))


def _decimal(d: Definition) -> Column:
    # The length includes the sign (unless unsigned) and the decimal point (if there is a scale).
    scale = min(d.decimals, 38)
    precision = min(max(d.length - (not d.unsigned) - (scale > 0), scale, 1), 76)
    arrow = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    return Column(
        d.name, d.code, "decimal", arrow, f"decimal({precision},{scale})" + (" unsigned" if d.unsigned else "")
    )


def _datetime(d: Definition) -> Column:
    digits = min(d.decimals, 6)  # 31, "not fixed", is read as 6
    unit = "s" if digits == 0 else "ms" if digits <= 3 else "us"
    suffix = f"({digits})" if digits else ""
    if d.code == Type.TIME:
        return Column(d.name, d.code, "time", pa.duration(unit), "time" + suffix)
    if d.code == Type.TIMESTAMP:
        return Column(d.name, d.code, "datetime", pa.timestamp(unit, "UTC"), "timestamp" + suffix)
    return Column(d.name, d.code, "datetime", pa.timestamp(unit), "datetime" + suffix)


def _date(d: Definition) -> Column:
    return Column(d.name, d.code, "date", pa.date32(), "date")


def _bit(d: Definition) -> Column:
    return Column(d.name, d.code, "bit", pa.uint64(), f"bit({d.length})")


DISTINGUISHABLE_BITS = 5  # the byte of such a number is below 48, the code of the digit 0


def _bit_expression(d: Definition) -> Column:
    """MariaDB sends a BIT computed by an expression (MAX, COALESCE) as digits or as bytes and does not say which."""
    if d.length > DISTINGUISHABLE_BITS:
        raise QueryFailed(
            f"Column {d.name!r} is a BIT({d.length}) computed by an expression, which MariaDB sends in an ambiguous "
            "form; CAST it AS UNSIGNED in the query.",
            code="ambiguous_type",
        )
    return replace(_bit(d), kind="bit_or_digits")


def _null(d: Definition) -> Column:
    return Column(d.name, d.code, "null", pa.null(), "null")


def _geometry(d: Definition) -> Column:
    return Column(d.name, d.code, "geometry", pa.utf8(), d.extended.get(EXTENDED_TYPE, "geometry"))


def _vector(d: Definition) -> Column:
    return Column(d.name, d.code, "hex", pa.utf8(), "vector")


def _string(d: Definition) -> Column:
    """Text and binary kinds; an unknown type code is read as bytes, which hold any value."""
    extended_type = d.extended.get(EXTENDED_TYPE, "")
    json = d.code == Type.JSON or d.extended.get(EXTENDED_FORMAT) == "json"
    if json:
        return Column(d.name, d.code, "text", pa.utf8(), "json", json=True)
    if extended_type in ("uuid", "inet6", "inet4"):
        return Column(d.name, d.code, "text", pa.utf8(), extended_type)
    if extended_type == "vector":
        return Column(d.name, d.code, "hex", pa.utf8(), extended_type)
    binary = d.binary or d.code not in _BLOBS | _STRINGS
    name = _string_name(d, binary=binary)
    return Column(d.name, d.code, "bytes" if binary else "text", pa.binary() if binary else pa.utf8(), name)


def _string_name(d: Definition, *, binary: bool) -> str:
    if d.flags & ENUM_FLAG or d.code == Type.ENUM:
        return "enum"
    if d.flags & SET_FLAG or d.code == Type.SET:
        return "set"
    if d.code in _BLOBS:
        size = d.characters
        kind = "tiny" if size <= 0xFF else "" if size <= 0xFFFF else "medium" if size <= 0xFFFFFF else "long"
        return kind + ("blob" if binary else "text")
    if d.code == Type.STRING:
        return f"{'binary' if binary else 'char'}({d.characters})"
    return f"{'varbinary' if binary else 'varchar'}({d.characters})"


_MAKERS: dict[int, Callable[[Definition], Column]] = {
    **dict.fromkeys(_INTEGERS, _integer),
    **dict.fromkeys((Type.FLOAT, Type.DOUBLE), _float),
    **dict.fromkeys((Type.DECIMAL, Type.NEWDECIMAL), _decimal),
    **dict.fromkeys((Type.DATE, Type.NEWDATE), _date),
    **dict.fromkeys((Type.DATETIME, Type.TIMESTAMP, Type.TIME), _datetime),
    Type.BIT: _bit,
    Type.NULL: _null,
    Type.GEOMETRY: _geometry,
    Type.VECTOR: _vector,
}


def schema_of(columns: list[Column]) -> pa.Schema:
    return pa.schema([c.field for c in columns])
