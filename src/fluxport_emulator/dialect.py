"""MySQL statements to DuckDB SQL.

Every MySQL rule that DuckDB does not share is a change of the statement's tree (in adapt.py for all statements, here if
it depends on the session); sqlglot prints the changed tree as DuckDB SQL. Only the printed tree is executed, never the
client's text.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel

from fluxport_emulator import faults
from fluxport_emulator.origins import Origin, describe
from fluxport_emulator.statement import Query, parse
from fluxport_emulator.tables import INFORMATION_SCHEMA, INFORMATION_SCHEMA_STORE, Catalog, SampleTable
from fluxport_emulator.values import Value, cast_text, constant


@dataclass(frozen=True)
class Scope:
    """The values that a statement may refer to besides tables, as of its start."""

    catalog: Catalog
    database: str | None
    now: dt.datetime
    system_variable: Callable[[str], Value]
    user_variables: Mapping[str, Value]
    functions: Mapping[str, Value]
    processes: Callable[[], str]  # a DuckDB query of the process list
    parameters: Sequence[Value] | None = None  # None: while preparing, every parameter is NULL


@dataclass
class Translated:
    """DuckDB SQL, the headers (None: DuckDB's name) and origins by position, and the seconds of SLEEP to wait first."""

    sql: str
    headers: list[str | None]
    origins: list[Origin | None]
    sleep_s: float = 0.0


def translate(query: Query, scope: Scope) -> Translated:
    """Raises faults.SqlError for unknown tables, databases and variables."""
    work = _Translation(scope)
    headers, origins = describe(query, work.resolve)
    tree = query.tree.transform(work.replaced)
    sql = tree.sql("duckdb", unsupported_level=ErrorLevel.IGNORE, comments=False)
    return Translated(sql, headers, origins, work.sleep_s)


def condition(text: str, scope: Scope) -> str:
    """A MySQL condition (of SHOW ... WHERE) as DuckDB SQL."""
    where = parse(f"SELECT 1 WHERE {text}").tree.transform(_Translation(scope).replaced).args["where"]
    return str(where.this.sql("duckdb", unsupported_level=ErrorLevel.IGNORE))


@dataclass
class _Translation:
    scope: Scope
    sleep_s: float = field(default=0.0)

    def replaced(self, node: exp.Expr) -> exp.Expr:
        """The DuckDB equivalent of ``node``; sqlglot's transform calls it from the root down."""
        rule = _RULES.get(type(node))
        return rule(self, node) if rule else node

    def query(self, node: exp.Expr) -> exp.Expr:
        for clause in ("locks", "hint", "operation_modifiers", "into"):
            node.set(clause, None)
        source = node.args.get("from_")
        if source and isinstance(source.this, exp.Table) and source.this.name.lower() == "dual":
            node.set("from_", None)
        if node.parent is not None and isinstance(node, exp.Select):
            node.set("expressions", [_named(item) for item in node.expressions])
        return node

    def table(self, node: exp.Expr) -> exp.Expr:
        if not isinstance(node.this, exp.Identifier):
            raise faults.unsupported("table functions")
        for clause in ("hints", "partition", "sample", "version", "changes", "when"):
            node.set(clause, None)
        resolved = self.resolve(node)
        if resolved is None:
            return node
        database, table = resolved
        alias = node.alias or node.name
        if database == INFORMATION_SCHEMA and table.name == "PROCESSLIST":
            return sqlglot.parse_one(f"({self.scope.processes()})", dialect="duckdb").as_(alias, table=True)
        store = INFORMATION_SCHEMA_STORE if database == INFORMATION_SCHEMA else database
        return exp.table_(exp.to_identifier(table.name, quoted=True), exp.to_identifier(store, quoted=True)).as_(
            exp.to_identifier(alias, quoted=True), table=True
        )

    def resolve(self, node: exp.Expr) -> tuple[str, SampleTable] | None:
        """The database and table of a name in FROM, or None for a common table expression."""
        if not node.text("db"):
            if _is_common_table(node):
                return None
            if self.scope.database is None:
                raise faults.no_database()
        wanted = node.text("db") or self.scope.database or ""
        database = self.scope.catalog.database(wanted)
        if database is None:
            raise faults.unknown_database(wanted)
        table = self.scope.catalog.table(database, node.name)
        if table is None:
            raise faults.unknown_table(database, node.name)
        return database, table

    def column(self, node: exp.Expr) -> exp.Expr:
        node.set("db", None)
        node.set("catalog", None)
        return node

    def parameter(self, node: exp.Expr) -> exp.Expr:
        values = self.scope.parameters
        value = values[int(node.name[1:])] if values is not None else None
        if isinstance(node.parent, exp.Limit | exp.Offset):
            value = _row_count(value)
        return constant(value)

    def user_variable(self, node: exp.Expr) -> exp.Expr:
        return constant(self.scope.user_variables.get(node.name.lower()))

    def system_variable(self, node: exp.Expr) -> exp.Expr:
        return constant(self.scope.system_variable(node.name))

    def function(self, node: exp.Expr) -> exp.Expr:
        name = node.name.upper()
        if name == "SLEEP" and len(node.expressions) == 1:
            self.sleep_s += _seconds(node.expressions[0].transform(self.replaced))
            return exp.Literal.number(0)
        if name in ("NOW", "SYSDATE"):
            return self.now(node)
        if name in self.scope.functions:
            return constant(self.scope.functions[name])
        return node

    def named_value(self, node: exp.Expr) -> exp.Expr:
        return constant(self.scope.functions[_FUNCTION_NODES[type(node)]])

    def now(self, node: exp.Expr) -> exp.Expr:
        argument = node.expressions[0] if isinstance(node, exp.Anonymous) and node.expressions else node.this
        digits = int(argument.name) if isinstance(argument, exp.Literal) and argument.name.isdigit() else 0
        return constant(self.scope.now if digits else self.scope.now.replace(microsecond=0))

    def today(self, node: exp.Expr) -> exp.Expr:
        return constant(self.scope.now.date())

    def clock(self, node: exp.Expr) -> exp.Expr:
        return cast_text(f"{self.scope.now:%H:%M:%S}", "TIME")


Rule: TypeAlias = "Callable[[_Translation, exp.Expr], exp.Expr]"
_RULES: dict[type[exp.Expr], Rule] = {
    exp.Select: _Translation.query,
    exp.Union: _Translation.query,
    exp.Intersect: _Translation.query,
    exp.Except: _Translation.query,
    exp.Subquery: _Translation.query,
    exp.Table: _Translation.table,
    exp.Column: _Translation.column,
    exp.Placeholder: _Translation.parameter,
    exp.Parameter: _Translation.user_variable,
    exp.SessionParameter: _Translation.system_variable,
    exp.Anonymous: _Translation.function,
    exp.CurrentTimestamp: _Translation.now,
    exp.Localtime: _Translation.now,
    exp.Localtimestamp: _Translation.now,
    exp.UtcTimestamp: _Translation.now,
    exp.CurrentDate: _Translation.today,
    exp.UtcDate: _Translation.today,
    exp.CurrentTime: _Translation.clock,
    exp.UtcTime: _Translation.clock,
    exp.CurrentVersion: _Translation.named_value,
    exp.CurrentUser: _Translation.named_value,
    exp.SessionUser: _Translation.named_value,
    exp.CurrentSchema: _Translation.named_value,
}
_FUNCTION_NODES: dict[type[exp.Expr], str] = {
    exp.CurrentVersion: "VERSION",
    exp.CurrentUser: "CURRENT_USER",
    exp.SessionUser: "USER",
    exp.CurrentSchema: "DATABASE",
}


def _is_common_table(node: exp.Expr) -> bool:
    """Whether a WITH in scope defines the name; a CTE sees those before it, and itself only if RECURSIVE."""
    below: exp.Expr = node
    above = node.parent
    inside: exp.Expr | None = None  # the CTE whose body contains the node
    while above is not None:
        if isinstance(above, exp.CTE):
            inside = above
        clause = above if isinstance(above, exp.With) else above.args.get("with_")
        if isinstance(clause, exp.With) and below is not clause:
            for table in clause.expressions:
                own = table is inside
                if own and not clause.args.get("recursive"):
                    break
                if table.alias.lower() == node.name.lower():
                    return True
                if own:
                    break
        below, above = above, above.parent
    return False


def _named(item: exp.Expr) -> exp.Expr:
    """An item of an inner select list with MySQL's name for it, so that outer queries can refer to it."""
    if isinstance(item, exp.Alias | exp.Column | exp.Star | exp.Subquery) or item.is_star:
        return item
    return exp.alias_(item, item.sql("mysql"), quoted=True)


def _row_count(value: Value) -> int | None:
    try:
        return None if value is None else max(0, int(value))  # type: ignore[arg-type]  # numeric text is accepted
    except (TypeError, ValueError):
        raise faults.SqlError(1210, "HY000", "Incorrect arguments to LIMIT") from None


def _seconds(node: exp.Expr) -> float:
    try:
        return min(max(0.0, float(node.name)), 86400.0)
    except ValueError:
        raise faults.SqlError(1210, "HY000", "Incorrect arguments to sleep") from None
