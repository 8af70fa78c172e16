"""``fluxport users``: the users who sign in to the pages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from fluxport.cli.database import config_option, json_option, persistent_store, show_rows
from fluxport.systems import flags

Command = TypeVar("Command", bound=Callable[..., Any])


def password_option(command: Command) -> Command:
    return click.option("--password-stdin", "from_stdin", is_flag=True, help="Read the password from standard input.")(
        command
    )


def read_password(from_stdin: bool) -> str:
    if not from_stdin:
        if not _has_terminal():
            raise click.UsageError("There is no terminal to prompt for the password; use --password-stdin.")
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise click.UsageError("The password is not valid UTF-8.") from None


def _has_terminal() -> bool:
    if sys.stdin.isatty():
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | flags("O_NOCTTY")))
    except OSError:
        return False
    return True


@click.group()
def users() -> None:
    """The users who sign in to the pages."""


@users.command()
@click.argument("name")
@click.option("--admin", is_flag=True, help="Grant everything, on every connection and dataset.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    help="What the user may do, as for keys; repeat for more (default: dataset:* and series).",
)
@password_option
@config_option
def add(name: str, admin: bool, scopes: tuple[str, ...], from_stdin: bool, config_path: Path | None) -> None:
    """Add a user, with a password of at least 12 characters."""
    from fluxport.auth.scopes import EVERYTHING, USUAL
    from fluxport.auth.users import Users

    if admin and scopes:
        raise click.UsageError("An admin already has all scopes: omit --scope.")
    granted = EVERYTHING if admin else frozenset(scopes) or USUAL
    with persistent_store(config_path) as store:
        user = Users(store.engine, clock=store.clock).add(name, read_password(from_stdin), granted)
        store.note("user add", name, "ok", scopes=sorted(user.scopes))
    click.echo(f"fluxport: user {name!r} has the scopes {' '.join(sorted(user.scopes))}.", err=True)


@users.command()
@click.argument("name")
@password_option
@config_option
def password(name: str, from_stdin: bool, config_path: Path | None) -> None:
    """Change a user's password and end all sessions of the user."""
    from fluxport.auth.users import Users

    with persistent_store(config_path) as store:
        Users(store.engine, clock=store.clock).set_password(name, read_password(from_stdin))
        store.note("user password", name, "ok")
    click.echo(f"fluxport: user {name!r} has a new password.", err=True)


@users.command(name="list")
@json_option
@config_option
def list_(as_json: bool, config_path: Path | None) -> None:
    """List all users."""
    from fluxport.auth.users import Users
    from fluxport.jobs.view import rfc3339

    with persistent_store(config_path) as store:
        show_rows(
            (
                {"user": user.name, "scopes": sorted(user.scopes), "since": rfc3339(user.created_at)}
                for user in Users(store.engine).list()
            ),
            as_json,
        )


@users.command()
@click.argument("name")
@config_option
def remove(name: str, config_path: Path | None) -> None:
    """Remove a user: sessions and keys end immediately, exports stay until they expire."""
    from fluxport.auth.keys import Keys
    from fluxport.auth.users import Users

    with persistent_store(config_path) as store:
        Users(store.engine, clock=store.clock).remove(name)
        keys = Keys(store.engine, clock=store.clock).revoke_all(name)
        store.note("user remove", name, "ok", keys_revoked=keys)
    click.echo(f"fluxport: user {name!r} was removed, with {keys} keys.", err=True)
