"""The outline of a statement for the parser: its structure, with neutral names.

sqlglot knows the keywords of thirty dialects, rewrites some functions, drops arguments of others, and takes exponential
time for nested type names. So the outline has only keywords that the guard knows; every name becomes a meaningless
identifier, every call an unknown function. What remains is structure, and positions that lead back to our tokens.
::

    SELECT  | a  , | LEFT      ( b  , 2 ) | FROM | t   | WHERE | c   = 'x'
    SELECT  | n7 , | call LEFT ( n15, 1 ) | FROM | n26 | WHERE | n34 = '$'      names: n + start in the source
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot.tokenizer_core import Token as ParserToken
from sqlglot.tokenizer_core import TokenType

from fluxport.policy.guard.lexer import Token, refuse
from fluxport.policy.guard.shapes import Shapes, Shown
from fluxport.policy.guard.vocabulary import is_call, is_charset
from fluxport.policy.guard.words import BEFORE_PARENTHESIS, FUNCTIONS, KEYWORDS, SPECIAL_CALLS, TYPES, Dialect

CALL = "call "  # prefix of every function's name in the tree

_QUOTED = {"string": "string", "quoted": "quoted"}
_PARSER_QUOTED = {TokenType.STRING: "string", TokenType.IDENTIFIER: "quoted"}
_SHOWN: dict[Shown, tuple[tuple[TokenType, str], ...]] = {
    "comma": ((TokenType.COMMA, ","),),
    "like": ((TokenType.LIKE, "LIKE"),),
    "plus": ((TokenType.PLUS, "+"),),
    "concat": ((TokenType.DPIPE, "||"),),
    "row": ((TokenType.VAR, CALL + "ROW"), (TokenType.L_PAREN, "(")),
    "end": ((TokenType.R_PAREN, ")"),),
    "select": ((TokenType.SELECT, "SELECT"),),
    "table": ((TokenType.SELECT, "SELECT"), (TokenType.STAR, "*"), (TokenType.FROM, "FROM")),
}


def visible_text(sql: str, tokens: Sequence[Token], shapes: Shapes) -> str:
    """The text for the parser's lexer: every token in its place, spaces for comments and hidden tokens, plain digits
    for numbers (it does not know all notations), ``||`` for operators that it lacks, and ``+`` for ``~``, two of which
    it would read as one operator."""
    parts, position = [], 0
    for index, token in enumerate(tokens):
        text = sql[token.start : token.end]
        if token.kind == "number":
            text = "1" * len(text)
        elif shapes.shown.get(index) == "concat" and text != ".":
            text = "||".ljust(len(text), "-")
        elif token.is_op("~"):
            text = "+"
        parts += [" " * (token.start - position), " " * len(text) if index in shapes.hidden else text]
        position = token.end
    return "".join(parts)


def outline(
    tokens: Sequence[Token], theirs: Sequence[ParserToken], shapes: Shapes, dialect: Dialect
) -> list[ParserToken]:
    """The tokens to parse; QueryRefused if the two lexers disagree on the boundaries of tokens."""
    places = [index for index in range(len(tokens)) if index not in shapes.hidden]
    ours = [tokens[index] for index in places]
    shown: list[ParserToken] = []
    for index, words, pieces in _aligned(ours, theirs):
        replacement = shapes.shown.get(places[index])
        if replacement == "call":
            shown.append(_token(TokenType.VAR, CALL + ours[index].upper, ours[index], pieces[0]))
        elif replacement:
            shown += [_token(kind, text, ours[index], pieces[0]) for kind, text in _SHOWN[replacement]]
        elif (len(pieces) == 1 and words == 1) or ours[index].kind == "param":
            shown += _shown(ours, index, pieces[0], dialect)
        elif words > 1 and any(ours[i].upper not in KEYWORDS[dialect] for i in range(index, index + words)):
            shown += [_name(ours[i], pieces[0]) for i in range(index, index + words)]
        else:
            shown += pieces
    return shown


def _aligned(ours: Sequence[Token], theirs: Sequence[ParserToken]) -> Iterator[tuple[int, int, Sequence[ParserToken]]]:
    """Pairs that cover the same span: the index of our first token, the number of ours, and theirs.

    One of theirs may cover several words (GROUP BY); one of ours several of theirs (``.5``, ``<<``, ``:name``).
    """
    i = j = 0
    while i < len(ours) and j < len(theirs):
        mine, other = ours[i], theirs[j]
        words = pieces = 1
        while mine.kind == "word" and other.end >= ours[i + words - 1].end and i + words < len(ours):
            words += 1
        while mine.kind not in _QUOTED and theirs[j + pieces - 1].end + 1 < mine.end and j + pieces < len(theirs):
            pieces += 1
        agree = other.start == mine.start and theirs[j + pieces - 1].end + 1 == ours[i + words - 1].end
        if not agree or _QUOTED.get(mine.kind) != _PARSER_QUOTED.get(other.token_type):
            refuse("query_syntax", "The statement is ambiguous; write spaces around signs and words.")
        yield i, words, theirs[j : j + pieces]
        i, j = i + words, j + pieces
    if i < len(ours) or j < len(theirs):
        refuse("query_syntax", "The statement is ambiguous; simplify it.")


def _shown(ours: Sequence[Token], index: int, other: ParserToken, dialect: Dialect) -> list[ParserToken]:
    token = ours[index]
    if token.kind == "param":
        return [_token(TokenType.PLACEHOLDER, "?", token, other)]
    if token.kind == "string":
        return [_token(TokenType.STRING, "$", token, other)]  # also valid as a JSON path
    if token.kind == "quoted" or _begins_statement(ours, index):
        return [_name(token, other)]
    return _shown_word(ours, index, other, dialect) if token.kind == "word" else [other]


def _shown_word(ours: Sequence[Token], index: int, other: ParserToken, dialect: Dialect) -> list[ParserToken]:
    token = ours[index]
    using = index if token.upper == "USING" else index - 1
    if using >= 0 and ours[using].upper == "USING" and is_charset(ours, using + 1):
        return []  # in CHAR and CONVERT: the tree needs neither USING nor the character set
    if token.upper == "BINARY" and _is_operator(ours, index):
        return [_token(TokenType.TILDE, "~", token, other)]
    if _opens(ours, index + 1):
        call = _token(TokenType.VAR, CALL + (token.upper or token.text), token, other)
        return [other if _keeps_parenthesis(ours, index, dialect) else call]
    return [other if token.upper in KEYWORDS[dialect] else _name(token, other)]


def _begins_statement(ours: Sequence[Token], index: int) -> bool:
    """Whether the parser would read the word as the start of a statement, and log that it cannot parse it."""
    if ours[index].upper == "SET":
        return _before(ours, index) != "CHARACTER"
    return ours[index].upper == "FETCH" and (index + 1 == len(ours) or ours[index + 1].upper not in {"FIRST", "NEXT"})


def _before(ours: Sequence[Token], index: int) -> str:
    return ours[index - 1].upper if index else ""


def _opens(ours: Sequence[Token], index: int) -> bool:
    return index < len(ours) and ours[index].is_op("(")


def _keeps_parenthesis(ours: Sequence[Token], index: int, dialect: Dialect) -> bool:
    """Whether the word before this parenthesis is a keyword or type for the parser, not a call."""
    word = ours[index].upper
    if word in SPECIAL_CALLS:
        return True
    if word in TYPES[dialect] and _holds_numbers(ours, index + 1):
        before = ours[index - 1]
        return before.upper == "AS" or before.is_op("::") or word not in FUNCTIONS[dialect]
    if word == "MOD":
        return not is_call(ours, index)
    return word in BEFORE_PARENTHESIS and word in KEYWORDS[dialect]


def _holds_numbers(ours: Sequence[Token], opening: int) -> bool:
    """Whether the parentheses contain one or two plain numbers, like those of a type."""
    inside = ours[opening + 1 : opening + 5]
    kinds = [token.text if token.kind == "op" else token.kind for token in inside]
    return kinds[:2] == ["number", ")"] or kinds[:4] == ["number", ",", "number", ")"]


def _is_operator(ours: Sequence[Token], index: int) -> bool:
    """Whether BINARY precedes an operand, and is neither a type nor a character set."""
    after = ours[index + 1] if index + 1 < len(ours) else None
    if after is None or after.is_op(")") or after.is_op(",") or _holds_numbers(ours, index + 1):
        return False
    return _before(ours, index) not in {"AS", "SET", "CHARSET", "COLLATE"}


def _name(token: Token, other: ParserToken) -> ParserToken:
    return _token(TokenType.IDENTIFIER, f"n{token.start}", token, other)


def _token(kind: TokenType, text: str, token: Token, other: ParserToken) -> ParserToken:
    return ParserToken(kind, text, other.line, other.col, token.start, token.end - 1)
