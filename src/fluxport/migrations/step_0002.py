"""One-time links belong to the client that redeemed them: its session, and until when it may fetch the file again.

Both are NULL for a link that an older program marks as used, which is then used up for everyone; to older programs,
every row is a link that has been used."""

from __future__ import annotations

import sqlalchemy as sa


def apply(connection: sa.Connection) -> None:
    double = "DOUBLE PRECISION" if connection.dialect.name == "postgresql" else "DOUBLE"
    connection.exec_driver_sql("ALTER TABLE used_links ADD COLUMN session_sha256 VARCHAR(64)")
    connection.exec_driver_sql(f"ALTER TABLE used_links ADD COLUMN open_until {double}")
