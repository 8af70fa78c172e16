"""Compression of whole files: a table of functions from chunks to chunks.

The input is first cut into blocks of equal size, so the bytes do not depend on the encoder's chunks. A helper thread
compresses blocks while the caller's thread encodes the next one; at most BLOCKS_AHEAD + 1 are held in memory.

gzip: one member without a time or name. A sync flush ends each block, so that its compressed bytes are complete; the
next begins with Huffman codes of its own (2 % smaller, 1 % larger if the rows hardly differ). zstd: one frame with a
content checksum. A file that is truncated anywhere, or has a bit flipped, therefore fails in every decompressor.

    header 10 B | block + sync flush | block + sync flush | ... | empty last block | CRC-32 | length (mod 2^32)
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from typing import NamedTuple

from fluxport.errors import Refused
from fluxport.plugins import Table
from fluxport.stages import Chunks, Compress

BLOCK_BYTES = 256 << 10
BLOCKS_AHEAD = 2
ZSTD_LEVEL = 1  # level 3 is 1.5 to 2 times slower on rows of text and numbers, and compresses them no better

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no flags, no time, operating system unknown


class Compression(NamedTuple):
    """``suffix`` follows the format's suffix; ``media_type`` None is the format's own. ``archive``: the files of an
    export become members of one archive, which partfiles.py writes."""

    suffix: str
    media_type: str | None
    apply: Compress | None
    label: str
    aliases: tuple[str, ...] = ()
    archive: bool = False


def gzip(chunks: Chunks) -> Chunks:
    """``chunks`` as one gzip member; the header is yielded once the first chunk has arrived."""
    from fluxport.formats.deflate import Deflate, crc32

    crc = length = 0
    deflate = Deflate()

    def block(data: bytearray) -> bytes:
        nonlocal crc, length
        crc = crc32(data, crc)
        length += len(data)
        return deflate.compress(data) + deflate.end_block()

    def end() -> bytes:
        return deflate.end() + struct.pack("<II", crc, length & 0xFFFFFFFF)

    return _compressed(chunks, _GZIP_HEADER, block, end)


def zstd(chunks: Chunks) -> Chunks:
    """``chunks`` as one zstd frame with a content checksum."""
    import zstandard

    frame = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compressobj()
    return _compressed(chunks, b"", frame.compress, frame.flush)


COMPRESSIONS: Table[Compression] = Table(
    "compression",
    Compression,
    {
        "none": Compression("", None, None, "None"),
        "gzip": Compression(".gz", "application/gzip", gzip, "gzip", aliases=("gz",)),
        "zstd": Compression(".zst", "application/zstd", zstd, "Zstandard", aliases=("zst",)),
        "zip": Compression(".zip", "application/zip", None, "ZIP", archive=True),
    },
)
ZIP = COMPRESSIONS["zip"]


def canonical(name: str) -> str:
    """The canonical name for ``name``, which may be an alias; Refused, listing the known names, if there is none."""
    compression_name = COMPRESSIONS.find(name)
    if compression_name is None:
        raise Refused(
            f"Unknown compression {name!r}; choose one of: {', '.join(COMPRESSIONS)}.", code="unknown_compression"
        )
    return compression_name


def by_suffix(filename: str) -> str | None:
    """The built-in compression with the suffix of ``filename`` (lower case), or None. Most names have no such suffix,
    so plugins are not searched: their metadata is slow to read."""
    rows = COMPRESSIONS.built_in.items()
    return next((name for name, row in rows if row.suffix and filename.endswith(row.suffix)), None)


def _compressed(chunks: Chunks, header: bytes, block: Callable[[bytearray], bytes], end: Callable[[], bytes]) -> Chunks:
    """``header``, then ``block`` of each block of ``chunks``, in order and in one helper thread, then ``end``."""
    pending: deque[Future[bytes]] = deque()
    with closing(chunks), ThreadPoolExecutor(1, "compress") as helper:
        try:
            first = next(chunks, b"")  # before our first byte, so that a refused export sends nothing
            if header:
                yield header
            for data in _blocks(chain((first,), chunks)):
                pending.append(helper.submit(block, data))
                while pending and (len(pending) > BLOCKS_AHEAD or pending[0].done()):
                    if compressed := pending.popleft().result():
                        yield compressed
            while pending:
                if compressed := pending.popleft().result():
                    yield compressed
            yield end()
        finally:
            for future in pending:
                future.cancel()


def _blocks(chunks: Iterator[bytes | memoryview]) -> Iterator[bytearray]:
    """The same bytes in blocks of BLOCK_BYTES, the last one shorter, never empty; each is a new buffer."""
    block = bytearray()
    for chunk in chunks:
        rest = memoryview(chunk).cast("B")
        while len(rest):
            head = rest[: BLOCK_BYTES - len(block)]
            block += head
            rest = rest[len(head) :]
            if len(block) == BLOCK_BYTES:
                yield block
                block = bytearray()
    if block:
        yield block
