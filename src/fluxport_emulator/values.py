"""Python values as DuckDB expressions."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import TypeAlias

from sqlglot import exp

Value: TypeAlias = "bool | int | float | Decimal | str | bytes | dt.datetime | dt.date | dt.timedelta | None"


def constant(value: Value) -> exp.Expr:
    """A value as a DuckDB expression of the right type."""
    if isinstance(value, str):
        return exp.Literal.string(value)
    if isinstance(value, bytes):
        return exp.Unhex(this=exp.Literal.string(value.hex()))
    if isinstance(value, dt.datetime | dt.date):
        return _temporal(value)
    if isinstance(value, dt.timedelta):
        return _time(value)
    return exp.Null() if value is None else _number(value)


def _number(value: bool | int | float | Decimal) -> exp.Expr:
    if isinstance(value, bool | int):
        return exp.Literal.number(int(value))
    if isinstance(value, float):
        return cast_text(repr(value), "DOUBLE") if math.isfinite(value) else exp.Null()
    _, digits, exponent = value.as_tuple()
    scale = max(0, -int(exponent))
    precision = max(len(digits) + max(0, int(exponent)), scale, 1)
    return cast_text(f"{value:f}", f"DECIMAL({precision}, {scale})" if precision <= 38 else "DOUBLE")


def _temporal(value: dt.datetime | dt.date) -> exp.Expr:
    if isinstance(value, dt.datetime):
        return cast_text(str(value), "TIMESTAMP" if value.microsecond else "TIMESTAMP_S")
    return cast_text(str(value), "DATE")


def cast_text(text: str, kind: str) -> exp.Expr:
    return exp.cast(exp.Literal.string(text), kind, dialect="duckdb")


def _time(value: dt.timedelta) -> exp.Expr:
    if dt.timedelta(0) <= value < dt.timedelta(days=1):
        return cast_text(str(dt.datetime.min + value)[11:], "TIME")
    return exp.Literal.string(time_text(value))


def time_text(value: dt.timedelta) -> str:
    """MySQL's text of a TIME, hours beyond a day included."""
    sign = "-" if value < dt.timedelta(0) else ""
    seconds, microseconds = divmod(abs(value) // dt.timedelta(microseconds=1), 1_000_000)
    fraction = f".{microseconds:06d}" if microseconds else ""
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"
