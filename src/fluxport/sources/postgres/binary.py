"""Decodes rows of COPY's binary form, a column of a whole block at a time.

Integers, floats, dates and times are big-endian numbers of fixed width: one gather from the buffer. Dates and times
count from 2000-01-01; the largest and the least number are infinities.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from fluxport.arrow_strings import fixed_width_text
from fluxport.findings import Findings
from fluxport.sources.postgres import numeric
from fluxport.sources.postgres.columns import Column
from fluxport.sources.postgres.places import Context, places
from fluxport.sources.wire import cells
from fluxport.sources.wire.blocks import Block, Numbers
from fluxport.sources.wire.cells import Cells, bitmap, fixed, to_bytes, to_text
from fluxport.sources.wire.malformed import Malformed

DAYS_TO_2000 = 10_957  # from 1970
MICROS_TO_2000 = DAYS_TO_2000 * 86_400_000_000
MICROS_PER_DAY = 86_400_000_000
MICROS_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}
JSONB_VERSION = 1


def decode(block: Block, context: Context, findings: Findings) -> list[pa.Array]:
    """One array per column; Malformed or IndexError if the rows do not match the columns, TooMuchText if the block
    should be halved. ``findings`` are counted only when the block is decoded."""
    found, counted = places(block, context), Findings()
    arrays = cells.arrays(block, found, context.columns, context.alike, counted, CONVERTERS)
    findings.merge(counted)
    return arrays


def _gathered(group: Cells[Column]) -> Numbers:
    """The cells as unsigned numbers in the machine's byte order, 0 where null."""
    width = group.column.width
    values = group.block.window.numbers[width][group.at].astype(f"u{width}", copy=False)
    if group.valid is not None:
        values = values * group.valid
    return values


def _number(group: Cells[Column]) -> pa.Array:
    return fixed(group.column.arrow, _gathered(group), group.valid)


def _bool(group: Cells[Column]) -> pa.Array:
    values = _gathered(group)
    if values.max(initial=0) > 1:
        raise Malformed
    bits = pa.py_buffer(np.packbits(values, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [bitmap(group.valid), bits])


def _finite(group: Cells[Column], values: Numbers) -> Cells[Column]:
    """The cells without infinities, which are counted."""
    limits = np.iinfo(values.dtype)
    if not len(values) or (values.max() != limits.max and values.min() != limits.min):
        return group
    return group.without("infinity_null", (values != limits.max) & (values != limits.min))


def _date(group: Cells[Column]) -> pa.Array:
    days = _gathered(group).view(np.int32)
    group = _finite(group, days)
    if days.max(initial=0) > np.iinfo(np.int32).max - DAYS_TO_2000:
        _checked(group, days <= np.iinfo(np.int32).max - DAYS_TO_2000)
    return fixed(pa.date32(), days + np.int32(DAYS_TO_2000), group.valid)


def _timestamp(group: Cells[Column]) -> pa.Array:
    """Timestamps in the unit of the column; those after the last that 64 bits of it hold become null."""
    kind = group.column.arrow
    micros = _gathered(group).view(np.int64)
    group = _finite(group, micros)
    per_unit = MICROS_PER_UNIT[kind.unit]
    if per_unit > 1:
        return fixed(kind, micros // per_unit + MICROS_TO_2000 // per_unit, group.valid)
    if micros.max(initial=0) > np.iinfo(np.int64).max - MICROS_TO_2000:
        group = group.without("far_time_null", micros <= np.iinfo(np.int64).max - MICROS_TO_2000)
    return fixed(kind, micros + MICROS_TO_2000, group.valid)


def _checked(group: Cells[Column], possible: Numbers) -> None:
    """Malformed if a cell that is not null is not ``possible``."""
    if not (possible if group.valid is None else possible | ~group.valid).all():
        raise Malformed


def _time(group: Cells[Column]) -> pa.Array:
    kind = group.column.arrow
    micros = _gathered(group)
    if micros.max(initial=0) > MICROS_PER_DAY:
        raise Malformed
    return fixed(kind, micros // np.uint64(MICROS_PER_UNIT[kind.unit]), group.valid)


_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)
_UUID_GROUPS = ((0, 4), (4, 6), (6, 8), (8, 10), (10, 16))  # of its 16 bytes, with a dash between


def _uuid(group: Cells[Column]) -> pa.Array:
    digits = _HEX[group.block.window.bytes[group.at[:, None] + np.arange(16)]].view(np.uint8)
    texts = np.full((len(group), 36), ord("-"), np.uint8)
    for dashes, (start, stop) in enumerate(_UUID_GROUPS):
        texts[:, 2 * start + dashes : 2 * stop + dashes] = digits[:, 2 * start : 2 * stop]
    return cells.with_type(group, fixed_width_text(texts), pa.utf8())


def _jsonb(group: Cells[Column]) -> pa.Array:
    versioned = group.sizes > 0
    _checked(group, versioned & (group.block.window.bytes[group.at] == JSONB_VERSION))
    return to_text(replace(group, at=group.at + versioned, sizes=group.sizes - versioned))


CONVERTERS: dict[str, cells.Convert[Column]] = {
    "integer": _number,
    "float": _number,
    "bool": _bool,
    "date": _date,
    "timestamp": _timestamp,
    "time": _time,
    "uuid": _uuid,
    "jsonb": _jsonb,
    "text": to_text,
    "bytes": to_bytes,
    "numeric": numeric.to_number,
}
