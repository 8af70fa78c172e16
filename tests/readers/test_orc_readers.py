"""ORC files, value by value, in pyorc: another binding, whose types are the file's own."""

from __future__ import annotations

import datetime
import decimal
import io
import json
from typing import Any

import pyarrow as pa
import pyorc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import orc

from fluxport import formats
from fluxport.errors import Refused
from fluxport.findings import Finding, Findings
from fluxport.stages import FIELD_KIND, Batches

D = decimal.Decimal
UTC = datetime.UTC
MOMENT = datetime.datetime(2026, 1, 31, 23, 59, 59, 123456)
EARLY, LATE = datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)
BEFORE_1970 = datetime.datetime(1969, 12, 31, 23, 59, 59, 500000)


def encoded(batches: Batches, schema: pa.Schema, findings: Findings | None = None, **given: Any) -> bytes:
    encoder = formats.encoder("orc", formats.options("orc", given), Findings() if findings is None else findings)
    return b"".join(encoder.encode(schema, batches))


def of(*batches: pa.RecordBatch, findings: Findings | None = None, **given: Any) -> pyorc.Reader:
    return pyorc.Reader(io.BytesIO(encoded((b for b in batches), batches[0].schema, findings, **given)))


def in_utc(value: Any) -> Any:
    """pyorc gives both kinds of timestamps a zone."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime.datetime) else value


CASES: dict[str, tuple[pa.DataType, list[Any], str]] = {
    "int8": (pa.int8(), [-128, 127], "tinyint"),
    "int16": (pa.int16(), [-32768, 32767], "smallint"),
    "int32": (pa.int32(), [-(2**31), 2**31 - 1], "int"),
    "int64": (pa.int64(), [-(2**63), 2**63 - 1], "bigint"),
    "uint8": (pa.uint8(), [0, 255], "smallint"),
    "uint16": (pa.uint16(), [0, 65_535], "int"),
    "uint32": (pa.uint32(), [0, 2**32 - 1], "bigint"),
    "uint64": (pa.uint64(), [0, 2**64 - 1], "decimal(20,0)"),
    "double": (pa.float64(), [0.1, -0.0, 5e-324, 1.7976931348623157e308], "double"),
    "float": (pa.float32(), [0.5, -1.0], "float"),
    "bool": (pa.bool_(), [True, False], "boolean"),
    "text": (pa.string(), ["", "Ünï 😀", "x" * 100_000], "string"),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), ["a", "b", "a"], "string"),
    "binary": (pa.binary(), [b"", b"\xff\x00"], "binary"),
    "decimal": (pa.decimal128(38, 10), [D("-1234567890123456789012345678.0123456789")], "decimal(38,10)"),
    "narrow decimal": (pa.decimal64(9, 2), [D("1.50"), D("-0.01")], "decimal(9,2)"),
    "narrow decimal256": (pa.decimal256(38, 2), [D("1.50"), D(-(10**35))], "decimal(38,2)"),
    "date": (pa.date32(), [datetime.date(1, 1, 1), datetime.date(1582, 10, 4), datetime.date(9999, 12, 31)], "date"),
    "timestamp": (pa.timestamp("us"), [MOMENT, EARLY, LATE, BEFORE_1970], "timestamp"),
    "timestamp ms": (pa.timestamp("ms"), [MOMENT.replace(microsecond=123000)], "timestamp"),
    "list": (pa.list_(pa.int32()), [[1, None], []], "array<int>"),
    "list of unsigned": (pa.list_(pa.uint64()), [[2**64 - 1]], "array<decimal(20,0)>"),
    "list view": (pa.list_view(pa.string()), [["a", "b"], [], ["c"]], "array<string>"),
    "map": (pa.map_(pa.string(), pa.int32()), [[("k", 1)]], "map<string,int>"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("codec", ["zstd", "snappy", "zlib", "none"])
def test_the_same_values_of_the_right_type(case: str, codec: str) -> None:
    """Nulls between them too."""
    kind, values, name = CASES[case]
    values = [v for value in values for v in (value, None)]
    reader = of(pa.record_batch({"x": pa.array(values, kind)}), codec=codec)
    assert str(reader.schema) == f"struct<x:{name}>"
    assert reader.compression == getattr(pyorc.CompressionKind, codec.upper())
    expected = [dict(v) if v is not None and case == "map" else in_utc(v) for v in values]
    assert [row[0] for row in reader] == expected


def test_a_timestamp_with_a_zone_is_an_instant() -> None:
    """Whatever zone its column is in."""
    moments = [MOMENT.replace(tzinfo=UTC), BEFORE_1970.replace(tzinfo=UTC), None]
    reader = of(pa.record_batch({"x": pa.array(moments, pa.timestamp("us", "Asia/Shanghai"))}))
    assert str(reader.schema) == "struct<x:timestamp with local time zone>"
    assert [row[0] for row in reader] == moments


@pytest.mark.parametrize(
    ("array", "kind", "texts"),
    [
        (pa.array([3_020_399, -1, None], pa.duration("s")), b"time", ["838:59:59", "-00:00:01", None]),
        (pa.array([D(10**40), D(-1), None], pa.decimal256(41, 0)), None, [str(10**40), "-1", None]),
        (pa.array([datetime.time(1, 2, 3, 4), None], pa.time64("us")), None, ["01:02:03.000004", None]),
    ],
    ids=["MySQL TIME", "SUM of BIGINT", "time of day"],
)
def test_a_type_that_orc_does_not_have_is_text_and_reported(
    array: pa.Array, kind: bytes | None, texts: list[str | None]
) -> None:
    field = pa.field("x", array.type, metadata={FIELD_KIND: kind} if kind else None)
    findings = Findings()
    reader = of(pa.RecordBatch.from_arrays([array], schema=pa.schema([field])), findings=findings)
    assert str(reader.schema) == "struct<x:string>"
    assert [row[0] for row in reader] == texts
    assert list(findings) == [Finding("type_as_text", "x", len(array) - array.null_count)]


COLUMNS = {
    "i": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "f": (pa.float64(), st.floats(allow_nan=False)),
    "s": (pa.string(), st.text(max_size=20)),
    "b": (pa.bool_(), st.booleans()),
    "y": (pa.binary(), st.binary(max_size=8)),
    "d": (pa.decimal128(20, 4), st.decimals(-(10**15), 10**15, places=4)),
    "t": (pa.timestamp("us"), st.datetimes()),
    "l": (pa.list_(pa.int16()), st.lists(st.integers(-99, 99), max_size=3)),
}


@settings(max_examples=40)
@given(st.lists(st.tuples(*(st.one_of(st.none(), values) for _, values in COLUMNS.values())), max_size=30))
def test_any_rows_come_back(rows: list[tuple[Any, ...]]) -> None:
    """Generated by hypothesis, compared row by row."""
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in COLUMNS]
    arrays = [pa.array(column, kind) for column, (kind, _) in zip(columns, COLUMNS.values(), strict=True)]
    found = list(of(pa.RecordBatch.from_arrays(arrays, names=list(COLUMNS))))
    assert found == [tuple(map(in_utc, row)) for row in rows]


def test_many_rows_are_many_stripes_and_all_there() -> None:
    """A stripe is written before the next rows are read: memory does not depend on their number."""
    batch = pa.record_batch(
        {"n": pa.array(range(8192)), "s": pa.array([f"row {n * 7919 % 8192}" for n in range(8192)])}
    )
    pulled = []

    def batches() -> Batches:
        for number in range(100):
            pulled.append(number)
            yield batch

    encoder = formats.encoder("orc", formats.options("orc", {"stripe_bytes": 1 << 16}), Findings())
    chunks = encoder.encode(batch.schema, batches())
    parts = [bytes(next(chunks)), bytes(next(chunks))]
    assert parts[0] == b"ORC"
    assert len(pulled) < 30
    parts += map(bytes, chunks)
    assert max(map(len, parts)) < 1 << 20
    reader = pyorc.Reader(io.BytesIO(b"".join(parts)))
    assert reader.num_of_stripes > 3
    assert len(reader) == 819_200
    assert [row[0] for row in reader][8190:8194] == [8190, 8191, 0, 1]


def test_a_file_that_is_cut_off_anywhere_cannot_be_read() -> None:
    """The footer is the last thing written."""
    batch = pa.record_batch({"x": pa.array(range(1000))})
    data = encoded((b for b in [batch]), batch.schema)
    for end in (0, 3, len(data) // 2, len(data) - 9, len(data) - 1):
        with pytest.raises(pyorc.ParseError):
            pyorc.Reader(io.BytesIO(data[:end]))


@pytest.mark.parametrize(
    ("option", "value"), [("codec", "gzip"), ("stripe_bytes", 65_535), ("stripe_bytes", 67_108_865)]
)
def test_a_wrong_option_is_refused(option: str, value: Any) -> None:
    with pytest.raises(Refused) as caught:
        of(pa.record_batch({"x": pa.array([1])}), **{option: value})
    assert caught.value.code == "bad_option"


def test_a_result_without_columns_is_refused() -> None:
    """Arrow's writer would end the process."""
    with pytest.raises(Refused, match="no columns"):
        of(pa.RecordBatch.from_struct_array(pa.array([{}] * 3, pa.struct([]))))


