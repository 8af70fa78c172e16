"""Statements of databases whose grammar is unknown here: the tokens that most dialects of SQL share."""

from __future__ import annotations

import re

from fluxport.errors import Refused
from fluxport.sources.errors import no_result_set, several_statements
from fluxport.sources.placeholders import without_end

# As placeholders.py specifies, and ``end``: the end of a statement.
TOKENS = re.compile(
    r"""
    (?P<skip>
        '(?:[^']|'')*'?  | "(?:[^"]|"")*"?  | `(?:[^`]|``)*`?
      | \$(?P<tag>[A-Za-z_]*)\$.*?(?:\$(?P=tag)\$|\Z)
      | [^\W\d][\w$]*
      | (?P<comment> /\*.*?(?:\*/|\Z) | --[^\n]* )
      | ::  | :=
    )
    | :(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<mark>\?)
    | (?P<end>;)
    | (?P<bad>(?!))
    """,
    re.VERBOSE | re.DOTALL,
)


def single(query: str) -> str:
    """``query`` without a ``;`` at its end; Refused if it is not one statement: drivers run the others in silence, and
    take none for a broken connection."""
    if "\0" in query:
        raise Refused("The query holds a zero byte.", code="bad_query")
    query = without_end(query)
    if any(match["end"] for match in TOKENS.finditer(query)):
        raise several_statements()
    if not TOKENS.sub(lambda match: "" if match["comment"] else match[0], query).strip():
        raise no_result_set()
    return query
