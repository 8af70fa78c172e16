"""CSV and TSV files read back by third-party programs."""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
import re
import unicodedata
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv

from fluxport.findings import Findings
from fluxport.policy.formulas import defuse
from text_support import written

ROWS = [
    (1, "plain", 0.1, Decimal("1.50"), dt.datetime(2026, 1, 31, 23, 59, 59), dt.date(2000, 2, 29), True),
    (-(2**63), 'comma, "quote"', -0.0, Decimal("-0.01"), dt.datetime(1970, 1, 1), dt.date(1582, 10, 15), False),
    (2**63 - 1, "line\nbreak\r\n", 1e300, Decimal("99999999.99"), dt.datetime(1000, 1, 1), dt.date(9999, 12, 31), None),
    (None, None, None, None, None, None, None),
    (0, "", 123456789.125, Decimal(0), dt.datetime(9999, 12, 31, 23, 59, 59), dt.date(1, 1, 1), True),
    (5, "ünï©ødé 🙂 'x' \\ ; \t |", 5e-324, None, None, None, None),
]
KINDS = {
    "i": pa.int64(),
    "s": pa.string(),
    "f": pa.float64(),
    "d": pa.decimal128(12, 2),
    "t": pa.timestamp("s"),
    "day": pa.date32(),
    "b": pa.bool_(),
}
TABLE = pa.table(
    {n: pa.array([row[i] for row in ROWS], kind) for i, (n, kind) in enumerate(KINDS.items())},
)


@pytest.mark.parametrize("line_ending", ["lf", "crlf"])
@pytest.mark.parametrize("delimiter", [",", ";", "|", "\x1f"])
def test_duckdb_reads_every_value_back(tmp_path: Path, delimiter: str, line_ending: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(written("csv", TABLE, delimiter=delimiter, line_ending=line_ending).data)
    kinds = {
        **{"i": "BIGINT", "s": "VARCHAR", "f": "DOUBLE", "d": "DECIMAL(12,2)"},
        **{"t": "TIMESTAMP", "day": "DATE", "b": "BOOLEAN"},
    }
    read = duckdb.read_csv(str(path), header=True, sep=delimiter, quotechar='"', escapechar='"', dtype=kinds)
    found = read.fetchall()
    expected = [
        tuple(None if name == "s" and v == "" else v for name, v in zip(KINDS, row, strict=True)) for row in ROWS
    ]
    assert [
        tuple(None if n == "s" and v == "" else v for n, v in zip(KINDS, r, strict=True)) for r in found
    ] == expected


@pytest.mark.parametrize("profile", [None, "excel", "rfc4180", "machine"])
def test_polars_reads_every_value_back_and_distinguishes_null_from_empty(profile: str | None) -> None:
    data = written("csv", TABLE, profile=profile).data
    read = polars.read_csv(io.BytesIO(data), schema_overrides={"d": polars.Decimal(12, 2)}, try_parse_dates=True)
    assert read.columns == list(KINDS)
    for name in ("i", "f", "d", "b"):
        assert read[name].to_list() == TABLE[name].to_pylist(), name
    assert read["day"].cast(polars.Date).to_list() == TABLE["day"].to_pylist()


def test_arrow_reads_every_value_back_and_distinguishes_null_from_empty() -> None:
    read = arrow_csv.read_csv(
        io.BytesIO(written("csv", TABLE).data),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            column_types=KINDS, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]
        ),
    )
    for name in KINDS:
        assert read[name].to_pylist() == TABLE[name].to_pylist(), name


CELLS = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=8) | st.text(
    alphabet='",;\r\n\t ', max_size=4
)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(2, 4).flatmap(
        lambda n: st.lists(st.lists(st.none() | CELLS, min_size=n, max_size=n), min_size=1, max_size=10)
    ),
    st.sampled_from([",", ";", "\t", " ", "-"]),
    st.sampled_from(["minimal", "all", "nonnumeric"]),
    st.sampled_from(["lf", "crlf"]),
)
def test_python_csv_reads_any_text_back(
    rows: list[list[str | None]], delimiter: str, quoting: str, line_ending: str
) -> None:
    names = [f"c{i}" for i in range(len(rows[0]))]
    table = pa.table([pa.array(c, pa.string()) for c in zip(*rows, strict=True)], names=names)
    data = written("csv", table, delimiter=delimiter, quoting=quoting, line_ending=line_ending).data
    header, *found = csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter, strict=True)
    assert header == names
    assert found == [[v or "" for v in row] for row in rows]


