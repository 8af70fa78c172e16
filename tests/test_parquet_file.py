"""Parquet: row groups, codecs, dictionaries, metadata, findings."""

from __future__ import annotations

import io
import itertools
import random
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxport import formats
from fluxport.errors import Refused
from fluxport.findings import Finding, Findings
from fluxport.formats.parquet import GROUP_BYTES
from fluxport.stages import FIELD_KIND, FIELD_TYPE, Batches
from fluxport.testing.formats import encoded as in_batches
from fluxport.testing.formats import wide


def batches(*given: pa.RecordBatch) -> Batches:
    yield from given


def encoded(batch: pa.RecordBatch, findings: Findings | None = None, **given: Any) -> bytes:
    encoder = formats.encoder(
        "parquet", formats.options("parquet", given), Findings() if findings is None else findings
    )
    return b"".join(encoder.encode(batch.schema, batches(batch)))


def metadata(data: bytes) -> pq.FileMetaData:
    return pq.ParquetFile(io.BytesIO(data)).metadata


def group_rows(data: bytes) -> list[int]:
    found = metadata(data)
    return [found.row_group(i).num_rows for i in range(found.num_row_groups)]


def numbers(rows: int) -> pa.RecordBatch:
    return pa.record_batch({"x": pa.array(range(rows), pa.int64())})


def test_row_groups_have_the_requested_size() -> None:
    """64k rows by default, the last one shorter."""
    assert group_rows(encoded(numbers(150_000))) == [65_536, 65_536, 18_928]
    assert group_rows(encoded(numbers(150_000), row_group_size=100_000)) == [100_000, 50_000]
    assert group_rows(encoded(numbers(0))) == []


