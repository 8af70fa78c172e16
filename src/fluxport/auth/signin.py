"""Signing in with a password, so slowed down that guessing leads nowhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from fluxport.auth.sessions import DEVELOPER, Sessions
from fluxport.auth.users import USER_NAME, User, Users
from fluxport.errors import TooMany, Unauthorized
from fluxport.tables import login_attempts as attempts
from fluxport.tables import transaction

# The pause after a failure doubles with each: the fifth is followed by one second, the fifteenth by the longest.
FIRST_PAUSE_S = 1 / 16
LONGEST_PAUSE_S = 900.0
FORGOTTEN_S = 86400.0


class Note(Protocol):
    """Writes one line of the audit."""

    def __call__(self, action: str, owner: str, outcome: str, *, address: str) -> None: ...


class SignIn:
    """From a password to a session."""

    def __init__(
        self, engine: sa.Engine, users: Users, sessions: Sessions, note: Note, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.sessions = sessions
        self._engine = engine
        self._users = users
        self._note = note
        self._clock = clock

    def with_password(self, name: str, password: str, address: str, *, instead_of: str | None) -> tuple[User, str]:
        """The user and the token of a new session; Unauthorized, or TooMany before the password is looked at."""
        name = name if USER_NAME.fullmatch(name) else ""  # nobody's; what no table could hold goes no further
        self._begin(name, address)
        user = self._users.check(name, password)
        if user is None:
            # A name nobody has may be a password in the wrong field: it is not written down.
            self._note("login", name if self._users.exists(name) else "unknown", "refused", address=address)
            raise Unauthorized("User and password do not fit together.", code="wrong_password")
        with transaction(self._engine) as connection:
            connection.execute(sa.delete(attempts).where(attempts.c.owner == name, attempts.c.address == address))
        self._note("login", user.name, "ok", address=address)
        return user, self.sessions.start(user.name, "password", instead_of=instead_of)

    def as_developer(self, address: str, *, instead_of: str | None) -> tuple[User, str]:
        token = self.sessions.start(DEVELOPER, "development", instead_of=instead_of)
        self._note("login", DEVELOPER, "ok", address=address)
        user = self.sessions.find(token)
        assert user is not None
        return user, token

    def _begin(self, name: str, address: str) -> None:
        """Count the attempt as failed before it is tried, so that many at once are not one; TooMany in a pause."""
        now = self._clock()
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        row = {"owner": name, "address": address, "pause_s": FIRST_PAUSE_S, "next_at": now + FIRST_PAUSE_S}
        longer = sa.case((attempts.c.pause_s * 2 < LONGEST_PAUSE_S, attempts.c.pause_s * 2), else_=LONGEST_PAUSE_S)
        counted = (
            insert(attempts)
            .values(row)
            .on_conflict_do_update(
                index_elements=[attempts.c.owner, attempts.c.address],
                set_={"pause_s": longer, "next_at": now + longer},
                where=attempts.c.next_at <= now,
            )
            .returning(attempts.c.next_at)
        )
        with transaction(self._engine) as connection:
            connection.execute(sa.delete(attempts).where(attempts.c.next_at <= now - FORGOTTEN_S))
            if connection.execute(counted).first() is not None:
                return
            mine = sa.select(attempts.c.next_at).where(attempts.c.owner == name, attempts.c.address == address)
            next_at = connection.execute(mine).scalar_one()
        raise TooMany(
            "Too many attempts to sign in; wait a moment.", code="too_many_logins", retry_after_s=next_at - now
        )
