"""Arrow streams: batches, codecs, metadata, ends."""

from __future__ import annotations

import itertools
from typing import Any

import pyarrow as pa
import pytest

from fluxport import formats
from fluxport.errors import Refused
from fluxport.findings import Findings
from fluxport.formats.arrow import BATCH_BYTES, BATCH_ROWS
from fluxport.formats.columnar import row_groups
from fluxport.stages import FIELD_KIND, Batches


def batches(*given: pa.RecordBatch) -> Batches:
    yield from given


def encoded(batch: pa.RecordBatch, **given: Any) -> bytes:
    encoder = formats.encoder("arrow", formats.options("arrow", given), Findings())
    return b"".join(encoder.encode(batch.schema, batches(batch)))


def numbers(rows: int) -> pa.RecordBatch:
    return pa.record_batch({"x": pa.array(range(rows), pa.int64())})


def test_batches_have_one_size() -> None:
    """However the source cuts them; large cells end one earlier."""
    found = [b.num_rows for b in pa.ipc.open_stream(encoded(numbers(40_000)))]
    assert found == [BATCH_ROWS, BATCH_ROWS, 40_000 - 2 * BATCH_ROWS]
    cells = pa.record_batch({"x": pa.array(["x" * (BATCH_BYTES // 2)] * 5)})
    assert [b.num_rows for b in pa.ipc.open_stream(encoded(cells))] == [2, 2, 1]


@pytest.mark.parametrize("codec", ["none", "zstd", "lz4"])
def test_every_codec_gives_the_rows_back(codec: str) -> None:
    """Compressed ones are smaller."""
    batch = numbers(50_000)
    data = encoded(batch, codec=codec)
    assert pa.ipc.open_stream(data).read_all().equals(pa.Table.from_batches([batch]))
    assert (len(data) < 400_000) == (codec != "none")


def test_an_unknown_codec_is_refused() -> None:
    """Naming those that exist."""
    with pytest.raises(Refused, match="'none', 'zstd', 'lz4'"):
        encoded(numbers(1), codec="snappy")


def test_a_stream_ends_with_its_mark_and_fails_when_cut_inside_a_batch() -> None:
    """Cut between batches, only the end mark is missing, which readers do not require: hence rows and SHA-256."""
    data = encoded(numbers(20_000))
    assert data.endswith(b"\xff\xff\xff\xff\x00\x00\x00\x00")
    with pytest.raises((pa.ArrowInvalid, OSError)):
        pa.ipc.open_stream(data[: len(data) // 2]).read_all()
    assert pa.ipc.open_stream(data[:-8]).read_all().num_rows == 20_000


def test_internal_metadata_is_not_written() -> None:
    """JSON columns are plain text to every reader."""
    field = pa.field("x", pa.string(), metadata={FIELD_KIND: b"json", b"unit": b"m"})
    schema = pa.ipc.open_stream(
        encoded(pa.RecordBatch.from_arrays([pa.array(["{}"])], schema=pa.schema([field])))
    ).schema
    assert schema == pa.schema([pa.field("x", pa.string(), metadata={b"unit": b"m"})])


def test_rows_without_columns_retain_their_number() -> None:
    """A query may return no columns."""
    batch = pa.RecordBatch.from_struct_array(pa.array([{}] * 3, pa.struct([])))
    read = pa.ipc.open_stream(encoded(batch))
    assert sum(b.num_rows for b in read) == 3


def test_runs_inside_lists_are_refused_before_the_first_byte() -> None:
    """The error of the one unsupported layout names its column's type."""
    schema = pa.schema([("x", pa.list_(pa.run_end_encoded(pa.int32(), pa.string())))])
    encoder = formats.encoder("arrow", formats.options("arrow", {}), Findings())
    with pytest.raises(Refused, match="run_end_encoded"):
        next(encoder.encode(schema, batches()))


@pytest.mark.parametrize(
    ("array", "sizes"),
    [
        (pa.array([1, None, 3], pa.int32()), [4, 4, 4]),
        (pa.array([True, False, None]), [1, 1, 1]),
        (pa.array(["", "abc", None]), [0, 3, 0]),
        (pa.array([b"abcde"], pa.binary(5)), [5]),
        (pa.array(["x", "abc"], pa.large_string()).slice(1), [3]),
        (pa.array([["a", "bcd"], None, [], ["ef"]]), [4, 0, 0, 2]),
        (pa.array([["a", "bcd"], None, [], ["ef"]]).slice(3), [2]),
        (pa.array([[1, 2], None], pa.list_(pa.int16(), 2)), [4, 0]),
        (pa.array([{"a": 1, "b": "xyz"}, None], pa.struct([("a", pa.int8()), ("b", pa.string())])), [4, 1]),
        (pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int32())), [5, 0, 0]),
        (pa.array([[[1], [2, 3]], []], pa.list_(pa.list_(pa.int64()))), [24, 0]),
    ],
    ids=lambda a: str(a.type) if isinstance(a, pa.Array) else "",
)
def test_the_size_of_a_row_is_that_of_its_values(array: pa.Array, sizes: list[int]) -> None:
    """Nested ones counted through: whatever the bound, a group ends with the row that reaches it."""
    batch = pa.record_batch({"x": array})
    ends = list(itertools.accumulate(sizes))
    for bound in range(1, ends[-1] + 2):
        expected = next((row for row, end in enumerate(ends, 1) if end >= bound), len(sizes))
        assert next(row_groups(batches(batch), 1_000, bound)).num_rows == expected, bound


def test_a_group_is_full_with_the_row_that_reaches_a_bound() -> None:
    """By rows or by bytes, across batches."""
    given = [pa.record_batch({"x": pa.array(["x" * n for n in sizes])}) for sizes in ([3, 3], [3, 9, 1], [1, 1, 1, 1])]
    assert [b.num_rows for b in row_groups(batches(*given), 4, 8)] == [3, 1, 4, 1]
