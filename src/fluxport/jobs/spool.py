"""A spool on disk for responses whose client is slower than their source. All responses of a process share one unnamed
file, which disappears with the process.

    file      | block 0 | block 1 | block 2 | ...    at most ``all_bytes_max``
    response  a queue of (block, length); a block that was read is free for any response
"""

from __future__ import annotations

import errno
import logging
import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fluxport.errors import LimitExceeded, Unavailable
from fluxport.stages import Chunks
from fluxport.systems import read_at, write_at

log = logging.getLogger("fluxport.spool")

BLOCK_BYTES = 64 << 10
SPACE_WAIT_S = 0.1


@dataclass(frozen=True)
class SpoolOptions:
    """``bytes_max`` limits one response, ``all_bytes_max`` all together; ``least_bytes_s`` is the rate in bytes per
    second at which a client must read while the spool is full and others wait. ``folder`` holds the file; None: the
    system's temporary folder."""

    bytes_max: int = 1 << 30
    all_bytes_max: int = 4 << 30
    least_bytes_s: int = 64 << 10
    folder: Path | None = None


class Spool:
    """The file. It is created with the first block, and truncated once no response uses it."""

    def __init__(self, options: SpoolOptions) -> None:
        self.options = options
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._free: list[int] = []
        self._block_count = 0

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def write(self, data: memoryview) -> int | None:
        """Write ``data`` into a free block and return its number; None if the spool is full."""
        with self._lock:
            if not self._free and (self._block_count + 1) * BLOCK_BYTES > self.options.all_bytes_max:
                return None
            if self._free:
                block = self._free.pop()
            else:
                block, self._block_count = self._block_count, self._block_count + 1
            try:
                if self._file is None:
                    self._file = tempfile.TemporaryFile(prefix="fluxport-", dir=self.options.folder, buffering=0)  # noqa: SIM115  as long as the process
            except OSError as error:
                self._free.append(block)
                raise _failed(error) from error
        try:
            at = 0
            while at < len(data):
                at += write_at(self._file.fileno(), data[at:], block * BLOCK_BYTES + at)
        except OSError as error:
            self.free([block])
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return None
            raise _failed(error) from error
        return block

    def read(self, block: int, size: int) -> bytes:
        assert self._file is not None
        try:
            data = read_at(self._file.fileno(), size, block * BLOCK_BYTES)
        except OSError as error:
            raise _failed(error) from error
        if len(data) != size:
            raise _failed(None)
        return data

    def free(self, blocks: list[int]) -> None:
        with self._lock:
            self._free += blocks
            if len(self._free) == self._block_count and self._file is not None:
                self._free.clear()
                self._block_count = 0
                os.ftruncate(self._file.fileno(), 0)


class Spooled:
    """One response in the spool: written by one thread, read by another."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._changed = threading.Condition()
        self._blocks: deque[tuple[int, int]] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self.size_bytes = 0
        self.taken_bytes = 0
        self.full = False  # whether the writer waits for free space

    def write(self, chunk: bytes | memoryview, *, wait: bool) -> None:
        """Append a chunk. If there is no space, ``wait`` until the reader has freed some, else raise: LimitExceeded if
        the response is too large, Unavailable if the spool is full. Raises the error that :meth:`fail` was given."""
        view = memoryview(chunk)
        for at in range(0, len(view), BLOCK_BYTES):
            data = view[at : at + BLOCK_BYTES]
            with self._changed:
                while (block := self._write_block(data, wait)) is None:
                    self._changed.wait(SPACE_WAIT_S)  # another response may free space without notifying this one
                self._blocks.append((block, len(data)))
                self.size_bytes += len(data)
                self._changed.notify_all()

    def _write_block(self, data: memoryview, wait: bool) -> int | None:
        if self._error is not None:
            raise self._error
        most = self._spool.options.bytes_max
        fits = self.size_bytes - self.taken_bytes + len(data) <= most
        block = self._spool.write(data) if fits else None
        if block is None and not wait:
            raise _too_large(most) if not fits else _all_full()
        self.full = block is None
        return block

    def end(self) -> None:
        """Mark the response as complete."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Raise ``error`` in reader and writer, even if blocks are unread."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def chunks(self, check: Callable[[], None]) -> Chunks:
        """The blocks as they are written, until :meth:`end`; ``check`` may raise before each."""
        while True:
            with self._changed:
                while not self._blocks and not self._ended and self._error is None:
                    self._changed.wait()
                if self._error is not None:
                    raise self._error
                if not self._blocks:
                    return
                block, size = self._blocks.popleft()
            try:
                check()
                data = self._spool.read(block, size)
            finally:
                self._spool.free([block])
            with self._changed:
                self.taken_bytes += size
                self._changed.notify_all()
            yield data

    def close(self) -> None:
        """Free the unread blocks; nothing may be written after this."""
        with self._changed:
            blocks = [block for block, _ in self._blocks]
            self._blocks.clear()
        self._spool.free(blocks)


def whole(chunks: Chunks, spooled: Spooled, check: Callable[[], None] = lambda: None) -> Chunks:
    """``chunks``, but only after the last one has been written to the spool. Until then yields an empty chunk for each,
    so that the caller's thread is not blocked throughout. ``spooled.size_bytes`` is then the total length."""
    try:
        with closing(chunks):
            for chunk in chunks:
                spooled.write(chunk, wait=False)
                yield b""
        spooled.end()
        yield from spooled.chunks(check)
    finally:
        spooled.close()


def _failed(error: OSError | None) -> Unavailable:
    log.error("the spool cannot be used: %s", error.strerror if error else "its file was truncated")
    return Unavailable("The spool file cannot be written or read; retry in a moment.", code="spool_failed")


def _too_large(most: int) -> LimitExceeded:
    return LimitExceeded(
        f"A response to HTTP/1.0, which cannot mark its end, may have at most {most:,} bytes; use HTTP/1.1 "
        "(nginx: proxy_http_version 1.1) or a stored export.",
        code="spool_too_small",
    )


def _all_full() -> Unavailable:
    return Unavailable(
        "The spool for HTTP/1.0 responses is full; retry in a moment, or use HTTP/1.1.",
        code="spool_full",
        retry_after_s=30,
    )
