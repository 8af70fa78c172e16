"""Small grammars for constructs that the parser does not know, or reads differently from the server.

Each construct is matched among the tokens and hidden from the parser, or shown to it as something plain: a type after
``AS``, an index hint, the columns of JSON_TABLE, ``FROM`` between two arguments. Hidden tokens are never an expression
or a query: only keywords, types, literals and names, each in its place. Anything that does not match is left to the
parser, which refuses it; and every hidden word must still be in the lists (vocabulary.check_words).
::

    CAST ( a AS DECIMAL ( 10 , 2 ) ) , TRIM ( LEADING 'x' FROM b )
             ~~~~~~~~~~~~~~~~~~~~~           ~~~~~~~      |
             hidden                          hidden       shown as ","
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from fluxport.policy.guard.lexer import Token
from fluxport.policy.guard.words import CHARSETS, MODIFIERS, PARTS, TYPE_WORDS, TYPED, TYPES, UNITS, Dialect, word_set

Shown = Literal["comma", "like", "plus", "select", "table", "concat", "call", "row", "end"]


class Shapes(NamedTuple):
    """``hidden`` and ``shown`` are indices of tokens, ``names`` their starts in the source."""

    hidden: frozenset[int]  # tokens hidden from the parser
    shown: dict[int, Shown]  # tokens shown as something else
    names: frozenset[int]  # hidden words that are names
    pseudo_columns: int  # result columns of the SELECTs that stand for VALUES and TABLE


_CASTS = word_set("CAST TRY_CAST COLUMN_GET COLUMN_CREATE COLUMN_ADD WEIGHT_STRING")
_SELECT_OPTIONS = MODIFIERS | {"ALL", "DISTINCT", "DISTINCTROW", "STRAIGHT_JOIN"}
_AFTER_GROUP = word_set("WITH HAVING ORDER LIMIT WINDOW UNION EXCEPT INTERSECT OFFSET FETCH PROCEDURE")
_SET_OPERATIONS = word_set("UNION EXCEPT INTERSECT")
_CLOCK_FUNCTIONS = word_set("NOW CURRENT_TIMESTAMP LOCALTIMESTAMP SYSDATE CURDATE CURRENT_DATE UTC_TIMESTAMP")
_OPERATORS = frozenset({"->", "->>", "~~", "!~~", "~~*", "!~~*", "!~", "~*", "!~*", "^@", "@>", "<@", "&&", "=="})
_SAMPLING = word_set("RESERVOIR BERNOULLI SYSTEM")
_PLURALS = frozenset(f"{unit}S" for unit in UNITS)
_SEARCH_MODES = (
    "IN NATURAL LANGUAGE MODE WITH QUERY EXPANSION",
    "IN NATURAL LANGUAGE MODE",
    "IN BOOLEAN MODE",
    "WITH QUERY EXPANSION",
)


def shapes(tokens: Sequence[Token], dialect: Dialect) -> Shapes:
    """The constructs of one statement."""
    return _Shaper(tokens, dialect).shapes()


class _Shaper:
    """One pass over the tokens; each method matches one construct that may start at ``at``."""

    def __init__(self, tokens: Sequence[Token], dialect: Dialect) -> None:
        self._tokens = tokens
        self._dialect = dialect
        self._closing = _closings(tokens)
        self._hidden: set[int] = set()
        self._shown: dict[int, Shown] = {}
        self._names: set[int] = set()
        self._pseudo_columns = 0

    def shapes(self) -> Shapes:
        matchers, typed = _MATCHERS[self._dialect], bool(TYPED[self._dialect])
        for at, token in enumerate(self._tokens):
            if token.kind == "prefix":
                self._hidden.add(at)
            elif token.kind == "op":
                self._operator(at)
            elif at not in self._hidden:
                if match := matchers.get(token.upper):
                    match(self, at)
                if typed:
                    self._typed_literal(at)
        return Shapes(frozenset(self._hidden), self._shown, frozenset(self._names), self._pseudo_columns)

    # Access to tokens

    def _word(self, at: int) -> str:
        return self._tokens[at].upper if 0 <= at < len(self._tokens) else ""

    def _op(self, at: int, text: str) -> bool:
        return 0 <= at < len(self._tokens) and self._tokens[at].is_op(text)

    def _kind(self, at: int) -> str:
        return self._tokens[at].kind if 0 <= at < len(self._tokens) else ""

    def _phrase(self, at: int, phrase: str) -> int:
        """The index after the words of ``phrase`` if they are at ``at``, else ``at``."""
        words = phrase.split()
        return at + len(words) if [self._word(at + i) for i in range(len(words))] == words else at

    def _inside(self, opening: int) -> Iterator[int]:
        """The tokens inside a call's parentheses, without those in inner parentheses."""
        end = self._closing.get(opening, opening)
        at = opening + 1
        while at < end:
            yield at
            at = self._closing.get(at, at) + 1

    def _hide(self, first: int, after: int) -> None:
        self._hidden.update(range(first, after))

    def _ends_operand(self, at: int) -> bool:
        return self._op(at, ")") or self._kind(at) in {"quoted", "string", "number", "param"} or self._is_name(at)

    def _is_name(self, at: int) -> bool:
        """Whether an operator may follow this word."""
        return self._kind(at) == "word" and self._word(at) not in _BEFORE_OPERAND

    def _begins_query(self, at: int) -> bool:
        before = self._word(at - 1)
        if before in {"ALL", "DISTINCT"}:
            before = self._word(at - 2)
        return at == 0 or self._op(at - 1, "(") or self._op(at - 1, ")") or before in _SET_OPERATIONS

    # Operators

    def _operator(self, at: int) -> None:
        text = self._tokens[at].text
        if text in {"->", "->>"} and self._dialect == "mysql":
            if self._kind(at + 1) == "string":
                self._hide(at, at + 2)
        elif text in _OPERATORS:
            self._shown[at] = "concat"
        elif text == "::" and (after := self._type(at + 1)) is not None:
            self._hide(at, after)
        elif self._dialect == "duckdb":
            self._operator_of_duckdb(at, text)

    def _operator_of_duckdb(self, at: int, text: str) -> None:
        if text == "{" and at in self._closing:
            self._shown[at] = "row"
            self._shown[self._closing[at]] = "end"
            for i in self._inside(at):
                if self._op(i, ":"):
                    self._shown[i] = "comma"
        elif text == ":=" and self._kind(at - 1) in {"word", "quoted"}:
            self._names.add(self._tokens[at - 1].start)
            self._hide(at - 1, at + 1)
        elif text == "." and self._kind(at + 1) in {"word", "quoted"}:
            if self._op(at + 2, "("):
                self._shown[at] = "concat"  # 'a'.upper()
            elif at - 1 in self._hidden or self._op(at - 1, ")") or self._op(at - 1, "]") or self._op(at - 1, "}"):
                self._names.add(self._tokens[at + 1].start)
                self._hide(at, at + 2)

    def _match(self, at: int) -> None:
        if (
            self._op(at - 1, "*")
            or self._ends_operand(at - 1)
            or (self._word(at - 1) == "NOT" and self._ends_operand(at - 2))
        ):
            self._shown[at] = "like"
        elif self._op(at + 1, "("):
            self._shown[at] = "call"

    def _match_column(self, at: int) -> None:
        """MATCH a, t.b AGAINST ('x') without parentheses around the columns is shown as their sum."""
        after, commas = at + 1, []
        while self._kind(after) in {"word", "quoted"} and self._word(after) != "AGAINST":
            after += 1
            if self._op(after, ","):
                commas.append(after)
            if self._op(after, ",") or self._op(after, "."):
                after += 1
        if after > at + 1 and self._word(after) == "AGAINST" and self._ends_operand(after - 1):
            self._hidden.add(at)
            self._shown.update(dict.fromkeys(commas, "plus"))

    def _against(self, at: int) -> None:
        end = self._closing.get(at + 1)
        if not self._ends_operand(at - 1) or end is None:
            return
        self._shown[at] = "plus"
        for mode in _SEARCH_MODES:
            begin = end - len(mode.split())
            if self._phrase(begin, mode) == end:
                self._hide(begin, end)
                return

    def _interval(self, at: int) -> None:
        if self._op(at + 1, "(") and self._word(self._closing.get(at + 1, at) + 1) not in UNITS:
            self._shown[at] = "call"

    # Types

    def _type(self, at: int) -> int | None:
        """The index after the type that starts at ``at``; None if there is none."""
        if self._word(at) not in TYPES[self._dialect]:
            return None
        nested = self._dialect == "duckdb" and self._word(at) in {"STRUCT", "UNION", "ROW", "MAP", "ENUM"}
        after: int | None = at + 1
        if nested and self._op(at + 1, "("):
            after = self._fields(at + 1, named=self._word(at) in {"STRUCT", "UNION", "ROW"})
        while after is not None and (more := self._more_type(after)):
            after += more
        return after

    def _more_type(self, at: int) -> int:
        """How many tokens at ``at`` continue a type: (10, 2), CHARACTER SET utf8mb4, [3], PRECISION."""
        if self._numbers(at):
            return self._closing[at] + 1 - at
        if self._word(at) in {"CHARSET", "SET"}:
            return 2 * (at + 1 < len(self._tokens) and self._tokens[at + 1].text.lower() in CHARSETS)
        if self._op(at, "["):
            length = 1 + (self._kind(at + 1) == "number")
            return (length + 1) * self._op(at + length, "]")
        if self._dialect == "duckdb" and self._phrase(at, "WITH TIME ZONE") != at:
            return 3
        return int(self._word(at) in TYPE_WORDS[self._dialect])

    def _numbers(self, at: int) -> bool:
        """Whether parentheses with one or two plain numbers open here."""
        if not self._op(at, "("):
            return False
        inside = [self._tokens[i] for i in range(at + 1, min(self._closing.get(at, at), at + 5))]
        return [t.text if t.kind == "op" else t.kind for t in inside] in (["number"], ["number", ",", "number"])

    def _fields(self, opening: int, *, named: bool) -> int | None:
        """The index after the parentheses of STRUCT(a INT, b TEXT[]), MAP(TEXT, INT), ENUM('a', 'b')."""
        end, at, names = self._closing.get(opening), opening + 1, set()
        while end is not None and at < end:
            if named and self._kind(at) in {"word", "quoted"}:
                names.add(self._tokens[at].start)
                at += 1
            after = at + 1 if self._kind(at) == "string" else self._type(at)
            if after is None or not (self._op(after, ",") or after == end):
                return None
            at = after + 1
        self._names |= names
        return None if end is None else end + 1

    def _cast(self, at: int) -> None:
        for i in self._inside(at + 1):
            after = self._type(i + 1) if self._word(i) == "AS" else None
            if after is not None and (self._op(after, ",") or self._op(after, ")")):
                self._hide(i, after)

    def _convert(self, at: int) -> None:
        for i in self._inside(at + 1):
            if self._op(i, ",") and self._type(i + 1) == self._closing[at + 1]:
                self._hide(i, self._closing[at + 1])

    def _typed_literal(self, at: int) -> None:
        if self._kind(at + 1) == "string" and self._word(at) in TYPED[self._dialect] and not self._ends_operand(at - 1):
            self._hidden.add(at)
            if self._word(at) == "INTERVAL" and self._word(at + 2) in UNITS | _PLURALS:
                self._hidden.add(at + 2)

    # Calls with words between their arguments

    def _extract(self, at: int) -> None:
        part = self._kind(at + 2) == "string" or self._word(at + 2) in PARTS[self._dialect]
        if self._op(at + 1, "(") and part and self._word(at + 3) == "FROM":
            self._hide(at + 2, at + 4)

    def _trim(self, at: int) -> None:
        for i in self._inside(at + 1):
            if i == at + 2 and self._word(i) in {"BOTH", "LEADING", "TRAILING"}:
                self._hidden.add(i)
            elif self._word(i) == "FROM":
                if self._op(i - 1, "(") or i - 1 in self._hidden:
                    self._hidden.add(i)
                else:
                    self._shown[i] = "comma"

    def _split_arguments(self, at: int) -> None:
        between = {"IN"} if self._word(at) == "POSITION" else {"FROM", "FOR", "PLACING"}
        for i in self._inside(at + 1):
            if self._word(i) in between and i > at + 2:
                self._shown[i] = "comma"

    def _group_concat(self, at: int) -> None:
        for i in self._inside(at + 1):
            if self._word(i) == "SEPARATOR" and self._kind(i + 1) == "string":
                self._hide(i, i + 2)
            elif self._word(i) == "LIMIT":
                after = i + 2
                if self._op(after, ",") or self._word(after) == "OFFSET":
                    after += 2
                if {self._kind(i + 1), self._kind(after - 1)} == {"number"} and self._op(after, ")"):
                    self._hide(i, after)

    # JSON

    def _json_value(self, at: int) -> None:
        for i in self._inside(at + 1):
            after = self._type(i + 1) if self._word(i) == "RETURNING" else self._on_clause(i)
            if after is not None:
                self._hide(i, after)

    def _on_clause(self, at: int) -> int | None:
        """The index after ``NULL ON EMPTY``, ``ERROR ON ERROR``, ``DEFAULT '0' ON EMPTY`` and the like."""
        after = at + 1
        if self._word(at) == "DEFAULT":
            after = self._literal(after)
        elif self._word(at) not in {"NULL", "ERROR"}:
            return None
        fits = after > at and self._word(after) == "ON" and self._word(after + 1) in {"EMPTY", "ERROR"}
        return after + 2 if fits else None

    def _literal(self, at: int) -> int:
        """The index after a literal; ``at`` if there is none."""
        begin = at + (self._op(at, "-") or self._word(at) in {"DATE", "TIME", "TIMESTAMP"})
        known = self._kind(begin) in {"string", "number"} or self._word(begin) in {"NULL", "TRUE", "FALSE"}
        return begin + 1 if known else at

    def _json_table(self, at: int) -> None:
        for i in self._inside(at + 1):
            if self._word(i) == "COLUMNS" and self._op(i + 1, "("):
                names: set[int] = set()
                if self._json_columns(i + 1, names):
                    self._hide(i, self._closing[i + 1] + 1)
                    self._names |= names
                return

    def _json_columns(self, opening: int, names: set[int]) -> bool:
        end, at = self._closing.get(opening, opening), opening + 1
        while at < end:
            if self._word(at) == "NESTED":
                at += 2 if self._word(at + 1) == "PATH" else 1
                nested = self._kind(at) == "string" and self._word(at + 1) == "COLUMNS"
                if not nested or not self._json_columns(at + 2, names):
                    return False
                at = self._closing[at + 2] + 1
            elif self._kind(at) in {"word", "quoted"}:
                names.add(self._tokens[at].start)
                at = self._json_column(at + 1)
            if at != end and not self._op(at, ","):
                return False
            at += 1
        return end > opening

    def _json_column(self, at: int) -> int:
        """The index after a column's definition, which starts after its name; -1 if it does not match."""
        if (after := self._phrase(at, "FOR ORDINALITY")) != at:
            return after
        typed = self._type(at)
        if typed is None:
            return -1
        at = typed + (2 if self._word(typed) == "COLLATE" else 0)
        at += self._word(at) == "EXISTS"
        if self._word(at) != "PATH" or self._kind(at + 1) != "string":
            return -1
        at += 2
        while (clause := self._on_clause(at)) is not None:
            at = clause
        return at

    # Clauses

    def _modifiers(self, at: int) -> None:
        at += 1
        while self._word(at) in _SELECT_OPTIONS:
            if self._word(at) in MODIFIERS:
                self._hidden.add(at)
            at += 1

    def _group_by(self, at: int) -> None:
        """ASC and DESC in MariaDB's GROUP BY."""
        if self._word(at + 1) != "BY":
            return
        at += 2
        while at < len(self._tokens) and not self._op(at, ")") and self._word(at) not in _AFTER_GROUP:
            if self._word(at) in {"ASC", "DESC"} and self._ends_operand(at - 1):
                self._hidden.add(at)
            at = self._closing.get(at, at) + 1

    def _index_hint(self, at: int) -> None:
        if self._word(at + 1) not in {"INDEX", "KEY"}:
            return
        opening = at + 2
        for purpose in ("FOR JOIN", "FOR ORDER BY", "FOR GROUP BY"):
            opening = self._phrase(opening, purpose)
        end = self._closing.get(opening)
        if end is None:
            return
        for i in range(opening + 1, end):
            fits = self._op(i, ",") if (i - opening) % 2 == 0 else self._kind(i) in {"word", "quoted"}
            if not fits:
                return
        self._names.update(self._tokens[i].start for i in range(opening + 1, end, 2))
        self._hide(at, end + 1)

    def _indexed_by(self, at: int) -> None:
        if self._word(at + 1) == "BY" and self._kind(at + 2) in {"word", "quoted"}:
            self._names.add(self._tokens[at + 2].start)
            self._hide(at, at + 3)

    def _not_indexed(self, at: int) -> None:
        if self._word(at + 1) == "INDEXED" and self._ends_operand(at - 1):
            self._hide(at, at + 2)

    def _system_time(self, at: int) -> None:
        """FOR SYSTEM_TIME of MariaDB's versioned tables, with literals and the current time."""
        if self._word(at + 1) != "SYSTEM_TIME":
            return
        after = self._phrase(at + 2, "ALL")
        if after == at + 2:
            first, between = ("AS OF", None) if self._word(after) == "AS" else (self._word(after), "AND")
            if first == "FROM":
                between = "TO"
            begin = self._phrase(after, first) if first in {"AS OF", "BETWEEN", "FROM"} else after
            end = self._point_in_time(begin) if begin != after else None
            if end is not None and between is not None:
                end = self._point_in_time(end + 1) if self._word(end) == between else None
            if end is None:
                return
            after = end
        self._hide(at, after)

    def _point_in_time(self, at: int) -> int | None:
        """The index after a literal or NOW(), optionally plus or minus an interval, optionally in parentheses."""
        if self._op(at, "(") and at in self._closing:
            inner = self._point_in_time(at + 1)
            return inner + 1 if inner == self._closing[at] else None
        at += self._word(at) in {"TIMESTAMP", "TRANSACTION", "DATE"} and not self._op(at + 1, "(")
        if self._kind(at) in {"string", "number", "param"}:
            at += 1
        elif self._word(at) in _CLOCK_FUNCTIONS:
            at += 1
            if self._op(at, "("):
                if self._closing.get(at) != at + 1 and not self._numbers(at):
                    return None
                at = self._closing[at] + 1
        else:
            return None
        sign = self._op(at, "-") or self._op(at, "+")
        if sign and self._word(at + 1) == "INTERVAL":
            fits = self._kind(at + 2) in {"string", "number"} and self._word(at + 3) in UNITS
            return at + 4 if fits else None
        return at

    def _escape(self, at: int) -> None:
        """What follows ESCAPE may be any expression; the parser takes only a string there."""
        if self._ends_operand(at - 1):
            self._shown[at] = "plus"

    def _cycle(self, at: int) -> None:
        """CYCLE a, b RESTRICT after a recursive WITH query of MariaDB."""
        after = at + 1
        while self._kind(after) in {"word", "quoted"} and self._op(after + 1, ","):
            after += 2
        columns = range(at + 1, after + 1, 2)
        if self._op(at - 1, ")") and self._kind(after) in {"word", "quoted"} and self._word(after + 1) == "RESTRICT":
            self._names.update(self._tokens[i].start for i in columns)
            self._hide(at, after + 2)

    def _defaults_of_window(self, at: int) -> None:
        """NTH_VALUE(a, 2) FROM FIRST RESPECT NULLS OVER w: MySQL's defaults, written out."""
        after = self._phrase(self._phrase(at, "FROM FIRST"), "RESPECT NULLS")
        if after != at and self._op(at - 1, ")") and self._word(after) == "OVER":
            self._hide(at, after)

    # Constructs of DuckDB alone

    def _constructor(self, at: int) -> None:
        """MAP {'a': 1} and ARRAY[1, 2] are shown as their brackets."""
        if self._op(at + 1, "{" if self._word(at) == "MAP" else "["):
            self._hidden.add(at)

    def _name_list(self, at: int) -> int:
        """The index after ``x, i``, whose names are hidden; ``at`` if there is no name."""
        while self._kind(at) in {"word", "quoted"} and self._word(at) != "IN":
            self._names.add(self._tokens[at].start)
            self._hidden.add(at)
            at += 1
            if not self._op(at, ","):
                break
            self._hidden.add(at)
            at += 1
        return at

    def _lambda(self, at: int) -> None:
        """``lambda x, i: x + i`` is shown as its expression."""
        colon = next((i for i in range(at + 1, min(at + 12, len(self._tokens))) if self._op(i, ":")), None)
        if colon is not None and (self._op(at - 1, ",") or self._op(at - 1, "(")):
            after = self._name_list(at + 1)
            if after == colon:
                self._hide(at, colon + 1)

    def _comprehension(self, at: int) -> None:
        """``[a FOR x IN b IF c]`` is shown as a list of a, b and c."""
        opening = next((o for o in reversed(range(at)) if self._op(o, "[") and self._closing.get(o, 0) > at), None)
        if opening is None or at not in self._inside(opening):
            return
        after = self._name_list(at + 1)
        if self._word(after) == "IN":
            self._hidden.add(after)
            self._shown[at] = "comma"
            for i in self._inside(opening):
                if i > after and self._word(i) == "IF" and not self._op(i + 1, "("):
                    self._shown[i] = "comma"

    def _star_changes(self, at: int) -> None:
        """``* REPLACE (a + 1 AS a)`` and ``* RENAME (a AS b)`` are shown as further columns."""
        if self._op(at + 1, "(") and (self._op(at - 1, "*") or self._word(self._before_list(at)) == "EXCLUDE"):
            self._shown[at] = "comma"

    def _before_list(self, at: int) -> int:
        """The index of the word before a parenthesized list that ends right before ``at``."""
        return next((o - 1 for o, end in self._closing.items() if end == at - 1 and self._op(o, "(")), -1)

    def _filter(self, at: int) -> None:
        if self._op(at + 1, "(") and not self._op(at - 1, ")"):
            self._shown[at] = "call"

    def _sample(self, at: int) -> None:
        """TABLESAMPLE 10%, USING SAMPLE reservoir(20 ROWS)."""
        after = at + 1 if self._word(at) == "TABLESAMPLE" else self._phrase(at, "USING SAMPLE")
        if after == at:
            return
        after += self._word(after) in _SAMPLING
        opened = self._op(after, "(")
        if self._kind(after + opened) == "number":
            after += opened + 1
            after += self._op(after, "%") or self._word(after) in {"PERCENT", "ROWS"}
            if not opened or self._op(after, ")"):
                self._hide(at, after + opened)

    def _by_name(self, at: int) -> None:
        if self._word(at + 1) == "NAME" and (self._word(at - 1) in _SET_OPERATIONS | {"ALL"}):
            self._hide(at, at + 2)

    def _with_ordinality(self, at: int) -> None:
        if self._word(at + 1) == "ORDINALITY" and self._op(at - 1, ")"):
            self._hide(at, at + 2)

    # Queries without SELECT

    def _values(self, at: int) -> None:
        """``VALUES (1, 2), (3, 4)`` is shown as a SELECT of its rows."""
        rowed = self._word(at + 1) == "ROW"
        if not (self._begins_query(at) and self._op(at + 1 + rowed, "(")):
            return
        self._shown[at] = "select"
        at += 1
        while self._word(at) == "ROW" or self._op(at, "("):
            if self._word(at) == "ROW":
                self._hidden.add(at)
                at += 1
            self._pseudo_columns += 1
            at = self._closing.get(at, at) + 1
            if not self._op(at, ","):
                return
            at += 1

    def _table(self, at: int) -> None:
        """``TABLE t`` is shown as ``SELECT * FROM t``."""
        if self._begins_query(at) and self._kind(at + 1) in {"word", "quoted"}:
            self._shown[at] = "table"
            self._pseudo_columns += 1


