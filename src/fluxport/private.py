"""Files that only the service's account can read."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def reserve(path: Path) -> None:
    """Create the file, if it does not exist, readable only by this account; SQLite gives the files beside a database
    the same mode. Errors are ignored here: opening the file will raise them."""
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
