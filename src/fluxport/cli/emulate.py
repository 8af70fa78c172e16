"""``fluxport emulate mysql``: a MySQL server with a million users, for development and tests."""

from __future__ import annotations

import importlib.util
import os
import signal

import click

from fluxport.errors import Refused


@click.group()
def emulate() -> None:
    """Emulators of databases, for development."""


@emulate.command()
@click.option("--rows", type=click.IntRange(0), default=1_000_000, show_default=True, help="Rows of the table users.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback addresses only.")
@click.option("--port", type=click.IntRange(0, 65535), default=3306, show_default=True, help="0 takes a free one.")
@click.option("--user", default="fluxport", show_default=True, help="The one account.")
@click.option("--password", default="fluxport", show_default=True, help="Its password.")
@click.option("--database", default="app", show_default=True, help="The one database.")
@click.option("--attached", is_flag=True, hidden=True, help="End when standard input does.")
def mysql(rows: int, host: str, port: int, user: str, password: str, database: str, attached: bool) -> None:
    """Serve the MySQL protocol from an embedded database: users(id, name, email, created_at, score)."""
    require_duckdb()
    from fluxport.loops import background
    from fluxport_emulator.server import EmulatorOptions, run

    if attached:
        background("fluxport-attached", _end_with_input)
    options = EmulatorOptions(host=host, port=port, rows=rows, user=user, password=password, database=database)
    run(options, lambda bound: click.echo(f"listening on mysql://{user}:{password}@{host}:{bound}/{database}"))


def require_duckdb() -> None:
    """Refused if the extra ``demo`` is not installed. DuckDB is not imported for this check, as that takes a while."""
    if importlib.util.find_spec("duckdb") is None:
        raise Refused("The MySQL emulator needs DuckDB: pip install 'fluxport[demo]'.", code="missing_extra")


def _end_with_input() -> None:
    """End this process when its parent has exited, for whatever reason: standard input then reaches its end."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
