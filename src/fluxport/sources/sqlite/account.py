"""Rights beyond reading an SQLite file: none, as every statement opens it read-only."""

from __future__ import annotations

from fluxport.sources.accounts import AccountCheck

CHECK = AccountCheck("SELECT 'SQLite ' || sqlite_version()", lambda _: set(), "")
