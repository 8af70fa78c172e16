"""COPY's binary form as blocks of whole rows, read from the socket, or through libpq where it decrypts what arrives.

::

    first message    d | length | PGCOPY \\n ff \\r \\n 00 | flags 4 | 0 4 | row
    each row         d | length | columns 2 | cells
    the end          d | length | ff ff,  then c (the copy is done), C (``COPY 42``: so many rows), Z (ready)

Every server sends one row in a message; the number of columns is checked in each. A row larger than the buffer becomes
a separate block with its own memory.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fluxport.errors import Unavailable
from fluxport.sources.errors import row_too_large
from fluxport.sources.postgres.stream import HEAD_BYTES, Stream
from fluxport.sources.wire.blocks import Block, Positions, Window
from fluxport.sources.wire.framing import Framing, message_starts
from fluxport.sources.wire.receive import SLACK_BYTES

if TYPE_CHECKING:
    from fluxport.sources.postgres.link import Link

MESSAGES = Framing(head=HEAD_BYTES, low=4, step=-1, length_bytes=4, beyond=1, word=">u4", at=1, mask=0xFFFFFFFF)
SIGNATURE = b"PGCOPY\n\xff\r\n\0"
HEADER = SIGNATURE + bytes(8)  # flags, length of what follows: always 0
END_OF_ROWS = b"\xff\xff"
COUNT_BYTES = 2
ROW, COPY_STARTS, COPY_DONE, COMPLETE, READY, ERROR, NOTICE = b"dHcCZEN"
# An error or a notice repeats values of any size; its severity, its state and the start of its text come first.
_PAYLOAD_MAX = 16 << 10
# Parse and bind complete, no data, the value of a setting, a notification: nothing to do.
_IGNORED = frozenset(b"12nSA")

# Smaller blocks cost time (calls per column); larger ones cost memory.
TARGET_BYTES, TARGET_MAX_BYTES, TARGET_BYTES_PER_COLUMN = 512 << 10, 2 << 20, 4 << 10
# Slowly arriving rows are passed on at this age, so that progress, limits and cancellation see them.
BLOCK_AGE_S = 0.25


@dataclass(frozen=True)
class RowShape:
    """What is known of the rows in advance: a row of more than ``bytes_max`` bytes is refused."""

    columns: int
    bytes_max: int

    @property
    def target_bytes(self) -> int:
        """Of a block."""
        return min(max(TARGET_BYTES, self.columns * TARGET_BYTES_PER_COLUMN), TARGET_MAX_BYTES)


def broken() -> Unavailable:
    return Unavailable("The rows of the database cannot be read; the result cannot be trusted.", code="source_broken")


def _incomplete() -> Unavailable:
    return Unavailable("The database sent fewer rows than it counted; try again.", code="source_lost")


class SocketRows:
    """The rows of the COPY whose statement has been sent on ``stream``."""

    def __init__(self, link: Link, stream: Stream, shape: RowShape) -> None:
        self._link = link
        self._stream = stream
        self._shape = shape
        self._row = 1
        self._short = True
        self._last = False  # the end of the rows has been sent
        self._counted: int | None = None  # by the server
        self._ready = False

    def begin(self) -> None:
        """Wait until the server has started the copy; raises its error."""
        columns = self._shape.columns
        while (kind := self._stream.head()[0]) != COPY_STARTS:
            if kind not in _IGNORED and kind not in (NOTICE, ERROR):
                raise broken()
            self._control()
        binary = b"\1" + columns.to_bytes(2, "big") + b"\0\1" * columns
        self._stream.enlarge(self._shape.target_bytes + self._shape.target_bytes // 4)
        if self._stream.payload(len(binary) + 1) != binary:
            raise broken()

    def blocks(self) -> Generator[Block, None, None]:
        """Ends only after the server's explicit end, and if its row count equals ours.

        The next block overwrites the memory of the last one, unless that block owns it.
        """
        stream = self._stream
        self._controls()
        if not self._ready:
            self._skip_header()
        window = Window(stream.buffer, ">")
        target = 1  # the first block is whatever arrived first
        while not self._ready:
            starts = self._whole_messages(target)
            block = self._block(window, starts) if len(starts) else self._large()
            if block is not None:
                self._row += len(block)
                yield block
                target = self._shape.target_bytes
            self._controls()
            stream.compact()
        if self._counted != self._row - 1 or not self._last:
            raise _incomplete()

    def _skip_header(self) -> None:
        """Consume the header, leaving the rest of its message as a message."""
        stream = self._stream
        size = stream.head()[1]
        stream.require(min(HEAD_BYTES + size, HEAD_BYTES + len(HEADER)))
        begin = stream.start + HEAD_BYTES
        if size < len(HEADER) or stream.buffer[begin : begin + len(HEADER)] != HEADER:
            raise broken()
        stream.start += len(HEADER)
        left = size - len(HEADER)
        if left:
            stream.buffer[stream.start : stream.start + HEAD_BYTES] = b"d" + (left + 4).to_bytes(4, "big")
        else:
            stream.start += HEAD_BYTES

    def _whole_messages(self, target: int) -> Positions:
        """Receive until ``target`` bytes of whole messages, one that is no row, or a full buffer, and consume them.

        An empty result means that the next message is larger than the buffer.
        """
        stream = self._stream
        parts: list[Positions] = []
        first = at = stream.start
        began = time.monotonic()
        while True:
            starts, at = message_starts(stream.buffer, at, stream.end, MESSAGES, short=self._short)
            if len(starts):
                parts.append(starts)
                if stream.buffer[int(starts[-1])] != ROW:
                    break
            if parts and (at - first >= target or time.monotonic() - began > BLOCK_AGE_S):
                break
            if stream.end == stream.capacity or (not parts and self._next_is_large()):
                break
            stream.fill()
        stream.start = at
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _next_is_large(self) -> bool:
        stream = self._stream
        if stream.end - stream.start < HEAD_BYTES:
            return False
        size = stream.head()[1]
        if size < 0:
            raise broken()
        return HEAD_BYTES + size > stream.capacity

    def _block(self, window: Window, starts: Positions) -> Block | None:
        """The rows among the messages, up to the first that is none; what follows is not consumed."""
        stream = self._stream
        ends = np.append(starts[1:], stream.start)
        others = np.flatnonzero(window.bytes[starts] != ROW)
        rows = int(others[0]) if len(others) else len(starts)
        sizes = (ends - starts)[:rows]
        if not rows:
            stream.start = int(starts[0])
            return None
        stream.start = int(ends[rows - 1])
        if int(sizes.min()) < HEAD_BYTES + COUNT_BYTES or self._last:
            raise broken()
        largest = int(sizes.max())
        self._short = largest <= 0x100
        if largest - HEAD_BYTES > self._shape.bytes_max:
            raise row_too_large(self._row + int(sizes.argmax()), self._shape.bytes_max)
        counts = window.numbers[COUNT_BYTES][starts[:rows] + HEAD_BYTES]
        matching = counts == self._shape.columns
        if not matching.all():
            if matching[:-1].all() and counts[-1] == 0xFFFF and sizes[-1] == HEAD_BYTES + COUNT_BYTES:
                self._last = True
                rows -= 1
            else:
                raise broken()
        return Block(window, starts[:rows] + HEAD_BYTES, ends[:rows], self._row) if rows else None

    def _large(self) -> Block | None:
        """The row that is larger than the buffer; None if the next message is another one, which is not consumed."""
        stream = self._stream
        kind, size = stream.head()
        if kind != ROW:
            return None
        if self._last:
            raise broken()
        if size > self._shape.bytes_max:
            raise row_too_large(self._row, self._shape.bytes_max)
        stream.start += HEAD_BYTES
        payload = bytearray(size + SLACK_BYTES)
        taken = min(size, stream.end - stream.start)
        payload[:taken] = stream.buffer[stream.start : stream.start + taken]
        stream.start += taken
        with memoryview(payload) as view:
            while taken < size:
                with view[taken:size] as room:
                    taken += stream.receive(room)
        if int.from_bytes(payload[:COUNT_BYTES], "big") != self._shape.columns:
            raise broken()
        return Block(Window(payload, ">"), np.array([0]), np.array([size]), self._row, owned=True)

    def _controls(self) -> None:
        """Handle messages until the next row, or until the server is ready for another statement."""
        while not self._ready and self._stream.head()[0] != ROW:
            self._control()

    def _control(self) -> None:
        kind, size = self._stream.head()
        if size < 0 or (size > _PAYLOAD_MAX and kind not in (ERROR, NOTICE)):
            raise broken()
        payload = self._stream.payload(_PAYLOAD_MAX)
        if kind == ERROR:
            fields = _fields(payload)
            raise self._link.failed(fields.get("C", ""), fields.get("M", ""))
        if kind == NOTICE:
            fields = _fields(payload)
            self._link.noticed(fields.get("V", ""), fields.get("C", ""))
        elif kind == COMPLETE:
            number = payload.rstrip(b"\0").rpartition(b" ")[2]
            self._counted = int(number) if number.isdigit() else None
        elif kind == READY:
            self._ready = True
            self._link.idle()
        elif kind != COPY_DONE and kind not in _IGNORED:
            raise broken()


def _fields(payload: bytes) -> dict[str, str]:
    """The fields of an error or notice, by their letter."""
    parts = payload.split(b"\0")
    return {part[:1].decode("ascii", "replace"): part[1:].decode(errors="replace") for part in parts if part}


def libpq_blocks(link: Link, shape: RowShape) -> Generator[Block, None, None]:
    """Blocks of rows that libpq receives one by one; ends like :meth:`SocketRows.blocks`."""
    first_row, target, ended = 1, 1, False
    rows: list[bytes] = []
    size, began = 0, time.monotonic()
    for row in _payloads(link, shape):
        if ended:
            raise broken()
        ended = row == END_OF_ROWS
        if ended:
            continue
        if len(row) > shape.bytes_max:
            raise row_too_large(first_row + len(rows), shape.bytes_max)
        size += len(row)
        rows.append(row)
        if size >= target or time.monotonic() - began > BLOCK_AGE_S:
            yield _joined(rows, first_row, shape)
            first_row += len(rows)
            target = shape.target_bytes
            rows, size, began = [], 0, time.monotonic()
    if rows:
        yield _joined(rows, first_row, shape)
    if link.copied() != first_row + len(rows) - 1 or not ended:
        raise _incomplete()


def _payloads(link: Link, shape: RowShape) -> Iterator[bytes]:
    """What follows the header, up to the end of the copy, which may be an error of the server."""
    number, header = 1, HEADER
    try:
        while (row := link.row(shape.bytes_max + len(HEADER))) is not None:
            if header:
                if not row.startswith(header):
                    raise broken()
                row, header = row[len(header) :], b""
            if row:
                yield row
                number += 1
    except OverflowError:
        raise row_too_large(number, shape.bytes_max) from None


def _joined(rows: list[bytes], first_row: int, shape: RowShape) -> Block:
    memory = b"".join([*rows, bytes(SLACK_BYTES)])
    ends = np.cumsum(np.fromiter(map(len, rows), np.int64, len(rows)))
    starts = np.append(0, ends[:-1])
    window = Window(memory, ">")
    if (ends - starts).min() < COUNT_BYTES or (window.numbers[COUNT_BYTES][starts] != shape.columns).any():
        raise broken()
    return Block(window, starts, ends, first_row, owned=len(rows) == 1)
