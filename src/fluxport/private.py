"""Files for the service's account alone."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def reserve(path: Path) -> None:
    """Make the file, if it is not there, so that no other account can read what will be written to it; what SQLite
    puts beside a database has the mode of the database. What cannot be made, its opener will say."""
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
