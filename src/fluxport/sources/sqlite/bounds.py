"""Limits on a statement's memory and temporary disk space. The source limits its time.

SQLite's own length limit bounds every value and every sorted row; it is a little above the cell limit, so that an error
can name the cell that is too large. SQLite's heap has a hard limit for the whole process, which no statement can raise.
Sorts and DISTINCT beyond a few megabytes use SQLite's temporary files (SQLITE_TMPDIR, TMPDIR, /var/tmp or /tmp), which
are unlinked and vanish with the connection.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

# SQLite has one heap per process, whose limit can only be lowered. The service's own database uses a small share of it;
# an allocation that fails is nearly always a large one of a caller's statement.
HEAP_BYTES = 512 << 20
LENGTH_MIN = 1 << 20
FREE_BYTES = 1 << 30  # disk space that temporary files must leave free
TEMPORARY_BYTES = 64 << 20  # smaller files do not fill a disk
_FILES = Path("/proc/self/fd")


def set_bounds(connection: sqlite3.Connection, cell_bytes_max: int) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(LENGTH_MIN, min(cell_bytes_max * 5 // 4, 1_000_000_000)))
    connection.execute(f"PRAGMA hard_heap_limit = {HEAP_BYTES}")
    connection.execute("PRAGMA temp_store = FILE")


def disk_is_low(free_min: int = FREE_BYTES) -> bool:
    """Whether this process's SQLite temporary files leave less than ``free_min`` bytes free on their disk; False where
    the system does not show them."""
    used, free = 0, free_min
    with suppress(OSError):
        for entry in _FILES.iterdir():
            with suppress(OSError):  # closed meanwhile
                if "/etilqs_" in os.readlink(entry):
                    number = int(entry.name)
                    used += os.fstat(number).st_size
                    room = os.fstatvfs(number)
                    free = min(free, room.f_bavail * room.f_frsize)
    return used > TEMPORARY_BYTES and free < free_min
