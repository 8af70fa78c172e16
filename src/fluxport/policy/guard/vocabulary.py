"""Checks of the tokens alone: caps, refused phrases, amplifiers; and after parsing, that every bare word is known."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from functools import cache
from itertools import pairwise
from typing import NoReturn

from fluxport.policy.guard.lexer import Token, refuse
from fluxport.policy.guard.options import GuardPolicy
from fluxport.policy.guard.words import (
    AMPLIFIERS,
    CHARSETS,
    FILE_FUNCTIONS,
    FIRST_WORDS,
    FUNCTIONS,
    GENERATORS,
    HIDDEN_WORDS,
    KEYWORDS,
    REFUSED_FUNCTIONS,
    REFUSED_PHRASES,
    RESERVED,
    SYSTEM_SCHEMAS,
    TABLE_FUNCTIONS,
    Dialect,
    word_set,
)

LENGTH_MAX = 10_000  # characters that one call may request
GROWTH_MAX = 1_000_000  # characters that all calls of a statement together may build from one character or literal
ROWS_MAX = 1_000_000  # rows that one generator may produce
_WIDTHS = re.compile(r"[%{][^a-zA-Z%{}]*")  # the part of a format that holds widths and precisions
_CONVERSION = re.compile(r"%[-+ 0#,!]*(\*|[0-9]*)(?:\.(\*|[0-9]*))?[lh]*([a-zA-Z%])")
_OPEN_JOINS_MAX = 6  # joins without ON: each doubles the parser's time
_BEFORE_CALL = word_set("""
    SELECT DISTINCT ALL WHERE ON AND OR XOR NOT BY HAVING WHEN THEN ELSE CASE IN LIKE BETWEEN DIV MOD INTERVAL
