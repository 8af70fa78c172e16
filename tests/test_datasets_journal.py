"""The trading journal: its numbers against an independent computation, on every database, under every filter."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets_support import TRADES, USERS, Journal, Model, journals
from fluxport.datasets import Dataset, parse_datasets
from fluxport.errors import Refused
from fluxport.samples import create_sample, datasets

MODEL = Model()
DATASETS = parse_datasets(datasets())
DIALECTS = ["sqlite", "mysql", "postgresql"]
COLUMNS = {
    "trades": "id instrumentId direction entryPrice exitPrice quantity status entryAt exitAt realizedPnl tags",
    "goals": "id type period targetValue currentValue startDate endDate achievedAt windowDays",
    "dailyPnl": "date pnl",
    "tagPerformance": "tagId label trades wins losses winRate sumPnl avgPnl",
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Journal]]:
    with journals(tmp_path_factory.mktemp("journal")) as made:
        yield {journal.dialect: journal for journal in made}


def expected(name: str, user: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    rules = {"trades": MODEL.trade_rows, "dailyPnl": MODEL.daily, "tagPerformance": MODEL.by_tag}
    return rules[name](user, params)


def test_the_datasets_have_exactly_the_columns_of_the_export_queue() -> None:
    assert {name: " ".join(c.name for c in dataset.columns) for name, dataset in DATASETS.items()} == COLUMNS
    params = [param for entry in DATASETS["trades"].filters for param in entry.params]
    assert params == ["dateFrom", "dateTo", "tagIds", "instrumentId", "status", "direction", "limit"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ["trades", "dailyPnl", "tagPerformance"])
@pytest.mark.parametrize("user", USERS)
def test_the_numbers_are_those_of_an_independent_computation(
    stored: dict[str, Journal], name: str, dialect: str, user: str
) -> None:
    rows = stored[dialect].rows(DATASETS[name], {}, user)
    assert rows == expected(name, user, {})
    assert len(rows) > (TRADES - 1 if name == "trades" else 5)  # not cut to 100 rows


@pytest.mark.parametrize("name", list(COLUMNS))
def test_every_database_gives_the_same_types_and_rows(stored: dict[str, Journal], name: str) -> None:
    first, *others = [stored[dialect].read(DATASETS[name]) for dialect in DIALECTS]
    assert first.num_rows > 0
    for other in others:
        assert other.schema.equals(first.schema, check_metadata=True)
        assert other.equals(first)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", list(COLUMNS))
def test_every_column_can_be_sorted_by(stored: dict[str, Journal], name: str, dialect: str) -> None:
    """Numbers and times as such, NULL as the smallest; text is in the order of the database's collation."""
    whole = stored[dialect].read(DATASETS[name])
    for column in DATASETS[name].columns:
        for sign in ("", "-"):
            found = stored[dialect].read(DATASETS[name], sort=f"{sign}{column.name}", limit=100)
            assert found.num_rows == min(100, whole.num_rows)
            if column.type != "text":
                order = "descending" if sign else "ascending"
                placement = "at_end" if sign else "at_start"
                values = whole.column(column.name).take(
                    pc.array_sort_indices(whole.column(column.name), order=order, null_placement=placement)
                )
                assert found.column(column.name).to_pylist() == values.to_pylist()[:100]


def test_money_is_exact_decimal(stored: dict[str, Journal]) -> None:
    schema = stored["sqlite"].read(DATASETS["trades"]).schema
    assert schema.field("entryPrice").type == pa.decimal128(18, 4)
    assert schema.field("realizedPnl").type == pa.decimal128(24, 8)


IDS = [trade["id"] for trade in MODEL.trades if trade["user_id"] == "dev"]
LAST_DAY = max(trade["entry_at"] for trade in MODEL.trades if trade["user_id"] == "dev")
CASES: list[dict[str, Any]] = [
    {"dateFrom": "2025-01-01"},
    {"dateTo": "2024-12-31"},
    {"dateFrom": f"{LAST_DAY:%Y-%m-%d}", "dateTo": f"{LAST_DAY:%Y-%m-%d}"},
    {"tagIds": ["tag-01-01"]},
    {"tagIds": ["tag-01-02", "tag-01-05"]},
    {"tagIds": ["tag-02-01"]},
    {"tagIds": []},
    {"instrumentId": "eur-usd"},
    {"instrumentId": "none"},
    {"status": "OPEN"},
    {"status": "CANCELLED"},
    {"direction": "SHORT"},
    {"limit": 1},
    {"limit": 150},
    {"limit": 10_000_000},
    {"dateFrom": "2024-02-01", "dateTo": "2025-02-01", "tagIds": ["tag-01-01", "tag-01-03"], "status": "CLOSED",
     "direction": "LONG", "limit": 7},
]  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("params", CASES, ids=str)
def test_each_filter_gives_the_rows_it_says(stored: dict[str, Journal], dialect: str, params: dict[str, Any]) -> None:
    assert stored[dialect].rows(DATASETS["trades"], params) == expected("trades", "dev", params)


def test_the_last_day_belongs_to_the_range(stored: dict[str, Journal]) -> None:
    last = f"{LAST_DAY:%Y-%m-%d}"
    found = stored["sqlite"].rows(DATASETS["trades"], {"dateTo": last})
    assert len(found) == TRADES
    assert found[0]["entryAt"].replace(tzinfo=None) == LAST_DAY


