"""The running emulator: logins, commands, errors, interruption, limits, and clients that misbehave."""

from __future__ import annotations

import gc
import logging
import random
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pymysql
import pytest

from emulator_support import KINDS, PASSWORD, USER, Bare, Running, emulator, emulator_process, login_response
from fluxport.errors import Refused, Unavailable
from fluxport_emulator.auth import PasswordKey
from fluxport_emulator.certificate import self_signed
from fluxport_emulator.server import EmulatorOptions, _check, run

PLUGINS = ("mysql_native_password", "caching_sha2_password")
FOREVER = "SELECT SUM(a.id * b.id) FROM users a, users b, users c"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with emulator(
        rows=10_000, tables=(KINDS,), auth_plugin="mysql_native_password", packet_bytes_max=1 << 20, statements_max=5
    ) as running:
        yield running


def _error(server: Running, sql: str, **options: Any) -> tuple[int, str]:
    with pytest.raises(pymysql.MySQLError) as caught:
        server.rows(sql, **options)
    number, message = caught.value.args
    return number, message


# --- login


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("tls", [False, True])
def test_both_login_methods_work_with_and_without_tls(plugin: str, tls: bool) -> None:
    options: dict[str, Any] = {"ssl": {"verify_mode": "none"}} if tls else {"ssl_disabled": True}
    with emulator(auth_plugin=plugin, rows=10) as running:
        for _ in range(2):  # caching_sha2_password: the full way, then the fast one
            ((_, cipher),) = running.rows("SHOW STATUS LIKE 'Ssl_cipher'", **options)
            assert bool(cipher) is tls
        for wrong in ({"password": "wrong"}, {"password": ""}, {"user": "other"}, {"user": "", "password": ""}):
            assert _error(running, "SELECT 1", **(options | wrong))[0] == 1045


