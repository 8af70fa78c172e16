"""``fluxport tables``: what there is to export from a database."""

from __future__ import annotations

import json
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fluxport.cli.database import config_option, json_option
from fluxport.cli.login import Login, asking
from fluxport.cli.terminal import printable, show_columns

if TYPE_CHECKING:
    from fluxport.sources.tables import TableInfo


@click.command()
@click.argument("pattern", required=False)
@click.option(
    "--from",
    "source",
    metavar="URL|CONNECTION",
    required=True,
    help="The database: a URL such as mysql://user@host/db, or a connection of the configuration.",
)
@json_option
@config_option
def tables(pattern: str | None, source: str, as_json: bool, config_path: Path | None) -> None:
    """List tables and views, their rows as the database estimates them, and their columns with types.

    PATTERN, such as 'order*' or 'shop.*', picks tables by name or schema.name; case does not matter. Of a connection
    with a list of tables only those are listed. The exit code is 1 if there is no such table.
    """
    from fluxport.sources.tables import list_tables

    login = Login()
    configured = login.configured(config_path)

    def attempt() -> list[TableInfo]:
        connection = configured.connection(source)
        may_read = connection.guard.opens if connection.guard is not None else None
        return list_tables(connection.url, replace(connection.options, may_read=may_read))

    every = asking(login, not as_json, lambda: configured.connection(source).url, attempt)
    listed = [table for table in every if _matches(table, pattern)]
    for number, table in enumerate(listed):
        if as_json:
            click.echo(_json(table))
            continue
        if number:
            click.echo()
        _show(table)
    if not listed:
        click.echo("fluxport: there is no such table, or the account may not read it.", err=True)
        raise click.exceptions.Exit(1)


def _matches(table: TableInfo, pattern: str | None) -> bool:
    return pattern is None or any(fnmatchcase(name.lower(), pattern.lower()) for name in (table.name, table.full_name))


def _json(table: TableInfo) -> str:
    columns = [column._asdict() for column in table.columns]
    shown = {"schema": table.schema, "name": table.name, "kind": table.kind, "rows_estimate": table.rows}
    return json.dumps({**shown, "columns": columns}, ensure_ascii=False)


def _show(table: TableInfo) -> None:
    estimate = "" if table.rows is None else f", about {table.rows:,} rows"
    click.echo(f"{printable(table.full_name)}: {table.kind}{estimate}")
    show_columns(table.columns)
