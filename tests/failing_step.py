"""A step that fails after it has changed something."""

from __future__ import annotations

import sqlalchemy as sa

import steps_support


def apply(connection: sa.Connection) -> None:
    steps_support.apply(connection)
    connection.exec_driver_sql("INSERT INTO probes SELECT * FROM no_such_table")
