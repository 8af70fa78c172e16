"""Timestamps shown in a zone."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa
import pytest

from fluxport.errors import Refused
from fluxport.policy.timezone import to_zone

MOMENT = datetime.datetime(2026, 7, 1, 12, 0, tzinfo=datetime.UTC)
UTC = pa.timestamp("us", "UTC")


def through(array: pa.Array, zone: str) -> pa.Array:
    schema = pa.schema([("x", array.type)])
    made, apply = to_zone(zone)(schema)
    batch = apply(pa.record_batch([array], schema=schema))
    assert batch.schema == made
    return batch.column(0)


def test_a_zoned_timestamp_is_the_same_moment_in_the_zone() -> None:
    """Only the type changes, also in summer time."""
    made = through(pa.array([MOMENT, None], UTC), "Europe/Berlin")
    assert made.type == pa.timestamp("us", "Europe/Berlin")
    assert made.to_pylist() == [MOMENT, None]
    assert made[0].as_py().hour == 14


def test_a_naive_timestamp_stays_as_it_is() -> None:
    """It has no instant to convert."""
    naive = pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("us"))
    assert through(naive, "Asia/Tokyo").equals(naive)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.list_(UTC), [MOMENT, None]),
        (pa.list_(UTC, 1), [MOMENT]),
        (pa.large_list(UTC), [MOMENT]),
        (pa.struct([("a", UTC), ("b", pa.int8())]), {"a": MOMENT, "b": 1}),
        (pa.map_(pa.string(), UTC), [("k", MOMENT)]),
        (pa.list_(pa.struct([("a", UTC)])), [{"a": MOMENT}]),
    ],
)
def test_nested_moments_move_too(kind: pa.DataType, value: Any) -> None:
    """Values are equal, the zone is the new one."""
    made = through(pa.array([value, None], kind), "Asia/Tokyo")
    assert made.to_pylist() == [value, None]
    assert "Asia/Tokyo" in str(made.type)
    assert "UTC" not in str(made.type)


def test_moments_in_a_dictionary_move_too() -> None:
    """They become plain values."""
    made = through(pa.array([MOMENT, MOMENT], UTC).dictionary_encode(), "Asia/Tokyo")
    assert made.type == pa.timestamp("us", "Asia/Tokyo")


@pytest.mark.parametrize("name", ["", "Europe", "Europe/Berln", "+02:00", "../etc/zone", "/etc/zone", "a\0b", "CEST"])
def test_an_unknown_zone_is_refused_with_the_form(name: str) -> None:
    """Before any query runs."""
    with pytest.raises(Refused, match="IANA name such as Europe/Berlin") as caught:
        to_zone(name)
    assert caught.value.code == "unknown_timezone"


def test_a_zone_that_arrow_does_not_know_is_refused_before_the_first_row() -> None:
    """One with leap seconds, which the machine may have."""
    try:
        step = to_zone("right/UTC")
    except Refused:
        pytest.skip("this machine has no zones with leap seconds")
    with pytest.raises(Refused, match="right/UTC"):
        step(pa.schema([("a", UTC)]))
