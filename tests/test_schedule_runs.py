"""When schedules run, and how missed runs are handled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fluxport.config import load
from fluxport.errors import Refused
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.schedule import Schedule
from fluxport.spec import ExportSpec


def schedule(cron: str, zone: str = "UTC") -> Schedule:
    return Schedule("nightly", cron, zone, "ann", ExportRequest(ExportSpec("SELECT 1")))


def test_cron_is_read_in_the_zone_of_the_schedule() -> None:
    runs = schedule("0 6 * * 1-5", "Europe/Berlin").runs(datetime(2026, 3, 26, tzinfo=UTC))
    assert [moment.astimezone(UTC).isoformat() for moment in islice(runs, 3)] == [
        "2026-03-26T05:00:00+00:00",
        "2026-03-27T05:00:00+00:00",
        "2026-03-30T04:00:00+00:00",  # summer time began on Sunday
    ]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"], ids=["no 02:30", "02:30 twice"])
def test_a_run_at_an_hour_that_a_zone_skips_or_repeats_happens_once(day: str) -> None:
    midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    runs = schedule("30 2 * * *", "Europe/Berlin").missed(midnight, midnight + timedelta(hours=23))
    assert len(runs) == 1


def test_missed_runs_are_those_between_the_last_one_and_now() -> None:
    at = datetime(2026, 11, 28, 12, tzinfo=UTC)
    missed = schedule("0 * * * *").missed(at - timedelta(hours=3), at)
    assert [moment.hour for moment in missed] == [10, 11]


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("cron", "every day", "five fields"),
        ("cron", "61 * * * *", "five fields"),
        ("cron", "@daily", "five fields"),
        ("cron", "0 0 0 1 1 * 2020", "five fields"),
        ("cron", "0 0 30 2 *", "on some day"),
        ("timezone", "Mars/Olympus", "IANA name"),
        ("export", {"source": {"query": "SELECT 1"}, "fromat": "csv"}, "did you mean 'format'"),
        ("export", {"source": {"query": "SELECT 1"}, "priority": "urgent"}, "high, normal, low"),
        ("missed", "twice", "'tell' or 'run'"),
    ],
)
def test_a_schedule_that_cannot_work_is_refused_when_the_configuration_is_read(
    tmp_path: Path, setting: str, value: object, words: str
) -> None:
    good = {"cron": "0 6 * * *", "user": "ann", "export": {"source": {"query": "SELECT 1"}}}
    flags = {f"schedules.nightly.{name}": given for name, given in (good | {setting: value}).items()}
    with pytest.raises(Refused) as caught:
        load(environ={}, folder=tmp_path, flags=flags)
    assert words in caught.value.message
    assert f"schedules.nightly.{setting}" in caught.value.message
