"""Any bytes of a row become the values that a simple decoder reads, cell by cell, or an error."""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport.decimals import exact
from fluxport.errors import FluxportError
from fluxport.findings import Findings
from fluxport.sources.mysql import binary, text
from fluxport.sources.mysql.columns import Column, column
from fluxport.sources.mysql.definitions import BINARY_FLAG, UNSIGNED_FLAG, Definition, Type
from fluxport.sources.mysql.places import Context
from fluxport.sources.mysql.wire import lenenc
from fluxport.sources.wire.blocks import Block, Window
from fluxport.sources.wire.malformed import Malformed
from fluxport.sources.wire.receive import SLACK_BYTES

WIDTHS = {Type.TINY: 1, Type.SHORT: 2, Type.YEAR: 2, Type.INT24: 4, Type.LONG: 4, Type.LONGLONG: 8}
FLOATS = {Type.FLOAT: ("<f", 4), Type.DOUBLE: ("<d", 8)}
MOMENTS = (Type.DATE, Type.DATETIME, Type.TIMESTAMP)
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6}


class Wrong(Exception):
    """The bytes are not a row of these columns."""


# --- the plain decoder: values as Python has them, moments and times as counts of the column's unit


@dataclass
class Reader:
    """Takes bytes of a row from the front."""

    left: bytes

    def take(self, size: int) -> bytes:
        if size > len(self.left):
            raise Wrong
        taken, self.left = self.left[:size], self.left[size:]
        return taken

    def sized(self) -> bytes:
        first = self.take(1)[0]
        if first < 251:
            return self.take(first)
        if first not in (252, 253, 254):
            raise Wrong
        return self.take(int.from_bytes(self.take({252: 2, 253: 3, 254: 8}[first]), "little"))


def plain_binary(row: bytes, columns: list[Column], definitions: list[Definition]) -> list[Any]:
    reader = Reader(row)
    reader.take(1)
    nulls = int.from_bytes(reader.take((len(columns) + 9) // 8), "little") >> 2
    values = [
        None if nulls >> n & 1 else binary_cell(reader, *pair)
        for n, pair in enumerate(zip(columns, definitions, strict=True))
    ]
    if reader.left:
        raise Wrong
    return values


def binary_cell(reader: Reader, made: Column, d: Definition) -> Any:
    if d.code in WIDTHS:
        signed = not d.unsigned and d.code != Type.YEAR
        number = int.from_bytes(reader.take(WIDTHS[Type(d.code)]), "little", signed=signed)
        return bool(number) if made.kind == "bool" else number
    if d.code in FLOATS:
        form, size = FLOATS[Type(d.code)]
        return struct.unpack(form, reader.take(size))[0]
    if d.code in MOMENTS:
        body = reader.take(reader.take(1)[0])
        if len(body) not in ((0, 4) if d.code == Type.DATE else (0, 4, 7, 11)):
            raise Wrong
        year, month, day, *clock = struct.unpack("<HBBBBBI", body.ljust(11, b"\0"))
        return moment(made, (year, month, day), *clock)
    if d.code == Type.TIME:
        body = reader.take(reader.take(1)[0])
        if len(body) not in (0, 8, 12):
            raise Wrong
        negative, days, hours, *clock = struct.unpack("<BIBBBI", body.ljust(12, b"\0"))
        if negative > 1 or hours > 23:
            raise Wrong
        return duration(made, negative == 1, days * 24 + hours, *clock)
    if d.code == Type.NULL:
        raise Wrong
    return sized_cell(reader.sized(), made)


def plain_text(row: bytes, columns: list[Column], definitions: list[Definition]) -> list[Any]:
    reader = Reader(row)
    values: list[Any] = []
    for made, d in zip(columns, definitions, strict=True):
        if reader.left[:1] == b"\xfb":
            reader.take(1)
            values.append(None)
        else:
            values.append(text_cell(reader.sized(), made, d))
    if reader.left:
        raise Wrong
    return values


def text_cell(cell: bytes, made: Column, d: Definition) -> Any:
    if d.code in WIDTHS:
        number = int(number_of(cell, b"-0123456789"))
        if not pa.types.is_boolean(made.arrow):
            return number
        return bool(number)
    if d.code == Type.DOUBLE:
        return float(number_of(cell, b"+-.0123456789eEnaiftyNAIFTY"))
    if d.code == Type.FLOAT:
        return nearest_single(number_of(cell, b"+-.0123456789eE").decode())
    if d.code in MOMENTS or d.code == Type.TIME:
        return text_time(cell, made, d)
    if d.code == Type.NULL:
        raise Wrong
    return sized_cell(cell, made)


def number_of(cell: bytes, letters: bytes) -> bytes:
    if not cell or set(cell) - set(letters):
        raise Wrong
    return cell


def nearest_single(digits: str) -> float:
    exact, largest = Decimal(digits), np.finfo(np.float32).max
    if abs(exact) >= 2**128 - 2**103:  # half-way to the next power of two
        return math.copysign(math.inf, exact)
    near = np.float32(np.clip(float(digits), -largest, largest))
    with np.errstate(over="ignore"):  # beyond the largest
        around = [np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))]
    # Of two that are equally near, the one with an even last bit.
    finite = [c for c in around if np.isfinite(c)]
    return float(min(finite, key=lambda c: (abs(Decimal(float(c)) - exact), int(np.float32(c).view(np.uint32)) & 1)))


