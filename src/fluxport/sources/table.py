"""The table of the kinds of databases, each loaded when used, and what is the same for queries of all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from fluxport.errors import Refused
from fluxport.findings import Findings
from fluxport.plugins import Table
from fluxport.stages import Limits, Source

Params: TypeAlias = Sequence[Any] | Mapping[str, Any]


# The data source name of Go's MySQL driver has no scheme: user:password@tcp(host:3306)/database?parseTime=true
# (its password may hold anything, "://" included) or user:password@/database.
GO_FORM = re.compile(r"(?:(?:.*@)?(?:tcp|unix)(?:\(.*\))?|(?!.*://).*@)/[^/?]*(?:\?.*)?", re.DOTALL)


class SourceEntry(NamedTuple):
    """All that is known of a kind of database without importing its source.

    Its name and ``aliases`` are schemes of URLs; ``form`` matches URLs that have none. ``module`` is imported when the
    source is used; it has the class ``source``, called as ``cls(url, query, params, options, findings, limits)``.
    ``guard`` is the dialect by which the guard reads statements of callers; without one there are only datasets, whose
    SQL is declared for ``dialect``. ``account``, as ``module:name``, is an :class:`fluxport.sources.accounts.Look`.
    ``embedded`` names the modules of an engine that would run in our own process: they are imported once in the process
    from which others are forked, one for each statement that has a time limit.
    """

    module: str
    source: str
    label: str  # for people
    example: str  # of a URL
    aliases: tuple[str, ...] = ()
    dialect: str | None = None
    guard: Literal["mysql", "sqlite", "duckdb"] | None = None
    account: str | None = None
    embedded: tuple[str, ...] = ()
    form: re.Pattern[str] | None = None


SOURCES: Table[SourceEntry] = Table(
    "source",
    SourceEntry,
    {
        "mysql": SourceEntry(
            "fluxport.sources.mysql",
            "MySqlSource",
            label="MySQL and MariaDB",
            example="mysql://user:password@host:3306/database",
            aliases=("mariadb",),
            dialect="mysql",
            guard="mysql",
            account="fluxport.sources.mysql.account:LOOK",
            form=GO_FORM,
        ),
        "postgresql": SourceEntry(
            "fluxport.sources.postgres",
            "PostgresSource",
            label="PostgreSQL",
            example="postgresql://user:password@host:5432/database",
            aliases=("postgres",),
            dialect="postgresql",
            account="fluxport.sources.postgres.account:LOOK",
        ),
        "sqlite": SourceEntry(
            "fluxport.sources.sqlite",
            "SqliteSource",
            label="SQLite",
            example="sqlite:///file.db",
            dialect="sqlite",
            guard="sqlite",
            account="fluxport.sources.sqlite.account:LOOK",
            embedded=("pyarrow", "fluxport.sources.sqlite.columns", "fluxport.sources.sqlite.source"),
        ),
    },
)


QUERIES_MAX = 3  # queries at once on a connection that says nothing else


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


def open_here(
    url: str,
    query: str,
    params: Params,
    options: SourceOptions,
    findings: Findings,
    limits: Limits,
) -> Source:
    """A source in this process, whatever ``options.separate`` says; else as :func:`fluxport.sources.open_source`."""
    name = source_of(url)
    entry = SOURCES[name]
    made: Source = SOURCES.attribute(name, entry.module, entry.source)(url, query, params, options, findings, limits)
    return made


def scheme_of(url: str) -> str:
    """The scheme of ``url`` in lower case: a name of SOURCES or an alias of one."""
    name, mark, _ = url.partition("://")
    if mark and SOURCES.find(name) is not None:
        return name.lower()
    for kind, entry in SOURCES.built_in.items():
        if entry.form is not None and entry.form.fullmatch(url):
            return kind
    # A scheme is repeated only if it is plainly one: anything else may be part of a password.
    plain = mark and re.fullmatch(r"[a-z][a-z0-9+.-]{0,19}", name)
    named = f"The scheme {name!r} is not known" if plain else "The data source has no scheme"
    schemes = [scheme for kind, entry in SOURCES.items() for scheme in (kind, *entry.aliases)]
    raise Refused(f"{named}; write it like {SOURCES['mysql'].example} (schemes: {', '.join(schemes)}).", code="bad_dsn")


def source_of(url: str) -> str:
    """The name in SOURCES of what reads ``url``."""
    found = SOURCES.find(scheme_of(url))
    assert found is not None
    return found
