"""Where the parameters and the end of a statement are. DuckDB binds the values itself."""

from __future__ import annotations

import re

# A colon is also a cast, a slice or the key of a struct: ``a::INTEGER``, ``list[1:n]``, ``{'a': n}``.
TOKENS = re.compile(
    r"""
    (?P<skip>
        [eE]'(?:[^'\\]|''|\\.)*'?  | '(?:[^']|'')*'?  | "(?:[^"]|"")*"?  | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)
      | /\*.*?(?:\*/|\Z)  | --[^\n]*
    )
    | (?<![:\w'"\])]):(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<mark>\?) | (?P<end>;)
    | (?P<bad>(?!))
    """,
    re.VERBOSE | re.DOTALL,
)


def without_end(statement: str) -> str:
    """The one statement without its ``;`` and the comments after it, so that it can be put in parentheses."""
    ends = (match.start() for match in TOKENS.finditer(statement) if match["end"])
    return statement[: next(ends, None)]
