"""Values of every type as cells: what Excel supports is typed, the rest is text or empty, and reported."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxport.errors import LimitExceeded, Refused
from fluxport.stages import FIELD_AS_TEXT, FIELD_KIND
from xlsx_support import RawCell, calamine_rows, cells, column, decoded, openpyxl_rows, workbook

PLAIN = ("General", False, None)
WHOLE = ("0", False, None)  # General shows 12 digits as 1.23457E+11
RIGHT = ("General", False, "right")
QUOTED = ("General", True, None)


def one(value: Any, kind: pa.DataType, metadata: dict[bytes, bytes] | None = None, **given: Any) -> RawCell | None:
    """The only cell of a workbook of one value."""
    return cells(workbook(column([value], kind, metadata=metadata), header=False, **given)).get("A1")


def reported(value: Any, kind: pa.DataType, **given: Any) -> dict[str, int]:
    return {code: count for (code, _), count in workbook(column([value], kind), **given).reported.items()}


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (-5, pa.int8(), "-5"),
        (0, pa.int64(), "0"),
        (999_999_999_999_999, pa.int64(), "999999999999999"),
        (-999_999_999_999_999, pa.int64(), "-999999999999999"),
        (2**32 - 1, pa.uint32(), "4294967295"),
        (0.1, pa.float32(), "0.1"),
        (1e300, pa.float64(), "1e+300"),
        (5e-324, pa.float64(), "5e-324"),
        (12.5, pa.float16(), "12.5"),
    ],
)
def test_numbers_that_excel_can_hold_are_number_cells(value: Any, kind: pa.DataType, text: str) -> None:
    style = WHOLE if kind == pa.int64() and len(text) > 11 else PLAIN
    assert one(value, kind) == RawCell(None, text, style)
    assert not reported(value, kind)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (10**15, pa.int64()),
        (-(10**15), pa.int64()),
        (-(2**63), pa.int64()),
        (2**64 - 1, pa.uint64()),
        (Decimal("1234567890.123456"), pa.decimal128(20, 6)),
        (Decimal("-12345678901234567890.5"), pa.decimal128(38, 1)),
        (Decimal("9" * 35 + "." + "9" * 30), pa.decimal256(65, 30)),
    ],
)
def test_numbers_of_more_than_15_digits_are_text_on_the_right_and_counted(value: Any, kind: pa.DataType) -> None:
    assert one(value, kind) == RawCell("inlineStr", str(value), RIGHT)
    assert reported(value, kind) == {"number_as_text": 1}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Decimal("0.10"), pa.decimal128(10, 2)),
        (Decimal("-1.500000000000000000"), pa.decimal128(20, 18)),
        (Decimal("123456789.123456"), pa.decimal128(20, 6)),
        (Decimal("2.500000000000000000000000000000"), pa.decimal256(65, 30)),
        (Decimal("0.000000000000000000000000000012"), pa.decimal256(65, 30)),
        (Decimal("5"), pa.decimal128(38, 0)),
        (Decimal("0"), pa.decimal128(38, 20)),
        (Decimal("1.5"), pa.decimal32(5, 2)),
    ],
)
def test_decimals_of_at_most_15_significant_digits_are_numbers(value: Decimal, kind: pa.DataType) -> None:
    """With the column's declared number of decimals."""
    cell = one(value, kind)
    assert cell is not None
    code = f"0.{'0' * kind.scale}" if kind.scale else "0"
    assert (cell.kind, Decimal(cell.text), cell.style) == (None, value, (code, False, None))
    assert not reported(value, kind)


def test_only_the_cells_that_need_it_become_text() -> None:
    """One long number changes neither its neighbours nor the empty cell between them."""
    made = workbook(column([1, None, 10**17, 2], pa.int64()))
    assert openpyxl_rows(made)[1:] == [[1], [None], [str(10**17)], [2]]
    assert "A3" not in cells(made)


