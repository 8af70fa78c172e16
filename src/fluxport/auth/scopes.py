"""Scopes of keys and users: what a caller may do.

``sql:NAME`` is free SQL on a connection, ``dataset:NAME`` an export of a dataset, both with ``*`` for every name;
``series`` reads sensors, ``push`` sends rows and points, ``admin`` sees keys, users, audit and queue. No scope includes
another.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from fluxport.errors import Refused

EVERYTHING = frozenset({"sql:*", "dataset:*", "series", "push", "admin"})
# The default scopes of users: what was declared for export, without free SQL.
USUAL = frozenset({"dataset:*", "series"})

_SHAPE = re.compile(r"(?:sql|dataset):(?:\*|[A-Za-z0-9._-]{1,64})|series|push|admin")


def read_scopes(texts: Iterable[str]) -> frozenset[str]:
    """The scopes; Refused for an invalid one."""
    scopes = frozenset(texts)
    for scope in sorted(scopes):
        if not _SHAPE.fullmatch(scope):
            raise Refused(
                f"There is no scope {scope!r}; use sql:CONNECTION, sql:*, dataset:NAME, dataset:*, series, push or "
                "admin.",
                code="bad_scope",
            )
    return scopes


def allows(scopes: Collection[str], needed: str) -> bool:
    """Whether ``scopes`` include ``needed``, by name or by ``*``."""
    kind, colon, _ = needed.partition(":")
    return needed in scopes or bool(colon and f"{kind}:*" in scopes)
