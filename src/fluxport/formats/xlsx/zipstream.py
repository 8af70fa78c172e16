"""A ZIP file written strictly forward, in the form that Excel accepts.

Excel reports a file as damaged if a local header has a ZIP64 extra together with a data descriptor, and cannot read
members of more than 4 GB without one. Members therefore stay below MEMBER_BYTES_MAX, with a local header of version 2.0
and a data descriptor of 16 bytes; only the central directory uses ZIP64, where a file of more than 4 GB requires it:

    small member    local header (CRC, sizes) | deflated
    streamed member local header (zeros)      | deflated ... | descriptor: PK 07 08, CRC, compressed, size
    ...
    end             central directory entries (ZIP64 extra: offset) | [ZIP64 end + locator] | end record
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from fluxport.formats.deflate import Deflate, crc32

MEMBER_BYTES_MAX = 0xFFFFFFFE
_BIG = 0xFFFFFFFF  # "look in the ZIP64 extra"
_DATE = 0x0021  # 1980-01-01, the earliest date in ZIP; the clock must not change the bytes
_VERSION, _VERSION_64 = 20, 45
_DESCRIPTOR_FOLLOWS, _UTF8, _DEFLATED = 0x08, 0x800, 8


class _Member(NamedTuple):
    name: bytes
    flags: int
    crc: int
    compressed: int
    size: int
    offset: int


class ZipStream:
    """Each method returns the next bytes of the file, in order; only one member is open at a time.

    ``offset`` is the position of the file in a larger one; values other than 0 are for tests of large offsets.
    """

    def __init__(self, offset: int = 0) -> None:
        self._offset = offset
        self._members: list[_Member] = []
        self._deflate = Deflate()
        self._name = b""
        self._start = self._crc = self._size = self._compressed = 0

    def file(self, name: str, content: bytes) -> bytes:
        """A complete small member, with its sizes in the local header."""
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        compressed = deflate.compress(content) + deflate.flush()
        member = _Member(name.encode(), _UTF8, zlib.crc32(content), len(compressed), len(content), self._offset)
        self._members.append(member)
        return self._out(_local(member) + compressed)

    def begin(self, name: str) -> bytes:
        self._name, self._start = name.encode(), self._offset
        self._crc = self._size = self._compressed = 0
        self._deflate = Deflate()
        return self._out(_local(_Member(self._name, _UTF8 | _DESCRIPTOR_FOLLOWS, 0, 0, 0, 0)))

    def data(self, content: bytes | memoryview) -> bytes:
        """The compressed bytes for more content of the open member; empty while deflate buffers them."""
        self._crc = crc32(content, self._crc)
        self._size += memoryview(content).nbytes
        return self._compressed_out(self._deflate.compress(content))

    def end(self) -> bytes:
        rest = self._compressed_out(self._deflate.end())
        if max(self._size, self._compressed) > MEMBER_BYTES_MAX:
            raise OverflowError(f"{self._name.decode()} is too large for a member without ZIP64")
        member = _Member(self._name, _UTF8 | _DESCRIPTOR_FOLLOWS, self._crc, self._compressed, self._size, self._start)
        self._members.append(member)
        return rest + self._out(struct.pack("<4sLLL", b"PK\x07\x08", member.crc, member.compressed, member.size))

    def close(self) -> bytes:
        """The central directory and the end of the file."""
        start = self._offset
        entries = self._out(b"".join(map(_central, self._members)))
        return entries + self._out(_end(start, len(entries), len(self._members)))

    def _compressed_out(self, compressed: bytes) -> bytes:
        self._compressed += len(compressed)
        return self._out(compressed)

    def _out(self, data: bytes) -> bytes:
        self._offset += len(data)
        return data


def _local(member: _Member) -> bytes:
    return (
        struct.pack(
            "<4sHHHHHLLLHH", b"PK\x03\x04", _VERSION, member.flags, _DEFLATED, 0, _DATE,
            member.crc, member.compressed, member.size, len(member.name), 0,
        )
        + member.name
    )  # fmt: skip


def _central(member: _Member) -> bytes:
    """Sizes always fit 32 bits; only the offset can require ZIP64."""
    far = member.offset >= _BIG
    extra = struct.pack("<HHQ", 1, 8, member.offset) if far else b""
    version = _VERSION_64 if far else _VERSION
    return (
        struct.pack(
            "<4sHHHHHHLLLHHHHHLL", b"PK\x01\x02", version, version, member.flags, _DEFLATED, 0, _DATE,
            member.crc, member.compressed, member.size, len(member.name), len(extra), 0, 0, 0, 0,
            min(member.offset, _BIG),
        )
        + member.name
        + extra
    )  # fmt: skip


def _end(start: int, size: int, count: int) -> bytes:
    end_64 = b""
    if start >= _BIG or count >= 0xFFFF:
        end_64 = struct.pack(
            "<4sQHHLLQQQQ", b"PK\x06\x06", 44, _VERSION_64, _VERSION_64, 0, 0, count, count, size, start
        ) + struct.pack("<4sLQL", b"PK\x06\x07", 0, start + size, 1)
    count_16 = min(count, 0xFFFF)
    return end_64 + struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, count_16, count_16, size, min(start, _BIG), 0)
