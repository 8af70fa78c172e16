"""The text of a statement: its comments, its tokens, its tree.

A statement is tokenised once: the tokens give MySQL's header of unaliased columns (the text as written) and number the
parameters, then sqlglot parses them into the tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.dialects.mysql import MySQL
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from fluxport_emulator import faults
from fluxport_emulator.adapt import adapt

VERSION_NUMBER = 80039  # executable comments of newer versions are ignored
STATEMENT_CHARS_MAX = 1 << 20

_QUOTED_OR_COMMENT = re.compile(
    r"""(?P<quoted>'(?:[^'\\]|\\.)*+' | "(?:[^"\\]|\\.)*+" | `[^`]*+`)
      | /\*!(?P<version>\d{5,6})?(?P<executable>.*?)\*/
      | /\*\+(?P<hint>.*?)\*/
      | /\*.*?\*/
      | (?:--(?=\s|\Z) | \#)[^\n]*""",
    re.DOTALL | re.VERBOSE,
)
_TIME_HINT = re.compile(r"MAX_EXECUTION_TIME\s*\(\s*(\d+)\s*\)", re.IGNORECASE)
_MODIFIERS = frozenset(
    {
        "SQL_NO_CACHE",
        "SQL_CACHE",
        "SQL_CALC_FOUND_ROWS",
        "SQL_SMALL_RESULT",
        "SQL_BIG_RESULT",
        "SQL_BUFFER_RESULT",
        "HIGH_PRIORITY",
        "STRAIGHT_JOIN",
    }
)
_QUERY_ENDS = frozenset({
    "FROM", "WHERE", "GROUP", "GROUP BY", "HAVING", "ORDER", "ORDER BY", "LIMIT", "UNION", "EXCEPT", "INTERSECT",
    "INTO", "FOR", "LOCK", "WINDOW", ";",
})  # fmt: skip


@dataclass(frozen=True)
class Plain:
    """A statement without comments; executable ones (``/*!50003 ... */``) are replaced by their content."""

    text: str
    max_execution_ms: int | None


def without_comments(text: str) -> Plain:
    hints: list[int] = []

    def uncommented(match: re.Match[str]) -> str:
        if match["quoted"] is not None:
            return match["quoted"]
        if match["executable"] is not None:
            return f" {match['executable']} " if int(match["version"] or 0) <= VERSION_NUMBER else " "
        if match["hint"] is not None:
            hints.extend(int(ms) for ms in _TIME_HINT.findall(match["hint"]))
        return " "

    plain = _QUOTED_OR_COMMENT.sub(uncommented, text).strip()
    return Plain(plain.rstrip("; \t\r\n"), hints[0] if hints else None)


@dataclass(frozen=True)
class Query:
    """A parsed SELECT: its tree, how many parameters it has, and the text of each item of its outermost select list."""

    text: str
    tree: exp.Query
    parameters: int
    items: tuple[str, ...]


def parse(text: str) -> Query:
    """Raises faults.SqlError (1064, 1290) for anything but one query."""
    if len(text) > STATEMENT_CHARS_MAX:
        raise faults.SqlError(1153, "08S01", "Got a statement longer than this server reads (1 MiB)")
    if "\0" in text:
        raise faults.syntax("\\0")
    try:
        tokens = MySQL().tokenize(text)
        tree, parameters = _tree(text, tokens)
    except ParseError as error:
        detail = error.errors[0] if error.errors else {}
        near = f"{detail.get('highlight', '')}{detail.get('end_context', '')}"
        raise faults.syntax(near, int(detail.get("line") or 1)) from error
    except SqlglotError as error:
        raise faults.syntax(text[:80]) from error
    except RecursionError as error:
        raise faults.SqlError(1436, "HY000", "Thread stack overrun: the statement is nested too deeply") from error
    return Query(text, tree, parameters, tuple(_select_items(text, tokens)))


def _tree(text: str, tokens: Sequence[Token]) -> tuple[exp.Query, int]:
    parsed: list[Token] = []
    parameters = 0
    for index, token in enumerate(tokens):
        if token.token_type is TokenType.COLON:
            raise faults.syntax(text[token.start :])
        if token.token_type is TokenType.PLACEHOLDER:
            place = (token.line, token.col, token.start, token.end)
            parsed += (Token(TokenType.COLON, ":", *place), Token(TokenType.VAR, f"p{parameters}", *place))
            parameters += 1
        elif token.token_type is TokenType.INTO and _word(tokens, index + 1) in ("OUTFILE", "DUMPFILE"):
            raise faults.read_only()
        elif not (token.token_type is not TokenType.IDENTIFIER and token.text.upper() in _MODIFIERS):
            parsed.append(token)
    trees = MySQL().parser().parse(parsed, text)
    if len(trees) != 1:
        raise faults.syntax(trees[1].sql("mysql") if len(trees) > 1 and trees[1] else text)
    tree = trees[0]
    if not isinstance(tree, exp.Select | exp.SetOperation | exp.Subquery) or tree.find(exp.Into):
        raise faults.syntax(text)
    if any(not select.expressions for select in tree.find_all(exp.Select)):
        raise faults.syntax("")
    adapt(tree)
    return tree, parameters


def _word(tokens: Sequence[Token], index: int) -> str:
    if index >= len(tokens) or tokens[index].token_type in (TokenType.STRING, TokenType.IDENTIFIER):
        return ""
    return tokens[index].text.upper()


def _select_items(text: str, tokens: Sequence[Token]) -> Iterator[str]:
    """The source text of each item of the first select list outside WITH, which MySQL uses as column names."""
    at = _first_select(tokens)
    if at is None:
        return
    while _word(tokens, at) in _MODIFIERS | {"ALL", "DISTINCT", "DISTINCTROW"}:
        at += 1
    depth, first = 0, at
    for index in range(at, len(tokens) + 1):
        kind = tokens[index].token_type if index < len(tokens) else None
        if kind is TokenType.L_PAREN:
            depth += 1
        elif kind is TokenType.R_PAREN:
            depth -= 1
        over = kind is None or depth < 0 or (depth == 0 and _word(tokens, index) in _QUERY_ENDS)
        if (over or (depth == 0 and kind is TokenType.COMMA)) and index > first:
            yield text[tokens[first].start : tokens[index - 1].end + 1]
            first = index + 1
        if over:
            return


def _first_select(tokens: Sequence[Token]) -> int | None:
    """The index after the SELECT whose list names the columns."""
    depth = 0
    floor = 0
    while _word(tokens, floor) == "(":
        floor += 1
    for index, token in enumerate(tokens):
        if token.token_type is TokenType.L_PAREN:
            depth += 1
        elif token.token_type is TokenType.R_PAREN:
            depth -= 1
        elif token.token_type is TokenType.SELECT and depth <= floor:
            return index + 1
    return None
