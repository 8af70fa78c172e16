"""The rights of a MySQL or MariaDB account beyond reading."""

from __future__ import annotations

import re

from fluxport.errors import QueryFailed
from fluxport.sources.accounts import OWN_ACCOUNT, AccountCheck, column

# Privileges that allow nothing but reading.
_HARMLESS = frozenset(
    {"SELECT", "USAGE", "SHOW VIEW", "SHOW DATABASES", "PROCESS", "REPLICATION CLIENT", "BINLOG MONITOR"}
)


def excess_privileges(grant: str) -> set[str]:
    """The rights beyond reading in one line of SHOW GRANTS."""
    match = re.match(r"GRANT (.+?) ON ", grant)
    if match is None:
        return set()
    names = {re.sub(r"\s*\(.*?\)", "", part).strip().upper() for part in re.split(r",(?![^(]*\))", match[1])}
    # SELECT on every database includes the server's own, with its password hashes.
    names = {
        f"{name} ON *.*" if name == "SELECT" and grant[match.end() :].startswith("*.* ") else name for name in names
    }
    passed_on = {"GRANT OPTION"} if grant.endswith("WITH GRANT OPTION") else set()
    return names - _HARMLESS | passed_on


def granted_role(grant: str) -> str | None:
    """The role granted by a line of SHOW GRANTS, as quoted there: ``GRANT `writer`@`%` TO ...``."""
    match = re.match(r"GRANT ((?:`(?:[^`]|``)+`(?:@`[^`]*`)?|'[^']+'(?:@'[^']*')?)) TO ", grant)
    return match[1] if match else None


def _excess(url: str) -> set[str]:
    """The account's rights beyond reading: its own, and those of every role that SET ROLE can activate.
    A role whose rights the server does not show counts as excess."""
    excess: set[str] = set()
    inspected: set[str] = set()
    grants = column(url, "SHOW GRANTS")
    while grants:
        grant = grants.pop()
        excess |= excess_privileges(grant)
        role = granted_role(grant)
        if role is not None and role not in inspected:
            inspected.add(role)
            try:
                grants += column(url, f"SHOW GRANTS FOR {role}")
            except QueryFailed:
                excess.add(f"SET ROLE {role}, whose rights it is not shown")
    return excess


CHECK = AccountCheck(
    "SELECT CONCAT('server ', VERSION())", _excess, f"{OWN_ACCOUNT}: GRANT SELECT ON <database>.* TO 'fluxport'@'...'"
)
