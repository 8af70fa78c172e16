"""Numbers as text: exact, shortest, with an exponent only where a person would write one."""

from __future__ import annotations

import decimal
import math
import random
import struct
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxport.errors import Refused
from fluxport.formats.text import TextStyle, check_style, text_of

EXACT = decimal.Context(prec=80)


def texts(array: pa.Array, style: TextStyle | None = None) -> list[str | None]:
    made = text_of(array, pa.field("a", array.type), style or TextStyle())
    made.validate(full=True)
    assert made.type == pa.string()
    found: list[str | None] = made.to_pylist()
    return found


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def digits(text: str) -> int:
    return len(text.lstrip("-").split("e")[0].replace(".", "").strip("0"))


EDGES = [
    *(
        s * f(2.0**e)
        for e in range(-12, 60)
        for s in (1, -1)
        for f in (float, lambda v: math.nextafter(v, 0), math.sqrt)
    ),
    *(
        f(10.0**e)
        for e in range(-9, 24)
        for f in (float, lambda v: math.nextafter(v, 0), lambda v: math.nextafter(v, v * 2))
    ),
    *(0.0, -0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 9007199254740993.0, 0.1 + 0.2, 1 / 3),
]


@settings(deadline=None)
@given(
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False) | st.floats(-1e16, 1e16) | st.sampled_from(EDGES), max_size=50
    )
)
@example(EDGES)
def test_a_double_is_the_shortest_text_that_reads_back_to_it(values: list[float]) -> None:
    for value, text in zip(values, texts(pa.array(values, pa.float64())), strict=True):
        assert text is not None
        assert bits(float(text)) == bits(value), text
        assert digits(text) == digits(repr(value)), (text, value)


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6).map(lambda v: round(v, 3)), max_size=50))
def test_a_double_of_few_decimals_is_written_as_a_person_would(values: list[float]) -> None:
    found = texts(pa.array(values, pa.float64()))
    assert found == [
        repr(v).removesuffix(".0") if abs(v) >= 1e-3 or v == 0 else text for v, text in zip(values, found, strict=True)
    ]


ODD = st.sampled_from([*EDGES, math.nan, math.inf, -math.inf, 123456789.125, 1e15, -1e15, 99999.5, 0.0001, None])


@settings(deadline=None)
@given(st.integers(0, 8), st.integers(0, 16), st.lists(ODD, max_size=20), st.randoms(use_true_random=False))
def test_the_text_of_a_double_does_not_depend_on_its_neighbours(
    places: int, size: int, odd: list[float | None], chance: random.Random
) -> None:
    """In a slice whose values mostly have few decimals, some of them null, the first row included or not."""
    few = [chance.randint(-(10**size), 10**size) / 10**places for _ in range(200)]
    values: list[float | None] = [*few, *odd]
    chance.shuffle(values)
    array = pa.array(values, pa.float64())
    alone = [text for value in values for text in texts(pa.array([value], pa.float64()))]
    assert texts(array) == alone
    assert texts(array.slice(3)) == alone[3:]


def test_large_doubles_beside_infinities_have_their_digits() -> None:
    assert texts(pa.array([-math.inf, 1e15, math.nan, 1e10])) == ["-Infinity", "1" + "0" * 15, "NaN", "1" + "0" * 10]


@pytest.mark.parametrize("scale", [0, 1, 2, 9, 10, 15, 16, 17])
def test_decimals_of_any_number_of_digits_are_exact_together(scale: int) -> None:
    """Within 64 bits and beyond, negative ones, and nulls whose bytes are arbitrary."""
    for digits_max in (scale + 1, 9, 10, 16, 17, 18, 19, 38):
        numbers = [
            0,
            1,
            -1,
            10**digits_max - 1,
            1 - 10**digits_max,
            10 ** (digits_max - 1),
            5 * 10 ** (digits_max // 2),
        ]
        values = [Decimal(number).scaleb(-scale, EXACT) for number in numbers if digits_max <= 38]
        array = pa.array(values, pa.decimal128(38, scale))
        hidden = pa.Array.from_buffers(array.type, 6, [pa.py_buffer(b"\x2d"), array.buffers()[1]])
        expected = [format(value, f".{scale}f") if value else format(0, f".{scale}f") for value in values]
        assert texts(array) == expected
        assert texts(hidden) == [text if 0x2D >> row & 1 else None for row, text in enumerate(expected[:6])]
        assert texts(array.slice(1, 3)) == expected[1:4]


@settings(deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False) | st.floats(-1000, 1000, width=32), max_size=50)
)
def test_a_float_reads_back_to_the_same_float_and_has_no_more_digits_than_it_needs(values: list[float]) -> None:
    for value, text in zip(values, texts(pa.array(values, pa.float32())), strict=True):
        assert text is not None
        assert np.float32(text) == np.float32(value)
        if abs(value) < 2**21:
            assert digits(text) <= digits(str(np.float32(value)))


