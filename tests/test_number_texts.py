"""Numbers that a source gives as text, because their scale differs from row to row, in every format."""

from __future__ import annotations

import csv
import io
import json
import re
from decimal import Decimal
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport import formats
from fluxport.findings import Finding, Findings
from fluxport.stages import FIELD_KIND, Batches

TEXTS = ["-0.5", "7", "1234567.250", "12345678901234567.5", "NaN", None, "-Infinity", "0.1234567890123450000"]


def written(form: str, texts: list[str | None], columns: int = 1, **options: Any) -> tuple[bytes, list[Finding]]:
    schema = pa.schema([pa.field(f"n{k}", pa.string(), metadata={FIELD_KIND: b"number"}) for k in range(columns)])

    def batches() -> Batches:
        yield pa.record_batch([pa.array(texts, pa.string())] * columns, schema=schema)

    findings = Findings()
    encoder = formats.encoder(form, formats.options(form, options), findings)
    return b"".join(bytes(chunk) for chunk in encoder.encode(schema, batches())), list(findings)


def test_csv_writes_their_digits_with_its_separators() -> None:
    content, findings = written(
        "csv", TEXTS, decimal_separator=",", grouping_separator=".", delimiter=";", null_value="-"
    )
    rows = [row[0] for row in csv.reader(io.StringIO(content.decode()), delimiter=";")]
    assert rows[1:] == [
        "-0,5", "7", "1.234.567,250", "12.345.678.901.234.567,5", "NaN", "-", "-Infinity", "0,1234567890123450000",
    ]  # fmt: skip
    assert findings == []


@pytest.mark.parametrize("columns", [1, 3])
def test_json_has_no_such_words(columns: int) -> None:
    content, findings = written("jsonl", TEXTS, columns)
    expected = [None if text is None or text in ("NaN", "-Infinity") else Decimal(text) for text in TEXTS]
    for line, number in zip(content.decode().splitlines(), expected, strict=True):
        found = json.loads(line, parse_float=Decimal, parse_int=Decimal)
        assert found == {f"n{k}": number for k in range(columns)}
    assert findings == [Finding("not_a_number", f"n{k}", 2) for k in range(columns)]


@pytest.mark.parametrize("columns", [1, 3])
def test_json_has_them_as_strings_where_decimals_are(columns: int) -> None:
    content, findings = written("jsonl", TEXTS, columns, decimal_as_string=True)
    for line, text in zip(content.decode().splitlines(), TEXTS, strict=True):
        expected = None if text in ("NaN", "-Infinity") else text
        assert json.loads(line) == {f"n{k}": expected for k in range(columns)}
    assert findings == [Finding("not_a_number", f"n{k}", 2) for k in range(columns)]


@pytest.mark.parametrize(("form", "options"), [("xlsx", {}), ("json", {}), ("jsonl", {"decimal_as_string": True})])
def test_the_changes_that_happen_are_foreseen(form: str, options: dict[str, Any]) -> None:
    schema = pa.schema([pa.field("n0", pa.string(), metadata={FIELD_KIND: b"number"})])
    encoder = formats.encoder(form, formats.options(form, options), Findings())
    foreseen = encoder.stored(schema)[0].findings  # type: ignore[attr-defined]  # of formats with columns
    assert sorted(foreseen) == [finding.code for finding in written(form, TEXTS, **options)[1]]


def cells(content: bytes) -> list[Any]:
    sheet = openpyxl.load_workbook(io.BytesIO(content)).worksheets[0]
    return [row[0] for row in sheet.iter_rows(min_row=2, values_only=True)]


def test_xlsx_has_numbers_of_up_to_15_digits_and_texts_of_more() -> None:
    content, findings = written("xlsx", TEXTS)
    assert cells(content) == [-0.5, 7, 1234567.25, "12345678901234567.5", None, None, None, 0.123456789012345]
    assert findings == [Finding("not_a_number", "n0", 2), Finding("number_as_text", "n0", 1)]


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_outside_excels_range_is_text(sign: str) -> None:
    """However few digits it has, and however its exponent is written."""
    inside = [
        "9" + "0" * 307,
        "0." + "0" * 307 + "3",
        "5e307",
        "2.5E-308",
        "0e999",
        "0." + "0" * 400,
        "1.5e5",
        "0E-400",
    ]
    outside = ["1" + "0" * 400, "0." + "0" * 400 + "1", "1" + "0" * 308, "1e400", "1E-400", "1e99999999999999999999"]
    content, findings = written("xlsx", [*(sign + text for text in outside), None, *(sign + text for text in inside)])
    found = cells(content)
    assert found[: len(outside) + 1] == [*(sign + text for text in outside), None]
    assert [float(cell) for cell in found[len(outside) + 1 :]] == [float(sign + text) for text in inside]
    assert not any(isinstance(cell, str) for cell in found[len(outside) + 1 :])
    assert findings == [Finding("number_as_text", "n0", len(outside))]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20).map(
            lambda v: f"{v:f}"
        )
        | st.floats(allow_nan=False, allow_infinity=False).map(repr)
        | st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{0,25}[0-9])?", fullmatch=True),
        min_size=1,
        max_size=30,
    )
)
def test_a_number_cell_of_xlsx_has_the_number(texts: list[str]) -> None:
    """In Excel's range, with at most 15 significant digits or the shortest text of a double with a fraction; others are
    texts."""
    found = cells(written("xlsx", list(texts))[0])
    for text, cell in zip(texts, found, strict=True):
        digits = re.sub(r"[eE].*|[-.]", "", text).strip("0")
        if isinstance(cell, str):
            assert cell == text
            assert len(digits) > 15 or not 2.2251e-308 <= abs(float(text)) < 1e308
        else:
            assert len(digits) <= 15 or Decimal(repr(float(text))) == Decimal(text)
            assert float(cell) == float(text)
