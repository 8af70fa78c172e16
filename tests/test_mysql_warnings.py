"""A result that the server warns about is never passed on without that warning."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxport import stream
from fluxport.findings import Finding
from fluxport.sources.mysql.definitions import Type
from fluxport.sources.mysql.handshake import DEPRECATE_EOF
from mysql_support import Database, read_all, scratch_database
from private_mariadb import private_mariadb
from scripted_mysql import (
    CAPABILITIES,
    WARNED_EOF,
    WARNED_OK_EOF,
    Result,
    ScriptedServer,
    definition,
    error,
    sized,
)


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with scratch_database() as made:
        yield made


# query -> (code, number, count) of all that is found
WARNED: dict[str, list[tuple[str, str, int]]] = {
    "SELECT GROUP_CONCAT(seq) FROM seq_1_to_200000": [("result_cut", "1260", 1)],
    "SELECT REPEAT('x', 1000000000000) UNION ALL SELECT 'y'": [("result_cut", "1301", 1)],
    "SELECT seq FROM seq_1_to_1000 LIMIT ROWS EXAMINED 10": [("result_cut", "1931", 1)],
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 9999) SELECT n FROM r": [
        ("result_cut", "1931", 1)  # the server's max_recursive_iterations
    ],
    "SELECT 1/0, 5 MOD 0": [("division_by_zero", "1365", 2)],
    "SELECT '12 apples' + 1": [("value_not_converted", "1292", 1)],
    "SELECT CAST(300 AS DECIMAL(2,0))": [("value_not_converted", "1264", 1)],
    "SELECT CAST('2020-02-31' AS DATE), 1/0": [("date_not_converted", "1292", 1), ("division_by_zero", "1365", 1)],
    "SELECT CAST('a time' AS INT), CAST('x' AS TIME)": [
        ("date_not_converted", "1292", 1),
        ("value_not_converted", "1292", 1),
    ],
    "SELECT STR_TO_DATE('x', '%%Y')": [("date_not_converted", "1411", 1)],
    "SELECT DATE_ADD('9999-12-31', INTERVAL 1 DAY)": [("date_not_converted", "1441", 1)],
    "SELECT JSON_EXTRACT('{', '$.a')": [("value_not_converted", "4037", 1)],
    "SELECT UNCOMPRESS('abc')": [("database_warning", "1259", 1)],
    "SELECT 1": [],
    "SELECT seq FROM seq_1_to_3 PROCEDURE ANALYSE()": [],
}


@pytest.mark.parametrize("text_protocol", [False, True], ids=["prepared", "text"])
@pytest.mark.parametrize("query", WARNED)
def test_warnings_of_the_server_are_findings(database: Database, query: str, text_protocol: bool) -> None:
    _, found = read_all(database.url, query, text_protocol=text_protocol)
    assert found == [Finding(code, None, count, f"warning {number}") for code, number, count in WARNED[query]]


def test_more_warnings_than_the_server_lists_are_counted(database: Database) -> None:
    _, found = read_all(database.url, "SELECT seq / 0 FROM seq_1_to_1000")
    assert found == [
        Finding("database_warning", None, 1000 - 64, "not listed"),
        Finding("division_by_zero", None, 64, "warning 1365"),
    ]


@pytest.mark.parametrize("text_protocol", [False, True], ids=["prepared", "text"])
def test_a_limit_of_the_export_changes_no_value(database: Database, text_protocol: bool) -> None:
    """MariaDB applies a limit of rows of the session to cursors of stored functions too."""
    database.run("CREATE OR REPLACE TABLE counted AS SELECT seq FROM seq_1_to_100")
    database.run(
        "CREATE OR REPLACE FUNCTION counted_rows() RETURNS INT READS SQL DATA BEGIN DECLARE n, v INT DEFAULT 0; "
        "DECLARE done BOOL DEFAULT FALSE; DECLARE c CURSOR FOR SELECT seq FROM counted; "
        "DECLARE CONTINUE HANDLER FOR NOT FOUND SET done = TRUE; OPEN c; "
        "reading: LOOP FETCH c INTO v; IF done THEN LEAVE reading; END IF; SET n = n + 1; END LOOP; "
        "CLOSE c; RETURN n; END"
    )
    source = f"{database.url}?prepared={'false' if text_protocol else 'true'}"
    with stream("SELECT counted_rows() AS n FROM counted", source=source, options={"limit": 3}) as exported:
        assert b"".join(exported).decode().split() == ["n", "100", "100", "100"]


def test_a_warning_is_a_failure_under_strict_and_repeats_no_value(database: Database, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    query = "SELECT 'sensitive' + 1 AS v"
    words = [sys.executable, "-m", "fluxport", "export", query, "--no-guard", "--from", database.url]
    words += ["--to", str(target)]
    failed = subprocess.run([*words, "--strict"], capture_output=True, text=True, check=False)
    assert failed.returncode == 3
    assert not target.exists()
    assert "warning 1292 (1)" in failed.stderr
    done = subprocess.run([*words, "--json"], capture_output=True, text=True, check=True)
    (warning,) = json.loads(done.stdout)["warnings"]
    assert warning | {"message": ""} == {"code": "value_not_converted", "column": None, "count": 1, "message": ""}
    assert "warning 1292" in warning["message"]
    assert "sensitive" not in failed.stderr + done.stderr + done.stdout


VALUE = [definition("v", Type.VAR_STRING)]
LISTED = [definition("Level", Type.VAR_STRING), definition("Code", Type.LONG), definition("Message", Type.VAR_STRING)]


def listed(*warnings: tuple[bytes, bytes]) -> Result:
    return Result(LISTED, [sized(level) + sized(number) + sized(b"words") for level, number in warnings])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        # About the text of the query, and unknown notes: they do not concern the result.
        (listed(*[(b"Warning", b"1287")] * 3, (b"Note", b"1003"), (b"Note", b"65000")), []),
        (listed(*[(b"Note", b"1292")] * 5), [Finding("value_not_converted", None, 5, "warning 1292")]),
        (listed(*[(b"Warning", b"65000")] * 5), [Finding("database_warning", None, 5, "warning 65000")]),
        (listed((b"Warning", b"1287")), [Finding("database_warning", None, 4, "not listed")]),
        (error(1064), [Finding("database_warning", None, 5, "not listed")]),
    ],
)
@pytest.mark.parametrize("deprecate_eof", [0, DEPRECATE_EOF], ids=["eof", "ok"])
def test_what_is_counted_of_five_warnings(answer: Result | bytes, expected: list[Finding], deprecate_eof: int) -> None:
    end = WARNED_OK_EOF if deprecate_eof else WARNED_EOF
    with ScriptedServer(
        Result(VALUE, [b"\0\0" + sized(b"a")], end),
        capabilities=CAPABILITIES | deprecate_eof,
        answer=lambda statement: answer if statement == "SHOW WARNINGS" else None,
    ) as server:
        table, found = read_all(server.url, "SELECT v")
    assert table["v"].to_pylist() == ["a"]
    assert found == expected


def test_no_warnings_are_queried_where_the_server_counts_none() -> None:
    with ScriptedServer(Result(VALUE, [b"\0\0" + sized(b"a")])) as server:
        read_all(server.url, "SELECT v")
    assert "SHOW WARNINGS" not in server.statements


def test_a_global_row_limit_of_the_server_truncates_no_result() -> None:
    """``sql_select_limit`` comes without a warning."""
    with private_mariadb() as server, scratch_database(server.url) as database:
        database.run("SET GLOBAL sql_select_limit = 5")
        table, found = read_all(database.url, "SELECT seq FROM seq_1_to_10")
    assert table.num_rows == 10
    assert found == []
