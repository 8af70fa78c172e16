"""Text of values that are neither numbers nor times, and of nested values."""

from __future__ import annotations

import base64
import json
import math
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport.errors import Refused
from fluxport.formats.text import TextStyle, check_types, string_window, text_of
from text_support import JSON


def texts(array: pa.Array, style: TextStyle | None = None) -> list[str | None]:
    made = text_of(array, pa.field("a", array.type), style or TextStyle())
    made.validate(full=True)
    assert made.type == pa.string()
    found: list[str | None] = made.to_pylist()
    return found


def test_booleans_have_the_requested_texts() -> None:
    assert texts(pa.array([True, None, False])) == ["true", None, "false"]
    assert texts(pa.array([True, None, False]), TextStyle(true_value="ja", false_value="")) == ["ja", None, ""]


@settings(deadline=None)
@given(st.lists(st.none() | st.binary(max_size=20), max_size=20), st.integers(0, 3))
def test_binary_is_hex_or_base64(values: list[bytes | None], start: int) -> None:
    for kind in (pa.binary(), pa.large_binary(), pa.binary_view()):
        array = pa.array([b"before"] * start + values, kind).slice(start)
        assert texts(array) == [None if v is None else v.hex() for v in values]
        encoded = [None if v is None else base64.b64encode(v).decode() for v in values]
        assert texts(array, TextStyle(binary="base64")) == encoded


def test_binary_of_a_fixed_size_is_hex() -> None:
    assert texts(pa.array([b"\x00\xff", None], pa.binary(2))) == ["00ff", None]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_text_stays_as_it_is_in_every_layout(kind: pa.DataType) -> None:
    values = ["", "é🙂", None, "a\r\nb\0", " x ", "é🙂"]
    assert texts(pa.array(values).cast(kind) if pa.types.is_dictionary(kind) else pa.array(values, kind)) == values


def test_wrapped_values_are_unwrapped() -> None:
    runs = pa.RunEndEncodedArray.from_arrays([2, 3], pa.array([1.5, None]))
    assert texts(runs) == ["1.5", "1.5", None]
    assert texts(pa.array([5, None, 5]).dictionary_encode()) == ["5", None, "5"]
    assert texts(pa.nulls(2)) == [None, None]
    number = uuid.UUID("12345678-1234-5678-1234-567812345678")
    assert texts(pa.array([number.bytes, None], pa.uuid())) == [str(number), None]


NESTED = pa.struct(
    [
        ("n", pa.int64()),
        ("f", pa.float64()),
        ("t", pa.string()),
        ("b", pa.bool_()),
        ("l", pa.list_(pa.struct([("x", pa.int8())]))),
        ("m", pa.map_(pa.string(), pa.list_(pa.string()))),
        ("z", pa.list_(pa.int32(), 2)),
    ]
)
JSON_VALUES = st.fixed_dictionaries(
    {
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "f": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "t": st.none() | st.text(max_size=5),
        "b": st.none() | st.booleans(),
        "l": st.none()
        | st.lists(st.none() | st.fixed_dictionaries({"x": st.none() | st.integers(-128, 127)}), max_size=3),
        "m": st.none()
        | st.dictionaries(st.text(max_size=3), st.none() | st.lists(st.none() | st.text(max_size=3)), max_size=3),
        "z": st.none() | st.lists(st.none() | st.integers(0, 9), min_size=2, max_size=2),
    }
)


def plain_value(value: Any) -> Any:
    if value is None:
        return None
    return value | {"m": None if value["m"] is None else list(value["m"].items())}


@settings(deadline=None)
@given(st.lists(st.none() | JSON_VALUES, max_size=8), st.integers(0, 2))
def test_nested_values_are_json_of_the_same_value(values: list[Any], start: int) -> None:
    array = pa.array([plain_value(v) for v in [None] * start + values], NESTED).slice(start)
    found = texts(array)
    assert [None if t is None else json.loads(t) for t in found] == values


def test_nested_json_is_compact_and_ignores_signs_of_the_locale() -> None:
    array = pa.array([{"a": 1234.5, "b": True, "c": Decimal("0.10"), "d": b"\xff"}])
    style = TextStyle(true_value="yes", decimal_separator=",", grouping_separator=".")
    assert texts(array, style) == ['{"a":1234.5,"b":true,"c":0.10,"d":"ff"}']


def test_numbers_that_json_does_not_have_are_null_inside_nested_values() -> None:
    assert texts(pa.array([[math.nan, 1.0, math.inf]])) == ["[null,1,null]"]


@pytest.mark.parametrize("make", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view])
def test_lists_of_every_layout_are_arrays(make: Any) -> None:
    array = pa.array([[1, None], None, [], [300]], make(pa.int64()))
    assert texts(array) == ["[1,null]", None, "[]", "[300]"]
    assert texts(array.slice(1)) == [None, "[]", "[300]"]


def test_keys_of_a_map_are_strings() -> None:
    array = pa.array([[(1, 'q"'), (2, None)], None], pa.map_(pa.int32(), pa.string()))
    assert texts(array) == ['{"1":"q\\"","2":null}', None]


def test_a_json_column_is_text_as_it_is() -> None:
    field = pa.field("a", pa.string(), metadata=JSON)
    assert text_of(pa.array(['{"a": 1}', "no json"]), field, TextStyle()).to_pylist() == ['{"a": 1}', "no json"]


def test_a_type_without_text_is_refused_before_any_row() -> None:
    union = pa.dense_union([pa.field("i", pa.int32()), pa.field("s", pa.string())])
    for kind in (union, pa.list_(union)):
        with pytest.raises(Refused, match="'u'"):
            check_types(pa.schema([("u", kind)]), TextStyle())


@settings(deadline=None)
@given(st.lists(st.none() | st.text(max_size=4), min_size=1, max_size=10), st.integers(0, 9))
def test_a_string_window_is_a_view_of_the_slice(values: list[str | None], start: int) -> None:
    for kind in (pa.string(), pa.large_string()):
        array = pa.array(values, kind).slice(start)
        offsets, data = string_window(array)
        whole = bytes(data[offsets[0] : offsets[-1]]).decode()
        assert whole == "".join(v for v in array.to_pylist() if v is not None)
        assert len(offsets) == len(array) + 1
        assert (offsets[1:] - offsets[:-1]).tolist() == pc.fill_null(pc.binary_length(array), 0).to_pylist()
