"""``fluxport check``: probe everything in the configuration, and report what is wrong and how to repair it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fluxport.errors import FluxportError

if TYPE_CHECKING:
    from fluxport.config import Config, ConnectionConfig
    from fluxport.sinks.options import SinkOptions


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file (default: fluxport.yaml).",
)
def check(config_path: Path | None) -> None:
    """Probe every connection, every store and the mail server of the configuration, and report what is wrong."""
    from fluxport.config import load

    config = load(config_path)
    problems = 0
    for name, good, sentence in _all(config):
        problems += not good
        click.echo(f"{'ok  ' if good else 'FAIL'}  {name}: {sentence}")
    if problems:
        raise click.exceptions.Exit(1)


def _all(config: Config) -> Iterator[tuple[str, bool, str]]:
    yield from _packages()
    yield _database(config)
    if not config.connections and config.series.path is None:
        yield "connections", False, "none; set MYSQL_DSN or connections.main.url, or series.path for sensors."
    for name, entry in config.connections.items():
        yield from _connection(name, entry.address, config.app_env == "production")
        if entry.files is not None:
            yield _files(name, entry)
    yield from _sensors(config)
    for name, store in config.stores.items():
        yield _store(name, store)
    yield _email(config)


def _packages() -> Iterator[tuple[str, bool, str]]:
    """Components of other packages that fail to load."""
    from fluxport.formats import FORMATS
    from fluxport.formats.compress import COMPRESSIONS
    from fluxport.plugins import Table
    from fluxport.sinks import SINKS
    from fluxport.sources import SOURCES

    tables: list[Table[Any]] = [FORMATS, COMPRESSIONS, SOURCES, SINKS]
    for table in tables:
        for name, sentence in table.broken().items():
            yield f"{table.kind} {name}", False, sentence


def _database(config: Config) -> tuple[str, bool, str]:
    """The job database; its tables are created, as the service does when it starts."""
    from fluxport import wiring

    if config.database == "memory":
        return "database", True, "memory; exports are lost when the service ends."
    try:
        wiring.database(config).close()
    except FluxportError as error:
        return "database", False, error.message
    return "database", True, "can be used."


def _sensors(config: Config) -> Iterator[tuple[str, bool, str]]:
    from fluxport import wiring

    try:
        sensors = wiring.sensors(config)
        if sensors is not None:
            sensors.store.sensors(limit=1)
            sensors.store.close()
            yield "sensors", True, "can be read."
    except FluxportError as error:
        yield "sensors", False, error.message


def _connection(name: str, url: str, production: bool) -> Iterator[tuple[str, bool, str]]:
    from fluxport.sources.accounts import inspect_account

    label = f"connection {name}"
    try:
        account = inspect_account(url)
    except FluxportError as error:
        yield label, False, error.message
        return
    yield label, True, f"{account.server} answers."
    yield f"{label} account", not (account.excess and production), account.sentence


def _files(name: str, entry: ConnectionConfig) -> tuple[str, bool, str]:
    from fluxport.wiring import files_of

    try:
        files_of(name, entry)
    except FluxportError as error:
        return f"connection {name} files", False, error.message
    return f"connection {name} files", True, "can be read."


def _email(config: Config) -> tuple[str, bool, str]:
    from fluxport.delivery.email import try_server
    from fluxport.wiring import email_options

    if not config.email.host:
        return "email", True, "no mail server is configured: mails are only logged."
    try:
        try_server(email_options(config))
    except FluxportError as error:
        return "email", False, error.message
    return "email", True, f"{config.email.host}:{config.email.port} accepts the login."


def _store(name: str, entry: SinkOptions) -> tuple[str, bool, str]:
    from fluxport.sinks import sink
    from fluxport.sinks.probe import probe

    label = f"store {name}"
    try:
        place = probe(sink(entry))
    except FluxportError as error:
        return label, False, error.message
    return label, True, f"can be written to, as {place}."
