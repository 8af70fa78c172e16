"""Raw deflate whose bytes depend on the content alone.

ISA-L is several times as fast as zlib, but without a dictionary it derives the hash of the third byte from the address
of its own state (igzip_icf_body_h1_gr_bt.asm, write_first_byte: a register that holds a pointer at that time). One
stream in some thousands then misses a match near its start: valid, yet other bytes. With a dictionary that code does
not run. So the first byte is written as a stored block, and is the dictionary for the rest, which it really precedes.

    00 01 00 fe ff | first byte | the rest, compressed by ISA-L with the first byte as its history
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

fast_zlib: ModuleType
try:
    from isal import isal_zlib as fast_zlib
except ImportError:  # no isal build for this platform: the same format, several times slower
    import zlib as fast_zlib

_LEVEL = 1  # isal's: 4x as fast as level 1 of zlib; its levels 2 and 3 compress rows of text no better
_MEMORY = 9
_STORED_BYTE = b"\x00\x01\x00\xfe\xff"  # not the last block, stored, of one byte
_EMPTY = b"\x03\x00"  # the last block, without content

crc32 = fast_zlib.crc32


class Deflate:
    """One stream; its bytes depend on the content and on how it was cut into calls."""

    def __init__(self) -> None:
        self._rest: Any = None

    def compress(self, data: bytes | bytearray | memoryview) -> bytes:
        """The next compressed bytes for ``data``; empty while they are buffered."""
        if self._rest is not None:
            return self._rest.compress(data)  # type: ignore[no-any-return]  # isal's types and zlib's differ
        data = memoryview(data).cast("B")
        if not data.nbytes:
            return b""
        first = bytes(data[:1])
        self._rest = fast_zlib.compressobj(_LEVEL, fast_zlib.DEFLATED, -15, _MEMORY, zdict=first)
        compressed: bytes = self._rest.compress(data[1:])
        return _STORED_BYTE + first + compressed

    def end_block(self) -> bytes:
        """The bytes up to here, and a sync flush: the next call begins on a byte boundary, with new Huffman codes."""
        return b"" if self._rest is None else self._rest.flush(fast_zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        """The last bytes of the stream; nothing may follow."""
        return _EMPTY if self._rest is None else self._rest.flush()
