"""Exports that are asked for by the clock. When it is time is the business of :mod:`fluxport.jobs.clock`; here is what
happens then.

A run asks for the export under a key made of the schedule's name and the moment, so that it is asked for once whoever
does it and however often. A run that cannot be (the one before is still going, the limits are reached, nobody was there
when it was time) becomes an export that failed with the reason: its owner sees it in the list and is told as of any
other failure.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from fluxport.auth.caller import Caller
from fluxport.auth.scopes import EVERYTHING
from fluxport.error_codes import Failure
from fluxport.errors import FluxportError, Refused
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.store import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fluxport.jobs.exports import Exports

log = logging.getLogger("fluxport.schedules")

DOOR = "schedule"
NOBODY = "no worker, or no database, was there"
MISSED_MAX = 10_000  # runs that are looked at; more were missed is told as so many


def is_cron(text: str) -> bool:
    """Whether ``text`` is a cron expression of five fields, or of six with seconds first."""
    from croniter import croniter

    return bool(croniter.is_valid(text, second_at_beginning=True))


@dataclass(frozen=True)
class Schedule:
    """``catch_up``: one run makes up for those that were missed, however many."""

    name: str
    cron: str
    timezone: str
    owner: str
    request: ExportRequest
    catch_up: bool = False

    @property
    def caller(self) -> Caller:
        """Who asks for a run: the configuration, in the owner's name."""
        return Caller(self.owner, scopes=EVERYTHING)

    def runs(self, after: datetime) -> Iterator[datetime]:
        """The moments after ``after`` at which it is time, without end."""
        from croniter import croniter

        moments = croniter(self.cron, after.astimezone(ZoneInfo(self.timezone)), second_at_beginning=True)
        while True:
            if not self.repeated(moment := moments.get_next(datetime)):
                yield moment

    def repeated(self, moment: datetime) -> bool:
        """Whether the clock shows this hour for the second time, at the end of summer time, and the schedule names
        hours: then it has run already, as with any other cron."""
        hour = self.cron.split()[-4]
        return moment.astimezone(ZoneInfo(self.timezone)).fold == 1 and "*" not in hour

    def missed(self, after: datetime, before: datetime) -> list[datetime]:
        """The moments between the two."""
        found = takewhile(lambda moment: moment < before, self.runs(after))
        return [moment for moment, _ in zip(found, range(MISSED_MAX), strict=False)]


class Scheduler:
    """What a worker does when it is time, and what it tells of times at which there was none."""

    def __init__(self, exports: Exports, schedules: Mapping[str, Schedule]) -> None:
        self.schedules = schedules
        self._exports = exports

    def run(self, schedule: Schedule, moment: datetime, *, last_try: bool) -> None:
        """Ask for the export of the run at ``moment``, once however often this is called; one that cannot be becomes an
        export that failed. Before the last try, what may pass (Unavailable) is raised instead."""
        key = f"{key_prefix(schedule.name)}{_utc(moment)}"
        try:
            self._exports.submit(
                schedule.request,
                schedule.caller,
                door=DOOR,
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
        """Tell of runs that nobody carried out, and why, by a failed export that says so; none if ``unless``, asked in
        the transaction that would make it, says so."""
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
        return self._exports.store.create_failed(
            self._exports.checked(schedule.request, caller),
            caller,
            door=DOOR,
            key=(key, _digest(key)),
            error=replace(Failure.of(error), retryable=False),  # nothing tries it again
            unless=unless,
        )


def described(schedule: Schedule, last: Record | None, now: datetime) -> dict[str, Any]:
    """What its owner may know of a schedule."""
    from fluxport.jobs.view import rfc3339

    return {
        "name": schedule.name,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "user": schedule.owner,
        "next_at": rfc3339(next(schedule.runs(now)).timestamp()),
        "last": None
        if last is None
        else {
            "export_id": last.id,
            "status": last.status,
            "created_at": rfc3339(last.created_at),
            "error": last.error and last.error.to_json(),
        },
    }


def key_prefix(name: str) -> str:
    return f"schedule:{name}:"


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
