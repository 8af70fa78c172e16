"""Signing in with a password, so slowed down that guessing leads nowhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from fluxport.auth.proxies import neighbourhood
from fluxport.auth.sessions import DEVELOPER, Sessions
from fluxport.auth.users import USER_NAME, User, Users
from fluxport.errors import TooMany, Unauthorized
from fluxport.tables import login_attempts as attempts
from fluxport.tables import transaction

# The pause after a failure doubles with each: the fifth is followed by one second, the fifteenth by the longest.
FIRST_PAUSE_S = 1 / 16
LONGEST_PAUSE_S = 900.0
FORGOTTEN_S = 86400.0
# The same for one name from everywhere and for one address with every name, where others may be behind the failures:
# the first ten count and stop nothing yet, the eleventh is followed by one second, none by more than a minute.
ALONE_FIRST_PAUSE_S = 1 / 1024
ALONE_LEAST_PAUSE_S = 1.0
ALONE_LONGEST_PAUSE_S = 60.0
ALONE_FORGOTTEN_S = 900.0
KNOWN_S = 0.0  # the pause of a name at an address from where it signed in lately
ANY = "*"  # in the table: every name, every address


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
        """Count the attempt as failed before it is tried, so that many at once are not one; TooMany in a pause, which
        counts nothing. Where somebody signed in before, a pause that others brought upon the name does not count."""
        now = self._clock()
        place = neighbourhood(address)
        alone = sa.or_(attempts.c.owner == ANY, attempts.c.address == ANY)
        with transaction(self._engine) as connection:
            connection.execute(sa.delete(attempts).where(attempts.c.next_at <= now - FORGOTTEN_S))
            connection.execute(sa.delete(attempts).where(alone, attempts.c.next_at <= now - ALONE_FORGOTTEN_S))
            known = connection.execute(sa.select(attempts.c.pause_s).where(_of(name, place))).scalar() == KNOWN_S
            # In this order everywhere: two who sign in at once wait for each other in no circle.
            counted = [(ANY, place), (name, place)] if known else [(name, ANY), (ANY, place), (name, place)]
            pauses = sa.select(sa.func.max(attempts.c.next_at)).where(sa.or_(*(_of(*row) for row in counted)))
            if (until := connection.execute(pauses).scalar() or now) > now:
                raise _too_many(until - now)
            for row in counted:
                if not self._count(connection, *row, now):
                    raise _too_many(FIRST_PAUSE_S)

    def _count(self, connection: sa.Connection, name: str, place: str, now: float) -> bool:
        """Whether the attempt counts: another one that was counted meanwhile has begun a pause."""
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        first, longest, least = FIRST_PAUSE_S, LONGEST_PAUSE_S, 0.0
        if ANY in (name, place):
            first, longest, least = ALONE_FIRST_PAUSE_S, ALONE_LONGEST_PAUSE_S, ALONE_LEAST_PAUSE_S
        doubled = attempts.c.pause_s * 2
        longer = sa.case((doubled < first, first), (doubled < longest, doubled), else_=longest)
        counted = (
            insert(attempts)
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
        """The attempt was none of a guesser: what :meth:`_begin` counted for it is taken back, of the name everything;
        of the address only this one, or who has a name of their own could guess others' between."""
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
