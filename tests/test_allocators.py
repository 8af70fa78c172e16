"""From where a command takes Arrow's memory: a process that only asks for the pool after the command's settings."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pyarrow as pa
import pytest

ASK = """
import fluxport.cli.heap as heap
heap.frugal_malloc()
import pyarrow as pa
print(pa.default_memory_pool().backend_name)
"""
NAME = "ARROW_DEFAULT_MEMORY_POOL"
SETTINGS = "JE_ARROW_MALLOC_CONF"
OURS = "_FLUXPORT_ARROW_POOL"  # set with it by the tests that run in a process of a command


def pool(program: str = ASK, **variables: str) -> str:
    environ = {name: value for name, value in os.environ.items() if name not in (NAME, OURS)} | variables
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.strip()


@pytest.mark.skipif("jemalloc" not in pa.supported_memory_backends(), reason="pyarrow has no jemalloc here")
def test_on_linux_arrow_allocates_from_jemalloc() -> None:
    assert pool() == ("jemalloc" if sys.platform == "linux" else "system")


STATISTICS = """
import fluxport.cli.heap as heap
heap.frugal_malloc()
import pyarrow as pa
pa.default_memory_pool().print_stats()
"""


@pytest.mark.skipif(
    sys.platform != "linux" or "jemalloc" not in pa.supported_memory_backends(), reason="pyarrow has no jemalloc here"
)
@pytest.mark.parametrize(("chosen", "cached"), [({}, "false"), ({SETTINGS: "narenas:2"}, "true")])
def test_jemalloc_has_no_caches_of_threads_unless_the_user_chose_its_settings(
    chosen: dict[str, str], cached: str
) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in (NAME, OURS, SETTINGS)} | chosen
    done = subprocess.run([sys.executable, "-c", STATISTICS], env=environ, capture_output=True, text=True, check=True)
    assert f"opt.tcache: {cached}" in done.stdout + done.stderr


@pytest.mark.parametrize("chosen", ["mimalloc", "system"])
def test_a_pool_that_the_user_chose_stays(chosen: str) -> None:
    assert pool(**{NAME: chosen}) == chosen


@pytest.mark.skipif("jemalloc" not in pa.supported_memory_backends(), reason="pyarrow has no jemalloc here")
def test_a_process_that_a_command_starts_does_not_take_the_default_for_a_choice() -> None:
    ask = f"import fluxport.cli, subprocess, sys; subprocess.run([sys.executable, '-c', {ASK!r}], check=True)"
    assert pool(ask) == ("jemalloc" if sys.platform == "linux" else "system")


FREED = """
from fluxport.systems import return_free_memory
import os
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
blocks = [b"x" * 100_000 for _ in range(200)]
last = b"x" * 100_000
blocks.clear()
held = resident()
return_free_memory()
print(held - resident())
"""


@pytest.mark.skipif(
    sys.platform == "win32" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library returns none"
)
def test_memory_that_lies_free_below_a_used_block_is_returned() -> None:
    assert int(pool(FREED)) > 15_000_000
