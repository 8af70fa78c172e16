"""The sources: a table of URL schemes, loaded when used."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from fluxport.errors import Refused
from fluxport.findings import Findings
from fluxport.stages import Limits, Source

Params: TypeAlias = Sequence[Any] | Mapping[str, Any]


class Scheme(NamedTuple):
    """Where a source lives: module and class, made as ``cls(url, query, params, options, findings, limits)``; whether
    its engine would run in our own process."""

    module: str
    source: str
    embedded: bool = False


SCHEMES: dict[str, Scheme] = {
    "mysql": Scheme("mysql", "MySqlSource"),
    "mariadb": Scheme("mysql", "MySqlSource"),
    "postgresql": Scheme("postgres", "PostgresSource"),
    "postgres": Scheme("postgres", "PostgresSource"),
    "sqlite": Scheme("sqlite", "SqliteSource", embedded=True),
}
# The data source name of Go's MySQL driver has no scheme: user:password@tcp(host:3306)/database?parseTime=true
# (its password may hold anything, "://" included) or user:password@/database.
GO_FORM = re.compile(r"(?:(?:.*@)?(?:tcp|unix)(?:\(.*\))?|(?!.*://).*@)/[^/?]*(?:\?.*)?", re.DOTALL)


@dataclass(frozen=True)
class SourceOptions:
    """What a configuration says about every query of a connection; options in the URL itself win. ``shown`` is what
    errors call the database; without it, its host and port. Without a timeout, the source's usual one holds.
    ``may_read(schema, table)`` says which tables a caller's statement may read, schema None being the connection's own;
    without it, any. SQLite asks it again for every table that a statement turns out to read; on a server that is what
    the account's rights are for. ``separate``: an engine that would run in our own process runs in another one, which
    can be killed."""

    tinyint1_bool: bool = False
    shown: str = ""
    connect_timeout_s: float | None = None
    read_timeout_s: float | None = None
    may_read: Callable[[str | None, str], bool] | None = None
    separate: bool = False

    @property
    def timeouts(self) -> dict[str, Any]:
        """Those that are set, by the names of their fields."""
        both = {"connect_timeout_s": self.connect_timeout_s, "read_timeout_s": self.read_timeout_s}
        return {name: value for name, value in both.items() if value is not None}


def open_source(
    url: str,
    query: str,
    params: Params = (),
    *,
    options: SourceOptions | None = None,
    findings: Findings | None = None,
    limits: Limits | None = None,
) -> Source:
    """A source for the rows of ``query``; nothing is connected before its ``schema`` is read.

    ``params`` are bound by the database, never put into the text: a sequence for ``?``, a mapping for ``:name``.
    Refused if the URL is wrong; the message never repeats it, for it may hold a password.
    """
    entry = SCHEMES[scheme_of(url)]
    module = importlib.import_module(f"{__name__}.{entry.module}")
    options = options if options is not None else SourceOptions()
    findings = findings if findings is not None else Findings()  # one that counted nothing yet is false
    limits = limits if limits is not None else Limits()
    made: Source = getattr(module, entry.source)(url, query, params, options, findings, limits)
    if entry.embedded and options.separate:  # what was made has shown that it can be
        from fluxport.sources.separate import SeparateSource

        return SeparateSource(url, query, params, options, findings, limits)
    return made


def scheme_of(url: str) -> str:
    """The key of SCHEMES that serves ``url``."""
    name, mark, _ = url.partition("://")
    if mark and name.lower() in SCHEMES:
        return name.lower()
    if GO_FORM.fullmatch(url):
        return "mysql"
    # A scheme is repeated only if it is plainly one: anything else may be part of a password.
    named = f"The scheme {name!r} is not known" if mark and re.fullmatch(r"[a-z][a-z0-9+.-]{0,19}", name) else ""
    raise Refused(
        f"{named or 'The data source has no scheme'}; write it like mysql://user:password@host:3306/database "
        f"(schemes: {', '.join(SCHEMES)}).",
        code="bad_dsn",
    )
