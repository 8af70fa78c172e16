"""Steps that change the tables beyond those of ``STEPS``, for tests of how steps are applied.

    STEPS_FOLDER=FOLDER python steps_support.py URL

upgrades the database by them. In the middle of the last one it creates the file ``began`` in that folder, and waits
until there is one called ``go``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import sqlalchemy as sa

from fluxport.migrations import STEPS, Step, upgrade
from fluxport.tables import connect

VERSION = len(STEPS) + 1


def more(module: str = "steps_support", compatible_from: int = 1) -> tuple[Step, ...]:
    return (*STEPS, Step("a column more", module, compatible_from))


def apply(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE exports ADD COLUMN more INTEGER")
    connection.exec_driver_sql("UPDATE exports SET more = 1")
    if folder := os.environ.get("STEPS_FOLDER"):
        Path(folder, "began").touch()
        while not Path(folder, "go").exists():
            time.sleep(0.01)


if __name__ == "__main__":
    print("upgrading", flush=True)
    applied = upgrade(connect(sys.argv[1]), more())
    print([number for number, _ in applied])
