"""``fluxport jobs``: stored exports of a running service, from the shell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fluxport.errors import Refused, TooMany
from fluxport.signals import interruptible

if TYPE_CHECKING:
    from fluxport.client.blocking import Client

Command = TypeVar("Command", bound=Callable[..., Any])


def _service(command: Command) -> Command:
    """The options for the address of the service and the credentials."""
    options = (
        click.option(
            "--url", envvar="FLUXPORT_URL", default="http://127.0.0.1:8080", show_default=True, help="The service."
        ),
        click.option("--key", envvar="FLUXPORT_KEY", help="A bearer key (FLUXPORT_KEY); else requests are signed."),
        click.option(
            "--secret",
            envvar="API_SECRET",
            help="The secret that signs; default: API_SECRET, else the development secret.",
        ),
        click.option("--key-id", default="default", show_default=True, help="The key that the secret belongs to."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def _client(*, url: str, key: str | None, secret: str | None, key_id: str) -> Iterator[Client]:
    """A client of the service that the options name. It does not retry, so that users see failures at once. Any
    refusal by the service, except TooMany, ends the command with exit code 2."""
    from fluxport.client.blocking import Client

    if key is None and secret is None:
        from fluxport.config import DEVELOPMENT_SECRET

        secret = DEVELOPMENT_SECRET
    try:
        with Client(url, key=key, secret=None if key is not None else secret, key_id=key_id, retries=0) as client:
            yield client
    except TooMany:
        raise
    except Refused as error:
        raise Refused(error.message, code=error.code) from None


@click.group()
def jobs() -> None:
    """Stored exports of a running service."""


@jobs.command("list")
@_service
@click.option("--status", help="Only exports in this state.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Maximum number of exports.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_(status: str | None, limit: int, as_json: bool, **service: Any) -> None:
    """List your exports, newest first."""
    with _client(**service) as client:
        listed = client.list(status=status, limit=limit)
    for job in listed:
        if as_json:
            click.echo(json.dumps(job.raw, ensure_ascii=False))
        else:
            size = f"{job.rows:>12,} rows {job.bytes:>14,} bytes"
            click.echo(f"{job.id}  {job.raw['created_at']}  {job.status:<10}{size}  {job.format}")


@jobs.command()
@click.argument("export_id")
@_service
def show(export_id: str, **service: Any) -> None:
    """Show all details of one export, as JSON."""
    with _client(**service) as client:
        job = client.get(export_id)
    click.echo(json.dumps(job.raw, indent=2, ensure_ascii=False))


@jobs.command()
@click.argument("export_id")
@_service
def cancel(export_id: str, **service: Any) -> None:
    """Cancel a queued or running export."""
    with _client(**service) as client:
        job = client.cancel(export_id)
    click.echo(f"{export_id}: {job.status}")


@jobs.command()
@click.argument("export_id")
@_service
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    default=Path(),
    help="A file or a folder; default: the current folder.",
)
def download(export_id: str, target: Path, **service: Any) -> None:
    """Download the file of a completed export, and check its size and SHA-256."""
    interruptible()
    with _client(**service) as client:
        count = len(client.get(export_id).files)
        if count > 1 and not target.is_dir():
            raise Refused(f"This export has {count} files; set --to to a folder.", code="bad_target")
        for part in range(1, max(count, 1) + 1):
            file = client.download(export_id, target, part=part)
            click.echo(f"{file.location}: {file.rows:,} rows, {file.bytes:,} bytes, sha256 {file.sha256}")
