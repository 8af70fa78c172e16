"""Parquet and Arrow files, value by value, in readers that are not Arrow's: DuckDB and polars."""

from __future__ import annotations

import datetime
import decimal
import io
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport import formats
from fluxport.findings import Findings
from fluxport.stages import FIELD_KIND, Batches

MOMENT = datetime.datetime(2026, 1, 31, 23, 59, 59, 123456)
D = decimal.Decimal


def batches(batch: pa.RecordBatch) -> Batches:
    yield batch


def encoded(name: str, batch: pa.RecordBatch, **given: Any) -> bytes:
    encoder = formats.encoder(name, formats.options(name, given), Findings())
    return b"".join(encoder.encode(batch.schema, batches(batch)))


def duckdb_rows(data: bytes, path: Path) -> tuple[list[str], list[Any]]:
    """DuckDB's own types and the values of the one column."""
    path.write_bytes(data)
    with duckdb.connect() as connection:
        relation = connection.sql(f"SELECT x FROM read_parquet('{path}')")
        return [str(kind) for kind in relation.types], [row[0] for row in relation.fetchall()]


CASES: dict[str, tuple[pa.DataType, list[Any], str]] = {
    "int8": (pa.int8(), [-128, 127], "TINYINT"),
    "int64": (pa.int64(), [-(2**63), 2**63 - 1], "BIGINT"),
    "uint64": (pa.uint64(), [0, 2**64 - 1], "UBIGINT"),
    "double": (pa.float64(), [0.1, -0.0, 5e-324, 1.7976931348623157e308], "DOUBLE"),
    "float": (pa.float32(), [0.5, -1.0], "FLOAT"),
    "bool": (pa.bool_(), [True, False], "BOOLEAN"),
    "text": (pa.string(), ["", "Ünï 😀", "a\0b", "x" * 100_000], "VARCHAR"),
    "large text": (pa.large_string(), ["a"], "VARCHAR"),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), ["a", "b", "a"], "VARCHAR"),
    "binary": (pa.binary(), [b"", b"\xff\x00"], "BLOB"),
    "decimal": (pa.decimal128(38, 10), [D("-1234567890123456789012345678.0123456789")], "DECIMAL(38,10)"),
    "narrow decimal256": (pa.decimal256(38, 2), [D("1.50"), D(-(10**35))], "DECIMAL(38,2)"),
    "date": (pa.date32(), [datetime.date(1, 1, 1), datetime.date(9999, 12, 31)], "DATE"),
    "datetime": (pa.timestamp("us"), [MOMENT, datetime.datetime(1000, 1, 1)], "TIMESTAMP"),
    "datetime s": (pa.timestamp("s"), [MOMENT.replace(microsecond=0)], "TIMESTAMP"),
    "time": (pa.time64("us"), [datetime.time(23, 59, 59, 999999)], "TIME"),
    "list": (pa.list_(pa.int32()), [[1, None], []], "INTEGER[]"),
    "struct": (pa.struct([("a", pa.int32())]), [{"a": 1}, {"a": None}], "STRUCT(a INTEGER)"),
    "list view": (pa.list_view(pa.string()), [["a", "b"], [], ["c"]], "VARCHAR[]"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("codec", ["zstd", "snappy", "none"])
def test_duckdb_reads_the_same_values_of_the_right_type(case: str, codec: str, tmp_path: Path) -> None:
    """Nulls between them too."""
    kind, values, type_name = CASES[case]
    values = [v for value in values for v in (value, None)]
    data = encoded("parquet", pa.record_batch({"x": pa.array(values, kind)}), codec=codec)
    assert duckdb_rows(data, tmp_path / "x.parquet") == ([type_name], values)


@pytest.mark.parametrize("case", CASES)
def test_polars_reads_the_same_values(case: str) -> None:
    """Parquet and the Arrow stream alike."""
    kind, values, _ = CASES[case]
    batch = pa.record_batch({"x": pa.array([*values, None], kind)})
    assert polars.read_parquet(io.BytesIO(encoded("parquet", batch)))["x"].to_list() == [*values, None]
    for codec in ("none", "zstd", "lz4"):
        data = encoded("arrow", batch, codec=codec)
        assert polars.read_ipc_stream(io.BytesIO(data))["x"].to_list() == [*values, None]


@pytest.mark.parametrize(
    ("array", "kind", "texts"),
    [
        (pa.array([3_020_399, -1, None], pa.duration("s")), b"time", ["838:59:59", "-00:00:01", None]),
        (pa.array([D(10**40), D(-1), None], pa.decimal256(41, 0)), None, [str(10**40), "-1", None]),
    ],
    ids=["MySQL TIME", "SUM of BIGINT"],
)
def test_what_readers_would_take_for_something_else_is_text(
    array: pa.Array, kind: bytes | None, texts: list[str | None], tmp_path: Path
) -> None:
    """DuckDB would read a bare integer, and a double that is not the same number."""
    field = pa.field("x", array.type, metadata={FIELD_KIND: kind} if kind else None)
    data = encoded("parquet", pa.RecordBatch.from_arrays([array], schema=pa.schema([field])))
    assert duckdb_rows(data, tmp_path / "x.parquet") == (["VARCHAR"], texts)


def test_json_is_json_to_duckdb(tmp_path: Path) -> None:
    """A JSON column needs no cast."""
    field = pa.field("x", pa.string(), metadata={FIELD_KIND: b"json"})
    batch = pa.RecordBatch.from_arrays([pa.array(['{"a": 1}', None])], schema=pa.schema([field]))
    kinds, values = duckdb_rows(encoded("parquet", batch), tmp_path / "x.parquet")
    assert kinds == ["JSON"]
    assert values == ['{"a": 1}', None]


COLUMNS = {
    "i": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "f": (pa.float64(), st.floats(allow_nan=False)),
    "s": (pa.string(), st.text(max_size=20)),
    "b": (pa.bool_(), st.booleans()),
    "y": (pa.binary(), st.binary(max_size=8)),
    "d": (pa.decimal128(20, 4), st.decimals(-(10**15), 10**15, places=4)),
    "t": (pa.timestamp("us"), st.datetimes()),
    "l": (pa.list_(pa.int16()), st.lists(st.integers(-99, 99), max_size=3)),
}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(*(st.one_of(st.none(), values) for _, values in COLUMNS.values())), max_size=30))
def test_any_rows_come_back_from_duckdb_and_polars(rows: list[tuple[Any, ...]]) -> None:
    """Generated by hypothesis, compared row by row."""
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in COLUMNS]
    arrays = [pa.array(column, kind) for column, (kind, _) in zip(columns, COLUMNS.values(), strict=True)]
    data = encoded("parquet", pa.RecordBatch.from_arrays(arrays, names=list(COLUMNS)))
    assert polars.read_parquet(io.BytesIO(data)).rows() == rows
