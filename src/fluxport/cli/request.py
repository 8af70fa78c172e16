"""The arguments that say which rows to read, of ``fluxport export`` and ``fluxport preview``."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fluxport.errors import Refused

if TYPE_CHECKING:
    from fluxport.api import Configured, Dataset, Sensors
    from fluxport.stages import Limits

Command = TypeVar("Command", bound=Callable[..., Any])

# What an export from a database into a file loads once it has its statement.
_NEXT = ("fluxport.policy.formulas", "fluxport.sinks.local")
NEXT = {
    "mysql": ("fluxport.sources.mysql.source", "fluxport.sources.mysql.text", "fluxport.sources.mysql.binary", *_NEXT),
    "sqlite": ("fluxport.sources.sqlite.source", "fluxport.sources.sqlite.bulk", *_NEXT),
}

_WHERE = (
    click.argument("query", required=False),
    click.option("--dataset", metavar="NAME", help="Export a dataset of the configuration instead of a query."),
    click.option(
        "--sensor",
        "sensors",
        multiple=True,
        metavar="ID",
        help="Export the points of a sensor of the configuration instead; may be repeated.",
    ),
    click.option(
        "--start", metavar="TIME", help="Start of the range of sensors, inclusive: milliseconds since 1970 or RFC 3339."
    ),
    click.option("--end", metavar="TIME", help="End of the range of sensors, inclusive."),
    click.option(
        "--sort",
        metavar="A,-B,...",
        help="Sort the rows of a dataset by these of its columns, descending after -; equal ones stay in its own "
        "order.",
    ),
    click.option("--limit", type=int, metavar="ROWS", help="A page of a dataset: at most this many rows."),
    click.option("--offset", type=int, metavar="ROWS", help="Where the page begins: behind this many rows."),
    click.option(
        "--user", metavar="NAME", help="The user whose rows of the dataset to export; default: your login name."
    ),
    click.option(
        "--from",
        "source",
        metavar="URL|CONNECTION",
        help="The database: a URL such as mysql://user@host/db, or a connection of the configuration; a dataset has "
        "its own.",
    ),
)
_WHICH = (
    click.option("--columns", metavar="A,B,...", help="Pick and order columns."),
    click.option(
        "--param",
        "-p",
        "params",
        multiple=True,
        metavar="NAME=VALUE",
        help="A value bound to :NAME in the query, a filter of the dataset, or layout, aggregate, interval or time of "
        "sensors; may be repeated.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(0, 31_536_000, min_open=True),
        metavar="SECONDS",
        help="Abort after this time.",
    ),
    click.option(
        "--cell-bytes-max",
        type=click.IntRange(1),
        metavar="BYTES",
        help="Refuse a cell larger than this (default 64 MiB).",
    ),
    click.option(
        "--guard/--no-guard",
        default=True,
        show_default=True,
        help="Before sending the statement, check that it only reads.",
    ),
    click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Configuration file (default: fluxport.yaml).",
    ),
)


def where_options(command: Command) -> Command:
    """QUERY, and the options that say where rows come from."""
    return _decorated(command, _WHERE)


def which_options(command: Command) -> Command:
    """The options that say which of the rows are read, and how."""
    return _decorated(command, _WHICH)


def _decorated(command: Command, options: tuple[Callable[[Command], Command], ...]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True)
class Request:
    """The parsed arguments."""

    query: str | None
    dataset: str | None
    sensors: tuple[str, ...]
    start: str | None
    end: str | None
    sort: str | None
    limit: int | None
    offset: int | None
    user: str | None
    source: str | None
    columns: str | None
    params: tuple[str, ...]
    timeout: float | None
    cell_bytes_max: int | None
    guard: bool
    config_path: Path | None

    def rows(self) -> str | Dataset | Sensors:
        """The source of the Python API that the arguments name."""
        from fluxport import api

        if [self.query is None, self.dataset is None, not self.sensors].count(False) != 1:
            raise click.UsageError("Give one of QUERY, --dataset NAME or --sensor ID.")
        if self.dataset is not None:
            page = {"limit": self.limit, "offset": self.offset}
            return api.Dataset(self.dataset, self.user, self.source, self.sort, **page)
        if (self.sort, self.limit, self.offset) != (None, None, None):
            raise click.UsageError("--sort, --limit and --offset are for --dataset; -o limit=ROWS limits any export.")
        if self.sensors:
            ids = self.sensors
            return api.Sensors(ids[0] if len(ids) == 1 else ids, self.start, self.end)
        if self.source is None:
            raise click.UsageError("Missing option '--from': the database to query.")
        return self.source

    def url(self, configured: Configured) -> str:
        """The URL of the database; empty for sensors."""
        if self.dataset is not None:
            return configured.connection(self.source or configured.dataset(self.dataset).connection).url
        return configured.connection(self.source).url if self.query is not None and self.source is not None else ""

    def limits(self, configured: Limits) -> Limits:
        """The ``configured`` limits, or those of the arguments."""
        return replace(
            configured,
            deadline_s=self.timeout or configured.deadline_s,
            cell_bytes_max=self.cell_bytes_max or configured.cell_bytes_max,
        )

    def statement(self, configured: Configured) -> Callable[[], str] | None:
        """Start the guard on a caller's query; see ``guarded.start``. None if there is nothing to check. The returned
        function may be called again."""
        from fluxport.cli import guarded

        source, query = self.source, self.query
        if source is None or query is None or not self.guard:
            return None
        params = self.params and dict(pairs(self.params, "--param"))
        return functools.cache(
            _loading_first(guarded.start(query, lambda: configured.guard(source).taking(params)), configured, source)
        )


def check_text(arguments: Mapping[str, Any]) -> None:
    """Refused if an argument of the command line was not UTF-8: it then has surrogates in place of bytes."""
    for name, given in arguments.items():
        for value in given if isinstance(given, tuple) else (given,):
            if isinstance(value, str) and not _is_utf8(value):
                raise Refused(f"The argument {name} is not valid UTF-8.", code="bad_text")  # it may hold a password


def _is_utf8(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def pairs(items: tuple[str, ...], name: str) -> list[tuple[str, str]]:
    for item in items:
        if "=" not in item:
            raise click.UsageError(f"{name} takes NAME=VALUE, not {item!r}.")
    return [(item.split("=", 1)[0], item.split("=", 1)[1]) for item in items]


def _loading_first(statement: Callable[[], str], configured: Configured, source: str) -> Callable[[], str]:
    """``statement``, which waits for the guard's process, after loading what an export needs then."""

    def loaded() -> str:
        from fluxport.sources import source_of

        for module in NEXT.get(source_of(configured.connection(source).url), ()):
            importlib.import_module(module)
        return statement()

    return loaded
