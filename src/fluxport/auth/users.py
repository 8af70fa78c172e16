"""Users who sign in with a password, which is stored as an argon2id hash."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fluxport.auth.scopes import read_scopes
from fluxport.errors import Conflict, NotFound, Refused
from fluxport.tables import reading, sessions, transaction, users

PASSWORD_MIN = 12  # characters
PASSWORD_MAX = 1024

USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")


@dataclass(frozen=True)
class User:
    name: str
    scopes: frozenset[str]
    created_at: float


class Users:
    """The table of users."""

    def __init__(self, engine: sa.Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock
        # 19 MiB and two passes: one of the settings that OWASP considers equally strong, with little memory.
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._unknown = self._hasher.hash("the password of unknown users")

    def add(self, name: str, password: str, scopes: Iterable[str]) -> User:
        if not USER_NAME.fullmatch(name):
            raise Refused("The name of a user must have 1 to 128 letters, digits and . _ @ -.", code="bad_name")
        user = User(name, read_scopes(scopes), self._clock())
        row = {
            "name": name,
            "password_hash": self._hashed(password),
            "scopes": sorted(user.scopes),
            "created_at": user.created_at,
        }
        try:
            with transaction(self._engine) as connection:
                connection.execute(sa.insert(users).values(row))
        except sa.exc.IntegrityError:
            raise Conflict(f"A user named {name!r} exists already.", code="exists") from None
        return user

    def set_password(self, name: str, password: str) -> None:
        """Change a user's password, and end all sessions."""
        hashed = self._hashed(password)
        with transaction(self._engine) as connection:
            changed = connection.execute(sa.update(users).where(users.c.name == name).values(password_hash=hashed))
            if not changed.rowcount:
                raise _no_such_user(name)
            connection.execute(sa.delete(sessions).where(sessions.c.owner == name))

    def remove(self, name: str) -> None:
        """Delete a user and end all sessions; exports and keys stay."""
        with transaction(self._engine) as connection:
            if not connection.execute(sa.delete(users).where(users.c.name == name)).rowcount:
                raise _no_such_user(name)
            connection.execute(sa.delete(sessions).where(sessions.c.owner == name))

    def list(self) -> list[User]:
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(users).order_by(users.c.name))
            return [User(row.name, frozenset(row.scopes), row.created_at) for row in rows]

    def exists(self, name: str) -> bool:
        with reading(self._engine) as connection:
            return connection.execute(sa.select(users.c.name).where(users.c.name == name)).first() is not None

    def check(self, name: str, password: str) -> User | None:
        """The user if the password is right; None, after the same work, for a wrong password or an unknown name."""
        with reading(self._engine) as connection:
            row = connection.execute(sa.select(users).where(users.c.name == name)).one_or_none()
        hashed = self._unknown if row is None else row.password_hash
        try:
            self._hasher.verify(hashed, _normal(password))
        except (VerificationError, InvalidHashError):
            return None
        return None if row is None else User(row.name, frozenset(row.scopes), row.created_at)

    def _hashed(self, password: str) -> str:
        if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
            raise Refused(
                f"A password has {PASSWORD_MIN} to {PASSWORD_MAX} characters; a few words make a good one.",
                code="bad_password",
            )
        return self._hasher.hash(_normal(password))


def _normal(password: str) -> bytes:
    """The bytes to hash: the same, however a keyboard composes an accent."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _no_such_user(name: str) -> NotFound:
    return NotFound(f"There is no user {name!r}.", code="no_such_user")