def test_a_given_certificate_is_the_one_clients_see(tmp_path: Path) -> None:
    certificate, key = self_signed("127.0.0.1")
    (tmp_path / "ca.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(key)
    files = {"certificate": tmp_path / "ca.pem", "private_key": tmp_path / "key.pem"}
    with emulator(rows=1, **files) as running:
        assert running.rows("SELECT 1", ssl={"ca": str(tmp_path / "ca.pem")}) == ((1,),)
        with emulator(rows=1) as other, pytest.raises(pymysql.err.OperationalError, match="certificate"):
            other.connect(ssl={"ca": str(tmp_path / "ca.pem")})


def test_tls_is_not_offered_when_it_is_off() -> None:
    with emulator(rows=1, tls=False) as running, Bare(running.port) as bare:
        greeting = bare.receive()
        capabilities = int.from_bytes(greeting[greeting.index(b"\0") + 14 :][:2], "little")
        assert not capabilities & 0x800
        bare.send(struct.pack("<IIB23x", 0x800 | 0x8200, 1 << 24, 45))
        assert struct.unpack("<H", bare.receive()[1:3]) == (1043,)
        assert bare.ended()


@pytest.mark.parametrize("plugin", PLUGINS)
def test_an_account_without_a_password_takes_none(plugin: str) -> None:
    with emulator(rows=1, auth_plugin=plugin, password="") as running:
        assert running.rows("SELECT 1", password="") == ((1,),)
        assert _error(running, "SELECT 1", password="some")[0] == 1045


@pytest.mark.parametrize("plugin", [b"mysql_native_password", b"caching_sha2_password", b"mysql_clear_password", b""])
def test_a_failed_login_ends_the_connection_and_no_command_is_answered(server: Running, plugin: bytes) -> None:
    with Bare(server.port) as bare:
        bare.receive()
        bare.send(login_response(bytes(20), plugin=plugin))
        answer = bare.receive()
        while answer[0] != 0xFF:  # another method asked for, a key, the whole password: nothing but nonsense is sent
            bare.send(b"nonsense")
            answer = bare.receive()
        assert struct.unpack("<H", answer[1:3]) == (1045,)
        try:
            bare.command(b"\x03SELECT 1")
        except ConnectionError:
            return
        assert bare.ended()


def test_an_unknown_database_is_refused_at_login_and_by_use(server: Running) -> None:
    assert _error(server, "SELECT 1", database="nope")[0] == 1049
    assert _error(server, "USE nope")[0] == 1049
    assert server.rows("SELECT DATABASE()", database=None) == ((None,),)


def test_changing_the_user_requires_the_password_again(server: Running) -> None:
    with _logged_in(server) as bare:
        bare.command(b"\x11" + USER.encode() + b"\0\0app\0")
        assert bare.receive().startswith(b"\xfemysql_native_password\0")
        bare.send(bytes(20))
        assert struct.unpack("<H", bare.receive()[1:3]) == (1045,)
        assert bare.ended()


# --- statements


@pytest.mark.parametrize(
    ("sql", "number", "words"),
    [
        ("SELEC 1", 1064, "syntax"),
        ("SELECT 1; SELECT 2", 1064, "syntax"),
        ("", 1065, "empty"),
        ("SELECT * FROM nope", 1146, "app.nope"),
        ("SELECT nope FROM users", 1054, "nope"),
        ("SELECT nope(1)", 1305, "nope"),
        ("SELECT id, COUNT(*) FROM users", 1055, "GROUP BY"),
        ("SELECT a.id FROM users a, users b WHERE id = 1", 1052, "id"),
        ("SELECT (SELECT id FROM users)", 1242, "more than 1 row"),
        ("SELECT id FROM users UNION SELECT 1, 2", 1222, "number of columns"),
        ("SELECT CAST('x' AS SIGNED)", 1292, ""),
        ("SELECT @@nope", 1193, "nope"),
        ("SET nope = 1", 1193, "nope"),
        ("SET version = 1", 1238, "version"),
        ("SET GLOBAL max_execution_time = 1", 1227, ""),
        ("SET NAMES latin1", 1115, "latin1"),
        ("SET max_execution_time = 'soon'", 1231, "soon"),
        ("KILL 99999", 1094, "99999"),
        ("INSERT INTO users VALUES (1)", 1290, "read-only"),
        ("UPDATE users SET id = 1", 1290, ""),
        ("CREATE TABLE x (a INT)", 1290, ""),
        ("DROP TABLE users", 1290, ""),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", 1290, ""),
        ("LOAD DATA INFILE 'x' INTO TABLE users", 1290, ""),
    ],
)
def test_errors_have_mysqls_numbers(server: Running, sql: str, number: int, words: str) -> None:
    found, message = _error(server, sql)
    assert found == number
    assert words in message


def test_an_error_leaves_the_connection_usable(server: Running) -> None:
    with server.connect() as connection, connection.cursor() as cursor:
        for sql in ("SELECT * FROM nope", "SELECT 100 / id, CAST(name AS SIGNED) FROM users", "nonsense"):
            with pytest.raises(pymysql.MySQLError):
                cursor.execute(sql)
            cursor.execute("SELECT 1")
            assert cursor.fetchall() == ((1,),)


@pytest.mark.parametrize(
    "sql",
    [
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin", "SET autocommit=0, sql_mode='', @@SESSION.net_write_timeout = 30",
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SET SESSION TRANSACTION READ ONLY",
        "SET @old = @@sql_mode", "SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')", "SET time_zone = '+00:00'",
        "BEGIN", "START TRANSACTION", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", "COMMIT", "ROLLBACK",
        "START TRANSACTION /*!40100 WITH CONSISTENT SNAPSHOT */", "SAVEPOINT a", "LOCK TABLES users READ",
        "FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES", "USE app", "DO 1", "SET CHARACTER SET utf8",
        "SET STATEMENT max_statement_time = 5 FOR SELECT 1",
    ],
)  # fmt: skip
def test_what_clients_send_around_their_queries_is_accepted(server: Running, sql: str) -> None:
    server.rows(sql)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT @@version_comment LIKE '%Fluxport%'", ((1,),)),
        ("SELECT COUNT(*), SUM(score) FROM users", ((10_000, 5000500.0),)),
        ("SHOW TABLES", (("kinds",), ("users",))),
        ("SHOW DATABASES", (("app",), ("information_schema",))),
        ("SHOW VARIABLES LIKE 'read_only'", (("read_only", "ON"),)),
        ("DESCRIBE users name", (("name", "varchar(255)", "NO", "", None, ""),)),
        ("DESC users", None),
        ("EXPLAIN SELECT * FROM users", None),
        ("SHOW PROCESSLIST", None),
    ],
)
def test_the_catalogue_is_listed(server: Running, sql: str, rows: tuple[tuple[Any, ...], ...] | None) -> None:
    found = server.rows(sql)
    assert found == rows if rows is not None else found


