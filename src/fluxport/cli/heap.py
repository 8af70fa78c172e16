"""Settings of the memory allocator and of Python's garbage collector."""

from __future__ import annotations

import ctypes
import gc
import sys


def frugal_malloc() -> None:
    """Use one heap for all threads, and retain a few MB of it, so that each record batch reuses the same blocks.

    With a heap per thread, or blocks from the system each time, an export takes more memory or more time, and a service
    does not return the memory that its exports used. Only glibc has these settings (malloc.h: M_TRIM_THRESHOLD -1,
    M_MMAP_THRESHOLD -3, M_ARENA_MAX -8); other allocators stay unchanged. Call it before threads start.
    """
    if sys.platform == "win32":
        return  # it has no library of that kind
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for setting, value in ((-8, 1), (-3, 4 << 20), (-1, 4 << 20)):
            mallopt(setting, value)


def starting() -> None:
    """Disable garbage collection until :func:`started`: repeatedly walking the half a million objects of a service's
    modules, which all stay, takes a tenth of the start-up time."""
    gc.disable()


def started() -> None:
    """Enable garbage collection, but only of objects created from now on."""
    gc.freeze()
    gc.enable()
