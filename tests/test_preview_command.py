"""``fluxport preview`` shows the first rows as an export would read them, for a person and for a program."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fluxport.cli import root
from fluxport.cli.terminal import Cell, show_rows
from fluxport.errors import QueryRefused, Refused, TimedOut
from mysql_support import scratch_database

TALL = """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT i, i / 3.0 AS ratio,
    'row ' || i AS name, NULL AS nothing, '' AS blank FROM n"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    sqlite3.connect(tmp_path / "a.db").execute("CREATE TABLE t (a)").connection.close()
    return f"sqlite:///{tmp_path / 'a.db'}"


def run(*words: str) -> Result:
    return CliRunner().invoke(root, ["preview", *words])


def test_numbers_are_right_aligned_and_null_is_visible(url: str) -> None:
    result = run(TALL, "--from", url, "--rows", "10")
    assert result.exit_code == 0, result.output
    head, _, *lines = result.stdout.splitlines()
    assert head.split() == ["i", "ratio", "name", "nothing", "blank"]
    assert len(lines) == 10
    assert lines[0].startswith(" 1   0.33")
    assert lines[9].startswith("10   3.33")
    assert "row 1    NULL " in lines[0]
    assert result.stderr == "10 rows, more follow\n"


def test_a_text_is_never_taken_for_null_or_for_a_command_to_the_terminal(url: str) -> None:
    result = run("SELECT 'NULL' AS a, 'x' || char(27) || '[31m' || char(10, 8238) AS b", "--from", url)
    (line,) = result.stdout.splitlines()[2:]
    assert line.split() == ['"NULL"', "x\\x1b[31m\\n\\u202e"]


def test_a_program_reads_one_object(url: str) -> None:
    shown = json.loads(run(TALL, "--from", url, "--rows", "2", "--columns", "name,i", "--json").stdout)
    assert [column["name"] for column in shown["columns"]] == ["name", "i"]
    assert shown["rows"] == [{"name": "row 1", "i": 1}, {"name": "row 2", "i": 2}]
    assert (shown["truncated"], shown["warnings"]) == (True, [])


def test_all_digits_of_a_number_are_shown(url: str) -> None:
    assert "9223372036854775807" in run("SELECT 9223372036854775807 AS n", "--from", url).stdout


def test_no_rows_are_no_error(url: str) -> None:
    result = run("SELECT 1 AS a WHERE 0", "--from", url)
    assert (result.exit_code, result.stderr) == (0, "0 rows\n")


def test_the_guard_the_parameters_and_the_limits_are_those_of_an_export(url: str) -> None:
    assert isinstance(run("DELETE FROM t", "--from", url).exception, QueryRefused)
    assert "\nb\n" in run("SELECT :x AS v", "-p", "x=b", "--from", url).stdout
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT COUNT(*) FROM n"
    assert isinstance(run(endless, "--from", url, "--timeout", "0.2").exception, TimedOut)
    assert isinstance(run("SELECT 1", "--from", "nothing").exception, Refused)
    assert run("--from", url).exit_code == 2


def test_a_dataset_is_previewed_with_its_filters(url: str, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        f"""
        connections: {{main: {{url: '{url}'}}}}
        datasets:
          numbers:
            connection: main
            scope: all
            query: SELECT n FROM (SELECT 'a' AS n UNION SELECT 'b') AS numbers WHERE {{filters}}
            columns: {{n: {{type: text, label: Name}}}}
            filters: {{name: {{type: one_of, values: [a, b], where: "n = :name"}}}}
        """
    )
    result = run("--dataset", "numbers", "-p", "name=b", "--config", str(config))
    assert result.exit_code == 0, (result.output, result.exception)
    assert result.stdout.split() == ["Name", "────", "b"]


def test_warnings_of_the_server_about_the_shown_rows_are_told() -> None:
    with scratch_database() as database:
        result = run("SELECT seq, 1 / 0 AS v FROM seq_1_to_5", "--no-guard", "--from", database.url, "--rows", "5")
    assert "divisions by zero" in result.stderr


@pytest.mark.parametrize("no_color", [False, True])
def test_a_row_wider_than_the_terminal_becomes_lines_and_colours_end_with_no_color(url: str, no_color: bool) -> None:
    columns = ", ".join(f"{n} AS column_{n}" for n in range(20))
    controller, terminal = pty.openpty()
    environ = {**os.environ, "COLUMNS": "60", "TERM": "xterm"} | ({"NO_COLOR": "1"} if no_color else {})
    words = [sys.executable, "-m", "fluxport", "preview", f"SELECT {columns}, NULL AS nothing", "--from", url]
    subprocess.run(words, stdout=terminal, stderr=subprocess.DEVNULL, env=environ, check=True)
    os.close(terminal)
    text = os.read(controller, 1 << 16).decode()
    os.close(controller)
    lines = text.split("\r\n")
    assert len(lines) > 20
    assert all(len(line) < 120 for line in lines)
    assert "\x1b[3" not in text


def test_a_column_is_cut_before_its_name_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "50")
    show_rows(["a_name_of_20_letters", "text"], [[Cell("1", number=True), Cell("漢字 " * 40)]])
    head, _, line = capsys.readouterr().out.splitlines()
    assert "a_name_of_20_letters" in head
    assert "…" in line
