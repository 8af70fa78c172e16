"""What an account of MySQL or MariaDB may do beyond reading."""

from __future__ import annotations

import re

from fluxport.errors import QueryFailed
from fluxport.sources.accounts import OWN_ACCOUNT, Look, column

# Privileges that let an account do no more than read what it was given.
_HARMLESS = frozenset(
    {"SELECT", "USAGE", "SHOW VIEW", "SHOW DATABASES", "PROCESS", "REPLICATION CLIENT", "BINLOG MONITOR"}
)


def excess_privileges(grant: str) -> set[str]:
    """What one line of SHOW GRANTS allows beyond reading."""
    found = re.match(r"GRANT (.+?) ON ", grant)
    if found is None:
        return set()
    names = {re.sub(r"\s*\(.*?\)", "", part).strip().upper() for part in re.split(r",(?![^(]*\))", found[1])}
    # Of every database, the server's own with the hashes of its passwords too.
    names = {
        f"{name} ON *.*" if name == "SELECT" and grant[found.end() :].startswith("*.* ") else name for name in names
    }
    passed_on = {"GRANT OPTION"} if grant.endswith("WITH GRANT OPTION") else set()
    return names - _HARMLESS | passed_on


def granted_role(grant: str) -> str | None:
    """The role that a line of SHOW GRANTS gives, as it is written there: ``GRANT `writer`@`%` TO ...``."""
    found = re.match(r"GRANT ((?:`(?:[^`]|``)+`(?:@`[^`]*`)?|'[^']+'(?:@'[^']*')?)) TO ", grant)
    return found[1] if found else None


def _excess(url: str) -> set[str]:
    """What the account may do beyond reading: as itself, or after SET ROLE, for which a role need not be its default.
    A role whose rights the server does not show counts as too much."""
    found: set[str] = set()
    looked_at: set[str] = set()
    grants = column(url, "SHOW GRANTS")
    while grants:
        grant = grants.pop()
        found |= excess_privileges(grant)
        role = granted_role(grant)
        if role is not None and role not in looked_at:
            looked_at.add(role)
            try:
                grants += column(url, f"SHOW GRANTS FOR {role}")
            except QueryFailed:
                found.add(f"SET ROLE {role}, whose rights it is not shown")
    return found


LOOK = Look(
    "SELECT CONCAT('server ', VERSION())", _excess, f"{OWN_ACCOUNT}: GRANT SELECT ON <database>.* TO 'fluxport'@'...'"
)
