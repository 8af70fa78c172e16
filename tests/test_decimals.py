"""Decimals as text are those that Arrow would print, whatever form the database sent."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxport.decimals import DecimalText, decimal_type, exact, from_text
from fluxport.digits import decimal_text

ODD = ["", "-", "1.", "1..2", "-0.00", "0", "007", "1e2", "/", "--1", "1-", "-.5", ".50", "+1", "-0.01", "-0", "1.5"]


@st.composite
def columns(draw: st.DrawFn) -> tuple[pa.DataType, pa.Array]:
    scale = draw(st.integers(0, 5))
    precision = max(1, scale + draw(st.integers(0, 20)))
    digits = st.integers(-(10 ** min(precision, 8)), 10 ** min(precision, 8))
    usual = digits.map(lambda n: f"{Decimal(n).scaleb(-scale):.{scale}f}")
    values = draw(
        st.lists(st.none() | usual, max_size=6) | st.lists(st.none() | usual | st.sampled_from(ODD), max_size=4)
    )
    array = pa.array([None, *values], pa.string()).slice(draw(st.integers(0, 1)))
    return pa.decimal128(precision, scale), array


@given(columns())
def test_text_is_what_arrow_prints_for_its_value(case: tuple[pa.DataType, pa.Array]) -> None:
    kind, texts = case
    try:
        decimals = texts.cast(kind)
    except pa.ArrowInvalid:
        with pytest.raises(pa.ArrowInvalid):
            from_text(texts, DecimalText(kind))
        return
    array = from_text(texts, DecimalText(kind))
    array.validate(full=True)
    assert array.storage.to_pylist() == decimal_text(decimals).to_pylist()
    assert exact(array).equals(decimals)
    assert decimal_type(array.type) == kind == decimal_type(kind)


def test_types_differ_by_their_decimals() -> None:
    assert DecimalText(pa.decimal128(5, 2)) == DecimalText(pa.decimal128(5, 2))
    assert DecimalText(pa.decimal128(5, 2)) != DecimalText(pa.decimal128(6, 2))
    assert decimal_type(pa.string()) is None
