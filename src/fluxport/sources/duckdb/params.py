"""Where the parameters of a statement are. DuckDB binds their values itself."""

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
    | (?P<mark>\?)
    | (?P<bad>(?!))
    """,
    re.VERBOSE | re.DOTALL,
)
