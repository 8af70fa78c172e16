"""Rights beyond reading a DuckDB file: none, as every statement opens it read-only."""

from __future__ import annotations

from fluxport.sources.accounts import AccountCheck

CHECK = AccountCheck("SELECT 'DuckDB ' || version()", lambda _: set(), "")
