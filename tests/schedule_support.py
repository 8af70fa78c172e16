"""The outcome of each run of a schedule, from the service's own database."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from fluxport.tables import connect, exports, schedules

_SPAN = re.compile(r"(\S+) to (\S+)\.$|: (\S+)\.$")


def unaccounted(database: str, name: str, before: datetime) -> list[datetime]:
    """Seconds, from the first run of an every-second schedule on, that were neither run nor reported."""
    run: set[datetime] = set()
    engine = connect(database)
    prefix = f"schedule:{name}:"
    with engine.begin() as connection:
        query = sa.select(exports.c.idempotency_key, exports.c.error)
        for key, error in connection.execute(query.where(exports.c.idempotency_key.startswith(prefix))):
            what = key.removeprefix(prefix)
            if what.startswith("missed:"):
                found = _SPAN.search(error["message"])
                assert found, error
                first, last, only = found.groups()
                run |= set(_seconds(datetime.fromisoformat(first or only), datetime.fromisoformat(last or only)))
            else:
                run.add(datetime.fromisoformat(what))
    engine.dispose()
    return [moment for moment in _seconds(min(run), before) if moment not in run]


def has_looked(database: str, name: str) -> bool:
    """Whether a worker has looked for runs at all: earlier ones do not count."""
    engine = connect(database)
    with engine.begin() as connection:
        found = connection.execute(sa.select(schedules.c.looked_at).where(schedules.c.name == name)).first()
    engine.dispose()
    return found is not None


def looked_back(database: str, name: str) -> datetime:
    """How far back runs have been looked for."""
    engine = connect(database)
    with engine.begin() as connection:
        looked_at = connection.execute(sa.select(schedules.c.looked_at).where(schedules.c.name == name)).scalar_one()
    engine.dispose()
    return datetime.fromtimestamp(looked_at, UTC)


def put_back(database: str, name: str, seconds: float) -> None:
    """As if no worker had looked for that long."""
    engine = connect(database)
    with engine.begin() as connection:
        earlier = schedules.c.looked_at - seconds
        moved = connection.execute(sa.update(schedules).where(schedules.c.name == name).values(looked_at=earlier))
        assert moved.rowcount == 1
    engine.dispose()


def _seconds(first: datetime, last: datetime) -> list[datetime]:
    first, last = first.astimezone(UTC), last.astimezone(UTC)
    return [first + timedelta(seconds=n) for n in range(int((last - first).total_seconds()) + 1)]
