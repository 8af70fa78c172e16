"""SQLite: many rows of a plain statement, read by ADBC's driver; each must be what the standard driver reads."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxport.errors import Canceled, FluxportError, QueryFailed, QueryRefused, TimedOut
from fluxport.findings import Findings
from fluxport.policy.guard import GuardPolicy
from fluxport.sources import SourceOptions, open_source
from fluxport.sources.sqlite import SqliteSource
from fluxport.stages import Limits
from mysql_support import wait_until
from processes import descriptors

FIRST = 8192  # rows that the standard driver reads first
MANY = 12_000  # more, for which the other driver is tried


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.db"


def fill(file: Path, declared: str, rows: Sequence[Sequence[Any]]) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("DROP TABLE IF EXISTS t")
        connection.execute(f"CREATE TABLE t ({declared})")
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO t VALUES ({marks})", rows)
    connection.close()


def opened(file: Path, query: str, params: Any = (), *, own: bool = True, **others: Any) -> SqliteSource:
    options = SourceOptions(own_process=own, may_read=others.pop("may_read", None))
    source = open_source(f"sqlite:///{file}", query, params, options=options, **others)
    assert isinstance(source, SqliteSource)
    return source


def read(
    file: Path, query: str, params: Any = (), *, own: bool
) -> tuple[bool, pa.Table, dict[tuple[str, str | None], int]]:
    """Whether the rows were read in bulk, the rows, and what was found."""
    findings = Findings()
    source = opened(file, query, params, own=own, findings=findings)
    table = pa.Table.from_batches(list(source.batches()), source.schema)
    table.validate(full=True)
    return source.is_bulk, table, {(f.code, f.column): f.count for f in findings}


def alike(file: Path, query: str, params: Any = ()) -> tuple[bool, pa.Table, dict[tuple[str, str | None], int]]:
    """The same of both drivers, after a comparison."""
    bulk, table, findings = read(file, query, params, own=True)
    other, expected, expected_findings = read(file, query, params, own=False)
    assert not other
    assert table.schema.equals(expected.schema, check_metadata=True)
    assert repr(table.to_pydict()) == repr(expected.to_pydict())  # NaN apart, as SQLite has none; -0.0 is not 0.0
    assert findings == expected_findings
    return bulk, table, findings


COLUMNS: dict[str, tuple[str, Any, Any, bool]] = {
    "integers": ("INTEGER", 1, -(2**63), True),
    "large integers": ("INTEGER", 2**53 + 1, None, True),
    "reals": ("REAL", -0.0, 1e308, True),
    "infinity": ("REAL", 0.1, float("inf"), True),
    "integers, then reals": ("NUMERIC", 1, 2.5, True),
    "reals, then integers": ("", 2.5, 7, True),
    "integers beyond a double, then reals": ("NUMERIC", 2**53 + 1, 2.5, False),
    "reals, then integers beyond a double": ("", 2.5, 2**53 + 1, False),
    "integers, then texts": ("INTEGER", 1, "abc", False),
    "integers, then blobs": ("INTEGER", 1, b"abc", False),
    "reals, then texts": ("REAL", 0.1, "abc", False),
    "texts": ("TEXT", "aé\0\U0001f600", "", True),
    "texts, then integers": ("", "abc", 5, False),
    "texts, then reals": ("", "abc", 0.1, False),
    "texts, then blobs": ("TEXT", "abc", b"\xff", False),
    "texts, then an empty blob": ("TEXT", "abc", b"", False),
    "texts, then one that is long": ("TEXT", "abc", "x" * 5000, False),
    "blobs": ("BLOB", b"\x00\xff", b"", True),
    "blobs, then texts": ("BLOB", b"\xff", "abc", False),
    "nothing": ("INTEGER", None, None, True),
    "nothing of no type": ("", None, None, True),
    "nothing, then an integer": ("", None, 5, True),
    "nothing, then a real": ("", None, 0.5, True),
    "nothing, then a text": ("TEXT", None, "abc", True),
    "nothing, then an empty text": ("TEXT", None, "", True),
    "nothing, then a blob": ("", None, b"", True),
    "nothing, then a large text": ("TEXT", None, "x" * 5000, False),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_cell_far_behind_is_the_same_by_both_drivers(file: Path, name: str) -> None:
    declared, common, last, in_bulk = COLUMNS[name]
    fill(
        file,
        f"n INTEGER PRIMARY KEY, v {declared}",
        [*((n, common) for n in range(MANY)), (MANY, last), (MANY + 1, common)],
    )
    assert alike(file, "SELECT v, n FROM t")[0] == in_bulk


any_cell = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.binary(max_size=5)
)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(any_cell, any_cell), min_size=1, max_size=3),
    st.lists(st.tuples(any_cell, any_cell), max_size=3),
    st.sampled_from(["a, b", "a INTEGER, b TEXT", "a REAL, b NUMERIC"]),
)
def test_whatever_the_cells_are_both_drivers_agree(
    file: Path, first: list[tuple[Any, Any]], last: list[tuple[Any, Any]], declared: str
) -> None:
    fill(file, declared, first * (FIRST // len(first) + 1) + last)
    alike(file, "SELECT b, a, b AS a FROM t")


def test_bytes_that_are_not_utf8_are_replaced_and_counted(file: Path) -> None:
    fill(file, "v TEXT", [("é",)] * MANY)
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE t SET v = CAST(x'61ff62' AS TEXT) WHERE rowid IN (3, 11000)")
    bulk, table, findings = alike(file, "SELECT v FROM t")
    assert bulk
    assert findings == {("invalid_text_replaced", "v"): 2}
    assert table["v"][2].as_py() == "a\ufffdb"


PLAIN: list[tuple[str, Any, bool]] = [
    ("SELECT * FROM t", (), True),
    ("SELECT a, a + 1 AS b, upper(c) AS d FROM t WHERE a > ? AND c <> ? AND a < ?", [5, "it's ?", 1e9], True),
    ("SELECT a FROM t WHERE a > :low -- :x", {"low": 3}, True),
    ("SELECT a AS x, c AS x FROM t ORDER BY a DESC;", (), True),
    ("SELECT c FROM v", (), True),
    ("SELECT t.a, u.c FROM t JOIN t AS u ON u.a = t.a + 1", (), True),
    ("SELECT t.a, u.a AS b FROM t LEFT JOIN t AS u ON u.a = t.a + 500", (), True),
    ("SELECT a FROM t LIMIT 11000", (), True),
    ("SELECT a FROM t WHERE a < 5", (), False),
    ("SELECT c, a FROM t ORDER BY c, a", (), False),
    ("SELECT DISTINCT a FROM t", (), True),
    ("SELECT DISTINCT c, a + 1 AS b FROM t", (), False),
    ("SELECT a FROM t UNION ALL SELECT a FROM t", (), False),
    ("WITH RECURSIVE s (g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM s WHERE g < 20000) SELECT g FROM s", (), False),
    ("SELECT a, (SELECT max(a) FROM t) AS m FROM t", (), False),
    ("SELECT a, random() % 1 AS r FROM t", (), False),
    ("SELECT a, row_number() OVER (ORDER BY a) AS n FROM t", (), False),
]


@pytest.mark.parametrize(("query", "params", "in_bulk"), PLAIN, ids=[query for query, *_ in PLAIN])
def test_only_scans_and_searches_are_read_in_bulk(file: Path, query: str, params: Any, in_bulk: bool) -> None:
    fill(file, "a INTEGER PRIMARY KEY, c TEXT", [(n, f"text {n % 7}") for n in range(MANY)])
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE VIEW v AS SELECT c FROM t WHERE a % 7 <> 0")
    assert alike(file, query, params)[0] == in_bulk


def test_a_table_of_many_columns_is_read_in_bulk(file: Path) -> None:
    names = [f"c{k} {('INTEGER', 'REAL', 'TEXT')[k % 3]}" for k in range(300)]
    fill(file, ", ".join(names), [[n + k for k in range(300)] for n in range(700)])
    with sqlite3.connect(file) as connection:
        connection.execute("INSERT INTO t SELECT * FROM t")
    assert alike(file, "SELECT * FROM t")[0]


@pytest.mark.parametrize("columns", [1999, 2000])
def test_as_many_columns_as_sqlite_allows(file: Path, columns: int) -> None:
    fill(file, ", ".join(f"c{k}" for k in range(columns)), [[n] * columns for n in range(300)])
    table = alike(file, "SELECT * FROM t")[1]
    assert table.shape == (300, columns)


def test_tables_that_are_not_open_are_refused_before(file: Path) -> None:
    fill(file, "a", [(n,) for n in range(MANY)])
    opens = GuardPolicy(dialect="sqlite", tables=frozenset({"other"})).opens
    with pytest.raises(QueryRefused) as caught:
        list(opened(file, "SELECT a FROM t", may_read=opens).batches())
    assert caught.value.code == "query_table"


def test_large_cells_are_left_to_the_other_driver(file: Path) -> None:
    """Whose batches have a bounded size."""
    fill(file, "v TEXT", [("small",)] * MANY + [("x" * 1_000_000,)] * 40)
    source = opened(file, "SELECT v FROM t")
    sizes = [batch.nbytes for batch in source.batches()]
    assert not source.is_bulk
    assert max(sizes) < 4_000_000


def test_rows_written_meanwhile_are_not_seen(file: Path) -> None:
    fill(file, "v INTEGER", [(n,) for n in range(MANY)])
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.close()
    source = opened(file, "SELECT v FROM t")
    batches = source.batches()
    found = next(batches).num_rows
    assert source.is_bulk
    # In another process, as two SQLite libraries of one process do not see each other's locks.
    program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
    program += "c.execute(\"INSERT INTO t VALUES ('late')\"); c.execute('DELETE FROM t WHERE v < 11000'); c.commit()"
    subprocess.run([sys.executable, "-c", program, str(file)], check=True)
    assert found + sum(batch.num_rows for batch in batches) == MANY


def test_a_file_damaged_in_the_middle_ends_with_an_error(file: Path) -> None:
    fill(file, "n INTEGER PRIMARY KEY, v TEXT", [(n, "text " * 100) for n in range(MANY)])
    source = opened(file, "SELECT * FROM t")
    batches = source.batches()
    next(batches)
    assert source.is_bulk
    content = bytearray(file.read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    file.write_bytes(content)
    with pytest.raises(QueryFailed) as caught:
        list(batches)
    assert caught.value.code == "source_damaged"


def test_close_at_any_moment_is_canceled_and_frees_the_file(file: Path) -> None:
    fill(file, "v INTEGER", [(n,) for n in range(MANY * 3)])
    for moment in range(0, 5):
        source = opened(file, "SELECT v FROM t", limits=Limits(), findings=Findings())
        batches = source.batches()
        rows = sum(batch.num_rows for _, batch in zip(range(moment), batches, strict=False))
        source.close()
        if rows < MANY * 3:
            with pytest.raises(Canceled):
                list(batches)
        assert wait_until(lambda: descriptors(file) == 0)


SLOW = " OR ".join(f"substr(hex(zeroblob(9000 + n % 2)), {n}) = 'x'" for n in range(5, 100))  # takes a millisecond


@pytest.mark.parametrize("end", ["close", "deadline"])
def test_a_query_that_nothing_interrupts_is_left_behind(file: Path, end: str) -> None:
    """The first rows come fast, so the other driver is tried; then no row comes for seconds."""
    fill(file, "n INTEGER PRIMARY KEY", [(n,) for n in range(MANY)])
    limits = Limits(deadline_s=1.0) if end == "deadline" else Limits()
    source = opened(file, f"SELECT n FROM t WHERE n < {FIRST + 10} OR {SLOW}", limits=limits)
    errors: list[FluxportError] = []

    def pull() -> None:
        with pytest.raises(FluxportError) as caught:
            list(source.batches())
        errors.append(caught.value)

    thread = threading.Thread(target=pull)
    thread.start()
    if end == "close":
        assert wait_until(lambda: any(t.name == "sqlite-bulk" for t in threading.enumerate()))
        source.close()
    thread.join(30)
    assert [type(error) for error in errors] == [Canceled if end == "close" else TimedOut]


def test_without_the_driver_the_standard_one_reads(file: Path) -> None:
    fill(file, "v INTEGER", [(n,) for n in range(MANY)])
    program = "import sys; sys.modules['adbc_driver_sqlite'] = None; "  # as if it were not installed
    program += "from fluxport.sources import SourceOptions, open_source; "
    program += "s = open_source(sys.argv[1], 'SELECT v FROM t', options=SourceOptions(own_process=True)); "
    program += "print(sum(b.num_rows for b in s.batches()), s.is_bulk)"
    done = subprocess.run(
        [sys.executable, "-c", program, f"sqlite:///{file}"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{MANY} False\n"
