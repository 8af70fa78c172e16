"""The rights of a connection's account beyond reading. Grants are the security boundary; the guard comes second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from fluxport.sources import open_source
from fluxport.sources.table import SOURCES, account_of, source_of
from fluxport.stages import Limits

CHECK_TIMEOUT_S = 10.0
OWN_ACCOUNT = "give exports a separate account"


class AccountCheck(NamedTuple):
    """How to inspect an account: the statement that returns the server's version, the function that returns the excess
    rights of a URL's account, and the advice on how to remove them."""

    version: str
    excess: Callable[[str], set[str]]
    advice: str


@dataclass(frozen=True)
class Account:
    """``server`` is its kind and version, ``excess`` the rights beyond reading, ``advice`` how to remove them;
    ``checked`` is False where the kind of database has no check."""

    server: str
    excess: tuple[str, ...] = ()
    advice: str = ""
    checked: bool = True

    @property
    def sentence(self) -> str:
        if not self.checked:
            return "its rights beyond reading are not checked for this kind of database."
        if not self.excess:
            return "it can only read."
        return f"it may also {', '.join(self.excess)}; {self.advice}."


def inspect_account(url: str) -> Account:
    """Inspect the account of ``url``; raises the errors of a query."""
    name, account = source_of(url), account_of(url)
    if account is None:
        column(url, "SELECT 1")
        return Account(SOURCES[name].label, checked=False)
    check: AccountCheck = SOURCES.attribute(name, *account.split(":"))
    server = column(url, check.version)[0]
    return Account(server, tuple(sorted(check.excess(url))), check.advice)


def column(url: str, statement: str) -> list[str]:
    """The first column of the rows of ``statement``, as text."""
    source = open_source(url, statement, limits=Limits(deadline_s=CHECK_TIMEOUT_S))
    try:
        return [str(value) for batch in source.batches() for value in batch.column(0).to_pylist()]
    finally:
        source.close()
