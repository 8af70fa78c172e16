"""A table ``users_<rows>`` of id, name, email, created_at and score = id x 0.1, created if it does not exist.

    python bench/seed.py [--url mysql://root@127.0.0.1:3306/fluxport_bench] [--rows 1000000] [--drop]

Requires MariaDB, whose Sequence engine generates the numbers.
"""

from __future__ import annotations

import argparse

import pymysql

from address import server_of
from support import DEFAULT_URL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=DEFAULT_URL)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--drop", action="store_true")
    options = parser.parse_args()
    host, port, user, password, database = server_of(options.url)
    name = f"users_{options.rows}"
    connection = pymysql.connect(host=host, port=port, user=user, password=password, autocommit=True)
    with connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{database}`")
        cursor.execute(f"USE `{database}`")
        if options.drop:
            cursor.execute(f"DROP TABLE IF EXISTS {name}")
            return
        cursor.execute("SHOW TABLES LIKE %s", (name,))
        if cursor.fetchone():
            return
        cursor.execute(
            f"CREATE TABLE {name}_part (id BIGINT PRIMARY KEY, name VARCHAR(255) NOT NULL, "
            "email VARCHAR(255) NOT NULL, created_at DATETIME NOT NULL, score DOUBLE NOT NULL) "
            "ENGINE=InnoDB CHARACTER SET utf8mb4"
        )
        for start in range(1, options.rows + 1, 1_000_000):
            cursor.execute(
                f"INSERT INTO {name}_part SELECT seq, CONCAT('User', seq), CONCAT('user', seq, '@example.com'), "
                f"'2024-01-01' + INTERVAL seq SECOND, seq * 0.1e0 "
                f"FROM seq_{start}_to_{min(start + 999_999, options.rows)}"
            )
        # Renamed to its own name once it is complete.
        cursor.execute(f"ANALYZE TABLE {name}_part")
        cursor.execute(f"RENAME TABLE {name}_part TO {name}")


if __name__ == "__main__":
    main()
