"""The table of kinds of databases, each imported on use, and the options common to all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from fluxport.errors import Refused
from fluxport.findings import Findings
from fluxport.plugins import Table
from fluxport.stages import Limits, Source

Params: TypeAlias = Sequence[Any] | Mapping[str, Any]
# Which files of rows a statement may read: those of a folder, which their names are relative to; any, as the process
# itself may; or none.
Files: TypeAlias = "Path | Literal['anywhere'] | None"
Guarded: TypeAlias = Literal["mysql", "sqlite", "duckdb", "postgresql"]


# The data source name of Go's MySQL driver has no scheme: user:password@tcp(host:3306)/database?parseTime=true
# (the password may contain anything, even "://") or user:password@/database.
GO_FORM = re.compile(r"(?:(?:.*@)?(?:tcp|unix)(?:\(.*\))?|(?!.*://).*@)/[^/?]*(?:\?.*)?", re.DOTALL)


class SourceEntry(NamedTuple):
    """A kind of database, described without importing its source.

    Its name and ``aliases`` are schemes of URLs; ``form`` matches URLs without a scheme. ``module`` is imported on use
    and has the class ``source``, called as ``cls(url, query, params, options, findings, limits)``.
    ``guard`` is the dialect in which the guard reads callers' statements; without one only datasets are possible, whose
    SQL is declared for ``dialect``. ``account``, as ``module:name``, is an ``AccountCheck`` (accounts.py), and
    ``tables`` a function that lists tables (tables.py); without one they cannot be listed. ``estimate`` is a function
    that estimates the rows of a statement (tables.py). ``tunneled`` is a ``Tunneled`` (tunnels.py); without one there
    are no SSH tunnels.
    ``embedded`` names the modules of an in-process engine: the fork server imports them once, and each statement with a
    time limit runs in a process forked from it. ``files``: statements may read files of rows (SourceOptions.files).
    ``drivers``: the schemes are NAME+DRIVER; these drivers have the dialect of the row named beside them, and its guard
    and account check, unless that row is an in-process engine, whose own source alone locks it down.
    """

    module: str
    source: str
    label: str  # for people
    example: str  # of a URL
    aliases: tuple[str, ...] = ()
    dialect: str | None = None
    guard: Guarded | None = None
    account: str | None = None
    tables: str | None = None
    estimate: str | None = None
    tunneled: str | None = None
    embedded: tuple[str, ...] = ()
    form: re.Pattern[str] | None = None
    files: bool = False
    drivers: Mapping[str, str] | None = None


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
            account="fluxport.sources.mysql.account:CHECK",
            tables="fluxport.sources.mysql.tables:tables",
            estimate="fluxport.sources.mysql.tables:estimate",
            tunneled="fluxport.sources.mysql.tunnel:TUNNELED",
            form=GO_FORM,
        ),
        "postgresql": SourceEntry(
            "fluxport.sources.postgres",
            "PostgresSource",
            label="PostgreSQL",
            example="postgresql://user:password@host:5432/database",
            aliases=("postgres",),
            dialect="postgresql",
            guard="postgresql",
            account="fluxport.sources.postgres.account:CHECK",
            tables="fluxport.sources.postgres.tables:tables",
            tunneled="fluxport.sources.postgres.tunnel:TUNNELED",
        ),
        "sqlite": SourceEntry(
            "fluxport.sources.sqlite",
            "SqliteSource",
            label="SQLite",
            example="sqlite:///file.db",
            dialect="sqlite",
            guard="sqlite",
            account="fluxport.sources.sqlite.account:CHECK",
            tables="fluxport.sources.sqlite.tables:tables",
            embedded=("pyarrow", "fluxport.sources.sqlite.columns", "fluxport.sources.sqlite.source"),
        ),
        "duckdb": SourceEntry(
            "fluxport.sources.duckdb",
            "DuckDbSource",
            label="DuckDB, and files of rows",
            example="duckdb:///file.db",
            dialect="duckdb",
            guard="duckdb",
            account="fluxport.sources.duckdb.account:CHECK",
            # DuckDB itself is imported by the process that uses it: it is optional, and starts no slower than a query.
            embedded=("pyarrow", "fluxport.sources.duckdb.columns", "fluxport.sources.duckdb.source"),
            form=re.compile(r"duckdb:.*", re.DOTALL | re.IGNORECASE),
            files=True,
        ),
        "adbc": SourceEntry(
            "fluxport.sources.adbc",
            "AdbcSource",
            label="ADBC",
            example="adbc+flightsql://user:password@host:31337",
            dialect="other",
            embedded=("pyarrow", "fluxport.sources.adbc.columns", "fluxport.sources.adbc.source"),
            drivers={"postgresql": "postgresql", "sqlite": "sqlite", "duckdb": "duckdb"},
        ),
        "odbc": SourceEntry(
            "fluxport.sources.dbapi.odbc",
            "OdbcSource",
            label="ODBC",
            example="odbc:DSN=name;UID=user;PWD=password",
            dialect="other",
            embedded=("pyarrow", "fluxport.sources.dbapi.columns", "fluxport.sources.dbapi.odbc"),
            form=re.compile(r"odbc:(?!//).*", re.DOTALL | re.IGNORECASE),
        ),
        "firebird": SourceEntry(
            "fluxport.sources.dbapi.firebird",
            "FirebirdSource",
            label="Firebird",
            example="firebird://user:password@host:3050/database",
            dialect="other",
            account="fluxport.sources.dbapi.firebird_account:CHECK",
            embedded=("pyarrow", "fluxport.sources.dbapi.columns", "fluxport.sources.dbapi.firebird"),
        ),
    },
)


QUERIES_MAX = 3  # default of concurrent queries per connection


@dataclass(frozen=True)
class SourceOptions:
    """Configured options of every query on a connection; options in the URL take precedence. ``shown`` is the
    database's name in errors, by default its host and port. A timeout of None means the source's default.
    ``may_read(schema, table)`` says which tables a caller's statement may read (schema None is the connection's own);
    None allows all. SQLite checks it again for every table that a statement reads; on a server the account's grants do
    that. ``separate``: an in-process engine runs in a separate process, which can be killed. ``own_process``: no other
    code of this process opens the source's file, so that another library may. ``files`` are those that a statement may
    read beside the database; with a folder, the engine always runs in a separate process, whose working directory that
    is. ``decimal_text``: decimals may be arrays of :class:`fluxport.decimals.DecimalText`. ``columns_only``: only the
    schema will be read, so that a source may leave out the rows."""

    tinyint1_bool: bool = False
    shown: str = ""
    connect_timeout_s: float | None = None
    read_timeout_s: float | None = None
    may_read: Callable[[str | None, str], bool] | None = None
    separate: bool = False
    own_process: bool = False
    files: Files = None
    decimal_text: bool = False
    columns_only: bool = False

    @property
    def timeouts(self) -> dict[str, Any]:
        """The timeouts that are set, by field name."""
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
    """Like :func:`fluxport.sources.open_source`, but always in this process: ``options.separate`` is ignored."""
    name = source_of(url)
    entry = SOURCES[name]
    source: Source = SOURCES.attribute(name, entry.module, entry.source)(url, query, params, options, findings, limits)
    return source


def is_url(source: str) -> bool:
    """Whether this is a URL of a database, not the name of a connection, which tcp/shop may be too."""
    return "://" in source or "@" in source or "(" in source or _form(source) not in (None, "mysql")


def _form(url: str) -> str | None:
    """The name in SOURCES of the source whose form a URL has; MySQL's, which matches most, comes last."""
    forms = [(kind, entry.form) for kind, entry in SOURCES.built_in.items() if entry.form is not None]
    return next((kind for kind, form in reversed(forms) if form.fullmatch(url)), None)


