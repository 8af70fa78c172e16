"""Declared SQL: its dialect, and the ``:names`` that it uses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from fluxport.errors import Refused

DIALECTS = ("mysql", "postgresql", "sqlite", "duckdb")
_ALIASES = {"mariadb": "mysql", "postgres": "postgresql"}
_ANY = "*"

# SQL text by dialect; the key "*" is text for all dialects.
Fragment: TypeAlias = Mapping[str, str]

_NAMES = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | /\*.*?\*/ | --[^\n]* | ::\w+ | :=
      | :(?P<name>[A-Za-z_][A-Za-z0-9_]*)""",
    re.VERBOSE | re.DOTALL,
)


def canonical(dialect: str) -> str:
    """The name in DIALECTS for ``dialect``, which may be an alias; Refused if there is none."""
    name = _ALIASES.get(dialect.lower(), dialect.lower())
    if name not in DIALECTS:
        raise Refused(f"Unknown dialect {dialect!r}; choose one of: {', '.join(DIALECTS)}.", code="unknown_dialect")
    return name


def names_of(text: str) -> list[str]:
    """Names of the bound parameters in order, ignoring strings and comments."""
    return [match["name"] for match in _NAMES.finditer(text) if match["name"]]


def everywhere(text: str) -> Fragment:
    return {_ANY: text}


def for_dialect(fragment: Fragment, dialect: str) -> str | None:
    return fragment.get(dialect, fragment.get(_ANY))