@pytest.mark.parametrize("kind", [pa.int64(), pa.decimal128(30, 10), pa.float64(), pa.date32()])
def test_a_column_requested_as_text_is_text_and_not_counted(kind: pa.DataType) -> None:
    array = pa.array([1], pa.int32()).cast(kind)
    made = workbook(column(array, kind, metadata={FIELD_AS_TEXT: b"1"}))
    assert cells(made)["A2"].kind == "inlineStr"
    assert cells(made)["A2"].style == RIGHT
    assert not made.reported


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_not_a_number_is_an_empty_cell_and_counted(value: float, kind: pa.DataType) -> None:
    made = workbook(column([value, 1.5, None], kind))
    assert cells(made).keys() == {"A1", "A3"}
    assert made.reported == {("not_a_number", "x"): 1}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), min_size=1))
@example([1.7976931348623157e308, 0.5])
@example([-0.0, 1.5])
@settings(deadline=None, max_examples=60)
def test_doubles_read_back_as_the_same_doubles(values: list[float | None]) -> None:
    made = workbook(column(values, pa.float64()), header=False)
    found = [float(cell.text) for cell in cells(made).values()]
    assert [(x, math.copysign(1, x)) for x in found] == [(x, math.copysign(1, x)) for x in values if x is not None]


@given(st.lists(st.integers(-(10**14), 10**14), min_size=1), st.integers(0, 6))
@settings(deadline=None, max_examples=60)
def test_doubles_of_few_decimals_read_back_as_the_same_doubles(numbers: list[int], decimals: int) -> None:
    values = [number / 10**decimals for number in numbers]
    assert [row[0] for row in calamine_rows(workbook(column(values, pa.float64()), header=False))] == values


def test_booleans_are_booleans() -> None:
    made = workbook(column([True, None, False], pa.bool_()))
    assert openpyxl_rows(made)[1:] == [[True], [None], [False]]


def test_booleans_are_words_if_words_are_given() -> None:
    made = workbook(column([True, None, False], pa.bool_()), true_value="<yes>", false_value="no")
    assert openpyxl_rows(made)[1:] == [["<yes>"], [None], ["no"]]


@pytest.mark.parametrize(
    ("day", "serial"),
    [
        (dt.date(1900, 1, 1), "1"),
        (dt.date(1900, 2, 28), "59"),
        (dt.date(1900, 3, 1), "61"),
        (dt.date(1970, 1, 1), "25569"),
        (dt.date(2024, 2, 29), "45351"),
        (dt.date(9999, 12, 31), "2958465"),
    ],
)
@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_dates_are_serials_of_the_1900_system_with_its_leap_day_that_never_was(
    day: dt.date, serial: str, kind: pa.DataType
) -> None:
    assert one(day, kind) == RawCell(None, serial, (r"yyyy\-mm\-dd", False, None))


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (pa.array([dt.date(1899, 12, 31)]), "1899-12-31"),
        (pa.array([dt.date(1, 1, 1)]), "0001-01-01"),
        (pa.array([dt.datetime(1899, 12, 31, 23, 59, 59)], pa.timestamp("s")), "1899-12-31 23:59:59"),
    ],
)
def test_times_outside_of_excels_calendar_are_text_and_counted(array: pa.Array, text: str) -> None:
    made = workbook(column(array, array.type))
    assert cells(made)["A2"] == RawCell("inlineStr", text, RIGHT)
    assert made.reported == {("date_as_text", "x"): 1}


def test_a_day_after_9999_is_text() -> None:
    made = workbook(column(pa.array([2_932_896, 2_932_897], pa.int32()).cast(pa.date32()), pa.date32()))
    assert [cell.kind for cell in cells(made).values()] == ["inlineStr", None, "inlineStr"]
    assert made.reported == {("date_as_text", "x"): 1}


