"""``fluxport export``: one export, no server."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fluxport.cli.heap import frugal_malloc
from fluxport.cli.names import OneOf, compression_names, format_names
from fluxport.errors import Refused
from fluxport.signals import interruptible
from fluxport.targets import REMOTE, THROUGH, deliver, form_of, target

if TYPE_CHECKING:
    from fluxport.config import Config
    from fluxport.datasets import Dataset
    from fluxport.plan import Connection, Export, Origin
    from fluxport.policy.guard import GuardPolicy
    from fluxport.sinks.options import SinkOptions
    from fluxport.spec import ExportSpec
    from fluxport.stages import Limits
    from fluxport.targets import ExportResult, Target


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
@click.option("--start", metavar="TIME", help="First moment of sensors, included: milliseconds since 1970 or RFC 3339.")
@click.option("--end", metavar="TIME", help="Last moment of sensors, included.")
@click.option("--user", metavar="NAME", help="Whose rows of the dataset; default: your login name.")
@click.option(
    "--from",
    "source",
    metavar="URL|CONNECTION",
    help="Where the rows are: mysql://user@host/db, or a name from the configuration; a dataset has its own.",
)
@click.option(
    "--to",
    "target",
    required=True,
    metavar="FILE|-|URL",
    help=f"Where the file goes; - is standard output; {', '.join(REMOTE)} and a bucket and key are object stores. "
    "A folder gets a name made from --filename.",
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
    "--filename", metavar="TEMPLATE", help="Name in a folder, with {date} {time} {job_id}, of several files {part}."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 31_536_000, min_open=True),
    metavar="SECONDS",
    help="End the export after so long.",
)
@click.option(
    "--cell-bytes-max", type=click.IntRange(1), metavar="BYTES", help="Refuse a cell larger than this (default 64 MiB)."
)
@click.option("--count", is_flag=True, help="Count the rows first, so that the progress has a percentage.")
@click.option("--strict", is_flag=True, help="Fail with code 3, leaving no file, if any value had to be changed.")
@click.option(
    "--guard/--no-guard", default=True, show_default=True, help="Check that the statement only reads before it is sent."
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
def export(**given: Any) -> None:
    """Export the rows of QUERY, of a dataset or of sensors to a file, complete or not at all."""
    for value in (text for one in given.values() for text in (one if isinstance(one, tuple) else (one,))):
        if isinstance(value, str) and not _is_utf8(value):
            raise Refused(f"{value!r} is not valid UTF-8.", code="bad_text")
    run(Asked(**given))


def _is_utf8(word: str) -> bool:
    """Whether a word of the command line was; else it holds surrogates for its bytes."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Asked:
    """The command line, as it was given."""

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


def run(asked: Asked) -> None:
    gc.disable()  # nothing that is imported is ever garbage, and looking for it takes a tenth of the start
    from fluxport.cli import guarded
    from fluxport.cli.progress import watched

    to = target(asked.target, lambda: _stores(asked))
    statement = None
    if [asked.query is None, asked.dataset is None, not asked.sensors].count(False) != 1:
        raise click.UsageError("Give either a QUERY, --dataset NAME or --sensor ID.")
    if asked.query is not None and asked.source is None:
        raise click.UsageError("Missing option '--from': where the rows are.")
    if asked.query is not None and asked.guard:
        statement = guarded.start(asked.query, lambda: _policy(asked))

    frugal_malloc()
    from fluxport.spec import ExportSpec

    format_name, packed = form_of(to, asked.format_, asked.compression)
    chosen = dict(_pairs(asked.options, "--option"))
    if asked.columns is not None:
        chosen["columns"] = asked.columns
    spec = ExportSpec(
        query=asked.query or "",
        dataset=asked.dataset,
        series=_series(asked),
        params={} if asked.sensors else dict(_pairs(asked.params, "--param")),
        format=format_name,
        options=chosen,
        compression=packed,
        filename=asked.filename,
    )
    planned = _planned(asked, spec, to, statement)
    interruptible()
    gc.freeze()
    gc.enable()
    total = planned.rows_to_come() if asked.count else None
    with watched(planned.tally, total=total, as_json=asked.as_json, quiet=asked.quiet):
        done = deliver(planned, to, strict=asked.strict)
    if not asked.quiet:
        _show(done, asked.as_json)


def _stores(asked: Asked) -> Mapping[str, SinkOptions]:
    from fluxport.config import load

    return load(asked.config_path).stores


def _planned(asked: Asked, spec: ExportSpec, to: Target, statement: Callable[[], str] | None) -> Export:
    from fluxport.plan import check

    origin, limits = _sensors(asked, spec) if spec.series is not None else _queried(asked, spec, statement)
    return check(spec, origin, limits=limits, may_split=to.may_split).open("export")


def _queried(asked: Asked, spec: ExportSpec, statement: Callable[[], str] | None) -> tuple[Origin, Limits]:
    from fluxport.plan import of_dataset, of_query

    dataset = None if asked.dataset is None else _dataset(asked.dataset, asked.config_path)
    source = asked.source or (dataset.connection if dataset is not None else "")
    connection, limits = _connection(source, asked.config_path, asked.timeout, asked.cell_bytes_max)
    if dataset is not None:
        import getpass

        owner = asked.user or getpass.getuser()
        return of_dataset(spec, connection, dataset, owner), limits
    if statement is None:
        connection, statement = replace(connection, guard=None), lambda: spec.query
    return of_query(spec, connection, statement), limits


