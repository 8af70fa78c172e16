"""Where the parameters of a statement for PostgreSQL stand: outside of strings, names and comments.

A pattern for ``place`` of fluxport.sources.placeholders; the guard reads the same places.
"""

from __future__ import annotations

import re


def _nested_comment(depth: int) -> str:
    inner = rf"|{_nested_comment(depth - 1)}" if depth else ""
    return rf"/\*(?:[^*/]|\*(?!/)|/(?!\*){inner})*\*/"


# The session has standard_conforming_strings on: backslashes escape only in E'...'.
TOKENS = re.compile(
    rf"""
    (?P<skip>
        [eE]'(?:[^'\\]|\\.|'')*'?  | '(?:[^']|'')*'?  | "(?:[^"]|"")*"?
      | \$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*)?)\$.*?(?:\$(?P=tag)\$|\Z)
      | [A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*
      | {_nested_comment(4)}  | --[^\n\r]*
      | ::  | :=
    )
    | (?P<bad>/\*)
    | :(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<mark>\?)
    """,
    re.VERBOSE | re.DOTALL,
)
