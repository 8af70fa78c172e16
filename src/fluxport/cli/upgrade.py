"""``fluxport database``: the tables of the job database."""

from __future__ import annotations

from pathlib import Path

import click

from fluxport.cli.database import config_option, json_option, persistent_config, show_rows


@click.group()
def database() -> None:
    """The database of the service itself."""


@database.command()
@click.option("--dry-run", is_flag=True, help="Show the missing steps without applying them.")
@json_option
@config_option
def upgrade(dry_run: bool, as_json: bool, config_path: Path | None) -> None:
    """Upgrade the tables to this version, as the service and its workers do when they start."""
    from fluxport import migrations
    from fluxport.tables import connect

    url = persistent_config(config_path).database
    if dry_run:
        before = migrations.recorded_at(url)
        steps = migrations.missing(before)
    else:
        engine = connect(url)
        before = migrations.recorded(engine)
        steps = migrations.upgrade(engine)
        engine.dispose()
    state = "missing" if dry_run else "applied"
    rows = [
        {"step": number, "state": state, "compatible_from": s.compatible_from, "name": s.name} for number, s in steps
    ]
    show_rows(rows, as_json)
    now = before.version if dry_run else max([before.version, *(number for number, _ in steps)])
    click.echo(f"fluxport: the database has version {now}; this program has version {len(migrations.STEPS)}.", err=True)
