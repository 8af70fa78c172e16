"""Exports that are asked for by the clock. When it is time is the engine's business; here is what happens then.

A run asks for the export under a key made of the schedule's name and the moment, so that it is asked for once whoever
does it and however often. A run that cannot be (the one before is still going, the limits are reached, nobody was there
when it was time) becomes an export that failed with the reason: its owner sees it in the list and is told as of any
other failure.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from fluxport.auth.scopes import EVERYTHING
from fluxport.errors import FluxportError
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.store import Caller, Record

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

    def run(self, name: str, at: str) -> str | None:
        """Ask for the export of the run at ``at`` (ISO 8601); the id of a failed one to be told, if it could not be.

        Nothing is done for a schedule that the configuration does not have any more. Unavailable passes through: the
        engine tries again.
        """
        schedule = self.schedules.get(name)
        if schedule is None or schedule.repeated(datetime.fromisoformat(at)):
            return None
        key = f"{key_prefix(name)}{_utc(at)}"
        try:
            self._exports.submit(
                schedule.request,
                schedule.caller,
                door=DOOR,
                idempotency=(key, _digest(key)),
                unless_active=key_prefix(name),
            )
        except FluxportError as error:
            if error.retryable:
                raise
            return self._failed(schedule, key, error.code, error.message)
        return None

    def tell_missed(self, name: str, count: int, first: str, last: str, why: str) -> str | None:
        """Tell of runs that nobody carried out, and why; the id of the failed export that says so."""
        schedule = self.schedules.get(name)
        if schedule is None:
            return None
        runs = "1 run was" if count == 1 else f"{count:,} runs were"
        span = first if count == 1 else f"{first} to {last}"
        message = f"{runs} missed because {why}: {span}."
        log.warning("schedule %s: %s", name, message)
        return self._failed(schedule, f"{key_prefix(name)}missed:{_utc(last)}", "schedule_missed", message)

    def _failed(self, schedule: Schedule, key: str, code: str, message: str) -> str:
        error = {"code": code, "message": message, "retryable": False}
        caller = schedule.caller
        asked = self._exports.checked(schedule.request, caller)
        return self._exports.store.create_failed(asked, caller, door=DOOR, key=(key, _digest(key)), error=error).id


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
            "error": last.error,
        },
    }


def key_prefix(name: str) -> str:
    return f"schedule:{name}:"


def _utc(at: str) -> str:
    return datetime.fromisoformat(at).astimezone(UTC).isoformat()


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
