"""Options whose value is a name from a table of components."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click


class OneOf(click.Option):
    """An option whose help begins with all ``names``, including those that other packages add.

    They are read only when the help is shown, so that running a command does not wait for them.
    """

    def __init__(self, *declarations: Any, names: Callable[[], Iterable[str]], **settings: Any) -> None:
        self._names = names
        super().__init__(*declarations, **settings)

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
