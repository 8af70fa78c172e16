"""The stream as a whole: counting, truncation, limits, and every way to end."""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fluxport import formats
from fluxport.errors import Broken, LimitExceeded, Unavailable
from fluxport.findings import Findings
from fluxport.formats.csv import CsvEncoder, CsvOptions
from fluxport.formats.json import JsonLinesEncoder, JsonOptions
from fluxport.pipeline import Tally, as_failure, stream
from fluxport.sources.base import BaseSource
from fluxport.stages import Batches, Chunks, Encoder, Limits, weakest
from rows_source import RowsSource


def numbers(rows: int) -> pa.Table:
    return pa.table({"n": pa.array(range(rows), pa.int64()), "t": pa.array(["x" * 50] * rows)})


class OwnMemory:
    """Batches of numbers; ``freed`` has an event for the memory of each, set once nothing holds it."""

    schema = pa.schema([("n", pa.int64()), ("m", pa.int64())])

    def __init__(self) -> None:
        self.freed: list[threading.Event] = []
        self._watched: list[weakref.ref[Any]] = []

    def batch(self, rows: int) -> pa.RecordBatch:
        numbers = np.arange(rows, dtype=np.int64)
        freed = threading.Event()
        self.freed.append(freed)
        self._watched.append(weakref.ref(numbers, lambda _: freed.set()))
        array = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(numbers)])
        return pa.record_batch([array, array], schema=self.schema)


class WatchedSource(BaseSource):
    """``count`` batches of ``memory``."""

    def __init__(self, memory: OwnMemory, count: int) -> None:
        super().__init__()
        self._memory, self._left = memory, count

    def open(self) -> pa.Schema:
        return self._memory.schema

    def read(self) -> pa.RecordBatch | None:
        self._left -= 1
        return self._memory.batch(10) if self._left >= 0 else None

    def free(self) -> None:
        """Nothing is open."""


def csv() -> Encoder:
    return formats.encoder("csv", formats.options("csv", {}), Findings())


def jsonl() -> Encoder:
    return JsonLinesEncoder(JsonOptions(), Findings(), threads=1)


def run(source: RowsSource, **given: Any) -> tuple[bytes, Tally]:
    tally = Tally()
    data = b"".join(stream(source, (), csv(), tally=tally, **given))
    return data, tally


def test_a_complete_stream_has_the_rows_bytes_and_sha256_of_what_it_yielded() -> None:
    data, tally = run(RowsSource(numbers(5000)))
    assert (tally.rows, tally.size_bytes, tally.complete) == (5000, len(data), True)
    assert tally.sha256 == hashlib.sha256(data).hexdigest()
    assert tally.columns == [("n", "int64"), ("t", "string")]


def test_chunks_after_the_first_are_between_64_kib_and_1_mib() -> None:
    chunks = [len(c) for c in stream(RowsSource(numbers(100_000), 333), (), csv())]
    assert all(65_536 <= size <= 1_048_576 for size in chunks[1:-1])
    assert len(chunks) > 5


class Verbatim:
    """The cells of a batch as one chunk."""

    def encode(self, schema: pa.Schema, batches: Batches) -> Chunks:
        for batch in batches:
            yield b"".join(batch.column(0).to_pylist())


@pytest.mark.parametrize(
    ("sizes", "cut"),
    [
        ([1, 3_000_000], [1, 1_048_576, 1_048_576, 902_848]),
        ([3_000_000], [1_048_576, 1_048_576, 902_848]),
        ([1, 65_535], [1, 65_535]),
        ([1, 65_535, 1], [1, 65_536]),
        ([1, 65_535, 2], [1, 65_536, 1]),
        ([1, 65_536, 5], [1, 65_536, 5]),
        ([1, 10, 20, 30], [1, 60]),
    ],
)
def test_large_chunks_are_cut_at_1_mib_and_small_ones_joined_to_64_kib(sizes: list[int], cut: list[int]) -> None:
    table = pa.table({"x": pa.array([b"x" * size for size in sizes], pa.binary())})
    assert [len(chunk) for chunk in stream(RowsSource(table, 1), (), Verbatim())] == cut


