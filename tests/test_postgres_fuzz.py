"""Any bytes of a row become the values that a simple decoder reads, or an error."""

from __future__ import annotations

import json
import struct
from decimal import ROUND_DOWN, Decimal, localcontext
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport.decimals import exact
from fluxport.errors import Broken
from fluxport.findings import Findings
from fluxport.sources.postgres.binary import decode
from fluxport.sources.postgres.columns import Column, column
from fluxport.sources.postgres.places import Context
from fluxport.sources.wire.blocks import Block, Window
from fluxport.sources.wire.malformed import Malformed
from fluxport.sources.wire.receive import SLACK_BYTES

BOOL, BYTEA, INT8, INT2, INT4, TEXT, OID, FLOAT4, FLOAT8 = 16, 17, 20, 21, 23, 25, 26, 700, 701
DATE, TIME, TIMESTAMP, TIMESTAMPTZ, NUMERIC, UUID, JSONB = 1082, 1083, 1114, 1184, 1700, 2950, 3802
TEXT_SENDER = 2415
NUMERIC_9_2, NUMERIC_30_10 = (9 << 16 | 2) + 4, (30 << 16 | 10) + 4
KINDS: list[tuple[int, int]] = [
    (BOOL, -1), (BYTEA, -1), (INT2, -1), (INT4, -1), (INT8, -1), (OID, -1), (FLOAT4, -1), (FLOAT8, -1), (TEXT, -1),
    (DATE, -1), (TIME, -1), (TIME, 0), (TIMESTAMP, -1), (TIMESTAMP, 3), (TIMESTAMPTZ, 0), (UUID, -1), (JSONB, -1),
    (NUMERIC, -1), (NUMERIC, NUMERIC_9_2), (NUMERIC, NUMERIC_30_10),
]  # fmt: skip
FIXED = {BOOL: "?", INT2: ">h", INT4: ">i", INT8: ">q", OID: ">I", FLOAT4: ">f", FLOAT8: ">d"}
COUNTED = {DATE: ">i", TIME: ">q", TIMESTAMP: ">q", TIMESTAMPTZ: ">q"}
PER_UNIT = {"s": 10**6, "ms": 1000, "us": 1}
DAYS_1970_TO_2000 = 10_957


class Wrong(Exception):
    """The bytes are not a value of the type."""


def plain(cell: bytes, oid: int, made: Column) -> Any:
    if oid in FIXED:
        if len(cell) != struct.calcsize(FIXED[oid]) or (oid == BOOL and cell[0] > 1):
            raise Wrong
        return struct.unpack(FIXED[oid], cell)[0]
    if oid in COUNTED:
        return _counted(cell, oid, made)
    if oid == UUID:
        if len(cell) != 16:
            raise Wrong
        digits = cell.hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    if oid == NUMERIC:
        return _numeric(cell, made)
    if oid == JSONB:
        if cell[:1] != b"\1":
            raise Wrong
        cell = cell[1:]
    return cell if oid == BYTEA else cell.decode(errors="replace")


def _counted(cell: bytes, oid: int, made: Column) -> int | None:
    if len(cell) != struct.calcsize(COUNTED[oid]):
        raise Wrong
    count = int(struct.unpack(COUNTED[oid], cell)[0])
    bits = 8 * len(cell) - 1
    if oid == TIME:
        if not 0 <= count <= 86_400 * 10**6:
            raise Wrong
        return count // PER_UNIT[made.arrow.unit]
    if count in (-(2**bits), 2**bits - 1):
        return None
    if oid == DATE:
        if count + DAYS_1970_TO_2000 >= 2**31:
            raise Wrong
        return count + DAYS_1970_TO_2000
    micros = count + DAYS_1970_TO_2000 * 86_400 * 10**6
    found = micros // PER_UNIT[made.arrow.unit]
    return None if found >= 2**63 else found


def _numeric(cell: bytes, made: Column) -> Any:
    if len(cell) < 8:
        raise Wrong
    count, weight, sign, scale = struct.unpack(">HhHH", cell[:8])
    if len(cell) != 8 + 2 * count or scale > 0x3FFF or sign not in (0, 0x4000, 0xC000, 0xD000, 0xF000):
        raise Wrong
    digits = struct.unpack(f">{count}H", cell[8:])
    if digits and max(digits) >= 10_000:
        raise Wrong
    declared = not pa.types.is_string(made.arrow)
    if sign >= 0xC000:
        return None if declared else {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}[sign]
    with localcontext() as context:
        context.prec = 200_000
        total = sum((Decimal(digit) * Decimal(10_000) ** (weight - n) for n, digit in enumerate(digits)), Decimal(0))
        total = -total if sign else total
        # The server prints the digits to the scale, and does not round by those that should not be behind it.
        return total if declared else f"{total.quantize(Decimal(1).scaleb(-scale), ROUND_DOWN):f}"


