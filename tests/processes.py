"""The system's information about processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def holders(file: Path) -> Iterator[int]:
    """The numbers of the processes that have ``file`` open, once for each descriptor."""
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # it is closed, or another user's
            if entry.readlink() == file:
                yield int(entry.parts[2])


def descriptors(file: Path) -> int:
    """How many descriptors of any process are open on ``file``."""
    return sum(1 for _ in holders(file))
