"""Bounds for calls that build long values or many rows from short text, by the numbers in the statement.

Unlike MySQL, PostgreSQL builds text up to 1 GB in memory. So a length must have a bound that can be seen: constants, a
column of a table that is read, or LEAST with a constant.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from pglast import ast

from fluxport.policy.guard.lexer import refuse
from fluxport.policy.guard.postgres.words import AMPLIFIERS, PADDED_TYPES
from fluxport.policy.guard.vocabulary import GROWTH_MAX, LENGTH_MAX, ROWS_MAX

_DERIVED = (
    ast.RangeSubselect, ast.RangeFunction, ast.RangeTableFunc, ast.CommonTableExpr, ast.JsonTable,
)  # fmt: skip
# Functions whose result is a number that the stored rows bound.
_COUNTS = {"count", "length", "char_length", "character_length", "octet_length", "position", "strpos", "ntile",
           "row_number", "rank", "dense_rank", "array_length", "cardinality", "array_upper"}  # fmt: skip
_KEEPS_SIZE = {"abs", "ceil", "ceiling", "floor", "round", "trunc", "max", "min", "avg", "int4", "int8", "sign", "sqrt"}
_UNKNOWN_LENGTH = 1_000.0  # of a text that is no literal, as far as it is multiplied
_WIDTH = re.compile(r"%(?:[0-9]+\$)?-?([0-9]+|\*)")


class Growth:
    """What one statement could build: ``note`` takes every node, ``check`` is called after the last one."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, Any]] = []
        self._stored = True  # whether every row comes from a table
        self._longest = 1

    def note(self, node: Any) -> None:
        kind = type(node)
        if kind in _DERIVED or (kind is ast.SelectStmt and node.valuesLists):
            self._stored = False
        elif kind is ast.FuncCall:
            self._calls.append((node.funcname[-1].sval, node))
        elif kind is ast.String:
            self._longest = max(self._longest, len(node.sval))
        elif kind is ast.TypeName and node.typmods and node.names[-1].sval in PADDED_TYPES:
            self._check_length(node.names[-1].sval, node.typmods[0])

    def check(self) -> None:
        repeats, growth, longest = 1.0, 1.0, float(self._longest)
        for name, node in self._calls:
            arguments = [
                argument.arg if isinstance(argument, ast.NamedArgExpr) else argument for argument in node.args or ()
            ]
            if name in AMPLIFIERS:
                place, multiplies = AMPLIFIERS[name]
                length = self._check_length(name, arguments[place]) if place < len(arguments) else 1.0
                repeats *= max(length, 1.0) if multiplies else 1.0
                known = multiplies and _text(arguments[0]) is not None
                longest = max(longest, 1.0 if known else _UNKNOWN_LENGTH if multiplies else length)
            elif name == "generate_series":
                self._check_rows(arguments)
            elif name == "format":
                self._check_format(arguments)
            elif name in {"replace", "regexp_replace"} and len(arguments) > 2:
                growth *= _replacement_growth(arguments)
        if repeats * growth * longest > GROWTH_MAX and (repeats > 1 or growth > 1):
            refuse(
                "query_amplifier",
                f"Repeated and replaced text could grow beyond {GROWTH_MAX:,} characters; use smaller counts.",
            )

    def _check_length(self, name: str, argument: Any) -> float:
        length = self._bound(argument)
        if math.isinf(length):
            refuse(
                "query_amplifier",
                f"The length given to {name.upper()} has no bound that can be seen; write LEAST(..., {LENGTH_MAX}).",
            )
        if length > LENGTH_MAX:
            refuse("query_amplifier", f"The length given to {name.upper()} must be at most {LENGTH_MAX:,}.")
        return length

    def _check_rows(self, arguments: Sequence[Any]) -> None:
        numbers = [_constant(argument) for argument in arguments]
        if len(numbers) < 2 or any(number is None for number in numbers):
            return
        first, last, step = [*(number or 0.0 for number in numbers), 1.0][:3]
        if (last - first) / (step or 1.0) >= ROWS_MAX:
            refuse("query_amplifier", f"GENERATE_SERIES may produce at most {ROWS_MAX:,} rows; use a smaller range.")

    def _check_format(self, arguments: Sequence[Any]) -> None:
        text = "" if not arguments or _is_null(arguments[0]) else _text(arguments[0])
        if text is None:
            refuse("query_amplifier", "The format given to FORMAT must be a string literal; write it as one.")
        widths = _WIDTH.findall(text)
        if any(width != "*" and float(width) > LENGTH_MAX for width in widths):
            refuse("query_amplifier", f"The widths in FORMAT must be at most {LENGTH_MAX:,}.")
        numbers = [argument for argument in arguments[1:] if _text(argument) is None] if "*" in widths else []
        for argument in numbers:
            self._check_length("format", argument)

    def _bound(self, node: Any) -> float:
        """The largest size that the number ``node`` can have, as far as the statement shows; infinity if it does not.
        A stored column counts as 1: its size is not the caller's."""
        constant = _constant(node)
        if constant is not None:
            return abs(constant)
        if (text := _text(node)) is not None:  # an array as text
            return math.prod(max(1.0, float(digits)) for digits in re.findall("[0-9]+", text))
        bounds: dict[type[ast.Node], Callable[[Any], float]] = {
            ast.ColumnRef: lambda n: 1.0 if self._stored else math.inf,
            ast.TypeCast: lambda n: self._bound(n.arg),
            ast.A_Expr: self._bound_of_operation,
            ast.MinMaxExpr: self._bound_of_choice,
            ast.CoalesceExpr: lambda n: max(map(self._bound, n.args)),
            ast.CaseExpr: self._bound_of_case,
            ast.FuncCall: self._bound_of_call,
            ast.A_ArrayExpr: lambda n: math.prod(max(1.0, self._bound(e)) for e in n.elements or ()),
        }  # fmt: skip
        bound = bounds.get(type(node))
        return math.inf if bound is None else bound(node)

    def _bound_of_choice(self, node: Any) -> float:
        sizes = [self._bound(argument) for argument in node.args]
        return min(sizes) if node.op.name == "IS_LEAST" else max(sizes)

    def _bound_of_case(self, node: Any) -> float:
        results = [when.result for when in node.args]
        return max(self._bound(result) for result in [*results, *filter(None, [node.defresult])])

    def _bound_of_call(self, node: Any) -> float:
        name = node.funcname[-1].sval
        if name in _COUNTS:
            return 1.0 if self._stored else math.inf
        if name in _KEEPS_SIZE and node.args:
            return self._bound(node.args[0])
        if name in {"mod", "width_bucket"} and node.args:
            return self._bound(node.args[-1]) + 1
        return math.inf

    def _bound_of_operation(self, node: Any) -> float:
        left, right = (self._bound(side) if side is not None else 0.0 for side in (node.lexpr, node.rexpr))
        if node.kind.name == "AEXPR_NULLIF":
            return left
        sign = node.name[-1].sval
        if sign in {"+", "-"}:
            return left + right
        if sign == "*":
            return left * right
        if sign == "%":
            return right
        if sign == "/":
            divisor = _constant(node.rexpr)
            stored = isinstance(node.rexpr, ast.ColumnRef) or (divisor is not None and divisor == 0)
            return left / abs(divisor) if divisor else left if stored else math.inf
        return math.inf