def test_an_instant_that_ends_a_range_belongs_to_it(stored: dict[str, Journal]) -> None:
    moment = LAST_DAY.isoformat(timespec="milliseconds") + "Z"
    for journal in stored.values():
        assert len(journal.rows(DATASETS["trades"], {"dateFrom": moment, "dateTo": moment})) == 1


ATTACKS = [
    "' OR '1'='1",
    "dev' -- ",
    "x'; DROP TABLE trades; --",
    "\\' OR 1=1 -- ",
    ":user",
    "?",
    "{filters}",
    "%",
    "$$",
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_values_are_never_part_of_the_statement(stored: dict[str, Journal], dialect: str, attack: str) -> None:
    journal, trades = stored[dialect], DATASETS["trades"]
    assert journal.rows(trades, {"instrumentId": attack}) == []
    assert journal.rows(trades, {"tagIds": [attack, attack]}) == []
    assert journal.rows(trades, {}, user=attack) == []
    assert len(journal.rows(trades)) == TRADES


@pytest.mark.parametrize("name", list(COLUMNS))
def test_a_user_gets_rows_of_their_own(stored: dict[str, Journal], name: str) -> None:
    journal, dataset = stored["sqlite"], DATASETS[name]
    assert journal.rows(dataset, user="nobody") == []
    assert journal.rows(dataset, user=USERS[0]) != journal.rows(dataset, user=USERS[1])


def test_goals_touch_the_range(stored: dict[str, Journal]) -> None:
    wanted = [
        goal["id"]
        for goal in sorted(MODEL.goals, key=lambda g: (g["start_date"], g["id"]), reverse=True)
        if goal["user_id"] == "dev"
        and goal["end_date"].isoformat() >= "2024-06-01"
        and goal["start_date"].isoformat() <= "2024-06-30"
    ]
    for journal in stored.values():
        rows = journal.rows(DATASETS["goals"], {"dateFrom": "2024-06-01", "dateTo": "2024-06-30"})
        assert [row["id"] for row in rows] == wanted != []


days = st.dates(MODEL.trades[0]["entry_at"].date().replace(2023, 12, 1), LAST_DAY.date()).map(str)
filters: dict[str, st.SearchStrategy[Any]] = {
    "dateFrom": days,
    "dateTo": days,
    "tagIds": st.lists(st.sampled_from([*sorted(MODEL.tags), "none"]), max_size=4),
    "instrumentId": st.sampled_from(["btc-usd", "eur-usd", "aapl", "none"]),
    "direction": st.sampled_from(["LONG", "SHORT"]),
    "limit": st.integers(1, 500),
}


def in_order(params: dict[str, Any]) -> bool:
    return bool(params.get("dateFrom", "") <= params.get("dateTo", "9"))


combinations = st.fixed_dictionaries({}, optional=filters).filter(in_order)


@settings(max_examples=40, deadline=None)
@given(
    params=combinations,
    status=st.sampled_from([None, "OPEN", "CLOSED", "CANCELLED"]),
    user=st.sampled_from(USERS),
    name=st.sampled_from(["trades", "dailyPnl", "tagPerformance"]),
    dialect=st.sampled_from(DIALECTS),
)
def test_any_combination_of_filters_is_their_conjunction(
    stored: dict[str, Journal], params: dict[str, Any], status: str | None, user: str, name: str, dialect: str
) -> None:
    if status and name == "trades":
        params = params | {"status": status}
    assert stored[dialect].rows(DATASETS[name], params, user) == expected(name, user, params)


def test_the_sample_is_the_same_every_time_and_replaces_what_was_there(tmp_path: Path) -> None:
    first, second = tmp_path / "a.db", tmp_path / "b.db"
    second.write_text("something else")
    for path in (first, second):
        create_sample(path, 50, ("dev", "ann"))
    assert first.read_bytes() == second.read_bytes()
    assert sorted(tmp_path.iterdir()) == [first, second]
    with sqlite3.connect(first) as connection:
        assert connection.execute("SELECT user_id, count(*) FROM trades GROUP BY 1").fetchall() == [
            ("ann", 50),
            ("dev", 50),
        ]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_sums_are_exact_where_doubles_are_not(stored: dict[str, Journal]) -> None:
    """The sum of all days is the sum of all trades to the last of eight digits."""
    for journal in stored.values():
        total = sum((row["pnl"] for row in journal.rows(DATASETS["dailyPnl"])), Decimal(0))
        assert total == sum((row["realizedPnl"] or 0 for row in journal.rows(DATASETS["trades"])), Decimal(0))


def test_a_dialect_without_a_query_is_refused() -> None:
    dataset: Dataset = parse_datasets(
        {"d": {"query": {"mysql": "SELECT 1 AS a FROM t WHERE u = :user"}, "columns": {"a": "integer"}}}
    )["d"]
    with pytest.raises(Refused, match="no query for sqlite; it has: mysql"):
        dataset.compile("sqlite", {}, "dev")
    assert dataset.compile("mariadb", {}, "dev")[1] == {"user": "dev"}
