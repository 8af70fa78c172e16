"""``fluxport config``: the effective settings, and the schema of the configuration file."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.group()
def config() -> None:
    """The configuration."""


@config.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file (default: fluxport.yaml).",
)
def show(config_path: Path | None) -> None:
    """Print the effective settings as YAML, with secrets masked."""
    import yaml

    from fluxport.config import load, shown

    click.echo(yaml.safe_dump(shown(load(config_path)), sort_keys=False), nl=False)


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file."""
    from fluxport.config import schema as described

    click.echo(json.dumps(described(), indent=2))