def test_doubles_have_no_exponent_between_a_millionth_and_ten_thousand_billions() -> None:
    values = [1e-6, 0.00012, 1e3, 123456789012345.6, 1e15, 9999999999999998.0, 1e16, 1e-7]
    assert texts(pa.array(values)) == [
        *("0.000001", "0.00012", "1000", "123456789012345.6", "1000000000000000", "9999999999999998", "1e+16", "1e-7")
    ]


def test_nan_and_infinities_have_one_name_each() -> None:
    for kind in (pa.float16(), pa.float32(), pa.float64()):
        values = pa.array([math.nan, math.inf, -math.inf, None, 1.5], pa.float64()).cast(kind)
        assert texts(values) == ["NaN", "Infinity", "-Infinity", None, "1.5"]


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_integers_are_exact_to_their_bounds(kind: str) -> None:
    bound = np.iinfo(kind)
    powers = [s * (10**e + d) for e in range(20) for d in (-1, 0, 1) for s in (1, -1)]
    values = [bound.min, bound.max, *(p for p in powers if bound.min <= p <= bound.max)]
    assert texts(pa.array(values, kind)) == [str(v) for v in values]
    positive = [v for v in values if v >= 0]
    assert texts(pa.array(positive, kind)) == [str(v) for v in positive]


@pytest.mark.parametrize("width", range(1, 20))
def test_integers_of_equally_many_digits_are_exact(width: int) -> None:
    lowest = 10 ** (width - 1) if width > 1 else 0
    for kind in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"):
        highest = min(10**width - 1, np.iinfo(kind).max)
        if highest < lowest:
            continue
        chosen = np.random.default_rng(width).integers(lowest, highest, 1000, kind, endpoint=True).tolist()
        values = [lowest, highest, *chosen]
        assert texts(pa.array(values, kind)) == [str(v) for v in values]


@settings(deadline=None)
@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-100, 100), max_size=40), st.integers(0, 5))
def test_integers_of_a_slice_with_nulls_are_exact(values: list[int | None], start: int) -> None:
    array = pa.array([7] * start + values, pa.int64()).slice(start)
    assert texts(array) == [None if v is None else str(v) for v in values]


@st.composite
def decimals(draw: st.DrawFn) -> tuple[pa.DataType, list[Decimal | None]]:
    bits_, precision_max = draw(st.sampled_from([(32, 9), (64, 18), (128, 38), (256, 76)]))
    precision = draw(st.integers(1, precision_max))
    scale = draw(st.integers(-3 if bits_ >= 128 else 0, precision))
    bound = 10**precision - 1
    unscaled = draw(
        st.lists(st.none() | st.integers(-bound, bound) | st.integers(-min(bound, 9), min(bound, 9)), max_size=20)
    )
    with decimal.localcontext(prec=80):
        values = [None if u is None else Decimal(u).scaleb(-scale) for u in unscaled]
    kind: Any = getattr(pa, f"decimal{bits_}")
    return kind(precision, scale), values


@settings(deadline=None)
@given(decimals())
def test_decimals_have_all_decimals_of_their_scale_and_no_exponent(
    case: tuple[pa.DataType, list[Decimal | None]],
) -> None:
    kind, values = case
    with decimal.localcontext(prec=80):
        wanted = [None if v is None else format(v + 0, "f") for v in values]
    assert texts(pa.array(values, kind)) == wanted


def test_signs_of_a_locale_replace_point_and_group_digits() -> None:
    style = TextStyle(decimal_separator=",", grouping_separator=".")
    assert texts(pa.array([0, 999, 1000, -1234567, None]), style) == ["0", "999", "1.000", "-1.234.567", None]
    assert texts(pa.array([1234567.25, -1000.0, 0.5, 1e300]), style) == ["1.234.567,25", "-1.000", "0,5", "1e+300"]
    money = pa.array([Decimal("-1234.50")], pa.decimal128(10, 2))
    assert texts(money, style) == ["-1.234,50"]
    assert texts(money, TextStyle(grouping_separator="\N{NO-BREAK SPACE}")) == ["-1\N{NO-BREAK SPACE}234.50"]


@pytest.mark.parametrize(
    "style",
    [
        *(TextStyle(decimal_separator=s) for s in ("", "5", "ab", "-", '"', "\n")),
        TextStyle(grouping_separator="\\"),
        TextStyle(decimal_separator=",", grouping_separator=","),
    ],
)
def test_signs_that_numbers_have_themselves_are_refused(style: TextStyle) -> None:
    with pytest.raises(Refused, match="separator"):
        check_style(style)


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_many_integers_of_different_lengths_are_exact(kind: str) -> None:
    """Together as alone, up to the bounds of their type, with signs and nulls."""
    bounds = np.iinfo(kind)
    ends = [number + sign for power in range(20) for number in (10**power, -(10**power)) for sign in (-1, 0, 1)]
    for largest in (10, 10**9 - 1, 10**9, 2**64):
        values = [v for v in [*ends, bounds.min, bounds.max] if bounds.min <= v <= bounds.max and abs(v) <= largest]
        many: list[int | None] = [*values, None] * 60
        assert texts(pa.array(many, kind)) == [None if value is None else str(value) for value in many]
        assert texts(pa.array(values * 60, kind)) == [str(value) for value in values] * 60
