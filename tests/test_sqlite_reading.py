"""SQLite: which tables a statement may read, by its authorizer, and what virtual tables need."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from fluxport.errors import FluxportError, QueryRefused, Refused
from fluxport.plan import Connection, check, of_query
from fluxport.policy.guard import GuardPolicy
from fluxport.sources import SourceOptions, open_source
from fluxport.spec import ExportSpec
from fluxport.stages import Limits
from guard_corpora import reads

ROWS = 9000  # more than the first batch holds, so that the query that looks at every class runs too

VIRTUAL: list[tuple[str, str, list[str], str, list[tuple[Any, ...]]]] = [
    (
        "fts5",
        "CREATE VIRTUAL TABLE d USING fts5(name, body)",
        ["INSERT INTO d VALUES ('one', 'the red fox'), ('two', 'a red hen'), ('three', 'a blue hen')"],
        "SELECT name, snippet(d, 1, '<', '>', '', 8) AS found FROM d WHERE d MATCH 'red' ORDER BY rank, name",
        [("one", "the <red> fox"), ("two", "a <red> hen")],
    ),
    (
        "fts5",
        "CREATE VIRTUAL TABLE d USING fts5(body, content = 'texts', content_rowid = 'id')",
        ["CREATE TABLE texts (id INTEGER PRIMARY KEY, body)", "INSERT INTO texts VALUES (7, 'red fox'), (8, 'hen')",
         "INSERT INTO d (d) VALUES ('rebuild')"],
        "SELECT rowid AS n, body FROM d WHERE d MATCH 'fox'",
        [(7, "red fox")],
    ),
    (
        "fts4",
        "CREATE VIRTUAL TABLE d USING fts4(name, body)",
        ["INSERT INTO d VALUES ('one', 'the red fox'), ('two', 'a hen')"],
        "SELECT name, offsets(d) AS places FROM d WHERE body MATCH 'fox'",
        [("one", "1 0 8 3")],
    ),
    (
        "rtree",
        "CREATE VIRTUAL TABLE d USING rtree(id, low, high)",
        ["INSERT INTO d VALUES (1, 0, 5), (2, 10, 20)"],
        "SELECT id, low FROM d WHERE high < 7",
        [(1, 0.0)],
    ),
    (
        "fts5vocab",
        "CREATE VIRTUAL TABLE words USING fts5(body)",
        ["INSERT INTO words VALUES ('red fox'), ('red')", "CREATE VIRTUAL TABLE d USING fts5vocab(words, 'row')"],
        "SELECT term, doc FROM d ORDER BY term",
        [("fox", 1), ("red", 2)],
    ),
    ("dbstat", "CREATE TABLE d (v)", [], "SELECT DISTINCT name FROM dbstat WHERE name = 'd'", [("d",)]),
    ("json_each", "CREATE TABLE d (v)", ["INSERT INTO d VALUES ('[1, 2]')"],
     "SELECT e.value AS n FROM d, json_each(d.v) AS e", [(1,), (2,)]),
    ("json_tree", "CREATE TABLE d (v)", [], "SELECT fullkey FROM json_tree('[[1]]') WHERE atom",
     [("$[0][0]",)]),
    ("generate_series", "CREATE TABLE d (v)", [], "SELECT value FROM generate_series(1, 3)", [(1,), (2,), (3,)]),
]  # fmt: skip


def make(file: Path, *statements: str) -> str:
    connection = sqlite3.connect(file)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return f"sqlite:///{file}"


def built_in(module: str) -> bool:
    connection = sqlite3.connect(":memory:")
    found = connection.execute("SELECT 1 FROM pragma_module_list WHERE name = ?", (module,)).fetchone()
    connection.close()
    return found is not None


def read(url: str, query: str, tables: set[str] | None = None, **limits: Any) -> list[tuple[Any, ...]]:
    """All rows of ``query``, without the guard; ``tables`` are the allowed ones."""
    opens = GuardPolicy("sqlite", tables=frozenset(tables)).opens if tables is not None else None
    source = open_source(url, query, options=SourceOptions(may_read=opens), limits=Limits(**limits))
    try:
        return [tuple(row.values()) for batch in source.batches() for row in batch.to_pylist()]
    finally:
        source.close()


@pytest.mark.parametrize(
    ("module", "create", "fill", "query", "rows"),
    [entry for entry in VIRTUAL if built_in(entry[0])],
    ids=lambda v: v[:40] if isinstance(v, str) else "",
)
def test_virtual_tables_are_read(
    tmp_path: Path, module: str, create: str, fill: list[str], query: str, rows: list[Any]
) -> None:
    texts = [statement for statement in fill if statement.startswith(("CREATE TABLE", "INSERT INTO texts"))]
    url = make(tmp_path / "t.db", *texts, create, *(statement for statement in fill if statement not in texts))
    assert read(url, query) == rows
    if module != "dbstat":  # which tells of every table of the file
        assert read(url, query, {"d"}) == rows


def test_a_large_virtual_table_is_read_whole(tmp_path: Path) -> None:
    values = ", ".join(f"('text {n}', {n})" for n in range(ROWS))
    url = make(
        tmp_path / "t.db", "CREATE VIRTUAL TABLE d USING fts5(body, n UNINDEXED)", f"INSERT INTO d VALUES {values}"
    )
    assert read(url, "SELECT n FROM d WHERE d MATCH 'text'", {"d"}) == [(n,) for n in range(ROWS)]


@pytest.mark.parametrize("table", ["d_content", "d_data", "d_idx", "d_docsize", "d_config", "texts"])
def test_the_tables_behind_an_open_virtual_table_are_not_open(tmp_path: Path, table: str) -> None:
    url = make(tmp_path / "t.db", "CREATE TABLE texts (body)", "CREATE VIRTUAL TABLE d USING fts5(body)")
    assert read(url, "SELECT * FROM d", {"d"}) == []
    with pytest.raises(QueryRefused, match=f"The table {table} is not available") as caught:
        read(url, f"SELECT * FROM {table}", {"d"})
    assert caught.value.code == "query_table"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO d VALUES ('x')",
        "INSERT INTO d (d) VALUES ('rebuild')",
        "DELETE FROM d",
        "UPDATE d_config SET v = 1",
        "PRAGMA data_version",
        "PRAGMA page_size",
    ],
)
def test_what_virtual_tables_may_prepare_is_not_for_callers(tmp_path: Path, statement: str) -> None:
    url = make(tmp_path / "t.db", "CREATE VIRTUAL TABLE d USING fts5(body)")
    before = (tmp_path / "t.db").read_bytes()
    for tables in (None, {"d", "d_config"}):
        with pytest.raises(Refused) as caught:
            read(url, statement, tables)
        assert caught.value.code in {"read_only", "query_table"}
    assert (tmp_path / "t.db").read_bytes() == before


CANARY = ["CREATE TABLE t (a INT, b INT)", "INSERT INTO t VALUES (1, 2), (3, 4)",
          "CREATE TABLE pins (pin VARCHAR(9))", "CREATE TABLE pairs (pin VARCHAR(9), b INT)"]  # fmt: skip


def outcome(url: str, query: str, tables: set[str] | None) -> str:
    try:
        return repr(read(url, query, tables))
    except FluxportError as error:
        return error.code


def test_sqlite_itself_refuses_what_the_guard_would_have_let_through(tmp_path: Path) -> None:
    """The corpus of disallowed reads, without the guard."""
    empty = make(tmp_path / "empty.db", *CANARY)
    full = make(
        tmp_path / "full.db", *CANARY, "INSERT INTO pins VALUES ('canary')", "INSERT INTO pairs VALUES ('canary', 1)"
    )
    work = 0
    for query in reads("sqlite"):
        work += outcome(empty, query, None) != outcome(full, query, None)
        assert outcome(empty, query, {"t"}) == outcome(full, query, {"t"}), query
    assert work > 50


VIEWS = ["CREATE TABLE pins (pin, owner)", "INSERT INTO pins VALUES ('4711', 'a'), ('4712', 'b')",
         "CREATE VIEW mine AS SELECT pin FROM pins WHERE owner = 'a'",
         "CREATE VIEW above AS SELECT upper(pin) AS pin FROM mine",
         "CREATE VIEW counted AS SELECT count(*) AS n FROM pins",
         "CREATE VIEW every AS SELECT pin, owner FROM pins"]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT pin FROM mine", [("4711",)]),
        ("SELECT m.pin FROM main.mine AS m", [("4711",)]),
        ("SELECT '4711' IN mine AS found", [(1,)]),
        ("SELECT count(*) AS n FROM mine", [(1,)]),
        ("SELECT count(*) AS n FROM every", [(2,)]),
        ("SELECT n FROM counted", [(2,)]),
        ("SELECT pin FROM above", [("4711",)]),
        ("WITH x AS (SELECT pin FROM mine) SELECT count(*) AS n FROM x", [(1,)]),
        ("WITH x AS MATERIALIZED (SELECT 1) SELECT count(*) AS n FROM x", [(1,)]),
    ],
)
def test_an_open_view_may_read_its_tables(tmp_path: Path, query: str, rows: list[Any]) -> None:
    assert read(make(tmp_path / "t.db", *VIEWS), query, {"mine", "above", "counted", "every"}) == rows


@pytest.mark.parametrize(
    "query",
    [
        "SELECT pin FROM pins",
        "SELECT owner FROM mine, pins",
        "SELECT pin FROM every",
        "SELECT count(*) FROM pins",
        "WITH mine AS (SELECT pin FROM pins) SELECT pin FROM mine",
        "WITH mine(pin) AS NOT MATERIALIZED (SELECT pin FROM pins) SELECT pin FROM mine",
        "WITH \"mine\" AS (SELECT pin FROM pins) SELECT pin FROM mine",
        "SELECT pin FROM (SELECT pin FROM pins) AS mine",
        "SELECT 'mine' IN (SELECT name FROM sqlite_master)",
        "SELECT sql FROM sqlite_schema",
        "SELECT name FROM pragma_table_list",
        "SELECT count(*) FROM pragma_table_list",
        "SELECT count(*) FROM dbstat",
    ],
)  # fmt: skip
def test_an_open_view_opens_nothing_else(tmp_path: Path, query: str) -> None:
    with pytest.raises(Refused) as caught:
        read(make(tmp_path / "t.db", *VIEWS), query, {"mine"})
    assert caught.value.code in {"query_table", "query_failed"}


def test_names_of_tables_are_compared_as_sqlite_does(tmp_path: Path) -> None:
    url = make(tmp_path / "t.db", "CREATE TABLE Orders (id)", "INSERT INTO Orders VALUES (1)")
    for tables in ({"orders"}, {"main.ORDERS"}):
        assert read(url, "SELECT id FROM ordERS", tables) == [(1,)]
    with pytest.raises(QueryRefused):
        read(url, "SELECT id FROM orders", {"order"})


def test_an_export_restricts_sqlite_to_the_tables_of_its_connection(tmp_path: Path) -> None:
    """Even where a statement comes from a guard that did not see what it reads; a dataset's query is the operator's."""
    url = make(tmp_path / "t.db", *CANARY, "INSERT INTO pins VALUES ('canary')")
    connection = Connection("files", url, GuardPolicy("sqlite", tables=frozenset({"t"})))

    def exported(query: str) -> bytes:
        spec = ExportSpec(query=query, format="csv")
        checked = check(spec, of_query(spec, connection, lambda: query), limits=Limits())
        return b"".join(checked.open("export").chunks())

    assert exported("SELECT a FROM t").splitlines() == [b"a", b"1", b"3"]
    with pytest.raises(QueryRefused) as caught:
        exported("SELECT 'canary' IN pins AS found")
    assert caught.value.code == "query_table"
