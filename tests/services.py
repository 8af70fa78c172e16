"""Services that tests talk to. A missing one skips the test with its reason, and fails it where CI=true."""

from __future__ import annotations

import os
import shutil
import socket
from urllib.parse import urlsplit

import pytest

MARIADB_URL = os.environ.get("FLUXPORT_TEST_MARIADB", "mysql://root@127.0.0.1:3306/test")


def unavailable(what: str) -> None:
    """Skip (or fail in CI) because ``what`` is missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} must be there when CI=true")
    pytest.skip(f"{what} is not there")


def require_port(url: str, what: str) -> str:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 3306), timeout=2).close()
    except OSError:
        unavailable(f"{what} on {parts.hostname}:{parts.port}")
    return url


def require_program(*names: str) -> str:
    """The path of the first of ``names`` that is installed."""
    for name in names:
        if path := shutil.which(name):
            return path
    unavailable(f"program {' or '.join(names)}")
    raise AssertionError


def require_mariadb() -> str:
    return require_port(MARIADB_URL, "MariaDB")
