"""Filters: what each accepts, what it binds, where days begin and end, and the errors of wrong values."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxport.datasets import Dataset, parse_datasets
from fluxport.datasets.sqltext import names_of
from fluxport.errors import Refused

WHERE = {"where_from": "at >= :atFrom", "where_to": "at < :atTo"}


def dataset(**filters: Any) -> Dataset:
    declared = {
        "title": "Things",
        "query": "SELECT a FROM t WHERE u = :user AND {filters}",
        "order": "a",
        "columns": {"a": {"type": "decimal(18,4)", "label": "A", "width": 12, "format": "0.00"}, "b": "text"},
        "filters": filters,
    }
    return parse_datasets({"things": declared})["things"]


def bound(made: Dataset, **params: Any) -> dict[str, Any]:
    sql, values = made.compile("mysql", params, "dev")
    assert sorted(set(names_of(sql))) == sorted(values)
    assert values.pop("user") == "dev"
    return values


def test_no_filter_adds_no_condition() -> None:
    made = dataset(at={"type": "date_range", **WHERE})
    sql, values = made.compile("mysql", {"atFrom": None}, "dev")
    assert sql == "SELECT a FROM t WHERE u = :user AND 1 = 1\nORDER BY a"
    assert values == {"user": "dev"}


def test_conditions_are_joined_by_and_with_their_own_parentheses() -> None:
    made = dataset(
        a={"type": "text", "where": "a = :a OR b = :a"},
        b={"type": "one_of", "values": ["x"], "where": "b = :b"},
        n={"type": "limit"},
    )
    sql, values = made.compile("mysql", {"n": 5, "b": "x", "a": "1"}, "dev")
    assert sql == ("SELECT a FROM t WHERE u = :user AND (a = :a OR b = :a) AND (b = :b)\nORDER BY a\nLIMIT :n")
    assert values == {"user": "dev", "a": "1", "b": "x", "n": 5}


def test_a_list_binds_a_parameter_for_each_value() -> None:
    made = dataset(ids={"type": "any_of", "items": "integer", "where": "id IN (:ids) OR parent IN (:ids)"})
    sql, values = made.compile("mysql", {"ids": [3, 1, 3]}, "dev")
    assert "(id IN (:ids_1, :ids_2, :ids_3) OR parent IN (:ids_1, :ids_2, :ids_3))" in sql
    assert values == {"user": "dev", "ids_1": 3, "ids_2": 1, "ids_3": 3}


def test_any_of_no_values_matches_no_row() -> None:
    made = dataset(ids={"type": "any_of", "where": "id IN (:ids)"})
    assert "AND (1 = 0)" in made.compile("mysql", {"ids": []}, "dev")[0]


def test_a_list_may_be_text_with_commas() -> None:
    made = dataset(ids={"type": "any_of", "where": "id IN (:ids)"})
    assert bound(made, ids="a, b") == {"ids_1": "a", "ids_2": "b"}


# zone, first day, last day, first instant (UTC), first instant behind
DAYS = [
    ("UTC", "2024-02-29", "2024-02-29", "2024-02-29T00:00", "2024-03-01T00:00"),
    ("Europe/Berlin", "2024-03-31", "2024-03-31", "2024-03-30T23:00", "2024-03-31T22:00"),  # 23 hours
    ("Europe/Berlin", "2024-10-27", "2024-10-27", "2024-10-26T22:00", "2024-10-27T23:00"),  # 25 hours
    ("America/Sao_Paulo", "2018-11-04", "2018-11-04", "2018-11-04T03:00", "2018-11-05T02:00"),  # no midnight
    ("America/Havana", "2024-11-03", "2024-11-03", "2024-11-03T04:00", "2024-11-04T05:00"),  # midnight twice
    ("Pacific/Apia", "2011-12-30", "2011-12-30", "2011-12-30T10:00", "2011-12-30T10:00"),  # a day left out
    ("Pacific/Apia", "2011-12-29", "2011-12-31", "2011-12-29T10:00", "2011-12-31T10:00"),
    ("Asia/Kathmandu", "2024-01-01", "2024-12-31", "2023-12-31T18:15", "2024-12-31T18:15"),
]


@pytest.mark.parametrize(("zone", "first", "last", "start", "end"), DAYS)
def test_days_are_whole_days_of_their_zone(zone: str, first: str, last: str, start: str, end: str) -> None:
    made = dataset(at={"type": "date_range", "zone": zone, **WHERE})
    assert bound(made, atFrom=first, atTo=last) == {
        "atFrom": datetime.fromisoformat(start),
        "atTo": datetime.fromisoformat(end),
    }


@given(
    st.datetimes(datetime(1975, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
    st.dates(date(1975, 1, 2), date(2034, 12, 30)),
    st.sampled_from(["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Tehran", "America/Sao_Paulo"]),
)
def test_a_moment_is_in_a_range_of_days_if_its_wall_clock_shows_one_of_them(
    moment: datetime, day: date, zone: str
) -> None:
    made = dataset(at={"type": "date_range", "zone": zone, **WHERE})
    for probe in (moment, moment.replace(year=day.year, month=day.month, day=min(moment.day, 28))):
        values = bound(made, atFrom=str(day), atTo=str(day + timedelta(days=30)))
        inside = values["atFrom"] <= probe.replace(tzinfo=None) < values["atTo"]
        assert inside == (day <= probe.astimezone(ZoneInfo(zone)).date() <= day + timedelta(days=30))


INSTANTS = [
    (
        "utc",
        "2024-03-31T02:30:00.5+02:00",
        datetime(2024, 3, 31, 0, 30, 0, 500000),
        datetime(2024, 3, 31, 0, 30, 0, 500001),
    ),
    ("local", "2024-07-01T00:00:00Z", datetime(2024, 7, 1, 2), datetime(2024, 7, 1, 2, 0, 0, 1)),
    ("epoch_s", "1970-01-01T00:00:10Z", 10, 11),
    ("epoch_s", "1970-01-01T00:00:10.5Z", 11, 11),
    ("epoch_ms", "1970-01-01T00:00:00.0015Z", 2, 2),
    ("epoch_ms", "1969-12-31T23:59:59.9985Z", -1, -1),
]


@pytest.mark.parametrize(("bind", "text", "first", "behind"), INSTANTS)
def test_an_instant_belongs_to_the_range_it_begins_or_ends(bind: str, text: str, first: Any, behind: Any) -> None:
    made = dataset(at={"type": "date_range", "zone": "Europe/Berlin", "bind": bind, **WHERE})
    assert bound(made, atFrom=text) == {"atFrom": first}
    assert bound(made, atTo=text) == {"atTo": behind}


BINDS = [
    ("local", datetime(2024, 3, 31), datetime(2024, 4, 1)),
    ("date", date(2024, 3, 31), date(2024, 4, 1)),
    ("epoch_s", 1711839600, 1711922400),
    ("epoch_ms", 1711839600000, 1711922400000),
]


@pytest.mark.parametrize(("bind", "first", "behind"), BINDS)
def test_ends_are_bound_as_the_column_stores_them(bind: str, first: Any, behind: Any) -> None:
    made = dataset(at={"type": "date_range", "zone": "Europe/Berlin", "bind": bind, **WHERE})
    assert bound(made, atFrom="2024-03-31", atTo="2024-03-31") == {"atFrom": first, "atTo": behind}


def test_numbers_are_exact() -> None:
    made = dataset(p={"type": "number_range", "where_min": "p >= :pMin", "where_max": "p <= :pMax"})
    assert bound(made, pMin=0.1, pMax="12.50") == {"pMin": Decimal("0.1"), "pMax": Decimal("12.50")}
    assert bound(made, pMin="-7", pMax=Decimal("1E2")) == {"pMin": -7, "pMax": 100}


def test_numbers_of_minor_units_never_widen_the_range() -> None:
    made = dataset(p={"type": "number_range", "scale": 2, "where_min": "p >= :pMin", "where_max": "p <= :pMax"})
    assert bound(made, pMin="1.001", pMax="1.999") == {"pMin": 101, "pMax": 199}
    assert bound(made, pMin="-1.999", pMax="-1.5") == {"pMin": -199, "pMax": -150}


def test_patterns_of_like_in_a_value_mean_themselves() -> None:
    where = {"where": "a LIKE :a ESCAPE '!'"}
    for condition in (where, {"column": "a"}):
        assert bound(dataset(a={"type": "text", "match": "contains", **condition}), a="50%_!") == {"a": "%50!%!_!!%"}
        assert bound(dataset(a={"type": "text", "match": "starts_with", **condition}), a="x") == {"a": "x%"}
    with pytest.raises(Refused, match="'where' must be LIKE with ESCAPE '!'"):
        dataset(a={"type": "text", "match": "contains", "where": "a LIKE :a"})


EVERYTHING = dataset(
    at={"type": "date_range", **WHERE},
    day={"type": "date_range", "bind": "date", "where_from": "d >= :dayFrom", "where_to": "d < :dayTo"},
    ids={"type": "any_of", "items": "integer", "items_max": 2, "where": "id IN (:ids)"},
    p={"type": "number_range", "where_min": "p >= :pMin", "where_max": "p <= :pMax"},
    status={"type": "one_of", "values": ["OPEN", "CLOSED"], "where": "s = :status"},
    label={"type": "text", "where": "l = :label"},
    limit={"type": "limit", "max": 1000},
)
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"atFrom": "yesterday"}, "Filter 'atFrom' of dataset 'things' takes a day such as 2026-01-31 or an RFC 3339"),
    ({"atFrom": "2024-02-30"}, "takes a day"),
    ({"atFrom": "2024-01-01T10:00:00"}, "takes a day"),
    ({"atFrom": 1704067200000}, "takes a day"),
    ({"atFrom": "٢٠٢٤-01-01"}, "takes a day"),
    ({"atTo": "9999-12-31"}, "days between the years 2 and 9998"),
    (
        {"atFrom": "2024-01-02", "atTo": "2024-01-01"},
        "'atTo' of dataset 'things' takes a time that is not before atFrom",
    ),
    ({"dayFrom": "2024-01-01T00:00:00Z"}, "takes a day such as 2026-01-31."),
    ({"ids": [1, "x"]}, "takes a whole number"),
    ({"ids": [True]}, "takes a whole number"),
    ({"ids": [1, 2, 3]}, "at most 2 values"),
    ({"ids": {"a": 1}}, "a list of integer values"),
    ({"pMin": "1e"}, "a number such as 12.5"),
    ({"pMin": "NaN"}, "a number such as 12.5"),
    ({"pMin": True}, "a number such as 12.5"),
    ({"pMin": "1e999999"}, "a number such as 12.5"),
    ({"pMin": 2, "pMax": 1}, "a number that is not below pMin"),
    ({"status": "open"}, "one of OPEN, CLOSED"),
    ({"status": ["OPEN"]}, "one of OPEN, CLOSED"),
    ({"label": ""}, "text of 1 to 1,000 characters"),
    ({"label": "a\0"}, "text of 1 to 1,000 characters"),
    ({"label": 5}, "text of 1 to 1,000 characters"),
    ({"limit": 0}, "a whole number from 1 to 1,000"),
    ({"limit": 1001}, "a whole number from 1 to 1,000"),
    ({"limit": "1 OR 1"}, "a whole number"),
    ({"limit": 1.5}, "a whole number"),
]


@pytest.mark.parametrize(("params", "said"), WRONG, ids=str)
def test_a_wrong_value_is_refused_with_what_is_expected(params: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused) as caught:
        EVERYTHING.compile("mysql", params, "dev")
    assert said in caught.value.message
    assert caught.value.code == "bad_filter"


@pytest.mark.parametrize(
    ("name", "said"), [("statsu", "did you mean 'status'?"), ("user", "it has: atFrom"), ("zzz", "it has: atFrom")]
)
def test_an_unknown_filter_is_refused_with_the_nearest_one(name: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        EVERYTHING.compile("mysql", {name: "x"}, "dev")
    assert caught.value.message.startswith(f"Unknown filter {name!r} of dataset 'things'; ")
    assert said in caught.value.message
    assert caught.value.code == "unknown_filter"


ANYTHING = (
    st.text() | st.integers() | st.floats() | st.lists(st.text()) | st.booleans() | st.sampled_from(["OPEN", "a"])
)
KEYS = ["atFrom", "ids", "ids.not", "pMin", "status", "status.not", "label", "label.not", "label.not.equals", "limit"]
FIXED = """at >= :atFrom, id IN (:ids_1, :ids_2), p >= :pMin, s = :status, s = :status_2, l = :label, l = :label_2
l = :label_3, LIMIT :limit AND 1 = 0 (CASE WHEN 0 THEN 1 ELSE 0 END = 1) "a" "b" ASC NULLS FIRST, DESC NULLS LAST"""


@given(
    st.dictionaries(st.sampled_from(KEYS), ANYTHING),
    st.none() | ANYTHING | st.lists(st.sampled_from(["a", "-a", "b", "-b"]), unique_by=lambda key: key.strip("-")),
)
def test_whatever_is_given_is_bound_or_refused_and_never_text_of_the_statement(
    params: dict[str, Any], sort: Any
) -> None:
    try:
        sql, values = EVERYTHING.compile("postgresql", params, "dev", sort=sort)
    except Refused:
        return
    assert sorted(set(names_of(sql))) == sorted(values)
    known = set(re.findall(r"\W|\w+", EVERYTHING.compile("postgresql", {}, "dev")[0] + FIXED))
    assert set(re.findall(r"\W|\w+", sql)) - {f"ids_{n}" for n in range(1, 9)} <= known


@given(st.data())
def test_a_page_is_two_whole_numbers_or_refused(data: st.DataObject) -> None:
    limit, offset = data.draw(st.none() | ANYTHING), data.draw(st.none() | ANYTHING)
    try:
        sql, _ = EVERYTHING.compile("sqlite", {}, "dev", limit=limit, offset=offset)
    except Refused as refused:
        assert refused.code == "bad_page"  # noqa: PT017  most of what is drawn is refused
        return
    assert re.fullmatch(r"ORDER BY a(\nLIMIT \d+ OFFSET \d+)?", sql.partition("\n")[2])
    assert (limit is None) == ("LIMIT" not in sql)


PLAIN = {"as_text": False, "sortable": True}


def test_a_description_can_be_json_and_shows_no_sql() -> None:
    reported = json.dumps(EVERYTHING.describe())
    assert "SELECT" not in reported
    assert "main" not in reported
    assert EVERYTHING.describe() == {
        "name": "things",
        "title": "Things",
        "paging": True,
        "columns": [
            {"name": "a", "type": "decimal(18,4)", "label": "A", "width": 12, "format": "0.00", **PLAIN},
            {"name": "b", "type": "text", "label": "b", "width": None, "format": None, **PLAIN},
        ],
        "filters": [
            {
                "name": "at",
                "params": ["atFrom", "atTo"],
                "type": "date_range",
                "zone": "UTC",
                "instants": True,
                "operators": [],
            },
            {
                "name": "day",
                "params": ["dayFrom", "dayTo"],
                "type": "date_range",
                "zone": "UTC",
                "instants": False,
                "operators": [],
            },
            {
                "name": "ids",
                "params": ["ids"],
                "type": "any_of",
                "items": "integer",
                "items_max": 2,
                "operators": ["not"],
            },
            {"name": "p", "params": ["pMin", "pMax"], "type": "number_range", "operators": []},
            {
                "name": "status",
                "params": ["status"],
                "type": "one_of",
                "values": ["OPEN", "CLOSED"],
                "operators": ["not"],
            },
            {
                "name": "label",
                "params": ["label"],
                "type": "text",
                "match": "equals",
                "operators": ["not", "equals", "not.equals"],
            },
            {"name": "limit", "params": ["limit"], "type": "limit", "max": 1000, "operators": []},
        ],
    }


def test_columns_are_offered_as_the_formats_take_them() -> None:
    from fluxport.formats.options import ColumnChoice, parse_columns

    assert parse_columns(EVERYTHING.choices) == (ColumnChoice("a", "A", 12, "0.00"), ColumnChoice("b"))
