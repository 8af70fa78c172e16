"""A table that is not allowed cannot be read by any clause of the grammar, as its effect on real engines shows.

Every statement of ``guard_corpus/reads_*.txt`` runs over a table ``pins`` (and ``pairs``) without rows and again with
one. Where the two results differ, the statement read the table.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb
import psycopg
import pymysql
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport.errors import QueryRefused
from fluxport.policy.guard import GuardPolicy, check
from guard_corpora import reads, statements
from mysql_support import scratch_database
from postgres_support import scratch_postgres

Run = Callable[[str], Any]
FILL = ["INSERT INTO pins VALUES ('canary')", "INSERT INTO pairs VALUES ('canary', 1)"]
TABLES = ["t (a INT, b INT)", "pins (pin VARCHAR(9))", "pairs (pin VARCHAR(9), b INT)"]


class Engine:
    """``effect`` says whether a statement gives another result when the closed tables hold a row."""

    def __init__(self, run: Run, schema: str, more: Sequence[str] = ()) -> None:
        self._run = run
        self.schema = schema
        for statement in (*(f"CREATE TABLE {table}" for table in TABLES), "INSERT INTO t VALUES (1, 2), (3, 4)", *more):
            run(statement)

    def results(self, statement: str) -> Any:
        try:
            return self._run(statement)
        except (sqlite3.Error, duckdb.Error, pymysql.Error, psycopg.Error) as error:
            return repr(error.args[:1])  # the code of MariaDB, the words of the others

    def effect(self, statement: str) -> bool:
        for table in ("pins", "pairs"):
            self._run(f"DELETE FROM {table}")
        before = self.results(statement)
        for filling in FILL:
            self._run(filling)
        return bool(self.results(statement) != before)


# Functions and an operator of other users, which every account may call.
POSTGRES_CALLS = [
    "CREATE FUNCTION read_pins() RETURNS SETOF pins LANGUAGE sql AS 'SELECT * FROM pins'",
    "CREATE FUNCTION read_pins_of(text) RETURNS text LANGUAGE sql AS 'SELECT pin FROM pins'",
    "CREATE FUNCTION compare_pins(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT count(*) > 0 FROM pins'",
    "CREATE OPERATOR <~~~> (FUNCTION = compare_pins, LEFTARG = text, RIGHTARG = text)",
]


@pytest.fixture(scope="module", params=["sqlite", "duckdb", "mysql", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Engine]]:
    name = request.param
    if name == "mysql":
        with scratch_database() as database:
            yield name, Engine(database.run, database.name)
        return
    if name == "postgresql":
        with scratch_postgres() as database:
            yield name, Engine(database.run, "public", POSTGRES_CALLS)
        return
    connection: Any = sqlite3.connect(":memory:", isolation_level=None) if name == "sqlite" else duckdb.connect()
    yield name, Engine(lambda sql: connection.execute(sql).fetchall(), "main")
    connection.close()


def test_no_statement_reads_a_table_that_is_not_open(engine: tuple[Any, Engine]) -> None:
    dialect, running = engine
    payloads = [sql.replace("SCHEMA_NAME", running.schema) for sql in reads(dialect)]
    works = [sql for sql in payloads if running.effect(sql)]
    assert len(works) > len(payloads) // 3, "most of the corpus should be real attacks on this engine"
    for schema in (None, running.schema):
        policy = GuardPolicy(dialect, default_schema=schema, tables=frozenset({"t", f"{running.schema}.t"}))
        for sql in payloads:
            try:
                statement = check(sql, policy)
            except QueryRefused:
                continue
            assert sql not in works, statement
            assert not running.effect(statement), statement


def test_what_stands_after_in_is_a_table_of_sqlites() -> None:
    policy = GuardPolicy("sqlite", default_schema="main", tables=frozenset({"t"}))
    for condition, written in [
        ("1 IN t", "1 IN `main`.`t`"),
        ("a NOT IN main.t", "`a` NOT IN `main`.`t`"),
        ('(a, b) IN "t"', "(`a`, `b`) IN `main`.`t`"),
        ("a IN (b)", "`a` IN (`b`)"),
    ]:
        assert check(f"SELECT 1 FROM t WHERE {condition}", policy).endswith(f" WHERE {written}")
    assert check("WITH x AS (SELECT 1) SELECT 2 IN x AS n", policy).endswith(" 2 IN `x` AS `n`")
    with pytest.raises(QueryRefused) as caught:
        check("SELECT " + ", ".join(["1 IN t"] * 65), policy)
    assert caught.value.code == "query_too_large"


SEEDS = [sql for _, sql in statements("sqlite") if len(sql) < 300] + [
    "SELECT a IN t FROM t",
    "SELECT a FROM t WHERE (a, b) IN (VALUES (1, 2))",
    "WITH x AS MATERIALIZED (SELECT a FROM t) SELECT a NOT IN x FROM x, main.t",
    "SELECT a FROM t u WHERE EXISTS (SELECT 1 FROM t WHERE u.a = t.a)",
    "SELECT a FROM (SELECT a FROM t) UNION SELECT b FROM t ORDER BY 1 LIMIT 3",
    "SELECT sum(a) FILTER (WHERE a > 1) OVER (PARTITION BY b ORDER BY a) FROM t NATURAL JOIN t u",
]
PIECES = ["pins", "main.pins", "'pins'", '"pins"', "`pins`", "main.'pins'", "(pins)", "(pins, t)", "pins.pin", "pins()",
          "IN pins", "IN main.pins", "NOT IN pins", "IN ('x', pins)", "JOIN pins", ", pins", "SELECT * FROM pins",
          "TABLE pins", "FROM pins", "IN", "NOT", "AS", "(", ")", ",", ".", "VALUES (1)",
          "WITH pins AS (SELECT 1)"]  # fmt: skip


def tables_read(statement: str) -> set[str]:
    """The tables that SQLite says it would read for ``statement``."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for table in TABLES:
        connection.execute(f"CREATE TABLE {table}")
    found: set[str] = set()

    def note(action: int, name: str | None, column: str | None, schema: str | None, _: str | None) -> int:
        if action == sqlite3.SQLITE_READ and name and (schema or column):  # else perhaps a WITH query
            found.add(name)
        return sqlite3.SQLITE_OK

    connection.set_authorizer(note)
    try:
        connection.execute(f"EXPLAIN {statement}")
    except sqlite3.Error:
        return set()  # which gives no row either
    finally:
        connection.close()
    return found


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_statements_with_pieces_of_such_reads_are_refused_or_read_open_tables_alone(data: st.DataObject) -> None:
    parts = re.findall(r"\w+|\s+|'[^']*'|.", data.draw(st.sampled_from(SEEDS)), re.DOTALL)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(parts)))
        parts[place : place + data.draw(st.integers(0, 1))] = [f" {data.draw(st.sampled_from(PIECES))} "]
    policy = GuardPolicy("sqlite", tables=frozenset({"t", "main.t"}))
    try:
        statement = check("".join(parts), policy)
    except QueryRefused:
        return
    assert tables_read(statement) <= {"t"}, statement
