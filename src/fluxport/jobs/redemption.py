"""One-time links: which client redeemed which; every statement over the table ``used_links``, each as part of its
caller's transaction.

A link is redeemed by the first client whose download begins, in the transaction that precedes the first byte, so the
database decides between any number of clients, in any number of processes. That client gets a session, with which it
may resume or begin again while a download of it runs, and until ``RESUME_S`` after the last one ended; to everyone else
the link is used. If not even the status was sent, the link is given back. A process that is killed in between leaves
the link used, and open to its session: whether the client got the file is unknown, and no link may have two receivers.

    unused --begin--> redeemed by a session --end--> open for RESUME_S --begin, end, ...--> used
       ^                       |
       +------ give_back ------+  nothing was sent
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from fluxport.auth.tokens import token_digest
from fluxport.errors import Gone
from fluxport.tables import insert_into, links

RESUME_S = 600.0


@dataclass(frozen=True)
class Redemption:
    """A download by a one-time link, whose digest is ``token_sha256``. ``session`` is the secret of its client;
    ``first``: with this download, the client redeems the link."""

    token_sha256: str
    session: str = field(repr=False)
    first: bool

    @property
    def _own(self) -> tuple[sa.ColumnElement[bool], ...]:
        return links.c.token_sha256 == self.token_sha256, links.c.session_sha256 == token_digest(self.session)


def used(connection: sa.Connection, token_sha256s: Sequence[str]) -> set[str]:
    """The given links that have been redeemed or replaced."""
    query = sa.select(links.c.token_sha256).where(links.c.token_sha256.in_(token_sha256s))
    return set(connection.scalars(query))


def check_open(connection: sa.Connection, token_sha256: str, session: str | None, now: float) -> bool:
    """Whether the link is unused. Gone if it has been used, unless by the client with this session, which may still
    fetch the file."""
    row = connection.execute(sa.select(links).where(links.c.token_sha256 == token_sha256)).one_or_none()
    if row is None:
        return True
    own = (
        session is not None
        and row.session_sha256 is not None
        and hmac.compare_digest(token_digest(session), row.session_sha256)
    )
    if not own or row.open_until <= now:
        raise link_used()
    return False


def begin(connection: sa.Connection, redemption: Redemption, export_id: str, keep_until: float, now: float) -> None:
    """Redeem the link, or go on with its session; Gone if another client has redeemed it, or the session has ended.
    The database remembers it until ``keep_until``."""
    if redemption.first:
        row = {
            "token_sha256": redemption.token_sha256,
            "export_id": export_id,
            "used_at": now,
            "expires_at": keep_until,
            "session_sha256": token_digest(redemption.session),
            "open_until": keep_until,
        }
        change = insert_into(connection, links).values(row).on_conflict_do_nothing()
    else:
        own = sa.update(links).where(*redemption._own, links.c.open_until > now)
        change = own.values(open_until=keep_until)
    if connection.execute(change.returning(links.c.token_sha256)).one_or_none() is None:
        raise link_used()


def end(connection: sa.Connection, redemption: Redemption, now: float, *, sent: bool) -> None:
    """Limit the session at the end of a download; ``sent`` is False if the client got nothing at all, not even its
    session: then the link is given back."""
    if sent or not redemption.first:
        connection.execute(sa.update(links).where(*redemption._own).values(open_until=now + RESUME_S))
    else:
        connection.execute(sa.delete(links).where(*redemption._own))


def close(connection: sa.Connection, token_sha256: str, export_id: str, keep_until: float, now: float) -> None:
    """Use the link up for everyone, also for a client that has redeemed it."""
    row = {"token_sha256": token_sha256, "export_id": export_id, "used_at": now, "expires_at": keep_until}
    no_session = {"session_sha256": None, "open_until": None}
    insert = insert_into(connection, links).values(row | no_session)
    connection.execute(insert.on_conflict_do_update(index_elements=[links.c.token_sha256], set_=no_session))


def purge(connection: sa.Connection, now: float) -> None:
    connection.execute(sa.delete(links).where(links.c.expires_at <= now))


def link_used() -> Gone:
    return Gone(
        "This one-time link has been used, or replaced by a newer one: request a new link. Only the client that used "
        "it may continue for a while, with its cookie or 'X-Download-Session'.",
        code="link_used",
    )
