"""Column definitions of a result: from the packet to an Arrow type and the database's name of the type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal

import pyarrow as pa

from fluxport.errors import QueryFailed
from fluxport.sources.mysql.wire import read_lenenc
from fluxport.stages import FIELD_KIND, FIELD_TYPE


class Type(IntEnum):
    """Type codes of the protocol."""

    DECIMAL = 0
    TINY = 1
    SHORT = 2
    LONG = 3
    FLOAT = 4
    DOUBLE = 5
    NULL = 6
    TIMESTAMP = 7
    LONGLONG = 8
    INT24 = 9
    DATE = 10
    TIME = 11
    DATETIME = 12
    YEAR = 13
    NEWDATE = 14
    VARCHAR = 15
    BIT = 16
    VECTOR = 242
    JSON = 245
    NEWDECIMAL = 246
    ENUM = 247
    SET = 248
    TINY_BLOB = 249
    MEDIUM_BLOB = 250
    LONG_BLOB = 251
    BLOB = 252
    VAR_STRING = 253
    STRING = 254
    GEOMETRY = 255


UNSIGNED_FLAG, BINARY_FLAG, ENUM_FLAG, SET_FLAG = 0x20, 0x80, 0x100, 0x800
BINARY_CHARSET = 63
UTF8MB3_CHARSETS = frozenset({33, 76, 83, 223, *range(192, 216)})

# What a cell is, whichever protocol brings it.
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
    def field(self) -> pa.Field:
        metadata = {FIELD_TYPE: self.type_name.encode()}
        told = "json" if self.json else {"time": "time", "geometry": "wkb"}.get(self.kind)
        if told:
            metadata[FIELD_KIND] = told.encode()
        return pa.field(self.name, self.arrow, metadata=metadata)


@dataclass(frozen=True)
class Definition:
    """What matters here of a column definition packet; ``extended`` is MariaDB's own name or format of the type."""

    name: str
    charset: int
    length: int
    code: int
    flags: int
    decimals: int
    extended: dict[int, str]

    @property
    def unsigned(self) -> bool:
        return bool(self.flags & UNSIGNED_FLAG)

    @property
    def binary(self) -> bool:
        return self.charset == BINARY_CHARSET

    @property
    def characters(self) -> int:
        """The declared length in characters; the packet has it in bytes of the connection's character set."""
        return self.length // (1 if self.binary else 3 if self.charset in UTF8MB3_CHARSETS else 4)


EXTENDED_TYPE, EXTENDED_FORMAT = 0, 1


def parse_definition(packet: bytes, *, mariadb_extended: bool) -> Definition:
    """IndexError or ValueError if the packet is cut off."""
    at = 0
    name = b""
    for position in range(6):  # catalog, schema, table, original table, name, original name
        size, at = read_lenenc(packet, at)
        if position == 4:
            name = packet[at : at + size]
        at += size
    extended: dict[int, str] = {}
    if mariadb_extended:
        size, at = read_lenenc(packet, at)
        until = at + size
        while at < until:
            key = packet[at]
            size, at = read_lenenc(packet, at + 1)
            extended[key] = packet[at : at + size].decode("ascii", "replace")
            at += size
    _, at = read_lenenc(packet, at)  # the length of what follows
    if len(packet) < at + 10:
        raise ValueError("short column definition")
    return Definition(
        name=name.decode("utf-8", "replace"),
        charset=int.from_bytes(packet[at : at + 2], "little"),
        length=int.from_bytes(packet[at + 2 : at + 6], "little"),
        code=packet[at + 6],
        flags=int.from_bytes(packet[at + 7 : at + 9], "little"),
        decimals=packet[at + 9],
        extended=extended,
    )


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


def column(definition: Definition, *, tinyint1_bool: bool = False, mariadb: bool = False) -> Column:
    """``tinyint1_bool``: the connection says that TINYINT(1) is a boolean. QueryFailed for what cannot be read."""
    if mariadb and definition.code == Type.BIT and definition.flags & BINARY_FLAG:
        return _bit_expression(definition)
    if tinyint1_bool and definition.code == Type.TINY and definition.length == 1:
        return Column(definition.name, definition.code, "bool", pa.bool_(), "tinyint(1)")
    return _MAKERS.get(definition.code, _string)(definition)


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
    # The length counts a sign (unless unsigned) and a point (unless without fraction).
    scale = min(d.decimals, 38)
    precision = min(max(d.length - (not d.unsigned) - (scale > 0), scale, 1), 76)
    arrow = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    return Column(
        d.name, d.code, "decimal", arrow, f"decimal({precision},{scale})" + (" unsigned" if d.unsigned else "")
    )


def _moment(d: Definition) -> Column:
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


BITS_TOLD_APART = 5  # the bytes of such numbers are less than 48, the first of the digits


def _bit_expression(d: Definition) -> Column:
    """MariaDB sends a BIT that an expression made (MAX, COALESCE) as digits or as bytes, and does not tell which."""
    if d.length > BITS_TOLD_APART:
        raise QueryFailed(
            f"Column {d.name!r} is a BIT({d.length}) made by an expression, which MariaDB sends in a way that cannot "
            "be read for certain; CAST it AS UNSIGNED in the query.",
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
    """Text and binary kinds; an unknown type code is bytes, which holds whatever it is."""
    told = d.extended.get(EXTENDED_TYPE, "")
    json = d.code == Type.JSON or d.extended.get(EXTENDED_FORMAT) == "json"
    if json:
        return Column(d.name, d.code, "text", pa.utf8(), "json", json=True)
    if told in ("uuid", "inet6", "inet4"):
        return Column(d.name, d.code, "text", pa.utf8(), told)
    if told == "vector":
        return Column(d.name, d.code, "hex", pa.utf8(), told)
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
    **dict.fromkeys((Type.DATETIME, Type.TIMESTAMP, Type.TIME), _moment),
    Type.BIT: _bit,
    Type.NULL: _null,
    Type.GEOMETRY: _geometry,
    Type.VECTOR: _vector,
}


def schema_of(columns: list[Column]) -> pa.Schema:
    return pa.schema([c.field for c in columns])
