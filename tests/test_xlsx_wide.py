"""Columns that one kernel call handles, and rows of many columns: the cells are those of each column written alone."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from fluxport import compute as pc
from fluxport.decimals import DecimalText, from_text
from fluxport.errors import LimitExceeded
from fluxport.formats.xlsx.cells import Cells
from fluxport.formats.xlsx.rows import Joiner, Rows, column_letters
from fluxport.stages import FIELD_AS_TEXT, FIELD_FORMAT, FIELD_KIND
from xlsx_support import Made, calamine_rows, cells, column, openpyxl_rows, workbook

ROWS = 40
TEXTS = ["", "a", " a", "b ", "=1+1", "a&b", "_x0041_", "tab\t", "cr\r\nlf", "\x01", "日本", "\ufffe", "x" * 50, "-5"]
WORDS = ["one", "two", "three"]
DATES = ("datetime", "fine", "midnights")  # times that are dates where they are midnights


def _numbers(chance: np.random.Generator) -> dict[str, pa.Array]:
    return {
        "int32": pa.array(chance.integers(-(10**6), 10**6, ROWS), pa.int32()),
        "short": pa.array(chance.integers(0, 1000, ROWS)),
        "shown as 1E+12": pa.array(chance.integers(0, 10**12, ROWS)),
        "too long": pa.array(chance.integers(-(2**62), 2**62, ROWS)),
        "unsigned": pa.array(chance.integers(0, 2**63, ROWS).astype(np.uint64) * 2),
        "cents": pa.array(chance.integers(0, 10**6, ROWS) / 100),
        "mills": pa.array(chance.integers(0, 10**6, ROWS) / 1000),
        "double": pa.array(chance.normal(0, 1000, ROWS)),
        "not a number": pa.array(np.where(chance.random(ROWS) < 0.2, np.nan, 1.5)),
        "float": pa.array(chance.normal(0, 10, ROWS), pa.float32()),
        "decimal": _decimals(chance, 10**9, pa.decimal128(12, 2)),
        "long decimal": _decimals(chance, 10**18, pa.decimal128(20, 6)),
    }


def _others(chance: np.random.Generator) -> dict[str, pa.Array]:
    days = chance.integers(-30_000, 40_000, ROWS)
    return {
        "text": pa.array([TEXTS[i] for i in chance.integers(0, len(TEXTS), ROWS)]),
        "words": pa.array([WORDS[i] for i in chance.integers(0, 3, ROWS)]),
        "white": pa.array([" white"] * ROWS),
        "empty": pa.array([""] * ROWS),
        "dictionary": pa.array([WORDS[i] for i in chance.integers(0, 3, ROWS)]).dictionary_encode(),
        "binary": pa.array([b"\x00\xff"] * ROWS),
        "boolean": pa.array(chance.random(ROWS) < 0.5),
        "date": pa.array(days.astype(np.int32), pa.date32()),
        "datetime": pa.array(days * 86_400 + 1, pa.timestamp("s")),
        "fine": pa.array(days * 86_400_000_000 + 1, pa.timestamp("us")),
        "midnights": pa.array(
            np.where(chance.random(ROWS) < 0.5, -days, days) * 86_400_000_000 - (days % 2), pa.timestamp("us")
        ),
        "zone": pa.array(days * 86_400_000, pa.timestamp("ms", "Europe/Berlin")),
        "duration": pa.array(days * 1000, pa.duration("ms")),
        "list": pa.array([[1, 2]] * ROWS),
        "null": pa.nulls(ROWS),
    }


def _decimals(chance: np.random.Generator, below: int, kind: pa.DataType) -> pa.Array:
    return pa.array([Decimal(int(n)).scaleb(-kind.scale) for n in chance.integers(-below, below, ROWS)], kind)


def _wide(copies: int, nulls: float) -> pa.RecordBatch:
    """Each type ``copies`` times, with other values; every second column has nulls."""
    chance = np.random.default_rng(copies)
    arrays: list[pa.Array] = []
    fields: list[pa.Field] = []
    for copy in range(copies):
        for name, values in (_numbers(chance) | _others(chance)).items():
            array = values
            if len(arrays) % 2 and not pa.types.is_null(array.type):
                array = pc.if_else(pa.array(chance.random(ROWS) < nulls), pa.scalar(None, array.type), array)
            metadata = {FIELD_AS_TEXT: b"1"} if copy == 1 else {FIELD_KIND: b"date"} if name in DATES else {}
            fields.append(pa.field(f"{name} {copy}", array.type, metadata=metadata or None))
            arrays.append(array)
    return pa.record_batch(arrays, schema=pa.schema(fields))


def _alone(batch: pa.RecordBatch, index: int, **given: object) -> Made:
    return workbook(batch.select([index]), (), 1, **given)


@pytest.mark.parametrize("nulls", [0, 0.3, 1])
@pytest.mark.parametrize("given", [{}, {"null_value": " <none> "}, {"sanitize": "off"}, {"start_row": 80}])
def test_a_column_has_the_cells_that_it_has_alone(nulls: float, given: dict[str, object]) -> None:
    batch = _wide(4, nulls)
    wide = workbook(batch, (), 1, **given)
    found = cells(wide)
    reported: dict[tuple[str, str | None], int] = {}
    for index in range(batch.num_columns):
        alone = _alone(batch, index, **given)
        letters = column_letters(index)
        expected = {f"{letters}{reference[1:]}": cell for reference, cell in cells(alone).items()}
        assert {at: cell for at, cell in found.items() if at.rstrip("0123456789") == letters} == expected
        reported |= alone.reported
    assert wide.reported == reported


@pytest.mark.parametrize("compact", [False, True])
def test_readers_find_the_same_values_in_a_wide_sheet(compact: bool) -> None:
    batch = _wide(3, 0.3)
    wide = workbook(batch, (), 2, compact=compact)
    both = openpyxl_rows(wide), calamine_rows(wide)
    for index in range(batch.num_columns):
        alone = _alone(batch, index, compact=compact)
        for rows, own in zip(both, (openpyxl_rows(alone), calamine_rows(alone)), strict=True):
            values = [row[index] for row in rows]
            assert values[: len(own)] == [row[0] for row in own]
            assert not any(values[len(own) :])  # a sheet ends with its last cell


@pytest.mark.parametrize("sizes", [[1] * ROWS, [7, 30]])
def test_the_bytes_do_not_depend_on_batches(sizes: list[int]) -> None:
    batch = _wide(10, 0.3)
    assert workbook(batch, sizes).data == workbook(batch).data


@pytest.mark.parametrize(
    "kind", [pa.decimal128(12, 2), pa.decimal128(20, 6), pa.decimal128(18, 18), pa.decimal256(60, 4)]
)
def test_decimals_given_as_text_have_the_same_cells(kind: pa.DataType) -> None:
    exact = ["0", "-1", "1.5", "123456789012345", "0.123456789012345678", "999999999999999999.25", "-0.5", None]
    fitting = [None if text is None else Decimal(text) for text in exact if text is None or _fits(text, kind)]
    decimals = pa.array(fitting, kind)
    text_kind = DecimalText(kind)
    as_text = from_text(pc.cast(decimals, pa.string()), text_kind)
    assert workbook(column(as_text, text_kind)) == workbook(column(decimals, kind))


def _fits(text: str, kind: pa.DataType) -> bool:
    whole, _, fraction = text.lstrip("-").partition(".")
    precision, scale = int(kind.precision), int(kind.scale)
    return len(fraction) <= scale and len(whole.lstrip("0")) <= precision - scale


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("12.50", None, "12.50"),
        ("0.00", None, "0.00"),
        ("-1234567890123.45", None, "-1234567890123.45"),
        ("12345678901234.50", None, "12345678901234.50"),
        ("12345678901234.56", "inlineStr", "12345678901234.56"),
        ("-12345678901234.56", "inlineStr", "-12345678901234.56"),
    ],
)
def test_a_decimal_has_all_its_digits_and_is_text_beyond_fifteen(value: str, kind: str | None, expected: str) -> None:
    made = workbook(column([Decimal(value)], pa.decimal128(18, 2)))
    assert cells(made)["A2"][:2] == (kind, expected)
    assert made.reported == ({("number_as_text", "x"): 1} if kind else {})


@pytest.mark.parametrize("first_row", [1, 5, 2000, None])
@pytest.mark.parametrize("columns", [1, 5, 40, 200])
def test_the_size_of_rows_is_that_of_their_bytes(columns: int, first_row: int | None) -> None:
    chance = np.random.default_rng(columns)
    groups = (
        [_cells(chance, [0])]
        if columns == 1
        else [_cells(chance, range(0, columns, 2)), _cells(chance, range(1, columns, 2))]
    )
    rows = Rows(groups, first_row)
    assert sum(map(len, Joiner().joined(rows))) == rows.size


def _cells(chance: np.random.Generator, at: Sequence[int]) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], Cells]:
    count = 600 * len(at)
    values = pa.array([str(n) for n in chance.integers(0, 10**6, count)], mask=chance.random(count) < 0.1)
    heads = tuple(f' s="{n % 3}"><v>' for n in range(len(at)))
    return np.array(at), Cells(heads, values, "</v></c>")


def test_huge_cells_of_a_row_are_not_joined() -> None:
    """Together they have more bytes than an Arrow array of text can."""
    text = pa.array(["x" * (64 << 20)])
    batch = pa.record_batch([text] * 34, [f"c{index}" for index in range(34)])
    made = workbook(batch, (), 1)
    assert made.reported == {("cell_cut", f"c{index}"): 1 for index in range(34)}


def test_the_first_column_with_too_long_a_text_is_named() -> None:
    long = pa.array(["x" * 40_000])
    fields = [pa.field("a", pa.string()), pa.field("b", pa.string(), metadata={FIELD_FORMAT: b"@"})]
    batch = pa.record_batch([pa.array(["a"]), long, long], schema=pa.schema([*fields, pa.field("c", pa.string())]))
    with pytest.raises(LimitExceeded, match="column 'b'"):
        workbook(batch, (), 1, on_long_text="fail")