def test_a_batch_is_held_by_the_encoder_alone() -> None:
    """Memory has one batch, not one for each generator between the source and the encoder."""
    memory = OwnMemory()
    freed: list[bool] = []

    class Dropping:
        def encode(self, schema: pa.Schema, batches: Batches) -> Chunks:
            events = iter(memory.freed)
            for batch in batches:
                yield str(batch.num_rows).encode()
                del batch
                freed.append(next(events).wait(10))

    assert b"".join(stream(WatchedSource(memory, 3), (), Dropping())) == b"101010"
    assert freed == [True, True, True]


@pytest.mark.parametrize("encoder", [CsvEncoder(CsvOptions(), Findings(), threads=1), jsonl()])
def test_an_encoder_of_text_holds_no_batch_while_it_waits_for_the_next_one(encoder: Encoder) -> None:
    memory = OwnMemory()
    freed: list[bool] = []

    def batches() -> Batches:
        for number in range(3):
            yield memory.batch(40_000)
            freed.append(memory.freed[number].is_set())

    assert sum(map(len, encoder.encode(memory.schema, batches()))) > 3 * 40_000
    assert freed == [True, True, True]


def test_the_first_chunk_comes_before_the_source_has_given_a_row() -> None:
    source = RowsSource(numbers(10), stall=True)
    chunks = stream(source, (), csv())
    assert bytes(next(chunks)) == b"n,t\n"
    chunks.close()
    assert source.closed.is_set()


@pytest.mark.parametrize("after", [0, 1, 7])
def test_an_error_of_the_source_comes_up_as_itself_and_nothing_is_complete(after: int) -> None:
    lost = Unavailable("the database went away")
    source = RowsSource(numbers(10_000), error=lost, error_after=after)
    tally = Tally()
    with pytest.raises(Unavailable) as raised:
        for _ in stream(source, (), csv(), tally=tally):
            pass
    assert raised.value is lost
    assert not tally.complete
    assert source.closed.is_set()


def test_closing_half_way_ends_the_source_and_leaves_no_thread() -> None:
    before = threading.active_count()
    source = RowsSource(numbers(200_000), stall=True, error_after=100)
    chunks = stream(source, (), csv())
    next(chunks)
    next(chunks)
    chunks.close()
    assert source.closed.is_set()
    assert threading.active_count() == before


def test_the_source_is_never_more_than_a_few_slices_ahead() -> None:
    source = RowsSource(numbers(400_000), 1000)
    chunks = stream(source, (), csv())
    next(chunks)
    next(chunks)
    assert source.pulled < 100
    chunks.close()


@pytest.mark.parametrize(
    ("limit", "rows", "truncated"), [(0, 0, True), (10, 10, True), (50, 50, False), (90, 50, False)]
)
def test_a_limit_truncates_the_rows_and_is_reported_if_there_were_more(limit: int, rows: int, truncated: bool) -> None:
    data, tally = run(RowsSource(numbers(50), 20), limits=Limits(rows=limit))
    assert (tally.rows, tally.truncated, tally.complete) == (rows, truncated, True)
    assert len(data.splitlines()) == rows + 1


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(rows_max=99), "too_many_rows"),
        (Limits(bytes_max=500), "too_many_bytes"),
        (Limits(cell_bytes_max=49), "cell_too_large"),
    ],
)
def test_a_bound_that_is_passed_ends_the_export(limits: Limits, code: str) -> None:
    with pytest.raises(LimitExceeded) as raised:
        run(RowsSource(numbers(100)), limits=limits)
    assert raised.value.code == code


def test_a_bound_that_is_just_reached_is_not_passed() -> None:
    size = len(run(RowsSource(numbers(100)))[0])
    limits = Limits(rows_max=100, bytes_max=size, cell_bytes_max=50)
    data, tally = run(RowsSource(numbers(100)), limits=limits)
    assert (tally.rows, len(data), tally.complete) == (100, size, True)
    with pytest.raises(LimitExceeded):
        run(RowsSource(numbers(100)), limits=replace(limits, bytes_max=size - 1))


