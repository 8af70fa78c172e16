"""Any line of COPY becomes the values that a simple decoder reads, or an error."""

from __future__ import annotations

import csv
import functools
import io
import re
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport.errors import FluxportError
from fluxport.findings import Findings
from fluxport.sources.postgres.columns import (
    BOOL,
    BYTEA,
    DATE,
    FLOAT8,
    INT2,
    INT4,
    INT8,
    NUMERIC,
    OID,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    Column,
    Decoder,
    column,
)  # fmt: skip

NUMERIC_12_3 = (12 << 16 | 3) + 4
KINDS: list[tuple[int, int]] = [
    (BOOL, -1), (BYTEA, -1), (DATE, -1), (FLOAT8, -1), (INT2, -1), (INT4, -1), (INT8, -1), (OID, -1), (TEXT, -1),
    (NUMERIC, NUMERIC_12_3), (TIME, -1), (TIME, 0), (TIMESTAMP, -1), (TIMESTAMP, 3), (TIMESTAMPTZ, -1),
]  # fmt: skip
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6}
RANGES = {INT2: (-(2**15), 2**15 - 1), INT4: (-(2**31), 2**31 - 1), INT8: (-(2**63), 2**63 - 1), OID: (0, 2**32 - 1)}
CLOCK = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?")
EMPTIED = {"infinity", "-infinity", "Infinity", "-Infinity", "NaN"}  # what Arrow has no value for


class Wrong(Exception):
    """The text is not a value of the type."""


def plain(text: str, oid: int, made: Column) -> Any:
    if oid in RANGES:
        low, high = RANGES[oid]
        if not re.fullmatch(r" ?-?\d+ ?", text) or not low <= int(text) <= high:
            raise Wrong
        return int(text)
    if oid == BOOL:
        if text not in ("t", "f"):
            raise Wrong
        return text == "t"
    if oid == BYTEA:
        if not re.fullmatch(r"\\x([0-9a-f]{2})*", text):
            raise Wrong
        return bytes.fromhex(text[2:])
    if oid == NUMERIC:
        return None if text in EMPTIED else _decimal(text)
    if oid == FLOAT8:
        return float(text)
    if oid == TEXT:
        return text
    if oid == TIME:
        return _clock(text) * PER_SECOND[made.arrow.unit] // 10**6
    return None if text in EMPTIED else _moment(text, oid, made)


def _decimal(text: str) -> Decimal:
    text = text.strip()
    try:
        found = Decimal(text)
    except InvalidOperation:
        raise Wrong from None
    if not re.fullmatch(r"[-+]?[0-9.]+([eE][-+]?\d+)?", text) or found != round(found, 3) or abs(found) >= 10**9:
        raise Wrong
    return found


def _clock(text: str) -> int:
    found = CLOCK.fullmatch(text)
    if found is None:
        raise Wrong
    hours, minutes, seconds = (int(part) for part in found.groups()[:3])
    micros = int((found[4] or "").ljust(6, "0"))
    size = (hours * 3600 + minutes * 60 + seconds) * 10**6 + micros
    if minutes > 59 or seconds > 59 or size > 86_400 * 10**6:
        raise Wrong
    return size


def _moment(text: str, oid: int, made: Column) -> int:
    day, _, clock = text.partition(" ")
    if oid == TIMESTAMPTZ:
        clock, zone = clock[:-3], clock[-3:]
        if zone != "+00":
            raise Wrong
    year, month, rest = day.split("-")
    days = date(int(year), int(month), int(rest)).toordinal() - date(1970, 1, 1).toordinal()
    if oid == DATE:
        return days
    at = _clock(clock)
    if at == 86_400 * 10**6:
        raise Wrong
    return (days * 86_400 * 10**6 + at) * PER_SECOND[made.arrow.unit] // 10**6


@functools.cache  # building a strategy takes longer than drawing from it
def texts(oid: int) -> st.SearchStrategy[str]:
    """Mostly what the server writes, with things that it does not."""
    clock = r"[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,7})?"
    of_day = clock.replace("[0-2][0-9]", "[01][0-9]", 1)
    day = r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]"
    pattern = {
        BOOL: r"[tfTy1]",
        BYTEA: r"\\x([0-9a-f]{2}){0,3}[0-9a-g]?",
        DATE: day,
        FLOAT8: r"-?[0-9]{1,20}(\.[0-9]{0,17})?(e[-+]?[0-9]{1,3})?",
        NUMERIC: r"-?[0-9]{0,9}(\.[0-9]{0,4})?",
        TIME: clock,
        TIMESTAMP: f"{day} {of_day}",
        TIMESTAMPTZ: rf"{day} {of_day}\+00",
        TEXT: r"[a-zé\n,\"\\]{0,6}",
    }.get(oid, r"-?[0-9]{1,21}|1\.0|\+5")
    common = st.sampled_from(["infinity", "-infinity", "NaN", "Infinity", " 5", "5 ", "x"])
    return (st.from_regex(rf"\A(?:{pattern})\Z") | (common if oid != TEXT else st.text("ab", min_size=1))).filter(bool)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[list[str | None]]]:
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    rows = [
        [None if len(kinds) > 1 and draw(st.booleans()) else draw(texts(oid)) for oid, _ in kinds]
        for _ in range(draw(st.integers(1, 4)))
    ]
    return kinds, rows


def shown(array: pa.Array) -> list[Any]:
    if pa.types.is_date(array.type):
        array = array.cast(pa.int32())
    elif pa.types.is_temporal(array.type):
        array = array.cast(pa.int64())
    values: list[Any] = array.to_pylist()
    return values


@settings(max_examples=400, deadline=None)
@given(cases())
def test_lines_of_copy(case: tuple[list[tuple[int, int]], list[list[str | None]]]) -> None:
    kinds, rows = case
    columns = [column(f"c{n}", oid, modifier, "type") for n, (oid, modifier) in enumerate(kinds)]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_MINIMAL).writerows(rows)
    try:
        batch = Decoder(columns, Findings()).batch(out.getvalue().encode())
    except FluxportError:
        return
    batch.validate(full=True)
    assert batch.num_rows == len(rows)
    for index, ((oid, _), made) in enumerate(zip(kinds, columns, strict=True)):
        found = shown(batch.column(index))
        expected = [None if row[index] is None else plain(str(row[index]), oid, made) for row in rows]
        assert all(a == b or (a != a and b != b) for a, b in zip(found, expected, strict=True)), (found, expected)


def test_columns_without_a_value_are_accepted() -> None:
    columns = [column(f"c{n}", oid, modifier, "type") for n, (oid, modifier) in enumerate(KINDS)]
    batch = Decoder(columns, Findings()).batch(b"," * (len(KINDS) - 1) + b"\n")
    assert [batch.column(n).null_count for n in range(len(KINDS))] == [1] * len(KINDS)
