"""What differs between operating systems, in one place. Windows has no fork, no advisory locks, no descriptors of
folders and no poll(), and refuses to delete or rename a file that is open."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

try:
    import fcntl

    _LOCKS = True
except ImportError:
    _LOCKS = False

FORKS = hasattr(os, "fork")
# Whether an open file may be deleted and renamed; where it may not, that protects a temporary file instead of a lock.
OPEN_FILES_MOVE = sys.platform != "win32"

_POSITION = threading.Lock()  # of a file, where reading and writing at an offset are two steps


def flags(*names: str) -> int:
    """Those flags of ``os.open`` that this system has, such as O_NOFOLLOW, and that for files without conversion."""
    found = 0
    for name in (*names, "O_CLOEXEC", "O_BINARY"):
        found |= getattr(os, name, 0)
    return found


def steady() -> float:
    """Seconds on a monotonic clock that also runs while the machine sleeps, where the system has one."""
    if not hasattr(time, "clock_gettime"):
        return time.monotonic()
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def signals(*names: str) -> list[signal.Signals]:
    """Those signals that this system has."""
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def locked(descriptor: int) -> bool | None:
    """Whether the exclusive lock was acquired, which ends with the process; None if there are no locks here."""
    if not _LOCKS:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def open_folder(path: str | Path, *, follow: bool = False) -> int | None:
    """A descriptor of the folder itself, of one that a link leads to only with ``follow``; None where folders have
    none."""
    if not hasattr(os, "O_DIRECTORY"):
        return None
    return os.open(path, os.O_RDONLY | flags("O_DIRECTORY", *(() if follow else ("O_NOFOLLOW",))))


def bound_memory(bytes_max: int) -> None:
    """Limit what this process may allocate, where the system has such a limit."""
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = bytes_max if hard == resource.RLIM_INFINITY else min(bytes_max, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def return_free_memory() -> None:
    """Return free pages of the C library's heap to the system (glibc's malloc_trim; nothing elsewhere). Other threads
    that allocate wait until it ends."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    if sys.platform == "win32":
        return None
    import ctypes

    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim


def set_mode(descriptor: int, mode: int) -> None:
    """Set the permissions of an open file, where files have such."""
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, mode)


def ready(wait_s: float, reading: Sequence[int], writing: Sequence[int] = ()) -> bool:
    """Whether one of these descriptors (on Windows, of sockets) became readable or writable within the time."""
    if not hasattr(select, "poll"):
        return any(select.select(reading, writing, (), wait_s))
    poller = select.poll()
    for descriptor in {*reading, *writing}:
        events = (select.POLLIN if descriptor in reading else 0) | (select.POLLOUT if descriptor in writing else 0)
        poller.register(descriptor, events)
    return bool(poller.poll(wait_s * 1000))


def write_at(descriptor: int, data: memoryview, at: int) -> int:
    """Write at an offset, from any thread; returns the number of bytes written."""
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, data, at)
    with _POSITION:
        os.lseek(descriptor, at, os.SEEK_SET)
        return os.write(descriptor, data)


def read_at(descriptor: int, size: int, at: int) -> bytes:
    """Read at an offset, from any thread."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, at)
    with _POSITION:
        os.lseek(descriptor, at, os.SEEK_SET)
        return os.read(descriptor, size)
