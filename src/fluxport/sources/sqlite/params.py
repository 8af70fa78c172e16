"""Bound parameters: names to positions, values to SQLite's types."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from fluxport.errors import Refused

TOKENS = re.compile(
    r"""
    (?P<skip>
        '(?:[^']|'')*'?  | "(?:[^"]|"")*"?  | `(?:[^`]|``)*`?  | \[[^\]]*\]?
      | /\*.*?(?:\*/|\Z)  | --[^\n]*
    )
    | :(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<mark>\?)
    | (?P<bad>(?!))
    """,
    re.VERBOSE | re.DOTALL,
)


def bound(value: Any, number: int) -> Any:
    """``value`` as one of SQLite's types; Refused with its number if none can hold it.

    Dates and times become the text that SQLite's own functions produce, zoned ones in UTC, without trailing zeros of
    the fraction: such text sorts before every longer form of the same instant.
    """
    for kind, convert in _CONVERTERS:
        if isinstance(value, kind):
            converted = convert(value)
            if converted is _UNUSABLE:
                raise Refused(f"Parameter {number} is a value that SQLite cannot hold.", code="bad_params")
            return converted
    raise Refused(f"Parameter {number} is a {type(value).__name__}, which cannot be bound.", code="bad_params")


_UNUSABLE = object()


def _integer(value: int) -> Any:
    return int(value) if -(1 << 63) <= value < 1 << 63 else _UNUSABLE


def _float(value: float) -> Any:
    return _UNUSABLE if math.isnan(value) else value  # SQLite would store NaN as NULL


def _decimal(value: Decimal) -> Any:
    if not value.is_finite():
        return _UNUSABLE
    return _integer(int(value)) if value == value.to_integral_value() else float(value)


def _text(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        return _UNUSABLE
    return value


def _datetime(value: datetime) -> str:
    naive = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    return _shortest(naive.isoformat(" "))


def _time(value: time) -> Any:
    return _UNUSABLE if value.tzinfo is not None else _shortest(value.isoformat())


def _shortest(text: str) -> str:
    return text.rstrip("0") if "." in text else text


# In this order: a bool is an int, a datetime is a date.
_CONVERTERS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    ((type(None),), lambda value: value),
    (int, _integer),
    (float, _float),
    (Decimal, _decimal),
    (str, _text),
    ((bytes, bytearray, memoryview), bytes),
    (datetime, _datetime),
    (date, date.isoformat),
    (time, _time),
)
