"""Column definitions of a result as the server sends them, without Arrow.

Separate from columns.py because it is needed before the query has been sent, when nothing heavy is imported yet.
::

    catalog | schema | table | org table | name | org name | [MariaDB: extended] | 0c | charset 2 | length 4 |
    type 1 | flags 2 | decimals 1 | 00 00          names and extended are length-encoded, numbers little-endian
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from fluxport.errors import QueryFailed
from fluxport.sources.mysql.wire import read_lenenc


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


@dataclass(frozen=True)
class Definition:
    """The used fields of a column definition packet; ``extended`` is MariaDB's own name or format of the type."""

    name: str
    charset: int
    length: int
    code: int
    flags: int
    decimals: int
    extended: dict[int, str]
    table: bytes = b""  # the query's alias; empty for a computed column

    @property
    def unsigned(self) -> bool:
        return bool(self.flags & UNSIGNED_FLAG)

    @property
    def expression(self) -> bool:
        """Whether MariaDB computed the values rather than read them from a column, also in a view."""
        return bool(self.flags & BINARY_FLAG)

    @property
    def narrow(self) -> bool:
        """Whether the binary protocol may be too narrow for the value; see :func:`need_text`."""
        return self.expression and self.code in (Type.TINY, Type.SHORT, Type.INT24, Type.LONG)

    @property
    def binary(self) -> bool:
        return self.charset == BINARY_CHARSET

    @property
    def characters(self) -> int:
        """The declared length in characters; the packet has it in bytes of the connection's character set."""
        return self.length // (1 if self.binary else 3 if self.charset in UTF8MB3_CHARSETS else 4)


EXTENDED_TYPE, EXTENDED_FORMAT = 0, 1


# MariaDB declares INT for these, and for operators on bytes and bits, even where the result does not fit.
_WIDER = re.compile(r"\b(DIV|ORD|PERIOD_ADD|PERIOD_DIFF|ROUND|TRUNCATE|0[xb][0-9a-f]+|[xb]')", re.IGNORECASE)


def need_text(definitions: list[Definition], query: str) -> bool:
    """Whether, on MariaDB, only the text protocol gives exact rows; QueryFailed if neither protocol does.

    MariaDB computes integer expressions with 64 bits but declares some of them narrower (``10 DIV 0.001``, ``ORD``,
    ``COALESCE(year, tinyint)``). The binary protocol then cuts them to the declared width; the text protocol has all
    digits, but at most six of a FLOAT. If the result also has a FLOAT, a computed INT is trusted as declared unless the
    query has one of the operations that exceed it.
    """
    narrow = [d for d in definitions if d.narrow]
    single = next((d.name for d in definitions if d.code == Type.FLOAT), None)
    if not narrow or single is None:
        return bool(narrow)
    risky = narrow if _WIDER.search(query) else [d for d in narrow if d.table or d.code != Type.LONG]
    if risky:
        raise QueryFailed(
            f"Column {single!r} is a FLOAT and column {risky[0].name!r} an integer computed by an expression, and "
            f"MariaDB sends only one of the two exactly; CAST {single!r} AS DOUBLE in the query.",
            code="ambiguous_type",
        )
    return False


def parse_definition(packet: bytes, *, mariadb_extended: bool) -> Definition:
    """IndexError or ValueError if the packet is truncated."""
    at = 0
    name = table = b""
    for position in range(6):  # catalog, schema, table, original table, name, original name
        size, at = read_lenenc(packet, at)
        if position == 2:
            table = packet[at : at + size]
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
    _, at = read_lenenc(packet, at)  # the length of the fixed part
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
        table=table,
    )
