"""Sessions of the web pages: a random token in a cookie, its hash in a table."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Literal

import sqlalchemy as sa

from fluxport.auth.scopes import EVERYTHING
from fluxport.auth.secrets import new_secret
from fluxport.auth.users import User
from fluxport.tables import reading, record_use, sessions, transaction, users

IDLE_S = 12 * 3600.0
WHOLE_S = 7 * 86400.0
USED_EVERY_S = 60.0  # precision of the time of the last use, so that few requests write
DEVELOPER = "dev"


class Sessions:
    """The table of sessions; those started without a password are valid only in ``development``."""

    def __init__(self, engine: sa.Engine, *, development: bool, clock: Callable[[], float] = time.time) -> None:
        self.development = development
        self._engine = engine
        self._clock = clock

    def start(self, owner: str, how: Literal["password", "development"], *, instead_of: str | None = None) -> str:
        """The token of a new session. The session ``instead_of`` ends, so that a planted token is worthless (session
        fixation)."""
        now = self._clock()
        token = new_secret()
        row = {"token_sha256": _digest(token), "owner": owner, "how": how, "created_at": now, "used_at": now}
        over = sa.or_(sessions.c.created_at <= now - WHOLE_S, sessions.c.used_at <= now - IDLE_S)
        with transaction(self._engine) as connection:
            connection.execute(sa.delete(sessions).where(over))
            if instead_of is not None:
                connection.execute(sa.delete(sessions).where(sessions.c.token_sha256 == _digest(instead_of)))
            connection.execute(sa.insert(sessions).values(row))
        return token

    def find(self, token: str) -> User | None:
        """The user of a session, with current scopes; None if the session does not exist or has expired."""
        now = self._clock()
        query = (
            sa.select(sessions, users.c.scopes, users.c.created_at.label("user_since"))
            .outerjoin(users, users.c.name == sessions.c.owner)
            .where(sessions.c.token_sha256 == _digest(token))
            .where(sessions.c.created_at > now - WHOLE_S, sessions.c.used_at > now - IDLE_S)
        )
        with reading(self._engine) as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        if row.used_at <= now - USED_EVERY_S:
            same = sessions.c.token_sha256 == row.token_sha256
            record_use(self._engine, sa.update(sessions).where(same).values(used_at=now))
        if row.how == "development":
            return User(row.owner, EVERYTHING, row.created_at) if self.development else None
        return None if row.scopes is None else User(row.owner, frozenset(row.scopes), row.user_since)

    def end(self, token: str) -> None:
        with transaction(self._engine) as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.token_sha256 == _digest(token)))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
