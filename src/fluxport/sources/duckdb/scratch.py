"""The folder of a statement's temporary files, which vanishes with its process.

DuckDB gives its temporary files names, so that a process that is killed leaves them. The folder is locked as long as
its process runs; whoever makes the next one removes those without a lock.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from fluxport.systems import locked, open_folder

PREFIX = "fluxport-duckdb-"
FREE_BYTES = 1 << 30  # disk space that temporary files must leave free


class Scratch:
    def __init__(self) -> None:
        place = Path(tempfile.gettempdir())
        for left in place.glob(f"{PREFIX}*"):
            _remove_if_left(left)
        self.path, self._descriptor = _made(place)

    @property
    def bytes_max(self) -> int:
        """How large the temporary files may become."""
        return max(0, shutil.disk_usage(self.path).free - FREE_BYTES)

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _made(place: Path) -> tuple[Path, int | None]:
    """A new folder and the descriptor that holds its lock; None where folders have none."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        descriptor = open_folder(path)
        # Another process may have taken it for one that was left, and removed it before it was locked.
        if descriptor is None or (locked(descriptor) is not False and path.exists()):
            return path, descriptor
        os.close(descriptor)


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError):  # another user's, or removed meanwhile
        descriptor = open_folder(folder)
        if descriptor is not None:
            try:
                if locked(descriptor):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
