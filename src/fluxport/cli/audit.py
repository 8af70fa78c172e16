"""``fluxport audit``: who exported, downloaded and changed what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fluxport.cli.database import config_option, json_option, persistent_store, show_rows


@click.command()
@click.option("--user", help="Only entries of this user.")
@click.option("--action", help="Only entries with this action: export, download, email, webhook, 'key create', ...")
@click.option("--export", "export_id", metavar="ID", help="Only entries about this export.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Maximum number of entries."
)
@json_option
@config_option
def audit(
    user: str | None,
    action: str | None,
    export_id: str | None,
    limit: int,
    as_json: bool,
    config_path: Path | None,
) -> None:
    """Show the audit, newest first; --json adds all details: source, filters, columns, destination."""
    from fluxport.jobs.view import audit_json

    with persistent_store(config_path) as store:
        lines = [
            audit_json(line) for line in store.audit_page(owner=user, action=action, export_id=export_id, limit=limit)
        ]
    show_rows(lines if as_json else map(_short, lines), as_json)


def _short(line: dict[str, Any]) -> dict[str, Any]:
    columns = ("at", "user", "action", "outcome", "export_id", "address", "rows", "bytes", "sent_bytes")
    return {name: line.get(name) for name in columns}
