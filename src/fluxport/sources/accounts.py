"""What the account of a connection may do beyond reading. Grants are the boundary: everything else comes second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from fluxport.sources import open_source
from fluxport.sources.table import SOURCES, source_of
from fluxport.stages import Limits

LOOK_S = 10.0
OWN_ACCOUNT = "give exports an account of their own"


class Look(NamedTuple):
    """How a kind of database is asked: the statement that gives its version, what gives the excess rights of the
    account of a URL, and the advice against them."""

    version: str
    excess: Callable[[str], set[str]]
    advice: str


@dataclass(frozen=True)
class Account:
    """``server`` is its kind and version, ``excess`` what the account may do beyond reading, ``advice`` against it;
    ``checked`` is False where the kind of database has no check."""

    server: str
    excess: tuple[str, ...] = ()
    advice: str = ""
    checked: bool = True

    @property
    def sentence(self) -> str:
        if not self.checked:
            return "what it may do beyond reading is not checked for this kind of database."
        if not self.excess:
            return "it can only read."
        return f"it may also {', '.join(self.excess)}; {self.advice}."


def look(url: str) -> Account:
    """Ask the database of ``url``; raises what a query there raises."""
    name = source_of(url)
    entry = SOURCES[name]
    if entry.account is None:
        column(url, "SELECT 1")
        return Account(entry.label, checked=False)
    asked: Look = SOURCES.attribute(name, *entry.account.split(":"))
    server = column(url, asked.version)[0]
    return Account(server, tuple(sorted(asked.excess(url))), asked.advice)


def column(url: str, statement: str) -> list[str]:
    """The first column of what ``statement`` gives."""
    source = open_source(url, statement, limits=Limits(deadline_s=LOOK_S))
    try:
        return [str(value) for batch in source.batches() for value in batch.column(0).to_pylist()]
    finally:
        source.close()