""")
_PREFIX_OPERATORS = frozenset("+-~!")
_PREFIX_WORDS = word_set("NOT BINARY INTERVAL CASE IF ANY ALL SOME EXISTS DISTINCT")


def check_before_parsing(tokens: Sequence[Token], policy: GuardPolicy) -> None:
    """Refuse what can be refused without a syntax tree, with the most specific reason."""
    check_size(tokens, policy)
    check_first_word(tokens, policy.dialect)
    _check_phrases(tokens)
    check_depth(tokens, policy)
    if _open_joins(tokens) > _OPEN_JOINS_MAX:
        refuse("query_too_deep", f"More than {_OPEN_JOINS_MAX} joins have no ON or USING; write CROSS JOIN for them.")
    _check_set_operations(tokens)
    _check_dots(tokens, policy)
    _check_growth(tokens)
    _check_file_functions(tokens, policy)


def check_size(tokens: Sequence[Token], policy: GuardPolicy) -> None:
    if not tokens:
        refuse("query_empty", "The statement is empty; give a SELECT.")
    if len(tokens) > policy.tokens_max:
        refuse("query_too_large", f"The statement has more than {policy.tokens_max:,} words and signs; shorten it.")


def check_depth(tokens: Sequence[Token], policy: GuardPolicy) -> None:
    if _depth(tokens) > policy.depth_max:
        refuse("query_too_deep", f"The statement is nested more than {policy.depth_max} levels deep; simplify it.")


def check_first_word(tokens: Sequence[Token], dialect: Dialect) -> None:
    first = next((token for token in tokens if not token.is_op("(")), tokens[0])
    if first.upper not in FIRST_WORDS[dialect]:
        what = f", not {first.upper}" if first.upper and len(first.upper) <= 20 else ""
        refuse("query_not_select", f"Only a SELECT can be exported{what}; begin with SELECT or WITH.")


def _check_phrases(tokens: Sequence[Token]) -> None:
    words = [token.upper for token in tokens]
    for index, word in enumerate(words):
        if word:
            for phrase in REFUSED_PHRASES:
                if word == phrase.words[0] and tuple(words[index : index + len(phrase.words)]) == phrase.words:
                    refuse(phrase.code, phrase.sentence)


def _depth(tokens: Sequence[Token]) -> int:
    """The deepest nesting of brackets, CASE and operators before an operand: what a parser recurses on."""
    depth = deepest = run = 0
    for token in tokens:
        if (token.kind == "op" and token.text in {"(", "[", "{"}) or token.upper == "CASE":
            depth += 1
        elif (token.kind == "op" and token.text in {")", "]", "}"}) or token.upper == "END":
            depth -= 1
        prefix = token.upper in _PREFIX_WORDS or (token.kind == "op" and token.text in _PREFIX_OPERATORS)
        run = run + 1 if prefix else 0
        deepest = max(deepest, depth + run)
    return deepest


def _open_joins(tokens: Sequence[Token]) -> int:
    """How many JOINs are followed by another JOIN or the end of their FROM before any ON or USING."""
    count, waiting = 0, False
    depths: list[bool] = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.is_op("("):
            depths.append(waiting)
            waiting = False
        elif token.is_op(")"):
            count += waiting
            waiting = depths.pop() if depths else False
        elif token.upper in {"ON", "USING"}:
            waiting = False
        elif token.upper in {"JOIN", "STRAIGHT_JOIN"}:
            count += waiting
            waiting = not (before and before.upper in {"CROSS", "NATURAL"})
    return count + waiting + sum(depths)


def _check_set_operations(tokens: Sequence[Token]) -> None:
    """UNION and the like must follow a query; without one, the parser would try types endlessly."""
    for before, token in pairwise(tokens):
        between = before.is_op(")") or before.is_op("*") or (before.kind != "op" and before.upper not in _BEFORE_CALL)
        if token.upper in {"UNION", "EXCEPT", "INTERSECT"} and not between:
            refuse("query_syntax", f"{token.upper} must stand between two queries; check what is before it.")


def fold(name: str) -> str:
    """A name as the most lenient collation compares it: ignoring case and accents."""
    import unicodedata

    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return plain.casefold().replace("ı", "i").strip()


def _check_dots(tokens: Sequence[Token], policy: GuardPolicy) -> None:
    """No name before a dot may be a system schema, whatever the dot means: table, column or function."""
    for token, after in pairwise(tokens):
        if not after.is_op("."):
            continue
        if token.upper in RESERVED[policy.dialect] or (token.kind == "op" and token.text not in {")", "]", "}"}):
            refuse("query_syntax", "A name is missing before a dot; add it.")
        folded = fold(token.text)
        if token.kind != "op" and folded in SYSTEM_SCHEMAS[policy.dialect]:
            refuse("query_schema", f"The schema {folded} belongs to the database system and cannot be exported.")


def _check_growth(tokens: Sequence[Token]) -> None:
    """Bound REPEAT, SPACE, LPAD, RPAD, BINARY(n) and REPLACE, each and multiplied, by the numbers in the statement: in
    one SELECT those that are nested, else all, for one may take its text from another. The database bounds lengths that
    come from rows."""
    alone = sum(token.upper in {"SELECT", "VALUES", "TABLE"} for token in tokens) == 1
    around: list[tuple[int, float]] = []  # where each open call ends, and how often it and those around it repeat
    most = product = 1.0
    longest = max((len(token.text) for token in tokens if token.kind == "string"), default=1)
    for index, token in enumerate(tokens[:-1]):
        while around and index > around[-1][0]:
            around.pop()
        if not token.upper or not tokens[index + 1].is_op("("):
            continue
        arguments = _arguments(tokens, index + 1)
        factor, length = _growth(token.upper, arguments)
        longest = max(longest, length)
        if factor > 1:
            product *= factor
            nested = factor * (around[-1][1] if around else 1.0)
            most = max(most, nested)
            around.append((index + 2 + sum(len(argument) + 1 for argument in arguments) - 1, nested))
    growth = most if alone else product
    if growth > 1 and growth * max(longest, 1) > GROWTH_MAX:
        refuse(
            "query_amplifier",
            f"Repeated and replaced text could grow beyond {GROWTH_MAX:,} characters; use smaller counts.",
        )


def _growth(name: str, arguments: Sequence[Sequence[Token]]) -> tuple[float, int]:
    """How often a call repeats its text, and the length of the text that it makes by itself."""
    if name in AMPLIFIERS:
        position, multiplies = AMPLIFIERS[name]
        count = _length_argument(name, arguments, position)
        return (float(max(count, 1)), 1) if multiplies else (1.0, count)
    if name == "BINARY":
        if len(arguments) == 1 and len(arguments[0]) == 1 and arguments[0][0].kind == "number":
            return 1.0, _length_argument(name, arguments, 0)
    elif name in GENERATORS:
        _check_rows(name, arguments)
    elif name in {"PRINTF", "FORMAT"}:
        _check_widths(name, arguments)
    elif name in {"REPLACE", "REGEXP_REPLACE"}:
        return _replacement_growth(arguments), 1
    return 1.0, 1


def _check_file_functions(tokens: Sequence[Token], policy: GuardPolicy) -> None:
    """The first argument of ``read_csv`` and the like is a file's name, or a list of names, written out."""
    if policy.files is None:
        return
    for index, token in enumerate(tokens[:-1]):
        if token.upper in FILE_FUNCTIONS and tokens[index + 1].is_op("("):
            names = _file_names(tokens, index + 2)
            if not names or any(name.kind != "string" for name in names):
                refuse("query_table", f"{token.text} takes the name of a file in quotes, or a list of such names.")
            for name in names:
                check_file(name.text, policy)


