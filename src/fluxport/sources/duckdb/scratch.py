"""The folder of a statement's temporary files, which vanishes with its process.

DuckDB gives its temporary files names, so that a process that is killed leaves them. The folder is locked as long as
its process runs; whoever makes the next one removes those without a lock.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from fluxport.systems import locked, open_folder

PREFIX = "fluxport-duckdb-"
FREE_BYTES = 1 << 30  # disk space that temporary files must leave free


class Scratch:
    def __init__(self) -> None:
        place = Path(tempfile.gettempdir())
        for left in place.glob(f"{PREFIX}*"):
            _remove_if_left(left)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        self._descriptor = open_folder(self.path)
        if self._descriptor is not None:
            locked(self._descriptor)

    @property
    def bytes_max(self) -> int:
        """How large the temporary files may become."""
        return max(0, shutil.disk_usage(self.path).free - FREE_BYTES)

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _remove_if_left(folder: Path) -> None:
    try:
        descriptor = open_folder(folder)
    except OSError:  # another user's, or removed meanwhile
        return
    if descriptor is None:
        return
    try:
        # A folder without a file in it may just have been made, and not yet be locked.
        if any(folder.iterdir()) and locked(descriptor):
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return
    finally:
        os.close(descriptor)
