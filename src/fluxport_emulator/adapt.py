"""Differences between MySQL and the DuckDB SQL that sqlglot prints: tree changes that apply to every statement.

One row of ``_CHANGES`` per kind of node. Functions that only need another definition are macros (functions.py).
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from fluxport_emulator import faults

_DATE_UNITS = frozenset({"DAY", "WEEK", "MONTH", "QUARTER", "YEAR"})


def adapt(tree: exp.Expr) -> None:
    """Change ``tree`` in place, innermost nodes first, so that a replaced node has already been changed inside."""
    for node in reversed(list(tree.walk(bfs=True))):
        change = _CHANGES.get(type(node))
        new = change(node) if change else None
        if new is not None and node is not tree:
            node.replace(new)


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=[argument.copy() for argument in arguments])


def _cast(node: exp.Expr, kind: str) -> exp.Expr:
    return exp.cast(node.copy(), kind, dialect="duckdb")


def _introducer(node: exp.Expr) -> exp.Expr:
    """``_utf8mb4'text'``: all text is UTF-8 here."""
    text: exp.Expr = node.expression
    return text


def _collation(node: exp.Expr) -> exp.Expr:
    """``x COLLATE name``: text compares byte by byte here."""
    text: exp.Expr = node.this
    return text


def _like(node: exp.Expr) -> exp.Expr | None:
    """DuckDB has no default escape character; MySQL's is the backslash."""
    if isinstance(node.parent, exp.Escape):
        return None
    return exp.Escape(this=node.copy(), expression=exp.Literal.string("\\"))


def _length(node: exp.Expr) -> exp.Expr | None:
    return _call("mysql_length", node.this) if node.args.get("binary") else None


def _temporal(node: exp.Expr) -> exp.Expr | None:
    """Date arithmetic: MySQL preserves dates and whole seconds, DuckDB converts both to microseconds."""
    operands = [node.this, node.expression]
    interval = next((operand for operand in operands if isinstance(operand, exp.Interval)), None)
    if interval is None and isinstance(node, exp.Add | exp.Sub):
        return None
    unit = (node.args.get("unit") if interval is None else interval.args.get("unit")) or exp.Var(this="DAY")
    other = operands[0] if interval is not operands[0] else operands[1]
    if unit.name.upper() in _DATE_UNITS and _is_date(other):
        return _cast(node, "DATE")
    return None if unit.name.upper() == "MICROSECOND" else _cast(node, "TIMESTAMP_S")


def _is_date(node: exp.Expr) -> bool:
    if isinstance(node, exp.Cast):
        return bool(node.to.this == exp.DType.DATE)
    return isinstance(node, exp.CurrentDate | exp.UtcDate | exp.TsOrDsToDate | exp.LastDay)


def _named(node: exp.Expr) -> exp.Expr | None:
    """Functions that sqlglot leaves unparsed."""
    name, arguments = node.name.upper(), node.expressions
    if name in ("ADDDATE", "SUBDATE") and len(arguments) == 2:
        interval = arguments[1]
        days = interval if isinstance(interval, exp.Interval) else exp.Interval(this=interval, unit=exp.Var(this="DAY"))
        kind = exp.Add if name == "ADDDATE" else exp.Sub
        return _temporal(kind(this=arguments[0].copy(), expression=days.copy()))
    if name == "FIELD" and len(arguments) > 1:
        return _cases(arguments[0], arguments[1:], [exp.Literal.number(n) for n in range(1, len(arguments))], "0")
    renamed = _RENAMED.get(name)
    return _call(renamed, *arguments) if renamed else None


def _cases(subject: exp.Expr, whens: list[exp.Expr], thens: list[exp.Expr], default: str | None) -> exp.Expr:
    branches = [exp.If(this=w.copy(), true=t.copy()) for w, t in zip(whens, thens, strict=True)]
    otherwise = exp.Null() if default is None else exp.Literal.number(default)
    return exp.Case(this=subject.copy(), ifs=branches, default=otherwise)


def _element(node: exp.Expr) -> exp.Expr:
    """ELT(n, a, b, ...)"""
    return _cases(
        node.this, [exp.Literal.number(n) for n in range(1, len(node.expressions) + 1)], node.expressions, None
    )


def _difference(node: exp.Expr) -> exp.Expr:
    """TIMESTAMPDIFF counts whole units between two timestamps, not the boundaries crossed."""
    unit = exp.Literal.string(node.text("unit").lower())
    return _call("date_sub", unit, _cast(node.expression, "TIMESTAMP"), _cast(node.this, "TIMESTAMP"))


