"""Schedules at the engine: who begins runs by the clock, and the look back that finds those that nobody began.

The engine begins a run from a thread of its process and keeps no account of moments at which there was none: no worker
was alive, one was just starting, or the database was away at that very second. So each worker looks back again and
again: what was due since the mark in our own table, and has no workflow, was missed. The mark moves in the transaction
that queues the telling, so each missed run is told of once, whatever dies and however many workers look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from fluxport.jobs.schedule import MISSED_MAX, NOBODY, Schedule, Scheduler
from fluxport.tables import database_now, schedules, transaction

if TYPE_CHECKING:
    from dbos import EnqueueOptions

SCHEDULED_WORKFLOW = "fluxport.scheduled"
MISSED_WORKFLOW = "fluxport.missed"
SCHEDULES = "schedules"
BEGUN_AFTER_S = 15.0  # the engine spreads the beginning of runs over the 10 s behind their moment
LATE_MAX_S = 60.0  # so late is the last run that was missed still carried out


class Engine(Protocol):
    """What is asked of the engine from outside its workflows."""

    def enqueue(self, connection: sa.Connection, options: EnqueueOptions, *args: Any) -> None:
        """Queue a workflow as part of the caller's transaction."""

    def known(self, workflow_ids: Sequence[str]) -> set[str]:
        """Those of the workflows that the engine has, whatever became of them."""


class Clock:
    """A worker's part in the runs of all schedules."""

    def __init__(self, scheduler: Scheduler, database: sa.Engine, engine: Engine) -> None:
        self._scheduler = scheduler
        self._database = database
        self._engine = engine

    def register(self, tell_all: Callable[[str], None]) -> Callable[[Any, dict[str, str]], None]:
        """The workflows; the one that the engine begins at each moment is given back."""
        from dbos import DBOS, error

        scheduler = self._scheduler

        # Only what is not there now is raised; anything else is an export that failed.
        @DBOS.step(name="fluxport.run", retries_allowed=True, max_attempts=8, interval_seconds=2.0, backoff_rate=2.0)
        def run(name: str, at: str) -> str | None:
            return scheduler.run(name, at)

        @DBOS.step(name="fluxport.missed", retries_allowed=True, max_attempts=8, interval_seconds=2.0, backoff_rate=2.0)
        def tell_missed(name: str, count: int, first: str, last: str, why: str = NOBODY) -> str | None:
            return scheduler.tell_missed(name, count, first, last, why)

        @DBOS.workflow(name=SCHEDULED_WORKFLOW)
        def scheduled(at: Any, context: dict[str, str]) -> None:
            name, moment = context["name"], str(at)  # what JSON made of the moment
            try:
                failed = run(name, moment)
            except error.DBOSMaxStepRetriesExceeded:
                # The queue was full, or the service closing, at every try: what is not asked for must be told.
                failed = tell_missed(name, 1, moment, moment, "the service took nothing for minutes")
            if failed is not None:
                tell_all(failed)

        @DBOS.workflow(name=MISSED_WORKFLOW)
        def missed(name: str, count: int, first: str, last: str, made_up: bool = False) -> None:
            if (failed := tell_missed(name, count, first, last)) is not None:
                tell_all(failed)
            schedule = scheduler.schedules.get(name)
            if schedule is None or made_up or not schedule.catch_up:
                return
            if (failed := run(name, last)) is not None:
                tell_all(failed)

        return scheduled

    def start(self, scheduled: Callable[[Any, dict[str, str]], None]) -> None:
        """Give the engine, which runs already, the schedules of the configuration."""
        from dbos import DBOS

        wanted = self._scheduler.schedules
        self._mark()
        for entry in DBOS.list_schedules():
            if entry["schedule_name"] not in wanted:
                DBOS.delete_schedule(entry["schedule_name"])
        DBOS.apply_schedules(
            [
                {
                    "schedule_name": name,
                    "workflow_fn": scheduled,
                    "schedule": schedule.cron,
                    "cron_timezone": schedule.timezone,
                    "queue_name": SCHEDULES,
                    "context": _context(name),
                }
                for name, schedule in wanted.items()
            ]
        )

    def _mark(self) -> None:
        """Begin the account of schedules that are new or have become others; end that of those that are gone."""
        wanted = self._scheduler.schedules
        with transaction(self._database) as connection:
            now = database_now(connection)
            connection.execute(sa.delete(schedules).where(schedules.c.name.not_in(list(wanted))))
            rows = [
                {"name": name, "definition": _definition(schedule), "looked_at": now}
                for name, schedule in sorted(wanted.items())
            ]
            insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(schedules)
            marking = insert.on_conflict_do_update(
                index_elements=[schedules.c.name],
                set_={"definition": insert.excluded.definition, "looked_at": insert.excluded.looked_at},
                where=schedules.c.definition != insert.excluded.definition,
            )
            if rows:
                connection.execute(marking, rows)

    def look_back(self) -> None:
        """Queue the telling of runs that were due and that the engine did not begin. Unavailable if the database is
        away: the next look finds the same."""
        if not self._scheduler.schedules:
            return
        with transaction(self._database) as connection:
            now = database_now(connection)
            marks = connection.execute(sa.select(schedules)).all()
        until = datetime.fromtimestamp(now - BEGUN_AFTER_S, UTC)
        for name, definition, looked_at in marks:
            schedule = self._scheduler.schedules.get(name)
            if schedule is None or definition != _definition(schedule):
                continue  # of a worker with another configuration
            if due := schedule.missed(datetime.fromtimestamp(looked_at, UTC), until):
                begun = self._engine.known([_workflow_id(name, moment) for moment in due])
                missed = [moment for moment in due if _workflow_id(name, moment) not in begun]
                last = due[-1] if len(due) < MISSED_MAX else until
                self._settle(name, looked_at, last, missed, now)

    def _settle(self, name: str, looked_at: float, last: datetime, missed: list[datetime], now: float) -> None:
        """Move the mark to ``last`` and queue what ``missed`` needs, unless another worker has been quicker."""
        moving = (
            sa.update(schedules)
            .where(schedules.c.name == name, schedules.c.looked_at == looked_at)
            .values(looked_at=last.timestamp())
        )
        with transaction(self._database) as connection:
            if not connection.execute(moving).rowcount:
                return
            late = missed.pop() if missed and now - missed[-1].timestamp() <= LATE_MAX_S else None
            if missed:
                first, last_missed = missed[0].isoformat(), missed[-1].isoformat()
                options = _options(MISSED_WORKFLOW, f"missed-{name}-{last_missed}")
                self._engine.enqueue(connection, options, name, len(missed), first, last_missed, late is not None)
            if late is not None:
                options = _options(SCHEDULED_WORKFLOW, _workflow_id(name, late))
                self._engine.enqueue(connection, options, late.isoformat(), _context(name))


def _context(name: str) -> dict[str, str]:
    return {"name": name}


def _definition(schedule: Schedule) -> str:
    return f"{schedule.cron} {schedule.timezone}"


def _workflow_id(name: str, moment: datetime) -> str:
    """The id that the engine gives the run at this moment (in the zone of its schedule)."""
    return f"sched-{name}-{moment.isoformat()}"


def _options(workflow: str, workflow_id: str) -> EnqueueOptions:
    return {"workflow_name": workflow, "queue_name": SCHEDULES, "workflow_id": workflow_id}
