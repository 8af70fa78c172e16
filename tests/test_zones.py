"""Offsets of time zones, compared with the standard library's."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport.errors import Refused
from fluxport.formats._zones import clock_of
from text_support import written

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# Half an hour, quarters, a day left out, no rules at all, Ramadan, winter time as the exception, minutes of long ago.
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Asia/Tokyo"]
ZONES += ["Africa/Casablanca", "Europe/Dublin", "Europe/Amsterdam", "America/Caracas", "Asia/Gaza", "Antarctica/Troll"]
SPAN = (int((dt.datetime(d, 1, 2, tzinfo=dt.UTC) - EPOCH).total_seconds()) for d in (1, 9999))
MOMENTS = st.one_of(st.integers(-3 * 10**9, 5 * 10**9), st.integers(*SPAN))


def by_the_standard_library(seconds: int, zone: str) -> tuple[int, str, bool]:
    """Offset, name, and whether the clock shows the same time at another instant."""
    rules = zoneinfo.ZoneInfo(zone)
    moment = (EPOCH + dt.timedelta(seconds=seconds)).astimezone(rules)
    shown = moment.replace(tzinfo=None)
    meant = {shown.replace(tzinfo=rules, fold=fold).astimezone(dt.UTC) for fold in (0, 1)}
    same = [m for m in meant if m.astimezone(rules).replace(tzinfo=None) == shown]
    return int((moment.utcoffset() or dt.timedelta()).total_seconds()), moment.tzname() or "", len(same) == 2


@given(st.sampled_from(ZONES), st.lists(MOMENTS, min_size=1, max_size=30))
@settings(deadline=None, max_examples=150)
def test_any_moments_in_any_zone(zone: str, seconds: list[int]) -> None:
    found = clock_of(np.array(seconds), zone)
    expected = [by_the_standard_library(at, zone) for at in seconds]
    assert [
        (o, found.names[n], t)
        for o, n, t in zip(*(a.tolist() for a in (found.offsets, found.name_at, found.twice)), strict=True)
    ] == expected


@pytest.mark.parametrize("zone", ZONES)
def test_the_second_at_which_a_clock_is_set(zone: str) -> None:
    """Every hour of a century is checked for a change, and each change to the second with the hours around it."""
    hours = np.arange(-30 * 8766, 70 * 8766) * 3600
    offsets = clock_of(hours, zone).offsets
    near = [
        int(hours[i]) + s
        for i in np.flatnonzero(np.diff(offsets))
        for s in (-3600, 0, 1, 1799, 1800, 3599, 3600, 7199, 7200)
    ]
    found = clock_of(np.array(near, np.int64), zone)
    expected = [by_the_standard_library(at, zone) for at in near]
    assert list(zip(found.offsets.tolist(), found.twice.tolist(), strict=True)) == [(o, t) for o, _, t in expected]


def test_years_that_no_datetime_has_follow_the_calendar() -> None:
    """In ten thousand years, summer time still applies; before all rules, local mean time does."""
    july = int((dt.datetime(2000, 7, 1, 12, tzinfo=dt.UTC) - EPOCH).total_seconds())
    found = clock_of(np.array([july + 146_097 * 86_400 * 25, -(2**40)]), "Europe/Berlin")
    assert found.offsets.tolist() == [7200, 3208]


def test_an_invalid_zone_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        clock_of(np.array([0]), "Europe/Nowhere")
    assert refused.value.code == "unknown_timezone"


def test_text_in_a_zone_after_2037_and_in_the_hour_that_comes_twice() -> None:
    """The offset distinguishes the two; a pattern without it is counted."""
    moments = ["2050-07-01 12:00:00", "2024-10-27 00:30:00", "2024-10-27 01:30:00"]
    array = pa.array(moments).cast(pa.timestamp("s")).cast(pa.timestamp("s", "Europe/Berlin"))
    table = pa.table({"t": array})
    assert written("csv", table).text.split() == [
        "t",
        "2050-07-01T14:00:00+02:00",
        "2024-10-27T02:30:00+02:00",
        "2024-10-27T02:30:00+01:00",
    ]
    named = written("csv", table, datetime_format="%H:%M %Z")
    assert named.text.splitlines()[1:] == ["14:00 CEST", "02:30 CEST", "02:30 CET"]
    assert not named.reported
    bare = written("jsonl", table, datetime_format="%H:%M")
    assert bare.reported == {("ambiguous_time", "t"): 2}