def _file_names(tokens: Sequence[Token], first: int) -> Sequence[Token]:
    """The tokens that are names in the argument at ``first``, one or a list in brackets; none for anything else."""
    names, after = tokens[first : first + 1], first + 1
    if names and names[0].is_op("["):
        closing = next((at for at in range(after, len(tokens)) if tokens[at].is_op("]")), after)
        if not all(comma.is_op(",") for comma in tokens[after + 1 : closing : 2]):
            return ()
        names, after = tokens[after:closing:2], closing + 1
    ended = after < len(tokens) and (tokens[after].is_op(",") or tokens[after].is_op(")"))
    return names if ended else ()


def check_file(name: str, policy: GuardPolicy) -> None:
    """Refuse a file that the connection may not read."""
    parts = re.split(r"[/\\]", name)
    outside = not parts[0] or ".." in parts or name.startswith("~") or ":" in parts[0]
    if policy.files == "folder" and outside:
        refuse("query_table", "A file is named by its path inside the connection's folder, such as 'a/b.parquet'.")
    if policy.tables is not None and name not in policy.tables:  # exactly: 'B.csv' and 'b.csv' are two files
        refuse("query_table", "A file that the statement names is not available on this connection; use another.")


def _arguments(tokens: Sequence[Token], opening: int) -> list[Sequence[Token]]:
    """The arguments of the call whose parenthesis is ``tokens[opening]``, each as its tokens."""
    arguments, begin, depth = [], opening + 1, 0
    for index in range(opening, len(tokens)):
        token = tokens[index]
        if token.is_op("("):
            depth += 1
        elif token.is_op(")"):
            depth -= 1
        if (depth == 1 and token.is_op(",")) or depth == 0:
            arguments.append(tokens[begin:index])
            begin = index + 1
        if depth == 0:
            break
    return arguments


def _length_argument(name: str, arguments: Sequence[Sequence[Token]], position: int) -> int:
    """The length as far as the statement states it: the product of its plain numbers, 1 for a column."""
    argument = arguments[position] if position < len(arguments) else ()
    length = 1.0
    for token in argument:
        if token.kind in {"number", "string"}:
            length *= max(1.0, _number(token))
    if length > LENGTH_MAX:
        refuse("query_amplifier", f"The length given to {name} must be at most {LENGTH_MAX:,}.")
    return int(length)


def _number(token: Token) -> float:
    """A literal's value as a number; an upper bound for bit and hexadecimal literals."""
    try:
        return float(token.text)
    except ValueError:
        return 0.0 if token.kind == "string" else 16.0 ** len(token.text)


def _check_widths(name: str, arguments: Sequence[Sequence[Token]]) -> None:
    """Bound the widths and precisions in the format, and those that ``*`` takes from later arguments."""
    text = arguments[0][0].text if arguments and arguments[0] else ""
    numbers = (float(number) for part in _WIDTHS.findall(text) for number in re.findall("[0-9]+", part))
    if any(number > LENGTH_MAX for number in numbers):
        refuse("query_amplifier", f"The widths in {name} must be at most {LENGTH_MAX:,}.")
    position = 1
    for width, precision, kind in _CONVERSION.findall(text):
        for length in (width, precision):
            if length == "*":
                _length_argument(name, arguments, position)
                position += 1
        position += kind not in "%n"


def _check_rows(name: str, arguments: Sequence[Sequence[Token]]) -> None:
    """Bound the rows requested from a generator, as far as the statement states them."""
    numbers = [[_number(token) for token in argument if token.kind == "number"] for argument in arguments]
    if all(len(argument) == 1 and values for argument, values in zip(arguments, numbers, strict=True)):
        first, last, step = [*([0.0] if len(numbers) == 1 else []), *(values[0] for values in numbers), 1.0][:3]
        steps = (last - first) / max(step, 1e-9)
        beyond = steps > ROWS_MAX if name == "RANGE" else steps >= ROWS_MAX  # RANGE excludes its end
    else:
        beyond = math.prod(max(1.0, number) for values in numbers for number in values) > ROWS_MAX
    if beyond:
        refuse("query_amplifier", f"{name} may produce at most {ROWS_MAX:,} rows; use a smaller range.")


def _replacement_growth(arguments: Sequence[Sequence[Token]]) -> float:
    texts = [argument[0].text for argument in arguments[1:3] if len(argument) == 1 and argument[0].kind == "string"]
    return max(1.0, len(texts[1]) / max(1, len(texts[0]))) if len(texts) == 2 else 1.0


