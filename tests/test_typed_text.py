"""Columns of text as numbers, dates and booleans: what is accepted, as which value, and the first value that is not."""

from __future__ import annotations

import json
import math
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxport.sources.typed_text import TRUE, parser

NUMBER_CHARS_MAX = 400


def parsed(kind: str, values: list[str], pattern: str | None = None, **given: Any) -> tuple[list[Any], int | None]:
    made, wrong = parser(kind, pattern, **({"exact_text": False, "exact_numbers": True} | given))(
        pa.array(values, pa.string())
    )
    return made.to_pylist(), wrong


@pytest.mark.parametrize("text", ["0", "-0", "12", "-12.50", "1e5", "1.5E-7", "9" * 40, "0.1", "1" + "0" * 300])
def test_a_number_as_json_writes_it_stays_as_it_is(text: str) -> None:
    assert parsed("number", [text, "", text]) == ([text, None, text], None)


@pytest.mark.parametrize(
    ("text", "made"),
    [("+5", "5"), ("007", "7"), ("-007.10", "-7.10"), (".5", "0.5"), ("5.", "5"), (" 5 ", "5"), ("1.e3", "1e3")],
)
def test_a_number_that_people_write_otherwise_is_written_as_json_has_it(text: str, made: str) -> None:
    assert parsed("number", ["1", text, ""]) == (["1", made, None], None)
    assert Decimal(json.loads(made, parse_float=str, parse_int=str)) == Decimal(text.strip())


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "1,5",
        "1 000",
        "inf",
        "NaN",
        "0x10",
        "1e",
        "-",
        ".",
        "1e999",
        "--1",
        "1_000",
        "٣",
        "1" * (NUMBER_CHARS_MAX + 1),
    ],
)
def test_the_first_text_that_is_not_a_number_is_reported(text: str) -> None:
    assert parsed("number", ["1", "", text, "also not"])[1] == 2


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30)))
def test_numbers_retain_every_digit(values: list[Decimal]) -> None:
    made, wrong = parsed("number", [str(value) for value in values])
    assert wrong is None
    assert [Decimal(text) for text in made] == values


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_doubles_come_back_to_the_bit(values: list[float]) -> None:
    made, wrong = parsed("number", [repr(value) for value in values], exact_numbers=False)
    assert wrong is None
    assert [math.copysign(1, one) * one for one in made] == [math.copysign(1, one) * one for one in values]


def test_a_number_that_a_double_cannot_hold_is_reported_where_a_double_is_required() -> None:
    assert parsed("number", ["1", "9007199254740993"], exact_numbers=False)[1] == 1
    assert parsed("number", ["1", "9007199254740992"], exact_numbers=False)[1] is None


@given(st.lists(st.text(max_size=8)))
def test_any_text_is_either_a_number_or_reported(values: list[str]) -> None:
    made, wrong = parsed("number", values)
    if wrong is None:
        assert all(text is None or math.isfinite(json.loads(text)) for text in made)
    else:
        assert values[wrong]


@pytest.mark.parametrize(
    ("text", "pattern", "moment"),
    [
        ("2026-01-31", None, datetime(2026, 1, 31)),
        ("2026-01-31 23:59:59.123456", None, datetime(2026, 1, 31, 23, 59, 59, 123456)),
        ("2026-01-31T23:59", None, datetime(2026, 1, 31, 23, 59)),
        ("2026-01-31T23:59:59Z", None, datetime(2026, 1, 31, 23, 59, 59)),
        ("2026-01-01T00:30:00+05:30", None, datetime(2025, 12, 31, 19)),
        ("0001-01-01", None, datetime(1, 1, 1)),
        ("31.01.2026", "dd.mm.yyyy", datetime(2026, 1, 31)),
        ("1/31/2026 14:05", "m/d/yyyy h:mm", datetime(2026, 1, 31, 14, 5)),
        ("31 Jan 26", "d mmm yy", datetime(2026, 1, 31)),
        ("2026-02-01", "dd.mm.yyyy", datetime(2026, 2, 1)),
        ("31.01.2026", "%d.%m.%Y", datetime(2026, 1, 31)),
    ],
)
def test_dates_are_iso_8601_or_written_like_the_columns_format(
    text: str, pattern: str | None, moment: datetime
) -> None:
    assert parsed("date", ["", text], pattern) == ([None, moment], None)
    assert parsed("date", ["", text], pattern, exact_text=True) == ([None, text], None)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("2026-02-30", None),
        ("0000-00-00", None),
        ("31.01.2026", None),
        ("2026-01-31 25:00:00", None),
        ("31.02.2026", "dd.mm.yyyy"),
        ("1767139200", None),
        ("2026-01-31 and more", None),
        ("today", '"on" d'),
    ],
)
def test_the_first_text_that_is_not_a_date_is_reported(text: str, pattern: str | None) -> None:
    for exact in (True, False):
        assert parsed("date", ["2026-01-31", text], pattern, exact_text=exact)[1] == 1


def test_booleans_are_a_few_words_in_any_case() -> None:
    words = [*TRUE, "TRUE", "No", "F", "0", ""]
    assert parsed("boolean", words) == ([*[True] * 6, False, False, False, None], None)
    assert parsed("boolean", ["1", "on", "2"])[1] == 1


def test_text_is_taken_as_it_is() -> None:
    assert parsed("string", ["", " a", "\0"]) == (["", " a", "\0"], None)