NESTED = pa.struct([("a", pa.int64()), ("b", pa.string())])


def nested_of(number: int) -> Any:
    return None if number % 3 == 0 else {"a": number, "b": str(number)}


@pytest.mark.parametrize(
    ("kind", "of_number", "as_text"),
    [
        (NESTED, nested_of, False),
        (pa.list_(NESTED), lambda n: [nested_of(n), nested_of(n + 1)][: n % 3], False),
        (pa.struct([("m", pa.map_(pa.string(), pa.int64()))]), lambda n: {"m": [("k", n)] if n % 3 else None}, False),
        (pa.struct([("p", NESTED)]), lambda n: {"p": nested_of(n)}, True),
        (pa.struct([("p", pa.list_(NESTED))]), lambda n: {"p": [nested_of(n)]}, True),
    ],
    ids=["struct", "list", "map in struct", "struct in struct", "struct in list in struct"],
)
def test_structs_with_nulls_are_read_back_wherever_batches_end(
    kind: pa.DataType, of_number: Any, as_text: bool
) -> None:
    """Of slices of structs, and of structs in structs, Arrow's writer writes the values of other rows."""
    batch = pa.record_batch([pa.array([of_number(n) for n in range(20_000)], kind)], ["x"])
    for size in (20_000, 5_000, 777):
        findings = Findings()
        parts = (batch.slice(start, size) for start in range(0, 20_000, size))
        read = orc.read_table(pa.BufferReader(encoded(parts, batch.schema, findings))).column(0)
        found = [json.loads(text) for text in read.to_pylist()] if as_text else read.to_pylist()
        assert found == batch.column(0).to_pylist()
        assert [finding.code for finding in findings] == (["type_as_text"] if as_text else [])
