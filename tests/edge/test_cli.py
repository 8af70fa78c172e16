"""The command in a shell: files, standard streams, exit codes, messages, signals."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from fork_server import run
from mail_receiver import mail_server
from postgres_support import scratch_postgres
from service_support import emulator

ROWS = 50_000


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with emulator(tmp_path_factory.mktemp("emulator"), ROWS) as found:
        yield found


def fluxport(*words: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[bytes]:
    return run(*words, folder=cwd, environ=os.environ | environ)


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.xlsx", "a.parquet", "a.arrows", "a.csv.gz"])
def test_the_suffix_names_the_format_and_the_result_line_proves_the_file(url: str, tmp_path: Path, name: str) -> None:
    done = fluxport("export", "SELECT * FROM users", "--from", url, "--to", name, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    reported = json.loads(done.stdout)
    data = (tmp_path / name).read_bytes()
    assert (reported["rows"], reported["bytes"]) == (ROWS, len(data))
    assert reported["sha256"] == hashlib.sha256(data).hexdigest()
    assert left_in(tmp_path) == [name]


def test_a_dash_is_standard_output_and_the_result_goes_to_standard_error(url: str, tmp_path: Path) -> None:
    done = fluxport("export", "SELECT id, name FROM users ORDER BY id", "--from", url, "--to", "-", cwd=tmp_path)
    rows = list(csv.reader(done.stdout.decode().splitlines()))
    assert rows[0] == ["id", "name"]
    assert len(rows) == ROWS + 1
    assert f"{ROWS:,} rows" in done.stderr.decode()


def test_options_columns_parameters_and_compression_are_honoured(url: str, tmp_path: Path) -> None:
    done = fluxport(
        "export", "SELECT * FROM users WHERE id <= :top ORDER BY id", "--from", url, "--to", "a.csv.gz",
        "-p", "top=2", "-o", "profile=excel-eu", "-o", "header=false", "--columns", "name,score",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()).decode("utf-8-sig") == "User1;0,1\r\nUser2;0,2\r\n"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["SELECT 1", "--to", "a.pdf"], 2, "format"),
        (["SELECT 1", "--to", "a.csv", "-o", "colour=red"], 2, "colour"),
        (["SELECT 1", "--to", "a.csv", "-o", "profile=word"], 2, "profile"),
        (["SELECT 1", "--to", "a.csv", "-o", "quoting=never"], 2, "quoting"),
        (["SELECT 1", "--to", "a.csv", "--compression", "rar"], 2, "rar"),
        (["SELECT 1", "--to", "a.csv", "--format", "pdf"], 2, "pdf"),
        (["DELETE FROM users", "--to", "a.csv"], 2, "Only a SELECT"),
        (["SELECT 1; SELECT 2", "--to", "a.csv"], 2, "one statement"),
        (["SELECT :low AS a", "--to", "a.csv"], 2, ":low was given no value"),
        (["SELECT SLEEP(1)", "--to", "a.csv"], 2, "SLEEP"),
        (["SELECT * FROM nowhere", "--to", "a.csv"], 1, "nowhere"),
        (["SELECT nope FROM users", "--to", "a.csv"], 1, "nope"),
        (["SELECT * FROM users", "--to", "a.csv", "--columns", "nope"], 2, "nope"),
        (["SELECT 1 AS a", "--to", "a.csv", "-o", "null_value=\udcff"], 2, "not valid UTF-8"),
        (["SELECT 1 AS a", "--to", "missing/folder/a.csv"], 2, "missing/folder"),
        (["SELECT 1 AS a", "--to", "ftp://host/a.csv"], 2, "ftp://"),
    ],
)
def test_bad_input_is_one_sentence_an_exit_code_and_no_file(
    url: str, tmp_path: Path, words: list[str], code: int, says: str
) -> None:
    done = fluxport("export", *words, "--from", url, cwd=tmp_path)
    message = done.stderr.decode()
    assert (done.returncode, done.stdout) == (code, b""), message
    assert says in message
    assert "Traceback" not in message
    sentence, *said = message.splitlines()
    assert sentence.startswith("fluxport: ")
    assert all(line.startswith("fluxport: details: ") for line in said)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        ("mysql://fluxport:wrong@127.0.0.1:{port}/app", 1, "login"),
        ("mysql://fluxport:fluxport@127.0.0.1:1/app", 1, "127.0.0.1"),
        ("mysql://fluxport:fluxport@nowhere.invalid/app", 1, "nowhere.invalid"),
        ("oracle://127.0.0.1/app", 2, "oracle"),
        ("mysql://127.0.0.1:port/app", 2, "port"),
        ("unnamed", 2, "unnamed"),
    ],
)
def test_the_error_of_a_bad_source_has_no_password(url: str, tmp_path: Path, source: str, code: int, says: str) -> None:
    port = url.rsplit(":", 1)[1].split("/", maxsplit=1)[0]
    done = fluxport("export", "SELECT 1", "--from", source.format(port=port), "--to", "a.csv", cwd=tmp_path)
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert says in message
    assert "wrong" not in message
    assert "guard" not in message
    assert left_in(tmp_path) == []


def test_a_failed_export_leaves_the_old_file_as_it_was(url: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("old")
    done = fluxport("export", "SELECT * FROM nowhere", "--from", url, "--to", "a.csv", cwd=tmp_path)
    assert done.returncode == 1
    assert (tmp_path / "a.csv").read_text() == "old"
    assert left_in(tmp_path) == ["a.csv"]


def test_strict_fails_with_3_and_no_file_where_a_value_had_to_be_changed(url: str, tmp_path: Path) -> None:
    words = ("export", "SELECT '=1+1' AS a", "--from", url, "--to", "a.csv")
    done = fluxport(*words, "--strict", cwd=tmp_path)
    assert done.returncode == 3
    assert left_in(tmp_path) == []
    assert fluxport(*words, cwd=tmp_path).returncode == 0
    assert "formula" in fluxport(*words, cwd=tmp_path).stderr.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_leaves_no_file_and_no_query(tmp_path: Path, number: int) -> None:
    with emulator(tmp_path, 1_000_000) as url:
        folder = tmp_path / "out"
        folder.mkdir()
        query = "SELECT a.id, b.name, b.email FROM users a CROSS JOIN users b"
        words = [sys.executable, "-m", "fluxport", "export", query, "--from", url, "--to", str(folder / "a.csv")]
        started = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        while not any(p.stat().st_size > 1_000_000 for p in folder.iterdir()):
            assert started.poll() is None
            time.sleep(0.02)
        started.send_signal(number)
        assert started.wait(60) == 1
        assert list(folder.iterdir()) == []
        port = int(url.rsplit(":", 1)[1].split("/")[0])
        with pymysql.connect(host="127.0.0.1", port=port, user="fluxport", password="fluxport") as connection:
            for _ in range(100):
                with connection.cursor() as cursor:
                    cursor.execute("SHOW PROCESSLIST")
                    if not any("CROSS JOIN" in str(row) for row in cursor.fetchall()):
                        break
                time.sleep(0.02)
            else:
                pytest.fail("the query still runs")


@pytest.mark.parametrize("more", [(), ("--option", "max_rows_per_file=100000")], ids=["one file", "several files"])
def test_the_next_export_into_a_folder_removes_what_a_killed_one_left(tmp_path: Path, more: tuple[str, ...]) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with emulator(tmp_path, 1_000_000) as url:
        query = "SELECT a.id, b.name, b.email FROM users a CROSS JOIN users b"
        words = [sys.executable, "-m", "fluxport", "export", query, "--from", url, *more]
        running = [
            subprocess.Popen([*words, "--to", str(folder / name)], stderr=subprocess.DEVNULL)
            for name in ("killed.csv", "living.csv")
        ]
        while len(begun := list(folder.iterdir())) < 2:
            assert [process.poll() for process in running] == [None, None]
            time.sleep(0.02)
        killed, living = running
        killed.kill()
        killed.wait()
        (folder / "notes.part").touch()
        done = fluxport("export", "SELECT 1 AS a", "--from", url, "--to", "done.csv", cwd=folder)
        assert done.returncode == 0, done.stderr
        left = {path.name for path in folder.iterdir()}
        living.terminate()
        living.wait(60)
    assert {"done.csv", "notes.part"} < left
    assert len(left & {path.name for path in begun}) == 1
    assert {path.name for path in folder.iterdir()} == {"done.csv", "notes.part"}


def test_sign_prints_the_headers_of_a_vector(tmp_path: Path) -> None:
    done = fluxport("sign", "post", "/export", "{}", "--v1", "--timestamp", "1700000000", "--secret", "s", cwd=tmp_path)
    import hmac

    expected = hmac.new(b"s", b"POST/export{}1700000000", "sha256").hexdigest()
    assert done.stdout.decode() == f"X-Timestamp: 1700000000\nX-Signature: {expected}\n"


def test_secret_prints_a_new_strong_secret_each_time(tmp_path: Path) -> None:
    first, second = (fluxport("secret", cwd=tmp_path).stdout.decode().strip() for _ in range(2))
    assert first != second
    assert len(first) >= 43


def test_check_reports_what_works_and_what_does_not(url: str, tmp_path: Path) -> None:
    good = fluxport("check", cwd=tmp_path, MYSQL_DSN=url)
    assert good.returncode == 0, good.stderr + good.stdout
    bad = fluxport("check", cwd=tmp_path, MYSQL_DSN="mysql://a:b@127.0.0.1:1/x")
    assert bad.returncode == 1
    assert "FAIL  connection main" in bad.stdout.decode()


def test_the_tables_of_a_named_connection_hold_unless_the_guard_is_off(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "rows.db")
    with connection:
        connection.execute("CREATE TABLE open AS SELECT 1 AS a")
        connection.execute("CREATE TABLE pins AS SELECT '4711' AS pin")
    connection.close()
    settings = {"connections": {"lite": {"url": f"sqlite:///{tmp_path}/rows.db", "tables": ["open"]}}}
    (tmp_path / "fluxport.yaml").write_text(json.dumps(settings))
    for query, words, code, rows in [
        ("SELECT a FROM open", (), 0, [b"a", b"1"]),
        ("SELECT '4711' IN pins AS found", (), 2, []),
        ("SELECT '4711' IN pins AS found", ("--no-guard",), 0, [b"found", b"1"]),
    ]:
        done = fluxport("export", query, "--from", "lite", "--to", "-", "--format", "csv", *words, cwd=tmp_path)
        assert (done.returncode, done.stdout.splitlines()) == (code, rows), done.stderr


def test_check_tries_every_kind_of_database_and_the_mail_server(tmp_path: Path) -> None:
    (tmp_path / "rows.db").touch()
    settings = {"connections": {"lite": {"url": f"sqlite:///{tmp_path}/rows.db"}}}
    (tmp_path / "fluxport.yaml").write_text(json.dumps(settings))
    with mail_server() as mail, scratch_postgres() as postgres:
        environ = {
            "FLUXPORT_CONNECTIONS__PG__URL": postgres.url,
            "SMTP_HOST": "127.0.0.1",
            "SMTP_FROM": "a@example.com",
        }
        good = fluxport("check", cwd=tmp_path, SMTP_PORT=str(mail.port), **environ)
    assert good.returncode == 0, good.stdout
    reported = good.stdout.decode()
    for line in ("connection lite: SQLite", "connection pg: PostgreSQL", "connection lite account: it can only read"):
        assert f"ok    {line}" in reported
    assert "accepts the login" in reported
    bad = fluxport("check", cwd=tmp_path, SMTP_PORT=str(mail.port), **environ)  # neither is there any more
    assert bad.returncode == 1
    assert "FAIL  connection pg" in bad.stdout.decode()
    assert "FAIL  email: The mail server 127.0.0.1 cannot be reached" in bad.stdout.decode()


def test_config_show_masks_secrets(tmp_path: Path) -> None:
    done = fluxport("config", "show", cwd=tmp_path, MYSQL_DSN="mysql://a:topsecret@h/x", API_SECRET="verysecretindeed")
    assert done.returncode == 0
    assert "secretindeed" not in done.stdout.decode()
    assert "topsecret" not in done.stdout.decode()


def test_production_refuses_to_start_without_a_strong_secret(tmp_path: Path) -> None:
    for secret in ("", "devsecret", "short", "a" * 40):
        done = fluxport("serve", cwd=tmp_path, APP_ENV="production", API_SECRET=secret, MYSQL_DSN="mysql://a:b@h/x")
        assert done.returncode == 2, secret
        assert b"fluxport secret" in done.stderr


def test_an_unknown_setting_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "fluxport.yaml").write_text("server: {prot: 1}\n")
    done = fluxport("config", "show", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'port'" in done.stderr.decode()
