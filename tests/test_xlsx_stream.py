"""The stream of a workbook: forward-only ZIP, slices and threads that change no byte, sheets that roll, flat memory."""

from __future__ import annotations

import io
import random
import struct
import threading
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

from fluxport.errors import LimitExceeded, Unavailable
from fluxport.findings import Findings
from fluxport.formats.slices import slices
from fluxport.formats.xlsx import XlsxEncoder, XlsxOptions
from fluxport.formats.xlsx.zipstream import ZipStream
from fluxport.stages import Batches
from xlsx_support import Made, batches_of, calamine_rows, column, workbook

ROWS_MAX = 1_048_576  # of a sheet, as Excel has it

HELPER = "xlsx-deflate"


def mixed(rows: int) -> pa.RecordBatch:
    """Columns that cover every path: fixed and varying widths, nulls, texts to escape, numbers that become text."""
    r = np.random.default_rng(7)
    numbers = r.integers(-(10**16), 10**16, rows)
    missing = r.random(rows) < 0.3
    words = np.array(["a", "=b&c", "<d>", "", "_x0041_", " e\r\n"])[r.integers(0, 6, rows)]
    return pa.record_batch({
        "id": pa.array(np.arange(rows)),
        "long": pa.array(numbers, mask=missing),
        "real": pa.array(r.normal(0, 1, rows), mask=r.random(rows) < 0.5),
        "word": pa.array(words, mask=r.random(rows) < 0.2),
        "at": pa.array(r.integers(0, 10**9, rows), pa.timestamp("s"), mask=missing),
        "flag": pa.array(r.random(rows) < 0.5, mask=missing),
    })  # fmt: skip


def endless(rows: int = 5000) -> Batches:
    while True:
        yield mixed(rows)


def helpers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(HELPER)]


@pytest.mark.parametrize("compact", [False, True])
def test_bytes_depend_neither_on_batches_nor_on_threads(compact: bool) -> None:
    batch = mixed(40_000)
    whole = workbook(batch, compact=compact)
    sizes = [random.Random(1).randint(0, 900) for _ in range(60)]
    assert workbook(batch, sizes, compact=compact) == whole
    assert workbook(batch, [1] * 30, 1, compact=compact) == whole


def test_rows_read_back_past_every_change_of_digits() -> None:
    """Row numbers grow from one digit to six within and between slices."""
    batch = mixed(120_000)
    rows = calamine_rows(workbook(batch))
    assert [row[0] for row in rows[1:]] == list(range(120_000))
    expected = batch["real"].to_pylist()
    assert [row[2] if row[2] != "" else None for row in rows[1:]] == expected


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 50), st.integers(1, 200))
@settings(deadline=None, max_examples=60)
def test_slices_depend_on_rows_alone(sizes: list[int], rows: int, text_bytes: int) -> None:
    texts = ["x" * (index * 7 % 23) for index in range(sum(sizes) + 3)]
    batch = column(texts, pa.string())
    whole = list(slices(batches_of(batch), rows, text_bytes))
    cut = list(slices(batches_of(batch, sizes), rows, text_bytes))
    assert [piece.to_pydict() for piece in cut] == [piece.to_pydict() for piece in whole]
    assert [text for piece in cut for text in piece["x"].to_pylist()] == texts
    for piece in cut[:-1]:
        length = sum(map(len, piece["x"].to_pylist()))
        assert piece.num_rows == rows or (length >= text_bytes > length - len(piece["x"][-1].as_py()))


@pytest.mark.parametrize("threads", [1, 2])
def test_closing_half_way_closes_the_batches_and_leaves_no_thread(threads: int) -> None:
    closed = threading.Event()

    def batches() -> Batches:
        try:
            yield from endless()
        finally:
            closed.set()

    chunks = XlsxEncoder(XlsxOptions(), Findings(), threads=threads).encode(mixed(1).schema, batches())
    for _ in range(6):
        next(chunks)
    chunks.close()
    assert closed.is_set()
    assert not helpers()


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_of_the_batches_comes_out_as_itself(threads: int) -> None:
    error = Unavailable("gone")

    def batches() -> Batches:
        yield mixed(50_000)
        raise error

    chunks = XlsxEncoder(XlsxOptions(), Findings(), threads=threads).encode(mixed(1).schema, batches())
    with pytest.raises(Unavailable) as caught:
        b"".join(chunks)
    assert caught.value is error
    assert not helpers()


