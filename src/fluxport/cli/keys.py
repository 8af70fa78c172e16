"""``fluxport keys``: bearer keys for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fluxport.cli.database import config_option, json_option, persistent_store, show_rows


def _lifetime(_: click.Context, __: click.Parameter, text: str) -> float | None:
    from pydantic import TypeAdapter, ValidationError

    from fluxport.config import Seconds

    if text == "never":
        return None
    try:
        return TypeAdapter(Seconds).validate_python(text)
    except ValidationError:
        raise click.BadParameter("a duration like 90d or 12h, or never") from None


def _domains(_: click.Context, __: click.Parameter, domains: tuple[str, ...]) -> tuple[str, ...]:
    from fluxport.delivery.recipients import is_domain

    for domain in domains:
        if not is_domain(domain):
            raise click.BadParameter(f"{domain!r} is not a domain such as example.com or *.example.com")
    return domains


@click.group()
def keys() -> None:
    """Keys for programs, sent as 'Authorization: Bearer KEY'."""


@keys.command()
@click.argument("name")
@click.option("--user", required=True, help="The user for whom the key creates and reads exports.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    help="What the key may do: sql:CONNECTION, sql:*, dataset:NAME, dataset:*, series, push, admin; repeat for more.",
)
@click.option(
    "--expires",
    default="90d",
    show_default=True,
    callback=_lifetime,
    help="How long the key works, such as 12h; or never.",
)
@click.option(
    "--active-max", type=click.IntRange(1), help="Maximum number of active exports (default: that of all callers)."
)
@click.option(
    "--own-results",
    is_flag=True,
    help="Limit the key to exports that it created (default: all exports of its user within its scopes).",
)
@click.option(
    "--mail-domain",
    "mail_domains",
    multiple=True,
    callback=_domains,
    help="A domain that its mails may go to: example.com or *.example.com; repeat for more (default: email.domains).",
)
@config_option
def create(
    name: str,
    user: str,
    scopes: tuple[str, ...],
    expires: float | None,
    active_max: int | None,
    own_results: bool,
    mail_domains: tuple[str, ...],
    config_path: Path | None,
) -> None:
    """Create a key and print it; it cannot be shown again, as only its hash is stored."""
    from fluxport.auth.keys import Keys
    from fluxport.jobs.view import rfc3339

    with persistent_store(config_path) as store:
        key, token = Keys(store.engine, clock=store.clock).create(
            name,
            user,
            scopes,
            expires_s=expires,
            active_max=active_max,
            own_results=own_results,
            mail_domains=mail_domains or None,
        )
        store.note("key create", user, "ok", key=key.id, name=name, scopes=sorted(key.scopes), expires=key.expires_at)
    click.echo(token)
    click.echo(
        f"fluxport: key {name!r} of user {user!r} works until {rfc3339(key.expires_at) or 'it is revoked'}.", err=True
    )


@keys.command(name="list")
@json_option
@config_option
def list_(as_json: bool, config_path: Path | None) -> None:
    """List all keys, without the secrets themselves."""
    from fluxport.auth.keys import Keys
    from fluxport.jobs.view import rfc3339

    def row(key: Any, now: float) -> dict[str, Any]:
        return {
            "id": key.id,
            "name": key.name,
            "user": key.owner,
            "state": key.state(now),
            "scopes": sorted(key.scopes),
            "expires": rfc3339(key.expires_at),
            "last_used": rfc3339(key.last_used_at),
            "own_results": key.own_results,
            "mail_domains": key.mail_domains,
        }

    with persistent_store(config_path) as store:
        now = store.clock()
        show_rows((row(key, now) for key in Keys(store.engine).list()), as_json)


@keys.command()
@click.argument("name", metavar="NAME|ID")
@config_option
def revoke(name: str, config_path: Path | None) -> None:
    """Revoke a key immediately and permanently."""
    from fluxport.auth.keys import Keys

    with persistent_store(config_path) as store:
        key = Keys(store.engine, clock=store.clock).revoke(name)
        store.note("key revoke", key.owner, "ok", key=key.id, name=key.name)
    click.echo(f"fluxport: key {key.name!r} of user {key.owner!r} was revoked.", err=True)
