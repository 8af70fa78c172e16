"""Parses batches of records without building message objects, several times faster.

::

    12 len | 0a len [0a n value 0a n value ..] | 0a len [0a n value ..] | .. | 10 sequence
    batch    record  column 0   column 1         record                        batch_sequence

Records are located one by one, since each length gives the start of the next. In MANY_RECORDS and more the values of a
column are then located at once, in fewer one by one. Anything but this plain case (unknown fields, rows of another
width, damage) is left to protobuf's own parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.varints import varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Field number and wire type: ExportRequest.batch, DataBatch.records and Record.values, DataBatch.batch_sequence.
BATCH, RECORD, VALUE, SEQUENCE = 0x12, 0x0A, 0x0A, 0x10
MANY_RECORDS = 24


def cells(message: bytes, width: int) -> tuple[int, pa.StringArray] | None:
    """``batch_sequence`` and the values of an ExportRequest, ``width`` of each record, one record after the other; None
    if protobuf must parse it."""
    try:
        records = _records(message)
        if records is None or not records[1]:
            return None
        sequence, begins, ends = records
        data = np.frombuffer(message, np.uint8)
        located = _by_column if len(begins) >= MANY_RECORDS else _by_record
        found = located(message, data, begins, ends, width)
        return None if found is None else (sequence, _texts(message, *found))
    except (IndexError, pa.ArrowInvalid):
        return None


def _records(message: bytes) -> tuple[int, list[int], list[int]] | None:
    """The sequence number, and the start and end of each record."""
    if message[0] != BATCH:
        return None
    size, at = varint(message, 1)
    end = len(message)
    if at + size != end:
        return None
    sequence = 0
    begins: list[int] = []
    ends: list[int] = []
    while at < end:
        tag = message[at]
        if tag == RECORD:
            size = message[at + 1]
            at += 2
            if size > 127:
                size, at = varint(message, at - 1)
            begins.append(at)
            at += size
            ends.append(at)
        elif tag == SEQUENCE:
            sequence, at = varint(message, at + 1)
            if sequence >> 63:
                return None  # a negative number
        else:
            return None
    return (sequence, begins, ends) if at == end else None


Located = tuple["NDArray[np.int64]", "NDArray[np.int64]"]  # where each value begins, and its length


def _by_column(
    message: bytes, data: NDArray[np.uint8], begins: list[int], ends: list[int], width: int
) -> Located | None:
    # Each value is first taken to have a length of one byte: the records then end where they should.
    # ``before`` is where each value's tag is, less two bytes for each column before it.
    before = np.empty((width + 1, len(begins)), np.int64)
    before[0] = begins
    for column in range(width):
        lengths = data[2 * column + 1 :].take(before[column], mode="clip")  # found out below if outside
        np.add(before[column], lengths, out=before[column + 1])
    if not np.array_equal(before[width] + 2 * width, ends):
        return _with_long(message, data, begins, ends, width)
    tags = (before[:width] + 2 * np.arange(width)[:, None]).T.ravel()
    sizes = data[tags + 1].astype(np.int64)
    if sizes.max() > 127:
        return _with_long(message, data, begins, ends, width)
    return (tags + 2, sizes) if (data[tags] == VALUE).all() else None


def _with_long(
    message: bytes, data: NDArray[np.uint8], begins: list[int], ends: list[int], width: int
) -> Located | None:
    """As :func:`_by_column`, also with long values."""
    at, end = np.array(begins), np.array(ends)
    starts = np.empty((len(begins), width), np.int64)
    sizes = np.empty_like(starts)
    for column in range(width):
        if (at + 1 >= end).any() or (data[at] != VALUE).any():
            return None
        lengths = data[at + 1].astype(np.int64)
        start = at + 2
        for row in np.flatnonzero(lengths > 127).tolist():
            lengths[row], start[row] = varint(message, int(at[row]) + 1)
        starts[:, column], sizes[:, column] = start, lengths
        at = start + lengths
        if (at > end).any():
            return None
    return (starts.ravel(), sizes.ravel()) if (at == end).all() else None


def _by_record(
    message: bytes, data: NDArray[np.uint8], begins: list[int], ends: list[int], width: int
) -> Located | None:
    tags: list[int] = []
    append = tags.append
    try:
        for begin, end in zip(begins, ends, strict=True):
            at = begin
            for _ in range(width):
                append(at)
                at += message[at + 1] + 2
            if at != end:  # if one value is long, the others are not where this looks for them
                return _one_by_one(message, begins, ends, width)
    except IndexError:
        return _one_by_one(message, begins, ends, width)
    at_tags = np.array(tags)
    sizes = data[at_tags + 1].astype(np.int64)
    if (sizes > 127).any():
        return _one_by_one(message, begins, ends, width)
    return (at_tags + 2, sizes) if (data[at_tags] == VALUE).all() else None


def _one_by_one(message: bytes, begins: list[int], ends: list[int], width: int) -> Located | None:
    """As :func:`_by_record`, also with long values."""
    starts, sizes = [], []
    for begin, end in zip(begins, ends, strict=True):
        at = begin
        for _ in range(width):
            if at >= end or message[at] != VALUE:
                return None
            size, at = varint(message, at + 1)
            starts.append(at)
            sizes.append(size)
            at += size
        if at != end:
            return None
    return np.array(starts), np.array(sizes)


def _texts(message: bytes, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> pa.StringArray:
    """The values as an array: those at the odd places of one over the message, whose other texts lie between them."""
    bounds = np.empty(2 * len(starts) + 1, np.int32)
    bounds[0] = 0
    bounds[1::2] = starts
    bounds[2::2] = starts + sizes
    between = pa.BinaryArray.from_buffers(
        pa.binary(), 2 * len(starts), [None, pa.py_buffer(bounds), pa.py_buffer(message)]
    )
    values = pc.take(between, pc.from_numpy(np.arange(1, 2 * len(starts), 2)))
    texts = pa.StringArray.from_buffers(len(values), *values.buffers()[1:])
    texts.validate(full=True)
    return texts
