"""MySQL text becomes DuckDB SQL: comments, headers, scopes, parameters, refusals."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxport_emulator import dialect, show, types
from fluxport_emulator.dialect import Scope, Translated
from fluxport_emulator.engine import Engine, rows_of, run
from fluxport_emulator.faults import SqlError
from fluxport_emulator.session import _split
from fluxport_emulator.statement import parse, without_comments
from fluxport_emulator.tables import Catalog, users_table
from fluxport_emulator.values import Value

CATALOG = Catalog.of("app", (users_table(100),), "fluxport")


@pytest.fixture(scope="module")
def cursor() -> Any:
    engine = Engine(CATALOG, memory_limit="200MB", threads=1)
    with engine.cursor() as cursor:
        yield cursor
    engine.close()


def _scope(parameters: Sequence[Value] | None = (), database: str | None = "app") -> Scope:
    functions: dict[str, Value] = {"DATABASE": database, "USER": "u@h", "VERSION": "8", "CONNECTION_ID": 7}
    now = dt.datetime(2026, 1, 2, 3, 4, 5, 678)
    return Scope(CATALOG, database, now, lambda name: {"answer": 42}[name], {"x": "it's"}, functions, str, parameters)


def _translated(text: str, parameters: Sequence[Value] | None = (), database: str | None = "app") -> Translated:
    return dialect.translate(parse(without_comments(text).text), _scope(parameters, database))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("SELECT 1 /* gone */ + 2 -- gone", "SELECT 1   + 2"),
        ("SELECT /*!40001 SQL_NO_CACHE */ 1", "SELECT  SQL_NO_CACHE  1"),
        ("SELECT 1 /*!99999 + 1 */", "SELECT 1"),
        ("SELECT /*! 5 */", "SELECT  5"),
        ("SELECT 1 /*M!100100 + 1 */;", "SELECT 1"),
        ("SELECT '/* kept */', \"-- kept\", `# kept`", "SELECT '/* kept */', \"-- kept\", `# kept`"),
        ("SELECT 'it\\'s /* kept */' # gone", "SELECT 'it\\'s /* kept */'"),
        ("SELECT 5--3", "SELECT 5--3"),
    ],
)
def test_comments_fall_away_and_executable_ones_are_spelled_out(text: str, plain: str) -> None:
    assert without_comments(text).text.split() == plain.split()


def test_the_time_limit_of_a_hint_is_found() -> None:
    assert without_comments("SELECT /*+ MAX_EXECUTION_TIME(250) */ 1").max_execution_ms == 250


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("SELECT id, u.name, email AS `E mail` FROM users u", ["id", "name", "E mail"]),
        ("SELECT count( * ), 1+1, 'text' FROM users", ["count( * )", "1+1", "text"]),
        ("SELECT DISTINCT SQL_NO_CACHE id+1 FROM users", ["id+1"]),
        ("SELECT ID, NULL, true FROM users", ["ID", "NULL", "TRUE"]),
        ("(SELECT id x FROM users) UNION SELECT 2", ["x"]),
        ("WITH a AS (SELECT 1, 2) SELECT max( 1 ) FROM a", ["max( 1 )"]),
        ("SELECT *, id*2 FROM users", ["id", "name", "email", "created_at", "score", "id*2"]),
        ("SELECT a, a FROM (SELECT 1 AS a) t", ["a", "a"]),
        ("SELECT * FROM (SELECT COUNT(*), 1 AS b) t", ["COUNT(*)", "b"]),
        ("SELECT if(id in (1,2), 'a,b', (select 1)) FROM users", ["if(id in (1,2), 'a,b', (select 1))"]),
        ("SELECT @@answer, ?", ["@@answer", "?"]),
    ],
)
def test_columns_are_headed_as_mysql_heads_them(
    cursor: duckdb.DuckDBPyConnection, text: str, headers: list[str]
) -> None:
    result = run(cursor, _translated(text, ("p",)), binary=False, describe_only=True)
    assert [column.name for column in result.columns] == headers


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("WITH users AS (SELECT * FROM users WHERE id < 4) SELECT COUNT(*) FROM users", [(3,)]),
        ("WITH a AS (SELECT 1 x), b AS (SELECT x + 1 y FROM a) SELECT y FROM b", [(2,)]),
        ("SELECT COUNT(*) FROM users WHERE id IN (WITH t AS (SELECT 5 id) SELECT id FROM t)", [(1,)]),
        ("WITH RECURSIVE n AS (SELECT 1 i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT SUM(i) FROM n", [(15,)]),
        ("SELECT app.users.id FROM app.users WHERE `users`.`id` = 9", [(9,)]),
        ("SELECT 1 FROM dual", [(1,)]),
        ("SELECT id FROM users FORCE INDEX (PRIMARY) WHERE id = 3 FOR UPDATE", [(3,)]),
        ("SELECT id FROM users ORDER BY id LIMIT 5, 2", [(6,), (7,)]),
        ("SELECT @x, @@answer, @unset", [("it's", 42, None)]),
        ("SELECT TABLE_ROWS FROM information_schema.tables WHERE table_schema = 'app'", [(100,)]),
        ("SELECT DATABASE(), USER(), CONNECTION_ID()", [("app", "u@h", 7)]),
        ("SELECT NOW(), CURDATE()", [(dt.datetime(2026, 1, 2, 3, 4, 5), dt.date(2026, 1, 2))]),
        ("SELECT 'a%b' LIKE 'a\\%b', 'axb' LIKE 'a\\%b'", [(True, False)]),
        ("SELECT \"double\", 'it''s', 'a\\nb', _utf8mb4'é' COLLATE utf8mb4_bin", [("double", "it's", "a\nb", "é")]),
        ("SELECT 1/0, 7 DIV 2, 7 % 3, NULL <=> NULL, 1 || 0", [(None, 3, 1, True, True)]),
    ],
)
def test_statements_mean_what_they_mean_in_mysql(
    cursor: duckdb.DuckDBPyConnection, text: str, rows: list[tuple[Any, ...]]
) -> None:
    assert rows_of(cursor, _translated(text)) == rows


@pytest.mark.parametrize(
    "value",
    [
        'it\'s \\ "quoted" ☃',
        "'; DROP TABLE users; --",
        2**63,
        -5,
        0.1,
        1e308,
        Decimal("123.4500"),
        b"\xff\x00",
        None,
        dt.datetime(2024, 2, 29, 1, 2, 3, 4),
        dt.date(2024, 2, 29),
    ],
)
def test_a_parameter_arrives_as_its_own_value(cursor: duckdb.DuckDBPyConnection, value: Value) -> None:
    assert rows_of(cursor, _translated("SELECT ?", (value,))) == [(value,)]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_text_parameters_cannot_become_sql(cursor: duckdb.DuckDBPyConnection, text: str) -> None:
    assert rows_of(cursor, _translated("SELECT ?", (text,))) == [(text,)]


def test_parameters_are_bound_in_the_order_they_are_written(cursor: duckdb.DuckDBPyConnection) -> None:
    text = "SELECT id, ? FROM users WHERE id > ? ORDER BY id LIMIT ?, ?"
    assert rows_of(cursor, _translated(text, ("a", 10, "1", 2.0))) == [(12, "a"), (13, "a")]


def test_columns_of_a_table_retain_their_declared_types(cursor: duckdb.DuckDBPyConnection) -> None:
    text = "SELECT u.id, v.id, u.name, id + 1 FROM users u LEFT JOIN users v USING (id)"
    described = run(cursor, _translated("SELECT * FROM users"), binary=False, describe_only=True).columns
    facts = [(c.code, c.length, c.decimals, c.flags & types.NOT_NULL, c.table, c.schema) for c in described]
    assert facts == [
        (8, 20, 0, 1, "users", "app"),
        (253, 1020, 0, 1, "users", "app"),
        (253, 1020, 0, 1, "users", "app"),
        (12, 19, 0, 1, "users", "app"),
        (5, 22, 31, 1, "users", "app"),
    ]
    joined = run(cursor, _translated(text), binary=False, describe_only=True).columns
    assert [c.flags & types.NOT_NULL for c in joined] == [0, 0, 0, 0]


def test_an_outer_join_makes_the_other_side_nullable(cursor: duckdb.DuckDBPyConnection) -> None:
    text = "SELECT u.id, v.id FROM users u LEFT JOIN users v ON v.id = u.id + 1"
    columns = run(cursor, _translated(text), binary=False, describe_only=True).columns
    assert [(c.table_alias, c.flags & types.NOT_NULL) for c in columns] == [("u", 1), ("v", 0)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SELECT 1; SELECT 2", 1064),
        ("SELECT", 1064),
        ("SELECT 'open", 1064),
        ("SELECT 1 FROM", 1064),
        ("SELECT :name", 1064),
        ("SELECT * FROM read_csv('/etc/passwd')", 1235),
        ("SELECT * FROM '/etc/passwd'", 1146),
        ("SELECT * FROM duckdb_settings()", 1235),
        ("SELECT * FROM sqlite_master", 1146),
        ("SELECT * FROM mysql.user", 1049),
        ("SELECT * FROM users INTO OUTFILE '/tmp/x'", 1290),
        ("SELECT 1 INTO @x", 1064),
        ("SELECT @x := 1", 1235),
        ("SELECT 1\0", 1064),
        ("SELECT " + "(" * 3000 + "1" + ")" * 3000, 1436),
        ("SELECT '" + "x" * (1 << 20) + "'", 1153),
    ],
)
def test_what_is_not_one_query_of_known_tables_is_refused(text: str, number: int) -> None:
    with pytest.raises(SqlError) as caught:
        _translated(text)
    assert caught.value.number == number


def test_a_table_needs_a_database() -> None:
    with pytest.raises(SqlError, match="No database selected"):
        _translated("SELECT * FROM users", database=None)


@pytest.mark.parametrize(
    "statement",
    ["SELECT * FROM read_text('/etc/passwd')", "COPY users TO '/tmp/x'", "INSTALL httpfs", "SET memory_limit = '9GB'",
     "ATTACH '/tmp/x.db'", "SELECT * FROM glob('/*')"],
)  # fmt: skip
def test_the_database_itself_reaches_nothing_outside(cursor: duckdb.DuckDBPyConnection, statement: str) -> None:
    with pytest.raises(duckdb.Error):
        cursor.execute(statement).fetchall()


@pytest.mark.parametrize(
    "text",
    [
        "SHOW TABLES", "SHOW FULL TABLES FROM `app` LIKE 'u%'", "SHOW TABLES WHERE Tables_in_app = 'users'",
        "SHOW COLUMNS FROM users", "SHOW FULL FIELDS FROM `users` FROM `app` LIKE '%'", "SHOW KEYS FROM app.users",
        "SHOW CREATE TABLE `app`.`users`", "SHOW CREATE DATABASE `app`", "SHOW TABLE STATUS FROM `app` LIKE 'users'",
        "SHOW DATABASES", "SHOW SCHEMAS LIKE 'app'", "SHOW VARIABLES LIKE 'version%'", "SHOW GRANTS",
        "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version')", "SHOW GRANTS FOR CURRENT_USER()",
        "SHOW COLLATION", "SHOW CHARACTER SET", "SHOW ENGINES",
    ],
)  # fmt: skip
def test_show_has_what_clients_request(cursor: duckdb.DuckDBPyConnection, text: str) -> None:
    facts = show.ServerFacts(lambda: [("version", "8")], lambda: [("Uptime", "1")], lambda: [])
    assert rows_of(cursor, Translated(show.query(text, _scope(), facts), [], []))


@pytest.mark.parametrize(
    "text",
    ["SHOW WARNINGS", "SHOW ERRORS LIMIT 5", "SHOW TRIGGERS", "SHOW EVENTS", "SHOW BINARY LOG STATUS", "SHOW PLUGINS",
     "SHOW PROCEDURE STATUS WHERE Db = 'app'", "SHOW SLAVE STATUS", "SHOW ALL SLAVES STATUS", "SHOW OPEN TABLES",
     "SHOW TABLES LIKE 'users\\_x'", "SHOW VARIABLES LIKE 'none'"],
)  # fmt: skip
def test_show_of_nothing_is_an_empty_result(cursor: duckdb.DuckDBPyConnection, text: str) -> None:
    facts = show.ServerFacts(lambda: [("version", "8")], lambda: [("Uptime", "1")], lambda: [])
    assert rows_of(cursor, Translated(show.query(text, _scope(), facts), [], [])) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [("SHOW FOO", 1064), ("SHOW TABLES FROM nope", 1049), ("SHOW COLUMNS FROM nope", 1146), ("SHOW", 1064)],
)
def test_show_of_the_unknown_is_refused(text: str, number: int) -> None:
    facts = show.ServerFacts(lambda: [], lambda: [], lambda: [])
    with pytest.raises(SqlError) as caught:
        show.query(text, _scope(), facts)
    assert caught.value.number == number


def test_lists_split_at_commas_outside_of_quotes_and_parentheses() -> None:
    assert _split(' a = \'x,y\', b = f(1, 2), `c,d` = "e\\"," ') == ["a = 'x,y'", "b = f(1, 2)", '`c,d` = "e\\","']


@pytest.mark.parametrize("declared", ["bigint", "decimal(10,2) unsigned", "datetime(3)", "varchar(7)", "longblob"])
def test_a_declared_type_is_known(declared: str) -> None:
    assert types.column_type(declared).declared == declared


@pytest.mark.parametrize("declared", ["", "geometry", "datetime(1)", "varchar(", "int; drop"])
def test_an_unknown_type_is_an_error(declared: str) -> None:
    with pytest.raises(ValueError, match=r"type|digits"):
        types.column_type(declared)


def test_more_rows_than_are_stored_are_computed_as_they_are_read() -> None:
    assert users_table(5_000_000).stored
    assert not users_table(5_000_001).stored