def text_time(cell: bytes, made: Column, d: Definition) -> Any:
    words = cell.decode("ascii", "strict")
    if d.code == Type.TIME:
        negative, words = words.startswith("-"), words.removeprefix("-")
        return duration(made, negative, *clock_of(words, hours_digits=(1, 4)))
    day, _, clock = words.partition(" ")
    parts = day.split("-")
    if [len(p) for p in parts] != [4, 2, 2] or ((d.code == Type.DATE) and clock):
        raise Wrong
    return moment(made, tuple(map(digits, parts)), *(clock_of(clock) if clock else (0, 0, 0, 0)))


def clock_of(words: str, hours_digits: tuple[int, int] = (2, 2)) -> tuple[int, int, int, int]:
    clock, point, fraction = words.partition(".")
    parts = clock.split(":")
    if len(parts) != 3 or not hours_digits[0] <= len(parts[0]) <= hours_digits[1] or (point and not fraction):
        raise Wrong
    if [len(p) for p in parts[1:]] != [2, 2] or len(fraction) > 6:
        raise Wrong
    hours, minutes, seconds = map(digits, parts)
    return hours, minutes, seconds, digits(fraction.ljust(6, "0"))


def digits(words: str) -> int:
    if not words.isascii() or not words.isdigit():
        raise Wrong
    return int(words)


def sized_cell(cell: bytes, made: Column) -> Any:
    match made.kind:
        case "decimal":
            return Decimal(cell.decode())
        case "text":
            return cell.decode(errors="replace")
        case "bytes":
            return cell
        case "bit":
            if len(cell) > 8:
                raise Wrong
            return int.from_bytes(cell, "big")
        case "bit_or_digits":
            return int(cell) if cell.isdigit() else int.from_bytes(cell, "big")
        case "geometry":
            return cell[4:].hex()
        case "hex":
            return cell.hex()
    raise AssertionError(made.kind)


def moment(made: Column, ymd: tuple[int, ...], hours: int, minutes: int, seconds: int, micros: int) -> int | None:
    if hours > 23 or minutes > 59 or seconds > 59 or micros > 999_999:
        raise Wrong
    year, month, day = ymd
    if not year or not month or not day:
        return None
    if month > 12 or year > 9999:
        raise Wrong
    try:
        days = date(year, month, day).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        return None
    if pa.types.is_date(made.arrow):
        return days
    return (
        ((days * 86_400 + hours * 3600 + minutes * 60 + seconds) * 10**6 + micros)
        * PER_SECOND[made.arrow.unit]
        // 10**6
    )


def duration(made: Column, negative: bool, hours: int, minutes: int, seconds: int, micros: int) -> int:
    if minutes > 59 or seconds > 59 or micros > 999_999:
        raise Wrong
    size = timedelta(hours=hours, minutes=minutes, seconds=seconds, microseconds=micros) // timedelta(microseconds=1)
    return (-size if negative else size) * PER_SECOND[made.arrow.unit] // 10**6


