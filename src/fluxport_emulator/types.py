"""MySQL's column types: their codes in the protocol, and how DuckDB prepares values for the two row formats.

A type is named by its MySQL declaration ("bigint unsigned", "varchar(255)", "datetime(3)"). For the text format DuckDB
returns every value but a blob as MySQL's text, which its parallel kernels produce faster than any later step could; for
the binary format it returns the one Arrow type that ``Layout`` supports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from fluxport_emulator import wire

NOT_NULL, PRIMARY_KEY, BLOB_FLAG, UNSIGNED, BINARY_FLAG, NO_DEFAULT = 1, 2, 16, 32, 128, 4096

# MySQL prints 5 rather than 5.0, 1e16 rather than 1e+16, and has no infinities.
DOUBLE_AS_TEXT = (
    "CASE WHEN {0} = 0 THEN replace(CAST({0} AS VARCHAR), '0.0', '0') "
    "WHEN {0} = trunc({0}) AND abs({0}) < 1e15 THEN CAST(CAST({0} AS BIGINT) AS VARCHAR) "
    "WHEN abs({0}) < 1e15 THEN CAST({0} AS VARCHAR) "
    "WHEN isfinite({0}) THEN replace(CAST({0} AS VARCHAR), 'e+', 'e') END"
)


class Layout(Enum):
    """The layout of a value in a binary row."""

    FIXED = "fixed"  # a number of the Arrow column's own width
    DATETIME = "datetime"  # timestamp('us')
    DATE = "date"  # date32
    TIME = "time"  # time64('us')
    BYTES = "bytes"  # a length and as many bytes


@dataclass(frozen=True)
class ColumnType:
    """``text`` and ``binary`` are DuckDB expressions that prepare the column ``{0}``."""

    declared: str
    code: int
    length: int
    text: str
    binary: str
    layout: Layout = Layout.BYTES
    charset: int = wire.BINARY
    flags: int = 0
    decimals: int = 0

    @property
    def data_type(self) -> str:
        """The bare name, as in information_schema."""
        return re.split(r"[ (]", self.declared, maxsplit=1)[0]

    @property
    def is_text(self) -> bool:
        return self.charset != wire.BINARY


# name: (wire code, display length, display length when unsigned, DuckDB type, DuckDB type when unsigned)
_INTEGERS = {
    "tinyint": (1, 4, 3, "TINYINT", "UTINYINT"),
    "smallint": (2, 6, 5, "SMALLINT", "USMALLINT"),
    "mediumint": (9, 9, 8, "INTEGER", "UINTEGER"),
    "int": (3, 11, 10, "INTEGER", "UINTEGER"),
    "bigint": (8, 20, 20, "BIGINT", "UBIGINT"),
}
# name: (wire code, most bytes)
_BYTES = {
    "tinyblob": (252, 255),
    "blob": (252, 65535),
    "mediumblob": (252, 16777215),
    "longblob": (252, 4294967295),
}
_TEXTS = {
    "tinytext": (252, 1020),
    "text": (252, 262140),
    "mediumtext": (252, 67108860),
    "longtext": (252, 4294967295),
}
_DECLARATION = re.compile(r"(\w+)(?:\((\d+)(?:,\s*(\d+))?\))?( unsigned)?")


def column_type(declared: str) -> ColumnType:
    """The type of a MySQL declaration; ValueError if the emulator does not support it."""
    match = _DECLARATION.fullmatch(declared.strip().lower())
    if match is None:
        raise ValueError(f"{declared!r} is not a MySQL column type")
    name, first, second, unsigned = match.groups()
    size, scale = int(first or 0), int(second or 0)
    declared = match.group(0)
    if name in _INTEGERS:
        return _integer(declared, name, bool(unsigned), size)
    if name in ("float", "double"):
        code, length = (4, 12) if name == "float" else (5, 22)
        text = DOUBLE_AS_TEXT
        binary = f"CASE WHEN isfinite({{0}}) THEN CAST({{0}} AS {name}) END"
        return ColumnType(declared, code, length, text, binary, Layout.FIXED, flags=BINARY_FLAG, decimals=31)
    if name == "decimal":
        sign_and_point = (0 if unsigned else 1) + (1 if scale else 0)
        flags = BINARY_FLAG | (UNSIGNED if unsigned else 0)
        return _as_text(declared, 246, (size or 10) + sign_and_point, flags=flags, decimals=scale)
    if name in ("datetime", "timestamp", "date", "time"):
        return _temporal(declared, name, size)
    if name == "year":
        year = "CAST({0} AS USMALLINT)"
        return ColumnType(declared, 13, 4, f"CAST({year} AS VARCHAR)", year, Layout.FIXED, flags=BINARY_FLAG | UNSIGNED)
    return _string(declared, name, size)


def _integer(declared: str, name: str, unsigned: bool, width: int) -> ColumnType:
    code, length, length_unsigned, signed_type, unsigned_type = _INTEGERS[name]
    number = f"CAST({{0}} AS {unsigned_type if unsigned else signed_type})"
    return ColumnType(
        declared,
        code,
        width or (length_unsigned if unsigned else length),
        f"CAST({number} AS VARCHAR)",
        number,
        Layout.FIXED,
        flags=BINARY_FLAG | (UNSIGNED if unsigned else 0),
    )


_WHOLE = {0: "second", 3: "milliseconds", 6: "microseconds"}


def _temporal(declared: str, name: str, digits: int) -> ColumnType:
    """A date or time; both formats show as many digits of a second as the type declares, whatever the values are."""
    if name == "date":
        return ColumnType(declared, 10, 10, "CAST({0} AS VARCHAR)", "CAST({0} AS DATE)", Layout.DATE, flags=BINARY_FLAG)
    if digits not in _WHOLE:
        raise ValueError(f"{declared!r}: a second has 0, 3 or 6 digits here")
    fraction = digits + 1 if digits else 0
    if name == "time":
        time = f"CAST(date_trunc('{_WHOLE[digits]}', DATE '2000-01-01' + CAST({{0}} AS TIME)) AS TIME)"
        text = f"left(strftime(DATE '2000-01-01' + CAST({{0}} AS TIME), '%H:%M:%S.%f'), {8 + fraction})"
        return ColumnType(declared, 11, 10 + fraction, text, time, Layout.TIME, flags=BINARY_FLAG, decimals=digits)
    timestamp = "CAST({0} AS TIMESTAMP)"
    if digits < 6:
        timestamp = f"date_trunc('{_WHOLE[digits]}', {timestamp})"
    text = f"left(strftime({timestamp}, '%Y-%m-%d %H:%M:%S.%f'), {19 + fraction})"
    if not digits:
        text = f"CAST({timestamp} AS VARCHAR)"
    code = 12 if name == "datetime" else 7
    return ColumnType(
        declared, code, 19 + fraction, text, timestamp, Layout.DATETIME, flags=BINARY_FLAG, decimals=digits
    )


def _string(declared: str, name: str, size: int) -> ColumnType:
    if name == "json":
        return _as_text(declared, 245, 4294967295, flags=BINARY_FLAG | BLOB_FLAG)
    if name == "null":
        return _as_text(declared, 6, 0, flags=BINARY_FLAG)
    if name in _BYTES:
        code, length = _BYTES[name]
        return ColumnType(declared, code, length, "{0}", "{0}", flags=BINARY_FLAG | BLOB_FLAG)
    if name in ("varbinary", "binary"):
        return ColumnType(declared, 253 if name == "varbinary" else 254, size or 1, "{0}", "{0}", flags=BINARY_FLAG)
    if name in _TEXTS:
        code, length = _TEXTS[name]
        return _as_text(declared, code, length, flags=BLOB_FLAG, charset=wire.UTF8MB4)
    if name in ("varchar", "char", "enum", "set"):
        return _as_text(declared, 253 if name == "varchar" else 254, 4 * (size or 1), charset=wire.UTF8MB4)
    raise ValueError(f"{declared!r} is not a MySQL column type")


def _as_text(
    declared: str, code: int, length: int, *, flags: int = 0, charset: int = wire.BINARY, decimals: int = 0
) -> ColumnType:
    text = "CAST({0} AS VARCHAR)"
    return ColumnType(declared, code, length, text, text, charset=charset, flags=flags, decimals=decimals)


LONGEST_VARCHAR = "varchar(16383)"
_OF_DUCKDB = {
    "boolean": "tinyint(1)",
    "tinyint": "tinyint",
    "utinyint": "tinyint unsigned",
    "smallint": "smallint",
    "usmallint": "smallint unsigned",
    "integer": "int",
    "uinteger": "int unsigned",
    "bigint": "bigint",
    "ubigint": "bigint unsigned",
    "hugeint": "decimal(39,0)",
    "uhugeint": "decimal(39,0)",
    "float": "float",
    "double": "double",
    "date": "date",
    "time": "time(6)",
    "timestamp": "datetime(6)",
    "timestamp_s": "datetime",
    "timestamp_ms": "datetime(3)",
    "timestamp_ns": "datetime(6)",
    "timestamp with time zone": "datetime(6)",
    "blob": "longblob",
    "uuid": "char(36)",
    "json": "json",
    "null": "null",
}


def of_duckdb(name: str) -> ColumnType:
    """The MySQL type of a DuckDB type by its printed name; text if MySQL has no equivalent (lists, intervals)."""
    lowered = name.lower().strip('"')
    if lowered.startswith("decimal("):
        return column_type(lowered.replace(" ", ""))
    return column_type(_OF_DUCKDB.get(lowered, LONGEST_VARCHAR))
