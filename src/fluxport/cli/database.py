"""What the commands that use the job database share."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fluxport.errors import Refused

if TYPE_CHECKING:
    from fluxport.config import Config
    from fluxport.jobs.store import JobStore

Command = TypeVar("Command", bound=Callable[..., Any])


def config_option(command: Command) -> Command:
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Configuration file (default: fluxport.yaml).",
    )(command)


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")(command)


@contextlib.contextmanager
def persistent_store(config_path: Path | None) -> Iterator[JobStore]:
    """The job store in the configured database; Refused if that is in memory."""
    from fluxport import wiring

    store = wiring.database(persistent_config(config_path))
    try:
        yield store
    finally:
        store.close()


def persistent_config(config_path: Path | None) -> Config:
    """The configuration; Refused if its database is in memory, where a command's changes would be lost."""
    from fluxport.config import load

    config = load(config_path)
    if config.database == "memory":
        raise Refused(
            "'database: memory' is lost when the service ends; set database to sqlite:///FILE or postgresql://... "
            "and start the service with the same setting.",
            code="no_database",
        )
    return config


def show_rows(rows: Iterable[Mapping[str, Any]], as_json: bool) -> None:
    """Print rows with the same keys as aligned columns below their names, or as one JSON object per line."""
    listed = list(rows)
    if as_json:
        for row in listed:
            click.echo(json.dumps(row))
        return
    lines = [list(listed[0]), *([_cell(v) for v in row.values()] for row in listed)] if listed else []
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return " ".join(value) if isinstance(value, list) else str(value)
