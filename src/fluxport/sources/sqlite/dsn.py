"""``sqlite:///relative.db``, ``sqlite:////absolute/path.db``, with timeouts as options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from fluxport.errors import Refused
from fluxport.sources import timeouts

BUSY_TIMEOUT = "busy-timeout"  # SQLite's name for connect-timeout: the wait for a writer's lock
OPTIONS = (*timeouts.FIELDS, BUSY_TIMEOUT)


@dataclass(frozen=True)
class Dsn:
    """``read_timeout_s`` None: a statement may run without a row until the deadline."""

    path: Path = Path()
    connect_timeout_s: float = 5.0
    read_timeout_s: float | None = None

    @property
    def read_only_uri(self) -> str:
        return f"{self.path.absolute().as_uri()}?mode=ro"


def parse_dsn(text: str, defaults: Dsn | None = None) -> Dsn:
    place, _, query = text.partition("://")[2].partition("?")
    if not place.startswith("/") or place == "/":
        raise _refused("write sqlite:///file.db for a relative path and sqlite:////path/file.db for an absolute one")
    path = Path(unquote(place[1:]))
    if "\0" in str(path):
        raise _refused("the path holds a zero byte")
    fields: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        is_busy = name.lower().replace("_", "-") == BUSY_TIMEOUT
        field = timeouts.FIELDS["connect-timeout"] if is_busy else timeouts.field_of(name)
        if field is None:
            raise _refused(f"unknown option {name!r}; choose from: {', '.join(OPTIONS)}")
        seconds = 0.0 if is_busy and value in ("0", "0s") else timeouts.timeout(value)
        if seconds is None:
            raise _refused(timeouts.refused(name))
        fields[field] = seconds
    return replace(defaults or Dsn(), path=path, **fields)


def _refused(what: str) -> Refused:
    return Refused(f"The SQLite data source is invalid: {what}.", code="bad_dsn")