def test_variables_hold_for_their_session_until_it_is_reset(server: Running) -> None:
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET @mine = 5, SESSION sql_mode = 'ANSI'")
        cursor.execute("SELECT @mine + 1, @@sql_mode")
        assert cursor.fetchall() == ((6, "ANSI"),)
        assert server.rows("SELECT @mine, @@sql_mode <> 'ANSI'") == ((None, 1),)
        connection._execute_command(0x1F, b"")
        connection._read_ok_packet()
        cursor.execute("SELECT @mine, @@sql_mode <> 'ANSI'")
        assert cursor.fetchall() == ((None, 1),)


def test_the_status_has_transactions_and_autocommit(server: Running) -> None:
    with server.connect(autocommit=True) as connection:
        for sql, flags in (("BEGIN", 3), ("COMMIT", 2), ("SET autocommit = 0", 0), ("SET autocommit = 1", 2)):
            connection.query(sql)
            assert connection.server_status & 3 == flags


def test_warnings_show_the_last_error(server: Running) -> None:
    with server.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError):
            cursor.execute("SELECT * FROM nope")
        cursor.execute("SHOW WARNINGS")
        assert cursor.fetchall() == (("Error", 1146, "Table 'app.nope' doesn't exist"),)


def test_rows_come_in_the_requested_order(server: Running) -> None:
    found = [row[0] for row in server.rows("SELECT id FROM users ORDER BY name DESC")]
    assert found == [int(name[4:]) for name in sorted((f"User{i}" for i in range(1, 10_001)), reverse=True)]


@pytest.mark.parametrize("size", [0, 250, 251, 65_536, (1 << 24) - 5, (1 << 24) + 9])
def test_a_big_cell_arrives_whole(server: Running, size: int) -> None:
    assert server.rows(f"SELECT 1, REPEAT('x', {size}), 2") == ((1, "x" * size, 2),)


@pytest.mark.parametrize("call", ["REPEAT('x', 2000000000)", "SPACE(2000000000)", "LENGTH(LPAD('x', 2000000000, 'y'))",
                                  "RPAD('x', 2000000000, 'y')", "REPEAT('xy', 9223372036854775807)"])  # fmt: skip
def test_text_that_one_call_would_make_too_long_is_null(server: Running, call: str) -> None:
    assert server.rows(f"SELECT {call}") == ((None,),)


def test_many_columns_arrive_in_order(server: Running) -> None:
    (row,) = server.rows("SELECT " + ", ".join(f"{n} AS c{n}" for n in range(3000)))
    assert row == tuple(range(3000))


# --- other commands


def _logged_in(server: Running) -> Bare:
    bare = Bare(server.port)
    bare.log_in()
    return bare


@pytest.mark.parametrize(
    ("command", "first"),
    [
        (b"\x0e", 0x00),  # ping
        (b"\x02app", 0x00),  # init db
        (b"\x02nope", 0xFF),
        (b"\x09", ord("U")),  # statistics: Uptime ...
        (b"\x04users\0", 0x03),  # field list
        (b"\x04nope\0", 0xFF),
        (b"\x1b\x01\x00", 0xFE),  # multi-statements off
        (b"\x1b\x00\x00", 0xFF),  # and on
        (b"\x1f", 0x00),  # reset connection
        (b"\x0c\xff\xff\xff\x7f", 0xFF),  # kill an unknown connection
        (b"\x17\x09\0\0\0\0\1\0\0\0", 0xFF),  # execute the unknown
        (b"\x1a\x09\0\0\0", 0xFF),  # reset the unknown
        (b"\x1c\x09\0\0\0\1\0\0\0", 0xFF),  # fetch: cursors are not supported
        (b"\x7f", 0xFF),
    ],
)
def test_a_command_is_answered_and_the_next_one_too(server: Running, command: bytes, first: int) -> None:
    with _logged_in(server) as bare:
        bare.command(command)
        answer = bare.receive()
        assert answer[0] == first
        if command[0] == 0x04 and first == 0x03:
            while bare.receive()[0] != 0xFE:
                pass
        bare.command(b"\x0e")
        assert bare.receive()[0] == 0