def test_an_error_of_the_first_pull_comes_before_any_byte() -> None:
    def batches() -> Batches:
        yield from (failing() for _ in range(1))

    def failing() -> pa.RecordBatch:
        raise Unavailable("gone")

    with pytest.raises(Unavailable):
        next(XlsxEncoder(XlsxOptions(), Findings()).encode(mixed(1).schema, batches()))


def test_batches_are_pulled_in_the_callers_thread_and_not_far_ahead() -> None:
    pulled = []

    def batches() -> Batches:
        for batch in endless():
            pulled.append(threading.current_thread())
            yield batch

    chunks = XlsxEncoder(XlsxOptions(), Findings()).encode(mixed(1).schema, batches())
    next(chunks)
    assert len(pulled) == 1
    for _ in range(20):
        next(chunks)
    chunks.close()
    assert set(pulled) == {threading.current_thread()}
    assert len(pulled) < 100


@pytest.mark.slow
def test_rows_beyond_a_sheet_go_to_the_next_with_a_header_of_its_own() -> None:
    rows = ROWS_MAX + 5
    made = workbook(column(pa.array(np.arange(rows)), pa.int64()), [70_000] * 10, table=True)
    book = CalamineWorkbook.from_filelike(io.BytesIO(made.data))
    assert book.sheet_names == ["Sheet1", "Sheet2", "Notes"]
    first, second = (book.get_sheet_by_index(index).to_python() for index in (0, 1))
    assert len(first) == ROWS_MAX
    assert (first[0], first[1], first[-1]) == (["x"], [0], [ROWS_MAX - 2])
    assert second == [["x"], *([number] for number in range(ROWS_MAX - 1, rows))]
    assert made.reported == {("rows_on_new_sheet", None): 6}
    assert 'ref="A1:A7"' in made.part("xl/tables/table2.xml")


@pytest.mark.parametrize(("wanted", "hint"), [("fail", "new_sheet"), ("new_file", "max_rows_per_file")])
def test_a_full_sheet_can_be_an_error(wanted: str, hint: str) -> None:
    batch = column(pa.nulls(20, pa.int8()), pa.int8())
    start = ROWS_MAX - 10
    workbook(batch.slice(0, 10), on_row_limit=wanted, start_row=start)
    with pytest.raises(LimitExceeded, match=f"10 records.*{hint}"):
        workbook(batch, on_row_limit=wanted, start_row=start)


def test_a_sheet_ends_before_its_xml_grows_too_large_for_zip_without_zip64() -> None:
    batch, findings = mixed(60_000), Findings()
    encoder = XlsxEncoder(XlsxOptions(sheet_name="Big"), findings, sheet_bytes_max=8_000_000)
    data = b"".join(encoder.encode(batch.schema, batches_of(batch)))
    book = CalamineWorkbook.from_filelike(io.BytesIO(data))
    sheets = [book.get_sheet_by_name(name).to_python() for name in book.sheet_names if name.startswith("Big")]
    assert book.sheet_names[:2] == ["Big", "Big (2)"]
    assert [row[0] for sheet in sheets for row in sheet[1:]] == list(range(60_000))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert all(info.file_size < 8_100_000 for info in archive.infolist())
    assert {found.code: found.count for found in findings}["rows_on_new_sheet"] == 60_000 - len(sheets[0]) + 1


def test_the_zip_is_of_version_2_with_short_descriptors_and_one_date() -> None:
    made = workbook(mixed(100))
    with zipfile.ZipFile(io.BytesIO(made.data)) as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert (info.extract_version, info.extra) == (20, b"")
            header = struct.unpack_from("<4sHHHHHLLLHH", made.data, info.header_offset)
            assert (header[1], header[10]) == (20, 0)
            if info.flag_bits & 8:
                end = info.header_offset + 30 + len(info.filename) + info.compress_size
                sizes = (b"PK\x07\x08", info.CRC, info.compress_size, info.file_size)
                assert struct.unpack_from("<4sLLL", made.data, end) == sizes


def test_the_first_members_identify_the_file() -> None:
    assert workbook(mixed(1)).parts()[:3] == ["_rels/.rels", "docProps/app.xml", "xl/styles.xml"]


