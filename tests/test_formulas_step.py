"""Formulas in text are escaped; nothing else is changed."""

from __future__ import annotations

import csv
import io
import re
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxport.findings import Finding, Findings
from fluxport.policy.formulas import defuse
from fluxport.stages import FIELD_KIND
from services import require_program

FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\rx", "＝1", "＋1", "－1", "＠x", "=", "-", "-5\n", "-٥"]
DROPPED = [*"\x00\x01\x0b\x1f\x7f\x85\xad\u061c\u200b\u200e\u202e\u2060\u2066\ufeff", "\x00\ufeff\x00"]
FORMULAS += [before + "=1+1" for before in DROPPED] + ["\x00\t=1", "\x00-1+1", "\ufeff＝1", "-Infinity()"]
HARMLESS = ["-5", "+1.5e3", "-.5", "5.", "-1E-9", "", "a=1", "'=1", " =1", "\n=1", "あ", "ï", "1-1", "-Infinity", None]
HARMLESS += ["\x00-5", "\ufeff+1.5e3", "\x00a=1", "\x00", "\u200b", "\u2026=1", "\u0627=1", "\xa9=1", "\xef", "\ue000="]
TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int8(), pa.large_string()),
    pa.run_end_encoded(pa.int32(), pa.string()),
]


def through(array: pa.Array, name: str = "x", kind: bytes | None = None) -> tuple[pa.RecordBatch, list[Finding]]:
    schema = pa.schema([pa.field(name, array.type, metadata={FIELD_KIND: kind} if kind else None)])
    findings = Findings()
    made, apply = defuse(findings)(schema)
    batch = apply(pa.record_batch([array], schema=schema))
    batch.validate(full=True)
    assert batch.schema == made
    return batch, list(findings)


def text_array(values: list[str | None], kind: pa.DataType) -> pa.Array:
    if pa.types.is_run_end_encoded(kind):
        ends = pa.array(range(1, len(values) + 1), kind.run_end_type)
        return pa.RunEndEncodedArray.from_arrays(ends, pa.array(values, kind.value_type))
    return pa.array(values, kind)


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_a_cell_that_begins_like_a_formula_gets_a_quote(kind: pa.DataType) -> None:
    """In text of every layout, counted per column, and the type stays."""
    batch, findings = through(text_array([*FORMULAS, *HARMLESS, *FORMULAS], kind))
    quoted = ["'" + text for text in FORMULAS]
    assert batch.column(0).to_pylist() == [*quoted, *HARMLESS, *quoted]
    assert batch.column(0).type == kind
    assert findings == [Finding("formula_defused", "x", 2 * len(FORMULAS))]


@pytest.mark.parametrize("kind", TEXT_TYPES[:5], ids=str)
def test_slices_are_looked_at_where_they_begin(kind: pa.DataType) -> None:
    """Neither a neighbour's bytes nor those of a null count."""
    batch, findings = through(text_array(["=1", "a", None, "", "=2", "-5", "=3"], kind).slice(1, 5))
    assert batch.column(0).to_pylist() == ["a", None, "", "'=2", "-5"]
    assert [f.count for f in findings] == [1]


@given(
    st.lists(st.one_of(st.none(), st.text("=+-@\t\r＝0159.eE '\"a\n\x00\ufeff\u200b\u2026\xad", max_size=6))),
    st.integers(0, 3),
)
def test_the_rule_cell_by_cell(values: list[str | None], start: int) -> None:
    """The kernels do what the rule states for a single cell."""
    number = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
    seen = [None if v is None else v.lstrip("\x00\ufeff\u200b\xad") for v in values]
    dangerous = [s is not None and s[:1] in tuple("=+-@\t\r＝＋－＠") and not number.fullmatch(s) for s in seen]
    batch, findings = through(pa.array(values, pa.string()).slice(start))
    expected = [f"'{v}" if bad else v for v, bad in zip(values, dangerous, strict=True)][start:]
    assert batch.column(0).to_pylist() == expected
    assert sum(f.count for f in findings) == sum(dangerous[start:])


@pytest.mark.parametrize(
    "array",
    [pa.array([-5, None]), pa.array([-0.5]), pa.array([b"=1+1"]), pa.array([["=1"]]), pa.nulls(2), pa.array([True])],
    ids=lambda a: str(a.type),
)
def test_columns_that_are_not_text_are_never_touched(array: pa.Array) -> None:
    """-5 the number stays -5."""
    batch, findings = through(array)
    assert batch.column(0).equals(array)
    assert findings == []


