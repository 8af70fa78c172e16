"""Options that take a name from a table of components."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click


class OneOf(click.Option):
    """An option whose help begins with the ``names`` that there are, those of other packages included.

    They are asked for when the help is shown: a command that runs does not wait for them.
    """

    def __init__(self, *words: Any, names: Callable[[], Iterable[str]], **settings: Any) -> None:
        self._names = names
        super().__init__(*words, **settings)

    @property
    def help(self) -> str:
        *most, last = self._names()
        return f"{', '.join(most)} or {last}; {self._rest}"

    @help.setter
    def help(self, rest: str | None) -> None:
        self._rest = rest


def format_names() -> Iterable[str]:
    from fluxport.formats import FORMATS

    return FORMATS


def compression_names() -> Iterable[str]:
    from fluxport.formats.compress import COMPRESSIONS

    return COMPRESSIONS
