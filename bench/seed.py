"""Tables for the benches, created if they do not exist: users, or columns of one kind or of all kinds.

    python bench/seed.py [--url mysql://root@127.0.0.1:3306/fluxport_bench] [--rows 1000000] [--drop]
    python bench/seed.py --kind mixed --columns 240 --rows 25000

``users_<rows>`` has id, name, email, created_at and score = id x 0.1. ``mixed_<columns>_<rows>`` has integers,
decimals, texts, datetimes, doubles and texts with NULLs in turn; the other kinds have columns of one kind alone.
Requires MariaDB, whose Sequence engine generates the numbers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pymysql

from address import server_of
from support import DEFAULT_URL, table_name

USERS = (
    "id BIGINT PRIMARY KEY, name VARCHAR(255) NOT NULL, email VARCHAR(255) NOT NULL, "
    "created_at DATETIME NOT NULL, score DOUBLE NOT NULL",
    "seq, CONCAT('User', seq), CONCAT('user', seq, '@example.com'), '2024-01-01' + INTERVAL seq SECOND, seq * 0.1e0",
)

# The type of a column, and the value of column k in row ``seq``.
KINDS: dict[str, tuple[str, Callable[[int], str]]] = {
    "int": ("INT NOT NULL", lambda k: f"(seq * {k * 7 + 3}) % 1000003"),
    "decimal": ("DECIMAL(12,2) NOT NULL", lambda k: f"((seq * {k * 31 + 17}) % 100000000) / 100"),
    "varchar": ("VARCHAR(50) NOT NULL", lambda k: f"CONCAT('text ', seq * {k + 1}, ' of column {k}')"),
    "datetime": ("DATETIME NOT NULL", lambda k: f"'2020-01-01' + INTERVAL (seq * {k * 13 + 7}) % 100000000 SECOND"),
    "double": ("DOUBLE NOT NULL", lambda k: f"seq * {k + 1} * 0.1e0 + 1e0 / (seq + {k})"),
    "text_null": ("VARCHAR(50)", lambda k: f"IF((seq + {k}) % 3 = 0, NULL, CONCAT('note ', seq + {k}))"),
    "double_null": ("DOUBLE", lambda k: f"IF((seq + {k}) % 3 = 0, NULL, seq * {k + 1} * 0.25e0)"),
    "date": ("DATE NOT NULL", lambda k: f"'2020-01-01' + INTERVAL (seq * {k * 13 + 7}) % 5000 DAY"),
}
MIXED = ("int", "decimal", "varchar", "datetime", "double", "text_null")

# More columns than this exceed a row of InnoDB, and with texts of four bytes a character a row of any engine.
INNODB_COLUMNS, UNICODE_COLUMNS = 100, 300
PART_ROWS = 1_000_000  # in one statement


def definition(kind: str, columns: int) -> tuple[str, str, str]:
    """The columns of a table, the values of a row, and the options of the table."""
    if kind == "users":
        return *USERS, "ENGINE=InnoDB CHARACTER SET utf8mb4"
    kinds = [MIXED[k % len(MIXED)] if kind == "mixed" else kind for k in range(columns)]
    declared = ", ".join(f"c{k}_{each} {KINDS[each][0]}" for k, each in enumerate(kinds))
    values = ", ".join(KINDS[each][1](k) for k, each in enumerate(kinds))
    engine = "InnoDB ROW_FORMAT=DYNAMIC" if columns <= INNODB_COLUMNS else "MyISAM"
    return declared, values, f"ENGINE={engine} CHARACTER SET {'utf8mb4' if columns <= UNICODE_COLUMNS else 'ascii'}"


def create(cursor: Any, kind: str, columns: int, rows: int) -> None:
    name = table_name(kind, columns, rows)
    declared, values, options = definition(kind, columns)
    cursor.execute(f"DROP TABLE IF EXISTS {name}_part")
    cursor.execute(f"CREATE TABLE {name}_part ({declared}) {options}")
    for start in range(1, rows + 1, PART_ROWS):
        until = min(start + PART_ROWS - 1, rows)
        cursor.execute(f"INSERT INTO {name}_part SELECT {values} FROM seq_{start}_to_{until}")
    # Renamed to its own name once it is complete.
    cursor.execute(f"ANALYZE TABLE {name}_part")
    cursor.execute(f"RENAME TABLE {name}_part TO {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=DEFAULT_URL)
    parser.add_argument("--kind", default="users", choices=("users", "mixed", *KINDS))
    parser.add_argument("--columns", type=int, default=10, help="users always have five")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--drop", action="store_true")
    options = parser.parse_args()
    host, port, user, password, database = server_of(options.url)
    name = table_name(options.kind, options.columns, options.rows)
    connection = pymysql.connect(host=host, port=port, user=user, password=password, autocommit=True)
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{database}`")
        cursor.execute(f"USE `{database}`")
        if options.drop:
            cursor.execute(f"DROP TABLE IF EXISTS {name}")
            return
        cursor.execute("SHOW TABLES LIKE %s", (name,))
        if not cursor.fetchone():
            create(cursor, options.kind, options.columns, options.rows)


if __name__ == "__main__":
    main()
