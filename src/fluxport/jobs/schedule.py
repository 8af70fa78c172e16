"""Scheduled exports: what happens when a run is due. :mod:`fluxport.jobs.clock` decides when.

A run submits its export under an idempotency key made of the schedule's name and the run time, so the export is created
once, whatever the number of workers and attempts. A run that cannot start (the previous one is still active, a limit is
reached, no worker was available) is recorded as a failed export with the reason: its owner sees it in the list and is
notified as of any other failure.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from fluxport.auth.caller import Caller
from fluxport.auth.scopes import EVERYTHING
from fluxport.error_codes import Failure
from fluxport.errors import FluxportError, Refused
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.store import JobStore, Record
from fluxport.telemetry import traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fluxport.jobs.submit import Submitter

log = logging.getLogger("fluxport.schedules")

API = "schedule"
NO_WORKER = "no worker or no database was available"
MISSED_MAX = 10_000  # missed runs that are counted; if there are more, this number is reported


def is_cron(text: str) -> bool:
    """Whether ``text`` is a cron expression of five fields, or of six with seconds first, that is due on some day."""
    from croniter import CroniterError, croniter

    if len(text.split()) not in (5, 6):  # croniter also accepts @daily, and a seventh field for years
        return False
    try:
        croniter(text, second_at_beginning=True).get_next()
    except CroniterError:
        return False
    return True


@dataclass(frozen=True)
class Schedule:
    """``catch_up``: one run replaces all that were missed."""

    name: str
    cron: str
    timezone: str
    owner: str
    request: ExportRequest
    catch_up: bool = False

    @property
    def caller(self) -> Caller:
        """The caller of each run: the owner, with every scope."""
        return Caller(self.owner, scopes=EVERYTHING)

    def runs(self, after: datetime) -> Iterator[datetime]:
        """The run times after ``after``, without end."""
        from croniter import croniter

        moments = croniter(self.cron, after.astimezone(ZoneInfo(self.timezone)), second_at_beginning=True)
        while True:
            if not self.repeated(moment := moments.get_next(datetime)):
                yield moment

    def repeated(self, moment: datetime) -> bool:
        """Whether the local clock shows this hour for the second time, at the end of daylight saving time, and the
        schedule names hours: then it has run already, as in other crons."""
        hour = self.cron.split()[-4]
        return moment.astimezone(ZoneInfo(self.timezone)).fold == 1 and "*" not in hour

    def missed(self, after: datetime, before: datetime) -> list[datetime]:
        """The run times after ``after`` and before ``before``, at most MISSED_MAX."""
        moments = takewhile(lambda moment: moment < before, self.runs(after))
        return [moment for moment, _ in zip(moments, range(MISSED_MAX), strict=False)]


class Scheduler:
    """Submits runs, and records missed ones."""

    def __init__(self, submitter: Submitter, store: JobStore, schedules: Mapping[str, Schedule]) -> None:
        self.schedules = schedules
        self._submitter = submitter
        self._store = store

    def run(self, schedule: Schedule, moment: datetime, *, last_try: bool) -> None:
        """Submit the export of the run at ``moment``; repeated calls submit it once. If it is refused, a failed export
        is recorded; a retryable error is raised instead, except at the last attempt."""
        key = f"{key_prefix(schedule.name)}{_utc(moment)}"
        try:
            with traces.span("schedule", "", {"fluxport.schedule": schedule.name}) as span:
                self._submitter.submit(
                    schedule.request,
                    replace(schedule.caller, traceparent=span.traceparent),
                    api=API,
                    idempotency=(key, _digest(key)),
                    unless_active=key_prefix(schedule.name),
                )
        except FluxportError as error:
            if error.retryable and not last_try:
                raise
            self._fail(schedule, key, error)

    def record_missed(
        self, schedule: Schedule, missed: Sequence[datetime], why: str, unless: Callable[[sa.Connection], bool]
    ) -> None:
        """Record missed runs, and why, as one failed export; nothing if ``unless``, called in the same transaction,
        returns True."""
        first, last = missed[0].isoformat(), missed[-1].isoformat()
        runs = "1 run was" if len(missed) == 1 else f"{len(missed):,} runs were"
        span = first if len(missed) == 1 else f"{first} to {last}"
        message = f"{runs} missed because {why}: {span}."
        key = f"{key_prefix(schedule.name)}missed:{_utc(missed[-1])}"
        if self._fail(schedule, key, Refused(message, code="schedule_missed"), unless) is not None:
            log.warning("schedule %s: %s", schedule.name, message)

    def _fail(
        self,
        schedule: Schedule,
        key: str,
        error: FluxportError,
        unless: Callable[[sa.Connection], bool] = lambda _: False,
    ) -> Record | None:
        caller = schedule.caller
        return self._store.create_failed(
            self._submitter.checked(schedule.request, caller),
            caller,
            api=API,
            key=(key, _digest(key)),
            error=replace(Failure.of(error), retryable=False),  # this run is not retried
            unless=unless,
        )


def key_prefix(name: str) -> str:
    return f"schedule:{name}:"


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
