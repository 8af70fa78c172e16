"""The contract of a format: complete files, deterministic bytes, bounded reading ahead, complete cleanup."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import functools
import itertools
import random
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from fluxport import formats
from fluxport.decimals import DecimalText
from fluxport.digits import number_text
from fluxport.errors import Refused, Unavailable
from fluxport.findings import Findings
from fluxport.formats import FORMATS
from fluxport.formats.options import CommonOptions
from fluxport.stages import FIELD_KIND, Batches, Encoder

ROWS_AHEAD_MAX = 300_000  # rows that an encoder may have pulled before its first bytes: a few slices


class ReadBack(NamedTuple):
    """The content of a file as read by another program; ``names`` is None if the file does not store them."""

    names: list[str] | None
    rows: int


@dataclass(frozen=True)
class FormatCase:
    """The format under test: its ``name`` in the table, and ``read``, an independent reader.

    ``names_without_rows``: a file without rows has the column names. ``repeated_names``: columns may have the
    same name; else the encoder numbers them and reports it.
    """

    name: str
    read: Callable[[bytes], ReadBack]
    names_without_rows: bool = True
    repeated_names: bool = False


def encoder(name: str, findings: Findings | None = None, **given: Any) -> Encoder:
    return formats.encoder(name, formats.options(name, given), findings if findings is not None else Findings())


def cut(batch: pa.RecordBatch, sizes: Iterable[int]) -> Batches:
    """``batch`` in slices of ``sizes`` rows, then the rest; every second one is a copy."""
    start = 0
    for number, size in enumerate(itertools.chain(sizes, (batch.num_rows,))):
        part = batch.slice(start, size)
        if part.num_rows:
            yield pa.concat_batches([part, part.slice(0, 0)]) if number % 2 else part
        start += part.num_rows


def encoded(name: str, batch: pa.RecordBatch, sizes: Iterable[int] = (), **given: Any) -> bytes:
    return b"".join(encoder(name, **given).encode(batch.schema, cut(batch, sizes)))


@functools.cache
def mixed(rows: int = 400) -> pa.RecordBatch:
    """Every kind of column that a query returns, with nulls."""
    chance = random.Random(7)

    def some(make: Callable[[], Any], kind: pa.DataType) -> pa.Array:
        return pa.array([None if chance.random() < 0.15 else make() for _ in range(rows)], kind)

    moment = datetime.datetime(2026, 1, 31, 23, 59, 59, 123456)
    columns = {
        "int": some(lambda: chance.randint(-(2**63), 2**63 - 1), pa.int64()),
        "small": some(lambda: chance.randint(0, 255), pa.uint8()),
        "flag": some(lambda: chance.random() < 0.5, pa.bool_()),
        "float": some(lambda: chance.choice([0.1, -0.0, 1e300, 5.0, chance.random()]), pa.float64()),
        "decimal": some(lambda: decimal.Decimal(chance.randint(-(10**9), 10**9)).scaleb(-2), pa.decimal128(20, 2)),
        "text": some(lambda: chance.choice(["", "plain", 'quo"ted', "line\nfeed", "Ünïcode 😀", "<&>"]), pa.string()),
        "moment": some(lambda: moment + datetime.timedelta(seconds=chance.randint(0, 10**8)), pa.timestamp("us")),
        "zoned": some(lambda: moment.replace(tzinfo=datetime.UTC), pa.timestamp("ms", "UTC")),
        "date": some(lambda: moment.date() + datetime.timedelta(days=chance.randint(0, 999)), pa.date32()),
        "choice": some(lambda: chance.choice("abc"), pa.string()).dictionary_encode(),
        "bytes": some(lambda: chance.randbytes(3), pa.binary()),
    }
    return pa.record_batch(columns)


@functools.cache
def wide(columns: int = 1_000, rows: int = 40) -> pa.RecordBatch:
    """Columns of every kind in turn, nested ones too, of which no two are equal."""
    kinds = [*zip(mixed().schema.names, mixed().columns, strict=True)]
    for name in ("list", "struct", "time us", "uuid", "duration s", "large_string"):
        kind, value = EVERY_TYPE[name]
        kinds.append((name, pa.array([value, None, value, value] * (mixed().num_rows // 4), kind)))
    arrays = {}
    for index in range(columns):
        name, array = kinds[index % len(kinds)]
        arrays[f"{name} {index}"] = array.slice(index % (len(array) - rows), rows)
    return pa.record_batch(arrays)


def decimals(rows: int = 200) -> pa.RecordBatch:
    """Decimals of any size, some null, in 40 columns of four types."""
    chance = random.Random(11)

    def one(precision: int, scale: int) -> decimal.Decimal | None:
        number = chance.choice([0, chance.randint(-9, 9), chance.randint(1 - 10**precision, 10**precision - 1)])
        return None if chance.random() < 0.2 else decimal.Decimal(number).scaleb(-scale)

    kinds = [(5, 0), (12, 2), (15, 15), (38, 4)]
    columns = [(f"{index} {kinds[index % 4]}", *kinds[index % 4]) for index in range(40)]
    return pa.record_batch(
        {name: pa.array([one(p, s) for _ in range(rows)], pa.decimal128(p, s)) for name, p, s in columns}
    )


def as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """``batch`` with its decimals as text."""
    kinds = {kind: DecimalText(kind) for kind in set(batch.schema.types) if pa.types.is_decimal(kind)}
    arrays = [
        pa.ExtensionArray.from_storage(kinds[array.type], number_text(array)) if array.type in kinds else array
        for array in batch.columns
    ]
    return pa.record_batch(arrays, batch.schema.names)


@functools.cache
def long(rows: int = 150_000) -> pa.RecordBatch:
    """Few columns, enough rows for several slices of every encoder."""
    ids = pa.array(range(rows), pa.int64())
    return pa.record_batch(
        {"id": ids, "name": ids.cast(pa.string()), "flag": pa.array([i % 3 == 0 for i in range(rows)])}
    )


class Endless:
    """Endless batches of long(), or ``error`` after ``error_after`` of them; records what was pulled and closed."""

    def __init__(self, error_after: int | None = None) -> None:
        self.error = Unavailable("the database went away")
        self.rows = 0
        self.pulled = 0
        self.closed = False
        self._error_after = error_after

    def batches(self) -> Batches:
        try:
            for number in itertools.count():
                if self.pulled == self._error_after:
                    raise self.error
                batch = long().slice(number * 8_000 % 144_000, 8_000)
                self.pulled += 1
                self.rows += batch.num_rows
                yield batch
        finally:
            self.closed = True


TEXT, INT = pa.string(), pa.int32()
EVERY_TYPE: dict[str, tuple[pa.DataType, Any]] = {
    **{str(k): (k, 5) for k in (pa.int8(), pa.int16(), INT, pa.int64(), pa.uint8(), pa.uint16(), pa.uint32())},
    "uint64": (pa.uint64(), 2**64 - 1),
    **{str(k): (k, 0.5) for k in (pa.float16(), pa.float32(), pa.float64())},
    "nan": (pa.float64(), float("nan")),
    "infinity": (pa.float64(), float("-inf")),
    "bool": (pa.bool_(), True),
    "null": (pa.null(), None),
    **{str(k): (k, "é") for k in (TEXT, pa.large_string(), pa.string_view())},
    **{str(k): (k, b"\xff") for k in (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(1))},
    **{str(k): (k, decimal.Decimal("1.50")) for k in (pa.decimal32(5, 2), pa.decimal64(9, 2), pa.decimal128(38, 2))},
    "decimal256": (pa.decimal256(65, 30), decimal.Decimal("12345678901234567890123456789012345.5")),
    **{str(k): (k, datetime.date(1, 1, 1)) for k in (pa.date32(), pa.date64())},
    **{f"time {u}": (pa.time32(u), datetime.time(23, 59, 59)) for u in ("s", "ms")},
    **{f"time {u}": (pa.time64(u), datetime.time(23, 59, 59)) for u in ("us", "ns")},
    **{f"timestamp {u}": (pa.timestamp(u), 1) for u in ("s", "ms", "us", "ns")},
    **{f"zoned {u}": (pa.timestamp(u, "Europe/Berlin"), 1) for u in ("s", "ms", "us", "ns")},
    **{f"duration {u}": (pa.duration(u), -3_020_399) for u in ("s", "ms", "us", "ns")},
    "interval": (pa.month_day_nano_interval(), pa.MonthDayNano([1, 2, 3])),
    "list": (pa.list_(INT), [1, None]),
    "large list": (pa.large_list(TEXT), ["a"]),
    "fixed list": (pa.list_(INT, 2), [1, 2]),
    "list view": (pa.list_view(INT), [1]),
    "struct": (pa.struct([("a", INT), ("b", TEXT)]), {"a": 1, "b": None}),
    "map": (pa.map_(TEXT, INT), [("k", 1)]),
    "nested": (pa.list_(pa.struct([("a", pa.list_(TEXT))])), [{"a": ["x"]}]),
    "list of durations": (pa.list_(pa.duration("s")), [1]),
    "dictionary": (pa.dictionary(pa.int8(), TEXT), "a"),
    "dictionary of numbers": (pa.dictionary(INT, pa.int64()), 7),
    "list of dictionary": (pa.list_(pa.dictionary(pa.int8(), TEXT)), ["a"]),
    "uuid": (pa.uuid(), bytes(16)),
}


def every_array(kind: pa.DataType, value: Any) -> pa.Array:
    return pa.array([value, None, value], kind)


class FormatContract:
    """The requirements for every format. Subclass it in a test file, with a fixture ``subject``::

    class TestToml(FormatContract):
        @pytest.fixture
        def subject(self) -> FormatCase:
            return FormatCase("toml", read_toml)
    """

    @pytest.mark.parametrize("rows", [0, 1, 400])
    def test_a_file_of_any_number_of_rows_is_read_by_others(self, subject: FormatCase, rows: int) -> None:
        """Including zero: the header is present if the format has one."""
        content = subject.read(encoded(subject.name, mixed().slice(0, rows)))
        assert content.rows == rows
        has_names = rows > 0 or subject.names_without_rows
        assert content.names == (mixed().schema.names if has_names else None)

    @pytest.mark.parametrize("seed", range(10))
    def test_bytes_do_not_depend_on_how_rows_were_cut(self, subject: FormatCase, seed: int) -> None:
        """Slices of large batches, and separate batches, including empty ones."""
        chance = random.Random(seed)
        sizes = [chance.choice([0, 1, chance.randint(0, 200)]) for _ in range(chance.randint(1, 12))]
        assert encoded(subject.name, mixed(), sizes) == encoded(subject.name, mixed())

    @pytest.mark.parametrize("size", [999, 8_192, 70_000])
    def test_bytes_of_many_slices_do_not_depend_on_how_rows_were_cut(self, subject: FormatCase, size: int) -> None:
        """An encoder's slices do not depend on the input batches."""
        assert encoded(subject.name, long(), [size] * (long().num_rows // size)) == encoded(subject.name, long())

    def test_a_thousand_mixed_columns_are_read_by_others(self, subject: FormatCase) -> None:
        """And the bytes do not depend on how rows were cut, nor on the columns in one call of a kernel."""
        data = encoded(subject.name, wide())
        content = subject.read(data)
        assert content.rows == wide().num_rows
        assert content.names == wide().schema.names
        for sizes in ([1] * wide().num_rows, [7, 1, 30]):
            assert encoded(subject.name, wide(), sizes) == data

    def test_decimals_as_text_make_the_same_file(self, subject: FormatCase) -> None:
        """If the entry of the format says that it takes them; also cut, and beside other columns."""
        if not FORMATS[subject.name].decimal_text:
            return
        for batch in (decimals(), decimals(1), decimals(0), mixed(), mixed().select(["decimal"])):
            data = encoded(subject.name, batch)
            assert encoded(subject.name, as_text(batch)) == data
            assert encoded(subject.name, as_text(batch), [1, 7, 90]) == data

    def test_the_same_rows_make_the_same_file_on_any_day(
        self, subject: FormatCase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The bytes do not depend on the clock."""
        today = encoded(subject.name, mixed())
        monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
        assert encoded(subject.name, mixed()) == today

    def test_nothing_is_pulled_before_it_is_asked_for_and_little_ahead(self, subject: FormatCase) -> None:
        """Calling encode pulls nothing; output follows input with a bounded delay."""
        source = Endless()
        chunks = encoder(subject.name).encode(long().schema, source.batches())
        assert source.pulled == 0
        written = 0
        for _ in range(30):
            written += len(next(chunks))
            assert source.rows <= ROWS_AHEAD_MAX + written  # every format writes more than a byte a row
            if source.rows > 4 * ROWS_AHEAD_MAX:
                break
        chunks.close()

    @pytest.mark.parametrize("taken", [1, 2, 10])
    def test_closing_half_way_closes_the_batches_and_leaves_no_thread(self, subject: FormatCase, taken: int) -> None:
        """This is what aborts the query on the server."""
        threads = set(threading.enumerate())
        source = Endless()
        chunks = encoder(subject.name).encode(long().schema, source.batches())
        for _ in range(taken):
            next(chunks)
        chunks.close()
        assert source.closed or source.pulled == 0
        assert set(threading.enumerate()) == threads

    @pytest.mark.parametrize("after", [0, 1, 30])
    def test_an_error_of_the_source_propagates_unchanged(self, subject: FormatCase, after: int) -> None:
        """The same object, and no end of file follows it: the output cannot be mistaken for a complete file."""
        threads = set(threading.enumerate())
        source = Endless(after)
        chunks = encoder(subject.name).encode(long().schema, source.batches())
        with pytest.raises(Unavailable) as caught:
            for _ in chunks:
                pass
        assert caught.value is source.error
        assert source.closed
        assert set(threading.enumerate()) == threads

    def test_an_unknown_option_is_refused_with_those_that_exist(self, subject: FormatCase) -> None:
        """All formats use the same check."""
        with pytest.raises(Refused, match=r"this format knows: .*columns.*timezone") as caught:
            formats.options(subject.name, {"colour": "red"})
        assert caught.value.code == "unknown_option"

    def test_the_format_is_as_its_entry_says(self, subject: FormatCase) -> None:
        """Options extend CommonOptions and are described; each suffix resolves to the format; a valid media type."""
        assert isinstance(formats.options(subject.name, {}), CommonOptions)
        fields = {field.name: field for field in dataclasses.fields(formats.options_class(subject.name))}
        assert all(field.metadata["description"] for field in fields.values())
        row = FORMATS[subject.name]
        inside = {row.compresses_inside} if row.compresses_inside else set()
        assert inside | ({"sheet_name", "freeze_header", "autofilter"} if row.sheets else set()) <= fields.keys()
        assert {formats.by_suffix(f"file{suffix}") for suffix in row.suffixes} == {subject.name}
        assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", row.media_type)

    def test_repeated_names_are_numbered_where_the_format_needs_it(self, subject: FormatCase) -> None:
        """Or repeated, if the format allows it; renamed columns are reported."""
        batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], names=["a", "b", "a"])
        findings = Findings()
        data = b"".join(encoder(subject.name, findings).encode(batch.schema, cut(batch, ())))
        if not subject.repeated_names:
            assert subject.read(data).names == ["a", "b", "a_1"]
            assert [(f.code, f.column) for f in findings] == [("column_renamed", "a_1")]
        else:
            assert list(findings) == []
            assert subject.read(data).names == ["a", "b", "a"]

    @pytest.mark.parametrize("case", EVERY_TYPE)
    def test_every_arrow_type_is_accepted(self, subject: FormatCase, case: str) -> None:
        """Three rows of the type, one null, beside a number are readable by others; so is a file without rows."""
        kind, value = EVERY_TYPE[case]
        batch = pa.record_batch({"x": every_array(kind, value), "n": pa.array([1, 2, 3])})
        assert subject.read(encoded(subject.name, batch)).rows == 3
        assert subject.read(encoded(subject.name, batch.slice(0, 0))).rows == 0
        assert encoded(subject.name, batch, [1, 1]) == encoded(subject.name, batch)

    @pytest.mark.parametrize(
        ("kind", "array"),
        [
            (b"json", pa.array(['{"a": [1, 2]}', None, "-5"])),
            (b"wkb", pa.array(["0101000000", None, ""])),
            (b"time", pa.array([3_020_399, None, -1], pa.duration("s"))),
            (None, pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"])),
            (None, pa.array(['{"a":1}', None, "{}"]).cast(pa.json_())),
        ],
        ids=["json", "wkb", "time", "run ends", "json extension"],
    )
    def test_every_kind_of_column_is_accepted(self, subject: FormatCase, kind: bytes | None, array: pa.Array) -> None:
        """Field metadata of sources, beyond the Arrow type."""
        field = pa.field("x", array.type, metadata={FIELD_KIND: kind} if kind else None)
        batch = pa.RecordBatch.from_arrays(
            [array, pa.array([1, 2, 3])], schema=pa.schema([field, pa.field("n", pa.int64())])
        )
        assert subject.read(encoded(subject.name, batch)).rows == 3