@given(st.datetimes(dt.datetime(1900, 3, 1), dt.datetime(9999, 12, 31, 23, 59, 59)), st.sampled_from(["s", "ms", "us"]))
@settings(deadline=None, max_examples=60)
def test_timestamps_read_back_to_the_millisecond(moment: dt.datetime, unit: str) -> None:
    moment = moment.replace(microsecond=0 if unit == "s" else moment.microsecond // 1000 * 1000)
    made = workbook(column([moment], pa.timestamp(unit)))
    assert openpyxl_rows(made)[1] == [moment]
    assert calamine_rows(made)[1] == [moment if moment.time() != dt.time() else moment.date()]
    assert not made.reported


def test_finer_fractions_are_left_out_and_counted_only_where_something_is_lost() -> None:
    moments = [dt.datetime(2024, 1, 1, 0, 0, 0, us) for us in (0, 123_000, 123_499, 123_500, 123_999)]
    made = workbook(column([*moments, None], pa.timestamp("us")))
    assert [row[0].microsecond for row in openpyxl_rows(made)[1:6]] == [0, *[123_000] * 4]
    assert made.reported == {("precision_reduced", "x"): 3}


@pytest.mark.parametrize(
    ("zone", "moment", "shown"),
    [
        (None, "2016-12-31 23:59:59.999600", "2016-12-31 23:59:59.999"),
        (None, "1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.999"),
        (None, "9999-12-31 23:59:59.999999", "9999-12-31 23:59:59.999"),
        # The clocks of Berlin were set from 02:00 to 03:00 one microsecond later.
        ("Europe/Berlin", "2024-03-31 00:59:59.999999", "2024-03-31 01:59:59.999"),
    ],
)
def test_no_timestamp_is_moved_into_another_day_or_a_skipped_hour(zone: str | None, moment: str, shown: str) -> None:
    array = (
        pa.array([moment])
        .cast(pa.timestamp("us"))
        .cast(pa.timestamp("us", zone and "UTC"))
        .cast(pa.timestamp("us", zone))
    )
    made = workbook(column(array, array.type))
    assert openpyxl_rows(made)[1] == [dt.datetime.fromisoformat(shown)]
    assert calamine_rows(made)[1] == [dt.datetime.fromisoformat(shown)]
    assert made.reported == {("precision_reduced", "x"): 1}


def test_moments_of_the_hour_that_comes_twice_are_counted() -> None:
    """Berlin, 2024-10-27: 00:30 and 01:30 UTC both show 02:30; the hours around it come once."""
    moments = [dt.datetime(2024, 10, 26, 23, 59, 59), *(dt.datetime(2024, 10, 27, h, 30) for h in (0, 1, 2)), None]
    array = pa.array(moments, pa.timestamp("us")).cast(pa.timestamp("us", "Europe/Berlin"))
    made = workbook(column(array, array.type))
    assert [row[0] and row[0].hour for row in openpyxl_rows(made)[1:4]] == [1, 2, 2]
    assert made.reported == {("ambiguous_time", "x"): 2}
    assert not workbook(column(array.cast(pa.timestamp("us", "UTC")), pa.timestamp("us", "UTC"))).reported


@pytest.mark.parametrize(("unit", "fraction"), [("s", ""), ("ms", ".000"), ("us", ".000"), ("ns", ".000")])
def test_the_number_format_shows_fractions_by_the_unit(unit: str, fraction: str) -> None:
    cell = one(0, pa.timestamp(unit))
    assert cell is not None
    assert cell.style[0] == rf"yyyy\-mm\-dd\ hh:mm:ss{fraction}"
    cell = one(0, pa.duration(unit))
    assert cell is not None
    assert cell.style[0] == f"[h]:mm:ss{fraction}"


@pytest.mark.parametrize("year", [2024, 2050, 9998])
@pytest.mark.parametrize(("zone", "hour"), [("UTC", 12), ("Europe/Berlin", 14), ("+05:30", 17)])
def test_zoned_timestamps_show_their_own_zones_clock(zone: str, hour: int, year: int) -> None:
    moment = dt.datetime(year, 7, 1, 12, tzinfo=dt.UTC)
    assert openpyxl_rows(workbook(column([moment], pa.timestamp("s", zone))))[1][0].hour == hour


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_durations_and_times_are_real_ones_beyond_a_day_too(unit: str) -> None:
    span = dt.timedelta(hours=838, minutes=59, seconds=59)
    assert openpyxl_rows(workbook(column([span], pa.duration(unit))))[1] == [span]
    assert calamine_rows(workbook(column([span], pa.duration(unit))))[1] == [span]


@pytest.mark.parametrize("kind", [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")])
def test_times_of_day_are_fractions_of_a_day(kind: pa.DataType) -> None:
    cell = one(dt.time(18, 0, 0), kind)
    assert cell is not None
    assert float(cell.text) == 0.75


def test_a_negative_time_is_text_as_mysql_writes_it_and_counted() -> None:
    made = workbook(column([dt.timedelta(hours=-30)], pa.duration("s"), metadata={FIELD_KIND: b"time"}))
    assert cells(made)["A2"] == RawCell("inlineStr", "-30:00:00", RIGHT)
    assert made.reported == {("date_as_text", "x"): 1}


@pytest.mark.parametrize(
    "text",
    ["a&b<c>]]>", "  spaces  ", "line\nfeed", "tab\t", "\r", "\x00\x01\x1f", "_x0041_", "_x0041_x0042_", "__x005F_",
     "\ufffe\uffff", "é漢😀", "_x", "00123", "1E5", "2024-01-01", "#N/A", "TRUE", ""],
)  # fmt: skip
def test_text_comes_back_as_it_was(text: str) -> None:
    cell = one(text, pa.string())
    assert cell is not None
    assert (cell.kind, decoded(cell.text)) == ("inlineStr", text)
    assert not reported(text, pa.string())


@pytest.mark.slow
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=40) | st.none(), min_size=1))
@settings(deadline=None, max_examples=150)
def test_any_text_comes_back_as_it_was_but_for_line_ends(values: list[str | None]) -> None:
    found = cells(workbook(column(values, pa.string()), header=False))
    for row, value in enumerate(values, 1):
        cell = found.get(f"A{row}")
        assert (None if cell is None else decoded(cell.text)) == (
            None if value is None else value.replace("\r\n", "\n")
        )


