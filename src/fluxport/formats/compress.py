"""Compression of a whole file: a table of names, each a function from chunks to chunks.

The input is cut into blocks of one size first, so the bytes do not depend on how the encoder cut its chunks. Blocks are
compressed in one helper thread while the caller's thread makes the next one; at most BLOCKS_AHEAD + 1 are held.

gzip: one member without time or name, its blocks deflated apart from each other (each ends on a byte boundary by a sync
flush; that costs less than 0.1 % of size) and closed by an empty last block, CRC-32 and length. zstd: one frame with
its content checksum. So a file that was cut anywhere, or had a bit flipped, fails in every decompressor.
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
GZIP_LEVEL = 1  # by isal: 4x the speed of zlib's 1; its 2 and 3 are no smaller on rows of text
ZSTD_LEVEL = 1  # on rows of text and numbers 3 is 1.5 to 2 times slower and no smaller

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no flags, no time, operating system unknown
_DEFLATE_END = b"\x03\x00"


class Compression(NamedTuple):
    """``suffix`` follows the format's own; without ``media_type`` the format's own is right. ``archive``: the files of
    an export become members of one, which partfiles.py makes."""

    suffix: str
    media_type: str | None
    apply: Compress | None
    label: str
    aliases: tuple[str, ...] = ()
    archive: bool = False


def gzip(chunks: Chunks) -> Chunks:
    """``chunks`` as one gzip member; the header comes as soon as the first chunk is there."""
    try:
        from isal import isal_zlib as deflate
    except ImportError:  # no build of isal for this machine
        import zlib as deflate  # type: ignore[no-redef]  # one of the two

    crc = length = 0

    def block(data: bytearray) -> bytes:
        nonlocal crc, length
        crc = deflate.crc32(data, crc)
        length += len(data)
        squeezer = deflate.compressobj(GZIP_LEVEL, deflate.DEFLATED, -15)
        made: bytes = squeezer.compress(data) + squeezer.flush(deflate.Z_SYNC_FLUSH)
        return made

    def end() -> bytes:
        return _DEFLATE_END + struct.pack("<II", crc, length & 0xFFFFFFFF)

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
    """The compression's own name for ``name`` or an alias of it; Refused with the names that exist."""
    found = COMPRESSIONS.find(name)
    if found is None:
        raise Refused(
            f"Unknown compression {name!r}; choose one of: {', '.join(COMPRESSIONS)}.", code="unknown_compression"
        )
    return found


def by_suffix(filename: str) -> str | None:
    """The built-in compression of a file whose name, in lower case, ends in its suffix: most names end in none, and
    that must not cost a look at other packages."""
    rows = COMPRESSIONS.built_in.items()
    return next((name for name, row in rows if row.suffix and filename.endswith(row.suffix)), None)


def _compressed(chunks: Chunks, header: bytes, block: Callable[[bytearray], bytes], end: Callable[[], bytes]) -> Chunks:
    """``header``, each block of ``chunks`` through ``block`` in order and in one thread, then ``end``."""
    working: deque[Future[bytes]] = deque()
    with closing(chunks), ThreadPoolExecutor(1, "compress") as helper:
        try:
            first = next(chunks, b"")  # before our first byte: what refuses the export is raised with nothing sent
            if header:
                yield header
            for data in _blocks(chain((first,), chunks)):
                working.append(helper.submit(block, data))
                while working and (len(working) > BLOCKS_AHEAD or working[0].done()):
                    if made := working.popleft().result():
                        yield made
            while working:
                if made := working.popleft().result():
                    yield made
            yield end()
        finally:
            for future in working:
                future.cancel()


def _blocks(chunks: Iterator[bytes | memoryview]) -> Iterator[bytearray]:
    """The same bytes in blocks of BLOCK_BYTES, the last one shorter, never empty; each a buffer of its own."""
    held = bytearray()
    for chunk in chunks:
        view = memoryview(chunk).cast("B")
        while len(view):
            taken = view[: BLOCK_BYTES - len(held)]
            held += taken
            view = view[len(taken) :]
            if len(held) == BLOCK_BYTES:
                yield held
                held = bytearray()
    if held:
        yield held
