"""The syntax tree: sqlglot's parse of our tokens, and the allow-list of its nodes.

The parser reads an outline (outline.py), so the tree's names and functions are neutral: they carry the position of
their token, and their real names come from our lexer.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from fluxport.policy.guard.lexer import Token, refuse
from fluxport.policy.guard.options import GuardPolicy
from fluxport.policy.guard.outline import CALL, outline, visible_text
from fluxport.policy.guard.shapes import Shapes
from fluxport.policy.guard.vocabulary import (
    check_allowed,
    check_file,
    fold,
    functions_of,
    refuse_function,
    refuse_recursive,
    table_functions_of,
    unreadable,
)
from fluxport.policy.guard.words import (
    FILE_NAME,
    FUNCTIONS,
    KEYWORD_ARGUMENTS,
    NILADIC,
    RESERVED,
    SEQUENCE_ROWS_MAX,
    SEQUENCE_TABLE,
    SYSTEM_SCHEMAS,
    SYSTEM_TABLES,
    word_set,
)


class Reading(NamedTuple):
    """The roles of tokens in the tree; each token is identified by its start in the source."""

    names: frozenset[int]  # words and quoted words that are names
    unqualified: frozenset[int]  # tables that take the default schema
    column_lists: frozenset[int]  # aliases that may be followed by a list of columns
    aliases: frozenset[int]  # names given to result columns
    hidden: frozenset[int]  # tokens hidden from the parser
    projections: int  # number of result columns of all SELECTs together


_NODES = word_set(
    """
    Select Union Except Intersect Subquery With CTE From Join Table TableAlias Lateral Where Group Rollup Cube
    GroupingSets Having Order Ordered Limit Offset Fetch LimitOptions Distinct Window WindowSpec Partition Values Tuple
    Alias Column Dot Identifier Star Literal Boolean Null Placeholder Var Paren
    And Or Not Xor EQ NEQ NullSafeEQ NullSafeNEQ GT GTE LT LTE Is Between In Like ILike Glob SimilarTo RegexpLike Escape
    Add Sub Mul Div Mod IntDiv Pow Neg BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitwiseLeftShift BitwiseRightShift
    DPipe Collate Binary Case If Exists Any All Interval IntervalSpan IntervalOp DataType DataTypeParam CharacterSet
    Anonymous Cast TryCast Extract GroupConcat Trim Substring StrPosition Chr Concat
    CurrentDate CurrentTime CurrentTimestamp Localtime Localtimestamp
    JSONExtract JSONExtractScalar JSONPath JSONPathRoot JSONPathKey JSONPathSubscript JSONPathWildcard JSONPathSlice
    JSONArrayContains JSONValue JSONTable JSONSchema JSONColumnDef OnCondition MatchAgainst Soundex
    Filter IgnoreNulls RespectNulls WithinGroup IsNull NotNull AtTimeZone
    Array Bracket Slice Unnest Explode PositionalColumn Qualify
    """
)
# Allowed clauses of query nodes; any other clause of the parser (hints, locks, INTO, samples) is refused.
_CLAUSES: dict[str, frozenset[str]] = {
    "Select": word_set(
        "with_ distinct expressions from_ joins laterals where group having windows qualify order limit offset "
        "operation_modifiers"
    ),
    "Table": word_set("this db alias joins partition"),
    "Subquery": word_set("this alias joins with_ order limit offset laterals"),
    "Union": word_set("with_ this expression distinct order limit offset by_name"),
    "Except": word_set("with_ this expression distinct order limit offset"),
    "Intersect": word_set("with_ this expression distinct order limit offset"),
    "Join": word_set("this on using side kind method"),
    "CTE": word_set("this alias materialized scalar"),
}
# A dot would read as schema and table in a policy's list; MySQL decodes what follows "#mysql50#".
_TABLE_NAME = re.compile(r"(?!#mysql50#)[\w$ #@%&+()=!,~^*-]+")
_CALLED_KEYWORDS = frozenset({"INTERVAL", "FILTER"})  # keywords that shapes.py may show as calls
_DEPTH_FRAMES = 80  # Python frames that sqlglot needs per level of nesting, with a margin
_parsing = threading.Lock()


def read(sql: str, tokens: Sequence[Token], shapes: Shapes, policy: GuardPolicy) -> Reading:
    """Parse the statement and walk its tree; QueryRefused for anything but one allow-listed query."""
    return _Walk(tokens, shapes, policy).reading(_parse(sql, tokens, shapes, policy))


def _parse(sql: str, tokens: Sequence[Token], shapes: Shapes, policy: GuardPolicy) -> exp.Expr:
    text = visible_text(sql, tokens, shapes)
    place: dict[str, Any] = {}
    try:
        with _deep_recursion(policy.depth_max * _DEPTH_FRAMES):
            # The dialect and its lexer are inside the lock too: sqlglot's lazy initialization is not thread-safe.
            dialect = sqlglot.Dialect.get_or_raise(policy.dialect)
            shown = outline(tokens, dialect.tokenize(text), shapes, policy.dialect)
            trees = dialect.parser(error_level=sqlglot.ErrorLevel.RAISE).parse(shown, "")
    except SqlglotError as error:
        trees, place = [], (error.errors if isinstance(error, ParseError) else [{}])[0]
    if not trees:  # outside of the handler, so that the error's context, which holds the statement, is not chained
        where = f" (line {place['line']}, column {place['col']})" if "line" in place else ""
        unreadable(where)
    if len(trees) != 1 or trees[0] is None:
        refuse("query_stacked", "Only one statement is allowed; remove the others.")
    return trees[0]


@contextmanager
def _deep_recursion(frames: int) -> Iterator[None]:
    """Raise the recursion limit for the parser and silence its log, which repeats statements. Both are global to the
    process, hence the lock."""
    with _parsing:
        before, log = sys.getrecursionlimit(), logging.getLogger("sqlglot")
        sys.setrecursionlimit(before + frames)
        quiet, log.disabled = log.disabled, True
        try:
            yield
        finally:
            sys.setrecursionlimit(before)
            log.disabled = quiet


class _Walk:
    """One pass over the tree, which collects the sets of the Reading."""

    def __init__(self, tokens: Sequence[Token], shapes: Shapes, policy: GuardPolicy) -> None:
        self._policy = policy
        self._tokens = {token.start: token for token in tokens}
        self._names: set[int] = set(shapes.names)
        self._hidden = frozenset(tokens[index].start for index in shapes.hidden)
        self._pseudo_columns = shapes.pseudo_columns
        self._unqualified: set[int] = set()
        self._column_lists: set[int] = set()
        self._aliases: set[int] = set()
        self._after_in: set[int] = set()  # tables directly after IN
        self._handlers: dict[str, Callable[[Any], None]] = {
            "Identifier": self._check_name,
            "Table": self._check_table,
            "In": self._check_in,
            "Lateral": self._check_lateral,
            "TableAlias": self._check_table_alias,
            "CTE": self._check_cte,
            "With": self._check_with,
            "Alias": self._check_alias,
            "Column": self._check_column,
            "Anonymous": self._check_call,
            "Dot": self._check_method,
            "Order": self._check_order,
        }

    def reading(self, root: exp.Expr) -> Reading:
        if not isinstance(root, (exp.Select, exp.SetOperation, exp.Subquery)):
            refuse("query_not_select", "Only a SELECT can be exported; begin with SELECT or WITH.")
        projections = tables = 0
        for node in root.walk():
            self._check(node)
            projections += len(node.expressions) if isinstance(node, exp.Select) else 0
            tables += isinstance(node, exp.Table)
        self._check_words_in()
        tables += len(self._after_in)
        if tables > self._policy.tables_max:
            refuse("query_too_large", f"The statement names more than {self._policy.tables_max} tables; split it.")
        return Reading(
            frozenset(self._names),
            frozenset(self._unqualified),
            frozenset(self._column_lists),
            frozenset(self._aliases),
            self._hidden,
            projections - self._pseudo_columns,
        )

    def _check(self, node: exp.Expr) -> None:
        kind = type(node).__name__
        if kind not in _NODES:
            refuse("query_clause", f"This kind of expression or clause ({_spoken(kind)}) is not allowed; remove it.")
        if kind in _CLAUSES:
            for clause, value in node.args.items():
                if value and clause not in _CLAUSES[kind]:
                    refuse("query_clause", f"The clause {clause.strip('_').upper()} is not allowed; remove it.")
        if handler := self._handlers.get(kind):
            handler(node)

    def _check_alias(self, node: exp.Alias) -> None:
        if isinstance(node.args.get("alias"), exp.Identifier):
            self._aliases.add(_start(node.args["alias"]))

    def _check_table_alias(self, node: exp.TableAlias) -> None:
        if node.args.get("columns") and isinstance(node.this, exp.Identifier):
            self._column_lists.add(_start(node.this))

    def _check_column(self, node: exp.Column) -> None:
        if node.args.get("catalog"):
            refuse("query_identifier", "A column may have at most schema and table before it.")

    def _check_with(self, node: exp.With) -> None:
        if node.args.get("recursive") and not self._policy.recursive:
            refuse_recursive()

    def _check_name(self, node: exp.Identifier) -> None:
        start = _start(node)
        token = self._tokens.get(start)
        if token is None or token.kind not in {"word", "quoted", "string"}:
            refuse("query_syntax", "A name appears where none is expected; quote names that are also keywords.")
        parent = node.parent
        if token.upper in NILADIC[self._policy.dialect] and isinstance(parent, exp.Column) and not parent.table:
            return
        if isinstance(parent, exp.Table) and token.upper == "DUAL" and self._is_dual(parent):
            return
        if self._is_keyword_argument(token, parent):
            return
        after_dot = isinstance(parent, exp.Column) and parent.table and parent.this is node
        if token.upper in RESERVED[self._policy.dialect] and not after_dot:
            refuse("query_syntax", f"The word {token.upper} appears where a name is expected; quote it if it is one.")
        self._names.add(start)

    def _is_keyword_argument(self, token: Token, parent: exp.Expr | None) -> bool:
        call = parent.parent if isinstance(parent, exp.Column) and not parent.table else None
        if not isinstance(call, exp.Anonymous) or not isinstance(call.this, str):
            return False
        place, words = KEYWORD_ARGUMENTS.get(call.this.removeprefix(CALL), (0, ()))
        return token.upper in words and place < len(call.expressions) and call.expressions[place] is parent

    def _is_dual(self, table: exp.Table) -> bool:
        """Whether DUAL is MySQL's keyword for no table here."""
        return self._policy.dialect == "mysql" and not table.args.get("db")

    def _check_call(self, node: exp.Anonymous) -> None:
        if isinstance(node.parent, exp.Table) and self._searches(node):
            return  # checked as a table
        spelled = node.this if isinstance(node.this, str) else self._tokens[_start(node.this)].text
        name = spelled.removeprefix(CALL)
        known = name in functions_of(self._policy) or name in _CALLED_KEYWORDS
        rows = name in table_functions_of(self._policy) and name not in FUNCTIONS[self._policy.dialect]
        if not known or (rows and not isinstance(node.parent, (exp.Table, exp.Lateral))):
            refuse_function(name, self._policy.dialect)

    def _check_order(self, node: exp.Order) -> None:
        """MariaDB crashes if VALUES or a parenthesized query is ordered by a query."""
        ordered = node.parent
        risky = isinstance(ordered, exp.Subquery) or (isinstance(ordered, exp.Select) and not ordered.args.get("from_"))
        if self._policy.dialect == "mysql" and risky and node.find(exp.Query):
            refuse("query_clause", "VALUES and a query in parentheses are ordered by columns; remove the query there.")

    def _check_method(self, node: exp.Dot) -> None:
        refuse_function("after a dot", self._policy.dialect)

    def _check_table(self, node: exp.Table) -> None:
        if isinstance(node.this, exp.Unnest):
            return
        if isinstance(node.this, exp.Anonymous) and not self._searches(node.this):
            self._check_table_function(node.this)
            return
        named = isinstance(node.this, (exp.Identifier, exp.Anonymous))
        token = self._tokens.get(_start(node.this)) if named else None
        if token is not None and token.upper == "DUAL" and self._is_dual(node):
            return
        self._check_reading(node, token, node.args.get("db"))

    def _check_in(self, node: exp.In) -> None:
        """In SQLite, ``x IN t`` reads the table t, with or without a schema, in any quotes."""
        field = node.args.get("field")
        if field is None or self._policy.dialect == "duckdb":  # where it is a list column in scope
            return
        if self._policy.dialect != "sqlite" or not isinstance(field, exp.Column) or field.args.get("db"):
            refuse("query_table", "IN must be followed by a list or a query in parentheses; add one.")
        token = self._tokens.get(_start(field.this)) if isinstance(field.this, exp.Identifier) else None
        self._check_reading(field, token, field.args.get("table"))
        self._after_in.add(_start(field.args.get("table") or field.this))

    def _check_words_in(self) -> None:
        """Check, for SQLite, that the tree treats every name after IN as a table."""
        if self._policy.dialect != "sqlite":
            return
        for token, after in pairwise(self._tokens.values()):
            named = after.is_op("(") or after.start in self._after_in
            if token.upper == "IN" and token.start not in self._names and not named:
                refuse("query_table", "IN must be followed by a list, a query in parentheses or a table; add one.")

    def _check_lateral(self, node: exp.Lateral) -> None:
        if isinstance(node.this, exp.Anonymous):
            self._check_table_function(node.this)
        elif not isinstance(node.this, (exp.Subquery, exp.Unnest)):
            refuse("query_table", "LATERAL must be followed by a query in parentheses; add one, or remove the word.")

    def _check_reading(self, node: exp.Expr, token: Token | None, schema_name: exp.Expr | None) -> None:
        """Check that ``node`` reads an allowed table, or file: ``token``, in the schema ``schema_name``."""
        file = token is not None and token.kind == "string" and FILE_NAME.fullmatch(token.text)
        if token is not None and file and self._policy.files and schema_name is None:
            check_file(token.text, self._policy)
            return
        if token is None or token.kind not in {"word", "quoted"}:
            refuse("query_table", "Only tables, subqueries and WITH names can be read from; name a table.")
        schema = self._tokens[_start(schema_name)].text if schema_name else None
        if schema is None and self._is_cte(node, token.text):
            return
        self._check_table_name(token.text)
        check_allowed(schema, token.text, self._policy)
        if schema is None:
            self._unqualified.add(token.start)

    def _searches(self, call: exp.Anonymous) -> bool:
        """Whether this is SQLite's ``FROM t('words')``, which searches the full-text table t."""
        name = call.this.removeprefix(CALL) if isinstance(call.this, str) else ""
        if self._policy.dialect != "sqlite" or name in table_functions_of(self._policy) or len(call.expressions) != 1:
            return False
        self._names.add(_start(call))
        self._column_lists.add(_start(call))
        return True

    def _check_table_function(self, call: exp.Anonymous) -> None:
        name = call.this.removeprefix(CALL) if isinstance(call.this, str) else ""
        if name not in table_functions_of(self._policy):
            refuse("query_table", "Only tables, subqueries and WITH names can be read from; name a table.")

    def _check_table_name(self, name: str) -> None:
        folded = fold(name)
        if self._policy.dialect == "mysql" and (sequence := SEQUENCE_TABLE.fullmatch(folded)):
            if abs(int(sequence[2]) - int(sequence[1])) // max(1, int(sequence[3] or 1)) + 1 > SEQUENCE_ROWS_MAX:
                refuse("query_table", f"A sequence may have at most {SEQUENCE_ROWS_MAX:,} numbers; use a shorter one.")
        elif SYSTEM_TABLES[self._policy.dialect].match(folded):
            refuse("query_table", f"The table {name[:64]} belongs to the database system and cannot be exported.")
        if not _TABLE_NAME.fullmatch(name) or len(name) > 64:
            refuse(
                "query_table",
                "A table's name has a dot, a quote, a slash or the like; rename it, or export a view of it.",
            )

    def _check_cte(self, node: exp.CTE) -> None:
        alias = node.args["alias"]
        name = self._tokens[_start(alias.this)].text
        folded = fold(name)
        if folded in SYSTEM_SCHEMAS[self._policy.dialect] or SYSTEM_TABLES[self._policy.dialect].match(folded):
            refuse("query_schema", f"A WITH query may not be called {folded}, a name of the database system.")

    def _is_cte(self, table: exp.Expr, name: str) -> bool:
        """Whether a WITH query of this name is in scope: in an enclosing statement, or defined before the WITH query
        that contains the table (or being that one, if recursive)."""
        child: exp.Expr = table
        parent = table.parent
        inside = False  # whether ``child`` is inside another WITH than the one being checked
        while parent is not None:
            clause = parent.args.get("with_")
            in_scope = clause is not None and clause is not child and self._names_cte(clause.expressions, name)
            if isinstance(parent, exp.With):
                in_scope = self._is_cte_beside(parent, child, name)
            if in_scope:
                if inside:
                    self._check_outer_cte(name)
                return True
            inside = inside or isinstance(parent, exp.With)
            child, parent = parent, parent.parent
        return False

    def _is_cte_beside(self, clause: exp.With, around: exp.Expr, name: str) -> bool:
        """Whether ``clause`` has a WITH query of this name in the scope of another of its queries, ``around``."""
        place = next(i for i, cte in enumerate(clause.expressions) if cte is around)
        if self._names_cte(clause.expressions[:place], name):
            return True
        # SQLite's WITH queries may refer to themselves and to later ones without RECURSIVE.
        sqlite = self._policy.dialect == "sqlite"
        recursive = clause.args.get("recursive") or sqlite
        if recursive and self._names_cte([around], name):
            if not self._policy.recursive:
                refuse_recursive()
            return True
        if not recursive or not self._names_cte(clause.expressions[place + 1 :], name):
            return False
        if not (sqlite or self._policy.opens(None, name)):  # MariaDB reads the WITH query, MySQL a table of this name
            refuse("query_identifier", f"Write the WITH query {name[:64]} before those that read it.")
        return True

    def _check_outer_cte(self, name: str) -> None:
        """Inside the queries of an inner WITH, MariaDB does not see the outer WITH and reads a table of that name."""
        if self._policy.dialect == "mysql" and not self._policy.opens(None, name):
            refuse("query_table", f"Put the WITH query {name[:64]} and those that read it into the same WITH.")

    def _names_cte(self, ctes: Sequence[exp.Expr], name: str) -> bool:
        for cte in ctes:
            own = self._tokens[_start(cte.args["alias"].this)].text
            if own == name:
                return True
            if own.casefold() == name.casefold():
                refuse("query_identifier", f"Spell the WITH query {own[:64]} the same wherever it is used.")
        return False


def _start(node: exp.Expr) -> int:
    """Where the token of a name starts; -1 if the parser invented the name."""
    return int(node.meta.get("start", -1))


def _spoken(kind: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower()
