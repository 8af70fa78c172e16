"""``sqlite:///relative.db``, ``sqlite:////absolute/path.db``, with timeouts as options.

The path may be SQLite's own URI (``sqlite:///file:/absolute/path.db?mode=ro``), as other programs write it. Of its
options only those are taken that leave the file as it is: a lock that is not taken or another VFS would read rows that
a writer is changing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from fluxport.errors import Refused
from fluxport.sources import timeouts

BUSY_TIMEOUT = "busy-timeout"  # SQLite's name for connect-timeout: the wait for a writer's lock
IMMUTABLE = "immutable"
OPTIONS = (*timeouts.FIELDS, BUSY_TIMEOUT, IMMUTABLE)
# Options of SQLite's URIs, and of libraries around it, that ask for what is done anyway.
DONE = {"mode": ("ro",), "cache": ("private",), "uri": ("true", "1")}
_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True)
class Dsn:
    """``read_timeout_s`` None: a statement may run without a row until the deadline. ``immutable``: nobody writes the
    file, so it needs no lock and no file beside it."""

    path: Path = Path()
    connect_timeout_s: float = 5.0
    read_timeout_s: float | None = None
    immutable: bool = False

    @property
    def read_only_uri(self) -> str:
        return f"{self.path.absolute().as_uri()}?mode=ro{'&immutable=1' if self.immutable else ''}"


def parse_dsn(text: str, defaults: Dsn | None = None) -> Dsn:
    place, _, query = text.partition("://")[2].partition("?")
    if not place.startswith("/") or place == "/":
        raise _refused("write sqlite:///file.db for a relative path and sqlite:////path/file.db for an absolute one")
    path = Path(unquote(_path(place[1:])))
    if "\0" in str(path):
        raise _refused("the path holds a zero byte")
    fields: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in DONE:
            if value.lower() not in DONE[name]:
                raise _refused(f"{name} must be {DONE[name][0]}, as exports only read; leave it out")
            continue
        if name == IMMUTABLE:
            if value.lower() not in _BOOLEANS:
                raise _refused("immutable must be 1 or 0")
            fields["immutable"] = _BOOLEANS[value.lower()]
            continue
        is_busy = name.lower().replace("_", "-") == BUSY_TIMEOUT
        field = timeouts.FIELDS["connect-timeout"] if is_busy else timeouts.field_of(name)
        if field is None:
            raise _refused(f"unknown option {name!r}; choose from: {', '.join(OPTIONS)}")
        seconds = 0.0 if is_busy and value in ("0", "0s") else timeouts.timeout(value)
        if seconds is None:
            raise _refused(timeouts.refused(name))
        fields[field] = seconds
    return replace(defaults or Dsn(), path=path, **fields)


def _path(place: str) -> str:
    """The path of ``place``, which may be a URI of SQLite."""
    if not place.lower().startswith("file:"):
        return place
    path = place[5:].partition("#")[0]
    if path.startswith("//"):
        host, _, path = path[2:].partition("/")
        if host not in ("", "localhost"):
            raise _refused("the file must be on this machine; write file:/path/file.db")
        path = f"/{path}"
    if path in ("", "/", ":memory:"):
        raise _refused("the URI names no file; write file:/path/file.db")
    return path


def _refused(what: str) -> Refused:
    return Refused(f"The SQLite data source is invalid: {what}.", code="bad_dsn")
