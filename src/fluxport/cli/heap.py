"""How a process of ours takes memory from the system, and when Python looks for what it can give back."""

from __future__ import annotations

import ctypes
import gc


def frugal_malloc() -> None:
    """One heap for all threads that keeps a few MB at hand: the same blocks, of each slice, are taken from it again.

    With a heap per thread, or blocks asked of the system each time, an export takes more memory or more time, and a
    service keeps what its exports took. Only glibc has these settings (malloc.h: M_TRIM_THRESHOLD -1, M_MMAP_THRESHOLD
    -3, M_ARENA_MAX -8); elsewhere the allocator stays as it is. To be called before there are threads.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for setting, value in ((-8, 1), (-3, 4 << 20), (-1, 4 << 20)):
            mallopt(setting, value)


def starting() -> None:
    """Until :func:`started`, no garbage is looked for: the half a million objects of a service's modules stay, and to
    walk through them again and again takes a tenth of its start."""
    gc.disable()


def started() -> None:
    """From here on garbage is collected, but among what is made from here on alone."""
    gc.freeze()
    gc.enable()
