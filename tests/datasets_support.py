"""The trading journal in each database, its raw rows, and the expected content of its exports, computed
independently."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from fluxport.datasets import Dataset
from fluxport.samples import create_sample, ddl, tables
from fluxport.sources import open_source
from mysql_support import scratch_database
from postgres_support import scratch_postgres

USERS = ("dev", "ann o'hara")
TRADES = 400
Row = dict[str, Any]


@dataclass(frozen=True)
class Journal:
    dialect: str
    url: str

    def read(
        self, dataset: Dataset, params: Mapping[str, Any] | None = None, user: str = "dev", **rows: Any
    ) -> pa.Table:
        query, values = dataset.compile(self.dialect, params or {}, user, **rows)
        source = open_source(self.url, query, values)
        try:
            schema, apply = dataset.typed()(source.schema)
            return pa.Table.from_batches([apply(batch) for batch in source.batches()], schema)
        finally:
            source.close()

    def rows(self, dataset: Dataset, params: Mapping[str, Any] | None = None, user: str = "dev") -> list[Row]:
        found: list[Row] = self.read(dataset, params, user).to_pylist()
        return found


@contextmanager
def journals(folder: Path) -> Iterator[list[Journal]]:
    """The same rows in SQLite, MariaDB and PostgreSQL."""
    file = folder / "journal.db"
    create_sample(file, TRADES, USERS)
    with ExitStack() as stack:
        mariadb = stack.enter_context(scratch_database())
        postgres = stack.enter_context(scratch_postgres())
        for statement in ddl("mysql"):
            mariadb.run(statement)
        for statement in ddl("postgresql"):
            postgres.run(statement)
        for table, rows in tables(TRADES, USERS):
            insert = f"INSERT INTO {table.name} VALUES ({', '.join(['%s'] * len(table.names))})"
            mariadb.insert(insert, rows)
            postgres.insert(insert, rows)
        yield [
            Journal("sqlite", f"sqlite:///{file}"),
            Journal("mysql", mariadb.url),
            Journal("postgresql", postgres.url),
        ]


class Model:
    """The raw rows, and the journal's rules in plain Python with exact decimals."""

    def __init__(self) -> None:
        raw = {table.name: [dict(zip(table.names, row, strict=True)) for row in rows] for table, rows in
               tables(TRADES, USERS)}  # fmt: skip
        self.tags = {tag["id"]: tag for tag in raw["tags"]}
        self.goals = raw["goals"]
        self.trades = raw["trades"]
        self.tags_of: dict[str, list[str]] = defaultdict(list)
        for link in raw["trade_tags"]:
            self.tags_of[link["trade_id"]].append(link["tag_id"])

    def matching(self, user: str, params: Mapping[str, Any], moment: str) -> list[Row]:
        """Raw trades that pass the filters; days are UTC days."""
        found = []
        for trade in self.trades:
            at = trade[moment]
            if trade["user_id"] != user or (at is None and moment == "exit_at"):
                continue
            if "dateFrom" in params and at < day(params["dateFrom"]):
                continue
            if "dateTo" in params and at >= day(params["dateTo"]) + timedelta(days=1):
                continue
            if "tagIds" in params and not set(params["tagIds"]) & set(self.tags_of[trade["id"]]):
                continue
            wanted = {"instrumentId": "instrument_id", "status": "status", "direction": "direction"}
            if all(trade[raw] == params[name] for name, raw in wanted.items() if name in params):
                found.append(trade)
        return found

    def trade_rows(self, user: str, params: Mapping[str, Any]) -> list[Row]:
        found = sorted(self.matching(user, params, "entry_at"), key=lambda t: (t["entry_at"], t["id"]), reverse=True)
        return [
            {
                "id": t["id"],
                "instrumentId": t["instrument_id"],
                "direction": t["direction"],
                "entryPrice": money(t["entry_price_e4"]),
                "exitPrice": money(t["exit_price_e4"]),
                "quantity": money(t["quantity_e4"]),
                "status": t["status"],
                "entryAt": instant(t["entry_at"]),
                "exitAt": instant(t["exit_at"]),
                "realizedPnl": profit(t),
                "tags": "|".join(self.tags[tag]["label"] for tag in sorted(self.tags_of[t["id"]])),
            }
            for t in found[: params.get("limit")]
        ]

    def daily(self, user: str, params: Mapping[str, Any]) -> list[Row]:
        days: dict[date, Decimal] = defaultdict(Decimal)
        for trade in self.matching(user, params, "exit_at"):
            days[trade["exit_at"].date()] += profit(trade) or 0
        return [{"date": key, "pnl": days[key]} for key in sorted(days, reverse=True)][: params.get("limit")]

    def by_tag(self, user: str, params: Mapping[str, Any]) -> list[Row]:
        found = []
        for tag_id in sorted(self.tags):
            if self.tags[tag_id]["user_id"] != user or ("tagIds" in params and tag_id not in params["tagIds"]):
                continue
            closed = self.matching(user, {k: v for k, v in params.items() if k != "tagIds"}, "exit_at")
            profits = [profit(t) or Decimal(0) for t in closed if tag_id in self.tags_of[t["id"]]]
            if profits:
                wins, total = sum(p > 0 for p in profits), sum(profits, Decimal(0))
                found.append(
                    {
                        "tagId": tag_id,
                        "label": self.tags[tag_id]["label"],
                        "trades": len(profits),
                        "wins": wins,
                        "losses": sum(p < 0 for p in profits),
                        "winRate": (Decimal(wins) / len(profits)).quantize(Decimal("1e-6"), ROUND_HALF_UP),
                        "sumPnl": total,
                        "avgPnl": (total / len(profits)).quantize(Decimal("1e-8"), ROUND_HALF_UP),
                    }
                )
        return found[: params.get("limit")]


def day(text: str) -> datetime:
    return datetime.fromisoformat(text)


def money(units: int | None) -> Decimal | None:
    return None if units is None else Decimal(units) / 10_000


def instant(naive: datetime | None) -> datetime | None:
    return None if naive is None else naive.replace(tzinfo=UTC)


def profit(trade: Mapping[str, Any]) -> Decimal | None:
    if trade["exit_price_e4"] is None:
        return None
    gained = Decimal(trade["exit_price_e4"] - trade["entry_price_e4"]) / 10_000 * Decimal(trade["quantity_e4"]) / 10_000
    return gained if trade["direction"] == "LONG" else -gained
