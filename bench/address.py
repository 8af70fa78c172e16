"""The parts of a MySQL URL; a small module of its own, because a peer's start-up counts in its time."""

from __future__ import annotations

from urllib.parse import urlsplit


def server_of(url: str) -> tuple[str, int, str, str, str]:
    """Host, port, user, password and database."""
    parts = urlsplit(url)
    host, user, password = (parts.hostname or "127.0.0.1", parts.username or "root", parts.password or "")
    return host, parts.port or 3306, user, password, parts.path[1:]
