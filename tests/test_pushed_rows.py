"""Pushed rows of many columns: the same table and the same errors however they were cut into batches, and whether they
are converted together."""

from __future__ import annotations

import itertools
import queue
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wide_support
from fluxport.errors import Refused
from fluxport.grpc import export_pb2 as pb
from fluxport.grpc import wire
from fluxport.sources.arrow import ArrowSource
from fluxport.sources.pushed import Kind, PushedBatch, PushedColumn, PushedOptions, PushedSource, ReadSource
from fluxport.stages import Source

KINDS: tuple[Kind, ...] = ("number", "number", "string", "date", "boolean")


def text(column: int, row: int) -> str:
    """What is sent; every fifth value is empty, and some numbers and dates are in unusual notation."""
    if (column + row) % 5 == 0:
        return ""
    unusual = column == 6
    texts = {
        0: f"{row * 1000 + column}",
        1: f"+{row}.50" if unusual else f"{row}.{column}",
        2: "é" * (row % 90),
        3: f"2026-01-{row % 28 + 1:02d} 10:00:00" + ("+02:00" if column == 8 else ""),
        4: "yes" if row % 2 else "false",
    }
    return texts[column % 5]


def made(columns: int, rows: int) -> list[list[str]]:
    return [[text(column, row) for column in range(columns)] for row in range(1, rows + 1)]


def as_message(rows: Sequence[Sequence[str]], sequence: int) -> bytes:
    batch = pb.DataBatch(records=[pb.Record(values=row) for row in rows], batch_sequence=sequence)
    return pb.ExportRequest(batch=batch).SerializeToString()


def parsed(rows: Sequence[Sequence[str]], sequence: int) -> PushedBatch:
    message = as_message(rows, sequence)
    found = wire.cells(message, len(rows[0]))
    assert found is not None
    return PushedBatch(found[0], message, cells=found[1])


def as_rows(rows: Sequence[Sequence[str]], sequence: int) -> PushedBatch:
    return PushedBatch(sequence, as_message(rows, sequence), rows)


def pushed(
    batches: Sequence[PushedBatch], columns: int, ready: Callable[[], bool], options: PushedOptions | None = None
) -> PushedSource:
    sent: Iterator[PushedBatch] = iter(batches)
    declared = [PushedColumn(f"c{k}", KINDS[k % 5]) for k in range(columns)]
    return PushedSource(declared, lambda: next(sent, None), lambda: None, options, ready)


def table(source: Source) -> pa.Table:
    found = pa.Table.from_batches(list(source.batches()), source.schema)
    found.validate(full=True)
    return found.combine_chunks()


@cache
def alone(exact_text: bool) -> pa.Table:
    """Each row in a batch of its own."""
    batches = [as_rows([row], n) for n, row in enumerate(made(13, 40), 1)]
    return table(pushed(batches, 13, lambda: False, PushedOptions(exact_text=exact_text)))


@pytest.mark.parametrize("exact_text", [True, False])
@pytest.mark.parametrize("batch_of", [parsed, as_rows])
@settings(max_examples=40, deadline=None)
@given(cuts=st.sets(st.integers(1, 39), max_size=6), seed=st.integers(0, 1000))
def test_rows_are_the_same_however_they_were_cut(
    batch_of: Callable[..., PushedBatch], exact_text: bool, cuts: set[int], seed: int
) -> None:
    """As one row a batch, none of them converted together."""
    options = PushedOptions(exact_text=exact_text)
    rows, columns = made(13, 40), 13
    bounds = [0, *sorted(cuts), 40]
    batches = [batch_of(rows[a:b], n) for n, (a, b) in enumerate(itertools.pairwise(bounds), 1)]
    chance = random.Random(seed)
    assert table(pushed(batches, columns, lambda: chance.random() < 0.7, options)).equals(alone(exact_text))


