"""SQLite: cells of any class in any column, parameters, and what the file or the statement may be."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxport.digits import float_text
from fluxport.errors import Canceled, FluxportError, LimitExceeded, QueryFailed, Refused, Unavailable
from fluxport.findings import Findings
from fluxport.formats.text import TextStyle, text_of
from fluxport.sources import open_source
from fluxport.stages import FIELD_TYPE, Limits
from mysql_support import read_all

MANY = 20_000  # more than the first batch holds


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "test ü?#.db"


def run(file: Path, *statements: str) -> None:
    connection = sqlite3.connect(file)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def fill(file: Path, declared: str, cells: Sequence[Any]) -> None:
    connection = sqlite3.connect(file)
    with connection:
        connection.execute("DROP TABLE IF EXISTS t")
        connection.execute(f"CREATE TABLE t (v {declared})")
        connection.executemany("INSERT INTO t VALUES (?)", [(cell,) for cell in cells])
    connection.close()


def url(file: Path) -> str:
    return f"sqlite:///{str(file).replace('?', '%3F').replace('#', '%23')}"


def cells(file: Path) -> tuple[pa.DataType, list[Any], dict[str, int]]:
    table, findings = read_all(url(file), "SELECT v FROM t")
    return table.schema.field("v").type, table["v"].to_pylist(), {f.code: f.count for f in findings}


TYPES: list[tuple[str, list[Any], pa.DataType]] = [
    ("INTEGER", [1, -(2**63), 2**63 - 1, None], pa.int64()),
    ("REAL", [0.1, -2.5, 1e308, float("inf"), 5, None], pa.float64()),
    ("", [1, 2.5, None], pa.float64()),
    ("DECIMAL(10,2)", [1, 12.34], pa.float64()),
    ("TEXT", ["", "é\0\U0001f600", "a\nb", None], pa.utf8()),
    ("BLOB", [b"", bytes(range(256)), None], pa.binary()),
    ("VARCHAR(5)", ["longer than five"], pa.utf8()),
    ("DATE", ["2024-02-29"], pa.utf8()),
    ("INTEGER", [None, None], pa.int64()),
    ("DATETIME", [None], pa.utf8()),
    ("", [None], pa.null()),
]


@pytest.mark.parametrize(("declared", "values", "arrow"), TYPES, ids=lambda v: v if isinstance(v, str) else "")
def test_cells_of_one_class_retain_their_type(file: Path, declared: str, values: list[Any], arrow: pa.DataType) -> None:
    fill(file, declared, values)
    kind, found, findings = cells(file)
    assert kind == arrow
    assert repr(found) == repr([float(v) if arrow == pa.float64() and v is not None else v for v in values])
    assert findings == {}


LATE: list[tuple[str, Any, Any, pa.DataType, Any]] = [
    ("INTEGER", 1, "abc", pa.utf8(), "1"),
    ("INTEGER", 1, 2.5, pa.float64(), 1.0),
    ("INTEGER", 2**53 + 1, 2.5, pa.utf8(), str(2**53 + 1)),
    ("INTEGER", 1, b"\x00\xff", pa.utf8(), "1"),
    ("REAL", 0.1, "abc", pa.utf8(), "0.1"),
    ("TEXT", "abc", b"\x00\xff", pa.utf8(), "abc"),
    ("BLOB", b"\xff", "abc", pa.utf8(), "ff"),
    ("", None, 5, pa.int64(), None),
    ("", None, "abc", pa.utf8(), None),
]


@pytest.mark.parametrize(("declared", "common", "last", "arrow", "shown"), LATE)
def test_a_last_row_of_another_class_is_known_before_the_first_is_given(
    file: Path, declared: str, common: Any, last: Any, arrow: pa.DataType, shown: Any
) -> None:
    fill(file, declared, [common] * MANY + [last])
    kind, found, findings = cells(file)
    assert kind == arrow
    assert found[:-1] == [shown] * MANY
    text = last.hex() if isinstance(last, bytes) else str(last)
    assert found[-1] == (text if arrow == pa.utf8() else last)
    texts = sum(isinstance(v, str) for v in (*[common] * MANY, last) if v is not None)
    others = sum(v is not None for v in (*[common] * MANY, last)) - texts
    assert findings == ({"mixed_types_as_text": others} if arrow == pa.utf8() and others else {})


def shown(cell: Any) -> str | None:
    """The text of a cell in a column of several classes."""
    if isinstance(cell, float):
        return str(float_text(pa.array([cell]))[0].as_py())
    return cell.hex() if isinstance(cell, bytes) else None if cell is None else str(cell)


@pytest.mark.parametrize("number", [1.0, -0.0, 0.1, 1e10, 1e16, 1e-7, 1e308, float("inf"), float("-inf"), 12, -(2**63)])
def test_numbers_among_texts_are_the_text_that_they_are_in_a_column_of_numbers(file: Path, number: float) -> None:
    fill(file, "", [number, number])
    kind, found, findings = cells(file)
    assert found == [number, number]
    assert findings == {}
    alone = text_of(pa.array(found, kind), pa.field("v", kind), TextStyle())[0].as_py()
    fill(file, "", [number, "text", number])
    assert cells(file)[1:] == ([alone, "text", alone], {"mixed_types_as_text": 2})


any_cell = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.binary(max_size=5)
)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(any_cell, min_size=1, max_size=30), st.sampled_from(["", "INTEGER", "TEXT", "REAL"]))
def test_whatever_the_cells_are_none_is_lost(file: Path, values: list[Any], declared: str) -> None:
    fill(file, declared, values)
    connection = sqlite3.connect(file)
    stored = [v for (v,) in connection.execute("SELECT v FROM t")]
    connection.close()
    kind, found, _ = cells(file)
    if kind == pa.utf8():
        assert found == [shown(v) for v in stored]
    else:
        assert found == stored


def test_bytes_that_are_not_utf8_are_replaced_and_counted(file: Path) -> None:
    run(file, "CREATE TABLE t (v TEXT)", "INSERT INTO t VALUES (CAST(x'61ff62' AS TEXT)), ('é')")
    assert cells(file)[1:] == (["a\ufffdb", "é"], {"invalid_text_replaced": 1})


def test_columns_have_the_declared_type(file: Path) -> None:
    run(file, "CREATE TABLE t (a DECIMAL(10, 2), b VARCHAR(5), c)")
    query = "WITH x AS (SELECT * FROM t WHERE a > ?) SELECT a, b, c, a + 1 AS d, ':x' AS e FROM x;"
    schema = read_all(url(file), query, [1])[0].schema
    assert [f.metadata[FIELD_TYPE].decode() for f in schema] == ["DECIMAL(10, 2)", "VARCHAR(5)", "null", "null", "null"]
    assert schema.types[0] == pa.float64()


@pytest.mark.slow
def test_a_query_whose_types_are_chance_ends_rather_than_guess(file: Path) -> None:
    """Rows beyond the first batch that are integers in one run and text in the next."""
    fill(file, "INTEGER", range(MANY))
    query = "SELECT CASE WHEN v > 19000 AND random() % 2 = 0 THEN 'text' || v ELSE v END AS v FROM t"
    # Some cell of a thousand is text in the probe, in all likelihood of 1 - 2**-999, and the column with it.
    assert read_all(url(file), query)[0].schema.types == [pa.utf8()]
    once = "SELECT CASE WHEN v = 19000 AND random() % 2 = 0 THEN 'text' ELSE v END AS v FROM t"
    outcomes = set()
    for _ in range(40):
        try:
            outcomes.add(str(read_all(url(file), once)[0].schema.types[0]))
        except QueryFailed as error:
            outcomes.add(error.code)
    assert outcomes == {"int64", "string", "unstable_types"}


def test_names_may_repeat(file: Path) -> None:
    fill(file, "INTEGER", range(MANY))
    table, _ = read_all(url(file), "SELECT v AS a, v AS a, v + 1 FROM t")
    assert table.schema.names == ["a", "a", "v + 1"]
    assert table.num_rows == MANY


EXACT: list[tuple[str, Any, Any]] = [
    ("typeof(:v)", 5, "integer"),
    (":v", -(2**63), -(2**63)),
    (":v", True, 1),
    (":v", 0.1, 0.1),
    (":v = 12.34", Decimal("12.34"), 1),
    ("typeof(:v)", Decimal("5.00"), "integer"),
    (":v", "it's \0 \U0001f600", "it's \0 \U0001f600"),
    ("hex(:v)", b"\x00\xff", "00FF"),
    (":v", date(2024, 2, 29), "2024-02-29"),
    (":v", datetime(2024, 2, 29, 23, 59, 58), "2024-02-29 23:59:58"),
    (":v", datetime(2024, 2, 29, 23, 59, 58, 120000), "2024-02-29 23:59:58.12"),
    (":v", datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2023-12-31 23:00:00"),
    (":v", time(1, 2, 3), "01:02:03"),
    ("'x' || ':v' || \":v\" || /* :v */ :v -- :v", "y", "x:v:vy"),
]


@pytest.mark.parametrize(("expression", "value", "expected"), EXACT, ids=lambda v: repr(v)[:30])
def test_values_arrive_exactly(file: Path, expression: str, value: Any, expected: Any) -> None:
    run(file, 'CREATE TABLE t (":v" TEXT)', "INSERT INTO t VALUES (':v')")
    table, _ = read_all(url(file), f"SELECT {expression}\n AS v FROM t", {"v": value})
    assert table["v"].to_pylist() == [expected]


@pytest.mark.parametrize(
    "value",
    [
        2**63,
        float("nan"),
        Decimal("NaN"),
        "\ud800",
        time(1, tzinfo=UTC),
        timedelta(1),
        [1],
        pytest.param(object(), id="an object"),
    ],
    ids=repr,
)
def test_what_sqlite_does_not_have_is_refused_with_its_number(value: Any) -> None:
    with pytest.raises(Refused, match="Parameter 2 is") as caught:
        open_source("sqlite:///none.db", "SELECT ?, ?", [1, value])
    assert caught.value.code == "bad_params"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_a_value_and_never_part_of_the_statement(file: Path, value: str) -> None:
    run(file, "SELECT 1")
    table, _ = read_all(url(file), "SELECT :v AS v, ':v' AS w", {"v": value})
    assert table.to_pylist() == [{"v": value, "w": ":v"}]


REFUSED = [
    ("SELECT * FROM missing", "unknown_table"),
    ("SELECT 1; SELECT 2", "syntax_error"),
    ("DELETE FROM t", "read_only"),
    ("INSERT INTO t VALUES (1) RETURNING v", "read_only"),
    ("CREATE TABLE u (v)", "query_failed"),
    ("ATTACH 'other.db' AS o", "read_only"),
    ("PRAGMA writable_schema = ON", "read_only"),
    ("ROLLBACK", "read_only"),
    ("SELECT load_extension('x')", "query_failed"),
    ("", "no_result_set"),
]


@pytest.mark.parametrize(("query", "code"), REFUSED)
def test_only_reading_is_let_through(file: Path, query: str, code: str) -> None:
    fill(file, "INTEGER", [1, 2])
    before = file.read_bytes()
    with pytest.raises(FluxportError) as caught:
        read_all(url(file), query)
    assert isinstance(caught.value, Refused)
    assert caught.value.code == code
    assert file.read_bytes() == before
    assert sorted(file.parent.iterdir()) == [file]


def test_a_missing_file_is_reported_and_not_created(file: Path) -> None:
    with pytest.raises(QueryFailed) as caught:
        read_all(url(file), "SELECT 1")
    assert caught.value.code == "unknown_database"
    assert str(file) not in caught.value.message
    assert not file.exists()


def test_a_file_that_is_not_a_database_is_reported(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(QueryFailed) as caught:
        read_all(url(file), "SELECT * FROM t")
    assert caught.value.code == "source_damaged"


def test_a_writer_that_holds_the_file_makes_it_unavailable(file: Path) -> None:
    fill(file, "INTEGER", [1])
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Unavailable) as caught:
        read_all(url(file) + "?busy-timeout=0.05", "SELECT v FROM t")
    writer.close()
    assert caught.value.code == "source_locked"


def test_rows_written_meanwhile_are_not_seen(file: Path) -> None:
    fill(file, "INTEGER", range(MANY))
    run(file, "PRAGMA journal_mode = WAL")
    source = open_source(url(file), "SELECT v FROM t")
    batches = source.batches()
    found = next(batches).num_rows
    run(file, "INSERT INTO t VALUES ('late')", "DELETE FROM t WHERE v < 10000")
    assert found + sum(batch.num_rows for batch in batches) == MANY


def test_the_deadline_ends_a_query_that_gives_no_row(file: Path) -> None:
    fill(file, "INTEGER", [1])
    endless = "WITH RECURSIVE s (g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM s) SELECT g FROM s WHERE g < 0"
    with pytest.raises(Unavailable) as caught:
        read_all(url(file), endless, limits=Limits(deadline_s=0.2))
    assert caught.value.code == "deadline"


def test_a_cell_beyond_the_limit_is_named(file: Path) -> None:
    fill(file, "TEXT", ["a"] * MANY + ["b" * 2000])
    with pytest.raises(LimitExceeded, match=r"Column 'v', row 20,001 holds a cell of 2,000 bytes") as caught:
        read_all(url(file), "SELECT v FROM t", limits=Limits(cell_bytes_max=1999))
    assert caught.value.code == "cell_too_large"


def test_large_cells_come_a_few_at_a_time(file: Path) -> None:
    run(file, "CREATE TABLE t (v)", *["INSERT INTO t VALUES (zeroblob(1000000))"] * 40)
    source = open_source(url(file), "SELECT v FROM t")
    sizes = [batch.num_rows for batch in source.batches()]
    assert sum(sizes) == 40
    assert sizes[-1] <= 2


@pytest.mark.parametrize(
    "wrong",
    [
        *("sqlite://", "sqlite:///", "sqlite://host/file.db", "sqlite:///f.db?mode=rwc"),
        *("sqlite:///f.db?busy-timeout=x", "sqlite:///f.db?immutable=maybe", "sqlite:///f.db?cache=shared"),
        *("sqlite:///file:f.db?vfs=unix-none", "sqlite:///file:f.db?nolock=1", "sqlite:///file:f.db?mode=memory"),
        *("sqlite:///file:", "sqlite:///file::memory:", "sqlite:///file://host/f.db", "sqlite:///file:f%00.db"),
    ],
)
def test_wrong_urls_are_refused(wrong: str) -> None:
    with pytest.raises(Refused) as caught:
        open_source(wrong, "SELECT 1")
    assert caught.value.code == "bad_dsn"


def test_close_at_any_moment_is_canceled_and_never_a_short_result(file: Path) -> None:
    fill(file, "INTEGER", range(MANY))
    for moment in range(0, 6):
        source = open_source(url(file), "SELECT v FROM t", findings=Findings())
        batches = source.batches()
        rows = sum(batch.num_rows for _, batch in zip(range(moment), batches, strict=False))
        source.close()
        if rows < MANY:
            with pytest.raises(Canceled):
                list(batches)


GROWTH = """
import resource, sys
from fluxport.sources import open_source
def peak(rows):
    source = open_source(sys.argv[1], sys.argv[2], [rows])
    n = sum(batch.num_rows for batch in source.batches())
    assert n == rows, n
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
few = peak(20_000)
print(peak(300_000) - few)
"""


def test_memory_does_not_grow_with_the_rows(file: Path) -> None:
    run(file, "CREATE TABLE t (v)")
    query = (
        "WITH RECURSIVE s (g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM s WHERE g < ?) "
        "SELECT g, printf('%.200c', 'x') AS t, g * 0.5 AS f FROM s"
    )
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, url(file), query],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"},
    )
    assert int(done.stdout) < 24 << 10  # KiB; the rows are 65 MB