def test_each_bound_by_itself_allows_its_number_and_not_one_more() -> None:
    """100 rows of 50 bytes; the bounds hold over several batches."""
    for limits in (Limits(rows_max=100), Limits(rows=100), Limits(cell_bytes_max=50)):
        _, tally = run(RowsSource(numbers(100), 10), limits=limits)
        assert (tally.rows, tally.truncated, tally.complete) == (100, False, True)
    with pytest.raises(LimitExceeded, match="more than the 99 rows"):
        run(RowsSource(numbers(100), 10), limits=Limits(rows_max=99))
    _, tally = run(RowsSource(numbers(100), 10), limits=Limits(rows=99, rows_max=99))
    assert (tally.rows, tally.truncated) == (99, True)


def test_a_cell_that_is_too_large_is_reported_with_its_row() -> None:
    table = pa.table({"a": ["x" * 60] * 14 + ["y" * 71] + ["x" * 60] * 5})
    with pytest.raises(LimitExceeded, match=r"\b15\b") as raised:
        run(RowsSource(table, 10), limits=Limits(cell_bytes_max=70))
    assert raised.value.code == "cell_too_large"


def test_a_cell_has_64_mib_unless_another_limit_is_set() -> None:
    assert Limits() == Limits(None, None, None, 67_108_864, None)


def test_a_deadline_ends_the_export_and_it_is_not_tried_again() -> None:
    with pytest.raises(Unavailable) as raised:
        run(RowsSource(numbers(100)), limits=Limits(deadline_s=0.0))
    assert (raised.value.code, raised.value.again) == ("deadline", False)


@pytest.mark.parametrize("served", [False, True])
def test_a_source_has_a_thread_of_its_own_unless_it_is_served_and_processors_are_few(served: bool) -> None:
    class Noting(RowsSource):
        def __init__(self) -> None:
            super().__init__(numbers(10))
            self.served = served
            self.threads = set[threading.Thread]()

        def batches(self) -> Batches:
            for batch in super().batches():
                self.threads.add(threading.current_thread())
                yield batch

    source = Noting()
    run(source)
    processors = len(os.sched_getaffinity(0))
    assert (source.threads == {threading.current_thread()}) is (served and processors <= 2)


def test_what_callers_see_of_a_failure_is_the_error_or_that_there_was_one() -> None:
    lost = Unavailable("the database went away")
    assert as_failure(lost) is lost
    for error, code in ((MemoryError("secret"), "out_of_memory"), (KeyError("secret"), "internal")):
        failure = as_failure(error)
        assert (type(failure), failure.code, failure.retryable) == (Broken, code, False)
        assert "secret" not in failure.message


def test_a_file_was_confirmed_as_weakly_as_its_weakest_part() -> None:
    strongest_first = ["sha256", "md5", "crc64", "crc32c", "size"]
    for place, name in enumerate(strongest_first):
        assert weakest(strongest_first[: place + 1]) == name
        assert weakest(reversed(strongest_first[: place + 1])) == name
    assert weakest([]) == "size"


def test_steps_change_schema_and_batches_in_order() -> None:
    def double(schema: pa.Schema) -> tuple[pa.Schema, Any]:
        made = pa.schema([pa.field("twice", pa.int64())])
        return made, lambda b: pa.record_batch([pa.array([v * 2 for v in b.column(0).to_pylist()])], schema=made)

    data = b"".join(stream(RowsSource(numbers(3)), (double, double), csv()))
    assert data == b"twice\n0\n4\n8\n"


def test_a_source_that_is_sent_is_read_to_its_end_beyond_the_limit() -> None:
    """Its client waits for the response to all rows; a query ends at the limit."""
    for sent in (False, True):
        source = RowsSource(numbers(100), 10)
        if sent:
            source.sent = True  # type: ignore[attr-defined]  # as pushed sources have it
        _, tally = run(source, limits=Limits(rows=15))
        assert (tally.rows, tally.truncated, tally.complete) == (15, True, True)
        assert (source.pulled == 10) is sent


def test_columns_have_the_type_that_the_database_names() -> None:
    schema = pa.schema([pa.field("n", pa.int64(), metadata={b"fluxport:type": b"bigint unsigned"}), ("m", pa.int8())])
    _, tally = run(RowsSource(pa.table({"n": [1], "m": [2]}, schema=schema)))
    assert tally.columns == [("n", "bigint unsigned"), ("m", "int8")]


def test_an_hour_is_enough_for_a_moment() -> None:
    _, tally = run(RowsSource(numbers(100)), limits=Limits(deadline_s=3600.0))
    assert tally.complete
