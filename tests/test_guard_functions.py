"""Every function that a database offers is either allowed or refused with a reason."""

from __future__ import annotations

import re
import sqlite3

import duckdb
import pytest

from fluxport.errors import QueryRefused
from fluxport.policy.guard import GuardPolicy, check, words
from fluxport.policy.guard.words import Dialect
from mysql_support import scratch_database

DIALECTS: tuple[Dialect, ...] = ("mysql", "sqlite", "duckdb")
# Names of DuckDB's that no query writes: signs, and the inner working of casts, collations and catalogues.
_INNER = re.compile(r"__|(icu_)?collate_|pg_.*_is_visible\Z|has_.*_privilege\Z")


def undecided(dialect: Dialect, names: list[str]) -> list[str]:
    decided = words.FUNCTIONS[dialect] | words.TABLE_FUNCTIONS[dialect] | words.REFUSED_FUNCTIONS[dialect].keys()
    spelled = {name.upper() for name in names if re.fullmatch(r"[A-Za-z_]\w*", name) and not _INNER.match(name)}
    return sorted(spelled - decided - words.KEYWORDS[dialect])


def test_mariadb() -> None:
    with scratch_database() as database:
        names = database.run("SELECT function FROM information_schema.sql_functions")
        assert undecided("mysql", [name for (name,) in names]) == []


def test_sqlite() -> None:
    connection = sqlite3.connect(":memory:")
    try:
        names = [name for (name,) in connection.execute("SELECT DISTINCT name FROM pragma_function_list")]
        assert undecided("sqlite", names) == []
    finally:
        connection.close()


def test_duckdb() -> None:
    with duckdb.connect() as connection:
        query = (
            "SELECT DISTINCT function_name FROM duckdb_functions() "
            "WHERE function_type IN ('scalar', 'aggregate', 'macro')"
        )
        assert undecided("duckdb", [name for (name,) in connection.execute(query).fetchall()]) == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_function_is_allowed_or_refused_and_a_refusal_says_why(dialect: Dialect) -> None:
    refused = words.REFUSED_FUNCTIONS[dialect]
    assert not refused.keys() & (words.FUNCTIONS[dialect] | words.TABLE_FUNCTIONS[dialect])
    for name, reason in refused.items():
        with pytest.raises(QueryRefused) as caught:
            check(f"SELECT {name}(1)", GuardPolicy(dialect))
        assert caught.value.code == "query_function"
        assert (
            caught.value.message.endswith(f" it {reason}.")
            or f"{name} and" in caught.value.message
            or (name == "CURRENT_ROLE")
        ), caught.value.message