def _constant(node: Any) -> float | None:
    """The value of a number, perhaps in quotes, with casts, a sign or arithmetic; None for anything else."""
    if isinstance(node, ast.TypeCast):
        return _constant(node.arg)
    if isinstance(node, ast.A_Expr):
        return _calculated(node)
    if not isinstance(node, ast.A_Const):
        return None
    if _is_null(node):
        return 0.0
    for attribute in ("ival", "fval", "sval"):
        if (value := getattr(node.val, attribute, None)) is not None:
            try:
                return _number(str(value))
            except ValueError:
                return None
    return None


def _number(text: str) -> float:
    plain = text.strip().replace("_", "").lower()
    return float(int(plain, 0)) if re.match(r"[+-]?0[xob]", plain) else float(plain)


def _calculated(node: Any) -> float | None:
    left = _constant(node.lexpr) if node.lexpr is not None else 0.0
    right = _constant(node.rexpr)
    sign = node.name[-1].sval
    if left is None or right is None or (sign == "/" and right == 0):
        return None
    try:
        return {
            "+": lambda: left + right,
            "-": lambda: left - right,
            "*": lambda: left * right,
            "/": lambda: left / right,
            "^": lambda: float(abs(left) ** right),
        }[sign]()
    except (KeyError, OverflowError, ZeroDivisionError):
        return None


def _is_null(node: Any) -> bool:
    return isinstance(node, ast.A_Const) and bool(node.isnull)


def _text(node: Any) -> str | None:
    value = node.val if isinstance(node, ast.A_Const) else None
    return value.sval if isinstance(value, ast.String) else None


def _replacement_growth(arguments: Sequence[Any]) -> float:
    old, new = map(_text, arguments[1:3])
    return 1.0 if old is None or new is None else max(1.0, len(new) / max(1, len(old)))