def _series(asked: Asked) -> dict[str, Any] | None:
    """The source of sensors as the service takes it."""
    if not asked.sensors:
        return None
    one = len(asked.sensors) == 1
    given: dict[str, Any] = {"sensor_id": asked.sensors[0] if one else list(asked.sensors)}
    given |= {name: value for name, value in (("start_ts", asked.start), ("end_ts", asked.end)) if value is not None}
    return given | dict(_pairs(asked.params, "--param"))


def _sensors(asked: Asked, spec: ExportSpec) -> tuple[Origin, Limits]:
    from fluxport.config import load
    from fluxport.plan import of_sensors
    from fluxport.wiring import sensors

    config = load(asked.config_path)
    found = sensors(config)
    if found is None:
        raise Refused(
            "The configuration names no sensor store: set series.path or series.connection.", code="no_series"
        )
    limits = _limits(config, asked.timeout, asked.cell_bytes_max)
    return of_sensors(spec, found.store), limits


def _dataset(name: str, config_path: Path | None) -> Dataset:
    from fluxport.config import load
    from fluxport.wiring import datasets

    known = datasets(load(config_path))
    if name not in known:
        names = ", ".join(sorted(known)) or "none"
        raise Refused(f"Unknown dataset {name!r}; the configuration has: {names}.", code="unknown_dataset")
    return known[name]


def _policy(asked: Asked) -> GuardPolicy:
    """What the statement may do: as the named connection says, else any reading that its database allows."""
    source = asked.source or ""
    if not _is_url(source):
        from fluxport.config import load
        from fluxport.wiring import connections

        named = connections(load(asked.config_path)).get(source)
        if named is not None and named.guard is not None:
            return named.guard
    from fluxport.plan import guard_dialect
    from fluxport.policy.guard import GuardPolicy

    return GuardPolicy(dialect=guard_dialect(source), params=True)


def _is_url(source: str) -> bool:
    return "://" in source or "@" in source or "(" in source


def _pairs(given: tuple[str, ...], name: str) -> list[tuple[str, str]]:
    for item in given:
        if "=" not in item:
            raise click.UsageError(f"{name} takes NAME=VALUE, not {item!r}.")
    return [(item.split("=", 1)[0], item.split("=", 1)[1]) for item in given]


def _connection(
    source: str, config_path: Path | None, timeout: float | None, cell_bytes_max: int | None
) -> tuple[Connection, Limits]:
    from fluxport.plan import Connection
    from fluxport.stages import Limits

    cell = cell_bytes_max or Limits.cell_bytes_max
    if _is_url(source):
        return Connection("cli", source), Limits(deadline_s=timeout, cell_bytes_max=cell)
    from fluxport.config import load
    from fluxport.wiring import connections

    config = load(config_path)
    known = connections(config)
    if source not in known:
        names = ", ".join(sorted(known)) or "none"
        raise Refused(
            f"{source!r} is neither a database URL nor a connection of the configuration (there: {names}).",
            code="unknown_connection",
        )
    return known[source], _limits(config, timeout, cell_bytes_max)


def _limits(config: Config, timeout: float | None, cell_bytes_max: int | None) -> Limits:
    """Those of the configuration, or what the command line says instead."""
    from fluxport.stages import Limits

    return Limits(
        rows_max=config.limits.rows_max,
        bytes_max=config.limits.bytes_max,
        cell_bytes_max=cell_bytes_max or config.limits.cell_bytes_max,
        deadline_s=timeout or config.limits.export_s,
    )


def _show(done: ExportResult, as_json: bool) -> None:
    import json

    out = sys.stderr if done.location == THROUGH else sys.stdout
    if as_json:
        proof: dict[str, Any] = {"files": [asdict(file) for file in done.files]} if done.files else {}
        proof |= {} if done.sha256 is None else {"sha256": done.sha256}
        proof |= {} if done.verified is None else {"verified": done.verified}
        shown = {
            "event": "completed",
            "location": done.location,
            "rows": done.rows,
            "bytes": done.bytes,
            **proof,
            "truncated": done.truncated,
            "columns": [column._asdict() for column in done.columns],
            "warnings": [{"code": f.code, "column": f.column, "count": f.count} for f in done.warnings],
        }
        click.echo(json.dumps(shown, ensure_ascii=False), file=out)
        return
    for finding in done.warnings:
        click.echo(f"warning: {finding.sentence}", err=True)
    for file in done.files:
        click.echo(_line(file.location, file.rows, file.bytes) + f", sha256 {file.sha256}", file=out)
    said = f"{len(done.files):,} files" if done.sha256 is None else f"sha256 {done.sha256}"
    if "://" in done.location and done.verified is not None:
        said += f", verified by {done.verified}"
    click.echo(f"{_line(done.location, done.rows, done.bytes)}, {said}", file=out)


def _line(location: str, rows: int, size_bytes: int) -> str:
    return f"{location}: {rows:,} rows, {size_bytes:,} bytes"
