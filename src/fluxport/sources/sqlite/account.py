"""What may be done beyond reading a file of SQLite: nothing, as every statement opens it read-only."""

from __future__ import annotations

from fluxport.sources.accounts import Look

LOOK = Look("SELECT 'SQLite ' || sqlite_version()", lambda _: set(), "")