def numerics(oid_modifier: int) -> st.SearchStrategy[bytes]:
    """As the server sends them: no zeros at the ends, nothing beyond the scale."""
    places = {NUMERIC_9_2: (7, 2), NUMERIC_30_10: (20, 10)}.get(oid_modifier, (30, 30))

    def encoded(value: Decimal, scale: int) -> bytes:
        scale = scale if oid_modifier == -1 else places[1]
        sign, text = value < 0, f"{abs(value):.{scale}f}"
        whole, _, fraction = text.partition(".")
        whole = whole.zfill(-(-len(whole) // 4) * 4)
        fraction = fraction.ljust(-(-len(fraction) // 4) * 4, "0")
        groups = [int((whole + fraction)[at : at + 4]) for at in range(0, len(whole + fraction), 4)]
        weight = len(whole) // 4 - 1
        while groups and groups[0] == 0:
            groups.pop(0)
            weight -= 1
        while groups and groups[-1] == 0:
            groups.pop()
        head = struct.pack(">HhHH", len(groups), weight if groups else 0, 0x4000 if sign and groups else 0, scale)
        return head + struct.pack(f">{len(groups)}H", *groups)

    bound = Decimal(10) ** places[0] - 1
    values = st.integers(0, places[1]).flatmap(
        lambda scale: st.decimals(-bound, bound, places=scale, allow_nan=False, allow_infinity=False).map(
            lambda value: encoded(value, scale)
        )
    )
    return values | st.sampled_from([struct.pack(">HhHH", 0, 0, sign, 0) for sign in (0xC000, 0xD000, 0xF000)])


def cells(oid: int, modifier: int) -> st.SearchStrategy[bytes]:
    """What the server sends."""
    if oid in FIXED or oid in COUNTED:
        size = struct.calcsize(FIXED.get(oid) or COUNTED[oid])
        if oid == BOOL:
            return st.sampled_from([b"\0", b"\1"])
        if oid == TIME:
            return st.integers(0, 86_400 * 10**6).map(lambda v: v.to_bytes(8, "big"))
        ends = st.sampled_from([2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 0]).map(lambda v: v.to_bytes(size, "big"))
        years = st.integers(-(10**5), 10**5).map(lambda v: (v % 2 ** (8 * size)).to_bytes(size, "big"))
        return (
            st.binary(min_size=size, max_size=size) | years
            if oid == DATE
            else ends | years | st.binary(min_size=size, max_size=size)
        )
    if oid == UUID:
        return st.binary(min_size=16, max_size=16)
    if oid == NUMERIC:
        return numerics(modifier)
    if oid == JSONB:
        return st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=4).map(
            lambda v: b"\1" + json.dumps(v, ensure_ascii=False).encode(errors="replace")
        )
    return st.binary(max_size=300) if oid == BYTEA else st.text(max_size=90).map(lambda v: v.encode(errors="replace"))


Row = list[bytes | None]


@st.composite
def blocks(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[Row]]:
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5))
    with_nulls = [draw(st.booleans()) for _ in kinds]
    rows = [
        [
            None if null and draw(st.booleans()) else draw(cells(*kind))
            for kind, null in zip(kinds, with_nulls, strict=True)
        ]
        for _ in range(draw(st.integers(1, 6)))
    ]
    return kinds, rows


def sent(row: Row) -> bytes:
    sized = (b"\xff\xff\xff\xff" if cell is None else len(cell).to_bytes(4, "big") + cell for cell in row)
    return len(row).to_bytes(2, "big") + b"".join(sized)


def received(payload: bytes, columns: int) -> Row:
    at, row = 2, Row()
    for _ in range(columns):
        if len(payload) < at + 4:
            raise Wrong
        size = int.from_bytes(payload[at : at + 4], "big", signed=True)
        at += 4
        if size < -1 or at + max(size, 0) > len(payload):
            raise Wrong
        row.append(None if size < 0 else payload[at : at + size])
        at += max(size, 0)
    if at != len(payload):
        raise Wrong
    return row


def decoded(payloads: list[bytes], made: list[Column]) -> list[list[Any]]:
    memory = b"".join(payloads) + bytes(SLACK_BYTES)
    ends = np.cumsum([len(payload) for payload in payloads]).astype(np.int64)
    starts = np.append(0, ends[:-1])
    arrays = decode(Block(Window(memory, ">"), starts, ends, 1), Context(made), Findings())
    for array in arrays:
        array.validate(full=True)
    return [shown(exact(array)) for array in arrays]


def shown(array: pa.Array) -> list[Any]:
    if pa.types.is_date(array.type):
        array = array.cast(pa.int32())
    elif pa.types.is_temporal(array.type):
        array = array.cast(pa.int64())
    values: list[Any] = array.to_pylist()
    return values


def same(found: Any, expected: Any) -> bool:
    return bool(found == expected or (found != found and expected != expected))


def columns_of(kinds: list[tuple[int, int]], *, decimal_text: bool = False) -> list[Column]:
    return [
        column(f"c{n}", oid, modifier, "type", TEXT_SENDER if oid == TEXT else 0, decimal_text=decimal_text)
        for n, (oid, modifier) in enumerate(kinds)
    ]


@settings(max_examples=150, deadline=None)
@given(blocks(), st.booleans())
def test_rows_that_a_server_sends(block: tuple[list[tuple[int, int]], list[Row]], decimal_text: bool) -> None:
    kinds, rows = block
    made = columns_of(kinds, decimal_text=decimal_text)
    expected = [
        [None if row[n] is None else _plain_or_none(row[n] or b"", kinds[n][0], made[n]) for row in rows]
        for n in range(len(kinds))
    ]
    if any(value is Wrong for values in expected for value in values):  # a date that no server has
        return
    found = decoded([sent(row) for row in rows], made)
    for left, right in zip(found, expected, strict=True):
        assert all(same(a, b) for a, b in zip(left, right, strict=True)), (left, right)


def _plain_or_none(cell: bytes, oid: int, made: Column) -> Any:
    try:
        return plain(cell, oid, made)
    except Wrong:
        return Wrong


@settings(max_examples=250, deadline=None)
@given(blocks(), st.data())
def test_damaged_rows_are_read_as_they_are_or_refused(
    block: tuple[list[tuple[int, int]], list[Row]], data: st.DataObject
) -> None:
    kinds, rows = block
    made = columns_of(kinds)
    payloads = [sent(row) for row in rows]
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, len(payloads) - 1))
        at = data.draw(st.integers(2, len(payloads[row]) - 1))
        changed = bytearray(payloads[row])
        changed[at] = data.draw(st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 0x7F, 0x80, 0xFF]))
        payloads[row] = bytes(changed)
    try:
        found = decoded(payloads, made)
    except (Malformed, IndexError, Broken):
        return
    cells_of = [received(payload, len(kinds)) for payload in payloads]
    for n, values in enumerate(found):
        expected = [None if row[n] is None else plain(row[n] or b"", kinds[n][0], made[n]) for row in cells_of]
        assert all(same(a, b) for a, b in zip(values, expected, strict=True)), (values, expected)


