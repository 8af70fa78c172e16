"""Parameters as literals of the statement: COPY takes none, and without COPY rows are not streamed.

A value becomes a constant of its own type, written by this table and quoted by libpq for the connection. Text stays
untyped, like a bound parameter, so that it fits a column of any type.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from fluxport.errors import Refused


class Literal(NamedTuple):
    """``text`` to quote, and the type to cast it to; ``bare`` text is written unquoted."""

    text: str
    cast: str = ""
    bare: bool = False


def literal(value: Any, number: int) -> Literal:
    """``value`` as a constant; Refused with its number if PostgreSQL has no such value."""
    for kind, convert in _CONVERTERS:
        if isinstance(value, kind):
            constant = convert(value)
            if constant is None:
                raise Refused(f"Parameter {number} is a value that PostgreSQL cannot hold.", code="bad_params")
            return constant
    raise Refused(f"Parameter {number} is a {type(value).__name__}, which cannot be bound.", code="bad_params")


def rendered(constant: Literal, escape: Callable[[bytes], bytes]) -> str:
    """The literal in parentheses, because operators may surround it; ``escape`` quotes it for the connection."""
    text = constant.text if constant.bare else escape(constant.text.encode()).decode()
    return f"({text}::{constant.cast})" if constant.cast else f"({text})"


def _text(value: str) -> Literal | None:
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return None if "\0" in value else Literal(value)


def _timestamp(value: datetime) -> Literal:
    if value.tzinfo is None:
        return Literal(value.isoformat(" "), "timestamp")
    return Literal(value.astimezone(UTC).isoformat(" "), "timestamptz")


def _interval(value: timedelta) -> Literal:
    return Literal(f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds", "interval")


# In this order: a bool is an int, a datetime is a date.
_CONVERTERS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Literal | None]], ...] = (
    (type(None), lambda _: Literal("NULL", bare=True)),
    (bool, lambda value: Literal("TRUE" if value else "FALSE", bare=True)),
    (int, lambda value: Literal(str(int(value)), bare=True)),
    (float, lambda value: Literal(repr(float(value)), "float8")),
    (Decimal, lambda value: None if value.is_snan() else Literal(str(value), "numeric")),
    (str, _text),
    ((bytes, bytearray, memoryview), lambda value: Literal("\\x" + bytes(value).hex(), "bytea")),
    (datetime, _timestamp),
    (date, lambda value: Literal(value.isoformat(), "date")),
    (time, lambda value: Literal(value.isoformat(), "timetz" if value.tzinfo else "time")),
    (timedelta, _interval),
    (UUID, lambda value: Literal(str(value), "uuid")),
)
