"""The buffer that a socket is received into and rows are decoded from. Stdlib only.

::

    buffer   | consumed | received, not yet consumed | free | SLACK_BYTES, never filled |
                        ^start                       ^end   ^capacity
"""

from __future__ import annotations

# Bytes after the buffer's end that are never filled, so that fixed-width reads near the end stay inside.
SLACK_BYTES = 64


class ReceiveBuffer:
    """``buffer[start:end]`` is received and not yet consumed. A subclass receives."""

    def __init__(self, capacity: int) -> None:
        self.buffer = bytearray(capacity + SLACK_BYTES)
        self.start = 0
        self.end = 0

    @property
    def capacity(self) -> int:
        return len(self.buffer) - SLACK_BYTES

    def receive(self, room: memoryview) -> int:
        """1 to ``len(room)`` bytes straight from the socket."""
        raise NotImplementedError

    def fill(self) -> None:
        """Receive at least one byte after ``end``; the caller ensures that there is room."""
        with memoryview(self.buffer) as view, view[self.end : self.capacity] as room:
            self.end += self.receive(room)

    def require(self, size: int) -> None:
        """Receive until ``size`` bytes, at most the capacity, are not yet consumed."""
        while self.end - self.start < size:
            if self.capacity - self.start < size:
                self.compact()
            self.fill()

    def compact(self) -> None:
        """Move the bytes not yet consumed to the front of the buffer."""
        rest = self.end - self.start
        if self.start:
            self.buffer[:rest] = self.buffer[self.start : self.end]
        self.start, self.end = 0, rest

    def enlarge(self, capacity: int) -> None:
        """A larger buffer with the same content."""
        self.compact()
        grown = bytearray(capacity + SLACK_BYTES)
        grown[: self.end] = self.buffer[: self.end]
        self.buffer = grown
