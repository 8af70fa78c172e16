"""From where a command takes Arrow's memory: a process that only asks for the pool after the command's settings."""

from __future__ import annotations

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


def pool(**variables: str) -> str:
    environ = {name: value for name, value in os.environ.items() if name != NAME} | variables
    done = subprocess.run([sys.executable, "-c", ASK], env=environ, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.strip()


@pytest.mark.skipif("jemalloc" not in pa.supported_memory_backends(), reason="pyarrow has no jemalloc here")
def test_on_linux_arrow_allocates_from_jemalloc() -> None:
    assert pool() == ("jemalloc" if sys.platform == "linux" else "system")


def test_a_pool_that_the_user_chose_stays() -> None:
    assert pool(**{NAME: "mimalloc"}) == "mimalloc"
