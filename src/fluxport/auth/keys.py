"""Bearer keys: created for a program, shown once, stored as a hash.

A key is ``fxp_ID_SECRET``. The id selects its row, the secret's 256 random bits authenticate it; so one SHA-256 is
enough, while a password needs a slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from fluxport.auth.scopes import read_scopes
from fluxport.auth.secrets import new_secret
from fluxport.errors import Conflict, NotFound, Refused
from fluxport.tables import keys, reading, record_use, transaction

USED_EVERY_S = 60.0  # precision of the time of the last use, so that few requests write

_SHAPE = re.compile(r"fxp_([a-z2-7]{12})_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@ -]{0,127}")
_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_UNKNOWN_SHA256 = "0" * 64  # compared for unknown keys, so that they take as long


@dataclass(frozen=True)
class Key:
    """A stored key. Times are Unix seconds; ``expires_at`` None: never. With ``own_results`` it sees only exports that
    it created; ``mail_domains`` are the domains that its mails may be sent to (None: those of the service)."""

    id: str
    name: str
    owner: str
    scopes: frozenset[str]
    active_max: int | None
    own_results: bool
    mail_domains: tuple[str, ...] | None
    created_at: float
    expires_at: float | None
    last_used_at: float | None
    revoked_at: float | None

    def state(self, now: float) -> str:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


def is_bearer(header: str) -> bool:
    """Whether a header ``Authorization`` has the form of one of our keys, valid or not."""
    scheme, _, token = header.partition(" ")
    return scheme.lower() == "bearer" and token.strip().startswith("fxp_")


class Keys:
    """The table of keys."""

    def __init__(self, engine: sa.Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock

    def create(
        self,
        name: str,
        owner: str,
        scopes: Iterable[str],
        *,
        expires_s: float | None,
        active_max: int | None = None,
        own_results: bool = False,
        mail_domains: Sequence[str] | None = None,
    ) -> tuple[Key, str]:
        """A new key and its token, which is not stored and cannot be shown again."""
        granted = read_scopes(scopes)
        for what, text in (("key", name), ("user", owner)):
            if not _NAME.fullmatch(text):
                raise Refused(
                    f"The name of a {what} must have 1 to 128 letters, digits, spaces and . _ @ -.", code="bad_name"
                )
        if not granted:
            raise Refused("A key needs at least one scope, such as dataset:*.", code="bad_scope")
        now = self._clock()
        key_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(12))
        token = f"fxp_{key_id}_{new_secret()}"
        row = {
            "id": key_id,
            "name": name,
            "secret_sha256": _digest(token),
            "owner": owner,
            "scopes": sorted(granted),
            "active_max": active_max,
            "own_results": own_results,
            "mail_domains": None if mail_domains is None else list(mail_domains),
            "created_at": now,
            "expires_at": None if expires_s is None else now + expires_s,
        }
        try:
            with transaction(self._engine) as connection:
                connection.execute(sa.insert(keys).values(row))
                return _key(connection.execute(sa.select(keys).where(keys.c.id == key_id)).one()), token
        except sa.exc.IntegrityError:
            raise Conflict(
                f"A key named {name!r} exists already; revoke it or choose another name.", code="exists"
            ) from None

    def bearer(self, headers: Sequence[str]) -> Key | None:
        """The key of a single header ``Authorization: Bearer ...``; None for anything else."""
        scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
        return self.find(token.strip()) if scheme.lower() == "bearer" else None

    def find(self, token: str) -> Key | None:
        """The key of ``token``; None if it is unknown, altered, expired or revoked."""
        shape = _SHAPE.fullmatch(token)
        now = self._clock()
        query = sa.select(keys).where(keys.c.id == (shape[1] if shape else ""))
        with reading(self._engine) as connection:
            row = connection.execute(query).one_or_none()
        same = hmac.compare_digest(_digest(token), row.secret_sha256 if row else _UNKNOWN_SHA256)
        if row is None or not same or (key := _key(row)).state(now) != "active":
            return None
        if key.last_used_at is None or key.last_used_at <= now - USED_EVERY_S:
            record_use(self._engine, sa.update(keys).where(keys.c.id == key.id).values(last_used_at=now))
        return key

    def list(self) -> list[Key]:
        """All keys, including revoked ones, oldest first."""
        with reading(self._engine) as connection:
            return [_key(row) for row in connection.execute(sa.select(keys).order_by(keys.c.created_at))]

    def revoke(self, name: str) -> Key:
        """Revoke the key with this name or id permanently."""
        live = keys.c.revoked_at.is_(None)
        with transaction(self._engine) as connection:
            query = sa.select(keys).where(sa.or_(keys.c.id == name, keys.c.name == name), live)
            row = connection.execute(query).first()
            if row is None:
                raise NotFound(f"There is no key {name!r} to revoke.", code="no_such_key")
            now = self._clock()
            connection.execute(sa.update(keys).where(keys.c.id == row.id).values(revoked_at=now))
            return replace(_key(row), revoked_at=now)

    def revoke_all(self, owner: str) -> int:
        """Revoke every key of a user; returns their number."""
        active = sa.update(keys).where(keys.c.owner == owner, keys.c.revoked_at.is_(None))
        with transaction(self._engine) as connection:
            return connection.execute(active.values(revoked_at=self._clock())).rowcount


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _key(row: Any) -> Key:
    values = {name: value for name, value in row._mapping.items() if name != "secret_sha256"}
    domains = None if row.mail_domains is None else tuple(row.mail_domains)
    return Key(**values | {"scopes": frozenset(row.scopes), "mail_domains": domains})
