"""``fluxport export``: one export without a service."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from fluxport.cli.heap import frugal_malloc
from fluxport.cli.names import OneOf, compression_names, format_names
from fluxport.errors import Refused
from fluxport.signals import interruptible
from fluxport.targets import REMOTE, THROUGH, deliver, form_of, target

if TYPE_CHECKING:
    from fluxport.api import Configured, Dataset, Sensors
    from fluxport.targets import ExportResult


# What an export from MySQL into a file loads once it has its statement.
NEXT = (
    *("fluxport.sources.mysql.source", "fluxport.sources.mysql.text", "fluxport.sources.mysql.binary"),
    *("fluxport.policy.formulas", "fluxport.sinks.local"),
)


@click.command()
@click.argument("query", required=False)
@click.option("--dataset", metavar="NAME", help="Export a dataset of the configuration instead of a query.")
@click.option(
    "--sensor",
    "sensors",
    multiple=True,
    metavar="ID",
    help="Export the points of a sensor of the configuration instead; may be repeated.",
)
@click.option(
    "--start", metavar="TIME", help="Start of the range of sensors, inclusive: milliseconds since 1970 or RFC 3339."
)
@click.option("--end", metavar="TIME", help="End of the range of sensors, inclusive.")
@click.option("--user", metavar="NAME", help="The user whose rows of the dataset to export; default: your login name.")
@click.option(
    "--from",
    "source",
    metavar="URL|CONNECTION",
    help="The database: a URL such as mysql://user@host/db, or a connection of the configuration; a dataset has its "
    "own.",
)
@click.option(
    "--to",
    "target",
    required=True,
    metavar="FILE|-|URL",
    help=f"Where to write the file; - is standard output; {', '.join(REMOTE)} with a bucket and key are object stores, "
    "store://NAME/KEY is a store of the configuration. In a folder, --filename names the file.",
)
@click.option(
    "--format",
    "format_",
    metavar="NAME",
    cls=OneOf,
    names=format_names,
    help="default: by the file's suffix.",
)
@click.option(
    "--option",
    "-o",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the format, such as profile=excel-eu; may be repeated.",
)
@click.option("--columns", metavar="A,B,...", help="Pick and order columns.")
@click.option(
    "--param",
    "-p",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A value bound to :NAME in the query, a filter of the dataset, or layout, aggregate, interval or time of "
    "sensors; may be repeated.",
)
@click.option(
    "--compression", metavar="NAME", cls=OneOf, names=compression_names, help="default: by the file's suffix."
)
@click.option(
    "--filename",
    metavar="TEMPLATE",
    help="File name in a folder, with {date} {time} {job_id}, and {part} for part files.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 31_536_000, min_open=True),
    metavar="SECONDS",
    help="Abort the export after this time.",
)
@click.option(
    "--cell-bytes-max", type=click.IntRange(1), metavar="BYTES", help="Refuse a cell larger than this (default 64 MiB)."
)
@click.option("--count", is_flag=True, help="Count the rows first, so that the progress has a percentage.")
@click.option("--strict", is_flag=True, help="Fail with exit code 3, without a file, if any value had to be changed.")
@click.option(
    "--guard/--no-guard",
    default=True,
    show_default=True,
    help="Before sending the statement, check that it only reads.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file (default: fluxport.yaml).",
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per line: the result on stdout, progress on stderr."
)
@click.option("--quiet", "-q", is_flag=True, help="No progress and no result line.")
def export(**arguments: Any) -> None:
    """Export the rows of QUERY, of a dataset or of sensors to a file, complete or not at all."""
    for name, given in arguments.items():
        if not all(
            _is_utf8(value) for value in (given if isinstance(given, tuple) else (given,)) if isinstance(value, str)
        ):
            raise Refused(f"The argument {name} is not valid UTF-8.", code="bad_text")  # its value may hold a password
    run(Arguments(**arguments))


def _is_utf8(argument: str) -> bool:
    """Whether an argument of the command line was UTF-8; if not, it has surrogates in place of bytes."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Arguments:
    """The parsed arguments of the command line."""

    query: str | None
    dataset: str | None
    sensors: tuple[str, ...]
    start: str | None
    end: str | None
    user: str | None
    source: str | None
    target: str
    format_: str | None
    options: tuple[str, ...]
    columns: str | None
    params: tuple[str, ...]
    compression: str | None
    filename: str | None
    timeout: float | None
    cell_bytes_max: int | None
    count: bool
    strict: bool
    guard: bool
    config_path: Path | None
    as_json: bool
    quiet: bool


