"""``fluxport jobs``: stored exports of a running service, from a shell."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import click

from fluxport.errors import Broken, FluxportError, Refused, Unavailable
from fluxport.headers import is_value, web_address
from fluxport.signals import interruptible
from fluxport.stages import Chunks

TIMEOUT_S = 60.0
CHUNK_BYTES = 1 << 20

Command = TypeVar("Command", bound=Callable[..., Any])


def _service(command: Command) -> Command:
    """The options that say where the service is and who asks."""
    options = (
        click.option(
            "--url", envvar="FLUXPORT_URL", default="http://127.0.0.1:8080", show_default=True, help="The service."
        ),
        click.option("--key", envvar="FLUXPORT_KEY", help="A bearer key (FLUXPORT_KEY); else requests are signed."),
        click.option(
            "--secret", envvar="API_SECRET", help="What signs; default: API_SECRET, else the development secret."
        ),
        click.option("--key-id", default="default", show_default=True, help="The key that the secret belongs to."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def jobs() -> None:
    """Stored exports of a running service."""


@jobs.command("list")
@_service
@click.option("--status", help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many at most.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_(status: str | None, limit: int, as_json: bool, **service: Any) -> None:
    """Your exports, newest first."""
    query = urlencode({"limit": limit} | ({"status": status} if status else {}))
    for job in _asked("GET", f"/v1/exports?{query}", "data", **service)["data"]:
        if as_json:
            click.echo(json.dumps(job, ensure_ascii=False))
        else:
            size = f"{job['rows']:>12,} rows {job['bytes']:>14,} bytes"
            click.echo(f"{job['id']}  {job['created_at']}  {job['status']:<10}{size}  {job['format']}")


@jobs.command()
@click.argument("export_id")
@_service
def show(export_id: str, **service: Any) -> None:
    """Everything about one export, as JSON."""
    click.echo(json.dumps(_asked("GET", _target(export_id), "id", **service), indent=2, ensure_ascii=False))


@jobs.command()
@click.argument("export_id")
@_service
def cancel(export_id: str, **service: Any) -> None:
    """End a queued or running export."""
    click.echo(f"{export_id}: {_asked('DELETE', _target(export_id), 'status', **service)['status']}")


@jobs.command()
@click.argument("export_id")
@_service
@click.option(
    "--to", "target", type=click.Path(path_type=Path), default=Path(), help="A file or a folder; default: here."
)
def download(export_id: str, target: Path, **service: Any) -> None:
    """Fetch the file of a completed export, and compare it with what the service tells of it."""
    from fluxport.sinks.local import LocalSink, remove_unfinished

    interruptible()
    job = _asked("GET", _target(export_id), "files", **service)
    if not job["download"]:
        raise Refused(f"This export is {job['status']}; it has no file.", code="not_ready")
    told = job["files"][0]
    path = target / told["name"] if target.is_dir() else target
    remove_unfinished(path.parent)
    sink = LocalSink(path.parent, overwrite=True)
    receipt = sink.put(path.name, _fetched(job["download"]["url"], told))
    click.echo(f"{receipt.location}: {told['rows']:,} rows, {receipt.size_bytes:,} bytes, sha256 {receipt.sha256}")


def _target(export_id: str) -> str:
    return f"/v1/exports/{quote(export_id, safe='', errors='surrogateescape')}"


def _fetched(url: str, told: dict[str, Any]) -> Chunks:
    """The file's bytes; Broken at their end if they are not those that the service tells of."""
    import hashlib

    digest, size = hashlib.sha256(), 0
    with _opened(urllib.request.Request(url)) as answer:  # noqa: S310  checked by _opened
        while chunk := answer.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            yield chunk
    if (size, digest.hexdigest()) != (told["bytes"], told["sha256"]):
        raise Broken("What arrived is not the file that the service tells of; nothing was kept.", code="file_differs")


def _asked(method: str, target: str, member: str, *, url: str, key: str | None, secret: str | None, key_id: str) -> Any:
    """The service's JSON answer, an object with this ``member``; its problems as errors of ours."""
    address = web_address(url)
    if address is None:  # not repeated: what is wrong with it may be a password in it
        raise Refused(
            "The address of the service is like http://127.0.0.1:8080; set --url or FLUXPORT_URL.", code="bad_url"
        )
    if key is not None:
        headers = {"Authorization": f"Bearer {key}"}
    else:
        from fluxport.auth.signing import sign_v2
        from fluxport.config import DEVELOPMENT_SECRET

        nonce = secrets.token_urlsafe(18)
        path = address.path.rstrip("/") + target
        headers = sign_v2(secret or DEVELOPMENT_SECRET, key_id, method, path, b"", int(time.time()), nonce)
    if not all(is_value(value) for value in headers.values()):
        raise Refused(
            "A key, and the name of one, has printable ASCII characters only; correct --key or --key-id.",
            code="bad_key",
        )
    request = urllib.request.Request(url.rstrip("/") + target, method=method, headers=headers)  # noqa: S310  checked by _opened
    with _opened(request) as answer:
        try:
            found = json.load(answer)
        except ValueError:
            found = None
    if not isinstance(found, dict) or member not in found:
        raise Refused(f"What answers at {request.host} is no Fluxport; look at --url or FLUXPORT_URL.", code="bad_url")
    return found


@contextlib.contextmanager
def _opened(request: urllib.request.Request) -> Iterator[Any]:
    """The answer; whatever ends it before its end is Unavailable."""
    if web_address(request.full_url.partition("?")[0]) is None:
        raise Refused("The address of a file is no http(s) address.", code="bad_url")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310  the line above
            yield answer
    except urllib.error.HTTPError as error:
        raise _problem(error) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        raise Unavailable(f"The service at {request.host} cannot be reached: {reason}.", code="unreachable") from None


def _problem(error: urllib.error.HTTPError) -> FluxportError:
    with error:
        try:
            told = json.load(error)
        except ValueError:
            told = None
    told = told if isinstance(told, dict) else {}
    message = told.get("detail", f"The service answered {error.code}.")
    kind = Unavailable if error.code in (429, 503) else Refused
    return kind(message, code=told.get("code", "http_error"))