def check_words(
    tokens: Sequence[Token],
    placed: Collection[int],
    names: Collection[int],
    column_lists: Collection[int],
    policy: GuardPolicy,
) -> None:
    """Refuse every word that is neither a name in the tree (``names``, by start) nor in the lists; HIDDEN_WORDS are
    allowed only where shapes.py has matched them (``placed``, by index)."""
    keywords = KEYWORDS[policy.dialect]
    functions = functions_of(policy)
    for index, token in enumerate(tokens):
        if token.kind not in {"word", "quoted"}:
            continue
        called = index + 1 < len(tokens) and tokens[index + 1].is_op("(")
        if token.start in names:
            if called and token.start not in column_lists:
                refuse_function(token.text, policy.dialect)
        elif token.kind == "quoted":
            refuse("query_syntax", f"The quoted name {token.text[:64]!r} appears where no name is expected; remove it.")
        elif (token.upper in functions and called) or (index in placed and token.upper in HIDDEN_WORDS[policy.dialect]):
            continue
        elif token.upper not in keywords and not is_charset(tokens, index):
            if called:
                refuse_function(token.text, policy.dialect)
            refuse(
                "query_clause",
                f"The word {token.text[:64]!r} is not allowed here; remove it, or quote it if it is a name.",
            )


def functions_of(policy: GuardPolicy) -> frozenset[str]:
    """The functions that a statement may call, table functions included."""
    return _functions(policy.dialect, policy.functions) | (FILE_FUNCTIONS if policy.files else frozenset())


def table_functions_of(policy: GuardPolicy) -> frozenset[str]:
    """The functions that a statement may read rows from."""
    return TABLE_FUNCTIONS[policy.dialect] | (FILE_FUNCTIONS if policy.files else frozenset())


@cache
def _functions(dialect: Dialect, more: frozenset[str]) -> frozenset[str]:
    return FUNCTIONS[dialect] | TABLE_FUNCTIONS[dialect] | {name.upper() for name in more}


def refuse_function(name: str, dialect: Dialect) -> NoReturn:
    refuse_call(name, REFUSED_FUNCTIONS[dialect].get(name.upper()))


def refuse_call(name: str, reason: str | None) -> NoReturn:
    """Refuse a function: a known one with its reason, which continues "it ..."."""
    if reason is not None:
        refuse("query_function", f"The function {name[:64]} is not allowed: it {reason}.")
    refuse(
        "query_function",
        f"The function {name[:64]} is not allowed; use another, or have it added to the connection's functions.",
    )


def check_allowed(schema: str | None, name: str, policy: GuardPolicy) -> None:
    """Refuse a table, and a schema, that is not open on this connection."""
    check_schema_open(schema, policy)
    if not policy.opens(schema, name):
        refuse("query_table", f"The table {name[:64]} is not available on this connection; use another.")


def check_schema_open(schema: str | None, policy: GuardPolicy) -> None:
    if schema is not None and policy.schemas is not None and schema not in {*policy.schemas, policy.default_schema}:
        refuse("query_schema", f"The schema {schema[:64]} is not available on this connection; use another.")


def refuse_recursive() -> NoReturn:
    refuse("query_recursive", "WITH RECURSIVE is not allowed on this connection; write it without.")


def unreadable(where: str = "") -> NoReturn:
    """Refuse a statement that the parser cannot read; ``where`` is " (line ..., column ...)"."""
    refuse(
        "query_syntax",
        f"The statement could not be read as one SELECT{where}; check it, and quote names that are also keywords.",
    )


def is_charset(tokens: Sequence[Token], index: int) -> bool:
    """Whether this word names a character set or collation: after COLLATE, CHARSET, CHARACTER SET, CONVERT(x USING."""
    before = tokens[index - 1].upper if index else ""
    word = tokens[index].text.lower() if index < len(tokens) else ""
    if before == "COLLATE":
        return word in CHARSETS or word.split("_")[0] in CHARSETS or word in {"nocase", "rtrim"}
    return before in {"CHARSET", "SET", "USING"} and word in CHARSETS


def is_call(tokens: Sequence[Token], index: int) -> bool:
    """Whether this word calls a function: not the type in ``AS TIME(3)``, nor the operator MOD between two operands."""
    if index + 1 >= len(tokens) or not tokens[index + 1].is_op("("):
        return False
    before = tokens[index - 1] if index else None
    if before is None or before.upper == "AS":
        return False
    operator = before.is_op(")") or (before.kind != "op" and before.upper not in _BEFORE_CALL)
    return not (tokens[index].upper == "MOD" and operator)
