"""JSON and JSON Lines files read back by third-party programs."""

from __future__ import annotations

import datetime as dt
import io
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import json as arrow_json

from text_support import written

TABLE = pa.table(
    {
        "i": pa.array([1, -(2**63), None, 2**63 - 1], pa.int64()),
        "f": pa.array([0.1, 1e300, None, -0.0]),
        "s": pa.array(['a"\\\n', "", None, "ünï🙂\u2028"]),
        "b": pa.array([True, False, None, True]),
        "t": pa.array(
            [dt.datetime(2026, 1, 31, 1), dt.datetime(1000, 1, 1), None, dt.datetime(9999, 1, 1)], pa.timestamp("s")
        ),
        "l": pa.array([[1, None], [], None, [3]], pa.list_(pa.int64())),
        "o": pa.array([{"x": 1.5, "y": "z"}, {"x": None, "y": ""}, None, {"x": 0.0, "y": None}]),
    }
)


@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_duckdb_reads_every_value_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"x.{name}"
    path.write_bytes(written(name, TABLE).data)
    kinds = {"i": "BIGINT", "f": "DOUBLE", "s": "VARCHAR", "b": "BOOLEAN", "t": "TIMESTAMP", "l": "BIGINT[]"}
    kinds["o"] = "STRUCT(x DOUBLE, y VARCHAR)"
    form = "array" if name == "json" else "newline_delimited"
    found = duckdb.read_json(str(path), format=form, columns=kinds).fetchall()
    assert found == [tuple(row.values()) for row in TABLE.to_pylist()]


def test_polars_and_arrow_read_every_value_back() -> None:
    data = written("jsonl", TABLE).data
    rows = [
        {k: v.isoformat(" ") if isinstance(v, dt.datetime) else v for k, v in row.items()} for row in TABLE.to_pylist()
    ]
    assert polars.read_ndjson(io.BytesIO(data)).drop("o").to_dicts() == [
        {k: v for k, v in r.items() if k != "o"} for r in rows
    ]
    assert polars.read_json(io.BytesIO(written("json", TABLE).data))["i"].to_list() == TABLE["i"].to_pylist()
    schema = pa.schema([f for f in TABLE.schema if f.name != "t"])
    read = arrow_json.read_json(io.BytesIO(data), parse_options=arrow_json.ParseOptions(explicit_schema=schema))
    assert read.drop(["t"]).select(schema.names).to_pylist() == TABLE.drop(["t"]).to_pylist()


KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "int": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "double": (pa.float64(), st.floats()),
    "decimal": (pa.decimal256(60, 20), st.decimals(-(10**30), 10**30, places=20)),
    "text": (pa.string(), st.text(max_size=8)),
    "large": (pa.large_string(), st.text(alphabet='"\\\n,', max_size=8)),
    "bool": (pa.bool_(), st.booleans()),
    "list": (pa.list_(pa.float32()), st.lists(st.none() | st.floats(-10, 10, width=32), max_size=3)),
    "struct": (pa.struct([("x", pa.string())]), st.fixed_dictionaries({"x": st.none() | st.text(max_size=3)})),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], pa.Table]:
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=5))
    rows = draw(st.integers(1, 10))
    columns = [
        pa.array(draw(st.lists(st.none() | KINDS[k][1], min_size=rows, max_size=rows)), KINDS[k][0]) for k in kinds
    ]
    return kinds, pa.table(columns, names=[draw(st.text(max_size=3)) + f"{i}" for i in range(len(kinds))])


def same(kind: str, found: Any, value: Any) -> bool:
    if kind == "double" and value is not None:
        return bool(float(found) == value) if math.isfinite(value) else found is None
    if kind == "list" and value is not None:
        return bool([None if v is None else pa.scalar(float(v), pa.float32()).as_py() for v in found] == value)
    return bool(found == value)


@settings(deadline=None, max_examples=80)
@given(tables(), st.lists(st.integers(1, 5), max_size=4), st.sampled_from(["json", "jsonl"]))
def test_any_table_reads_back_value_by_value(case: tuple[list[str], pa.Table], sizes: list[int], name: str) -> None:
    kinds, table = case
    text = written(name, table, sizes).text
    rows = (
        json.loads(text, parse_float=Decimal)
        if name == "json"
        else [json.loads(t, parse_float=Decimal) for t in text.split("\n")[:-1]]
    )
    assert len(rows) == table.num_rows
    for i, kind in enumerate(kinds):
        column = table.schema.names[i]
        for row, value in zip(rows, table.column(i).to_pylist(), strict=True):
            assert same(kind, row[column], value), (kind, row[column], value)