def test_a_column_without_nulls_that_gets_one() -> None:
    """All columns are located again, and those without NULLs are still known."""
    made = columns_of([(INT4, -1), (TEXT, -1), (INT8, -1)])
    context = Context(made)
    rows: list[tuple[Row, list[Any]]] = [
        ([b"\0\0\0\7", b"a", bytes(8)], [7, "a", 0]),
        ([None, b"\0" * 4, bytes(8)], [None, "\0\0\0\0", 0]),
        ([b"\0\0\0\7", b"a", bytes(8)], [7, "a", 0]),
    ]
    for row, expected in rows:
        payload = sent(row)
        window = Window(payload + bytes(SLACK_BYTES), ">")
        arrays = decode(Block(window, np.array([0]), np.array([len(payload)]), 1), context, Findings())
        assert [array.to_pylist()[0] for array in arrays] == expected
    assert context.nullable == {0}


@pytest.mark.parametrize("payload", [b"", b"\0\1", b"\0\1\0\0\0\5x", sent([b"abc"]) + b"x", b"\0\1\xff\xff\xff\xfe"])
def test_rows_that_do_not_match_are_refused(payload: bytes) -> None:
    with pytest.raises((Malformed, IndexError)):
        decoded([payload], columns_of([(TEXT, -1)]))
