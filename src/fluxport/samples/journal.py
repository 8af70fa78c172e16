"""The journal's rows, the same for the same arguments, and its tables on SQLite, MySQL/MariaDB and PostgreSQL."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import yaml

TEN_THOUSANDTHS = 10_000
_TIMESTAMP = {"sqlite": "DATETIME", "mysql": "DATETIME(3)", "postgresql": "TIMESTAMP(3)"}
_FIRST = datetime(2024, 1, 1, 6)
_DAYS = 730
# Every user's first trades are on both sides of a midnight, to exercise filters by day.
_EDGES = (datetime(2024, 12, 31, 23, 59, 59, 999_000), datetime(2025, 1, 1))
_INSTRUMENTS = (
    ("btc-usd", 42_000_0000, 1_0000), ("eth-usd", 2_300_0000, 10_0000), ("eur-usd", 1_0850, 100_000_0000),
    ("gbp-usd", 1_2700, 50_000_0000), ("usd-jpy", 147_5000, 20_000_0000), ("xau-usd", 2_040_5000, 5_0000),
    ("aapl", 187_2500, 300_0000), ("sap-de", 158_4600, 200_0000), ("spx", 4_780_2000, 2_0000),
)  # fmt: skip
_TAGS = ("breakout", "trend", "news", "overnight", "revenge, avoid", "scalp", "Überlegt", "late entry")
_GOALS = (("PROFIT", "MONTH"), ("WIN_RATE", "QUARTER"), ("TRADES", "WEEK"), ("DRAWDOWN", "YEAR"))


class Table(NamedTuple):
    """``columns`` as ``name type``; ``{timestamp}`` stands for the dialect's type with milliseconds."""

    name: str
    columns: tuple[str, ...]
    indexes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.split()[0] for column in self.columns if not column.startswith("PRIMARY"))


TABLES: tuple[Table, ...] = (
    Table(
        "trades",
        (
            "id VARCHAR(40) NOT NULL PRIMARY KEY",
            "user_id VARCHAR(100) NOT NULL",
            "instrument_id VARCHAR(40) NOT NULL",
            "direction VARCHAR(5) NOT NULL",
            "entry_price_e4 BIGINT NOT NULL",
            "exit_price_e4 BIGINT",
            "quantity_e4 BIGINT NOT NULL",
            "status VARCHAR(9) NOT NULL",
            "entry_at {timestamp} NOT NULL",
            "exit_at {timestamp}",
        ),
        ("user_id, entry_at",),
    ),
    Table(
        "tags",
        ("id VARCHAR(40) NOT NULL PRIMARY KEY", "user_id VARCHAR(100) NOT NULL", "label VARCHAR(60) NOT NULL"),
    ),
    Table(
        "trade_tags",
        ("trade_id VARCHAR(40) NOT NULL", "tag_id VARCHAR(40) NOT NULL", "PRIMARY KEY (trade_id, tag_id)"),
        ("tag_id",),
    ),
    Table(
        "goals",
        (
            "id VARCHAR(40) NOT NULL PRIMARY KEY",
            "user_id VARCHAR(100) NOT NULL",
            "type VARCHAR(20) NOT NULL",
            "period VARCHAR(10) NOT NULL",
            "target_value_e4 BIGINT NOT NULL",
            "current_value_e4 BIGINT NOT NULL",
            "start_date DATE NOT NULL",
            "end_date DATE NOT NULL",
            "achieved_at {timestamp}",
            "window_days BIGINT",
        ),
    ),
)


def datasets() -> dict[str, Any]:
    """The declarations of ``trades``, ``goals``, ``dailyPnl`` and ``tagPerformance``, from journal.yaml."""
    declared: dict[str, Any] = yaml.safe_load(files(__package__).joinpath("journal.yaml").read_text("utf-8"))
    return declared


def ddl(dialect: str) -> list[str]:
    """Statements that create the tables and their indexes in an empty database."""
    statements = []
    for table in TABLES:
        columns = ", ".join(column.format(timestamp=_TIMESTAMP[dialect]) for column in table.columns)
        statements.append(f"CREATE TABLE {table.name} ({columns})")
        statements += [
            f"CREATE INDEX {table.name}_{number} ON {table.name} ({index})"
            for number, index in enumerate(table.indexes, 1)
        ]
    return statements