def test_quit_ends_the_connection(server: Running) -> None:
    with _logged_in(server) as bare:
        bare.command(b"\x01")
        assert bare.ended()


def _prepared(bare: Bare, sql: bytes) -> bytes:
    bare.command(b"\x16" + sql)
    head = bare.receive()
    assert head[0] == 0, head
    columns, parameters = struct.unpack("<HH", head[5:9])
    for count in (parameters, columns):
        for _ in range(count + 1 if count else 0):  # with the EOF that closes each list
            bare.receive()
    return head[1:5]


def test_long_data_comes_in_parts_and_is_used_once(server: Running) -> None:
    with _logged_in(server) as bare:
        number = _prepared(bare, b"SELECT LENGTH(?)")
        for part in (b"a" * 1000, b"b" * 500):
            bare.command(b"\x18" + number + b"\0\0" + part)
        execute = b"\x17" + number + b"\0\1\0\0\0" + b"\0\1" + struct.pack("<H", 252)
        bare.command(execute)
        assert [bare.receive() for _ in range(5)][3][2:] == struct.pack("<q", 1500)
        bare.command(execute + b"\x02hi")
        assert [bare.receive() for _ in range(5)][3][2:] == struct.pack("<q", 2)


def test_statements_of_a_connection_are_limited_and_closing_frees_one(server: Running) -> None:
    with _logged_in(server) as bare:
        numbers = [_prepared(bare, b"SELECT 1") for _ in range(5)]
        bare.command(b"\x16SELECT 1")
        assert struct.unpack("<H", bare.receive()[1:3]) == (1461,)
        bare.command(b"\x19" + numbers[0])
        assert _prepared(bare, b"SELECT 2")


# --- interruption


