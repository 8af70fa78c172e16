"""SQLite: what the file, its URL and its folder may be."""

from __future__ import annotations

import os
import shutil
import sqlite3
from datetime import datetime
from pathlib import Path

import pytest

from fluxport.datasets import Column, typed
from fluxport.errors import FluxportError, QueryFailed, Unavailable
from mysql_support import read_all

ROWS = 20_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows ü.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, v TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(n, "text " * 20) for n in range(ROWS)])
    connection.close()
    return path


def count(url: str) -> int:
    rows: int = read_all(url, "SELECT n, v FROM t")[0].num_rows
    return rows


def refused(url: str) -> FluxportError:
    with pytest.raises(FluxportError) as caught:
        count(url)
    return caught.value


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///{path}",
        "sqlite:///{path}?mode=ro&cache=private",
        "sqlite:///{path}?immutable=1",
        "sqlite:///{path}?immutable=off&busy-timeout=1s",
        "sqlite:///file:{path}?mode=ro&uri=true",
        "sqlite:///file://{path}",
        "sqlite:///file://localhost{path}?immutable=true",
        "sqlite:///file:rows%20%C3%BC.db",
        "sqlite:///rows ü.db",
    ],
)
def test_the_usual_urls_name_the_file(file: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert count(url.format(path=file)) == ROWS


def test_an_immutable_file_in_wal_mode_gets_no_files_beside_it(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert count(f"sqlite:///{file}?immutable=1") == ROWS
    assert list(file.parent.iterdir()) == [file]


def test_what_a_writer_has_committed_to_the_wal_is_read(file: Path) -> None:
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("INSERT INTO t VALUES (-1, 'committed')")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO t VALUES (-2, 'not committed')")
    assert count(f"sqlite:///{file}") == ROWS + 1
    writer.execute("ROLLBACK")
    writer.close()


def test_the_file_of_a_writer_that_crashed_is_reported(file: Path, tmp_path: Path) -> None:
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("PRAGMA cache_size = 5")  # so that changes are in the file before they are committed
    writer.execute("BEGIN")
    writer.execute("UPDATE t SET v = v || 'x'")
    crashed = tmp_path / "crashed.db"
    shutil.copy(file, crashed)
    shutil.copy(f"{file}-journal", f"{crashed}-journal")
    writer.execute("ROLLBACK")
    writer.close()
    error = refused(f"sqlite:///{crashed}")
    assert (type(error), error.code) == (QueryFailed, "source_damaged")
    assert "has crashed; open it once" in error.message


@pytest.mark.parametrize(
    ("content", "code"),
    [(os.urandom(8192), "source_damaged"), (b"", "unknown_table"), (b"SQLite format 3\0", "source_damaged")],
    ids=["encrypted", "empty", "short"],
)
def test_a_file_without_the_rows_is_reported(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "x.db").write_bytes(content)
    error = refused(f"sqlite:///{tmp_path}/x.db")
    assert (type(error), error.code) == (QueryFailed, code)
    assert str(tmp_path) not in error.message


def test_a_truncated_file_is_damaged(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)
    error = refused(f"sqlite:///{file}")
    assert (type(error), error.code) == (QueryFailed, "source_damaged")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    error = refused(f"sqlite:///{tmp_path}")
    assert (type(error), error.code) == (QueryFailed, "unknown_database")


def test_a_file_removed_meanwhile_is_read_to_its_end(file: Path) -> None:
    from fluxport.sources import open_source

    batches = open_source(f"sqlite:///{file}", "SELECT * FROM t").batches()
    rows = next(batches).num_rows
    file.unlink()
    assert rows + sum(batch.num_rows for batch in batches) == ROWS


def test_a_file_locked_by_a_writer_is_tried_again_later(file: Path) -> None:
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    error = refused(f"sqlite:///{file}?busy-timeout=0")
    writer.close()
    assert (type(error), error.code) == (Unavailable, "source_locked")


KINDS = {
    "a generated column": (
        "CREATE TABLE x (a INT, b INT AS (a * 2) STORED, c TEXT AS (a || '!'))",
        "INSERT INTO x VALUES (1)",
    ),
    "a table without a rowid": (
        "CREATE TABLE x (a TEXT PRIMARY KEY, b INT) WITHOUT ROWID",
        "INSERT INTO x VALUES ('k', 2)",
    ),
    "a strict table": ("CREATE TABLE x (a INT, b ANY) STRICT", "INSERT INTO x VALUES (1, 'z')"),
    "a view": ("CREATE VIEW x AS SELECT n AS a, v AS b FROM t WHERE n = 3", ""),
    "full text": ("CREATE VIRTUAL TABLE x USING fts5(a)", "INSERT INTO x VALUES ('fox')"),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_table_is_read(file: Path, name: str) -> None:
    with sqlite3.connect(file) as connection:
        for statement in KINDS[name]:
            connection.execute(statement)
        expected = connection.execute("SELECT * FROM x").fetchall()
    connection.close()
    rows = read_all(f"sqlite:///{file}", "SELECT * FROM x")[0].to_pylist()
    assert [tuple(row.values()) for row in rows] == expected


def test_aggregates_are_numbers(file: Path) -> None:
    query = "SELECT sum(n) AS s, avg(n) AS a, count(*) AS c, sum(n * 0.5) AS h, total(n) AS t, max(v) AS m FROM t"
    schema = read_all(f"sqlite:///{file}", query)[0].schema
    assert [str(kind) for kind in schema.types] == ["int64", "double", "int64", "double", "double", "string"]


def test_dates_are_what_a_dataset_declares(tmp_path: Path) -> None:
    """Of text, seconds with a fraction, milliseconds and Julian days."""
    with sqlite3.connect(tmp_path / "d.db") as connection:
        connection.execute("CREATE TABLE t (a DATETIME, b REAL, c INTEGER, d REAL, e DATE)")
        moment = "'2024-02-29 12:00:00.123'"
        connection.execute(
            f"INSERT INTO t VALUES ({moment}, 1709208000.123, 1709208000123, julianday({moment}), date({moment}))"
        )
        connection.execute("INSERT INTO t DEFAULT VALUES")
    connection.close()
    declared = {"a": "datetime(3)", "b": "datetime(3)", "c": "datetime(3)", "d": "datetime(3)", "e": "date"}
    stored = {"b": "epoch_s", "c": "epoch_ms", "d": "julian_day"}
    columns = [Column(name, kind, stored=stored.get(name)) for name, kind in declared.items()]
    rows = read_all(f"sqlite:///{tmp_path}/d.db", "SELECT * FROM t")[0].combine_chunks()
    _, apply = typed("days", columns)(rows.schema)
    noon = datetime(2024, 2, 29, 12, 0, 0, 123000)
    assert [list(row.values()) for row in apply(rows.to_batches()[0]).to_pylist()] == [
        [noon, noon, noon, noon, noon.date()],
        [None] * 5,
    ]
