"""Row packets built a batch at a time hold what a reader of one value at a time finds in them."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport_emulator import packets, wire
from fluxport_emulator.types import Layout
from fluxport_emulator.wire import Payload


def _payloads(data: bytes, sequence: int) -> Iterator[bytes]:
    """The payloads of whole packets; checks their sequence ids."""
    at, payload = 0, b""
    while at < len(data):
        length = int.from_bytes(data[at : at + 3], "little")
        assert data[at + 3] == sequence & 0xFF
        sequence += 1
        payload += data[at + 4 : at + 4 + length]
        at += 4 + length
        if length < wire.PAYLOAD_MAX:
            yield payload
            payload = b""


def _text_values(payload: bytes, columns: int) -> list[bytes | None]:
    packet = Payload(payload)
    values: list[bytes | None] = []
    for _ in range(columns):
        if packet.data[packet.at] == packets.NULL_MARK:
            packet.take(1)
            values.append(None)
        else:
            values.append(packet.lenenc_bytes())
    assert packet.left == 0
    return values


def _binary_values(payload: bytes, layouts: list[tuple[Layout, str]]) -> list[Any]:
    packet = Payload(payload)
    assert packet.integer(1) == 0
    bitmap = packet.take((len(layouts) + 9) // 8)
    values: list[Any] = []
    for index, (layout, code) in enumerate(layouts, 2):
        null = bitmap[index // 8] >> (index % 8) & 1
        values.append(None if null else _binary_value(packet, layout, code))
    assert packet.left == 0
    return values


def _binary_value(packet: Payload, layout: Layout, code: str) -> Any:
    if layout is Layout.FIXED:
        return struct.unpack("<" + code, packet.take(struct.calcsize("<" + code)))[0]
    if layout is Layout.BYTES:
        return packet.lenenc_bytes()
    line = packet.take(packet.integer(1))
    if layout is Layout.TIME:
        negative, days, hour, minute, second, micro = struct.unpack("<BIBBBI", line)
        assert (negative, days) == (0, 0)
        return dt.time(hour, minute, second, micro)
    fields = struct.unpack("<HBBBBBI", line.ljust(11, b"\0"))
    moment = dt.datetime(*fields)
    return moment.date() if layout is Layout.DATE else moment


_texts = st.one_of(st.none(), st.binary(max_size=5), st.binary(min_size=250, max_size=260))


@given(st.lists(st.tuples(_texts, _texts, _texts), min_size=1, max_size=30), st.integers(0, 255))
def test_text_rows_hold_every_value_and_null(rows: list[tuple[bytes | None, ...]], sequence: int) -> None:
    columns = [pa.array(column, pa.binary()) for column in zip(*rows, strict=True)]
    batch = pa.record_batch(columns, names=["a", "b", "c"])
    data, after = packets.text_rows(batch, sequence)
    found = [_text_values(payload, 3) for payload in _payloads(bytes(data), sequence)]
    assert found == [list(row) for row in rows]
    assert after == (sequence + len(rows)) & 0xFF


_KINDS: list[tuple[pa.DataType, Layout, str, st.SearchStrategy[Any]]] = [
    (pa.int8(), Layout.FIXED, "b", st.integers(-128, 127)),
    (pa.uint16(), Layout.FIXED, "H", st.integers(0, 65535)),
    (pa.int64(), Layout.FIXED, "q", st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), Layout.FIXED, "Q", st.integers(0, 2**64 - 1)),
    (pa.float64(), Layout.FIXED, "d", st.floats(allow_nan=False, allow_infinity=False)),
    (
        pa.timestamp("us"),
        Layout.DATETIME,
        "",
        st.datetimes(min_value=dt.datetime(1, 1, 1), max_value=dt.datetime(9999, 12, 31, 23, 59, 59, 999999)),
    ),
    (pa.date32(), Layout.DATE, "", st.dates()),
    (pa.time64("us"), Layout.TIME, "", st.times()),
    (pa.binary(), Layout.BYTES, "", st.one_of(st.binary(max_size=3), st.binary(min_size=251, max_size=255))),
]


@given(st.lists(st.tuples(*(st.one_of(st.none(), kind[3]) for kind in _KINDS)), min_size=1, max_size=20))
@settings(deadline=None)
def test_binary_rows_hold_every_value_and_null(rows: list[tuple[Any, ...]]) -> None:
    columns = [pa.array(column, kind[0]) for column, kind in zip(zip(*rows, strict=True), _KINDS, strict=True)]
    batch = pa.record_batch(columns, names=[str(index) for index in range(len(_KINDS))])
    data, _ = packets.binary_rows(batch, [kind[1] for kind in _KINDS], 7)
    shapes = [(kind[1], kind[2]) for kind in _KINDS]
    assert [_binary_values(payload, shapes) for payload in _payloads(bytes(data), 7)] == [list(row) for row in rows]


def test_whole_seconds_are_laid_out_without_a_fraction() -> None:
    batch = pa.record_batch([pa.array([dt.datetime(2020, 1, 1, 2, 3, 4)], pa.timestamp("us"))], names=["at"])
    data, _ = packets.binary_rows(batch, [Layout.DATETIME], 0)
    assert len(bytes(data)) == 4 + 2 + 8


@pytest.mark.parametrize("size", [65_535, 65_536, wire.PAYLOAD_MAX - 4, 2 * wire.PAYLOAD_MAX + 5])
def test_a_cell_of_any_size_arrives_whole_beside_small_rows(size: int) -> None:
    values = [b"before", b"x" * size, None, b"after"]
    batch = pa.record_batch([pa.array(values, pa.binary())], names=["a"])
    sequence, found = 3, []
    for part in packets.slices(batch):
        data, after = packets.text_rows(part, sequence)
        found += [_text_values(payload, 1)[0] for payload in _payloads(bytes(data), sequence)]
        sequence = after
    assert found == values


def test_a_slice_of_a_batch_is_laid_out_from_its_own_start() -> None:
    column = pa.array([None if n % 3 == 0 else str(n) for n in range(20)], pa.string())
    batch = pa.record_batch([column, pa.array(range(20), pa.int32())], names=["a", "n"]).slice(7, 5)
    data, _ = packets.binary_rows(batch, [Layout.BYTES, Layout.FIXED], 0)
    found = [_binary_values(p, [(Layout.BYTES, ""), (Layout.FIXED, "i")]) for p in _payloads(bytes(data), 0)]
    assert found == [[None if n % 3 == 0 else str(n).encode(), n] for n in range(7, 12)]


def test_slices_bound_what_is_laid_out_at_once() -> None:
    batch = pa.record_batch([pa.array(["x" * 100_000] * 100)], names=["a"])
    sizes = [part.num_rows for part in packets.slices(batch)]
    assert sum(sizes) == 100
    assert max(sizes) * 100_000 <= packets.CHUNK_BYTES