def test_a_thousand_columns_are_converted_together() -> None:
    """To the values that were sent, in few batches."""
    columns, rows = 1000, made(1000, 100)
    batches = [parsed(rows[n : n + 5], n // 5 + 1) for n in range(0, 100, 5)]
    source = pushed(batches, columns, lambda: True, PushedOptions(exact_text=True))
    batches_made = list(source.batches())
    assert len(batches_made) < 4
    found = pa.Table.from_batches(batches_made)
    for index in (0, 2, 7, 995, 997):
        assert found.column(index).to_pylist() == [
            (text(index, row) or None) if index % 5 != 2 else text(index, row) for row in range(1, 101)
        ]
    assert found.column(6).to_pylist()[:2] == ["1.50", "2.50"]
    assert found.column(4).to_pylist()[:3] == [None, False, True]


@pytest.mark.parametrize("together", [True, False])
def test_the_first_wrong_value_of_the_first_wrong_batch_is_named(together: bool) -> None:
    """By row and column, as if each batch were converted alone."""
    rows = made(25, 30)
    rows[21][3] = "x"  # in a later batch, though in an earlier column
    rows[14][20] = "x"
    rows[12][21] = "x"  # in the same batch, in a later column
    batches = [parsed(rows[n : n + 10], n // 10 + 1) for n in range(0, 30, 10)]
    with pytest.raises(Refused, match="Row 15, column 'c20': the value is not a number") as caught:
        table(pushed(batches, 25, lambda: together))
    assert caught.value.code == "wrong_type"


def test_rows_before_a_batch_that_is_refused_are_converted_first() -> None:
    """A gap among the numbers is no reason to forget what came before it."""
    rows = made(3, 4)
    source = pushed([parsed(rows[:2], 1), parsed(rows[2:], 3)], 3, lambda: True)
    batches = source.batches()
    assert next(batches).num_rows == 2
    with pytest.raises(Refused) as caught:
        next(batches)
    assert caught.value.code == "batch_gap"


def test_a_row_of_another_width_is_named_by_its_number_in_all_batches() -> None:
    source = pushed([as_rows(made(3, 4), 1), as_rows([*made(3, 2), ["1"]], 2)], 3, lambda: True)
    with pytest.raises(Refused, match="Row 7 has 1 values; 3 columns are declared"):
        table(source)


def as_arrow(*batches: pa.RecordBatch, sequence: int) -> PushedBatch:
    """One message with all of them."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    content = sink.getvalue().to_pybytes()
    return PushedBatch(sequence, content, arrow=content)


def numbers(*values: int) -> pa.RecordBatch:
    return pa.record_batch({"c0": pa.array(values, pa.int64())})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (as_rows([["1"]], 1), as_rows([["2"]], 2)),
        (parsed([["1"]], 1), parsed([["2"]], 2)),
        (as_arrow(numbers(1), sequence=1), as_arrow(numbers(2), sequence=2)),
    ],
    ids=["rows", "cells", "arrow"],
)
@pytest.mark.parametrize("repeats", [True, False], ids=["a repeat", "an empty batch"])
def test_rows_that_arrived_do_not_wait_for_a_message_that_has_not(
    first: PushedBatch, second: PushedBatch, repeats: bool
) -> None:
    """Also where a message without new rows came after them."""
    sent: queue.Queue[PushedBatch | None] = queue.Queue()
    column = PushedColumn("c0", "number")
    source = PushedSource(
        [column],
        sent.get_nowait,  # raises instead of waiting
        lambda: None,
        ready=lambda: not sent.empty(),
    )
    for message in (first, second, second if repeats else PushedBatch(3, b"empty")):
        sent.put(message)
    batches = source.batches()
    assert next(batches).num_rows == 2
    sent.put(None)
    assert list(batches) == []


def test_a_batch_without_rows_is_no_record_batch() -> None:
    empty = PushedBatch(1, b"empty", cells=pa.array([], pa.string()))
    assert [batch.num_rows for batch in pushed([empty, parsed([["1"]], 2)], 1, lambda: True).batches()] == [1]


def test_only_small_record_batches_are_joined() -> None:
    """Others stay views of the message that brought them, as a copy takes memory and time."""
    wide = pa.record_batch({"c0": pa.array(["x" * (1 << 20)])})
    long = pa.record_batch({"c0": pa.array(["x"] * 300)})
    small = pa.record_batch({"c0": pa.array(["x"])})
    messages = [
        as_arrow(small, sequence=1),
        as_arrow(small, small, sequence=2),
        as_arrow(wide, small, wide, sequence=3),
        as_arrow(small, sequence=4),
        as_arrow(long, long, sequence=5),
    ]
    sent = iter(messages)
    source = PushedSource([PushedColumn("c0", "string")], lambda: next(sent, None), lambda: None, ready=lambda: True)
    memory = {}
    for message in messages:
        start = pa.py_buffer(message.arrow).address
        memory[message.sequence] = range(start, start + len(message.arrow))
    found = [
        (batch.num_rows, [n for n, bytes_of in memory.items() if batch.column(0).buffers()[2].address in bytes_of])
        for batch in source.batches()
    ]
    assert found == [(3, []), (1, [3]), (1, [3]), (1, [3]), (1, [4]), (300, [5]), (300, [5])]


ARROW_ROWS = 120
CUTS = {"rows": range(ARROW_ROWS + 1), "some": [0, 1, 40, 41, 117, 120], "one": [0, ARROW_ROWS]}


@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
def test_a_thousand_columns_of_arrow_come_as_they_were_sent(cuts: Sequence[int]) -> None:
    """As Arrow IPC over gRPC, whether or not all messages have arrived, as batches over Flight, and from memory; cut
    anywhere."""
    whole = wide_support.table(ARROW_ROWS)
    batches = [whole.slice(a, b - a).combine_chunks().to_batches()[0] for a, b in itertools.pairwise(cuts)]
    messages = [as_arrow(batch, sequence=number) for number, batch in enumerate(batches, 1)]
    sent, waiting, read = iter(messages), iter(messages), iter(batches)
    kinds: tuple[Kind, ...] = ("number", "number", "string", "date", "number", "string")
    declared = [PushedColumn(f"c{k}", kinds[k % 6]) for k in range(1000)]
    sources: list[Source] = [
        PushedSource(declared, lambda: next(sent, None), lambda: None, ready=lambda: True),
        PushedSource(declared, lambda: next(waiting, None), lambda: None),
        ReadSource(whole.schema, lambda: next(read, None), lambda: None, PushedOptions(batch_rows_max=100)),
        ArrowSource(whole),
        ArrowSource(iter(batches)),
    ]
    for source in sources:
        found = table(source)
        assert found.schema.types == whole.schema.types
        assert found.cast(whole.schema).equals(whole)
