"""Bound parameters: names to positions, values to the binary protocol. Values never become part of the text."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from fluxport.errors import Refused
from fluxport.sources.mysql.wire import lenenc, read_lenenc

# Tokens that may contain a ':' or '?' that is not a parameter come first; the connection has ANSI_QUOTES and
# NO_BACKSLASH_ESCAPES off (session.py), so that the server reads quotes and backslashes as this pattern does.
_TOKENS = re.compile(
    r"""
    (?P<skip>
        '(?:[^'\\]|\\.|'')*'?  | "(?:[^"\\]|\\.|"")*"?  | `(?:[^`]|``)*`?
      | /\*.*?(?:\*/|\Z)  | \#[^\n]*  | --(?=[\s]|\Z)[^\n]*
      | ::  | :=
    )
    | :(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<mark>\?)
    """,
    re.VERBOSE | re.DOTALL,
)


def positional(query: str, params: Sequence[Any] | Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
    """``query`` with ``:name`` replaced by ``?``, and the values in that order; a sequence passes unchanged.

    Refused if a name has no value, a value no name, or if ``?`` and names are mixed.
    """
    if not isinstance(params, Mapping):
        if isinstance(params, str | bytes):
            raise Refused("Parameters are a list of values or an object of names and values.", code="bad_params")
        return query, params
    values: list[Any] = []
    used: set[str] = set()

    def place(match: re.Match[str]) -> str:
        if match["mark"]:
            raise Refused("The query has '?' beside named parameters; use names only.", code="bad_params")
        name = match["name"]
        if name is None:
            return match[0]
        if name not in params:
            raise Refused(f"The query's parameter :{name} was given no value.", code="bad_params")
        used.add(name)
        values.append(params[name])
        return "?"

    text = _TOKENS.sub(place, query)
    for name in params:
        if name not in used:
            raise Refused(f"The parameter {name!r} does not occur in the query as :{name}.", code="bad_params")
    return text, values


NULL, TINY, DOUBLE, LONGLONG, DATE, TIME, DATETIME, NEWDECIMAL, BLOB, VAR_STRING = 6, 1, 5, 8, 10, 11, 12, 246, 252, 253
UNSIGNED = 0x8000
_TIME_END = timedelta(hours=839)


def encoded(params: Sequence[Any]) -> bytes:
    """The part of COM_STMT_EXECUTE after the iteration count.

    ``null bitmap (bit i: parameter i) | 01 | type 2 each | value each``; a NULL has a type and no value.
    """
    if not params:
        return b""
    nulls = bytearray((len(params) + 7) // 8)
    types, values = [], []
    for index, value in enumerate(params):
        if value is None:
            nulls[index // 8] |= 1 << (index % 8)
        kind, data = _encoded_value(value, index + 1)
        types.append(struct.pack("<H", kind))
        values.append(data)
    return bytes(nulls) + b"\x01" + b"".join(types) + b"".join(values)


def immediate(query: str, params: Sequence[Any]) -> bytes:
    """``query`` and its values as one statement of the text protocol: MariaDB's EXECUTE IMMEDIATE.

    Text is written as hex digits on both sides of USING, so that no value can become part of a query.
    """
    encoded_values = (_encoded_value(value, number) for number, value in enumerate(params, 1))
    values = ", ".join(_LITERALS[kind](data) for kind, data in encoded_values)
    return f"EXECUTE IMMEDIATE {_hex('_utf8mb4', query.encode())} USING {values}".encode()


def _hex(charset: str, data: bytes) -> str:
    return f"{charset} x'{data.hex()}'"


def _encoded_value(value: Any, number: int) -> tuple[int, bytes]:
    for kind, encode in _ENCODERS:
        if isinstance(value, kind):
            try:
                return encode(value)
            except _Unusable as reason:
                raise Refused(f"Parameter {number} is {reason}.", code="bad_params") from None
    raise Refused(f"Parameter {number} is a {type(value).__name__}, which cannot be bound.", code="bad_params")


class _Unusable(Exception):
    """A value that MySQL cannot represent; the text says why."""


def _encoded_int(value: int) -> tuple[int, bytes]:
    if -(1 << 63) <= value < 1 << 63:
        return LONGLONG, struct.pack("<q", value)
    if 0 <= value < 1 << 64:
        return LONGLONG | UNSIGNED, struct.pack("<Q", value)
    return NEWDECIMAL, _sized(b"%d" % value)


def _encoded_float(value: float) -> tuple[int, bytes]:
    if value - value != 0:
        raise _Unusable("NaN or infinite, which MySQL does not have")
    return DOUBLE, struct.pack("<d", value)


def _encoded_decimal(value: Decimal) -> tuple[int, bytes]:
    if not value.is_finite():
        raise _Unusable("NaN or infinite, which MySQL does not have")
    return NEWDECIMAL, _sized(format(value, "f").encode())


def _encoded_text(value: str) -> tuple[int, bytes]:
    try:
        return VAR_STRING, _sized(value.encode())
    except UnicodeEncodeError:
        raise _Unusable("text with a lone surrogate, which is not a character") from None


def _encoded_datetime(value: datetime) -> tuple[int, bytes]:
    # The session's time zone is UTC: a zoned value is compared as its instant.
    utc = value.astimezone(UTC) if value.tzinfo else value
    clock = struct.pack("<BBBI", utc.hour, utc.minute, utc.second, utc.microsecond)
    return DATETIME, b"\x0b" + _ymd(utc) + clock


def _encoded_time(value: time) -> tuple[int, bytes]:
    if value.tzinfo is not None:
        raise _Unusable("a time of day with a time zone, which MySQL does not have")
    return _encoded_timedelta(
        timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
    )


def _encoded_timedelta(value: timedelta) -> tuple[int, bytes]:
    size = abs(value)
    if size >= _TIME_END:
        raise _Unusable("a time beyond 838:59:59, the largest that MySQL has")
    hours, rest = divmod(size.seconds, 3600)
    fields = (value < timedelta(0), size.days, hours, rest // 60, rest % 60, size.microseconds)
    return TIME, b"\x0c" + struct.pack("<BIBBBI", *fields)


def _sql_double(data: bytes) -> str:
    digits = repr(struct.unpack("<d", data)[0])
    return digits if "e" in digits else digits + "e0"


def _sql_decimal(data: bytes) -> str:
    digits = _unsized(data).decode()
    return digits if "." in digits else digits + "."


def _sql_datetime(data: bytes) -> str:
    year, month, day, hour, minute, second, micros = struct.unpack("<HBBBBBI", data[1:])
    return f"TIMESTAMP'{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}'"


def _sql_date(data: bytes) -> str:
    year, month, day = struct.unpack("<HBB", data[1:])
    return f"DATE'{year:04}-{month:02}-{day:02}'"


def _sql_time(data: bytes) -> str:
    negative, days, hours, minutes, seconds, micros = struct.unpack("<BIBBBI", data[1:])
    return f"TIME'{'-' * negative}{days * 24 + hours:02}:{minutes:02}:{seconds:02}.{micros:06}'"


def _unsized(data: bytes) -> bytes:
    size, at = read_lenenc(data, 0)
    return data[at : at + size]


def _ymd(value: date) -> bytes:
    return struct.pack("<HBB", value.year, value.month, value.day)


def _sized(data: bytes) -> bytes:
    return lenenc(len(data)) + data


_LITERALS: dict[int, Callable[[bytes], str]] = {
    NULL: lambda _: "NULL",
    TINY: lambda data: "TRUE" if data[0] else "FALSE",
    LONGLONG: lambda data: str(int.from_bytes(data, "little", signed=True)),
    LONGLONG | UNSIGNED: lambda data: str(int.from_bytes(data, "little")),
    DOUBLE: _sql_double,
    NEWDECIMAL: _sql_decimal,
    VAR_STRING: lambda data: _hex("_utf8mb4", _unsized(data)),
    BLOB: lambda data: _hex("_binary", _unsized(data)),
    DATETIME: _sql_datetime,
    DATE: _sql_date,
    TIME: _sql_time,
}

# In this order: a bool is an int, a datetime is a date.
_ENCODERS: tuple[tuple[type | tuple[type, ...], Callable[[Any], tuple[int, bytes]]], ...] = (
    (type(None), lambda _: (NULL, b"")),
    (bool, lambda value: (TINY, bytes([value]))),
    (int, _encoded_int),
    (float, _encoded_float),
    (Decimal, _encoded_decimal),
    (str, _encoded_text),
    ((bytes, bytearray, memoryview), lambda value: (BLOB, _sized(bytes(value)))),
    (datetime, _encoded_datetime),
    (date, lambda value: (DATE, b"\x04" + _ymd(value))),
    (time, _encoded_time),
    (timedelta, _encoded_timedelta),
)