def _extracted(node: exp.Expr) -> exp.Expr | None:
    """DuckDB 2.0.1 extracts a wrong year from TIMESTAMP_S above a filter: 52196 for 2020."""
    return _call("year", node.expression) if node.name.upper() == "YEAR" else None


def _days(node: exp.Expr) -> exp.Expr | None:
    """sqlglot prints TO_DAYS as a count from the year 0, whose length differs in MySQL."""
    inner = node.this
    if isinstance(inner, exp.Add) and isinstance(inner.this, exp.DateDiff):
        since = inner.this.expression
        if isinstance(since, exp.TsOrDsToDate) and since.this.name == "0000-01-01":
            return _call("mysql_to_days", inner.this.this)
    return None


def _week(node: exp.Expr) -> exp.Expr:
    return _call("mysql_week", node.this, node.args.get("mode") or exp.Literal.number(0))


def _converted(node: exp.Expr) -> exp.Expr | None:
    """CONVERT ... USING changes nothing; a DATETIME without digits has whole seconds."""
    assert isinstance(node, exp.Cast)
    if node.to.this == exp.DType.CHARACTER_SET:
        return _cast(node.this, "VARCHAR")
    if node.to.this in (exp.DType.DATETIME, exp.DType.TIMESTAMP) and not node.to.expressions:
        return _cast(node.this, "TIMESTAMP_S")
    return None


def _from_seconds(node: exp.Expr) -> exp.Expr:
    """FROM_UNIXTIME, with an optional format."""
    timestamp = _cast(_call("to_timestamp", node.this), "TIMESTAMP")
    layout = node.args.get("format")
    if layout is None:
        return _cast(timestamp, "TIMESTAMP_S")
    return exp.TimeToStr(this=timestamp, format=layout.copy())


def _padded(node: exp.Expr) -> exp.Expr:
    name = "mysql_lpad" if node.args.get("is_left") else "mysql_rpad"
    fill = node.args.get("fill_pattern") or exp.Literal.string(" ")
    return _call(name, _cast(node.this, "VARCHAR"), node.expression, fill)


def _rollup(node: exp.Expr) -> None:
    """GROUP BY a, b WITH ROLLUP is GROUP BY ROLLUP (a, b)."""
    rollups = node.args.get("rollup") or []
    if len(rollups) == 1 and not rollups[0].expressions:
        node.set("rollup", [exp.Rollup(expressions=node.expressions)])
        node.set("expressions", [])


def _inverted(node: exp.Expr) -> exp.Expr:
    """MySQL's bit operations work on unsigned numbers of 64 bits."""
    return exp.BitwiseNot(this=_cast(node.this, "UBIGINT"))


def _assignment(node: exp.Expr) -> exp.Expr:
    raise faults.unsupported("assignment of user variables inside SELECT")


_RENAMED = {
    "WEEKDAY": "mysql_weekday",
    "YEARWEEK": "mysql_yearweek",
    "MICROSECOND": "mysql_microsecond",
    "JSON_ARRAYAGG": "json_group_array",
    "JSON_OBJECTAGG": "json_group_object",
    "MID": "substring",
}
_CHANGES: dict[type[exp.Expr], Callable[[exp.Expr], exp.Expr | None]] = {
    exp.Introducer: _introducer,
    exp.Collate: _collation,
    exp.Like: _like,
    exp.Length: _length,
    exp.Add: _temporal,
    exp.Sub: _temporal,
    exp.DateAdd: _temporal,
    exp.DateSub: _temporal,
    exp.TimestampAdd: _temporal,
    exp.Anonymous: _named,
    exp.Elt: _element,
    exp.TimestampDiff: _difference,
    exp.Paren: _days,
    exp.Extract: _extracted,
    exp.Week: _week,
    exp.DayOfWeek: lambda node: _call("mysql_dayofweek", node.this),
    exp.ToBase64: lambda node: _call("mysql_to_base64", node.this),
    exp.Time: lambda node: _cast(node.this, "TIME"),
    exp.Timestamp: lambda node: _cast(node.this, "TIMESTAMP_S"),
    exp.Cast: _converted,
    exp.UnixToTime: _from_seconds,
    exp.Pad: _padded,
    exp.Repeat: lambda node: _call("mysql_repeat", node.this, node.args["times"]),
    exp.Space: lambda node: _call("mysql_repeat", exp.Literal.string(" "), node.this),
    exp.Group: _rollup,
    exp.BitwiseNot: _inverted,
    exp.PropertyEQ: _assignment,
}
