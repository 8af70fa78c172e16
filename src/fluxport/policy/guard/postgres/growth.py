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
from fluxport.policy.guard.postgres.series import step_seconds, steps_max
from fluxport.policy.guard.postgres.words import AMPLIFIERS, PADDED_TYPES
from fluxport.policy.guard.vocabulary import GROWTH_MAX, LENGTH_MAX, ROWS_MAX

_DERIVED = (
    ast.RangeSubselect, ast.RangeFunction, ast.RangeTableFunc, ast.CommonTableExpr, ast.JsonTable,
)  # fmt: skip
# Functions whose result is at most the number of rows, and those whose result the size of their first argument bounds.
_ROW_COUNTS = {"count", "row_number", "rank", "dense_rank"}
_SIZES = {"length", "char_length", "character_length", "octet_length", "position", "strpos"}
_ARRAY_SIZES = {"array_length", "cardinality", "array_upper"}
_SHORTENS = {"btrim", "ltrim", "rtrim", "substring", "substr", "left", "right", "split_part", "lower", "upper"}
_KEEPS_SIZE = {"abs", "ceil", "ceiling", "floor", "round", "trunc", "max", "min", "avg", "int4", "int8", "sign", "sqrt"}
_UNKNOWN_LENGTH = 1_000.0  # of a text that is no literal, as far as it is multiplied
_NUMBERS = {"int2", "int4", "int8", "numeric", "float4", "float8"}
_EXACT = 2.0**53
_NEW = {"replace": slice(2, 3), "regexp_replace": slice(2, 3), "array_to_string": slice(1, 3)}  # what text consists of
_MINUTE = 60  # seconds
_WIDTH = re.compile(r"%(?:[0-9]+\$)?-*([0-9]+|\*)")
_ARRAY = re.compile(r"[{}0-9,\s+-]*")


