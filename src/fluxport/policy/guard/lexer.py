"""The strict lexer: tokenizes SQL exactly as the server's own lexer does, or refuses it.

It supports three dialects, and MySQL in one session mode (no ANSI_QUOTES, no NO_BACKSLASH_ESCAPES, a UTF-8 connection),
which the sources set. It refuses everything whose meaning depends on the server's version or mode: executable comments,
``--x``, variables, invisible characters. Comments and white space are dropped here; the statement that runs is written
from these tokens alone, with hexadecimal and bit literals unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple, NoReturn

from fluxport.errors import QueryRefused
from fluxport.policy.guard.words import CHARSETS, Dialect

Kind = Literal["word", "quoted", "string", "number", "op", "param", "prefix"]


class Token(NamedTuple):
    """``text`` is the value (a string without quotes and escapes), ``start`` and ``end`` the span in the source.

    A ``prefix`` belongs to the literal after it: the N of ``N'a'``, the E of ``E'a'``, ``_utf8mb4``.
    """

    kind: Kind
    text: str
    start: int
    end: int

    @property
    def upper(self) -> str:
        """The word in upper case, for comparing with keywords; empty unless it is an ASCII word."""
        return self.text.upper() if self.kind == "word" and self.text.isascii() else ""

    def is_op(self, text: str) -> bool:
        return self.kind == "op" and self.text == text


def refuse(code: str, sentence: str) -> NoReturn:
    raise QueryRefused(sentence, code=code)


# Characters that hide or reorder text: controls, bidirectional marks, invisible spaces, surrogates, non-characters,
# language tags. The joiners U+200C and U+200D occur in ordinary text and are allowed inside string literals.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\uffff\U000e0000-\U000e007f]"
)

_COMMON = r"""
    (?P<space>[ \t\r\n]+)
  | (?P<number>{bits}
      (?:[0-9]+(?:\.[0-9]*)?|(?<![\w$`"\])])\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w$.]))
  | (?P<prefix>{prefix})
  | (?P<word>[^\W\d][\w$]*)
  | (?P<comment>/\*(?s:.*?)\*/ | {line_comment})
  | (?P<string>{string})
  | (?P<quoted>{quoted})
  | (?P<param>\?|(?<!{not_param}):[A-Za-z_][A-Za-z0-9_]*)
  | (?P<end>;)
  | (?P<op>{ops})
"""
_ANSI_STRING = r"'(?:[^']++|'')*+'"
_OPS = r"<=>|->>|->|<<|>>|<=|>=|<>|!=|\|\||-(?!-)|/(?!\*)|[+*%&|^~=<>(),.]"
_BYTES = r"(?<!\.)[xX]'(?:[0-9a-fA-F]{2})*'(?!') |"
_NOTHING = r"(?!)"
_PATTERNS: dict[Dialect, re.Pattern[str]] = {
    "mysql": re.compile(
        _COMMON.format(
            bits=_BYTES + r"(?<!\.)[bB]'[01]*'(?!') | 0x[0-9a-fA-F]+(?![\w$.]) | 0b[01]+(?![\w$.]) |",
            # White space is allowed between an introducer and its literal.
            prefix=r"(?<!\.)[nN](?=['"
            + r'"])|(?<!\.)_(?i:'
            + "|".join(sorted(CHARSETS))
            + r""")(?=[ \t\r\n]*(?:['"]|[xXbB]'|0[xb]))""",
            line_comment=r"--(?=[ \t\r\n]|\Z)[^\n]* | \#[^\n]*",
            string=r"'(?s:[^'\\]++|''|\\.)*+'" + r'|"(?s:[^"\\]++|""|\\.)*+"',
            quoted=r"`(?:[^`]++|``)*+`",
            not_param=":",
            ops=r"&&|!(?!=)|" + _OPS,
        ),
        re.VERBOSE,
    ),
    "sqlite": re.compile(
        _COMMON.format(
            bits=_BYTES + r"0[xX][0-9a-fA-F]+(?![\w$.]) | [0-9]+(?:_[0-9]+)+(?![\w$.]) |",
            prefix=_NOTHING,
            line_comment=r"--[^\n]*",
            string=_ANSI_STRING,
            quoted=r'"(?:[^"]++|"")*+"|`(?:[^`]++|``)*+`|\[[^\[\]]*\]',
            not_param=":",
            ops=r"==|" + _OPS,
        ),
        re.VERBOSE,
    ),
    "duckdb": re.compile(
        _COMMON.format(
            bits=_BYTES
            + r"[eE]'(?s:[^'\\]++|''|\\.)*+' | \$\$(?s:[^$]|\$(?!\$))*\$\$ | [0-9]+(?:_[0-9]+)+(?![\w$.]) |",
            prefix=_NOTHING,
            line_comment=r"--[^\n]*",
            string=_ANSI_STRING,
            quoted=r'"(?:[^"]++|"")*+"',
            not_param=r"""[:\w'"\])]""",  # after these it is a slice or the key of a struct
            ops=r"::|:=|//|\*\*|==|&&|@>|<@|\^@|!?~~?\*?|[][{}:]|\#(?=[0-9])|" + _OPS,
        ),
        re.VERBOSE,
    ),
}

_MYSQL_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}
_LITERAL_PREFIXES = frozenset({"B", "E", "N", "R", "U", "X"})  # prefixes that no rule above has consumed

# Refusals of text that no rule above matches: the first entry that the rest of the text starts with applies.
_STRAY: tuple[tuple[str, str, str], ...] = (
    ("/*", "query_comment", "A comment is not closed; add */ or remove it."),
    ("--", "query_comment", "Write a space after -- for a comment, or between two minus signs."),
    ("@", "query_variable", "User and system variables (@ and @@) are not allowed; write the value itself."),
    ("'", "query_syntax", "A string literal is not closed; add the missing quote."),
    ('"', "query_syntax", "A quoted text is not closed; add the missing quote."),
    ("`", "query_syntax", "A quoted name is not closed, or this database does not use this quote for names."),
    ("\\", "query_character", "A backslash is allowed only inside a string literal."),
    ("{", "query_character", "Braces and ODBC escapes such as {d '...'} are not allowed; write DATE '...' instead."),
    ("}", "query_character", "Braces and ODBC escapes such as {d '...'} are not allowed; write DATE '...' instead."),
    (":=", "query_variable", "Assignments (:=) are not allowed; an export only reads."),
    ("[", "query_character", 'Names in brackets are not allowed; quote them with backticks or "double quotes".'),
    ("$", "query_character", "$ parameters and names beginning with $ are not allowed; quote the name."),
)


def refuse_placeholders() -> NoReturn:
    refuse("query_placeholder", "Placeholders (? and :name) are not allowed here; write the value itself.")


def lex(sql: str, dialect: Dialect, *, params: bool = False) -> list[Token]:
    """The tokens of one statement, without a closing ``;``; QueryRefused if the text is ambiguous."""
    check_characters(sql)
    tokens = list(_cut(sql, dialect, params))
    _refuse_prefixed_literals(tokens, sql)
    return tokens


def check_characters(sql: str) -> None:
    if hidden := _HIDDEN.search(sql):
        refuse(
            "query_character",
            f"The statement contains an invisible or control character (U+{ord(hidden[0]):04X}); remove it.",
        )


def _cut(sql: str, dialect: Dialect, params: bool) -> Iterator[Token]:
    pattern = _PATTERNS[dialect]
    position, ended = 0, False
    while position < len(sql):
        match = pattern.match(sql, position)
        if match is None:
            _refuse_stray(sql, position)
        kind, text, position = match.lastgroup, match[0], match.end()
        if kind == "comment":
            _check_comment(text)
        elif kind != "space":
            if ended:
                refuse("query_stacked", "Only one statement is allowed; remove what follows the semicolon.")
            if kind == "end":
                ended = True
                continue
            if kind == "param" and not params:
                refuse_placeholders()
            yield Token(kind, _value(kind, text, dialect), match.start(), match.end())  # type: ignore[arg-type]  # the names of the groups are the kinds


def _value(kind: str | None, text: str, dialect: Dialect) -> str:
    if kind not in {"string", "quoted"}:
        return text
    quote = text[0]
    if kind == "string" and dialect == "mysql":
        # Quotes are doubled only outside escapes, so one pass from the left resolves both.
        return re.sub(
            rf"\\(.)|{quote}{quote}",
            lambda m: quote if m[1] is None else _MYSQL_ESCAPES.get(m[1], m[1]),
            text[1:-1],
            flags=re.DOTALL,
        )
    value = text[1:-1] if quote == "[" else text[1:-1].replace(quote * 2, quote)
    if kind == "quoted" and not value.strip():
        refuse("query_identifier", "A quoted name is empty; give the name.")
    return value


def _check_comment(text: str) -> None:
    if text.startswith(("/*!", "/*M!", "/*m!")):
        refuse("query_comment", "Executable comments (/*! ... */) are not allowed; remove the comment.")
    if text.startswith("/*+"):
        refuse("query_hint", "Optimizer hints (/*+ ... */) are not allowed; remove the hint.")
    if text.startswith("/*") and "/*" in text[2:]:
        refuse("query_comment", "Nested comments are not allowed; remove the inner one.")


def _refuse_stray(sql: str, position: int) -> NoReturn:
    rest = sql[position : position + 2]
    for start, code, sentence in _STRAY:
        if rest.startswith(start):
            refuse(code, sentence)
    char = rest[0]
    if char.isdigit() and sql[position : position + 2].lower() in {"0x", "0b"}:
        refuse(
            "query_literal",
            "This is not a hexadecimal or bit literal of this database; use 0x.., x'..' or 0b.. in its notation.",
        )
    if char.isdigit() or char == ".":
        refuse("query_identifier", "A number runs into a name; quote names that begin with a digit.")
    refuse("query_character", f"The character U+{ord(char):04X} is not allowed outside quotes; remove it or quote it.")


def _refuse_prefixed_literals(tokens: list[Token], sql: str) -> None:
    """``R'a'``, ``x'4'``, ``_nonsense 'a'``: no rule matched, so the prefix is unknown to this database."""
    for token, after in pairwise(tokens):
        if token.kind != "word" or sql[after.start] not in "'\"":
            continue
        joined = token.end == after.start and token.upper in _LITERAL_PREFIXES
        if joined or (token.text.startswith("_") and after.kind == "string"):
            refuse(
                "query_literal",
                "This literal's prefix is not known for this database; write a plain string, or bytes as x'..'.",
            )
