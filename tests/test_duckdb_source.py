"""DuckDB: types, parameters, errors, and files that are damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pyarrow as pa
import pytest

import fluxport
from duckdb_support import make_lake, read
from fluxport import formats
from fluxport.errors import FluxportError, LimitExceeded, QueryFailed, Refused, TimedOut, Unavailable
from fluxport.findings import Finding, Findings
from fluxport.sources import SourceOptions, open_source
from fluxport.sources.accounts import inspect_account
from fluxport.sources.duckdb import scratch
from fluxport.sources.duckdb.dsn import Dsn, parse_dsn
from fluxport.stages import FIELD_KIND, FIELD_TYPE, Limits

US, UTC_US = pa.timestamp("us"), pa.timestamp("us", "UTC")
# expression -> (Arrow type, value, kind)
TYPES: dict[str, tuple[pa.DataType, Any, str | None]] = {
    "true": (pa.bool_(), True, None),
    "(-128)::TINYINT": (pa.int8(), -128, None),
    "18446744073709551615::UBIGINT": (pa.uint64(), 2**64 - 1, None),
    "(-170141183460469231731687303715884)::HUGEINT": (
        pa.decimal128(38, 0),
        Decimal("-170141183460469231731687303715884"),
        None,
    ),
    "5::UHUGEINT": (pa.decimal128(38, 0), Decimal(5), None),
    "sum(7)": (pa.decimal128(38, 0), Decimal(7), None),
    "avg(7)": (pa.float64(), 7.0, None),
    "123456789012345678901234567890123456789012::BIGNUM": (
        pa.string(),
        "123456789012345678901234567890123456789012",
        "number",
    ),
    "1.50::DECIMAL(9, 2)": (pa.decimal128(9, 2), Decimal("1.50"), None),
    "0.5::FLOAT": (pa.float32(), 0.5, None),
    "'é'": (pa.string(), "é", None),
    r"'\x00a'::BLOB": (pa.binary(), b"\0a", None),
    "'0101'::BIT": (pa.string(), "0101", None),
    "DATE '0044-03-15'": (pa.date32(), date(44, 3, 15), None),
    "TIME '23:59:59.5'": (pa.time64("us"), time(23, 59, 59, 500000), None),
    "TIMETZ '10:00:00+02'": (pa.string(), "10:00:00+02", None),
    "TIMESTAMP '2024-02-29 10:00:00.123456'": (US, datetime(2024, 2, 29, 10, 0, 0, 123456), None),
    "TIMESTAMP_S '2024-02-29 10:00:00'": (pa.timestamp("s"), datetime(2024, 2, 29, 10), None),
    "TIMESTAMP_MS '2024-02-29 10:00:00'": (pa.timestamp("ms"), datetime(2024, 2, 29, 10), None),
    "TIMESTAMPTZ '2024-02-29 10:00:00+02'": (UTC_US, datetime(2024, 2, 29, 8, tzinfo=UTC), None),
    "INTERVAL '1 month 2 days 3 seconds'": (
        pa.month_day_nano_interval(),
        pa.MonthDayNano([1, 2, 3_000_000_000]),
        None,
    ),
    "'5fd1b2d4-0a62-4d0c-9f2b-0a1b2c3d4e5f'::UUID": (pa.string(), "5fd1b2d4-0a62-4d0c-9f2b-0a1b2c3d4e5f", None),
    "'b'::ENUM('a', 'b')": (pa.string(), "b", None),
    """'{"a": [1]}'::JSON""": (pa.string(), '{"a": [1]}', "json"),
    "{'a': 1}::VARIANT": (pa.string(), '{"a":1}', "json"),
    "union_value(a := 1)": (pa.string(), "1", None),
    "NULL": (pa.null(), None, None),
    "[1, NULL]": (pa.list_(pa.field("l", pa.int32())), [1, None], None),
    "[1, 2]::INTEGER[2]": (pa.list_(pa.field("l", pa.int32())), [1, 2], None),
    "{'a b': 1, 'c': [DATE '2024-01-02', 'infinity'::DATE]}": (
        pa.struct([("a b", pa.int32()), ("c", pa.list_(pa.field("l", pa.string())))]),
        {"a b": 1, "c": ["2024-01-02", "infinity"]},
        None,
    ),
    "MAP {'k': 5::HUGEINT}": (pa.map_(pa.string(), pa.decimal128(38, 0)), [("k", Decimal(5))], None),
    "ROW(1, '01'::BIT)": (
        pa.struct([("element1", pa.int32()), ("element2", pa.string())]),
        {"element1": 1, "element2": "01"},
        None,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lake(tmp_path_factory.mktemp("duckdb"))


def failed(query: str, params: Any = (), **named: Any) -> FluxportError:
    with pytest.raises(FluxportError) as caught:
        read(query, params, **named)
    return caught.value


def written(name: str, table: pa.Table) -> bytes:
    """The file of that format with the rows of ``table``."""
    encoder = formats.encoder(name, formats.options(name, {}), Findings())
    return b"".join(encoder.encode(table.schema, (batch for batch in table.to_batches())))


@pytest.mark.parametrize("expression", TYPES)
def test_a_type_is_that_of_arrow_or_text_and_every_format_writes_it(expression: str) -> None:
    kind, value, meaning = TYPES[expression]
    table = read(f"SELECT {expression} AS v")
    field = table.schema.field(0)
    assert (field.type, table["v"].to_pylist()) == (kind, [value])
    assert field.metadata.get(FIELD_KIND) == (meaning and meaning.encode())
    assert field.metadata[FIELD_TYPE]
    for name in formats.FORMATS:
        assert written(name, table)


def test_every_type_that_duckdb_lists_is_read_and_every_format_writes_it() -> None:
    """``test_all_types`` has a column of each type with its least value, its greatest and NULL."""
    greatest = "uhugeint, hugeint"  # beyond the 38 digits of a decimal: refused, see below
    findings = Findings()
    table = read(f"SELECT * EXCLUDE ({greatest}) FROM test_all_types()", findings=findings)
    assert (table.num_rows, table.num_columns > 50) == (3, True)
    assert list(findings) == []
    for name in formats.FORMATS:
        assert written(name, table)


def test_a_number_of_39_digits_is_refused_with_a_code() -> None:
    error = failed("SELECT 170141183460469231731687303715884105727::HUGEINT AS v")
    assert (type(error), error.code) == (QueryFailed, "bad_value")


def test_infinite_dates_become_null_and_are_counted() -> None:
    findings = Findings()
    kinds = ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMPTZ")
    columns = ", ".join(f"v::{kind} AS {kind}" for kind in kinds)
    table = read(f"SELECT {columns} FROM (VALUES ('infinity'), ('-infinity'), ('2024-01-01'), (NULL)) r (v)",
                 findings=findings)  # fmt: skip
    assert [column.null_count for column in table.columns] == [3] * len(kinds)
    assert sorted(findings) == sorted(Finding("infinity_null", kind, 2) for kind in kinds)


def test_columns_keep_their_names_and_order() -> None:
    table = read('SELECT 3::HUGEINT AS a, 1 AS a, \'1\'::BIT AS "A "" b" ORDER BY 1;  -- the end')
    assert table.schema.names == ["a", "a", 'A " b']
    assert read("SELECT ';' || '1'::BIT AS v, '1'::BIT -- x; y")["v"].to_pylist() == [";1"]
    rows = read("SELECT id::HUGEINT AS id FROM range(50000) r (id) ORDER BY id DESC")
    assert rows["id"].to_pylist() == list(range(49_999, -1, -1))


@pytest.mark.parametrize(
    ("query", "params", "rows"),
    [
        ("SELECT ?::INTEGER + ? AS v", (1, 2), [3]),
        ("SELECT :a + :b + :a AS v", {"a": 1, "b": 10}, [12]),
        ("SELECT i AS v FROM range(5) r (i) WHERE i < :top", {"top": "2"}, [0, 1]),  # as the command line gives it
        ("SELECT {'a': :x}.a || ':x' AS v -- :y\n", {"x": "1"}, ["1:x"]),
        ("SELECT [1, 2, 3][1:2] || :x::INTEGER[] AS v", {"x": [9]}, [[1, 2, 9]]),
        ("SELECT $$:x ?$$ || E'\\':x' || ? AS v", ("!",), [":x ?':x!"]),
        ("SELECT ? AS v", (None,), [None]),
        ("SELECT ? AS v", (Decimal("1.50"),), [Decimal("1.50")]),
        ("SELECT ? AS v", (datetime(2024, 1, 2, tzinfo=UTC),), [datetime(2024, 1, 2, tzinfo=UTC)]),
        ("SELECT ? AS v", (b"\0",), [b"\0"]),
    ],
)
def test_parameters_are_bound(query: str, params: Any, rows: list[Any]) -> None:
    assert read(query, params)["v"].to_pylist() == rows


@pytest.mark.parametrize(
    ("query", "params", "code"),
    [
        ("SELECT FROM WHERE", (), "syntax_error"),
        ("SELECT nothing FROM range(3)", (), "unknown_column"),
        ("SELECT * FROM nothing", (), "unknown_table"),
        ("SELECT * FROM nothing.t", (), "unknown_table"),
        ("SELECT nothing(1)", (), "unknown_function"),
        ("SELECT range FROM range(3), range(4) r", (), "ambiguous_column"),
        ("SELECT range, count(*) FROM range(3)", (), "not_in_group_by"),
        ("SELECT 'secret'::INTEGER", (), "bad_value"),
        ("SELECT 9223372036854775807 + range FROM range(3)", (), "bad_value"),
        ("SELECT error('secret') FROM range(3)", (), "bad_value"),
        ("SELECT ? AS v", (object(),), "query_failed"),
        ("SELECT ? AS v", ("\ud800",), "bad_value"),
        ("SELECT '\ud800' AS v", (), "bad_text"),
        ("SELECT ? AS v", (1, 2), "bad_params"),
        ("SELECT :a AS v", {"b": 1}, "bad_params"),
        ("", (), "no_result_set"),
        ("SELECT 1; SELECT 2", (), "syntax_error"),
    ],
)
def test_an_error_has_a_code_and_no_text_of_duckdbs(query: str, params: Any, code: str) -> None:
    error = failed(query, params)
    assert isinstance(error, Refused)
    assert error.code == code
    assert "secret" not in error.message


def test_an_extension_that_is_not_installed_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    error = failed("SELECT * FROM 's3://bucket/t.parquet'", files="anywhere")
    assert (type(error), error.code, list(tmp_path.iterdir())) == (QueryFailed, "missing_extension", [])


def test_an_error_among_the_rows_is_translated() -> None:
    query = "SELECT CASE WHEN i = 400000 THEN error('secret') ELSE i END AS v FROM range(500000) r (i)"
    source = open_source("duckdb:", query)
    with pytest.raises(QueryFailed) as caught:
        list(source.batches())
    assert caught.value.code == "bad_value"
    assert "secret" not in caught.value.message


def test_a_database_file_is_read_and_never_written(tmp_path: Path) -> None:
    file = tmp_path / "memory.db"  # the name of DuckDB's own database
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE t AS SELECT i AS v FROM range(3) r (i)")
        connection.execute("CREATE VIEW w AS SELECT v + 1 AS v FROM t")
    before = file.read_bytes()
    assert read("SELECT v FROM w", url=f"duckdb:{file}")["v"].to_pylist() == [1, 2, 3]
    for statement in (
        "INSERT INTO t VALUES (9)",
        "WITH x AS (INSERT INTO t VALUES (9) RETURNING v) FROM x",
        "CHECKPOINT",
    ):
        assert failed(statement, url=f"duckdb:{file}").code in {"no_result_set", "syntax_error"}
    assert (file.read_bytes(), [path.name for path in tmp_path.iterdir()]) == (before, ["memory.db"])
    account = inspect_account(f"duckdb:///{file}")
    assert (account.server.startswith("DuckDB v"), account.excess) == (True, ())


def test_a_file_that_another_process_writes_is_locked_until_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "t.db"
    script = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); c.execute('CREATE TABLE t (v INTEGER)'); "
        "print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        error = failed("FROM t", url=f"duckdb:{file}?connect-timeout=100ms")
        assert (type(error), error.code, error.retryable) == (Unavailable, "source_locked", True)
        writer.kill()
    assert read("FROM t", url=f"duckdb:{file}").num_rows == 0


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("duckdb:", None),
        ("duckdb::memory:", None),
        ("duckdb:a%20b.db", Path("a b.db").absolute()),
        ("duckdb:///a.db", Path("a.db").absolute()),
        ("duckdb:////a.db", Path("/a.db")),
        ("DuckDB:/a.db?read_timeout=2s", Path("/a.db")),
    ],
)
def test_urls(text: str, path: Path | None) -> None:
    assert parse_dsn(text).path == path


@pytest.mark.parametrize(
    "text", ["duckdb://host/a.db", "duckdb:a.db?mode=rw", "duckdb:?read-timeout=x", "duckdb:a%00b"]
)
def test_urls_that_are_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        open_source(text, "SELECT 1")
    assert caught.value.code == "bad_dsn"


def test_the_options_of_the_connection_are_defaults_of_the_urls() -> None:
    assert parse_dsn("duckdb:?read-timeout=2s", Dsn(connect_timeout_s=3)) == Dsn(None, 3, 2)


def test_without_duckdb_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(Refused, match=r"pip install 'fluxport\[duckdb\]'") as caught:
        open_source("duckdb:", "SELECT 1")
    assert caught.value.code == "missing_extra"


# -- limits ------------------------------------------------------------------------------------------------------------


def test_a_statement_without_rows_ends_at_the_read_timeout() -> None:
    query = "SELECT sum(a.range * b.range) FROM range(999999) a, range(9999999) b"
    assert failed(query, url="duckdb:?read-timeout=200ms").code == "source_timeout"


def test_a_value_larger_than_the_process_may_hold_is_one_sentence() -> None:
    error = failed("SELECT repeat('x', 2000000000) AS v", separate=True, limits=Limits(deadline_s=60))
    assert (type(error), error.code) == (LimitExceeded, "query_too_costly")


def test_a_list_is_bounded_by_the_limit_of_a_row() -> None:
    query = "SELECT range(CASE WHEN i = 7 THEN 400000 ELSE 1 END) AS v FROM range(20) r (i)"
    with pytest.raises(LimitExceeded, match="Row 8 ") as caught:
        read(query, limits=Limits(cell_bytes_max=500_000))
    assert caught.value.code == "row_too_large"


def test_a_sort_larger_than_the_memory_uses_the_disk_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    query = "SELECT repeat('ab', 40) || i AS v FROM range(5000000) r (i) ORDER BY hash(i)"
    source = open_source("duckdb:", query)
    rows = source.batches()
    assert next(rows).num_rows
    (folder,) = tmp_path.iterdir()
    assert any(folder.iterdir())
    rows.close()
    assert list(tmp_path.iterdir()) == []


def test_a_statement_needing_more_than_memory_and_disk_is_refused() -> None:
    assert failed("SELECT list(repeat('ab', 40) || i) FROM range(9000000) r (i)").code == "query_too_costly"


def test_a_sort_without_room_on_the_disk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "FREE_BYTES", 1 << 60)
    query = "SELECT repeat('ab', 40) || i AS v FROM range(9000000) r (i) ORDER BY hash(i)"
    assert failed(query).code == "query_too_costly"


def test_a_temporary_folder_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    error = failed("SELECT 1")
    assert (type(error), error.code) == (Unavailable, "source_busy")


def test_what_a_killed_process_leaves_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    held = scratch.Scratch()
    (held.path / "part.tmp").write_bytes(b"x")
    left = tmp_path / f"{scratch.PREFIX}left"
    left.mkdir()
    (left / "part.tmp").write_bytes(b"x")
    (tmp_path / f"{scratch.PREFIX}link").symlink_to(tmp_path)
    scratch.Scratch().close()
    assert {path.name for path in tmp_path.iterdir()} == {held.path.name, f"{scratch.PREFIX}link"}
    assert (held.path / "part.tmp").exists()
    held.close()


def test_the_deadline_ends_a_step_that_nothing_interrupts() -> None:
    query = "SELECT length(regexp_replace(repeat('a', 60000000), '(a|b)', 'cc', 'g')) AS v"
    with pytest.raises(TimedOut):
        read(query, separate=True, limits=Limits(deadline_s=0.5))


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT count(*) AS n FROM 'orders/2024/*.parquet'", [15]),
        ("SELECT max(id) AS n FROM read_parquet(['orders/2024/a.parquet'])", [9]),
        ("SELECT count(*) AS n FROM 'items.csv'", [3]),
        ("SELECT count(*) AS n FROM 'items.json'", [4]),
        ("SELECT sum(id)::INTEGER AS n FROM 'file.arrow'", [6]),
        ("SELECT a.id AS n FROM 'stream.arrows' a JOIN 'stream.arrows' b USING (id) WHERE b.name = 'y'", [2]),
        ("SELECT count(*) AS n FROM 'file.arrow' JOIN 'items.csv' USING (id)", [2]),
    ],
)
def test_files_of_a_folder_are_read_by_their_path_inside_it(lake: Path, query: str, rows: list[int]) -> None:
    assert read(query, files=lake)["n"].to_pylist() == rows


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("columns.csv", b"a,b\n" + b"1,2\n" * 30_000 + b"1,2,3\n"),
        ("text.csv", b"a,b\n1,\xff\xfe\n"),
        ("cut.json", b'{"a": 1}\n{"a":\n'),
        ("empty.parquet", b""),
        ("rubbish.parquet", bytes(range(256)) * 20),
        ("rubbish.xlsx", bytes(range(256)) * 20),
        ("rubbish.arrow", bytes(range(256)) * 20),
        ("rubbish.arrow", b"ARROW1\0\0" + bytes(range(256)) * 20),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    error = failed(f"SELECT * FROM '{name}'", files=tmp_path)
    assert (type(error), error.code) == (QueryFailed, "source_damaged")


def test_the_first_sheet_of_an_excel_file_has_the_types_of_its_cells(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    day, moment = date(2024, 2, 29), datetime(2024, 2, 29, 10, 0, 1)
    sheet.append(["id", "n", "d", "t", "at", "yes", "any", None, "ID", "none"])
    sheet.append([1, 1.5, day, moment, time(10, 30), True, 2, "a", "é"])
    sheet.append([])
    sheet.append([2**40, 2, day, day, None, False, "x", None, None])
    book.save(tmp_path / "book.xlsx")
    table = read("SELECT * FROM 'book.xlsx'", files=tmp_path)
    assert table.to_pydict() == {
        "id": [1, None, 2**40],
        "n": [1.5, None, 2.0],
        "d": [day, None, day],
        "t": [moment, None, datetime(2024, 2, 29)],
        "at": [time(10, 30), None, None],
        "yes": [True, None, False],
        "any": ["2", None, "x"],
        "column8": ["a", None, None],
        "ID_9": ["é", None, None],
        "none": [None, None, None],
    }
    openpyxl.Workbook().save(tmp_path / "empty.xlsx")
    assert failed("SELECT * FROM 'empty.xlsx'", files=tmp_path).code == "source_damaged"


def test_cells_with_an_error_are_empty_and_counted(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["n", "text"])
    for value in (5, "#DIV/0!", "#N/A", 7):
        sheet.append([value, '<c t="e">'])
    book.create_sheet().append(["#REF!"])
    book.save(tmp_path / "errors.xlsx")
    findings = Findings()
    source = open_source(
        "duckdb:", "SELECT * FROM 'errors.xlsx'", options=SourceOptions(files=tmp_path), findings=findings
    )
    rows = [row for batch in source.batches() for row in batch.to_pylist()]
    assert [row["n"] for row in rows] == [5, None, None, 7]
    assert [(f.code, f.count, f.origin) for f in findings] == [("error_cell_null", 2, "errors.xlsx")]


def test_a_literal_is_a_file_only_where_it_stands_as_a_table(tmp_path: Path) -> None:
    (tmp_path / "broken.xlsx").write_bytes(b"PK")
    query = "SELECT 'broken.xlsx' AS name WHERE ? = 'broken.xlsx'"
    assert read(query, ["broken.xlsx"], files=tmp_path).to_pylist() == [{"name": "broken.xlsx"}]
    assert failed("SELECT 1 AS n FROM 'broken.xlsx'", files=tmp_path).code == "source_damaged"


def test_a_large_sheet_keeps_all_of_its_rows(tmp_path: Path) -> None:
    fluxport.export(
        "SELECT i AS id, 'x' || i AS name FROM range(20000) r (i)", source="duckdb:", to=tmp_path / "t.xlsx"
    )
    query = "SELECT count(*) AS n, sum(a.id)::BIGINT AS s FROM 't.xlsx' a JOIN 't.xlsx' b ON a.name = b.name"
    assert read(query, files=tmp_path).to_pylist() == [{"n": 20_000, "s": 199_990_000}]


def test_a_file_cut_short_ends_the_export_with_an_error(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT hash(i) AS v FROM range(500000) r (i)) TO '{tmp_path}/whole.parquet'")
    whole = (tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[:1_000_000] + whole[-200_000:])
    assert failed("SELECT * FROM 't.parquet'", files=tmp_path).code == "source_damaged"


@pytest.mark.parametrize("suffix", ["parquet", "csv", "json", "arrow"])
def test_a_file_that_shrinks_while_it_is_read_never_makes_a_shorter_result(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"t.{suffix}"
    with duckdb.connect() as connection:
        rows = "SELECT i AS id, 'row ' || hash(i) AS name FROM range(2000000) r (i)"
        if suffix == "arrow":
            table = connection.sql(rows).to_arrow_table()
            with pa.ipc.new_file(str(file), table.schema) as writer:
                writer.write_table(table, max_chunksize=50_000)
        else:
            connection.execute(f"COPY ({rows}) TO '{file}'")
    batches = open_source("duckdb:", f"SELECT * FROM '{file.name}'", options=SourceOptions(files=tmp_path)).batches()
    assert next(batches).num_rows
    os.truncate(file, 0)
    with pytest.raises(FluxportError) as caught:
        list(batches)
    assert caught.value.code in {"source_damaged", "source_lost"}


@pytest.mark.parametrize("content", [b"", bytes(range(256)) * 100])
def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.db").write_bytes(content)
    assert failed("SELECT 1", url=f"duckdb:{tmp_path}/t.db").code == "source_damaged"
    assert failed("SELECT 1", url=f"duckdb:{tmp_path}/none.db").code == "unknown_database"


def test_a_folder_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    error = failed("SELECT 1", files=tmp_path / "none")
    assert (type(error), error.code) == (Unavailable, "source_unreachable")
