"""Files in this process's memory: for the ``memory`` store, which loses them when the process exits, and for tests."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from fluxport.errors import Conflict, NotFound, Refused, StoreFull
from fluxport.settings import setting
from fluxport.sinks.options import SinkOptions
from fluxport.stages import About, Chunks, Receipt, SignedUrl

_SCHEME = "memory:"


@dataclass(frozen=True, kw_only=True)
class MemoryOptions(SinkOptions):
    type: Literal["memory"] = "memory"
    bytes_max: int = setting(256 << 20, gt=0, description="limit for all files together")


class MemorySink:
    """Stores a file completely or not at all, like every sink; safe to use from several threads."""

    def __init__(self, options: MemoryOptions | None = None, *, overwrite: bool = False) -> None:
        self._options = options or MemoryOptions()
        self._overwrite = overwrite
        self._lock = threading.Lock()
        self._files: dict[str, tuple[bytes, float]] = {}
        self._bytes = 0

    def put(self, name: str, chunks: Chunks, about: About | None = None) -> Receipt:
        """StoreFull if ``bytes_max`` is reached, Conflict if ``name`` exists and must not be overwritten."""
        content, name = bytearray(), name.removeprefix(_SCHEME)
        with closing(chunks):
            if any(part in ("", ".", "..") for part in name.split("/")):
                raise Refused(f"{name!r} cannot be the name of a stored file.", code="bad_name")
            try:
                self._check_free(name)
                for chunk in chunks:
                    self._reserve(memoryview(chunk).nbytes)
                    content += chunk
                with self._lock:
                    self._check_free(name)
                    replaced, _ = self._files.get(name, (b"", 0.0))
                    self._files[name] = (bytes(content), time.time())
                    self._bytes -= len(replaced)
            except BaseException:
                self._release(len(content))
                raise
        return Receipt(_SCHEME + name, len(content), hashlib.sha256(content).hexdigest(), "sha256")

    def get(self, location: str) -> bytes:
        """The file at a receipt's ``location``."""
        try:
            return self._files[location.removeprefix(_SCHEME)][0]
        except KeyError:
            raise NotFound("The file is no longer in the store; it may have expired.", code="no_such_file") from None

    def open(self, location: str, start: int = 0, end: int | None = None) -> Chunks:
        """The bytes of the file at a receipt's location; NotFound if it no longer exists."""
        yield memoryview(self.get(location))[start:end]

    def url(self, location: str, expires_s: float, about: About | None = None) -> SignedUrl | None:
        """Memory has no presigned URLs."""
        return None

    def remove(self, name: str) -> None:
        """Delete the file with this name or location, if it exists."""
        with self._lock:
            removed = self._files.pop(name.removeprefix(_SCHEME), None)
            self._bytes -= len(removed[0]) if removed else 0

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._files)

    def sweep(self, older_than_s: float, now: float) -> list[str]:
        """Delete files stored more than ``older_than_s`` before ``now`` (Unix time); returns their names."""
        with self._lock:
            expired = sorted(n for n, (_, stored) in self._files.items() if stored < now - older_than_s)
            for name in expired:
                self._bytes -= len(self._files.pop(name)[0])
        return expired

    def _check_free(self, name: str) -> None:
        if name in self._files and not self._overwrite:
            raise Conflict(f"A file named {name!r} exists already; choose another name.", code="file_exists")

    def _reserve(self, size: int) -> None:
        with self._lock:
            if self._bytes + size > self._options.bytes_max:
                raise StoreFull(
                    f"The memory store holds {self._options.bytes_max:,} bytes at most; use a local store for more."
                )
            self._bytes += size

    def _release(self, size: int) -> None:
        with self._lock:
            self._bytes -= size