def scheme_of(url: str) -> str:
    """The scheme of ``url`` in lower case: a name of SOURCES, an alias of one, or NAME+DRIVER."""
    name, mark, _ = url.partition("://")
    if mark and _named(name) is not None:
        return name.lower()
    if (kind := _form(url)) is not None:
        return kind
    # Only a plain scheme is repeated: anything else may be part of a password.
    plain = mark and re.fullmatch(r"[a-z][a-z0-9+.-]{0,19}", name)
    named = f"The scheme {name!r} is not known" if plain else "The data source has no scheme"
    schemes = [scheme for kind, entry in SOURCES.items() for scheme in schemes_of(kind, entry)]
    raise Refused(f"{named}; write it like {SOURCES['mysql'].example} (schemes: {', '.join(schemes)}).", code="bad_dsn")


def schemes_of(kind: str, entry: SourceEntry) -> Sequence[str]:
    """The schemes of a row of SOURCES, as one writes them."""
    return [kind, *entry.aliases] if entry.drivers is None else [f"{kind}+DRIVER"]


def source_of(url: str) -> str:
    """The name in SOURCES of the source for ``url``."""
    name = _named(scheme_of(url))
    assert name is not None
    return name


def guard_of(url: str) -> Guarded | None:
    """The dialect in which the guard reads callers' statements on this database; None if it cannot."""
    return _server(url).guard


def account_of(url: str) -> str | None:
    """The AccountCheck of accounts on this database, as in SourceEntry; None if there is none."""
    return _server(url).account


def dialect_of(url: str) -> str:
    """The dialect for which the SQL of datasets on this database is declared."""
    name = source_of(url)
    entry = _kin(url) or SOURCES[name]
    return entry.dialect or name


def _named(scheme: str) -> str | None:
    """The name in SOURCES of the source with this scheme."""
    family, plus, driver = scheme.partition("+")
    name = SOURCES.find(scheme if not plus else family)
    takes_driver = name is not None and SOURCES[name].drivers is not None
    if plus and not (takes_driver and _DRIVER.fullmatch(driver)):
        return SOURCES.find(scheme)
    return name if takes_driver == bool(plus) else None


_DRIVER = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.IGNORECASE)


def _server(url: str) -> SourceEntry:
    """The row of SOURCES that knows the server, or the in-process engine's own row."""
    kin = _kin(url)
    return SOURCES[source_of(url)] if kin is None or kin.embedded else kin


def _kin(url: str) -> SourceEntry | None:
    """The row of SOURCES for the same kind of database as that of a URL with a driver."""
    name = (SOURCES[source_of(url)].drivers or {}).get(scheme_of(url).partition("+")[2])
    return SOURCES.get(name or "")
