"""``sqlite:///relative.db``, ``sqlite:////absolute/path.db``; option ``busy-timeout`` in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from fluxport.errors import Refused

OPTIONS = ("busy-timeout",)


@dataclass(frozen=True)
class Dsn:
    path: Path
    busy_timeout_s: float = 5.0

    @property
    def read_only_uri(self) -> str:
        return f"{self.path.absolute().as_uri()}?mode=ro"


def parse_dsn(text: str) -> Dsn:
    place, _, query = text.partition("://")[2].partition("?")
    if not place.startswith("/") or place == "/":
        raise _refused("write sqlite:///file.db for a relative path and sqlite:////path/file.db for an absolute one")
    path = Path(unquote(place[1:]))
    if "\0" in str(path):
        raise _refused("the path holds a zero byte")
    busy_timeout_s = 5.0
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name.replace("_", "-") not in OPTIONS:
            raise _refused(f"unknown option {name!r}; these exist: {', '.join(OPTIONS)}")
        try:
            busy_timeout_s = float(value.removesuffix("s"))
        except ValueError:
            busy_timeout_s = -1.0
        if not 0 <= busy_timeout_s <= 3600:
            raise _refused(f"option {name!r} takes seconds such as 5")
    return Dsn(path, busy_timeout_s)


def _refused(what: str) -> Refused:
    return Refused(f"The SQLite data source is not right: {what}.", code="bad_dsn")