def tables(trades: int, users: Sequence[str]) -> Iterator[tuple[Table, list[tuple[Any, ...]]]]:
    """The rows of every table; ``trades`` is the number of trades per user."""
    rows_of: dict[str, list[tuple[Any, ...]]] = {table.name: [] for table in TABLES}
    for number, user in enumerate(users, 1):
        _fill(rows_of, number, user, trades)
    for table in TABLES:
        yield table, rows_of[table.name]


def _fill(rows_of: dict[str, list[tuple[Any, ...]]], number: int, user: str, trades: int) -> None:
    chance = random.Random(number)  # noqa: S311  sample rows, the same every time
    tag_ids = [f"tag-{number:02}-{index:02}" for index in range(1, len(_TAGS) + 1)]
    rows_of["tags"] += [(tag_id, user, label) for tag_id, label in zip(tag_ids, _TAGS, strict=True)]
    for index in range(1, trades + 1):
        trade_id = f"trade-{number:02}-{index:07}"
        edge = _EDGES[index - 1] if index <= len(_EDGES) else None
        rows_of["trades"].append(_trade(chance, trade_id, user, edge))
        chosen = sorted(chance.sample(tag_ids, chance.choice((0, 0, 1, 1, 2, 3))))
        rows_of["trade_tags"] += [(trade_id, tag_id) for tag_id in chosen]
    rows_of["goals"] += [_goal(chance, f"goal-{number:02}-{index:03}", user) for index in range(1, 25)]


def _trade(chance: random.Random, trade_id: str, user: str, edge: datetime | None) -> tuple[Any, ...]:
    instrument, price, quantity = chance.choice(_INSTRUMENTS)
    entry_price = max(1, round(price * chance.uniform(0.9, 1.1)))
    entry_at = edge or _FIRST + timedelta(milliseconds=chance.randrange(_DAYS * 86_400_000))
    status = chance.choices(("CLOSED", "OPEN", "CANCELLED"), (85, 10, 5))[0]
    exit_price = exit_at = None
    if status == "CLOSED":
        exit_price = max(1, round(entry_price * chance.gauss(1.001, 0.02)))
        exit_at = entry_at + timedelta(milliseconds=chance.randrange(60_000, 3 * 86_400_000))
    quantity = max(1, round(quantity * chance.uniform(0.05, 1)))
    direction = chance.choice(("LONG", "LONG", "SHORT"))
    return trade_id, user, instrument, direction, entry_price, exit_price, quantity, status, entry_at, exit_at


def _goal(chance: random.Random, goal_id: str, user: str) -> tuple[Any, ...]:
    kind, period = chance.choice(_GOALS)
    days = {"WEEK": 7, "MONTH": 30, "QUARTER": 91, "YEAR": 365}[period]
    start = date(2024, 1, 1) + timedelta(days=chance.randrange(_DAYS - days))
    target = chance.randrange(1, 1000) * TEN_THOUSANDTHS
    current = round(target * chance.uniform(0, 1.2))
    achieved = datetime(start.year, start.month, start.day, 17) + timedelta(days=days // 2)
    return (
        goal_id, user, kind, period, target, current, start, start + timedelta(days=days - 1),
        achieved if current >= target else None, days if chance.random() < 0.5 else None,
    )  # fmt: skip


def create_sample(path: Path, trades: int = 5000, users: Sequence[str] = ("dev",)) -> None:
    """Create an SQLite file with ``trades`` trades per user, atomically replacing ``path``."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    unfinished.unlink(missing_ok=True)
    try:
        connection = sqlite3.connect(unfinished, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN")
            for statement in ddl("sqlite"):
                connection.execute(statement)
            for table, rows in tables(trades, users):
                marks = ", ".join("?" * len(table.names))
                insert = f"INSERT INTO {table.name} VALUES ({marks})"  # noqa: S608  names of this file
                connection.executemany(insert, (tuple(map(_stored, row)) for row in rows))
            connection.execute("COMMIT")
        finally:
            connection.close()
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _stored(value: Any) -> Any:
    """Dates and timestamps as SQLite's own functions write them, timestamps always with milliseconds."""
    if isinstance(value, datetime):
        return value.isoformat(" ", "milliseconds")
    return value.isoformat() if isinstance(value, date) else value
