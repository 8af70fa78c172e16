"""SQLite's authorizer callback: a statement may only read, and if there is a list of tables, only those.

SQLite calls the authorizer while it compiles but does not say which statement it compiles, and virtual tables (FTS,
R*Tree, dbstat) compile statements of their own: at their first use, and while the caller's statement runs. So the
caller's statement is compiled twice before it runs:
::

    "record"   reads are recorded; virtual tables prepare their own statements; only those run, and only read
    "strict"   nothing is left to prepare: every callback is about the caller's statement, and the rules apply
    "inside"   while it runs: the same text on the same snapshot, so only statements of virtual tables are compiled
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias

from fluxport.errors import QueryRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
# R*Tree prepares its writes along with its reads, FTS reads two numbers of the file. The file is open read-only, and
# ``query_only`` is on.
INSIDE = READING | {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
PRAGMAS_INSIDE = frozenset({"data_version", "page_size"})
# Table-valued functions that read nothing but their arguments.
FUNCTIONS = frozenset({"json_each", "json_tree", "generate_series"})

Read: TypeAlias = tuple[str, str, str]  # table, column, and the view or WITH query that reads it


class Authorizer:
    """``may_read(schema, table)`` says which tables may be read; None allows all, the schema tables included."""

    def __init__(
        self, connection: sqlite3.Connection, may_read: Callable[[str | None, str], bool] | None = None
    ) -> None:
        self._connection = connection
        self._may_read = may_read
        self._rules: Literal["record", "strict", "inside"] = "inside"
        self._recorded: set[Read] = set()
        self._behind_views: set[Read] = set()
        self._denied = ""
        self.functions: set[str] = set()  # that the statement admitted last calls
        self._in_file: dict[str, str] = {}
        self._modules: set[str] = set()
        if may_read is not None:
            entries = connection.execute("SELECT name, type FROM sqlite_schema").fetchall()
            self._in_file = {name.decode().lower(): kind.decode() for name, kind in entries}
            self._modules = {name.decode() for (name,) in connection.execute("SELECT name FROM pragma_module_list")}
        connection.set_authorizer(self._authorize)

    def admit(self, statement: str) -> None:
        """Raise QueryRefused, or SQLite's error, if ``statement`` does more than read the allowed tables."""
        self._recorded.clear()
        with self._under("record"):
            self._connection(statement)
        self._behind_views = self._read_by_views(statement) if self._may_read is not None else set()
        self._denied = ""
        self.functions.clear()
        try:
            with self._under("strict"):
                self._connection(statement)
        except sqlite3.DatabaseError:
            if not self._denied:
                raise
        if self._denied:
            raise QueryRefused(
                f"The table {self._denied[:64]} is not available on this connection; use another.", code="query_table"
            )

    def _read_by_views(self, statement: str) -> set[Read]:
        """The reads of the allowed views that the statement names.

        A WITH query named like a view causes the same callbacks as the view; a view shadowed like that allows nothing.
        """
        reads: set[Read] = set()
        for name in {source for _, _, source in self._recorded}:
            view = self._in_file.get(name.lower()) == "view" and self._is_allowed(name)
            if view and not re.search(rf"\W{re.escape(name)}\W?\s*(\([^()]*\)\s*)?AS\W[\w\s]*\(", statement, re.I):
                quoted = name.replace('"', '""')
                self._recorded.clear()
                with self._under("record"):
                    self._connection(f'SELECT * FROM main."{quoted}"')  # noqa: S608  a view of the file, quoted
                reads |= self._recorded
        return reads

    @contextmanager
    def _under(self, rules: Literal["record", "strict"]) -> Iterator[None]:
        self._rules = rules
        try:
            yield
        finally:
            self._rules = "inside"

    def _authorize(
        self, action: int, first: str | None, second: str | None, schema: str | None, source: str | None
    ) -> int:
        if self._rules == "strict":
            allowed = action in READING
            if action == sqlite3.SQLITE_FUNCTION:
                self.functions.add(second or "")
            if action == sqlite3.SQLITE_READ and not self._is_readable(first or "", second or "", schema, source or ""):
                self._denied, allowed = first or "", False
        else:
            pragma = action == sqlite3.SQLITE_PRAGMA and first in PRAGMAS_INSIDE and second is None
            allowed = action in INSIDE or pragma
            if action == sqlite3.SQLITE_READ:
                self._recorded.add((first or "", second or "", source or ""))
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    def _is_readable(self, table: str, column: str, schema: str | None, source: str) -> bool:
        if self._may_read is None or (table, column, source) in self._behind_views:
            return True
        if not column and any(table == behind for behind, _, _ in self._behind_views):
            return True  # count(*) of a view is reported as a read of the table behind it, without a column
        name = table.lower()
        if name in self._in_file:
            return not name.startswith("sqlite_") and self._is_allowed(table)
        # A read without a column reports the name used in the statement, which may be a WITH query's.
        named = not column and not schema and name not in self._modules and not name.startswith(("sqlite_", "pragma_"))
        return named or name in FUNCTIONS

    def _is_allowed(self, table: str) -> bool:
        assert self._may_read is not None
        return self._may_read(None, table) or self._may_read("main", table)
