"""Migrations of the service's own tables: numbered steps, each applied once.

The table ``schema_steps`` has a row for every applied step. At start, a program selects the last row. Only if steps are
missing, it imports and applies them, in one transaction and under a lock::

    last row    missing              <= ours            > ours, we are            > ours, we are not
                or table missing                        in compatible_from        in compatible_from
    start       apply what is missing   go on           go on                     Refused (other_version)

A database with tables but without ``schema_steps`` was written by a program older than the first step, which adopts it.

To change a table: change :mod:`fluxport.tables`, add a module here with ``apply(connection)`` and a row in ``STEPS``. A
released step is never changed. It contains its statements literally and does not use :mod:`fluxport.tables`, which
later steps change.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from fluxport.database_errors import meaning
from fluxport.errors import Broken, Refused
from fluxport.tables import alone, connect, reading
from fluxport.version import __version__

log = logging.getLogger("fluxport.migrations")

WAIT_S = 600.0  # for another process that is upgrading the same database


class Step(NamedTuple):
    """A change of the tables by ``apply`` of ``module``; its number, from 1, is its position in ``STEPS``.

    ``compatible_from`` is the number of the oldest step whose programs can still use the tables after this one: they
    may run next to newer ones during a rolling upgrade. It never decreases from step to step.
    """

    name: str
    module: str
    compatible_from: int


STEPS: tuple[Step, ...] = (
    Step("the tables of 0.1", "fluxport.migrations.step_0001", compatible_from=1),
    Step("one redeemer for each one-time link", "fluxport.migrations.step_0002", compatible_from=1),
)


class Recorded(NamedTuple):
    """The last applied step; ``program`` is the version of Fluxport that applied it."""

    version: int
    compatible_from: int
    program: str


NONE = Recorded(0, 0, "")
_LAST = sa.text("SELECT number, compatible_from, program FROM schema_steps ORDER BY number DESC LIMIT 1")
_CREATE = """
CREATE TABLE IF NOT EXISTS schema_steps (
    number INTEGER NOT NULL PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    compatible_from INTEGER NOT NULL,
    program VARCHAR(64) NOT NULL,
    applied_at DOUBLE PRECISION NOT NULL
)
"""
_RECORD = sa.text(
    "INSERT INTO schema_steps (number, name, compatible_from, program, applied_at) "
    "VALUES (:number, :name, :compatible_from, :program, :applied_at)"
)


def recorded(engine: sa.Engine) -> Recorded:
    """The last applied step, ``NONE`` if there is none. Raises the errors of :func:`fluxport.tables.reading`."""
    try:
        with reading(engine) as connection:
            return _last(connection)
    except (sa.exc.OperationalError, sa.exc.ProgrammingError):
        return NONE  # the remaining cause of these errors is that the table does not exist


def recorded_at(url: str) -> Recorded:
    """The last applied step of the database with this URL; does not create a missing SQLite file."""
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return NONE
    engine = connect(url)
    try:
        return recorded(engine)
    finally:
        engine.dispose()


def _last(connection: sa.Connection) -> Recorded:
    row = connection.execute(_LAST).one_or_none()
    return NONE if row is None else Recorded(*row)


def missing(last: Recorded, steps: Sequence[Step] = STEPS) -> list[tuple[int, Step]]:
    """The steps not yet applied, with their numbers. Refused (``other_version``) if a newer program has changed the
    tables so that this one cannot use them."""
    known = len(steps)
    if last.version > known and last.compatible_from > known:
        raise Refused(
            f"The service's database has tables of version {last.version}, written by fluxport {last.program}; this "
            f"is fluxport {__version__}, which knows versions up to {known}, and has changed nothing. Run fluxport "
            f"{last.program} or a later one, or restore the backup from before the upgrade.",
            code="other_version",
        )
    return list(enumerate(steps[last.version :], start=last.version + 1))


def upgrade(engine: sa.Engine, steps: Sequence[Step] = STEPS) -> list[tuple[int, Step]]:
    """Apply the missing steps, all or none; returns them with their numbers.

    Waits up to ``WAIT_S`` if another process is upgrading. Refused (``other_version``) as in :func:`missing`; Broken
    (``upgrade_failed``) if a step fails, which leaves the database unchanged.
    """
    if not missing(recorded(engine), steps):
        return []
    with alone(engine, WAIT_S) as connection:
        connection.exec_driver_sql(_CREATE)
        todo = missing(_last(connection), steps)
        for number, step in todo:
            _apply(connection, number, step)
    for number, step in todo:
        log.info("applied step %d to the service's database: %s", number, step.name)
    return todo


def _apply(connection: sa.Connection, number: int, step: Step) -> None:
    try:
        importlib.import_module(step.module).apply(connection)
    except sa.exc.SQLAlchemyError as error:
        if meaning(error) is not None:
            raise
        raise Broken(
            f"Step {number} ({step.name}) of the upgrade of the service's database failed; the database is "
            f"unchanged. Continue with the previous version of fluxport, and report this with the database's message.",
            code="upgrade_failed",
            detail=" ".join(str(getattr(error, "orig", error)).split()),
        ) from error
    row = {"number": number, "name": step.name, "compatible_from": step.compatible_from}
    connection.execute(_RECORD, row | {"program": __version__, "applied_at": time.time()})