def run_as_formula(text: str | None) -> bool:
    """What a spreadsheet may run once it has dropped invisible characters."""
    seen = "".join(c for c in text or "" if c in "\t\r\n" or unicodedata.category(c) not in ("Cc", "Cf"))
    return seen[:1] in tuple("=+-@\t\r＝＋－＠") and not re.fullmatch(r"[+-][0-9]+", seen)


def test_no_reader_sees_a_formula_behind_omitted_characters() -> None:
    """In cells and in the header, whatever byte of a cell a reader drops, the first of the file among them."""
    before = ["", "\0", "\0\0", "\x01", "\x1f", "\x7f", "\ufeff", "\u200b", "\u202e", "\u2066", "\ufeff\0\u200f"]
    values = [[b + sign + "1+1" for sign in "=+-@＝"] + [b + "-5"] for b in before]
    table = pa.table(dict(zip([f"{b}=A{i}" for i, b in enumerate(before)], values, strict=True)))
    findings = Findings()
    schema, apply = defuse(findings)(table.schema)
    data = written("csv", pa.Table.from_batches([apply(b) for b in table.to_batches()], schema), bom=False).data
    found = {
        "csv": list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True)),
        "polars": polars.read_csv(io.BytesIO(data), has_header=False, infer_schema=False).rows(),
        "arrow": arrow_csv.read_csv(
            io.BytesIO(data),
            read_options=arrow_csv.ReadOptions(autogenerate_column_names=True),
            convert_options=arrow_csv.ConvertOptions(column_types={f"f{i}": pa.string() for i in range(len(before))}),
        ).to_pylist(),
    }
    for reader, rows in found.items():
        cells = [cell for row in rows for cell in (row.values() if isinstance(row, dict) else row)]
        assert len(cells) == len(before) * 7, reader
        assert not [cell for cell in cells if run_as_formula(cell)], reader
    assert sum(f.count for f in findings) == len(before) * 6


VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "uint8": (pa.uint8(), st.integers(0, 255)),
    "double": (pa.float64(), st.floats()),
    "float": (pa.float32(), st.floats(width=32)),
    "decimal": (pa.decimal128(20, 5), st.decimals(-(10**14), 10**14, places=5)),
    "bool": (pa.bool_(), st.booleans()),
    "date": (pa.date32(), st.dates()),
    "timestamp": (pa.timestamp("us"), st.datetimes()),
    "time": (pa.time64("us"), st.times()),
    "text": (pa.string(), CELLS),
}
PARSED: dict[str, Any] = {
    **{"int64": int, "uint8": int, "double": float, "float": float, "decimal": Decimal, "text": str},
    **{"bool": lambda t: {"true": True, "false": False}[t]},
    **{"date": dt.date.fromisoformat, "timestamp": dt.datetime.fromisoformat, "time": dt.time.fromisoformat},
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], pa.Table]:
    kinds = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=2, max_size=6))
    rows = draw(st.integers(1, 12))
    columns = [
        pa.array(draw(st.lists(st.none() | VALUES[k][1], min_size=rows, max_size=rows)), VALUES[k][0]) for k in kinds
    ]
    return kinds, pa.table(columns, names=[f"{k}_{i}" for i, k in enumerate(kinds)])


def same(kind: str, found: Any, value: Any) -> bool:
    if kind in ("double", "float") and math.isnan(value):
        return math.isnan(found)
    return bool((pa.scalar(found, pa.float32()).as_py() if kind == "float" else found) == value)


@settings(deadline=None, max_examples=80)
@given(tables(), st.lists(st.integers(1, 5), max_size=4), st.sampled_from(["csv", "tsv"]))
def test_any_table_reads_back_value_by_value(case: tuple[list[str], pa.Table], sizes: list[int], name: str) -> None:
    kinds, table = case
    text = written(name, table, sizes).text
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="," if name == "csv" else "\t", strict=True))
    for i, kind in enumerate(kinds):
        for value, row in zip(table.column(i).to_pylist(), rows[1:], strict=True):
            if value is None or value == "":
                assert row[i] == ""
            else:
                assert same(kind, PARSED[kind](row[i]), value), (kind, row[i], value)
