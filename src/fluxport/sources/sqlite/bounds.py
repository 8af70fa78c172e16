"""What a statement may take of the process it runs in: memory and room on disk. Its time is the source's business.

A value, or a row that is sorted, has at most a length of SQLite's own limit, a little above that of a cell, so that a
cell which is too large can be named; all that SQLite holds for the process's statements has a bound, which none of
them can raise. What is sorted or deduplicated beyond a few megabytes rests in SQLite's temporary files (SQLITE_TMPDIR,
TMPDIR, /var/tmp or /tmp), which have no names and go with the connection.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

# SQLite knows one heap for the process, and lets it only be lowered. The service's own database has its small share of
# it; what meets the bound is nearly always the large piece that a statement of a caller asks for.
HEAP_BYTES = 512 << 20
LENGTH_MIN = 1 << 20
FREE_BYTES = 1 << 30  # room on disk that temporary files leave to others
TEMPORARY_BYTES = 64 << 20  # files smaller than this are not what takes it
_FILES = Path("/proc/self/fd")


def set_bounds(connection: sqlite3.Connection, cell_bytes_max: int) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(LENGTH_MIN, min(cell_bytes_max * 5 // 4, 1_000_000_000)))
    connection.execute(f"PRAGMA hard_heap_limit = {HEAP_BYTES}")
    connection.execute("PRAGMA temp_store = FILE")


def disk_is_low(free_min: int = FREE_BYTES) -> bool:
    """Whether SQLite's temporary files of this process leave less than ``free_min`` of their disk; False where the
    system does not tell."""
    held, free = 0, free_min
    with suppress(OSError):
        for entry in _FILES.iterdir():
            with suppress(OSError):  # closed meanwhile
                if "/etilqs_" in os.readlink(entry):
                    number = int(entry.name)
                    held += os.fstat(number).st_size
                    room = os.fstatvfs(number)
                    free = min(free, room.f_bavail * room.f_frsize)
    return held > TEMPORARY_BYTES and free < free_min
