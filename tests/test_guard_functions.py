"""Every function that a database offers is either allowed or refused with a reason."""

from __future__ import annotations

import re
import sqlite3

import duckdb
import pytest

from fluxport.errors import QueryRefused
from fluxport.policy.guard import GuardPolicy, check, words
from fluxport.policy.guard.postgres import words as postgres
from fluxport.policy.guard.postgres.walk import reason_to_refuse
from fluxport.policy.guard.words import Dialect
from mysql_support import scratch_database
from postgres_support import scratch_postgres

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


def test_postgresql() -> None:
    """Not among them: what no statement can call, and what is behind operators, aggregates, indexes and types."""
    with scratch_postgres() as database:
        names = database.run("""
            SELECT DISTINCT proname FROM pg_proc p WHERE pronamespace = 'pg_catalog'::regnamespace
            AND oidvectortypes(proargtypes) || prorettype::regtype !~ 'internal|cstring|trigger|handler'
            AND NOT EXISTS (SELECT FROM pg_operator WHERE p.oid IN (oprcode, oprrest, oprjoin))
            AND NOT EXISTS (SELECT FROM pg_amproc WHERE amproc = p.oid)
            AND NOT EXISTS (SELECT FROM pg_type WHERE p.oid IN (typsend, typmodin))
            AND NOT EXISTS (SELECT FROM pg_aggregate WHERE p.oid IN (aggtransfn, aggfinalfn, aggcombinefn,
                aggminvtransfn, aggmtransfn, aggmfinalfn))""")
        assert len(names) > 800
        unknown = [name for (name,) in names if name not in postgres.FUNCTIONS and reason_to_refuse(name) is None]
        assert unknown == []


def test_no_field_that_postgresqls_guard_lets_pass_is_a_function_that_it_refuses() -> None:
    """``(x).name`` calls the function if x has no such field."""
    assert [name for name in postgres.FIELDS if reason_to_refuse(name) is not None] == []


def test_a_known_function_of_postgresql_is_refused_with_its_reason() -> None:
    for pattern, reason in postgres.REFUSED_FUNCTIONS.items():
        name = pattern.replace("*", "x")
        with pytest.raises(QueryRefused) as caught:
            check(f'SELECT "{name}"(1)', GuardPolicy("postgresql"))
        assert caught.value.message == f"The function {name} is not allowed: it {reason}."


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