def _running(server: Running, marker: str) -> int:
    """The id of the connection that runs a statement with ``marker``, once it does."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for line in server.rows("SELECT ID, INFO FROM information_schema.processlist"):
            if marker in (line[1] or "") and "processlist" not in line[1]:
                return int(line[0])
    raise AssertionError("the statement never ran")


def _gone(server: Running, number: int) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not server.rows(f"SELECT ID FROM information_schema.processlist WHERE ID = {number}"):
            return True
    return False


@pytest.mark.parametrize("sql", [FOREVER, "SELECT SLEEP(60)"])
def test_kill_query_ends_the_statement_and_not_the_connection(server: Running, sql: str) -> None:
    with server.connect() as connection, connection.cursor() as cursor:
        killer = threading.Thread(target=lambda: server.rows(f"KILL QUERY {_running(server, sql)}"))
        killer.start()
        with pytest.raises(pymysql.MySQLError) as caught:
            cursor.execute(sql)
        killer.join()
        assert caught.value.args[0] == 1317
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == ((1,),)


def test_kill_ends_the_connection(server: Running) -> None:
    with server.connect() as connection:
        number = connection.thread_id()
        server.rows(f"KILL {number}")
        with pytest.raises(pymysql.err.OperationalError):
            connection.query("SELECT 1")
        assert _gone(server, number)


def test_kill_query_of_an_idle_connection_does_nothing(server: Running) -> None:
    with server.connect() as connection:
        server.rows(f"KILL QUERY {connection.thread_id()}")
        connection.query("SELECT 1")


@pytest.mark.parametrize(
    ("before", "sql", "number"),
    [
        ("SET max_execution_time = 50", FOREVER, 3024),
        ("SET max_statement_time = 0.05", FOREVER, 1969),
        ("DO 1", FOREVER.replace("SELECT", "SELECT /*+ MAX_EXECUTION_TIME(50) */"), 3024),
        ("DO 1", f"SET STATEMENT max_statement_time = 0.05 FOR {FOREVER}", 1969),
        ("SET max_execution_time = 50", "SELECT SLEEP(30)", 3024),
    ],
)
def test_a_time_limit_ends_the_statement(server: Running, before: str, sql: str, number: int) -> None:
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(before)
        with pytest.raises(pymysql.MySQLError) as caught:
            cursor.execute(sql)
        assert caught.value.args[0] == number
        cursor.execute("SET max_execution_time = 0, max_statement_time = 0")
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == ((1,),)


def test_a_client_that_disconnects_ends_its_query(server: Running) -> None:
    with _logged_in(server) as bare:
        bare.command(b"\x03" + FOREVER.encode() + b" /* left */")
        number = _running(server, "users c")
    assert _gone(server, number)


def test_killed_in_the_middle_of_its_rows_a_result_ends_with_an_error(server: Running) -> None:
    with _logged_in(server) as bare:
        bare.command(b"\x03SELECT u.*, REPEAT('x', 1000) FROM users u, (SELECT id FROM users WHERE id <= 20) v")
        bare.receive()
        server.rows(f"KILL QUERY {_running(server, 'REPEAT')}")
        last = b""
        while last[:1] != b"\xff":
            last = bare.receive()
            assert last[:1] != b"\xfe" or len(last) > 5 or struct.unpack("<H", last[3:5]) == (2,)
        assert struct.unpack("<H", last[1:3]) == (1317,)


# --- limits and misbehaviour


def test_a_slow_reader_does_not_fill_memory_nor_stop_others() -> None:
    with emulator_process(rows=1_000_000, auth_plugin="mysql_native_password") as running:
        before = running.memory_bytes()
        readers = [_logged_in(running) for _ in range(5)]
        for reader in readers:
            reader.command(b"\x03SELECT *, REPEAT('x', 500) FROM users")
            reader.receive()
        assert running.rows("SELECT COUNT(*) FROM users") == ((1_000_000,),)
        grown = running.memory_bytes() - before
        for reader in readers:
            reader.socket.close()
    assert grown < 250 << 20  # five results of 550 MB each wait


def test_connections_are_bounded() -> None:
    with emulator(rows=1, connections_max=2) as running:
        with running.connect() as first, running.connect():
            with pytest.raises(pymysql.err.OperationalError) as caught:
                running.connect()
            assert caught.value.args[0] == 1040
            number = first.thread_id()
        assert number
        deadline = time.monotonic() + 60
        while True:
            try:
                assert running.rows("SELECT 1") == ((1,),)
                break
            except pymysql.err.OperationalError:
                assert time.monotonic() < deadline


def test_a_packet_over_the_limit_ends_the_connection(server: Running) -> None:
    with _logged_in(server) as bare:
        bare.socket.sendall(b"\xff\xff\xff\0")
        assert struct.unpack("<H", bare.receive()[1:3]) == (1153,)
        assert bare.ended()


def test_a_wrong_sequence_id_ends_the_connection(server: Running) -> None:
    with _logged_in(server) as bare:
        bare.socket.sendall(b"\x01\0\0\x05\x0e")
        assert struct.unpack("<H", bare.receive()[1:3]) == (1156,)
        assert bare.ended()


def test_nonsense_never_brings_the_server_down(server: Running) -> None:
    chance = random.Random(7)
    for _ in range(60):
        with Bare(server.port) as bare:
            bare.receive()
            payload = chance.randbytes(chance.randrange(0, 80))
            if chance.random() < 0.5:
                payload = struct.pack("<I", chance.getrandbits(32) | 0x8200) + payload
            bare.send(payload)
            bare.socket.shutdown(socket.SHUT_WR)
            while bare.socket.recv(65536):
                pass
    for _ in range(60):
        with _logged_in(server) as bare:
            bare.command(bytes((chance.choice([2, 3, 4, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x11]),)) + chance.randbytes(20))
            bare.socket.shutdown(socket.SHUT_WR)
            while bare.socket.recv(65536):
                pass
    assert server.rows("SELECT 1") == ((1,),)


def test_a_silent_client_is_disconnected() -> None:
    with emulator(rows=1, handshake_s=0.2) as running, Bare(running.port) as bare:
        bare.receive()
        assert bare.ended()


def test_half_a_tls_handshake_times_out() -> None:
    with emulator(rows=1, handshake_s=0.5) as running, Bare(running.port) as bare:
        bare.receive()
        bare.send(struct.pack("<IIB23x", 0x800 | 0x8200, 1 << 24, 45))
        assert bare.ended()
        with pytest.raises((ssl.SSLError, OSError)):
            bare.socket.send(b"\x16\x03\x01" * 100)
            bare.socket.recv(1)
            raise OSError


def test_many_clients_read_at_once(server: Running) -> None:
    found: list[object] = []

    def read() -> None:
        found.append(server.rows("SELECT COUNT(*), SUM(id) FROM (SELECT * FROM users ORDER BY score DESC) t"))

    threads = [threading.Thread(target=read) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [((10_000, 50_005_000),)] * 20


def test_the_end_of_the_server_ends_running_queries() -> None:
    with emulator_process(rows=10_000) as running:
        connection = running.connect()
        failed = threading.Event()

        def ask() -> None:
            with pytest.raises(pymysql.MySQLError):
                connection.query(FOREVER)
            failed.set()

        thread = threading.Thread(target=ask)
        thread.start()
        _running(running, "users c")
        running.process.terminate()
        assert failed.wait(60)
        thread.join()


@pytest.mark.slow
def test_the_end_of_the_server_among_coming_and_going_clients_leaves_no_socket_open() -> None:
    for _ in range(10):  # an unclosed socket is a warning, and a warning is an error
        with emulator() as running:
            connections = [running.connect() for _ in range(3)]
            silent = [Bare(running.port) for _ in range(3)]
            for connection in connections:
                connection.close()
            for bare in silent:
                bare.socket.close()
        gc.collect()


# --- options


def test_a_host_that_others_reach_is_refused_unless_allowed(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Refused, match=r"0\.0\.0\.0"):
        run(EmulatorOptions(host="0.0.0.0", port=0))
    with caplog.at_level(logging.WARNING):
        _check(EmulatorOptions(host="0.0.0.0", allow_remote=True))
    assert "anyone who reaches this machine" in caplog.text


def test_a_port_in_use_is_refused_with_its_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Unavailable, match="another port"):
        run(EmulatorOptions(port=taken.getsockname()[1], rows=1))


@pytest.mark.parametrize("options", [{"database": "a b"}, {"certificate": Path("x")}, {"host": "no.such.invalid"}])
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        run(EmulatorOptions(port=0, rows=1, **options))


def test_the_password_is_not_shown() -> None:
    assert PASSWORD not in repr(EmulatorOptions(user="someone", database="d"))


def test_the_emulator_imports_nothing_else_of_the_product() -> None:
    code = "import sys, fluxport_emulator.server; print([m for m in sys.modules if m.startswith('fluxport.')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    own = ("fluxport.errors", "fluxport.version")  # the package itself names its version
    assert set(eval(loaded)) <= set(own)


@pytest.mark.parametrize("words", [["demo"], ["emulate", "mysql"]])
def test_a_missing_extra_is_named_before_anything_starts(words: list[str]) -> None:
    code = "import sys; sys.modules['duckdb'] = None; from fluxport.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    said = "fluxport: The MySQL emulator needs DuckDB: pip install 'fluxport[demo]'.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_clients_that_come_at_once_get_the_same_key_for_their_passwords() -> None:
    key, together = PasswordKey(), threading.Barrier(8)

    def public_key(_: int) -> bytes:
        together.wait()
        return key.public_pem()

    with ThreadPoolExecutor(8) as clients:
        assert len(set(clients.map(public_key, range(8)))) == 1