@pytest.mark.parametrize("kind", [b"json", b"wkb", b"number"])
def test_json_geometry_and_numbers_are_not_text_of_people(kind: bytes) -> None:
    """A quote would make the JSON invalid, and JSON begins with no sign but a number's."""
    batch, findings = through(pa.array(["-5", "\t[1]"]), kind=kind)
    assert batch.column(0).to_pylist() == ["-5", "\t[1]"]
    assert findings == []


def test_names_of_columns_are_defused_too() -> None:
    """``SELECT -score`` names its column ``-score``."""
    batch, findings = through(pa.array([-5]), name="-score")
    assert batch.schema.names == ["'-score"]
    assert findings == [Finding("formula_defused", "-score", 1)]
    assert through(pa.array([1]), name="-5")[0].schema.names == ["-5"]
    assert through(pa.array([1]), name="\x00=A1")[0].schema.names == ["'\x00=A1"]


def test_a_batch_without_columns_passes() -> None:
    """It still has its rows."""
    schema, apply = defuse(Findings())(pa.schema([]))
    batch = pa.RecordBatch.from_struct_array(pa.array([{}, {}], pa.struct([])))
    assert schema.names == []
    assert apply(batch).num_rows == 2


def test_a_spreadsheet_sees_no_formula_in_escaped_text(tmp_path: Path) -> None:
    """LibreOffice counts the formulas in a CSV of every dangerous prefix: some before, none after."""
    soffice = require_program("soffice")
    texts: list[str | None] = [*FORMULAS, *HARMLESS, "=cmd|' /C calc'!A0", '=HYPERLINK("x")', "\n=1+1", "\xa0=1+1"]
    for name, values in (("before", texts), ("after", through(pa.array(texts))[0].column(0).to_pylist())):
        made = io.StringIO()
        csv.writer(made, quoting=csv.QUOTE_ALL).writerows([v] for v in values)
        (tmp_path / f"{name}.csv").write_text(made.getvalue(), newline="")
    profile = f"-env:UserInstallation=file://{tmp_path}/profile"
    command = [soffice, profile, "--headless", "--convert-to", "fods", "--infilter=CSV:44,34,76,1,,0,false,true,false"]
    command += ["--outdir", str(tmp_path), str(tmp_path / "before.csv"), str(tmp_path / "after.csv")]
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    counts = {n: (tmp_path / f"{n}.fods").read_text().count("table:formula=") for n in ("before", "after")}
    assert counts["before"] >= 3
    assert counts["after"] == 0


@pytest.mark.parametrize("rows", [1, 3, 900])
def test_the_formulas_of_many_columns_are_found_in_their_own_columns(rows: int) -> None:
    """In the first and last row of some of 60 columns of text, among numbers and other layouts."""
    texts = {f"text {i}": ["fine", None, "-5", ""][i % 4 : i % 4 + 1] * rows for i in range(60)}
    for name, row in (("text 0", 0), ("text 7", rows - 1), ("text 59", 0), ("text 59", rows - 1)):
        texts[name][row] = "=1"
    arrays = {name: pa.array(values, pa.string()) for name, values in texts.items()}
    arrays = {"number": pa.array([-1] * rows), "choice": pa.array(["@x"] * rows).dictionary_encode(), **arrays}
    findings = Findings()
    batch = pa.record_batch(arrays)
    made, apply = defuse(findings)(batch.schema)
    changed = apply(batch)
    assert changed.schema == made
    assert changed.column(0) == batch.column(0)
    for name, values in texts.items():
        assert changed.column(name).to_pylist() == ["'=1" if value == "=1" else value for value in values]
    counts = {finding.column: finding.count for finding in findings}
    assert counts == {"choice": rows, "text 0": 1, "text 7": 1, "text 59": min(rows, 2)}


def test_huge_cells_of_a_row_are_not_joined() -> None:
    """Together they have more bytes than an Arrow array of text can."""
    text = pa.array(["x" * (64 << 20)])
    batch = pa.record_batch([text] * 34 + [pa.array(["=1"])], [f"c{index}" for index in range(35)])
    findings = Findings()
    _, apply = defuse(findings)(batch.schema)
    assert apply(batch).column(34).to_pylist() == ["'=1"]
    assert [finding.column for finding in findings] == ["c34"]