class Growth:
    """What one statement could build: ``note`` takes every node, ``check`` is called after the last one."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, Any]] = []
        self._stored = True  # whether every row comes from a table
        self._tables: list[Any] = []
        self._others: set[str] = set()  # names of WITH queries, and what else in FROM is called
        self._longest = 1

    def note(self, node: Any) -> None:
        kind = type(node)
        if kind in _DERIVED or (kind is ast.SelectStmt and node.valuesLists):
            self._stored = False
        if kind is ast.RangeVar:
            self._tables.append(node)
        elif kind in _DERIVED or kind is ast.JoinExpr:
            self._others |= _names(node)
        elif kind is ast.FuncCall:
            self._calls.append((node.funcname[-1].sval, node))
        elif kind is ast.String:
            self._longest = max(self._longest, len(node.sval))
        elif kind is ast.TypeName and node.typmods and node.names[-1].sval in PADDED_TYPES:
            self._check_length(node.names[-1].sval, node.typmods[0])

    def check(self) -> None:
        repeats, growth, longest = 1.0, 1.0, float(self._longest)
        replaced: list[tuple[str, Sequence[Any]]] = []
        for name, node in self._calls:
            arguments = [
                argument.arg if isinstance(argument, ast.NamedArgExpr) else argument for argument in node.args or ()
            ]
            if name in AMPLIFIERS:
                place, multiplies = AMPLIFIERS[name]
                length = self._check_length(name, arguments[place]) if place < len(arguments) else 1.0
                repeats *= max(length, 1.0) if multiplies else 1.0
                known = multiplies and _is_literal(arguments[0])
                longest = max(longest, 1.0 if known else _UNKNOWN_LENGTH if multiplies else length)
            elif name == "generate_series":
                self._check_rows(arguments)
            elif name == "format":
                self._check_format(arguments, bool(node.func_variadic))
            elif name in {"replace", "regexp_replace", "array_to_string"}:
                replaced.append((name, arguments))
        for name, parts in replaced:
            growth *= self._growth_of(name, parts, max(longest, _UNKNOWN_LENGTH))
        if not repeats * growth * longest <= GROWTH_MAX and (repeats > 1 or growth > 1):
            refuse(
                "query_amplifier",
                f"Repeated and replaced text could grow beyond {GROWTH_MAX:,} characters; use smaller counts.",
            )

    def _growth_of(self, name: str, arguments: Sequence[Any], unknown: float) -> float:
        """How many characters each character, or element, becomes at most; a text that is not seen has ``unknown``."""
        new = max((self._new_length(argument, unknown) for argument in arguments[_NEW[name]]), default=1.0)
        old = _text(arguments[1]) if name == "replace" and len(arguments) > 1 else None
        return max(1.0, new / max(1, len(old or "")))

    def _new_length(self, node: Any, unknown: float) -> float:
        text = _text(node)
        return len(text) if text is not None else 1.0 if self._is_stored(node) else unknown

    def _check_length(self, name: str, argument: Any) -> float:
        length = self._dimensions(argument) if name == "array_fill" else self._most(argument)
        if math.isinf(length):
            refuse(
                "query_amplifier",
                f"The length given to {name.upper()} has no bound that can be seen; write LEAST(..., {LENGTH_MAX}).",
            )
        if length > LENGTH_MAX:
            refuse("query_amplifier", f"The length given to {name.upper()} must be at most {LENGTH_MAX:,}.")
        return length

    def _check_rows(self, arguments: Sequence[Any]) -> None:
        if len(arguments) < 2:
            return
        first, last, *more = arguments
        if more and (seconds := step_seconds(more[0])) is not None:
            steps = steps_max(first, last, seconds)
            rows = steps if steps is not None else 0.0 if seconds >= _MINUTE else math.inf
        else:
            begin, end = _constant(first), _constant(last)
            step = _literal(more[0]) if more else 1.0
            if begin is not None and end is not None:
                seen = end - begin
            else:
                seen = self._bound(first) + (self._most(last) if step and step > 0 else self._bound(last))
                step = step and abs(step)
            if step is None:
                step = 1.0 if self._is_stored(more[0]) else 0.0
            rows = seen / step if step else math.inf
        if math.isinf(rows):
            refuse(
                "query_amplifier",
                "GENERATE_SERIES has no bound that can be seen; use literals, columns of tables, LEAST(...), or an "
                "interval of a minute or more.",
            )
        if not rows < ROWS_MAX:
            refuse("query_amplifier", f"GENERATE_SERIES may produce at most {ROWS_MAX:,} rows; use a smaller range.")

    def _check_format(self, arguments: Sequence[Any], variadic: bool) -> None:
        text = "" if not arguments or _is_null(arguments[0]) else _text(arguments[0])
        if text is None:
            refuse("query_amplifier", "The format given to FORMAT must be a string literal; write it as one.")
        widths = _WIDTH.findall(text)
        if any(width != "*" and float(width) > LENGTH_MAX for width in widths):
            refuse("query_amplifier", f"The widths in FORMAT must be at most {LENGTH_MAX:,}.")
        if "*" in widths and variadic:
            refuse("query_amplifier", "A width * in FORMAT may not come from a VARIADIC array; write the arguments.")
        for argument in arguments[1:] if "*" in widths else ():
            if _text(argument) is None or _constant(argument) is not None:  # a width may be a number in quotes
                self._check_length("format", argument)

    def _is_stored(self, node: Any) -> bool:
        """Whether ``node`` is a column of a table, perhaps with a cast that cannot lengthen it."""
        if type(node) is ast.TypeCast:
            typed: Any = node.typeName
            return not typed.typmods and self._is_stored(node.arg)
        if not isinstance(node, ast.ColumnRef):
            return False
        fields = node.fields or ()
        if not isinstance(fields[-1], ast.String):
            return False
        *before, name = (str(field.sval) for field in fields)
        if name.startswith("hash_"):  # t.hash_record calls the function
            return False
        return self._stored or (len(before) == 1 and before[0] in self._tables_alone())

    def _tables_alone(self) -> set[str]:
        """Aliases that tables have and nothing else."""
        tables: set[str] = set()
        others = set(self._others)
        for table in self._tables:
            name = table.alias.aliasname if table.alias is not None else table.relname
            (others if table.relname in self._others else tables).add(name)
        return tables - others

    def _dimensions(self, node: Any) -> float:
        """The size of an array of these dimensions."""
        while isinstance(node, ast.TypeCast):
            node = node.arg
        kind = type(node)
        if kind is ast.A_ArrayExpr:
            return math.prod(max(1.0, self._most(element)) for element in node.elements or ())
        text = _text(node)
        if text is not None and _ARRAY.fullmatch(text):
            return math.prod(max(1.0, float(digits)) for digits in re.findall("[0-9]+", text))
        return 1.0 if self._is_stored(node) else math.inf

    def _most(self, node: Any) -> float:
        """The largest value of the number ``node``, which may be negative without a bound, unlike for ``_bound``."""
        kind = type(node)
        if kind is ast.TypeCast and _is_number(node.typeName) and not node.typeName.typmods:
            return self._most(node.arg)
        if kind is ast.MinMaxExpr:
            sizes = [self._most(argument) for argument in node.args]
            # LEAST ignores NULL, which all but a constant may be.
            sure = [size for size, argument in zip(sizes, node.args, strict=True) if _constant(argument) is not None]
            return min(sure) if sure and node.op.name == "IS_LEAST" else max(sizes)
        if kind is ast.CoalesceExpr:
            return max(map(self._most, node.args))
        if kind is ast.CaseExpr:
            return max(map(self._most, _results(node)))
        sums = kind is ast.A_Expr and node.kind.name == "AEXPR_OP" and node.name[-1].sval == "+"
        if sums and node.lexpr is not None and _constant(node) is None:
            return self._most(node.lexpr) + self._most(node.rexpr)
        return self._bound(node)

    def _bound(self, node: Any) -> float:
        """A whole number that the number ``node`` does not exceed, without its sign, as far as the statement shows;
        infinity if it does not. A stored column counts as 1: its size is not the caller's.

        Bounds are whole, since a cast to a whole number rounds up, and a quotient may shrink what was rounded."""
        if _is_null(node):
            return 0.0
        constant = _constant(node)
        if constant is not None:
            return math.ceil(abs(constant))
        bounds: dict[type[ast.Node], Callable[[Any], float]] = {
            ast.ColumnRef: lambda n: 1.0 if self._is_stored(n) else math.inf,
            ast.TypeCast: self._bound_of_cast,
            ast.A_Expr: self._bound_of_operation,
            ast.MinMaxExpr: lambda n: max(map(self._bound, n.args)),
            ast.CoalesceExpr: lambda n: max(map(self._bound, n.args)),
            ast.CaseExpr: lambda n: max(map(self._bound, _results(n))),
            ast.FuncCall: self._bound_of_call,
            ast.SubLink: self._bound_of_subquery,
        }  # fmt: skip
        bound = bounds[type(node)](node) if type(node) in bounds else math.inf
        return math.inf if math.isnan(bound) or math.isinf(bound) else math.ceil(bound)

    def _bound_of_cast(self, node: Any) -> float:
        if self._is_stored(node):
            return 1.0
        rounded_up = 2 if node.typeName.typmods else 1  # 5::numeric(1, -1) is 10
        return rounded_up * self._bound(node.arg) if _is_number(node.typeName) else math.inf

    def _bound_of_subquery(self, node: Any) -> float:
        query = node.subselect
        targets: Any = query.targetList or ()
        plain = node.subLinkType.name == "EXPR_SUBLINK" and query.op.name == "SETOP_NONE" and len(targets) == 1
        return self._bound(targets[0].val) if plain else math.inf

    def _bound_of_call(self, node: Any) -> float:
        name, arguments = node.funcname[-1].sval, node.args or ()
        if name in _ROW_COUNTS:
            return 1.0 if self._stored else math.inf
        if not arguments:
            return math.inf
        if name in _ARRAY_SIZES:
            return 1.0 if self._is_stored(arguments[0]) else math.inf
        if name in _SIZES:
            return self._size(arguments[0])
        if name in _KEEPS_SIZE:
            rounded_up = 2 if name == "round" and len(arguments) > 1 else 1  # round(5, -1) is 10
            return rounded_up * self._bound(arguments[0])
        if name == "ntile":
            return self._bound(arguments[0])
        if name in {"mod", "width_bucket"}:
            return self._bound(arguments[-1]) + 1
        return math.inf

    def _size(self, node: Any) -> float:
        """The most bytes of a text, counted like ``_bound``."""
        text = _text(node)
        if text is not None:
            return len(text.encode("utf-8", "surrogatepass"))
        kind = type(node)
        if kind is ast.CoalesceExpr:
            return max(map(self._size, node.args))
        if kind is ast.FuncCall and node.funcname[-1].sval in _SHORTENS and node.args:
            return self._size(node.args[0])
        return 1.0 if self._is_stored(node) else math.inf

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
            divisor = 1.0 if self._is_stored(node.rexpr) else _literal(node.rexpr)
            return left / abs(divisor) if divisor else math.inf
        return math.inf


def _constant(node: Any) -> float | None:
    """The value of a number, perhaps in quotes, or of whole numbers with casts and arithmetic; None for anything
    else."""
    kind = type(node)
    if kind is ast.TypeCast:
        value = _constant(node.arg) if _is_number(node.typeName) and not node.typeName.typmods else None
        return value if value is not None and value.is_integer() else None
    return _calculated(node) if kind is ast.A_Expr else _literal(node)


def _is_number(type_name: Any) -> bool:
    """Whether a cast to this type keeps a number: (-1)::bit(28)::int and '1'::"char"::int are larger."""
    return type_name.names[-1].sval in _NUMBERS and not type_name.arrayBounds


def _literal(node: Any) -> float | None:
    """The value of a number that is written out, perhaps in quotes."""
    if not isinstance(node, ast.A_Const):
        return None
    for attribute in ("ival", "fval", "sval"):
        if (value := getattr(node.val, attribute, None)) is not None:
            try:
                return _number(str(value))
            except (ValueError, OverflowError):
                return None
    return None


def _number(text: str) -> float:
    """ValueError if it is none, or too large or too small to be calculated with."""
    plain = text.strip().replace("_", "").lower()
    value = float(int(plain, 0)) if re.match(r"[+-]?0[xob]", plain) else float(plain)
    if not math.isfinite(value) or (value == 0 and re.search("[1-9]", plain.partition("e")[0])):
        raise ValueError(text)
    return value


def _calculated(node: Any) -> float | None:
    """The result for whole numbers that floats hold exactly."""
    left = _constant(node.lexpr) if node.lexpr is not None else 0.0
    right = _constant(node.rexpr)
    sign = node.name[-1].sval
    if left is None or right is None or not left.is_integer() or not right.is_integer():
        return None
    if sign not in {"+", "-", "*", "^"} or (sign == "^" and not 0 <= right <= 64):
        return None
    whole = {"+": left + right, "-": left - right, "*": left * right}
    result = abs(left) ** right if sign == "^" else whole[sign]
    return result if abs(result) < _EXACT else None


def _results(case: Any) -> list[Any]:
    return [*(when.result for when in case.args), *filter(None, [case.defresult])]


def _names(node: Any) -> set[str]:
    """What columns of a subquery, function, WITH query or join may have before them."""
    kind = type(node)
    if kind is ast.CommonTableExpr:
        return {node.ctename}
    if kind is ast.RangeFunction and node.alias is None:
        called = (getattr(function[0], "funcname", None) for function in node.functions)
        return {name[-1].sval for name in called if name}
    aliases = [node.alias, node.join_using_alias if kind is ast.JoinExpr else None]
    return {alias.aliasname for alias in aliases if alias is not None} or {"xmltable", "json_table"}


def _is_null(node: Any) -> bool:
    return isinstance(node, ast.A_Const) and bool(node.isnull)


def _is_literal(node: Any) -> bool:
    """Whether ``node`` is written out, perhaps with a cast that cannot lengthen it."""
    if type(node) is ast.TypeCast:
        typed: Any = node.typeName
        return not typed.typmods and _is_literal(node.arg)
    return isinstance(node, ast.A_Const)


def _text(node: Any) -> str | None:
    value = node.val if isinstance(node, ast.A_Const) else None
    return value.sval if isinstance(value, ast.String) else None
