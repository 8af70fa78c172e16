"""Locates the parameters of a query with a lexer of the dialect, outside of strings, names and comments.

A dialect's pattern has these groups: ``skip`` (tokens with a ``:`` or ``?`` that is not a parameter), ``name``
(a name after a colon), ``mark`` (a question mark) and ``bad`` (what the lexer cannot follow), which is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fluxport.errors import Refused


@dataclass(frozen=True)
class Placed:
    """A query cut at its parameters: ``texts`` has one element more than ``values``."""

    texts: tuple[str, ...]
    values: tuple[Any, ...]

    def joined(self, parts: Sequence[str]) -> str:
        """The query with ``parts`` in place of its parameters."""
        pairs = zip(self.texts, (*parts, ""), strict=True)
        return "".join(text + part for text, part in pairs)


def place(query: str, params: Sequence[Any] | Mapping[str, Any], tokens: re.Pattern[str]) -> Placed:
    """``query`` cut at ``:name`` for a mapping, at ``?`` for a sequence; without values it stays whole.

    Refused (``bad_params``) unless the values match the names, or the number of marks.
    """
    if isinstance(params, str | bytes):
        raise _refused("Parameters are a list of values or an object of names and values.")
    if not isinstance(params, Mapping):
        texts, marks = _cut(query, tokens, "mark") if params else ([query], [])
        if len(marks) != len(params):
            raise _refused(f"The query takes {len(marks)} parameters, and {len(params)} were given.")
        return Placed(tuple(texts), tuple(params))
    texts, names = _cut(query, tokens, "name")
    for name in names:
        if name not in params:
            raise _refused(f"The query's parameter :{name} was given no value.")
    for name in params:
        if name not in names:
            raise _refused(f"The parameter {name!r} does not occur in the query as :{name}.")
    return Placed(tuple(texts), tuple(params[name] for name in names))


def _cut(query: str, tokens: re.Pattern[str], group: str) -> tuple[list[str], list[str]]:
    texts, placeholders, start = [], [], 0
    for match in tokens.finditer(query):
        if match["bad"] is not None:
            raise _refused("The query has a comment that is nested too deeply or not closed; leave it out.")
        if match[group] is not None:
            texts.append(query[start : match.start()])
            placeholders.append(match[group])
            start = match.end()
    return [*texts, query[start:]], placeholders


def _refused(sentence: str) -> Refused:
    return Refused(sentence, code="bad_params")


def without_end(statement: str) -> str:
    """The statement without a ``;`` and white space at its end, so that it can be put in parentheses."""
    return statement.rstrip().removesuffix(";").rstrip()  # a pattern would take quadratic time for much white space