_BEFORE_OPERAND = word_set("""
    SELECT DISTINCT ALL FROM WHERE ON AND OR XOR NOT BY HAVING WHEN THEN ELSE CASE IN LIKE BETWEEN DIV MOD INTERVAL AS
    USING JOIN LIMIT OFFSET IS WITH UNION EXCEPT INTERSECT VALUES ESCAPE REGEXP GLOB MATCH RLIKE EXISTS ANY SOME
""")


def _closings(tokens: Sequence[Token]) -> dict[int, int]:
    """The closing index of each opening bracket that is closed."""
    closings: dict[int, int] = {}
    opened: list[int] = []
    for at, token in enumerate(tokens):
        if token.kind == "op" and token.text in {"(", "[", "{"}:
            opened.append(at)
        elif token.kind == "op" and token.text in {")", "]", "}"} and opened:
            closings[opened.pop()] = at
    return closings


# The matcher to try at each word.
_EVERYWHERE: dict[str, Callable[[_Shaper, int], None]] = {
    **dict.fromkeys(_CASTS, _Shaper._cast),
    "CONVERT": _Shaper._convert,
    "EXTRACT": _Shaper._extract,
    "TRIM": _Shaper._trim,
    "SUBSTRING": _Shaper._split_arguments,
    "SUBSTR": _Shaper._split_arguments,
    "MID": _Shaper._split_arguments,
    "POSITION": _Shaper._split_arguments,
    "OVERLAY": _Shaper._split_arguments,
    "VALUES": _Shaper._values,
    "ESCAPE": _Shaper._escape,
}
_OWN: dict[Dialect, dict[str, Callable[[_Shaper, int], None]]] = {
    "mysql": {
        "GROUP_CONCAT": _Shaper._group_concat,
        "JSON_TABLE": _Shaper._json_table,
        "JSON_VALUE": _Shaper._json_value,
        "JSON_QUERY": _Shaper._json_value,
        "AGAINST": _Shaper._against,
        "MATCH": _Shaper._match_column,
        "INTERVAL": _Shaper._interval,
        "SELECT": _Shaper._modifiers,
        "GROUP": _Shaper._group_by,
        "FOR": _Shaper._system_time,
        "FROM": _Shaper._defaults_of_window,
        "RESPECT": _Shaper._defaults_of_window,
        "TABLE": _Shaper._table,
        "CYCLE": _Shaper._cycle,
        **dict.fromkeys(("USE", "FORCE", "IGNORE"), _Shaper._index_hint),
    },
    "sqlite": {
        "MATCH": _Shaper._match,
        "REGEXP": _Shaper._match,
        "GLOB": _Shaper._match,
        "INDEXED": _Shaper._indexed_by,
        "NOT": _Shaper._not_indexed,
    },
    "duckdb": {
        "TABLE": _Shaper._table,
        "GLOB": _Shaper._match,
        "LAMBDA": _Shaper._lambda,
        "FOR": _Shaper._comprehension,
        "REPLACE": _Shaper._star_changes,
        "RENAME": _Shaper._star_changes,
        "BY": _Shaper._by_name,
        "WITH": _Shaper._with_ordinality,
        "USING": _Shaper._sample,
        "TABLESAMPLE": _Shaper._sample,
        "FILTER": _Shaper._filter,
        "MAP": _Shaper._constructor,
        "ARRAY": _Shaper._constructor,
    },
}
_MATCHERS = {dialect: _EVERYWHERE | own for dialect, own in _OWN.items()}
