"""Statements that analysts write pass the guard, and return the same rows and headers as the original."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import duckdb
import pymysql
import pytest

from fluxport.errors import QueryRefused
from fluxport.policy.guard import GuardPolicy, check
from fluxport.policy.guard.words import Dialect
from guard_corpora import CORPUS, legitimate, refused_as_listed, statements
from services import MARIADB_URL, require_mariadb

SCHEMA = f"fluxport_test_guard_{os.getpid()}"  # each process of the tests has its own
MYSQL = [(f"{name}: {title}", sql) for name in ("tpch", "imdb", "sakila", "clickbench", "tricky")
         for title, sql in statements(name)]  # fmt: skip
DIALECTS: tuple[Dialect, ...] = ("mysql", "sqlite", "duckdb")
Result = tuple[list[str], list[str]]


@pytest.fixture(scope="module")
def mariadb() -> Iterator[pymysql.cursors.Cursor]:
    parts = re.fullmatch(r"mysql://(?P<user>[^:@]*)(:(?P<password>[^@]*))?@(?P<host>[^:/]+)(:(?P<port>\d+))?/.*",
                         require_mariadb())  # fmt: skip
    assert parts, MARIADB_URL
    connection = pymysql.connect(
        host=parts["host"], port=int(parts["port"] or 3306), user=parts["user"], password=parts["password"] or "",
        charset="utf8mb4", sql_mode="STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION",
    )  # fmt: skip
    with connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {SCHEMA}")
        cursor.execute(f"CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
        cursor.execute(f"USE {SCHEMA}")
        try:
            for schema in ("schema.sql", "legit_mysql_schema.sql"):
                for statement in re.split(r";\n+", (CORPUS / schema).read_text("utf-8").strip()[:-1]):
                    cursor.execute(statement)
            connection.commit()
            yield cursor
        finally:
            cursor.execute(f"DROP DATABASE {SCHEMA}")


def result(cursor: Any, sql: str) -> Result:
    """Headers in order, and the rows whatever their order, as exact texts."""
    cursor.execute(sql)
    return [column[0] for column in cursor.description], sorted(map(repr, cursor.fetchall()))


@pytest.mark.parametrize(("title", "sql"), MYSQL, ids=[title for title, _ in MYSQL])
def test_mariadb_gives_the_same_rows_and_headers_for_the_rewritten_statement(
    mariadb: pymysql.cursors.Cursor, title: str, sql: str
) -> None:
    sql = sql.replace("SCHEMA_NAME", SCHEMA)
    rewritten = check(sql, GuardPolicy(default_schema=SCHEMA))
    assert result(mariadb, rewritten) == result(mariadb, sql)


@pytest.mark.parametrize("dialect", ["sqlite", "duckdb"])
def test_embedded_databases_give_the_same_rows_and_headers(dialect: Any) -> None:
    connection: Any = sqlite3.connect(":memory:") if dialect == "sqlite" else duckdb.connect()
    connection.execute("CREATE TABLE t (id INTEGER, v VARCHAR)")
    connection.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'a'), (4, NULL)")
    cursor = connection.cursor()
    try:
        for title, sql in statements(dialect):
            rewritten = check(sql, GuardPolicy(dialect, default_schema="main"))
            assert result(cursor, rewritten) == result(cursor, sql.removesuffix(";")), title
    finally:
        cursor.close()
        connection.close()


def test_an_unknown_column_is_an_error_in_sqlite_and_not_a_string() -> None:
    """SQLite takes ``"x"`` for a string when no column is called x; the guard quotes names so that it cannot."""
    connection = sqlite3.connect(":memory:")
    try:
        with pytest.raises(sqlite3.OperationalError):
            connection.execute(check('SELECT "x", y', GuardPolicy("sqlite")))
    finally:
        connection.close()


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(MYSQL) >= 200


@pytest.mark.slow
@pytest.mark.parametrize("dialect", DIALECTS)
def test_less_than_two_in_a_hundred_legitimate_statements_are_refused_and_those_are_listed(dialect: Dialect) -> None:
    """``python tests/guard_corpora.py`` rewrites the list: an added or removed line is a change for callers."""
    refused = refused_as_listed(dialect)
    total = len({one.sql for one in legitimate(dialect)})
    assert total >= 1_000
    assert len(refused) < 0.02 * total
    listed = (CORPUS / f"refused_{dialect}.txt").read_text("utf-8").splitlines()
    assert refused == [line for line in listed if not line.startswith("# ")]


# Refusals by a rule of docs/reference/sql.md: the statement does what no caller may do, or has two meanings.
_BY_RULE = re.compile(
    r"query_(variable|hint|schema|lock|comment|character)|belongs to the database system|not allowed: it|reveal"
    r"|begin with a digit|pragma_"
)


@pytest.mark.parametrize("dialect", ["mysql", "sqlite"])
def test_less_than_two_in_a_thousand_legitimate_statements_are_refused_against_the_rules(dialect: Dialect) -> None:
    listed = (CORPUS / f"refused_{dialect}.txt").read_text("utf-8").splitlines()
    wrong = [line for line in listed if not line.startswith("# ") and not _BY_RULE.search(line)]
    assert len(wrong) < 0.002 * len({one.sql for one in legitimate(dialect)}), wrong


def differences(cursor: Any, dialect: Dialect, schema: str | None) -> list[str]:
    """Legitimate statements that fail, or return other headers or rows, when rewritten."""
    found = []
    for one in legitimate(dialect):
        if not one.runs:
            continue
        original = result(cursor, one.sql)
        try:
            rewritten = check(one.sql, GuardPolicy(dialect, default_schema=schema))
        except QueryRefused:
            continue
        again = result(cursor, rewritten)
        if original[0] != again[0] or len(original[1]) != len(again[1]) or (original != again and not one.varies):
            found.append(f"{one.sql} -> {rewritten}: {original} -> {again}")
    return found


def test_rewritten_legitimate_statements_give_the_same_in_mariadb(
    mariadb: pymysql.cursors.Cursor,
) -> None:
    assert differences(mariadb, "mysql", SCHEMA) == []


def test_a_length_that_only_the_rows_know_is_bounded_by_the_server(mariadb: pymysql.cursors.Cursor) -> None:
    """REPEAT and the like return NULL and a warning beyond max_allowed_packet, also inside an expression."""
    for call in ("REPEAT(REPEAT('a', n), n)", "LPAD('a', n * n, 'b')", "RPAD('a', POW(n, 3), 'b')", "SPACE(n * n)"):
        statement = check(f"SELECT LENGTH({call}) FROM (SELECT 60000 AS n) AS q", GuardPolicy())
        mariadb.execute(statement)
        assert mariadb.fetchall() == ((None,),), statement


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["sqlite", "duckdb"])
def test_legitimate_statements_give_the_same_in_embedded_databases(dialect: Dialect) -> None:
    connection: Any = sqlite3.connect(":memory:") if dialect == "sqlite" else duckdb.connect()
    script = (CORPUS / f"legit_{dialect}_schema.sql").read_text("utf-8")
    try:
        if dialect == "sqlite":
            connection.executescript(script)
        else:
            connection.execute(script)
        # DuckDB shows the schema of a table in a subquery in headers, so that none is written there.
        schema = "main" if dialect == "sqlite" else None
        assert differences(connection.cursor(), dialect, schema) == []
    finally:
        connection.close()
