"""``fluxport export --dry-run``: the plan of an export, which is not run."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fluxport.api import Configured
    from fluxport.cli.request import Request
    from fluxport.outlook import Outlook
    from fluxport.plan import Checked


def show(checked: Checked, place: str, request: Request, configured: Configured, *, count: bool, as_json: bool) -> None:
    """Connect, and print the plan of an export to ``place``."""
    from fluxport.outlook import outlook

    described = outlook(checked, count=count)
    plan = {
        "event": "planned",
        "source": _source(request, configured),
        "statement": described.statement,
        "format": checked.form.format,
        "compression": checked.spec.compression,
        "target": place,
        "rows": described.rows,
        "counted": described.counted,
    }
    if as_json:
        click.echo(json.dumps(plan | _details(described), ensure_ascii=False))
    else:
        _print(plan, described)


def _details(described: Outlook) -> dict[str, Any]:
    return {
        "columns": [column._asdict() for column in described.columns],
        "possible_warnings": [
            {"code": possible.code, "columns": possible.columns, "message": possible.sentence}
            for possible in described.possible
        ],
    }


def _print(plan: dict[str, Any], described: Outlook) -> None:
    from fluxport.cli.terminal import printable, show_columns

    rows = "not known; --count counts them"
    if described.rows is not None:
        rows = f"{described.rows:,}" if described.counted else f"about {described.rows:,}, as the database expects"
    format_name = plan["format"] if plan["compression"] == "none" else f"{plan['format']}, {plan['compression']}"
    lines = {"source": plan["source"], "rows": rows, "format": format_name, "target": plan["target"]}
    for name, text in lines.items():
        click.echo(f"{name + ':':<9}{printable(text)}")
    if described.statement is not None:
        click.echo("statement:")
        for line in described.statement.splitlines():
            click.echo(f"  {printable(line)}")
    click.echo("columns:")
    show_columns(described.columns)
    for possible in described.possible:
        click.echo(f"possible warning: {printable(possible.sentence)}", err=True)
    click.echo("Nothing was exported.", err=True)


def _source(request: Request, configured: Configured) -> str:
    """The source without user, password and options, any of which may be a secret."""
    if request.sensors:
        return f"sensors {', '.join(request.sensors)}"
    name = request.source
    if request.dataset is not None:
        name = name or configured.dataset(request.dataset).connection
        return f"dataset {request.dataset} of {_database(name, configured)}"
    assert name is not None
    return _database(name, configured)


def _database(name: str, configured: Configured) -> str:
    from fluxport.sources import SOURCES, source_of
    from fluxport.sources.table import is_url
    from fluxport.sources.tunnels import without_tunnel

    url = configured.connection(name).url
    label = SOURCES[source_of(url)].label
    if not is_url(name):
        return f"the connection {name!r} ({label})"
    url, _ = without_tunnel(url)
    # libpq allows any character in a password: what may be of one is not shown. Go's form and ODBC's have no scheme.
    found = re.fullmatch(r"([a-z][a-z0-9+.-]*://)(?:[^?#]*@)?([^@?#]*)(?:[?#][^@]*)?", url, re.IGNORECASE | re.DOTALL)
    return f"{found[1]}{found[2]} ({label})" if found else label
