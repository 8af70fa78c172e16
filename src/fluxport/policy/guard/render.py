"""Rewrites the statement from its tokens: single spaces, names quoted, strings in one notation.

The server derives the header of an unnamed result column from its text; where rewriting changes that text, the original
is added as the name, cut to 255 bytes like in MariaDB. A comment before the first word of a column is not part of its
header: MySQL leaves it out, MariaDB includes it after a comma.
::

    SELECT a+1 /* x */, b AS c   FROM t   ->   SELECT `a` + 1 AS `a+1`, `b` AS `c` FROM `db`.`t`
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fluxport.policy.guard.lexer import Token, refuse
from fluxport.policy.guard.options import GuardPolicy
from fluxport.policy.guard.vocabulary import functions_of, is_call, is_charset
from fluxport.policy.guard.words import MODIFIERS, UNITS, Dialect, word_set

if TYPE_CHECKING:
    from fluxport.policy.guard.tree import Reading

_HEADER_BYTES = 255
_QUOTE: dict[Dialect, str] = {"mysql": "`", "sqlite": "`", "duckdb": '"'}  # in SQLite "x" may be read as a string
_AFTER_ITEMS = word_set("FROM WHERE GROUP HAVING WINDOW ORDER LIMIT OFFSET FETCH UNION EXCEPT INTERSECT QUALIFY")
_NOT_AFTER = word_set("DISTINCT WITHIN")  # IS DISTINCT FROM, WITHIN GROUP
_BEFORE_ITEMS = MODIFIERS | {"DISTINCT", "ALL", "DISTINCTROW", "STRAIGHT_JOIN"}
_CONSTANTS = word_set("NULL TRUE FALSE")
_OPERANDS = _CONSTANTS | UNITS | {"END", "UNKNOWN"}
_SIGNS = frozenset("+-~!")
_MYSQL_STRING = str.maketrans(
    {"'": "''", "\\": "\\\\", "\0": "\\0", "\b": "\\b", "\n": "\\n", "\r": "\\r", "\x1a": "\\Z"}
)


def render(sql: str, tokens: Sequence[Token], reading: Reading, policy: GuardPolicy) -> str:
    writer = _Writer(tokens, reading, policy)
    headers: dict[int, str] = {}
    if policy.dialect != "duckdb":  # DuckDB derives headers from its syntax tree, which does not change
        mysql = policy.dialect == "mysql"
        items = list(_result_columns(tokens, reading.names | reading.hidden))
        if len(items) != reading.projections:
            refuse("query_syntax", "The result columns could not be separated; quote names that are also keywords.")
        for first, last in items:
            header = sql[tokens[first].start : tokens[last].end]
            has_name = _is_named(tokens, first, last, reading, mysql=mysql)
            known = has_name or _names_itself(tokens[first : last + 1], reading, mysql=mysql)
            if not known and header != writer.text(first, last):
                headers[last] = header
    return writer.text(0, len(tokens) - 1, headers)


class _Writer:
    def __init__(self, tokens: Sequence[Token], reading: Reading, policy: GuardPolicy) -> None:
        self._dialect = policy.dialect
        self._quote = _QUOTE[policy.dialect]
        functions = functions_of(policy)
        prefix = f"{self._name(policy.default_schema)}." if policy.default_schema else ""
        self._texts: list[str] = []
        self._tight: list[bool] = []  # whether no space follows the token
        for index, token in enumerate(tokens):
            name = token.kind in {"word", "quoted"} and token.start in reading.names and not is_charset(tokens, index)
            if name:
                text = self._name(token.text)
            elif token.kind == "string":
                text = self._string(token.text)
            else:
                text = token.text
            self._texts.append((prefix if token.start in reading.unqualified else "") + text)
            called = not name and token.upper in functions and is_call(tokens, index)
            self._tight.append(called or _tight_after(tokens, index, reading))

    def text(self, first: int, last: int, headers: dict[int, str] | None = None) -> str:
        """The tokens from ``first`` to ``last``, with each of ``headers`` as a name after the token of that index."""
        parts: list[str] = []
        for index in range(first, last + 1):
            parts.append(self._texts[index])
            if headers and index in headers:
                parts.append(f" AS {self._name(_cut(headers[index]))}")
            if index < last and not self._tight[index]:
                parts.append(" ")
        return "".join(parts)

    def _name(self, name: str) -> str:
        return f"{self._quote}{name.replace(self._quote, self._quote * 2)}{self._quote}"

    def _string(self, value: str) -> str:
        escaped = value.translate(_MYSQL_STRING) if self._dialect == "mysql" else value.replace("'", "''")
        return f"'{escaped}'"


def _tight_after(tokens: Sequence[Token], index: int, reading: Reading) -> bool:
    token = tokens[index]
    after = tokens[index + 1] if index + 1 < len(tokens) else None
    if after is not None and after.kind == "op" and after.text in {",", ")", ".", "]", "}"}:
        return True
    if token.kind != "op":
        return token.kind == "prefix" and token.text in {"N", "n"}
    if token.text in {"(", ".", "[", "{", "#"}:
        return True
    sign = token.text in _SIGNS and not _ends_operand(tokens, index - 1, reading)
    return sign and after is not None and after.kind != "op"


def _ends_operand(tokens: Sequence[Token], index: int, reading: Reading) -> bool:
    if index < 0:
        return False
    token = tokens[index]
    if token.kind == "op":
        return token.text in {")", "]", "}"}
    if token.kind == "prefix":
        return False
    return token.kind != "word" or token.start in reading.names or token.upper in _OPERANDS


def _result_columns(tokens: Sequence[Token], inner: frozenset[int]) -> Iterator[tuple[int, int]]:
    """First and last token of every result column of every SELECT; tokens starting at ``inner`` are not keywords."""
    stack: list[int] = []  # start of the result column around each open parenthesis; -1 outside of SELECT lists
    begin = -1
    for index, token in enumerate(tokens):
        keyword = token.upper if token.start not in inner else ""
        if token.is_op("("):
            stack.append(begin)
            begin = -1
        elif token.is_op(")"):
            if begin >= 0:
                yield begin, index - 1
            begin = stack.pop() if stack else -1
        elif keyword == "SELECT" or (begin == index and token.upper in _BEFORE_ITEMS):
            begin = index + 1
        elif begin >= 0 and token.is_op(","):
            yield begin, index - 1
            begin = index + 1
        elif begin >= 0 and keyword in _AFTER_ITEMS and tokens[index - 1].upper not in _NOT_AFTER:
            yield begin, index - 1
            begin = -1
    if begin >= 0:
        yield begin, len(tokens) - 1


def _is_named(tokens: Sequence[Token], first: int, last: int, reading: Reading, *, mysql: bool) -> bool:
    """Whether the result column ends in its name: an alias of the tree, or a string right after an operand; in MySQL
    two strings are one."""
    if tokens[last].start in reading.aliases:
        return True
    before = last - 1
    string = tokens[last].kind == "string" and before >= first and not (mysql and tokens[before].kind == "string")
    return string and _ends_operand(tokens, before, reading)


def _names_itself(item: Sequence[Token], reading: Reading, *, mysql: bool) -> bool:
    """Whether the server names this result column after a column or value, not by its text."""
    wrapped = len(item) > 2 and item[0].is_op("(") and item[-1].is_op(")")
    while len(item) > 2 and item[0].is_op("(") and item[-1].is_op(")"):
        item = item[1:-1]
    if mysql and len(item) > 1 and item[0].is_op("+"):
        return _names_itself(item[1:], reading, mysql=mysql)
    constant = len(item) == 1 and (_is_decimal(item[0]) or item[0].upper in _CONSTANTS)
    if constant or all(token.kind in {"string", "prefix"} for token in item):
        return mysql or not wrapped
    parts, dots = item[::2], item[1::2]
    return (
        len(parts) > len(dots)
        and all(dot.is_op(".") for dot in dots)
        and all(part.start in reading.names or part.is_op("*") for part in parts)
    )


def _is_decimal(token: Token) -> bool:
    """Whether this is a decimal number; the server names bit and hexadecimal literals by their text."""
    return token.kind == "number" and not re.match(r"0[xXb]|[xXbB]'", token.text)


def _cut(header: str) -> str:
    return header.encode()[:_HEADER_BYTES].decode(errors="ignore")
