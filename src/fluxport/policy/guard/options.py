"""The guard's options: what one connection allows."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from fluxport.policy.guard.words import Dialect


@dataclass(frozen=True)
class GuardPolicy:
    """``default_schema`` is written before every unqualified table (None: left to the connection).

    ``schemas`` are the other schemas that may be named (None: any but the system's). ``tables`` are the only tables
    that may be read, as ``table`` (of the default schema) or ``schema.table`` (None: any but the system's). Both are
    compared exactly, like in MySQL and PostgreSQL; for the other databases, table names ignore the case of A to Z, as
    those do. ``functions`` are allowed in addition to the built-in list. ``params`` allows bound parameters, ``?`` and
    ``:name``; ``given`` says which the caller gives, for PostgreSQL, where ``?`` is also an operator and ``:`` a slice.
    ``files`` allows a statement of DuckDB to read files: those of the connection's folder, by a path inside it, or any;
    if there are ``tables``, only files that are among them, compared exactly. ``recursive`` allows WITH RECURSIVE:
    servers stop it after 1,000 steps by default, and the statement timeout always does. The rest are caps, checked
    before parsing.
    """

    dialect: Dialect = "mysql"
    default_schema: str | None = None
    schemas: frozenset[str] | None = None
    tables: frozenset[str] | None = None
    functions: frozenset[str] = frozenset()
    params: bool = False
    files: Literal["folder", "anywhere"] | None = None
    given: Literal["none", "list", "names"] = "none"
    recursive: bool = True
    bytes_max: int = 64 << 10
    tokens_max: int = 5_000
    depth_max: int = 50
    tables_max: int = 64

    def taking(self, params: object) -> GuardPolicy:
        """This policy for a statement with these values: a list or tuple for ``?``, a mapping for ``:name``."""
        if not params:
            return self
        return replace(self, given="names" if isinstance(params, Mapping) else "list")

    def opens(self, schema: str | None, table: str) -> bool:
        """Whether ``table`` of ``schema`` (None: of the default one) is among the tables that may be read."""
        if self.tables is None:
            return True
        names = {f"{schema or self.default_schema}.{table}"}
        if schema in {None, self.default_schema}:
            names.add(table)
        if self.dialect in {"mysql", "postgresql"}:
            return not names.isdisjoint(self.tables)
        return not {name.translate(_LOWER) for name in names}.isdisjoint(name.translate(_LOWER) for name in self.tables)


_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