def test_line_ends_become_lf_and_the_cells_are_counted() -> None:
    made = workbook(column(["a\r\nb\r\nc", "a\nb", "a\rb"], pa.string()))
    assert [decoded(cell.text) for cell in cells(made).values()] == ["x", "a\nb\nc", "a\nb", "a\rb"]
    assert made.reported == {("line_ends_changed", "x"): 1}


def test_a_lone_surrogate_is_escaped() -> None:
    """CESU-8 halves come from databases that let them in; no XML may hold them."""
    array = pa.array([b"a\xed\xa0\xbdb", "한".encode()]).cast(pa.string(), safe=False)
    assert [cell.text for cell in cells(workbook(column(array, pa.string()))).values()] == ["x", "a_xD83D_b", "한"]


def test_bytes_that_are_not_utf8_break_the_export_instead_of_the_file() -> None:
    array = pa.array([b"ok", b"\xff\xfe"]).cast(pa.string(), safe=False)
    with pytest.raises(Refused, match=r"'x'.*UTF-8"):
        workbook(column(array, pa.string()))


@pytest.mark.parametrize(
    ("text", "retained"),
    [
        ("a" * 32_767, 32_767),
        ("a" * 32_768, 32_767),
        ("é" * 40_000, 32_767),
        ("a" * 32_766 + "😀", 32_766),
        ("a" * 32_765 + "😀", 32_766),
        ("😀" * 20_000, 16_383),
        ("&" * 40_000, 32_767),
    ],
    ids=["fits", "one more", "two bytes", "half a pair", "whole pair", "pairs", "escaped"],
)
def test_long_text_is_cut_at_a_character_by_utf16_units(text: str, retained: int) -> None:
    made = workbook(column(["short", text], pa.string()))
    assert cells(made)["A3"].text == text[:retained]
    assert made.reported == ({("cell_cut", "x"): 1} if retained < len(text) else {})


def test_long_text_can_be_refused_and_the_message_names_the_cell() -> None:
    with pytest.raises(LimitExceeded, match="Row 3, column 'x'"):
        workbook(column(["", None, "y" * 40_000], pa.string()), on_long_text="fail")


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd", "-x", "@a", "\tx", "\rx", "＝1", "＋1", "－1", "＠1", "-1-1", "=", "--5"]
)
def test_text_that_looks_like_a_formula_is_unchanged_and_gets_quote_prefix(text: str) -> None:
    made = workbook(column([text, "plain"], pa.string()))
    assert decoded(cells(made)["A2"].text) == text
    assert cells(made)["A2"].style == QUOTED
    assert cells(made)["A3"].style == PLAIN
    assert "<f" not in made.part("xl/worksheets/sheet1.xml")
    assert not made.reported


