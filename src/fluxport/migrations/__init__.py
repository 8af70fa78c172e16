"""Changes of the service's own tables: numbered steps, each applied once.

The table ``schema_steps`` holds a row for every step that was applied. A program starts with one SELECT of its last
row. Only if steps are missing, it imports and applies them, in one transaction and under a lock::

    last row    missing              <= ours            > ours, we are            > ours, we are not
                or table missing                        in compatible_from        in compatible_from
    start       apply what is missing   go on           go on                     Refused (other_version)

A database that has tables and no ``schema_steps`` was written by a program from before the first step, which adopts it.

To change a table: change :mod:`fluxport.tables`, add a module here with ``apply(connection)`` and a row in ``STEPS``. A
step is not changed once it has been released. It holds its statements as they are, without the tables of
:mod:`fluxport.tables`, which later steps change.
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

WAIT_S = 600.0  # for another process that upgrades the same database


class Step(NamedTuple):
    """A change of the tables by ``apply`` of ``module``; its number, from 1, is its place in ``STEPS``.

    ``compatible_from`` is the number of the oldest step whose programs can go on using the tables after this one: they
    may run beside newer ones while a deployment is upgraded. It does not fall from step to step.
    """

    name: str
    module: str
    compatible_from: int


STEPS: tuple[Step, ...] = (Step("the tables of 0.1", "fluxport.migrations.step_0001", compatible_from=1),)


class Recorded(NamedTuple):
    """The last step that was applied; ``program`` is the version of Fluxport that did it."""

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
    """The last step that was applied, ``NONE`` if there is none. Raises as :func:`fluxport.tables.reading` does."""
    try:
        with reading(engine) as connection:
            return _last(connection)
    except (sa.exc.OperationalError, sa.exc.ProgrammingError):
        return NONE  # what remains of these is a statement that cannot run, as its table is not there


def recorded_at(url: str) -> Recorded:
    """The same of the database with this URL; an SQLite file that is not there is not created by this."""
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


def missing(found: Recorded, steps: Sequence[Step] = STEPS) -> list[tuple[int, Step]]:
    """The steps that are yet to be applied, with their numbers. Refused (``other_version``) if the tables have been
    changed by a newer program so that this one cannot use them."""
    known = len(steps)
    if found.version > known and found.compatible_from > known:
        raise Refused(
            f"The service's database has tables of version {found.version}, written by fluxport {found.program}; this "
            f"is fluxport {__version__}, which knows versions up to {known}, and has changed nothing. Run fluxport "
            f"{found.program} or a later one, or restore the backup from before the upgrade.",
            code="other_version",
        )
    return list(enumerate(steps[found.version :], start=found.version + 1))


def upgrade(engine: sa.Engine, steps: Sequence[Step] = STEPS) -> list[tuple[int, Step]]:
    """Apply the steps that are missing, all or none of them; which they were, with their numbers.

    A process that finds another one upgrading waits for it, at most ``WAIT_S``. Refused (``other_version``) as
    :func:`missing` says; Broken (``upgrade_failed``) if a step fails, which leaves the database as it was.
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
            f"Step {number} ({step.name}) of the upgrade of the service's database failed, and the database is as it "
            f"was. The version of fluxport that used it before can go on; report this with what the database said.",
            code="upgrade_failed",
            detail=" ".join(str(getattr(error, "orig", error)).split()),
        ) from error
    row = {"number": number, "name": step.name, "compatible_from": step.compatible_from}
    connection.execute(_RECORD, row | {"program": __version__, "applied_at": time.time()})
