"""Declared SQL: its dialect, and the ``:names`` that it uses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from fluxport.errors import Refused

_ALIASES = {"mariadb": "mysql", "postgres": "postgresql"}
_DIALECT = re.compile(r"[a-z][a-z0-9+._-]{0,31}")
ANY = "*"

# SQL text by dialect; the key ANY is text for all dialects.
Fragment: TypeAlias = Mapping[str, str]

_NAMES = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | /\*.*?\*/ | --[^\n]* | ::\w+ | :=
      | :(?P<name>[A-Za-z_][A-Za-z0-9_]*)""",
    re.VERBOSE | re.DOTALL,
)


def canonical(dialect: str) -> str:
    """``dialect``, or what it is an alias of; Refused if it cannot be the name of a dialect, of which there are as many
    as sources."""
    name = _ALIASES.get(dialect.lower(), dialect.lower())
    if not _DIALECT.fullmatch(name):
        raise Refused(
            f"{dialect!r} is not a dialect; write a name such as mysql, postgresql or sqlite.", code="unknown_dialect"
        )
    return name


def names_of(text: str) -> list[str]:
    """Names of the bound parameters in order, ignoring strings and comments."""
    return [match["name"] for match in _NAMES.finditer(text) if match["name"]]


def replaced(text: str, names: Mapping[str, str]) -> str:
    """``text`` with other SQL in place of some of its ``:names``."""
    return _NAMES.sub(lambda match: names.get(match["name"], match[0]), text)


def everywhere(text: str) -> Fragment:
    return {ANY: text}


def for_dialect(fragment: Fragment, dialect: str) -> str | None:
    return fragment.get(dialect, fragment.get(ANY))


def around(fragment: Fragment, condition: str) -> Fragment:
    """``condition`` in every dialect of ``fragment``, whose SQL replaces ``{column}``."""
    return {dialect: condition.replace("{column}", f"({text})") for dialect, text in fragment.items()}


def common(fragments: Iterable[Fragment]) -> set[str]:
    """The dialects in which all fragments have text; ANY alone if they have it in every dialect."""
    named = [set(fragment) for fragment in fragments if ANY not in fragment]
    return set.intersection(*named) if named else {ANY}
