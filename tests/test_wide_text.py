"""A row of a thousand columns has the bytes that each of its columns has alone, in every text format."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from fluxport.errors import Refused
from fluxport.findings import Findings
from fluxport.testing.formats import encoded, encoder, wide

CSV_OPTIONS: list[dict[str, Any]] = [
    {},
    {"quoting": "all"},
    {"quoting": "nonnumeric", "null_value": "NULL"},
    {"delimiter": ";", "decimal_separator": ",", "grouping_separator": ".", "datetime_format": "%d.%m.%Y"},
    {"delimiter": "-", "null_value": "plain", "encoding": "utf-16-le", "line_ending": "crlf"},
]


@pytest.mark.parametrize("options", CSV_OPTIONS, ids=str)
def test_a_row_of_csv_is_its_cells_with_delimiters_between(options: dict[str, Any]) -> None:
    """A cell alone is written behind a number, because a lone empty cell is quoted."""
    options = {"header": False, **options}
    charset = options.get("encoding", "utf-8")
    delimiter = options.get("delimiter", ",")
    end = "\r\n" if "line_ending" in options else "\n"
    zero = pa.array([0])
    rows = []
    for row in range(3):
        one = wide().slice(row, 1)
        cells = [
            encoded("csv", pa.record_batch([zero, column], ["", name]), **options).decode(charset)
            for name, column in zip(one.schema.names, one.columns, strict=True)
        ]
        first = '"0"' if options.get("quoting") == "all" else "0"
        assert all(cell.startswith(first + delimiter) for cell in cells)
        rows.append(delimiter.join(c.removeprefix(first + delimiter).removesuffix(end) for c in cells) + end)
    assert encoded("csv", wide().slice(0, 3), **options).decode(charset) == "".join(rows)


@pytest.mark.parametrize("options", [{}, {"int64_as_string": True, "decimal_as_string": True}], ids=str)
def test_an_object_is_its_members(options: dict[str, Any]) -> None:
    rows = []
    for row in range(3):
        one = wide().slice(row, 1)
        members = [encoded("jsonl", one.select([name]), **options).decode() for name in one.schema.names]
        rows.append("{" + ",".join(m.removeprefix("{").removesuffix("}\n") for m in members) + "}\n")
    assert encoded("jsonl", wide().slice(0, 3), **options).decode() == "".join(rows)


def test_changes_are_reported_for_their_own_columns() -> None:
    """Numbers that JSON lacks, and fractions that a format hides, in some of many columns of one type."""
    nan, infinity = float("nan"), float("inf")
    numbers = {
        f"n{i}": pa.array([1.5, None, nan if i % 7 == 3 else 0.0, infinity if i == 3 else 2.0]) for i in range(50)
    }
    times = {f"t{i}": pa.array([10**6, None, 1 if i == 9 else 0, 5], pa.timestamp("us")) for i in range(50)}
    batch = pa.record_batch({**numbers, **times})
    findings = Findings()
    list(encoder("jsonl", findings, datetime_format="%H:%M").encode(batch.schema, (b for b in [batch])))
    counts = {(finding.code, finding.column): finding.count for finding in findings}
    assert {c: n for (code, c), n in counts.items() if code == "not_a_number"} == {
        **{f"n{i}": 1 for i in range(3, 50, 7)},
        "n3": 2,
    }
    assert {c: n for (code, c), n in counts.items() if code == "fraction_left_out"} == {
        **{f"t{i}": 1 for i in range(50)},
        "t9": 2,
    }


def test_a_text_that_is_not_utf_8_is_refused_by_the_name_of_its_column() -> None:
    bad = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))
    good = pa.array(["ü"])
    batch = pa.record_batch([good] * 20 + [bad] + [good] * 20, [f"c{i}" for i in range(41)])
    for name in ("csv", "jsonl"):
        with pytest.raises(Refused, match="'c20'") as refused:
            encoded(name, batch)
        assert refused.value.code == "invalid_text"


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_views_of_one_text_are_written_in_pieces(name: str) -> None:
    """A view of a text weighs 16 bytes, and its text is written for every view of it."""
    text = "x" * 200_000
    one, data = pa.array([text], pa.string_view()).buffers()[1:]
    views = pa.Array.from_buffers(pa.string_view(), 600, [None, pa.py_buffer(one.to_pybytes()[:16] * 600), data])
    batch = pa.record_batch([views], ["x"])
    chunks = [len(chunk) for chunk in encoder(name).encode(batch.schema, (b for b in (batch,)))]
    assert sum(chunks) > 600 * len(text)
    assert max(chunks) < 8 << 20
