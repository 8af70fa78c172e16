"""Sign-in with a password; pauses that grow with each failure prevent guessing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import sqlalchemy as sa

from fluxport.auth.proxies import neighbourhood
from fluxport.auth.sessions import DEVELOPER, Sessions
from fluxport.auth.users import USER_NAME, User, Users
from fluxport.errors import TooMany, Unauthorized
from fluxport.tables import insert_into, transaction
from fluxport.tables import login_attempts as attempts

# The pause doubles with each failure: one second after the fifth, the longest after the fifteenth.
FIRST_PAUSE_S = 1 / 16
LONGEST_PAUSE_S = 900.0
FORGOTTEN_S = 86400.0
# Also per name over all addresses, and per address over all names, where others may have caused the failures: no pause
# after the first ten, one second after the eleventh, never more than a minute.
ALONE_FIRST_PAUSE_S = 1 / 1024
ALONE_LEAST_PAUSE_S = 1.0
ALONE_LONGEST_PAUSE_S = 60.0
ALONE_FORGOTTEN_S = 900.0
KNOWN_S = 0.0  # the pause of a name at an address from which it has signed in recently
ANY = "*"  # in the table: all names, all addresses


class Note(Protocol):
    """Writes one audit record."""

    def __call__(self, action: str, owner: str, outcome: str, *, address: str) -> None: ...


class SignIn:
    """Checks passwords and starts sessions."""

    def __init__(
        self, engine: sa.Engine, users: Users, sessions: Sessions, note: Note, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.sessions = sessions
        self._engine = engine
        self._users = users
        self._note = note
        self._clock = clock

    def with_password(self, name: str, password: str, address: str, *, instead_of: str | None) -> tuple[User, str]:
        """The user and the token of a new session; Unauthorized, or TooMany before the password is checked."""
        name = name if USER_NAME.fullmatch(name) else ""  # no user has it; an invalid name must not reach the table
        self._begin(name, address)
        user = self._users.check(name, password)
        if user is None:
            # An unknown name may be a password in the wrong field: it is not recorded.
            self._note("login", name if self._users.exists(name) else "unknown", "refused", address=address)
            raise Unauthorized("Wrong user or password.", code="wrong_password")
        self._succeeded(name, address)
        self._note("login", user.name, "ok", address=address)
        return user, self.sessions.start(user.name, "password", instead_of=instead_of)

    def as_developer(self, address: str, *, instead_of: str | None) -> tuple[User, str]:
        token = self.sessions.start(DEVELOPER, "development", instead_of=instead_of)
        self._note("login", DEVELOPER, "ok", address=address)
        user = self.sessions.find(token)
        assert user is not None
        return user, token

    def _begin(self, name: str, address: str) -> None:
        """Count the attempt as failed before the check, so that concurrent attempts all count; TooMany during a pause,
        which counts nothing. At an address where the user has signed in, pauses of the name elsewhere are ignored."""
        now = self._clock()
        place = neighbourhood(address)
        alone = sa.or_(attempts.c.owner == ANY, attempts.c.address == ANY)
        with transaction(self._engine) as connection:
            connection.execute(sa.delete(attempts).where(attempts.c.next_at <= now - FORGOTTEN_S))
            connection.execute(sa.delete(attempts).where(alone, attempts.c.next_at <= now - ALONE_FORGOTTEN_S))
            known = connection.execute(sa.select(attempts.c.pause_s).where(_of(name, place))).scalar() == KNOWN_S
            # Always in this order, so that concurrent sign-ins do not deadlock.
            counted = [(ANY, place), (name, place)] if known else [(name, ANY), (ANY, place), (name, place)]
            pauses = sa.select(sa.func.max(attempts.c.next_at)).where(sa.or_(*(_of(*row) for row in counted)))
            if (until := connection.execute(pauses).scalar() or now) > now:
                raise _too_many(until - now)
            for row in counted:
                if not self._count(connection, *row, now):
                    raise _too_many(FIRST_PAUSE_S)

    def _count(self, connection: sa.Connection, name: str, place: str, now: float) -> bool:
        """Count a failure and double the pause; False if a concurrent attempt has begun a pause."""
        first, longest, least = FIRST_PAUSE_S, LONGEST_PAUSE_S, 0.0
        if ANY in (name, place):
            first, longest, least = ALONE_FIRST_PAUSE_S, ALONE_LONGEST_PAUSE_S, ALONE_LEAST_PAUSE_S
        doubled = attempts.c.pause_s * 2
        longer = sa.case((doubled < first, first), (doubled < longest, doubled), else_=longest)
        counted = (
            insert_into(connection, attempts)
            .values(owner=name, address=place, pause_s=first, next_at=now + (first if first >= least else 0.0))
            .on_conflict_do_update(
                index_elements=[attempts.c.owner, attempts.c.address],
                set_={"pause_s": longer, "next_at": now + sa.case((longer >= least, longer), else_=0.0)},
                where=attempts.c.next_at <= now,
            )
            .returning(attempts.c.next_at)
        )
        return connection.execute(counted).first() is not None

    def _succeeded(self, name: str, address: str) -> None:
        """Undo what :meth:`_begin` counted: for the name everything; for the address only this attempt, because a user
        could otherwise reset the pauses after guesses at other names by signing in."""
        now = self._clock()
        place = neighbourhood(address)
        before = {"pause_s": attempts.c.pause_s / 2, "next_at": now}
        with transaction(self._engine) as connection:
            connection.execute(sa.delete(attempts).where(_of(name, ANY)))
            connection.execute(sa.update(attempts).where(_of(ANY, place)).values(before))
            connection.execute(sa.update(attempts).where(_of(name, place)).values(pause_s=KNOWN_S, next_at=now))


def _of(name: str, place: str) -> sa.ColumnElement[bool]:
    return sa.and_(attempts.c.owner == name, attempts.c.address == place)


def _too_many(wait_s: float) -> TooMany:
    return TooMany("Too many attempts to sign in; wait a moment.", code="too_many_logins", retry_after_s=wait_s)
