"""The tokens of a statement by PostgreSQL's own scanner, and the statement written from them again.

The statement that runs has the same tokens in the same order: without comments, names quoted, strings in one notation,
and the default schema before tables. So it has the meaning and the headers of the original.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pglast.parser import ParseError, scan

from fluxport.pgtokens import TOKENS
from fluxport.policy.guard.lexer import Kind, Token, refuse, refuse_placeholders
from fluxport.policy.guard.options import GuardPolicy
from fluxport.policy.guard.vocabulary import unreadable

_SIGNS = {
    "Op", "TYPECAST", "DOT_DOT", "COLON_EQUALS", "EQUALS_GREATER", "LESS_EQUALS", "GREATER_EQUALS", "NOT_EQUALS",
}  # fmt: skip
_KINDS: dict[str, Kind] = {
    "IDENT": "word", "SCONST": "string", "USCONST": "string", "BCONST": "number", "XCONST": "number",
    "ICONST": "number", "FCONST": "number", "PARAM": "param", **dict.fromkeys(_SIGNS, "op"),
}  # fmt: skip
_AS_WRITTEN = {
    "USCONST": re.compile(r"[uU]&'(?:[^']|'')*'"),
    "BCONST": re.compile(r"[bB]'[01]*'"),
    "XCONST": re.compile(r"[xX]'[0-9a-fA-F]*'"),
}
_ESCAPED = re.compile(r"[eE]'(?:[^'\\]|\\.|'')*'", re.DOTALL)
_STRING_PARTS = re.compile(r"'((?:[^']|'')*)'(?:\s|--[^\n\r]*)*")
_UNCLOSED = (
    ("comment", "query_comment", "A comment is not closed; add */ or remove it."),
    ("quoted string", "query_syntax", "A string literal is not closed; add the missing quote."),
    ("quoted identifier", "query_syntax", "A quoted text is not closed; add the missing quote."),
)


class Piece(NamedTuple):
    """A token as the scanner names it, and as the other parts of the guard know it."""

    name: str
    written: str
    token: Token


class Scanned(NamedTuple):
    """``text`` is what the parser reads: the statement with ``($1)`` and so on for its parameters, whose placeholders
    ``marks`` holds by the start of the ``$1``."""

    text: str
    pieces: list[Piece]
    marks: dict[int, str]


def scanned(sql: str, policy: GuardPolicy) -> Scanned:
    """The tokens of one statement without a closing ``;``; QueryRefused if the scanner, or a server of another version
    or mode, might read them in another way."""
    text, marks = _with_numbers(sql, policy)
    try:
        found, place = scan(text), None
    except ParseError as error:
        found, place = [], error
    if place is not None:  # outside of the handler, so that the error, which holds the statement, is not chained
        said = str(place.args[0])
        for what, code, sentence in _UNCLOSED:
            if f"unterminated {what}" in said or f"unterminated /* {what}" in said:
                refuse(code, sentence)
        unreadable()
    pieces: list[Piece] = []
    ended = False
    for name, start, end, keyword in ((t.name, t.start, t.end + 1, t.kind != "NO_KEYWORD") for t in found):
        if name in {"SQL_COMMENT", "C_COMMENT"}:
            continue
        if ended:
            refuse("query_stacked", "Only one statement is allowed; remove what follows the semicolon.")
        ended = name == "ASCII_59"
        if not ended:
            pieces.append(_piece(name, text[start:end], start, keyword))
    if any(piece.name == "PARAM" and piece.token.start not in marks for piece in pieces):
        refuse("query_placeholder", "$ parameters are not allowed; write ? or :name for a parameter.")
    return Scanned(text, pieces, marks)


def check_placeholders(sql: str, policy: GuardPolicy) -> None:
    """Refuse a statement that PostgreSQL cannot read because of placeholders without values."""
    if (policy.given == "none" or not policy.params) and any(
        match["name"] or match["mark"] for match in TOKENS.finditer(sql)
    ):
        if not policy.params:
            refuse_placeholders()
        refuse("query_placeholder", "The statement has placeholders (? or :name) without values; give them in params.")


def _with_numbers(sql: str, policy: GuardPolicy) -> tuple[str, dict[int, str]]:
    """The statement with ``($1)`` for its first parameter and so on, as the source puts values into parentheses."""
    group = {"list": "mark", "names": "name"}.get(policy.given) if policy.params else None
    if group is None:
        return sql, {}
    parts, marks, done, length = list[str](), dict[int, str](), 0, 0
    for match in TOKENS.finditer(sql):
        if match[group] is not None:
            parts += [sql[done : match.start()], f" (${len(marks) + 1}) "]
            length += match.start() - done + 2
            marks[length] = match[0]
            length += len(parts[-1]) - 2
            done = match.end()
    return "".join([*parts, sql[done:]]), marks


def _piece(name: str, written: str, start: int, keyword: bool) -> Piece:
    end = start + len(written)
    if name in {"UIDENT", "UESCAPE"}:
        refuse("query_identifier", 'Names and strings with UESCAPE or U&"..." are not allowed; write the characters.')
    kind = _KINDS.get(name, "word" if keyword else "op" if name.startswith("ASCII_") else None)
    if kind is None:
        unreadable()
    value = written
    if name == "IDENT" and written.startswith('"'):
        kind, value = "quoted", written[1:-1].replace('""', '"')
        if not value.strip():
            refuse("query_identifier", "A quoted name is empty; give the name.")
    elif name == "IDENT":
        value = "".join(c.lower() if c.isascii() else c for c in written)
    elif name == "SCONST":
        value = _string(written)
    elif (pattern := _AS_WRITTEN.get(name)) and not pattern.fullmatch(written):
        refuse("query_literal", "A literal in several parts is not allowed; write it as one.")
    return Piece(name, written, Token(kind, value, start, end))


def _string(written: str) -> str:
    """The value of a plain or dollar-quoted string; one with escapes stays as it is written."""
    if written.startswith("$"):
        tag = written[: written.index("$", 1) + 1]
        return written[len(tag) : -len(tag)]
    if written[0] in "eE":
        if not _ESCAPED.fullmatch(written):
            refuse("query_literal", "A literal in several parts is not allowed; write it as one.")
        return written
    return "".join(part.replace("''", "'") for part in _STRING_PARTS.findall(written))


def rendered(statement: Scanned, qualified: Mapping[int, str]) -> str:
    """The statement to run, with the schemas of ``qualified`` before the names that start there."""
    return "".join(_spaced(statement.pieces, statement.marks, qualified)).strip()


def _spaced(pieces: Sequence[Piece], marks: Mapping[int, str], qualified: Mapping[int, str]) -> Iterator[str]:
    """The tokens, with a space between two where the statement has one, or where two would run together."""
    before: Piece | None = None
    for piece in pieces:
        start = piece.token.start
        closes_mark = before is not None and before.token.start in marks and before.token.end == start
        if start + 1 in marks or closes_mark:  # the parentheses of a parameter
            before = piece if before is None else before
            continue
        text = _written(piece)
        if start in marks:
            yield f" {marks[start]}"
        else:
            sign = piece.token.kind == "op" or (before is not None and before.token.kind == "op")
            escaped = text.startswith("E'") and text != piece.written
            if before is not None and (escaped or not sign or before.token.end != start):
                yield " "
            yield quoted(qualified[start]) + "." if start in qualified else ""
            yield text
        before = piece


def _written(piece: Piece) -> str:
    name, written, token = piece
    if name == "IDENT":
        return quoted(token.text)
    if name == "SCONST" and token.text != written:
        escaped = token.text.replace("'", "''")
        return "E'" + escaped.replace("\\", "\\\\") + "'" if "\\" in escaped else f"'{escaped}'"
    return "NCHAR" if name == "NCHAR" else written


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
