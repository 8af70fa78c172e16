"""Where messages begin in a buffer, for protocols in which each begins with its length.

Locating messages is the only step that runs row by row in Python, so it does as little as possible: messages of equal
length are located by a single comparison, short ones by a loop of two operations whose guess is checked afterwards.
"""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

import numpy as np

from fluxport.sources.wire.blocks import Positions

RUN_MESSAGES_MIN = 64


class Framing(NamedTuple):
    """How a message begins: ``head`` bytes, in which the least significant byte of the length is at ``low``, the more
    significant ones ``step`` (1 or -1) and more times ``step`` from it. A message takes ``beyond`` bytes more than
    its length says. ``word`` is the numpy type of the four bytes at ``at``, of which ``mask`` leaves the length."""

    head: int
    low: int
    step: int
    length_bytes: int
    beyond: int
    word: str
    at: int
    mask: int

    def size(self, buffer: bytearray, start: int) -> int:
        """The bytes of the message at ``start``, whose head is in the buffer."""
        size = self.beyond
        for index in range(self.length_bytes):
            size += buffer[start + self.low + index * self.step] << 8 * index
        return size


def message_starts(buffer: bytearray, start: int, end: int, framing: Framing, *, short: bool) -> tuple[Positions, int]:
    """Where the complete messages in ``buffer[start:end]`` begin, and where the first incomplete one does.

    ``short`` is a guess, for speed only: that every length fits one byte.
    """
    parts: list[Positions] = []
    while end - start >= framing.head:
        size = framing.size(buffer, start)
        count = (end - start) // size
        if not count or size < framing.head:
            break
        # The run of messages as long as the first: at least one, while the walk below may yield none.
        heads: Any = np.ndarray((count,), framing.word, buffer, offset=start + framing.at, strides=(size,))
        same = (heads & framing.mask) == size - framing.beyond
        run = count if same.all() else int(same.argmin())
        parts.append(np.arange(start, start + run * size, size, dtype=np.int64))
        start += run * size
        if run < RUN_MESSAGES_MIN:
            walked, start, short = _walk(buffer, start, end, framing, short=short)
            parts.append(walked)
    if len(parts) == 1:
        return parts[0], start
    return (np.concatenate(parts) if parts else np.empty(0, np.int64)), start


def _walk(buffer: bytearray, start: int, end: int, framing: Framing, *, short: bool) -> tuple[Positions, int, bool]:
    """Messages from ``start`` on, assuming lengths of one byte (``short``) or two, up to the first that is longer.

    Also returns where it stopped, and whether the guess held.
    """
    low, step, beyond = framing.low, framing.step, framing.beyond
    positions: list[int] = []
    append = positions.append
    at, until = start + low, end + low  # positions of lengths; near the end they may be in the buffer's slack
    if short:
        while at < until:
            append(at)
            at += buffer[at] + beyond
    else:
        while at < until:
            append(at)
            at += (buffer[at] | buffer[at + step] << 8) + beyond
    at -= low
    starts = np.frombuffer(array("q", positions), np.int64) - low
    if not len(starts):
        return starts, at, short
    data = np.frombuffer(buffer, np.uint8)
    wrong = np.zeros(len(starts), np.bool_)
    for index in range(2, framing.length_bytes):
        wrong |= data[starts + (low + index * step)] != 0
    if short:
        wrong |= data[starts + (low + step)] != 0
    guessed = not wrong.any()
    wrong[-1] |= at > end
    wrong[np.searchsorted(starts, end - framing.head, side="right") :] = True  # their heads have not arrived
    if not wrong.any():
        return starts, at, short
    valid = int(wrong.argmax())
    return starts[:valid], int(starts[valid]), short and guessed
