"""Files and folders that only the service's account can read."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def reserve(path: Path) -> None:
    """Create the file, if it does not exist, readable only by this account; SQLite gives the files beside a database
    the same mode. Errors are ignored here: opening the file will raise them."""
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


@contextlib.contextmanager
def temporary_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """A new folder in ``parent``, by default that for temporary files; removed at the end, with all that it contains.

    Unlike with :class:`tempfile.TemporaryDirectory`, a signal that raises just as the folder is created leaves nothing.
    """
    path = Path(parent or tempfile.gettempdir(), prefix + secrets.token_hex(8))
    try:
        path.mkdir(0o700)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
