"""Cuts the receive buffer into blocks of whole rows, up to the server's terminal packet.

::

    buffer   [len 3|seq 1|payload ...][len 3|seq 1|payload ...][len 3|seq 1|fe ...]
              ^start                   ^start                   ^ terminal: EOF or OK
    block     starts + 4 ..... ends    (= the next start)

Sequence numbers and first bytes are checked for a whole block at once. A row larger than the buffer becomes a separate
block with its own memory; its cells are measured while it arrives.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from fluxport.sources.errors import ROW_CELLS_MAX, cell_too_large, row_too_large
from fluxport.sources.mysql.wire import PACKET_MAX, Wire, read_lenenc, server_error
from fluxport.sources.wire.blocks import Block, Positions, Window
from fluxport.sources.wire.framing import Framing, message_starts
from fluxport.sources.wire.receive import SLACK_BYTES

PACKETS = Framing(head=4, low=0, step=1, length_bytes=3, beyond=4, word="<u4", at=0, mask=0xFFFFFF)

# Smaller blocks cost time (calls per column, switches of the GIL); larger ones cost memory.
TARGET_BYTES, TARGET_MAX_BYTES, TARGET_BYTES_PER_COLUMN = 512 << 10, 2 << 20, 4 << 10
# Slowly arriving rows are passed on at this age, so that progress, limits and cancellation see them.
BLOCK_AGE_S = 0.25
EOF_BYTES = 5  # of an EOF packet, which ends the rows of servers without DEPRECATE_EOF


@dataclass(frozen=True)
class RowShape:
    """The shape of rows, as needed before they are decoded.

    ``widths``: bytes of each column's cell, 0 where the cell starts with its length (text protocol: always).
    """

    names: list[str]
    widths: list[int]
    binary: bool
    cell_bytes_max: int


class Terminal:
    """The packet that ends the rows: EOF, or the OK packet that newer servers send in its place."""

    MORE_RESULTS = 0x0008

    def __init__(self, payload: bytes, *, deprecate_eof: bool) -> None:
        at = 1
        if deprecate_eof:
            _, at = read_lenenc(payload, at)
            _, at = read_lenenc(payload, at)
            status, warnings = at, at + 2
        else:
            status, warnings = at + 2, at
        self.status = int.from_bytes(payload[status : status + 2], "little")
        self.warnings = int.from_bytes(payload[warnings : warnings + 2], "little")  # 65,535 may stand for more

    @property
    def more_results(self) -> bool:
        return bool(self.status & self.MORE_RESULTS)


class Rows:
    """The rows of one result, block by block; ``terminal`` is set once the server has sent its terminal packet."""

    def __init__(self, wire: Wire, shape: RowShape, *, deprecate_eof: bool) -> None:
        self._wire = wire
        self._shape = shape
        self._deprecate_eof = deprecate_eof
        self._target = min(max(TARGET_BYTES, len(shape.names) * TARGET_BYTES_PER_COLUMN), TARGET_MAX_BYTES)
        self._row = 1
        self._short = True
        self.terminal: Terminal | None = None

    def blocks(self) -> Generator[Block, None, None]:
        """Ends only after the server's terminal packet; ServerError for an error packet among the rows.

        The next block overwrites the memory of the last one, unless that block owns it.
        """
        wire = self._wire
        wire.enlarge(self._target + self._target // 4)
        window = Window(wire.buffer)
        target = 1  # the first block is whatever arrived first
        while self.terminal is None:
            starts = self._whole_packets(target)
            if len(starts):
                ends = np.append(starts[1:], wire.start)
                rows = self._checked(window, starts, ends)
                if rows:
                    yield Block(window, starts[:rows] + 4, ends[:rows], self._row)
                self._row += rows
            else:
                yield self._large_row()
                self._row += 1
            wire.compact()
            target = self._target

    def _whole_packets(self, target: int) -> Positions:
        """Receive until ``target`` bytes of whole packets, the terminal one, or a full buffer, and consume them.

        An empty result means that the next row is larger than the buffer.
        """
        wire = self._wire
        parts: list[Positions] = []
        first = at = wire.start
        began = time.monotonic()
        while True:
            starts, at = message_starts(wire.buffer, at, wire.end, PACKETS, short=self._short)
            if len(starts):
                parts.append(starts)
                if wire.buffer[int(starts[-1]) + 4] >= 0xFE:
                    break
            if parts and (at - first >= target or time.monotonic() - began > BLOCK_AGE_S):
                break
            if wire.end == wire.capacity or (not parts and self._next_is_large()):
                break
            wire.fill()
        wire.start = at
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _next_is_large(self) -> bool:
        wire = self._wire
        size = int.from_bytes(wire.buffer[wire.start : wire.start + 3], "little")
        return wire.end - wire.start >= 4 and size + 4 > wire.capacity

    def _checked(self, window: Window, starts: Positions, ends: Positions) -> int:
        """The number of packets that are rows: all, or all but the terminal one, which becomes ``terminal``."""
        wire = self._wire
        expected = (np.arange(len(starts)) + wire.sequence).astype(np.uint8)
        if not np.array_equal(window.bytes[starts + 3], expected):
            raise wire.broken("sent packets out of order")
        wire.sequence = (wire.sequence + len(starts)) & 255
        self._short = bool((ends - starts).max() < 260)
        heads = window.bytes[starts + 4]
        special = np.flatnonzero(heads if self._shape.binary else heads >= 0xFE)
        if (starts + 4 == ends).any() or len(special) > 1:
            raise wire.broken("sent a row that cannot be read")
        if not len(special):
            return len(starts)
        index = int(special[0])
        packet = bytes(wire.buffer[int(starts[index]) + 4 : int(ends[index])])
        if packet[0] == 0xFF:
            raise server_error(packet)
        size_max = PACKET_MAX if self._deprecate_eof else EOF_BYTES
        if packet[0] != 0xFE or index != len(starts) - 1 or wire.end != wire.start or not 5 <= len(packet) <= size_max:
            raise wire.broken("sent a row that cannot be read")
        self.terminal = Terminal(packet, deprecate_eof=self._deprecate_eof)
        return index

    def _large_row(self) -> Block:
        payload = bytearray()
        walk = _CellWalk(self._shape, self._row)
        for part in self._wire.parts():
            payload += part
            walk.advance(payload)
        size = len(payload)
        if self._shape.binary and payload[:1] != b"\0":
            raise self._wire.broken("sent a row that cannot be read")
        payload += bytes(SLACK_BYTES)
        return Block(Window(payload), np.array([0]), np.array([size]), self._row, owned=True)


class _CellWalk:
    """Measures the cells of one row while it arrives, so that a cell too large is refused before it fills memory."""

    def __init__(self, shape: RowShape, row: int) -> None:
        self._shape = shape
        self._row = row
        self._column = 0
        self._bitmap = (len(shape.names) + 9) // 8 if shape.binary else 0
        self._at = 1 + self._bitmap if shape.binary else 0

    def advance(self, payload: bytearray) -> None:
        """Check the cells whose length has arrived; LimitExceeded names row and column."""
        shape = self._shape
        # No row reaches 2 GiB, whatever the limit: Arrow's offsets end there.
        if len(payload) > min(shape.cell_bytes_max * ROW_CELLS_MAX, 0x7FFFFFFF - SLACK_BYTES):
            raise row_too_large(self._row, len(payload) - 1)
        while self._column < len(shape.names) and len(payload) > self._at:
            if not self._null(payload):
                width = shape.widths[self._column]
                if width:
                    self._at += width
                else:
                    try:
                        size, at = read_lenenc(payload, self._at)
                    except IndexError:
                        return
                    if size > shape.cell_bytes_max:
                        raise cell_too_large(shape.names[self._column], self._row, size, shape.cell_bytes_max)
                    self._at = at + size
            elif not shape.binary:
                self._at += 1
            self._column += 1

    def _null(self, payload: bytearray) -> bool:
        if not self._shape.binary:
            return payload[self._at] == 0xFB
        bit = self._column + 2
        return bool(payload[1 + bit // 8] >> (bit % 8) & 1)
