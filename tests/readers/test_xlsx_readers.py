"""Workbooks read back, every cell, by third-party programs: openpyxl, calamine and LibreOffice."""

from __future__ import annotations

import csv
import datetime as dt
import io
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxport.stages import FIELD_TYPE
from services import require_program
from xlsx_support import Made, calamine_rows, decoded, openpyxl_rows, workbook

FIRST_REAL_DAY = dt.datetime(1900, 3, 1)
LAST_MOMENT = dt.datetime(9999, 12, 31, 23, 59, 59)

# Per type: what hypothesis draws, and what a reader is to find for it.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)
KINDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint16(): st.integers(0, 65_535),
    pa.float64(): st.floats(allow_nan=False, allow_infinity=False),
    pa.decimal128(24, 6): st.decimals(min_value=-(10**17), max_value=10**17, places=6),
    pa.bool_(): st.booleans(),
    pa.string(): TEXT,
    pa.large_string(): TEXT,
    pa.date32(): st.dates(FIRST_REAL_DAY.date()),
    pa.timestamp("s"): st.datetimes(FIRST_REAL_DAY, LAST_MOMENT).map(lambda moment: moment.replace(microsecond=0)),
    pa.duration("s"): st.integers(0, 3_020_399).map(lambda seconds: dt.timedelta(seconds=seconds)),
    pa.list_(pa.int8()): st.lists(st.integers(-9, 9), max_size=3),
}


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    kinds = draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=6))
    rows = draw(st.integers(0, 25))
    arrays = []
    for kind in kinds:
        values = draw(st.lists(st.none() | KINDS[kind], min_size=rows, max_size=rows))
        arrays.append(pa.array(values, kind))
    return pa.record_batch(arrays, names=[f"c{index}" for index in range(len(kinds))])


def shown(value: Any) -> Any:
    """What a spreadsheet holds for ``value``: numbers of at most 15 digits, else their text."""
    if isinstance(value, list):
        return "[" + ",".join(str(item) for item in value) + "]"
    if isinstance(value, Decimal):
        digits = f"{abs(value):f}".rstrip("0").rstrip(".").replace(".", "").lstrip("0")
        return f"{value:f}" if len(digits) > 15 else float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) >= 10**15 else value
    return value


def normal(value: Any) -> Any:
    """A reader's value in a common form: dates of midnights, times of day, empty texts and floats."""
    if value == "":
        return None
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)
    if isinstance(value, dt.time):
        return dt.timedelta(hours=value.hour, minutes=value.minute, seconds=value.second)
    return decoded(value) if isinstance(value, str) else value


def expected_rows(batch: pa.RecordBatch) -> list[list[Any]]:
    columns = [[normal(shown(value)) for value in column.to_pylist()] for column in batch.columns]
    return without_empty_end([list(row) for row in zip(*columns, strict=True)])


def found_rows(rows: list[list[Any]]) -> list[list[Any]]:
    return without_empty_end([[normal(value) for value in row] for row in rows[1:]])


def without_empty_end(rows: list[list[Any]]) -> list[list[Any]]:
    """Rows without cells are not in the file."""
    last = max((index for index, row in enumerate(rows) if any(value is not None for value in row)), default=-1)
    return rows[: last + 1]


@given(batches(), st.booleans())
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
def test_any_table_reads_back_the_same_in_openpyxl_and_calamine(batch: pa.RecordBatch, compact: bool) -> None:
    made = workbook(batch, compact=compact, notes_sheet="never")
    expected = expected_rows(batch)
    assert found_rows(openpyxl_rows(made)) == expected
    calamine = [row + [None] * (batch.num_columns - len(row)) for row in found_rows(calamine_rows(made))]
    # calamine decodes _xHHHH_ itself, so a literal one has been decoded twice by now
    assert calamine == [[decoded(value) if isinstance(value, str) else value for value in row] for row in expected]


def converted(made: dict[str, Made], folder: Path, target: str) -> None:
    """Each workbook into ``folder`` and through one run of LibreOffice with a profile of its own."""
    program = require_program("soffice", "libreoffice")
    paths = [folder / f"{name}.xlsx" for name in made]
    for path, book in zip(paths, made.values(), strict=True):
        path.write_bytes(book.data)
    command = [program, f"-env:UserInstallation=file://{folder}/profile", "--headless", "--convert-to", target]
    subprocess.run([*command, "--outdir", folder, *paths], check=True, capture_output=True, timeout=120)


def shown_by_libreoffice(made: dict[str, Made], folder: Path) -> dict[str, list[list[str]]]:
    """Each workbook's first sheet as LibreOffice shows it."""
    converted(made, folder, "csv:Text - txt - csv (StarCalc):44,34,76")
    texts = {name: (folder / f"{name}.csv").read_bytes().decode() for name in made}
    return {name: list(csv.reader(io.StringIO(text, newline=""))) for name, text in texts.items()}


