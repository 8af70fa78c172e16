"""What a caller may do: scopes of a key or a user.

``sql:NAME`` is free SQL on a connection, ``dataset:NAME`` an export of a dataset, either with ``*`` for every name;
``series`` reads sensors, ``push`` sends rows and points, ``admin`` sees keys, users, audit and queue. None of them
includes another.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from fluxport.errors import Refused

EVERYTHING = frozenset({"sql:*", "dataset:*", "series", "push", "admin"})
# What somebody who signs in may do when nothing else is said: what was declared for export, no free SQL.
USUAL = frozenset({"dataset:*", "series"})

_SHAPE = re.compile(r"(?:sql|dataset):(?:\*|[A-Za-z0-9._-]{1,64})|series|push|admin")


def read_scopes(words: Iterable[str]) -> frozenset[str]:
    """The scopes, each checked for its form."""
    found = frozenset(words)
    for word in sorted(found):
        if not _SHAPE.fullmatch(word):
            raise Refused(
                f"There is no scope {word!r}; one is sql:CONNECTION, sql:*, dataset:NAME, dataset:*, series, push or "
                "admin.",
                code="bad_scope",
            )
    return found


def allows(scopes: Collection[str], needed: str) -> bool:
    kind, colon, _ = needed.partition(":")
    return needed in scopes or bool(colon and f"{kind}:*" in scopes)
