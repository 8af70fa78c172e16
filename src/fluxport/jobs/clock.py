"""When runs of schedules are due. Each worker computes the run times since the mark in the table ``schedules``, submits
those of the last seconds, and records older ones as missed.

Every run is submitted once, whatever the number of workers, and the mark moves after it. For missed runs the mark moves
in the transaction that records them, so they too are recorded once, even if a worker exits in between.

    looked_at (mark)                 now - ON_TIME_S       now
        |   missed: recorded as one failed   |   submitted    |
        |   export, or caught up once        |                |
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from functools import partial

import sqlalchemy as sa

from fluxport.jobs.schedule import MISSED_MAX, NO_WORKER, Schedule, Scheduler
from fluxport.loops import attempt
from fluxport.tables import database_now, insert_into, reading, schedules, transaction

ON_TIME_S = 15.0  # every run that is at most this late is submitted
LATE_MAX_S = 60.0  # the last due run is still submitted if it is at most this late
LAST_TRY_S = 50.0  # a run that is later than this is not retried
LOOK_EVERY_S = 60.0  # even if nothing is due: the clock may have been changed
AGAIN_S = 2.0


class Clock:
    """Submits the due runs of all schedules, in each worker."""

    def __init__(self, scheduler: Scheduler, database: sa.Engine) -> None:
        self._scheduler = scheduler
        self._database = database

    @property
    def needed(self) -> bool:
        return bool(self._scheduler.schedules)

    def run(self, stopped: threading.Event) -> None:
        """Run until ``stopped``; errors are logged and retried."""
        while not stopped.is_set():
            waits: list[float] = []
            attempt("checking schedules", lambda: waits.append(self._look()))  # noqa: B023  called at once
            stopped.wait(waits[0] if waits else AGAIN_S)

    def mark(self) -> None:
        """Set the marks of new and changed schedules to now; delete those of removed ones."""
        wanted = self._scheduler.schedules
        with transaction(self._database) as connection:
            now = database_now(connection)
            connection.execute(sa.delete(schedules).where(schedules.c.name.not_in(list(wanted))))
            rows = [
                {"name": name, "definition": _definition(schedule), "looked_at": now}
                for name, schedule in sorted(wanted.items())
            ]
            insert = insert_into(connection, schedules)
            marking = insert.on_conflict_do_update(
                index_elements=[schedules.c.name],
                set_={"definition": insert.excluded.definition, "looked_at": insert.excluded.looked_at},
                where=schedules.c.definition != insert.excluded.definition,
            )
            if rows:
                connection.execute(marking, rows)

    def _look(self) -> float:
        """Submit what is due; returns the seconds until the next check."""
        with reading(self._database) as connection:
            now = database_now(connection)
            marks = connection.execute(sa.select(schedules)).all()
        wait_s = LOOK_EVERY_S
        for name, definition, looked_at in marks:
            schedule = self._scheduler.schedules.get(name)
            if schedule is None or definition != _definition(schedule):
                continue  # another worker has another configuration
            # An unreachable source does not delay other schedules.
            done = attempt(f"schedule {name}", partial(self._start, schedule, looked_at, now))
            next_at = next(schedule.runs(datetime.fromtimestamp(now, UTC))).timestamp()
            wait_s = min(wait_s, next_at - now if done else AGAIN_S)
        return wait_s

    def _start(self, schedule: Schedule, looked_at: float, now: float) -> None:
        """Submit, or record as missed, all runs due after ``looked_at``. A temporary error is raised; the run stays due
        at the next check."""
        due = schedule.missed(datetime.fromtimestamp(looked_at, UTC), datetime.fromtimestamp(now, UTC))
        late = [moment for moment in due if now - moment.timestamp() > ON_TIME_S]
        runs = due[len(late) :]
        if late and not runs and now - late[-1].timestamp() <= LATE_MAX_S:
            runs = [late.pop()]
        if late:
            if schedule.catch_up and not runs:
                self._scheduler.run(schedule, late[-1], last_try=True)
            last = late[-1].timestamp() if len(due) < MISSED_MAX else now
            self._scheduler.record_missed(
                schedule, late, NO_WORKER, unless=lambda connection: not _moved(connection, schedule, looked_at, last)
            )
            looked_at = last
        for moment in runs:
            at = moment.timestamp()
            self._scheduler.run(schedule, moment, last_try=moment != runs[-1] or now - at > LAST_TRY_S)
            with transaction(self._database) as connection:
                _moved(connection, schedule, looked_at, at)
            looked_at = at


def _moved(connection: sa.Connection, schedule: Schedule, before: float, after: float) -> bool:
    """Move the mark; False if another worker has moved it already."""
    mark = sa.update(schedules).where(schedules.c.name == schedule.name, schedules.c.looked_at == before)
    return connection.execute(mark.values(looked_at=after)).rowcount > 0


def _definition(schedule: Schedule) -> str:
    return f"{schedule.cron} {schedule.timezone}"
