"""The system's information about processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def holders(file: Path) -> Iterator[int]:
    """The numbers of the processes that have ``file`` open, once for each descriptor."""
    for process in os.listdir("/proc"):
        entries: list[str] = []
        if process.isdigit():
            with suppress(OSError):  # it has ended, or is another user's
                entries = os.listdir(f"/proc/{process}/fd")
        for entry in entries:
            with suppress(OSError):  # it is closed
                if os.readlink(f"/proc/{process}/fd/{entry}") == str(file):
                    yield int(process)


def descriptors(file: Path) -> int:
    """How many descriptors of any process are open on ``file``."""
    return sum(1 for _ in holders(file))
