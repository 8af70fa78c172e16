"""The tables of a MySQL or MariaDB server: of the URL's database, else of all that the account sees."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from fluxport.sources.tables import Query, TableInfo, by_column

# A comparison with DATABASE() or with constants alone lets an old server read no other database's tables.
_OWN = "{0}.table_schema = DATABASE()"
_ALL = "{0}.table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')"
_STATEMENT = """
    SELECT t.table_schema, t.table_name,
        CASE t.table_type WHEN 'VIEW' THEN 'view' WHEN 'SEQUENCE' THEN 'sequence' ELSE 'table' END AS kind,
        t.table_rows, c.column_name, c.column_type
    FROM information_schema.tables t
    JOIN information_schema.columns c ON c.table_schema = t.table_schema AND c.table_name = t.table_name
    WHERE {} AND {}
    ORDER BY t.table_schema, t.table_name, c.ordinal_position"""


def tables(query: Query) -> Iterator[TableInfo]:
    (database,) = query("SELECT DATABASE() AS d")["d"].to_pylist()
    where = _ALL if database is None else _OWN
    return by_column(query(_STATEMENT.format(where.format("t"), where.format("c"))))


def estimate(query: Query, statement: str) -> int | None:
    """The rows that the server expects to read for the result: of each SELECT the product over its tables. What groups
    or a LIMIT make of them is not in its plan."""
    plan = query(f"EXPLAIN {statement}").select(["id", "select_type", "rows"]).to_pylist()
    rows: dict[int, int] = defaultdict(lambda: 1)
    for line in plan:
        if line["select_type"] in ("SIMPLE", "PRIMARY", "UNION") and line["id"] is not None:
            rows[line["id"]] *= 1 if line["rows"] is None else int(line["rows"])
    return sum(rows.values()) if rows else None