def everything() -> tuple[pa.RecordBatch, list[list[str]]]:
    """A batch of 3,000 rows and what LibreOffice is to show of it."""
    rows = 3000
    r = np.random.default_rng(3)
    numbers = r.integers(-(10**16), 10**16, rows).tolist()
    cents = r.integers(-(10**9), 10**9, rows).tolist()
    missing = (r.random(rows) < 0.2).tolist()
    samples = ("=1+1", "-5", "a,b", 'q"u<o>&te', "line\nfeed", " x ", "_x0041_", "\x01", "漢😀", "007")
    texts = [samples[index % len(samples)] for index in range(rows)]
    # From 1967 to 1972 LibreOffice shows every second early whose double is less than it.
    moments = [dt.datetime(1967, 1, 1) + dt.timedelta(seconds=i * 999_983) for i in range(rows)]
    batch = pa.record_batch({
        "number": pa.array(numbers),
        "money": pa.array([Decimal(c).scaleb(-2) for c in cents], pa.decimal128(12, 2)),
        "text": pa.array(texts, pa.string(), mask=np.array(missing)),
        "flag": pa.array([c % 2 == 0 for c in cents]),
        "day": pa.array([m.date() for m in moments]),
        "moment": pa.array(moments, pa.timestamp("s")),
        "finer": pa.array([moment.replace(microsecond=123_000) for moment in moments], pa.timestamp("ms")),
        "span": pa.array([dt.timedelta(seconds=i * 997) for i in range(rows)], pa.duration("s")),
    })  # fmt: skip
    expected = [batch.schema.names]
    for i in range(rows):
        seconds = i * 997
        expected.append([
            str(numbers[i]),
            f"{Decimal(cents[i]).scaleb(-2):.2f}",
            "" if missing[i] else texts[i],
            "TRUE" if cents[i] % 2 == 0 else "FALSE",
            f"{moments[i]:%Y-%m-%d}",
            f"{moments[i]:%Y-%m-%d %H:%M:%S}",
            f"{moments[i]:%Y-%m-%d %H:%M:%S}.123",
            f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}",
        ])  # fmt: skip
    return batch, expected


def test_libreoffice_shows_every_cell_right_however_the_workbook_is_made(tmp_path: Path) -> None:
    batch, expected = everything()
    files = {
        "references": workbook(batch, [17]),
        "compact": workbook(batch, compact=True),
        "table": workbook(batch, table=True),
        "filtered": workbook(batch, autofilter=True, notes_sheet="always", sheet_name="it's <&>"),
    }
    for name, rows in shown_by_libreoffice(files, tmp_path).items():
        assert [[cell.replace("\x01", "") for cell in row] for row in rows] == [
            [cell.replace("\x01", "") for cell in row] for row in expected
        ], name


LONGEST: list[tuple[Any, pa.DataType, str]] = [
    (-(2**31), pa.int32(), "-2147483648"),
    (999_999_999_999_999, pa.int64(), "999999999999999"),
    (-(2**63), pa.int64(), "-9223372036854775808"),
    (2**64 - 1, pa.uint64(), "18446744073709551615"),
    (Decimal("-9999999999.99"), pa.decimal128(12, 2), "-9999999999.99"),
    (Decimal(-50), pa.decimal128(12, 2), "-50.00"),
    (Decimal("-1234567890123456789012.789012"), pa.decimal128(28, 6), "-1234567890123456789012.789012"),
    (dt.datetime(2026, 12, 30, 23, 59, 58, 999_000), pa.timestamp("us"), "2026-12-30 23:59:58.999"),
    (dt.timedelta(hours=838, minutes=59, seconds=58, milliseconds=999), pa.duration("us"), "838:59:58.999"),
    ("cccccccc-cccc-cccc-cccc-cccccccccccc", pa.string(), "cccccccc-cccc-cccc-cccc-cccccccccccc"),
]


def test_the_longest_value_of_each_type_is_seen_whole(tmp_path: Path) -> None:
    """Printed by LibreOffice between full neighbours, nothing is cut and nothing is ####."""
    program = require_program("pdftotext")
    full = pa.array(["x" * 60])
    books = {}
    for i, (value, kind, _) in enumerate(LONGEST):
        fields = [("a", full.type), pa.field("b", kind, metadata={FIELD_TYPE: b"uuid"}), ("c", full.type)]
        batch = pa.record_batch([full, pa.array([value], kind), full], pa.schema(fields))
        books[f"{i}"] = workbook(batch, notes_sheet="never", header=False)
    converted(books, tmp_path, "pdf")
    for name, (_, kind, text) in zip(books, LONGEST, strict=True):
        command = [program, "-layout", str(tmp_path / f"{name}.pdf"), "-"]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert text in printed, kind
        assert "###" not in printed, kind


def test_no_cell_is_a_formula_in_libreoffice(tmp_path: Path) -> None:
    texts = ["=1+1", "+1-1", "@SUM(1)", "-2+3", '=HYPERLINK("http://a","b")', "＝1"]
    converted({"f": workbook(pa.record_batch({"=x": texts}))}, tmp_path, "fods")
    flat = (tmp_path / "f.fods").read_text(encoding="utf-8")
    assert "=1+1" in flat
    assert "table:formula" not in flat


def test_file_knows_an_excel_workbook(tmp_path: Path) -> None:
    path = tmp_path / "x.xlsx"
    path.write_bytes(workbook(pa.record_batch({"a": [1]})).data)
    shown_type = subprocess.run([require_program("file"), "-b", str(path)], capture_output=True, text=True, check=True)
    assert shown_type.stdout.strip() == "Microsoft Excel 2007+"


def test_calamine_sees_the_notes() -> None:
    made = workbook(pa.record_batch({"a": [10**17]}))
    assert calamine_rows(made, 0)[1] == [str(10**17)]
    assert calamine_rows(made, 1)[1][0].startswith("column 'a': numbers with more digits")
