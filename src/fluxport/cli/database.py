"""What commands share that act on the service's own database."""

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
def kept_store(config_path: Path | None) -> Iterator[JobStore]:
    """The store of the configuration's database; Refused if that is gone when the command ends."""
    from fluxport import wiring

    store = wiring.database(kept_config(config_path))
    try:
        yield store
    finally:
        store.close()


def kept_config(config_path: Path | None) -> Config:
    """The configuration; Refused if its database is gone when the command ends."""
    from fluxport.config import load

    config = load(config_path)
    if config.database == "memory":
        raise Refused(
            "'database: memory' is gone when the service ends; set database to sqlite:///FILE or postgresql://... "
            "and start the service with the same.",
            code="no_database",
        )
    return config


def show_rows(rows: Iterable[Mapping[str, Any]], as_json: bool) -> None:
    """Rows of the same keys as columns below their names, or as JSON objects."""
    found = list(rows)
    if as_json:
        for row in found:
            click.echo(json.dumps(row))
        return
    lines = [list(found[0]), *([_word(v) for v in row.values()] for row in found)] if found else []
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip())


def _word(value: Any) -> str:
    if value is None:
        return "-"
    return " ".join(value) if isinstance(value, list) else str(value)
