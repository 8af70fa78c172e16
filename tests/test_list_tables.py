"""``fluxport tables`` lists what is there to export, as the database's own catalogue describes it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fluxport.cli import root
from fluxport.errors import QueryFailed, Refused
from fluxport.sources.tables import list_tables
from mysql_support import Database, scratch_database
from postgres_support import PostgresDatabase, scratch_postgres

WEIRD = 'we"ird \x1b[31m'


def run(*words: str) -> Result:
    return CliRunner().invoke(root, ["tables", *words])


def listed(*words: str) -> list[dict[str, Any]]:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Database]:
    with scratch_database() as database:
        database.run("CREATE TABLE orders (id BIGINT UNSIGNED, note VARCHAR(20), price DECIMAL(10,2))")
        database.run("INSERT INTO orders SELECT seq, 'x', 1 FROM seq_1_to_1000")
        database.run("ANALYZE TABLE orders")
        database.run("CREATE TABLE `Order lines` (a DATE)")
        database.run("CREATE VIEW recent AS SELECT id FROM orders")
        yield database


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresDatabase]:
    with scratch_postgres() as database:
        database.run("CREATE TABLE orders (id bigint, gone int, note varchar(20), price numeric(10,2)[])")
        database.run("ALTER TABLE orders DROP COLUMN gone")
        database.run("INSERT INTO orders SELECT n, 'x' FROM generate_series(1, 1000) n")
        database.run("ANALYZE orders")
        database.run("CREATE SCHEMA other")
        database.run("CREATE TABLE other.empty ()")
        database.run("CREATE MATERIALIZED VIEW recent AS SELECT id FROM orders WITH NO DATA")
        yield database


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    file = sqlite3.connect(tmp_path / "a.db")
    file.executescript(
        f"""
        CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT, price DECIMAL(10,2), bare);
        CREATE INDEX by_note ON orders (note);
        INSERT INTO orders (note) VALUES ('a'), ('b'), ('c');
        CREATE TABLE "{WEIRD.replace('"', '""')}" (a DATE);
        CREATE VIEW recent AS SELECT id FROM orders;
        CREATE TABLE gone (a);
        CREATE VIEW broken AS SELECT a FROM gone;
        DROP TABLE gone;
        ANALYZE;
        """
    )
    file.close()
    return f"sqlite:///{tmp_path / 'a.db'}"


def test_the_tables_of_mariadb(mariadb: Database) -> None:
    lines, orders, recent = list_tables(mariadb.url)
    assert (lines.schema, lines.name, lines.columns) == (mariadb.name, "Order lines", (("a", "date"),))
    assert (orders.kind, recent.kind, recent.rows) == ("table", "view", None)
    assert 500 <= (orders.rows or 0) <= 2000
    assert orders.columns == (("id", "bigint(20) unsigned"), ("note", "varchar(20)"), ("price", "decimal(10,2)"))


def test_without_a_database_those_of_all_are_listed_and_none_of_the_system(mariadb: Database) -> None:
    found = {table.schema for table in list_tables(mariadb.url.removesuffix(mariadb.name))}
    assert mariadb.name in found
    assert found.isdisjoint({"mysql", "information_schema", "sys", "performance_schema"})


def test_the_tables_of_postgresql(postgres: PostgresDatabase) -> None:
    empty, orders, recent = list_tables(postgres.url)
    assert (empty.full_name, empty.columns, empty.rows) == ("other.empty", (), None)
    assert (orders.full_name, orders.kind, orders.rows) == ("public.orders", "table", 1000)
    assert orders.columns == (("id", "bigint"), ("note", "character varying(20)"), ("price", "numeric(10,2)[]"))
    assert recent.kind == "materialized view"


def test_a_table_that_the_account_may_not_read_is_not_listed(postgres: PostgresDatabase) -> None:
    role = f"{postgres.name}_reader"
    postgres.run(f"CREATE ROLE {role} LOGIN")
    try:
        postgres.run(f"GRANT SELECT (id) ON orders TO {role}")
        host = postgres.url.rsplit("@", 1)[1]
        assert [table.name for table in list_tables(f"postgresql://{role}@{host}")] == ["orders"]
    finally:
        postgres.run(f"DROP OWNED BY {role}")
        postgres.run(f"DROP ROLE {role}")


def test_the_tables_of_sqlite(sqlite_url: str) -> None:
    tables = {table.name: table for table in list_tables(sqlite_url)}
    assert list(tables) == ["broken", "orders", "recent", WEIRD]
    assert tables["orders"].rows == 3
    assert [(column.name, column.type.lower()) for column in tables["orders"].columns] == [
        ("id", "integer"),
        ("note", "text"),
        ("price", "decimal(10,2)"),
        ("bare", ""),
    ]
    assert tables[WEIRD].rows is None
    assert tables["broken"].columns == ()


def test_the_command_shows_tables_on_lines_without_control_characters(sqlite_url: str) -> None:
    result = run("--from", sqlite_url)
    assert result.exit_code == 0
    assert "orders: table, about 3 rows\n  id     INTEGER\n  note   TEXT\n" in result.stdout
    assert "recent: view\n" in result.stdout
    assert 'we"ird \\x1b[31m: table\n' in result.stdout


def test_a_pattern_picks_tables_by_either_name(mariadb: Database) -> None:
    for pattern in ("order*", "ORDER*", f"{mariadb.name}.order*"):
        assert [table["name"] for table in listed(pattern, "--from", mariadb.url)] == ["Order lines", "orders"]
    (table,) = listed("recent", "--from", mariadb.url)
    assert table == {
        "schema": mariadb.name,
        "name": "recent",
        "kind": "view",
        "rows_estimate": None,
        "columns": [{"name": "id", "type": "bigint(20) unsigned"}],
    }
    none = run("nothing*", "--from", mariadb.url)
    assert (none.exit_code, none.stdout) == (1, "")


def test_of_a_connection_with_a_list_of_tables_only_those_are_listed(sqlite_url: str, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(f"connections: {{shop: {{url: '{sqlite_url}', tables: [orders]}}}}")
    (table,) = listed("--from", "shop", "--config", str(config))
    assert table["name"] == "orders"


def test_a_database_that_is_not_there_is_an_error(mariadb: Database) -> None:
    with pytest.raises(QueryFailed) as failed:
        list_tables(mariadb.url + "_gone")
    assert failed.value.code == "unknown_database"


def test_a_source_without_a_catalogue_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fluxport.sources.table import SOURCES

    monkeypatch.setitem(SOURCES.built_in, "bare", SOURCES["sqlite"]._replace(tables=None))
    with pytest.raises(Refused) as refused:
        list_tables("bare:///a.db")
    assert refused.value.code == "not_listed"