@pytest.mark.parametrize("text", ["-5", "+1.5e3", "-.5", "+5.", "a=1", "", " =1", "5-"])
def test_plain_numbers_and_other_text_get_no_quote_prefix(text: str) -> None:
    cell = one(text, pa.string())
    assert cell is not None
    assert cell.style == PLAIN


def test_sanitize_off_leaves_the_style_off() -> None:
    cell = one("=1+1", pa.string(), sanitize="off")
    assert cell == RawCell("inlineStr", "=1+1", PLAIN)


def test_header_names_that_look_like_formulas_are_quoted_too() -> None:
    assert cells(workbook(column(["1"], pa.string(), name="=a&b")))["A1"] == RawCell("inlineStr", "=a&b", QUOTED)
    right = ("General", True, "right")
    assert cells(workbook(column([1], pa.int8(), name="=a&b")))["A1"] == RawCell("inlineStr", "=a&b", right)


def test_null_has_no_cell_and_the_empty_string_has_one() -> None:
    assert cells(workbook(column([None, "", None], pa.string()))).keys() == {"A1", "A3"}


def test_null_value_is_written_for_nulls_alone() -> None:
    made = workbook(column([None, math.nan, 1.5], pa.float64()), null_value="N&A")
    assert {ref: cell.text for ref, cell in cells(made).items()} == {"A1": "x", "A2": "N&A", "A4": "1.5"}


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (pa.array([b"\x00\xff"]), "00ff"),
        (pa.array([[1, None]], pa.list_(pa.int8())), "[1,null]"),
        (pa.array([{"a": "<"}]), '{"a":"<"}'),
        (pa.array(["x", "y"]).dictionary_encode().slice(1), "y"),
        (pa.array(["v"], pa.string_view()), "v"),
        (pa.array(["v"], pa.large_string()), "v"),
    ],
)
def test_other_types_are_text(array: pa.Array, text: str) -> None:
    assert cells(workbook(column(array, array.type)))["A2"].text == text


def test_an_all_null_column_is_empty() -> None:
    assert cells(workbook(column([None, None], pa.null()))).keys() == {"A1"}


@pytest.mark.parametrize("text", ["1", "-0.50", "1e300", "123456789012345", "1" + "0" * 30, "0.30000000000000004"])
def test_numbers_in_text_are_number_cells_where_excel_preserves_their_digits(text: str) -> None:
    assert one(text, pa.string(), {FIELD_KIND: b"number"}) == RawCell(None, text, PLAIN)


@pytest.mark.parametrize("text", ["1234567890123456", "-9007199254740993", "0.12345678901234567890"])
def test_numbers_that_are_text_stay_text_where_excel_would_lose_digits(text: str) -> None:
    made = workbook(column([text, "1"], pa.string(), metadata={FIELD_KIND: b"number"}), header=False)
    assert cells(made)["A1"] == RawCell("inlineStr", text, RIGHT)
    assert made.reported == {("number_as_text", "x"): 1}


def test_moments_of_a_date_column_show_their_time_only_where_they_have_one() -> None:
    values = [dt.datetime(2026, 1, 31), dt.datetime(2026, 1, 31, 12, 30), None, dt.datetime(1850, 1, 1)]
    for shown in (values, values[:1], values[1:2]):
        made = workbook(column(shown, pa.timestamp("us"), metadata={FIELD_KIND: b"date"}), header=False)
        assert openpyxl_rows(made)[0][0] == shown[0]
        formats = [cell.style[0] for _, cell in sorted(cells(made).items())]
        wanted = [r"yyyy\-mm\-dd", r"yyyy\-mm\-dd\ hh:mm:ss", "General"]
        assert formats == [w for v, w in zip([values[0], values[1], values[3]], wanted, strict=True) if v in shown]
        assert made.reported == ({("date_as_text", "x"): 1} if values[3] in shown else {})
