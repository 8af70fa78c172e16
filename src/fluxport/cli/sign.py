"""``fluxport sign`` and ``fluxport secret``."""

from __future__ import annotations

import os
import secrets as random
import sys
import time
from pathlib import Path

import click


@click.command()
@click.argument("method")
@click.argument("path")
@click.argument("body", default="", metavar="[BODY|@FILE|-]")
@click.option("--secret", envvar="API_SECRET", help="Default: API_SECRET, else the development secret.")
@click.option("--key-id", default="default", show_default=True, help="Name of the key.")
@click.option("--v1", "old", is_flag=True, help="FluxQuery's signature instead of version 2.")
@click.option("--timestamp", type=int, help="Unix seconds to sign instead of now.")
def sign(method: str, path: str, body: str, secret: str | None, key_id: str, old: bool, timestamp: int | None) -> None:
    """Print the headers that sign a request, one per line: curl -H "$(fluxport sign ...)" or -H @file."""
    from fluxport.auth.signing import sign_v1, sign_v2
    from fluxport.config import DEVELOPMENT_SECRET
    from fluxport.headers import is_value

    if not all(is_value(value) for value in (method, path, key_id)):
        raise click.UsageError("METHOD, PATH and --key-id must be printable ASCII characters; write others as %XX.")
    if secret is not None and not _is_text(secret):
        raise click.UsageError("The secret is not valid UTF-8; correct --secret or API_SECRET.")
    secret = secret or DEVELOPMENT_SECRET
    content = _body(body)
    timestamp_s = int(time.time()) if timestamp is None else timestamp
    if old:
        headers = sign_v1(secret, method.upper(), path, content, timestamp_s)
    else:
        headers = sign_v2(secret, key_id, method.upper(), path, content, timestamp_s, random.token_urlsafe(18))
    for name, value in headers.items():
        click.echo(f"{name}: {value}")


def _body(argument: str) -> bytes:
    """The body's exact bytes: the argument itself, the content of a file, or standard input."""
    if argument == "-":
        return sys.stdin.buffer.read()
    if argument.startswith("@"):
        try:
            return Path(argument[1:]).read_bytes()
        except OSError as error:
            raise click.UsageError(f"The body {argument[1:]!r} cannot be read: {error.strerror}.") from None
    return os.fsencode(argument)


def _is_text(value: str) -> bool:
    """Whether a value of the command line or the environment was UTF-8."""
    return not any("\ud800" <= char <= "\udfff" for char in value)


@click.command()
def secret() -> None:
    """Print a new high-entropy secret."""
    from fluxport.auth.secrets import new_secret

    click.echo(new_secret())
