"""``fluxport export``: one export without a service."""

from __future__ import annotations

import gc
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TextIO

import click

from fluxport.cli.heap import frugal_malloc
from fluxport.cli.login import Login, asking
from fluxport.cli.names import OneOf, compression_names, format_names
from fluxport.cli.request import Request, check_text, pairs, where_options, which_options
from fluxport.signals import interruptible
from fluxport.targets import REMOTE, THROUGH, deliver, form_of, target

if TYPE_CHECKING:
    from fluxport.api import Configured
    from fluxport.plan import Export, Origin
    from fluxport.spec import ExportSpec
    from fluxport.stages import Limits
    from fluxport.targets import ExportResult, Target


@click.command()
@where_options
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
@click.option(
    "--compression", metavar="NAME", cls=OneOf, names=compression_names, help="default: by the file's suffix."
)
@click.option(
    "--filename",
    metavar="TEMPLATE",
    help="File name in a folder, with {date} {time} {job_id} {connection} {param.NAME}, of a dataset {dataset} {user}, "
    "and {part} for part files.",
)
@which_options
@click.option("--count", is_flag=True, help="Count the rows first, so that the progress has a percentage.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Connect and show the plan: the statement, columns, possible warnings, rows; export nothing.",
)
@click.option("--strict", is_flag=True, help="Fail with exit code 3, without a file, if any value had to be changed.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per line: the result on stdout, progress on stderr."
)
@click.option("--quiet", "-q", is_flag=True, help="No progress and no result line.")
def export(**arguments: Any) -> None:
    """Export the rows of QUERY, of a dataset or of sensors to a file, complete or not at all."""
    check_text(arguments)
    run(Arguments(**arguments))


@dataclass(frozen=True)
class Arguments(Request):
    """The parsed arguments of the command line."""

    target: str
    format_: str | None
    options: tuple[str, ...]
    compression: str | None
    filename: str | None
    count: bool
    dry_run: bool
    strict: bool
    as_json: bool
    quiet: bool


def run(arguments: Arguments) -> None:
    gc.disable()  # imports create no garbage, and collections among them take a tenth of the start-up time
    from fluxport import api

    login = Login()
    configured = login.configured(arguments.config_path)
    to = target(arguments.target, configured.stores)
    source = arguments.rows()
    statement = arguments.statement(configured)

    frugal_malloc()
    format_name, compression = form_of(to, arguments.format_, arguments.compression)
    options = dict(pairs(arguments.options, "--option"))
    if arguments.columns is not None:
        options["columns"] = arguments.columns
    params = dict(pairs(arguments.params, "--param"))
    spec = api.spec_of(arguments.query, source, params, format_name, options, compression, arguments.filename)
    limits = arguments.limits(configured.limits(source))

    def attempt() -> None:
        if arguments.dry_run:
            origin = api.origin_of(spec, source, configured, guarded=statement, columns_only=True)
            _plan(arguments, configured, to, spec, origin, limits)
            return
        planned = api.planned(spec, source, configured, limits=limits, guarded=statement, may_split=to.may_split)
        _export(arguments, planned, to)

    asking(login, not (arguments.quiet or arguments.as_json), lambda: arguments.url(configured), attempt)


def _export(arguments: Arguments, planned: Export, to: Target) -> None:
    from fluxport.cli.progress import watched

    interruptible()
    gc.freeze()
    gc.enable()
    total = planned.rows_to_come() if arguments.count else None
    with watched(planned.tally, total=total, as_json=arguments.as_json, quiet=arguments.quiet):
        result = deliver(planned, to, strict=arguments.strict)
    if not arguments.quiet:
        _show(result, arguments.as_json)


def _plan(
    arguments: Arguments, configured: Configured, to: Target, spec: ExportSpec, origin: Origin, limits: Limits
) -> None:
    from fluxport.cli.dryrun import show
    from fluxport.plan import check

    checked = check(spec, origin, limits=limits, may_split=to.may_split)
    interruptible()
    place = to.place(checked.open("plan").filename)
    show(checked, place, arguments, configured, count=arguments.count, as_json=arguments.as_json)


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
