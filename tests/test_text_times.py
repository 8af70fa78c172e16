"""Dates, times and durations as text, beside Python's own datetime."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxport.errors import Refused
from fluxport.formats.text import TextStyle, check_style, text_of
from text_support import TIME

DAY_MIN, DAY_MAX = dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999)


def texts(
    array: pa.Array, style: TextStyle | None = None, metadata: dict[bytes, bytes] | None = None
) -> list[str | None]:
    made = text_of(array, pa.field("a", array.type, metadata=metadata), style or TextStyle())
    made.validate(full=True)
    found: list[str | None] = made.to_pylist()
    return found


def shown(value: dt.datetime, digits: int) -> str:
    whole = f"{value.year:04d}-{value.month:02d}-{value.day:02d} {value:%H:%M:%S}"
    return whole + (f".{value.microsecond:06d}000"[: digits + 1] if digits else "")


@settings(deadline=None)
@given(st.lists(st.none() | st.datetimes(DAY_MIN, DAY_MAX), max_size=30), st.sampled_from(["s", "ms", "us", "ns"]))
@example([DAY_MIN, DAY_MAX, dt.datetime(1969, 12, 31, 23, 59, 59, 999999), dt.datetime(2000, 2, 29)], "us")
def test_a_naive_timestamp_has_the_fraction_of_its_unit(values: list[dt.datetime | None], unit: str) -> None:
    digits = {"s": 0, "ms": 3, "us": 6, "ns": 9}[unit]
    if unit == "ns":
        values = [v for v in values if v is None or 1700 < v.year < 2200]
    step = {"s": 10**6, "ms": 1000}.get(unit, 1)
    values = [None if v is None else v.replace(microsecond=v.microsecond // step * step) for v in values]
    array = pa.array(values, pa.timestamp("us")).cast(pa.timestamp(unit))
    assert texts(array) == [None if v is None else shown(v, digits) for v in values]


ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia"]


@settings(deadline=None)
@given(
    st.lists(st.none() | st.datetimes(dt.datetime(1950, 1, 1), dt.datetime(2037, 1, 1)), max_size=20),
    st.sampled_from(ZONES),
)
def test_a_zoned_timestamp_is_rfc_3339_in_its_own_zone(values: list[dt.datetime | None], zone: str) -> None:
    utc = [None if v is None else v.replace(tzinfo=dt.UTC) for v in values]
    found = texts(pa.array(utc, pa.timestamp("us", zone)))
    for value, text in zip(utc, found, strict=True):
        if value is None:
            assert text is None
            continue
        assert text is not None
        back = dt.datetime.fromisoformat(text)
        assert back == value
        assert text.endswith("Z") == (zone == "UTC")
        assert back.utcoffset() == value.astimezone(zoneinfo.ZoneInfo(zone)).utcoffset() or value.year < 1973


def test_a_fixed_offset_is_preserved() -> None:
    assert texts(pa.array([0], pa.timestamp("ms", "+05:30"))) == ["1970-01-01T05:30:00.000+05:30"]
    assert texts(pa.array([0], pa.timestamp("s", "-00:30"))) == ["1969-12-31T23:30:00-00:30"]


def test_an_offset_with_seconds_is_rounded_and_the_instant_unchanged() -> None:
    before_zones = pa.array([dt.datetime(1850, 1, 1, tzinfo=dt.UTC)], pa.timestamp("s", "Europe/Berlin"))
    [text] = texts(before_zones)
    assert text == "1850-01-01T00:53:00+00:53"


def test_a_naive_timestamp_has_no_offset_in_rfc_3339() -> None:
    assert texts(pa.array([0], pa.timestamp("s")), TextStyle(datetime_format="rfc3339")) == ["1970-01-01T00:00:00"]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_years_of_any_size_are_written(unit: str) -> None:
    per = {"s": 1, "ms": 1000, "us": 10**6}[unit]
    seconds = [-62_135_596_800 - 366 * 86_400, -62_167_219_201, 253_402_300_800]
    found = texts(pa.array([s * per for s in seconds], pa.timestamp(unit)))
    assert [str(t)[:11] for t in found] == ["0000-01-01 ", "-0001-12-31", "10000-01-01"]
    edges = texts(pa.array([-(2**63), 2**63 - 1, 2**62, None, 0], pa.timestamp(unit)))
    assert edges[3:] == [None, "1970-01-01 00:00:00" + {"s": "", "ms": ".000", "us": ".000000"}[unit]]
    assert all(text and "out of range" not in text for text in edges[:3])


PATTERNS = [
    *("%Y-%m-%d %H:%M:%S", "%d.%m.%Y", "%m/%d/%y %I:%M %p", "%H%M%S", "%Y%m%dT%H%M%S.%f", "%d %B %Y", "%a %d %b %Y"),
    *("%-d.%-m.%Y %-H:%M", "%j|%y|%%|%e", "at %H o'clock", "%F %T", "100%% %-I%p", "%H on %d at %M", "x"),
]


@settings(deadline=None)
@given(st.sampled_from(PATTERNS), st.lists(st.datetimes(dt.datetime(1000, 1, 1), DAY_MAX), min_size=1, max_size=10))
def test_a_pattern_gives_what_strftime_gives(pattern: str, values: list[dt.datetime]) -> None:
    found = texts(pa.array(values, pa.timestamp("us")), TextStyle(datetime_format=pattern))
    assert found == [v.strftime(pattern) for v in values]


def test_a_pattern_shows_the_offset_and_the_name_of_a_zone() -> None:
    summer = pa.array([dt.datetime(2026, 7, 1, tzinfo=dt.UTC), None], pa.timestamp("us", "Europe/Berlin"))
    assert texts(summer, TextStyle(datetime_format="%H:%M %z %Z")) == ["02:00 +0200 CEST", None]
    assert texts(pa.array([0], pa.timestamp("s")), TextStyle(datetime_format="%H%z%Z")) == ["00"]
    assert texts(pa.array([0], pa.timestamp("s", "UTC")), TextStyle(datetime_format="%H%z")) == ["00+0000"]


def test_a_year_that_no_pattern_can_show_becomes_an_iso_date() -> None:
    far = pa.array([10**12, 0], pa.timestamp("s"))
    assert texts(far, TextStyle(datetime_format="%d.%m.%Y")) == ["33658-09-27", "01.01.1970"]


@pytest.mark.parametrize("pattern", ["%q", "%", "%Y-%", "%-a", "%N", "", "%s", "%ä"])
def test_a_pattern_that_is_not_known_is_refused_before_work(pattern: str) -> None:
    with pytest.raises(Refused, match="datetime_format"):
        check_style(TextStyle(datetime_format=pattern))
    with pytest.raises(Refused, match="date_format"):
        check_style(TextStyle(date_format=pattern))


@settings(deadline=None)
@given(st.lists(st.none() | st.dates(), max_size=20))
def test_dates_are_iso_or_follow_their_pattern(values: list[dt.date | None]) -> None:
    for kind in (pa.date32(), pa.date64()):
        array = pa.array(values, kind)
        assert texts(array) == [None if v is None else v.isoformat() for v in values]
        late = pa.array([v for v in values if v and v.year >= 1000], kind)
        assert texts(late, TextStyle(date_format="%d/%m/%Y")) == [v.strftime("%d/%m/%Y") for v in late.to_pylist()]


@settings(deadline=None)
@given(st.lists(st.none() | st.times(), max_size=20))
def test_times_have_the_fraction_of_their_unit(values: list[dt.time | None]) -> None:
    for kind, digits in ((pa.time64("us"), 6), (pa.time64("ns"), 9)):
        found = texts(pa.array(values, kind))
        assert found == [None if v is None else f"{v:%H:%M:%S}.{v.microsecond:06d}000"[: 9 + digits] for v in values]
    whole = [None if v is None else v.replace(microsecond=0) for v in values]
    assert texts(pa.array(whole, pa.time32("s"))) == [None if v is None else v.isoformat() for v in whole]


def test_a_time_of_24_hours_is_written() -> None:
    assert texts(pa.array([86_400, 0], pa.time32("s"))) == ["24:00:00", "00:00:00"]


def test_a_time_of_mysql_goes_on_past_a_day_and_below_zero() -> None:
    seconds = [838 * 3600 + 59 * 60 + 59, -(838 * 3600 + 59 * 60 + 59), 0, None, -1, 86_400]
    found = texts(pa.array(seconds, pa.duration("s")), metadata=TIME)
    assert found == ["838:59:59", "-838:59:59", "00:00:00", None, "-00:00:01", "24:00:00"]
    assert texts(pa.array([-1_500_000, 61_000_001], pa.duration("us")), metadata=TIME) == [
        *("-00:00:01.500000", "00:01:01.000001")
    ]


def test_a_duration_is_iso_8601() -> None:
    assert texts(pa.array([0, 93_784_005, -1, None], pa.duration("ms"))) == [
        *("PT0H0M0.000S", "PT26H3M4.005S", "-PT0H0M0.001S", None)
    ]
    assert texts(pa.array([-(2**63), 2**63 - 1], pa.duration("s"))) == [
        *("-PT2562047788015215H30M8S", "PT2562047788015215H30M7S")
    ]


def test_an_interval_separates_months_days_and_nanoseconds() -> None:
    array = pa.array([(14, -3, -1_500_000_000), None, (0, 0, 0)], pa.month_day_nano_interval())
    assert texts(array) == ["P14M-3DT-1.500000000S", None, "P0M0DT0.000000000S"]


def test_the_text_of_a_row_does_not_depend_on_its_neighbours() -> None:
    near = pa.array([0, 10**15], pa.timestamp("us"))
    far = pa.array([0, 10**15, -(2**62), 2**62], pa.timestamp("us"))
    assert texts(far)[:2] == texts(near)


def test_a_zone_that_the_machine_does_not_know_is_refused() -> None:
    with pytest.raises(Refused, match="Mars/Olympus"):
        texts(pa.array([0], pa.timestamp("s", "Mars/Olympus")))
