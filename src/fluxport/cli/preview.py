"""``fluxport preview``: the first rows of an export, in the terminal."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from fluxport.cli.heap import frugal_malloc
from fluxport.cli.login import Login, asking
from fluxport.cli.request import Request, check_text, pairs, where_options, which_options
from fluxport.signals import interruptible

if TYPE_CHECKING:
    from fluxport.preview import Preview

ROWS_MAX = 1000


@click.command()
@where_options
@click.option(
    "--rows",
    type=click.IntRange(1, ROWS_MAX),
    default=20,
    show_default=True,
    help="Maximum number of rows.",
)
@which_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object: columns, rows, truncated and warnings.")
def preview(rows: int, as_json: bool, **arguments: Any) -> None:
    """Show the first rows of QUERY, of a dataset or of sensors, read as an export would read them.

    Control characters are escaped, and long values cut; NULL stands for no value, "NULL" for that text.
    """
    check_text(arguments)
    shown = _read(Request(**arguments), rows, may_ask=not as_json)
    if as_json:
        click.echo(_json(shown))
        return
    _show(shown)
    for finding in shown.warnings:
        click.echo(f"warning: {finding.sentence}", err=True)


def _read(request: Request, rows: int, *, may_ask: bool) -> Preview:
    from fluxport import api
    from fluxport.preview import PREVIEW_LIMITS, read
    from fluxport.spec import ExportSpec

    login = Login()
    configured = login.configured(request.config_path)
    source = request.rows()
    statement = request.statement(configured)
    frugal_malloc()
    options = {} if request.columns is None else {"columns": request.columns}
    params = dict(pairs(request.params, "--param"))
    spec = api.spec_of(request.query, source, params, "json", options, ExportSpec.compression, None)
    limits = request.limits(replace(PREVIEW_LIMITS, rows=rows))
    interruptible()

    def attempt() -> Preview:
        return read(api.planned(spec, source, configured, limits=limits, guarded=statement))

    return asking(login, may_ask, lambda: request.url(configured), attempt)


def _json(shown: Preview) -> str:
    columns = [{"name": name, "type": kind, "key": key} for name, kind, key in shown.columns]
    warnings = [finding.to_json() for finding in shown.warnings]
    head = json.dumps({"columns": columns, "truncated": shown.truncated, "warnings": warnings}, ensure_ascii=False)
    rows = shown.rows.replace("\n", "")  # between rows only: inside strings it is escaped
    return f'{head[:-1]}, "rows": {rows}}}'


def _show(shown: Preview) -> None:
    from fluxport.cli.terminal import show_rows

    rows = json.loads(shown.rows, parse_int=_Number, parse_float=_Number)
    show_rows([name for name, _, _ in shown.columns], [[_cell(value) for value in row.values()] for row in rows])
    more = ", more follow" if shown.truncated else ""
    click.echo(f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'}{more}", err=True)


@dataclass(frozen=True)
class _Number:
    """A number of JSON, with all its digits."""

    text: str


def _cell(value: Any) -> Any:
    from fluxport.cli.terminal import Cell

    if value is None:
        return Cell("NULL", faint=True)
    if isinstance(value, _Number):
        return Cell(value.text, number=True)
    if isinstance(value, str):
        return Cell('"NULL"' if value == "NULL" else value)
    return Cell(_text(value))


def _text(value: Any) -> str:
    """A value as JSON; its numbers as they were written."""
    if isinstance(value, _Number):
        return value.text
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_text(key)}: {_text(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return json.dumps(value, ensure_ascii=False)