def run(arguments: Arguments) -> None:
    gc.disable()  # imports create no garbage, and collections among them take a tenth of the start-up time
    from fluxport import api
    from fluxport.cli import guarded
    from fluxport.cli.progress import watched

    configured = api.Configured(arguments.config_path)
    to = target(arguments.target, configured.stores)
    source, query = _source(arguments), arguments.query
    statement = None
    if isinstance(source, str) and query is not None and arguments.guard:
        statement = _loading_first(guarded.start(query, lambda: configured.guard(source)), configured, source)

    frugal_malloc()
    format_name, compression = form_of(to, arguments.format_, arguments.compression)
    options = dict(_pairs(arguments.options, "--option"))
    if arguments.columns is not None:
        options["columns"] = arguments.columns
    params = dict(_pairs(arguments.params, "--param"))
    spec = api.spec_of(query, source, params, format_name, options, compression, arguments.filename)
    limits = configured.limits(source)
    planned = api.planned(
        spec,
        source,
        configured,
        limits=replace(
            limits,
            deadline_s=arguments.timeout or limits.deadline_s,
            cell_bytes_max=arguments.cell_bytes_max or limits.cell_bytes_max,
        ),
        guarded=statement,
        may_split=to.may_split,
    )
    interruptible()
    gc.freeze()
    gc.enable()
    total = planned.rows_to_come() if arguments.count else None
    with watched(planned.tally, total=total, as_json=arguments.as_json, quiet=arguments.quiet):
        result = deliver(planned, to, strict=arguments.strict)
    if not arguments.quiet:
        _show(result, arguments.as_json)


def _loading_first(statement: Callable[[], str], configured: Configured, source: str) -> Callable[[], str]:
    """``statement``, which waits for the guard's process, after loading what an export needs then."""

    def loaded() -> str:
        from fluxport.sources import source_of

        if source_of(configured.connection(source).url) == "mysql":
            for module in NEXT:
                importlib.import_module(module)
        return statement()

    return loaded


def _source(arguments: Arguments) -> str | Dataset | Sensors:
    """The source of the Python API that the arguments name."""
    from fluxport import api

    if [arguments.query is None, arguments.dataset is None, not arguments.sensors].count(False) != 1:
        raise click.UsageError("Give one of QUERY, --dataset NAME or --sensor ID.")
    if arguments.dataset is not None:
        return api.Dataset(arguments.dataset, arguments.user, arguments.source)
    if arguments.sensors:
        ids = arguments.sensors
        return api.Sensors(ids[0] if len(ids) == 1 else ids, arguments.start, arguments.end)
    if arguments.source is None:
        raise click.UsageError("Missing option '--from': the database to query.")
    return arguments.source


def _pairs(items: tuple[str, ...], name: str) -> list[tuple[str, str]]:
    for item in items:
        if "=" not in item:
            raise click.UsageError(f"{name} takes NAME=VALUE, not {item!r}.")
    return [(item.split("=", 1)[0], item.split("=", 1)[1]) for item in items]


def _show(result: ExportResult, as_json: bool) -> None:
    import json

    out = sys.stderr if result.location == THROUGH else sys.stdout
    if as_json:
        proof: dict[str, Any] = {"files": [asdict(file) for file in result.files]} if result.files else {}
        proof |= {} if result.sha256 is None else {"sha256": result.sha256}
        proof |= {} if result.verified is None else {"verified": result.verified}
        shown = {
            "event": "completed",
            "location": result.location,
            "rows": result.rows,
            "bytes": result.bytes,
            **proof,
            "truncated": result.truncated,
            "columns": [column._asdict() for column in result.columns],
            "warnings": [finding.to_json() for finding in result.warnings],
        }
        _print(json.dumps(shown, ensure_ascii=False), out)
        return
    for finding in result.warnings:
        click.echo(f"warning: {finding.sentence}", err=True)
    for file in result.files:
        _print(_line(file.location, file.rows, file.bytes) + f", sha256 {file.sha256}", out)
    proof_text = f"{len(result.files):,} files" if result.sha256 is None else f"sha256 {result.sha256}"
    if "://" in result.location and result.verified is not None:
        proof_text += f", verified by {result.verified}"
    _print(f"{_line(result.location, result.rows, result.bytes)}, {proof_text}", out)


def _print(text: str, out: TextIO | None) -> None:
    """Print to ``out``; None: the process was started without it. For click that would be standard output, where the
    file itself may be."""
    if out is not None:
        click.echo(text, file=out)


def _line(location: str, rows: int, size_bytes: int) -> str:
    return f"{location}: {rows:,} rows, {size_bytes:,} bytes"