# --- rows: as a server sends them, with a few bytes that it would not send


SMALL = st.integers(0, 61) | st.integers(0, 255)


@functools.cache  # building a strategy takes longer than drawing from it
def binary_cells(code: int) -> st.SearchStrategy[bytes]:
    if code in WIDTHS:
        return st.binary(min_size=WIDTHS[Type(code)], max_size=WIDTHS[Type(code)])
    if code in FLOATS:
        return st.binary(min_size=FLOATS[Type(code)][1], max_size=FLOATS[Type(code)][1])
    micros = st.integers(0, 1_000_001).map(lambda n: struct.pack("<I", n))
    clock = st.tuples(st.integers(0, 25), SMALL, SMALL).map(bytes)
    if code in MOMENTS:
        year = (st.integers(1969, 2101) | st.integers(0, 10_001)).map(lambda n: struct.pack("<H", n))
        day = st.tuples(st.integers(0, 13), st.integers(0, 32)).map(bytes)
        whole = st.tuples(year, day, clock, micros).map(b"".join)
        return st.tuples(whole, st.sampled_from([0, 4, 7, 11, 5])).map(lambda t: bytes([t[1]]) + t[0][: t[1]])
    if code == Type.TIME:
        days = (st.integers(0, 35) | st.integers(0, 2**32 - 1)).map(lambda n: struct.pack("<I", n))
        whole = st.tuples(st.integers(0, 2).map(lambda n: bytes([n])), days, clock, micros).map(b"".join)
        return st.tuples(whole, st.sampled_from([0, 8, 12, 9])).map(lambda t: bytes([t[1]]) + t[0][: t[1]])
    if code == Type.NULL:
        return st.just(b"")
    return sized_cells(code)


def sized_cells(code: int) -> st.SearchStrategy[bytes]:
    if code == Type.NEWDECIMAL:
        body = st.from_regex(rb"\A[+-]?[0-9]{0,12}(\.[0-9]{0,6})?([eE][+-]?[0-9])?\Z")
    elif code == Type.BIT:
        body = st.binary(max_size=9) | st.integers(0, 40).map(lambda n: b"%d" % n)
    else:
        body = st.binary(max_size=12) | st.text(max_size=8).map(str.encode) | st.just(b"x" * 300)
    odd = st.sampled_from([b"\xfb", b"\xfc\x05\x00", b"\xfe\x05" + bytes(6) + b"\x80", b"\xff", b"\xfd\x05\x00\x00"])
    return body.map(lambda b: lenenc(len(b)) + b) | odd.map(lambda mark: mark + b"12345")


@functools.cache
def text_cells(code: int) -> st.SearchStrategy[bytes]:
    number = st.integers(-(2**64), 2**65).map(lambda n: b"%d" % n) | st.integers(-300, 300).map(lambda n: b"%d" % n)
    number |= st.sampled_from([b"0x1f", b"-0", b"007", b"1.0", b"", b"+5", b" 5", b"-"])
    pattern = {
        Type.DATE: rb"\A[0-2][0-9]{3}-[01][0-9][-x][0-3][0-9]\Z",
        Type.TIME: rb"\A-?[0-9]{1,3}:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,6})?\Z",
    }.get(Type(code), rb"\A[0-2][0-9]{3}-[01][0-9]-[0-3][0-9]( [0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,6})?)?\Z")
    if code in WIDTHS:
        body = number
    elif code in FLOATS:
        body = st.floats().map(lambda f: repr(f).encode()) | number
    elif code in MOMENTS or code == Type.TIME:
        body = st.from_regex(pattern)
    elif code == Type.NULL:
        return st.just(b"\xfb")
    else:
        return sized_cells(code)
    return body.map(lambda b: lenenc(len(b)) + b)


