"""Third-party clients read the emulator: the mysql program, PyMySQL, mysqlclient, mysql2, Go's driver, PHP's two."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors
import pytest

from emulator_support import CLIENTS, KINDS, PASSWORD, USER, Running, emulator
from services import require_program, unavailable

ROWS = {"mysql_native_password": 200_000, "caching_sha2_password": 1_000_000}
TLS = ("plain", "tls")
FIRST = [1, "User1", "user1@example.com", "2020-01-01 00:01:01", 0.1]


@dataclass(frozen=True)
class Server(Running):
    rows_held: int

    @property
    def ids(self) -> int:
        return self.rows_held * (self.rows_held + 1) // 2


@pytest.fixture(scope="module", params=ROWS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    rows = ROWS[request.param]
    with emulator(rows=rows, tables=(KINDS,), auth_plugin=request.param) as running:
        yield Server(running.port, rows)


def _run(*command: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | (env or {}), cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _check(answer: dict[str, Any], server: Server, tls: str) -> None:
    """The output of every program of emulator_clients/; the last digits of sums of doubles depend on the order."""
    expected = {
        "rows": server.rows_held,
        "ids": server.ids,
        "first": FIRST,
        "prepared": [999, 500_493],
        "text": "snow ☃ and 'quotes'",
        "null": True,
        "count": server.rows_held,
    }
    assert {name: answer.get(name) for name in expected} == expected
    assert math.isclose(answer["scores"], 0.1 * server.ids, rel_tol=1e-12)
    assert "1290" in answer["write"]
    assert bool(answer["cipher"]) is (tls == "tls")


@pytest.mark.parametrize("tls", TLS)
def test_the_mysql_program_streams_every_row(server: Server, tls: str) -> None:
    program = require_program("mysql", "mariadb")
    command = [program, "--no-defaults", "-h127.0.0.1", f"-P{server.port}", f"-u{USER}", "--batch", "--quick"]
    command += ["--ssl" if tls == "tls" else "--skip-ssl", "app", "-e"]
    out = _run(*command, "SELECT id, score FROM users", env={"MYSQL_PWD": PASSWORD})
    lines = out.splitlines()
    assert (lines[0], lines[1], len(lines)) == ("id\tscore", "1\t0.1", server.rows_held + 1)
    assert sum(int(line.split("\t")[0]) for line in lines[1:]) == server.ids
    status = _run(*command, "\\s", env={"MYSQL_PWD": PASSWORD})
    assert "Fluxport" in status
    assert ("Cipher in use" in status) is (tls == "tls")


@pytest.mark.slow
@pytest.mark.parametrize("tls", TLS)
def test_pymysql_streams_every_row(server: Server, tls: str) -> None:
    options: dict[str, Any] = {"ssl": {"verify_mode": "none"}} if tls == "tls" else {"ssl_disabled": True}
    with server.connect(cursorclass=pymysql.cursors.SSCursor, **options) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT id, score FROM users WHERE id > %s", (100_000,))
            assert sum(row[0] for row in cursor) == server.ids - sum(range(100_001))
        with connection.cursor() as cursor:
            cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
            ((_, cipher),) = cursor.fetchall()
    assert bool(cipher) is (tls == "tls")


@pytest.mark.parametrize("tls", TLS)
def test_mysqlclient_streams_every_row(server: Server, tls: str) -> None:
    module = pytest.importorskip("MySQLdb", reason="mysqlclient needs a C compiler and libmariadb-dev")
    cursors = pytest.importorskip("MySQLdb.cursors")
    # MariaDB's library, which mysqlclient is built with here, uses TLS when it is given any of its settings.
    options = {"ssl": {"cipher": "HIGH"}} if tls == "tls" else {}
    connection = module.connect(
        host="127.0.0.1",
        port=server.port,
        user=USER,
        password=PASSWORD,
        database="app",
        cursorclass=cursors.SSCursor,
        **options,
    )
    cursor = connection.cursor()
    cursor.execute("SELECT id, name, email, created_at, score FROM users")
    assert sum(row[0] for row in cursor) == server.ids
    cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
    ((_, cipher),) = cursor.fetchall()
    cursor.close()
    connection.close()
    assert bool(cipher) is (tls == "tls")


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    installed = CLIENTS / "node_modules"
    if installed.is_dir():
        return installed
    npm = require_program("npm")
    folder = tmp_path_factory.mktemp("node")
    shutil.copy(CLIENTS / "package.json", folder)
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, timeout=120, check=False
    )
    if done.returncode:
        unavailable("npm package mysql2")
    return folder / "node_modules"


@pytest.mark.parametrize("tls", TLS)
def test_mysql2_of_node_streams_every_row(server: Server, node_modules: Path, tls: str) -> None:
    program = [require_program("node"), str(CLIENTS / "client.js")]
    out = _run(*program, "127.0.0.1", str(server.port), USER, PASSWORD, tls, env={"NODE_PATH": str(node_modules)})
    _check(json.loads(out), server, tls)


def test_mysql2_finds_the_same_values_in_both_formats(server: Server, node_modules: Path) -> None:
    program = [require_program("node"), str(CLIENTS / "formats.js")]
    out = _run(*program, "127.0.0.1", str(server.port), USER, PASSWORD, env={"NODE_PATH": str(node_modules)})
    answer = json.loads(out)
    for row in answer["text"] + answer["binary"]:
        # mysql2 widens a binary FLOAT to a double, and leaves a fraction of zero out of a binary TIME
        row["ratio"] = row["ratio"] and struct.pack("<f", row["ratio"])
        row["clock_us"] = row["clock_us"] and row["clock_us"].removesuffix(".000000")
    assert answer["text"] == answer["binary"]
    assert [row["ubig"] for row in answer["text"]] == ["18446744073709551615", "0", None]


@pytest.fixture(scope="session")
def go_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = require_program("go")
    sources = Path("/usr/share/gocode")  # Debian's golang-github-go-sql-driver-mysql-dev
    if not (sources / "src/github.com/go-sql-driver/mysql").is_dir():
        unavailable("Go package github.com/go-sql-driver/mysql")
    folder = tmp_path_factory.mktemp("go")
    env = {"GO111MODULE": "off", "GOPATH": str(sources), "GOCACHE": str(folder / "cache"), "GOFLAGS": ""}
    _run(go, "build", "-o", str(folder / "client"), str(CLIENTS / "client.go"), env=env)
    return folder / "client"


@pytest.mark.parametrize("tls", TLS)
def test_the_go_driver_streams_every_row(server: Server, go_client: Path, tls: str) -> None:
    option = "skip-verify" if tls == "tls" else "false"
    out = _run(str(go_client), f"{USER}:{PASSWORD}@tcp(127.0.0.1:{server.port})/app?tls={option}")
    _check(json.loads(out), server, tls)


def _php() -> str:
    php = require_program("php")
    loaded = _run(php, "-m").splitlines()
    if not {"mysqli", "pdo_mysql"} <= set(loaded):
        unavailable("PHP extensions mysqli and pdo_mysql")
    return php


@pytest.mark.parametrize("tls", TLS)
def test_mysqli_and_pdo_stream_every_row(server: Server, tls: str) -> None:
    arguments = ("127.0.0.1", str(server.port), USER, PASSWORD, tls)
    answer = json.loads(_run(_php(), str(CLIENTS / "client.php"), *arguments))
    _check(answer, server, tls)
    assert math.isclose(answer["pdo_text"], 500_005_000, rel_tol=1e-12)
    assert math.isclose(answer["pdo_binary"], 500_005_000, rel_tol=1e-12)
    assert bool(answer["pdo_cipher"]) is (tls == "tls")


def test_mysqli_finds_the_same_values_in_both_formats(server: Server) -> None:
    arguments = ("127.0.0.1", str(server.port), USER, PASSWORD)
    answer = json.loads(_run(_php(), str(CLIENTS / "formats.php"), *arguments))
    assert answer["text"] == answer["binary"]
    assert answer["text"][0]["price"] == "12345678901234567890123456.7891"


def test_dump_programs_read_a_whole_table(server: Server) -> None:
    """mysqldump requests locks, a snapshot, the table's definition and its rows, each by its own statements."""
    program = require_program("mysqldump", "mariadb-dump")
    command = [program, "--no-defaults", "-h127.0.0.1", f"-P{server.port}", f"-u{USER}", "--skip-ssl"]
    command += ["--single-transaction", "--quick", "--where=id<=1000", "--skip-extended-insert", "app", "users"]
    out = _run(*command, env={"MYSQL_PWD": PASSWORD})
    inserts = [line for line in out.splitlines() if line.startswith("INSERT INTO")]
    assert len(inserts) == 1000
    assert inserts[0] == "INSERT INTO `users` VALUES (1,'User1','user1@example.com','2020-01-01 00:01:01',0.1);"
    assert "PRIMARY KEY (`id`)" in out