class Sparse(io.RawIOBase):
    """``data`` after ``hole`` zeros that take no space."""

    def __init__(self, hole: int, data: bytes) -> None:
        self._hole, self._data, self._at = hole, data, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._hole + len(self._data)}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._hole + len(self._data) - self._at)
        before = max(0, min(count, self._hole - self._at))
        start = self._at + before - self._hole
        buffer[:count] = bytes(before) + self._data[start : start + count - before]
        self._at += count
        return count


@pytest.mark.parametrize("offset", [0, 0xFFFFFFFE, 0xFFFFFFFF, 5 << 30])
def test_zip64_is_used_in_the_central_directory_where_offsets_need_it_and_only_there(offset: int) -> None:
    stream = ZipStream(offset)
    data = stream.file("small", b"abc") + stream.begin("large") + stream.data(b"d" * 9999) + stream.end()
    data += stream.close()
    assert (b"PK\x06\x06" in data) == (b"PK\x06\x07" in data) == (offset > 0)
    with zipfile.ZipFile(Sparse(offset, data)) as archive:
        assert archive.read("small") == b"abc"
        assert archive.read("large") == b"d" * 9999
        assert [info.header_offset for info in archive.infolist()] == [offset, offset + 40]
        far = [info.header_offset >= 0xFFFFFFFF for info in archive.infolist()]
        assert [info.extract_version for info in archive.infolist()] == [45 if f else 20 for f in far]


def test_the_file_is_the_same_format_without_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    import zlib

    from fluxport.formats import deflate

    with_isal = workbook(mixed(3000))
    monkeypatch.setattr(deflate, "fast_zlib", zlib)
    without = workbook(mixed(3000))
    assert calamine_rows(without) == calamine_rows(with_isal)


def test_columns_that_share_their_memory_are_sliced_as_others() -> None:
    """Their buffers are smaller than their texts together."""
    texts = pa.array([f"{row} " + "x" * 300 for row in range(2000)])
    batch = pa.record_batch([texts] * 3, names=["a", "b", "c"])
    alike = pa.record_batch(
        [pa.concat_arrays([texts.slice(0, 1), texts.slice(1)]) for _ in "abc"], names=["a", "b", "c"]
    )
    found = [
        [part.num_rows for part in slices((b for b in [each.slice(0, 0), each]), 2000, 1 << 20)]
        for each in (batch, alike)
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 2


def peak_bytes(rows: int, make: Any) -> int:
    """The peak of Arrow memory beyond that of the batches while a workbook of ``rows`` is encoded."""
    before = pa.total_allocated_bytes()
    peak = 0

    def batches() -> Batches:
        for start in range(0, rows, 5000):
            yield make(start)

    batch = make(0)
    chunks = XlsxEncoder(XlsxOptions(on_long_text="truncate"), Findings()).encode(batch.schema, batches())
    for _ in chunks:
        peak = max(peak, pa.total_allocated_bytes() - before)
    return peak


def test_memory_is_flat_over_rows() -> None:
    def make(start: int) -> pa.RecordBatch:
        return mixed(5000)

    peak_bytes(50_000, make)
    assert peak_bytes(250_000, make) < peak_bytes(50_000, make) + (8 << 20)


def test_long_texts_take_no_more_memory_than_many_rows() -> None:
    """Rows of 20 kB are cut into slices by their bytes."""
    text = "x" * 20_000

    def make(start: int) -> pa.RecordBatch:
        return column([text] * 50, pa.string())

    assert peak_bytes(200_000, make) < 40 << 20


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_a_null_anywhere_moves_no_value(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 130))
    columns = {}
    for name in "abc":
        values = st.one_of(st.none(), st.integers(-99, 99))
        columns[name] = pa.array(data.draw(st.lists(values, min_size=rows, max_size=rows)), pa.int16())
    batch = pa.record_batch(columns)
    made: Made = workbook(batch)
    found = [[None if cell == "" else cell for cell in row] for row in calamine_rows(made)[1:]]
    expected = [list(row.values()) for row in batch.to_pylist()]
    assert found == expected[: len(found)]
    assert all(cell is None for row in expected[len(found) :] for cell in row)


@pytest.mark.slow
def test_many_columns_take_the_memory_of_a_few_rows() -> None:
    columns = {f"c{i}": pa.array(np.arange(100, 400)) for i in range(2_000)}
    batch = pa.record_batch(columns)
    tracemalloc.start()
    try:
        encoded = XlsxEncoder(XlsxOptions(), Findings()).encode(batch.schema, (part for part in (batch,)))
        size = sum(map(len, encoded))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size
    assert peak < 40 << 20
