"""Settings of the memory allocator and of Python's garbage collector."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys

ARROW_POOL = "ARROW_DEFAULT_MEMORY_POOL"
JEMALLOC_SETTINGS = "JE_ARROW_MALLOC_CONF"
OUR_POOL = "_FLUXPORT_ARROW_POOL"  # what ``cli`` has set the other to, where the user had not


def frugal_malloc() -> None:
    """Let Arrow's buffers and all other memory be allocated so that each record batch reuses the blocks of the last.

    Call it before threads start, and before Arrow allocates anything.
    """
    _one_heap()
    _arrow_pool()


def _one_heap() -> None:
    """Use one heap for all threads, and retain a few MB of it.

    With a heap per thread, or blocks from the system each time, an export takes more memory or more time, and a service
    does not return the memory that its exports used. Only glibc has these settings (malloc.h: M_TRIM_THRESHOLD -1,
    M_MMAP_THRESHOLD -3, M_ARENA_MAX -8); other allocators stay unchanged.
    """
    if sys.platform == "win32":
        return  # it has no library of that kind
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for setting, value in ((-8, 1), (-3, 4 << 20), (-1, 4 << 20)):
            mallopt(setting, value)


def _arrow_pool() -> None:
    """Take Arrow's buffers from jemalloc, where pyarrow has it (on Linux) and ARROW_DEFAULT_MEMORY_POOL is not set.

    Arrow aligns each buffer. glibc cannot reuse a freed aligned block for an aligned one of the same size, and merges
    it with its neighbours only until a small allocation lies between: of wide rows a service would retain 50 MB more
    after each stream. mimalloc retains more than jemalloc of narrow rows, and 4 MB from the start, so that the default
    of ``cli`` is the system's. Without caches of its threads, a few large buffers of each batch cost no more time, and
    no freed ones stay in them.
    """
    if sys.platform != "linux" or os.environ.get(ARROW_POOL) != os.environ.get(OUR_POOL):
        return
    ours = JEMALLOC_SETTINGS not in os.environ
    if ours:
        os.environ[JEMALLOC_SETTINGS] = "tcache:false"  # read while pyarrow loads
    import pyarrow as pa

    if ours:
        del os.environ[JEMALLOC_SETTINGS]  # not meant for other programs
    with contextlib.suppress(NotImplementedError):
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def starting() -> None:
    """Disable garbage collection until :func:`started`: repeatedly walking the half a million objects of a service's
    modules, which all stay, takes a tenth of the start-up time."""
    gc.disable()


def started() -> None:
    """Enable garbage collection, but only of objects created from now on."""
    gc.freeze()
    gc.enable()
