"""When it is time for the runs of schedules: each worker looks at the moments that have come since the mark in our own
table, carries out those of the last seconds, and records older ones as missed.

A run is asked for once however many workers look, and the mark moves after it. The mark moves in the transaction that
records missed runs, so these too are recorded once, whatever dies.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from functools import partial

import sqlalchemy as sa

from fluxport.jobs.schedule import MISSED_MAX, NOBODY, Schedule, Scheduler
from fluxport.loops import attempt
from fluxport.tables import database_now, insert_into, reading, schedules, transaction

ON_TIME_S = 15.0  # so late is every run carried out
LATE_MAX_S = 60.0  # and so late the last one that is due
LAST_TRY_S = 50.0
LOOK_EVERY_S = 60.0  # though nothing is due: the clock may have been set
AGAIN_S = 2.0


class Clock:
    """A worker's part in the runs of all schedules."""

    def __init__(self, scheduler: Scheduler, database: sa.Engine) -> None:
        self._scheduler = scheduler
        self._database = database

    @property
    def needed(self) -> bool:
        return bool(self._scheduler.schedules)

    def run(self, stopped: threading.Event) -> None:
        """Until ``stopped``; what goes wrong is tried again."""
        while not stopped.is_set():
            waits: list[float] = []
            attempt("looking at schedules", lambda: waits.append(self._look()))  # noqa: B023  called at once
            stopped.wait(waits[0] if waits else AGAIN_S)

    def mark(self) -> None:
        """Begin the account of schedules that are new or have become others; end that of those that are gone."""
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
        """Carry out what is due; the seconds until something is."""
        with reading(self._database) as connection:
            now = database_now(connection)
            marks = connection.execute(sa.select(schedules)).all()
        wait_s = LOOK_EVERY_S
        for name, definition, looked_at in marks:
            schedule = self._scheduler.schedules.get(name)
            if schedule is None or definition != _definition(schedule):
                continue  # of a worker with another configuration
            # One whose source cannot be reached holds no other up.
            done = attempt(f"schedule {name}", partial(self._carry_out, schedule, looked_at, now))
            next_at = next(schedule.runs(datetime.fromtimestamp(now, UTC))).timestamp()
            wait_s = min(wait_s, next_at - now if done else AGAIN_S)
        return wait_s

    def _carry_out(self, schedule: Schedule, looked_at: float, now: float) -> None:
        """Run, or record as missed, all that was due after ``looked_at``. What cannot be now is raised, and due at the
        next look."""
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
                schedule, late, NOBODY, unless=lambda connection: not _moved(connection, schedule, looked_at, last)
            )
            looked_at = last
        for moment in runs:
            at = moment.timestamp()
            self._scheduler.run(schedule, moment, last_try=moment != runs[-1] or now - at > LAST_TRY_S)
            with transaction(self._database) as connection:
                _moved(connection, schedule, looked_at, at)
            looked_at = at


def _moved(connection: sa.Connection, schedule: Schedule, before: float, after: float) -> bool:
    """Move the mark, unless another worker has been quicker."""
    mark = sa.update(schedules).where(schedules.c.name == schedule.name, schedules.c.looked_at == before)
    return connection.execute(mark.values(looked_at=after)).rowcount > 0


def _definition(schedule: Schedule) -> str:
    return f"{schedule.cron} {schedule.timezone}"
