"""The rights of a Firebird account beyond reading."""

from __future__ import annotations

from fluxport.sources.accounts import OWN_ACCOUNT, AccountCheck, column


def _excess(url: str) -> set[str]:
    """The account's rights beyond reading: its own, those of everybody, and of the database's owner."""
    owner = """
        SELECT CASE WHEN CURRENT_USER = 'SYSDBA' THEN 'everything (SYSDBA)' ELSE 'everything (owner of tables)' END
        FROM rdb$database WHERE CURRENT_USER = 'SYSDBA'
            OR EXISTS (SELECT 1 FROM rdb$relations WHERE rdb$owner_name = CURRENT_USER AND rdb$system_flag = 0)"""
    tables = """
        SELECT DISTINCT CASE p.rdb$privilege WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' ELSE 'DELETE' END
        FROM rdb$user_privileges p JOIN rdb$relations r ON r.rdb$relation_name = p.rdb$relation_name
        WHERE p.rdb$user IN (CURRENT_USER, CURRENT_ROLE, 'PUBLIC') AND p.rdb$privilege IN ('I', 'U', 'D')
            AND r.rdb$system_flag = 0"""
    return {*column(url, owner), *column(url, tables)}


CHECK = AccountCheck(
    "SELECT 'Firebird ' || rdb$get_context('SYSTEM', 'ENGINE_VERSION') FROM rdb$database",
    _excess,
    f"{OWN_ACCOUNT}: GRANT SELECT ON <table> TO USER fluxport",
)