DEFINITIONS = st.builds(
    Definition,
    name=st.just("v"),
    charset=st.sampled_from([45, 63]),
    length=st.sampled_from([1, 4, 5, 12, 20]),
    code=st.sampled_from([
        *WIDTHS, *FLOATS, *MOMENTS, Type.TIME, Type.NULL, Type.NEWDECIMAL, Type.BIT, Type.VAR_STRING, Type.BLOB,
        Type.GEOMETRY, Type.JSON, Type.ENUM,
    ]).map(int),
    flags=st.sampled_from([0, UNSIGNED_FLAG, BINARY_FLAG, BINARY_FLAG | UNSIGNED_FLAG]),
    decimals=st.sampled_from([0, 2, 3, 6, 31]),
    extended=st.just({}),
)  # fmt: skip

Cells = Callable[[int], st.SearchStrategy[bytes]]


@st.composite
def cases(draw: st.DrawFn, cells: Cells, *, bitmap: bool) -> tuple[list[Definition], list[Column], list[bytes]]:
    kinds = draw(st.lists(DEFINITIONS, min_size=1, max_size=3))
    definitions = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=6))  # some columns are read together
    settings = {name: draw(st.booleans()) for name in ("mariadb", "tinyint1_bool", "decimal_text")}
    try:
        columns = [column(d, **settings) for d in definitions]
    except FluxportError:
        return [], [], []
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        nulls, row = 0, b""
        for index, d in enumerate(definitions):
            if draw(st.integers(0, 4)) == 0 or (bitmap and d.code == Type.NULL):
                nulls |= 1 << (index + 2)
                row += b"" if bitmap else b"\xfb"
            else:
                row += draw(cells(d.code))
        if bitmap:
            row = b"\0" + nulls.to_bytes((len(definitions) + 9) // 8, "little") + row
        if draw(st.integers(0, 5)) == 0:
            at = draw(st.integers(1, max(1, len(row) - 1)))
            row = row[:at] + draw(st.binary(max_size=2)) + row[at + draw(st.integers(0, 2)) :]
        rows.append(row or b"\0")
    return definitions, columns, rows


def block_of(rows: list[bytes]) -> Block:
    memory, starts, ends = bytearray(), [], []
    for row in rows:
        memory += len(row).to_bytes(3, "little") + b"\0"
        starts.append(len(memory))
        memory += row
        ends.append(len(memory))
    return Block(Window(memory + b"\xaa" * SLACK_BYTES), np.array(starts), np.array(ends), 1)


def shown(array: pa.Array) -> list[Any]:
    array = exact(array)
    if pa.types.is_date(array.type):
        array = array.cast(pa.int32())
    elif pa.types.is_temporal(array.type):
        array = array.cast(pa.int64())
    values: list[Any] = array.to_pylist()
    return values


def same(ours: Any, plain: Any) -> bool:
    if isinstance(ours, float) and isinstance(plain, float):
        return struct.pack("<d", ours) == struct.pack("<d", plain) or (ours != ours and plain != plain)
    return bool(ours == plain)


def check(
    case: tuple[list[Definition], list[Column], list[bytes]],
    decode: Callable[[Block, Context], list[pa.Array]],
    plain: Callable[[bytes, list[Column], list[Definition]], list[Any]],
) -> None:
    definitions, columns, rows = case
    wide = set(range(len(rows) % 2, len(columns), 2))  # columns that had long cells in an earlier block
    context = Context(columns, Findings(), 1 << 20, wide)
    try:
        arrays = decode(block_of(rows), context) if columns else []
    except (FluxportError, Malformed, IndexError):
        return
    found = [shown(array) for array in arrays]
    for array, made in zip(arrays, columns, strict=True):
        array.validate(full=True)
        assert array.type == made.arrow
    for number, row in enumerate(rows):
        expected = plain(row, columns, definitions)
        assert all(same(cells[number], value) for cells, value in zip(found, expected, strict=True)), (found, expected)


@settings(max_examples=1000, deadline=None)
@given(cases(binary_cells, bitmap=True))
def test_rows_of_the_binary_protocol(case: tuple[list[Definition], list[Column], list[bytes]]) -> None:
    check(case, binary.decode, plain_binary)


@settings(max_examples=1000, deadline=None)
@given(cases(text_cells, bitmap=False))
def test_rows_of_the_text_protocol(case: tuple[list[Definition], list[Column], list[bytes]]) -> None:
    check(case, text.decode, plain_text)
