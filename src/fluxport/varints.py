"""Numbers in protobuf's wire format."""

from __future__ import annotations


def varint(message: bytes, at: int) -> tuple[int, int]:
    """The unsigned number at ``at`` and the position after it; IndexError if it is cut off or has more than 64 bits."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError


def signed(value: int) -> int:
    """A number as int32 and int64 mean it."""
    return value - (1 << 64) if value >> 63 else value