def test_large_cells_end_a_row_group_before_its_rows() -> None:
    """Memory is limited by bytes too, at the same rows however they were cut."""
    cell = "x" * (GROUP_BYTES // 4)
    assert group_rows(encoded(pa.record_batch({"x": pa.array([cell] * 10)}))) == [4, 4, 2]


def test_a_group_is_written_before_the_next_is_read() -> None:
    """Bytes come out as rows go in, the first ones with the first batch."""
    pulled = []

    def watched() -> Batches:
        for number in range(8):
            pulled.append(number)
            yield numbers(65_536)

    chunks = formats.encoder("parquet", formats.options("parquet", {}), Findings()).encode(numbers(0).schema, watched())
    assert bytes(next(chunks)) == b"PAR1"
    assert len(pulled) == 1
    next(chunks)
    assert len(pulled) == 1
    next(chunks)
    assert len(pulled) == 2
    chunks.close()


@pytest.mark.parametrize(("codec", "found"), [("zstd", "ZSTD"), ("snappy", "SNAPPY"), ("none", "UNCOMPRESSED")])
def test_the_codec_is_the_requested_one(codec: str, found: str) -> None:
    """zstd is the default."""
    column = metadata(encoded(numbers(10), codec=codec)).row_group(0).column(0)
    assert column.compression == found
    assert metadata(encoded(numbers(10))).row_group(0).column(0).compression == "ZSTD"


@pytest.mark.parametrize(("option", "value"), [("codec", "gzip"), ("row_group_size", 0), ("row_group_size", "many")])
def test_a_wrong_option_is_refused(option: str, value: Any) -> None:
    """Before any row is read."""
    with pytest.raises(Refused) as caught:
        encoded(numbers(1), **{option: value})
    assert caught.value.code == "bad_option"


def test_dictionaries_are_for_columns_whose_values_repeat() -> None:
    """At least four times on average, judged by the first 16,384 rows."""
    rows = 20_000
    batch = pa.record_batch(
        {
            "unique": pa.array([f"u{i}" for i in range(rows)]),
            "country": pa.array([f"c{i % 200}" for i in range(rows)]),
            "choice": pa.array(["a", "b"] * (rows // 2)).dictionary_encode(),
            "id": pa.array(range(rows)),
            "state": pa.array([i % 5 for i in range(rows)]),
            "a quarter": pa.array([i % 4096 if i % 5 else None for i in range(rows)]),
            "more": pa.array([i % 4097 for i in range(rows)]),
            "late": pa.array([max(i, 10_000) for i in range(rows)]),
        }
    )
    group = metadata(encoded(batch)).row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    assert {c.path_in_schema for c in columns if c.has_dictionary_page} == {
        "country",
        "choice",
        "state",
        "a quarter",
    }


def test_a_file_that_is_cut_off_anywhere_cannot_be_read() -> None:
    """The footer is the last thing written."""
    data = encoded(numbers(1000))
    for end in (0, 4, len(data) // 2, len(data) - 9, len(data) - 4, len(data) - 1):
        with pytest.raises((pa.ArrowInvalid, OSError)):
            pq.read_table(io.BytesIO(data[:end]))


def test_internal_metadata_is_not_written() -> None:
    """Foreign metadata of fields and schema is written, ours is not."""
    field = pa.field("x", pa.int64(), metadata={FIELD_TYPE: b"bigint unsigned", b"unit": b"m"})
    schema = pa.schema([field], metadata={b"fluxport:x": b"1", b"owner": b"me"})
    data = encoded(pa.RecordBatch.from_arrays([pa.array([1])], schema=schema))
    read = pq.read_schema(io.BytesIO(data))
    assert read.field("x").metadata == {b"unit": b"m"}
    assert read.metadata == {b"owner": b"me"}
    assert b"fluxport" not in data


def test_a_zone_is_stored_for_readers_that_support_it() -> None:
    """The moment is UTC in the file, the zone is in Arrow's part of the footer."""
    kind = pa.timestamp("us", "Europe/Berlin")
    data = encoded(pa.record_batch({"x": pa.array([1], kind)}))
    assert pq.read_schema(io.BytesIO(data)).field("x").type == kind


def test_json_has_its_logical_type() -> None:
    """From the kind that the source reported."""
    field = pa.field("x", pa.string(), metadata={FIELD_KIND: b"json"})
    data = encoded(pa.RecordBatch.from_arrays([pa.array(["{}"])], schema=pa.schema([field])))
    assert str(pq.ParquetFile(io.BytesIO(data)).schema.column(0).logical_type) == "JSON"


@pytest.mark.parametrize(
    "kind",
    [pa.duration("us"), pa.decimal256(39, 0), pa.month_day_nano_interval(), pa.list_(pa.duration("s"))],
    ids=str,
)
def test_a_type_that_becomes_text_is_reported(kind: pa.DataType) -> None:
    """With the number of values, nulls not counted."""
    findings = Findings()
    value = pa.MonthDayNano([1, 2, 3]) if pa.types.is_interval(kind) else [1] if pa.types.is_list(kind) else 1
    data = encoded(pa.record_batch({"x": pa.array([value, None, value], kind)}), findings)
    assert pq.read_schema(io.BytesIO(data)).field("x").type == pa.string()
    assert list(findings) == [Finding("type_as_text", "x", 2)]


def test_rows_without_columns_are_a_file() -> None:
    """A query may return no columns."""
    batch = pa.RecordBatch.from_struct_array(pa.array([{}] * 3, pa.struct([])))
    assert pq.read_schema(io.BytesIO(encoded(batch))).names == []


def test_five_thousand_columns_are_written() -> None:
    """Wide results are not special."""
    batch = pa.record_batch({f"c{i}": pa.array([i]) for i in range(5000)})
    assert metadata(encoded(batch)).num_columns == 5000


def mixed(rows: int, columns: int) -> pa.RecordBatch:
    arrays = [
        pa.array(range(rows)),
        pa.array([None if i % 7 == 0 else "x" * (i % 300) for i in range(rows)]),
        pa.array([[i] * (i % 5) for i in range(rows)]),
        pa.array([i % 3 for i in range(rows)]),
    ]
    return pa.record_batch([arrays[n % 4] for n in range(columns)], names=[f"c{n}" for n in range(columns)])


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param(mixed(20_000, 4), id="narrow"),
        pytest.param(mixed(3_000, 200), id="wide"),
        pytest.param(
            pa.record_batch({"x": pa.array([f"{i}" * (i * i % 97) for i in range(18_000)])}), id="several pages"
        ),
        pytest.param(
            pa.record_batch({"x": pa.array([f"{i // 8 if i < 17_000 else i:0>60}" for i in range(60_000)])}),
            id="dictionary too large",
        ),
    ],
)
def test_bytes_do_not_depend_on_where_batches_end(batch: pa.RecordBatch) -> None:
    """Nor do the pages, even where the writer gives up a dictionary in the middle of a group."""
    chance = random.Random(1)
    cuts = sorted({0, batch.num_rows, *chance.sample(range(batch.num_rows), 20)})
    split = [batch.slice(start, stop - start) for start, stop in itertools.pairwise(cuts)]
    encoder = formats.encoder("parquet", formats.options("parquet", {}), Findings())
    assert b"".join(encoder.encode(batch.schema, batches(*split))) == encoded(batch)


def test_a_wide_row_group_has_hundreds_of_rows() -> None:
    """Each column of a group costs the same, however few its rows."""
    rows, columns = 3000, 900
    batch = pa.record_batch({f"c{n}": pa.array(range(rows), pa.int64()) for n in range(columns)})
    assert min(group_rows(encoded(batch))[:-1]) > 1000


def test_the_bytes_are_the_same_by_pyarrows_public_writer() -> None:
    """Its module without the file systems is private, so a later pyarrow may lack it."""
    program = """
import sys
import pyarrow.parquet
sys.modules["pyarrow._parquet"] = None
from fluxport.formats.parquet import ParquetWriter
from fluxport.testing.formats import encoded, wide
assert ParquetWriter is pyarrow.parquet.ParquetWriter
sys.stdout.buffer.write(encoded("parquet", wide()))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert run.stdout == in_batches("parquet", wide())
