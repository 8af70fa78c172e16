"""One pass over the syntax tree: which tables it reads, and that all it calls and names is allowed.

WITH queries are in scope as PostgreSQL has them: in the statement that has the WITH, and in the queries of the WITH
after them, or in all of these if it is recursive. Only there does a name hide a table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, NoReturn

from pglast import ast

from fluxport.policy.guard.lexer import refuse
from fluxport.policy.guard.options import GuardPolicy
from fluxport.policy.guard.postgres.growth import Growth
from fluxport.policy.guard.postgres.nodes import fields_of
from fluxport.policy.guard.postgres.words import (
    EXTENSION_FUNCTIONS,
    FIELDS,
    FUNCTIONS,
    OPERATORS,
    REFUSED_FUNCTIONS,
    REFUSED_TYPES,
    RESULT_NAMES,
    ROW_FUNCTIONS,
    SAMPLING_METHODS,
    SYSTEM_TYPES_ALLOWED,
)
from fluxport.policy.guard.vocabulary import check_allowed, check_schema_open, fold, refuse_call, refuse_recursive
from fluxport.policy.guard.words import ACCOUNTS, INTO, LOCKS, SYSTEM_SCHEMAS, SYSTEM_TABLES, Phrase

_Scope = frozenset[str]
_CATALOG = "pg_catalog"


class Walk:
    """Reads one tree; ``unqualified`` are the positions of the tables that take the default schema."""

    def __init__(self, policy: GuardPolicy) -> None:
        self._policy = policy
        self.unqualified: set[int] = set()
        self._tables = 0
        self._growth = Growth()
        self._scope: _Scope = frozenset()
        self._row_functions: dict[str, set[str]] = {}  # the columns known of each function in FROM, by its alias
        self._columns: set[tuple[str, str]] = set()  # with what stands before them
        self._handlers: dict[type[ast.Node], Callable[[Any], None]] = {
            ast.RangeVar: self._table,
            ast.FuncCall: self._call,
            ast.TypeName: self._type,
            ast.A_Expr: lambda node: self._operator(node.name),
            ast.SortBy: lambda node: self._operator(node.useOp),
            ast.SubLink: lambda node: self._operator(node.operName),
            ast.ColumnRef: self._column,
            ast.A_Indirection: self._fields,
            ast.RangeFunction: self._row_function,
            ast.RangeTableSample: self._sample,
            ast.SQLValueFunction: self._value_function,
        }

    def read(self, root: ast.SelectStmt) -> None:
        stack: list[tuple[Any, _Scope]] = [(root, frozenset())]
        while stack:
            item, scope = stack.pop()
            if isinstance(item, tuple):
                stack += [(part, scope) for part in item if part is not None]
            elif isinstance(item, ast.SelectStmt):
                stack += self._select(item, scope)
            elif isinstance(item, ast.Node):
                self._scope = scope
                if handler := self._handlers.get(type(item)):
                    handler(item)
                self._growth.note(item)
                stack += [(value, scope) for _, value in fields_of(item)]
        if self._tables > self._policy.tables_max:
            refuse("query_too_large", f"The statement names more than {self._policy.tables_max} tables; split it.")
        for before, name in self._columns:
            if name not in self._row_functions.get(before, {name}):
                self._check_field(name)
        self._growth.check()

    def _select(self, statement: Any, scope: _Scope) -> list[tuple[Any, _Scope]]:
        if statement.intoClause is not None:
            _refuse(INTO)
        if statement.lockingClause:
            _refuse(LOCKS)
        parts: list[tuple[Any, _Scope]] = []
        if (clause := statement.withClause) is not None:
            dict(fields_of(clause))
            parts, scope = self._with(clause, scope)
        self._growth.note(statement)
        return parts + [(value, scope) for name, value in fields_of(statement) if name != "withClause"]

    def _with(self, clause: Any, scope: _Scope) -> tuple[list[tuple[Any, _Scope]], _Scope]:
        """The parts of a WITH, each with what is in scope there, and what is in scope after it."""
        if clause.recursive and not self._policy.recursive:
            refuse_recursive()
        inner = scope | {query.ctename for query in clause.ctes} if clause.recursive else scope
        parts: list[tuple[Any, _Scope]] = []
        for query in clause.ctes:
            self._check_query_name(query.ctename)
            if not isinstance(query.ctequery, ast.SelectStmt):
                refuse("query_not_select", "Only a SELECT can be exported, also inside WITH; remove what writes.")
            self._growth.note(query)
            parts += [(value, inner) for _, value in fields_of(query)]
            scope |= {query.ctename}
            inner = inner if clause.recursive else scope
        return parts, scope

    def _check_query_name(self, name: str) -> None:
        folded = fold(name)
        if folded in SYSTEM_SCHEMAS["postgresql"] or SYSTEM_TABLES["postgresql"].match(folded):
            refuse("query_schema", f"A WITH query may not be called {folded[:64]}, a name of the database system.")

    def _table(self, node: Any) -> None:
        self._tables += 1
        if node.catalogname is not None:
            refuse("query_identifier", "A table may have at most its schema before it.")
        schema, name = node.schemaname, node.relname
        if schema is None and name in self._scope:
            return
        if schema is not None:
            _check_schema(schema)
        if SYSTEM_TABLES["postgresql"].match(fold(name)):
            refuse("query_table", f"The table {name[:64]} belongs to the database system and cannot be exported.")
        check_allowed(schema, name, self._policy)
        if schema is None:
            self.unqualified.add(node.location)

    def _call(self, node: Any) -> None:
        names = _strings(node.funcname)
        self._function(names)
        if names[-1] == "ts_rewrite" and len(node.args or ()) != 3:
            refuse_call("ts_rewrite", "runs a statement that is text, unless it has three arguments")

    def _function(self, names: Sequence[str]) -> None:
        name = names[-1]
        own = ".".join(names) in self._policy.functions
        listed = name in FUNCTIONS or (name in EXTENSION_FUNCTIONS and len(names) == 1)
        if own or (listed and names[:-1] in ([], [_CATALOG])):
            return
        if len(names) > 1 and names[:-1] != [_CATALOG]:
            _check_schema(names[0])
        refuse_call(".".join(names), None if names[:-1] not in ([], [_CATALOG]) else reason_to_refuse(name))

    def _type(self, node: Any) -> None:
        names = _strings(node.names)
        name = names[-1]
        if names[:-1] not in ([], [_CATALOG]):
            _check_schema(names[0])
            if len(names) > 2:
                refuse("query_identifier", "A type may have at most its schema before it.")
            check_schema_open(names[0], self._policy)
        if any(isinstance(modifier, ast.ParamRef) for modifier in node.typmods or ()):  # a ? 'b' read as a (1) 'b'
            refuse(
                "query_placeholder",
                "With a list of values every ? is a parameter; write jsonb_exists(a, b) for the operator.",
            )
        system = name.startswith(("pg_", "_pg_")) and name not in SYSTEM_TYPES_ALLOWED
        if system or name.removeprefix("_") in REFUSED_TYPES:
            refuse(
                "query_function",
                f"The type {name[:64]} is not allowed: it looks up objects of the database system.",
            )

    def _operator(self, written: Any) -> None:
        names = _strings(written or ())
        if not names or names[-1].startswith(("BETWEEN", "NOT BETWEEN")):
            return
        known = names[-1] in OPERATORS and names[:-1] in ([], [_CATALOG])
        if not known and ".".join(names) not in self._policy.functions:
            refuse(
                "query_function",
                f"The operator {'.'.join(names)[:64]} is not allowed; use another, or have it added to the "
                "connection's functions.",
            )

    def _column(self, node: Any) -> None:
        names = _strings(node.fields)
        if len(node.fields) > 3:
            refuse("query_identifier", "A column may have at most schema and table before it.")
        if len(node.fields) == 3:
            _check_schema(names[0])
        elif len(names) == 2:
            self._columns.add((names[0], names[1]))

    def _row_function(self, node: Any) -> None:
        """Note a function in FROM. If its result is no row but a value, as of ``unnest(a) AS t``, then ``t.f`` calls f
        with that value."""
        calls = [function[0] for function in node.functions]
        names = [_strings(call.funcname or ()) if isinstance(call, ast.FuncCall) else [] for call in calls]
        if all(self._built_in(parts) and parts[-1] in ROW_FUNCTIONS for parts in names):
            return
        if node.alias is None and not names[0]:
            refuse("query_table", "Name what stands in FROM and is no table, subquery or function call, with AS.")
        alias = node.alias.aliasname if node.alias is not None else names[0][-1]
        columns = _strings(node.alias.colnames or ()) if node.alias is not None else []
        columns += [column.colname for column in node.coldeflist or ()]
        known = set(columns) or set().union(*(self._result_names(parts, alias, len(calls)) for parts in names))
        # Two functions of one alias, in different subqueries: a name that only one of them has may be a call.
        self._row_functions[alias] = self._row_functions.get(alias, known) & known

    def _built_in(self, names: Sequence[str]) -> bool:
        return names[:-1] in ([], [_CATALOG]) and bool(names) and ".".join(names) not in self._policy.functions

    def _result_names(self, names: Sequence[str], alias: str, calls: int) -> set[str]:
        """What PostgreSQL calls the value of one of ``calls`` functions in FROM that are given no columns: by the OUT
        parameter, or else by the alias if the function is the only one, or by the function. The OUT parameters of the
        connection's functions are not known."""
        if names and not self._built_in(names):
            return set()
        if names and names[-1] in RESULT_NAMES:
            return {RESULT_NAMES[names[-1]]}
        return {alias} if calls == 1 else set(names[-1:])

    def _fields(self, node: Any) -> None:
        """``(x).name`` calls the function ``name`` if x has no such field."""
        for name in _strings(node.indirection):
            self._check_field(name)

    def _check_field(self, name: str) -> None:
        if name not in FIELDS and name not in FUNCTIONS and name not in self._policy.functions:
            if (reason := reason_to_refuse(name)) is not None:
                refuse_call(name, reason)
            refuse(
                "query_function",
                f"The field {name[:64]} of a value may call a function; read it as the column of a subquery, or have "
                "the name added to the connection's functions.",
            )

    def _sample(self, node: Any) -> None:
        names = _strings(node.method)
        if len(names) != 1 or names[0] not in SAMPLING_METHODS:
            refuse_call(".".join(names), None)

    def _value_function(self, node: Any) -> None:
        if node.op.name.endswith(("_USER", "_ROLE")):
            _refuse(ACCOUNTS)


def _check_schema(name: str) -> None:
    folded = fold(name)
    if folded in SYSTEM_SCHEMAS["postgresql"] or folded.startswith("pg_"):
        refuse("query_schema", f"The schema {folded[:64]} belongs to the database system and cannot be exported.")


def _strings(nodes: Sequence[Any]) -> list[str]:
    return [str(node.sval) for node in nodes if isinstance(node, ast.String)]


def _refuse(phrase: Phrase) -> NoReturn:
    refuse(phrase.code, phrase.sentence)


@cache
def reason_to_refuse(name: str) -> str | None:
    """Why the function ``name`` is refused, if it is a known one."""
    return next((reason for pattern, reason in REFUSED_FUNCTIONS.items() if fnmatchcase(name, pattern)), None)
