"""The caller of a request, and which exports it may see."""

from __future__ import annotations

from dataclasses import dataclass

from fluxport.auth.keys import Key
from fluxport.auth.scopes import allows
from fluxport.auth.signing import SigningKey
from fluxport.errors import Forbidden


@dataclass(frozen=True)
class Caller:
    """An authenticated caller. Its exports belong to ``owner``; ``active_max`` and ``mail_domains`` None: the defaults.

    A ``person``, authenticated by a session, sees all exports of the owner. A key sees those that its scopes allow it
    to create; with ``own_results`` only those created with the same key.
    """

    owner: str
    key_id: str | None = None
    scopes: frozenset[str] = frozenset()
    person: bool = False
    active_max: int | None = None
    own_results: bool = False
    mail_domains: tuple[str, ...] | None = None
    address: str = ""
    request_id: str = ""
    traceparent: str = ""  # of the request's span, or as received while traces are off

    @classmethod
    def of_key(cls, key: Key | SigningKey) -> Caller:
        return cls(
            key.owner,
            key_id=key.id,
            scopes=key.scopes,
            active_max=key.active_max,
            own_results=key.own_results,
            mail_domains=key.mail_domains,
        )

    def sees(self, owner: str, scope: str, key_id: str | None) -> bool:
        """Whether this caller may see an export of ``owner`` that needed ``scope`` and was created with ``key_id``;
        :func:`fluxport.jobs.store.visible` is the same as an SQL condition."""
        within = allows(self.scopes, scope) and (not self.own_results or key_id == self.key_id)
        return owner == self.owner and (self.person or within)

    @property
    def rated(self) -> str:
        """The name under which its requests are counted: that of its key, or of the user if it has none."""
        return f"key {self.key_id}" if self.key_id else f"user {self.owner}"

    @property
    def admin(self) -> bool:
        return "admin" in self.scopes

    def need(self, scope: str) -> None:
        """Forbidden if the caller lacks ``scope``."""
        if not allows(self.scopes, scope):
            raise Forbidden(
                f"This needs the scope {scope}, which this key or user does not have; ask an administrator for it.",
                code="missing_scope",
            )
