"""JSON Lines and JSON: one test for each trap and each option."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport import formats
from fluxport.errors import Refused
from fluxport.findings import Findings
from text_support import JSON, NUMBER, TIME, column, pieces, written


def lines(table: pa.Table, **given: Any) -> list[Any]:
    return [strict(line) for line in written("jsonl", table, **given).text.split("\n")[:-1]]


def strict(text: str) -> Any:
    """By RFC 8259: no NaN, no control characters, and decimals as they are written."""

    def refuse(constant: str) -> None:
        pytest.fail(constant)

    return json.loads(text, parse_constant=refuse, parse_float=Decimal)


def test_an_array_has_an_object_per_line() -> None:
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    assert written("json", table).text == '[\n{"a":1,"b":"x"},\n{"a":2,"b":null}\n]\n'
    assert written("json", table.slice(0, 1)).text == '[\n{"a":1,"b":"x"}\n]\n'
    assert written("jsonl", table).text == '{"a":1,"b":"x"}\n{"a":2,"b":null}\n'


def test_no_rows_are_an_empty_array_or_an_empty_file() -> None:
    empty = column("x").slice(0, 0)
    assert written("json", empty).text == "[]\n"
    assert written("jsonl", empty).text == ""


@settings(deadline=None)
@given(st.lists(st.none() | st.text() | st.text(alphabet='"\\/\b\f\n\r\t\0\x1f\x7f\u2028é🙂,', max_size=6), min_size=1))
def test_any_text_reads_back(values: list[str | None]) -> None:
    table = column(*values, kind=pa.string())
    assert [row["a"] for row in lines(table)] == values
    assert [row["a"] for row in strict(written("json", table).text)] == values


def test_only_what_must_be_is_escaped() -> None:
    assert written("jsonl", column('é🙂\u2028/\x7f"\\\n\x01')).text == '{"a":"é🙂\u2028/\x7f\\"\\\\\\n\\u0001","n":0}\n'


def test_null_booleans_and_numbers_are_those_of_json_whatever_the_words() -> None:
    table = pa.table({"b": [True, None, False], "f": [0.5, None, 1e300], "n": pa.nulls(3)})
    made = written("jsonl", table, true_value="yes", null_value="NULL")
    assert made.text == '{"b":true,"f":0.5,"n":null}\n{"b":null,"f":null,"n":null}\n{"b":false,"f":1e+300,"n":null}\n'


def test_nan_and_infinities_are_null_and_reported() -> None:
    made = written("jsonl", pa.table({"f": [math.nan, -math.inf, 1.0, None], "l": [[math.inf], [1.0], None, []]}))
    assert made.text == '{"f":null,"l":[null]}\n{"f":null,"l":[1]}\n{"f":1,"l":null}\n{"f":null,"l":[]}\n'
    assert made.reported == {("not_a_number", "f"): 2, ("not_a_number", "l"): 1}


def test_integers_and_decimals_are_exact_numbers_or_strings() -> None:
    table = pa.table(
        {
            "i": pa.array([2**63 - 1, None], pa.int64()),
            "u": pa.array([2**64 - 1, 0], pa.uint64()),
            "s": pa.array([7, 8], pa.int32()),
            "d": pa.array([Decimal("12345678901234567890.0100"), None], pa.decimal128(38, 4)),
        }
    )
    first = '{"i":9223372036854775807,"u":18446744073709551615,"s":7,"d":12345678901234567890.0100}'
    assert written("jsonl", table).text == first + '\n{"i":null,"u":0,"s":8,"d":null}\n'
    assert written("jsonl", table, int64_as_string=True, decimal_as_string=True).text == (
        '{"i":"9223372036854775807","u":"18446744073709551615","s":7,"d":"12345678901234567890.0100"}\n'
        '{"i":null,"u":"0","s":8,"d":null}\n'
    )


def test_times_are_the_same_text_as_in_csv_and_follow_their_patterns() -> None:
    table = pa.table(
        {
            "t": pa.array([dt.datetime(2026, 1, 31, 23, 59, 59, 5), None], pa.timestamp("us")),
            "z": pa.array([dt.datetime(2026, 1, 31, tzinfo=dt.UTC), None], pa.timestamp("s", "UTC")),
            "d": [dt.date(2026, 1, 31), None],
        }
    )
    assert lines(table)[0] == {"t": "2026-01-31 23:59:59.000005", "z": "2026-01-31T00:00:00Z", "d": "2026-01-31"}
    assert lines(table, datetime_format='%H "%d"\\', date_format="%d,%m")[0] == {
        **{"t": '23 "31"\\', "z": '00 "31"\\'},
        "d": "31,01",
    }
    assert lines(table)[1] == {"t": None, "z": None, "d": None}
    assert lines(column(-5, kind=pa.duration("s"), metadata=TIME))[0]["a"] == "-00:00:05"


def test_binary_is_base64_unless_hex_is_requested() -> None:
    assert lines(column(b"\xff\x00", None))[0]["a"] == "/wA="
    assert lines(column(b"\xff\x00", None), binary="hex")[0]["a"] == "ff00"


def test_nested_values_are_native() -> None:
    table = column({"x": [1, None], "y": {"z": 'q"'}}, None)
    assert written("jsonl", table).text == '{"a":{"x":[1,null],"y":{"z":"q\\""}},"n":0}\n{"a":null,"n":1}\n'


def test_documents_of_a_json_column_are_native_and_on_one_line() -> None:
    documents = ['{"x": 1.10}', '[1,\r\n "a\\nb"]', '"s"', "null", "12345678901234567890123", None, '{"k":"v"}']
    text = written("jsonl", column(*documents, metadata=JSON)).text
    assert text.splitlines()[0] == '{"a":{"x": 1.10},"n":0}'
    assert [row["a"] for row in map(strict, text.splitlines())] == [
        *({"x": Decimal("1.10")}, [1, "a\nb"], "s", None, 12345678901234567890123, None, {"k": "v"})
    ]


@pytest.mark.parametrize("end", ["\n", "\r"])
def test_a_document_with_line_ends_of_one_kind_is_on_one_line(end: str) -> None:
    assert written("jsonl", column(f"[1,{end}2]", metadata=JSON)).text == '{"a":[1, 2],"n":0}\n'


def test_numbers_that_arrive_as_text_are_numbers() -> None:
    digits = "12345678901234567890.10"
    assert written("jsonl", column(digits, None, metadata=NUMBER)).text == (
        f'{{"a":{digits},"n":0}}\n{{"a":null,"n":1}}\n'
    )


def test_structs_without_fields_are_empty_objects() -> None:
    assert written("jsonl", column({}, {}, kind=pa.struct([]))).text == '{"a":{},"n":0}\n{"a":{},"n":1}\n'


EVIL = [
    '{"a"',
    "[1",
    "2]",
    "3,4",
    "1}",
    '"',
    "",
    " ",
    "NaN",
    "-Infinity",
    "{'a':1}",
    "[1,]",
    "\ufeff1",
    '"\t"',
    "[" * 100_000,
]


@pytest.mark.parametrize("name", ["json", "jsonl"])
@settings(deadline=None)
@given(
    st.lists(st.none() | st.sampled_from([*EVIL, "[]", "1", '{"b":2}']) | st.text(max_size=4), min_size=1, max_size=8)
)
def test_no_text_of_a_json_column_breaks_the_file(name: str, values: list[str | None]) -> None:
    text = written(name, column(*values, kind=pa.string(), metadata=JSON)).text
    rows = strict(text) if name == "json" else [strict(line) for line in text.split("\n")[:-1]]
    assert [row["n"] for row in rows] == list(range(len(values)))
    for value, row in zip(values, rows, strict=True):
        assert list(row) == ["a", "n"]
        if value in EVIL:
            assert row["a"] == value


def test_duplicate_names_are_numbered_and_reported() -> None:
    table = pa.table([pa.array([i]) for i in range(4)], names=["a", "a", "a_1", 'q"'])
    made = written("jsonl", table)
    assert made.text == '{"a":0,"a_2":1,"a_1":2,"q\\"":3}\n'
    assert made.reported == {("column_renamed", "a_2"): 1}


def test_an_array_begins_before_any_row_is_read() -> None:
    encoder = formats.encoder("json", formats.options("json", {}), Findings())
    stream = encoder.encode(column("x").schema, pieces(column("x")))
    assert next(stream) == b"["
    stream.close()


def test_what_csv_knows_and_json_does_not_is_refused() -> None:
    with pytest.raises(Refused, match="delimiter"):
        formats.options("json", {"delimiter": ";"})
    with pytest.raises(Refused, match="no columns"):
        written("json", pa.table({}))


def test_media_types_and_suffixes() -> None:
    made = [(formats.media_type(n, formats.options(n, {})), formats.FORMATS[n].suffixes[0]) for n in ("jsonl", "json")]
    assert made == [("application/x-ndjson", ".jsonl"), ("application/json", ".json")]
