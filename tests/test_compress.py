"""Compression: the same bytes however the chunks were cut, and no cut or flipped file passes for whole."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from fluxport.errors import Refused, Unavailable
from fluxport.formats.compress import BLOCK_BYTES, COMPRESSIONS, canonical
from fluxport.stages import Chunks, Compress
from services import require_program

TEXT = b"".join(b"%d,User%d,user%d@example.com,2026-01-31 23:59:59\n" % (i, i, i) for i in range(20_000))
NAMES = ["gzip", "zstd"]


def apply_of(name: str) -> Compress:
    apply = COMPRESSIONS[name].apply
    assert apply is not None
    return apply


def cut(data: bytes, size: int) -> Chunks:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def compressed(name: str, data: bytes, size: int = 65_536) -> bytes:
    return b"".join(apply_of(name)(cut(data, size)))


def decompressed(name: str, data: bytes) -> bytes:
    """By a third-party program."""
    program = require_program(name)
    return subprocess.run([program, "-dc"], input=data, capture_output=True, check=True, timeout=30).stdout


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", [b"", b"x", TEXT, bytes(BLOCK_BYTES), bytes(2 * BLOCK_BYTES + 1)])
def test_the_system_s_own_program_reads_it_back(name: str, data: bytes) -> None:
    """gzip -d and zstd -d give the bytes that went in, also of nothing and at the edges of a block."""
    assert decompressed(name, compressed(name, data)) == data


@pytest.mark.parametrize("name", NAMES)
@given(size=st.integers(1000, 2_000_000))
def test_bytes_do_not_depend_on_the_chunks(name: str, size: int) -> None:
    """However the encoder cut its output, the file is the same."""
    assert compressed(name, TEXT, size) == compressed(name, TEXT)


@pytest.mark.parametrize("name", NAMES)
def test_views_and_empty_chunks_count_as_their_bytes(name: str) -> None:
    """An encoder may yield memoryviews, of wider items too."""

    def chunks() -> Chunks:
        yield b""
        yield memoryview(TEXT)[:1024]
        yield memoryview(TEXT[1024:2048]).cast("Q")
        yield b""
        yield TEXT[2048:]

    assert b"".join(apply_of(name)(chunks())) == compressed(name, TEXT)


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_or_flipped_file_is_noticed(name: str) -> None:
    """Every truncation and every wrong bit fails in the system's program."""
    whole = compressed(name, TEXT)
    broken = [whole[:-1], whole[:-8], whole[: len(whole) // 2]]
    for place in (len(whole) // 3, len(whole) - 2):
        flipped = bytearray(whole)
        flipped[place] ^= 4
        broken.append(bytes(flipped))
    for data in broken:
        with pytest.raises(subprocess.CalledProcessError):
            decompressed(name, data)


def test_gzip_names_no_time_and_no_file() -> None:
    """The header is constant, so the same rows make the same bytes on any day; one member only."""
    data = compressed("gzip", TEXT)
    assert data[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    member = zlib.decompressobj(31)
    assert member.decompress(data) == TEXT
    assert member.eof
    assert member.unused_data == b""


def test_zstd_carries_a_checksum_in_one_frame() -> None:
    """The flag that makes readers verify the content is set."""
    data = compressed("zstd", TEXT)
    assert zstandard.get_frame_parameters(data).has_checksum
    frame = zstandard.ZstdDecompressor().decompressobj()
    assert frame.decompress(data) == TEXT
    assert frame.unused_data == b""


def test_gzip_works_where_isal_is_missing() -> None:
    """zlib replaces it; the file is a gzip file all the same."""
    program = """
import sys
sys.modules["isal"] = None
from fluxport.formats.compress import COMPRESSIONS
sys.stdout.buffer.write(b"".join(COMPRESSIONS["gzip"].apply(c for c in [b"abc" * 1000])))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert gzip.decompress(run.stdout) == b"abc" * 1000


class Watched:
    """Endless chunks that count themselves and record when they are closed."""

    def __init__(self, error_after: int | None = None) -> None:
        self.error = Unavailable("gone")
        self.pulled = 0
        self.closed = False
        self._error_after = error_after

    def chunks(self) -> Chunks:
        try:
            while self.pulled != self._error_after:
                self.pulled += 1
                yield TEXT[:100_000]
            raise self.error
        finally:
            self.closed = True


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("after", [0, 1, 20])
def test_an_error_of_the_encoder_comes_up_as_itself(name: str, after: int) -> None:
    """The same object; before the first chunk nothing has been yielded, so a refusal can still be sent."""
    source = Watched(after)
    made = apply_of(name)(source.chunks())
    got: list[bytes | memoryview] = []
    with pytest.raises(Unavailable) as caught:
        got.extend(iter(made))
    assert caught.value is source.error
    assert source.closed
    assert bool(got) == (after > 0 if name == "gzip" else after > 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("taken", [0, 1, 5])
def test_closing_half_way_closes_the_encoder_and_leaves_no_thread(name: str, taken: int) -> None:
    """Closed before, at and after its first bytes."""
    threads = set(threading.enumerate())
    source = Watched()
    chunks = source.chunks()
    made = apply_of(name)(chunks)
    for _ in range(taken):
        next(made)
    made.close()
    chunks.close()
    assert source.closed or source.pulled == 0
    assert set(threading.enumerate()) == threads


def test_the_gzip_header_comes_with_the_first_chunk() -> None:
    """Time to the first byte is that of the encoder."""
    source = Watched()
    made = apply_of("gzip")(source.chunks())
    assert next(made) == compressed("gzip", b"")[:10]
    assert source.pulled == 1
    made.close()


@pytest.mark.parametrize("name", NAMES)
def test_little_memory_is_used(name: str) -> None:
    """A hundred megabytes go through within a few blocks."""

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(1 << 20)

    tracemalloc.start()
    try:
        for _ in apply_of(name)(c for c in chunks()):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(("name", "found"), [("gzip", "gzip"), ("GZ", "gzip"), ("zst", "zstd"), ("none", "none")])
def test_names_and_aliases(name: str, found: str) -> None:
    """A compression has one canonical name."""
    assert canonical(name) == found


def test_an_unknown_compression_names_those_that_exist() -> None:
    """The sentence lists the valid ones."""
    with pytest.raises(Refused, match="none, gzip, zstd") as caught:
        canonical("lzma")
    assert caught.value.code == "unknown_compression"


@pytest.mark.skipif(sys.platform != "linux", reason="states are placed by a setting of glibc")
def test_bytes_do_not_depend_on_addresses() -> None:
    """Wherever the compressor's state lies in memory, the file is the same. ISA-L alone gives other bytes at about one
    address in 8,192, so each state of 32,768 lies 64 KB away from the one before; every other one in the heap."""
    program = r"""
import mmap
from fluxport.formats.deflate import Deflate

rows = ((b" 23:59:59\n%d,User%d,user%d@example.com,2026-01-31") % (i, i, i) for i in range(14134, 14154))
content = b"".join(rows)
reserved, files = [], set()
for _ in range(32_768):
    reserved.append(mmap.mmap(-1, 1 << 16))
    deflate = Deflate()
    files.add(deflate.compress(content) + deflate.end())
print(len(files))
"""
    away_from_the_heap = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, timeout=120, env=away_from_the_heap
    )
    assert run.stdout == b"1\n"
