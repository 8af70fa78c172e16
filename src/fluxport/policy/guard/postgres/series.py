"""Steps and ends of GENERATE_SERIES over times, as far as they are literals."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from pglast import ast

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "mon": 2_592_000, "y": 31_536_000}
_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("w", "week", "weeks"), "w"),
    **dict.fromkeys(("mon", "mons", "month", "months"), "mon"),
    **dict.fromkeys(("y", "yr", "yrs", "year", "years"), "y"),
}
_PART = r"([0-9]{1,6})\s*([a-z]+)"
_STEP = re.compile(rf"\s*-?\s*{_PART}(?:\s+{_PART})*\s*", re.IGNORECASE)
_CLOCK = re.compile(r"\s*-?([0-9]{1,4}):([0-5]?[0-9])(?::([0-5]?[0-9]))?\s*")
_FIELDS = {1 << 2: "y", 1 << 1: "mon", 1 << 3: "d", 1 << 10: "h", 1 << 11: "m", 1 << 12: "s"}  # INTERVAL '1' DAY
_RELATIVE = {"now", "today", "yesterday", "tomorrow"}


def text_of(node: Any) -> str | None:
    """A literal text, perhaps with a cast or as ``date '...'``."""
    while isinstance(node, ast.TypeCast):
        node = node.arg
    value = node.val if isinstance(node, ast.A_Const) else None
    return value.sval if isinstance(value, ast.String) else None


def step_seconds(node: Any) -> int | None:
    """The size of an interval that is a literal with a sign and units, without it; None for anything else."""
    kind = type(node)
    if kind is ast.A_Expr and node.lexpr is None and node.name[-1].sval in {"+", "-"}:
        return step_seconds(node.rexpr)
    text = text_of(node)
    if text is None:
        return None
    typmods = _typmods(node)
    if typmods and re.fullmatch("-?[0-9]{1,6}", text):
        unit = _FIELDS.get(getattr(typmods[0].val, "ival", 0))
        return abs(int(text)) * _SECONDS[unit] if unit else None
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return hours * 3_600 + minutes * 60 + seconds
    if not _STEP.fullmatch(text):
        return None
    units = [(int(count), _UNITS.get(unit.lower())) for count, unit in re.findall(_PART, text, re.IGNORECASE)]
    return sum(count * _SECONDS[unit] for count, unit in units if unit) if all(unit for _, unit in units) else None


def _typmods(node: Any) -> Any:
    return node.typeName.typmods if type(node) is ast.TypeCast and node.typeName else None


def steps_max(first: Any, last: Any, step: int) -> float | None:
    """How many steps of ``step`` seconds lie between two times; None if one is no literal, infinity if it is one that
    cannot be read."""
    moments = []
    for text in (text_of(first), text_of(last)):
        if text is None or text.strip().lower() in _RELATIVE:
            return None
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            return float("inf")
        moments.append(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return abs((moments[1] - moments[0]).total_seconds()) / step if step else float("inf")
