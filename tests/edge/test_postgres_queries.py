"""Callers' SQL on PostgreSQL, checked by the guard, at the doors that accept SQL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mysql_support import wait_until
from postgres_support import PostgresDatabase, scratch_postgres
from service_support import Client, service


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresDatabase]:
    with scratch_postgres() as scratch:
        scratch.run("CREATE TABLE item (id int, title text, tags jsonb)")
        scratch.run("""INSERT INTO item SELECT n, 'item ' || n, jsonb_build_object('k' || n, n)
                       FROM generate_series(1, 9) n""")
        yield scratch


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, database: PostgresDatabase) -> Iterator[Client]:
    with service(tmp_path_factory.mktemp("service"), database.url) as running:
        yield running


@pytest.mark.parametrize(
    ("query", "params", "rows"),
    [
        ("SELECT id, title FROM item WHERE id < 3 ORDER BY id -- two", None, ["1,item 1", "2,item 2"]),
        ("SELECT id FROM item WHERE id > ? AND title = ?", [3, "item 4"], ["4"]),
        ("SELECT id FROM item WHERE id = :id::int OR tags ? 'k7'", {"id": 2}, ["2", "7"]),
        ("SELECT id FROM item WHERE tags ?| ARRAY['k1', 'k5'] ORDER BY id", None, ["1", "5"]),
        ("WITH item AS (SELECT 5 AS id) TABLE item", None, ["5"]),
        ("SELECT E'it\\'s' || chr(33), $$a\\b$$", None, ["it's!,a\\b"]),
    ],
)
def test_a_query_is_streamed(client: Client, query: str, params: Any, rows: list[str]) -> None:
    source = {"query": query} if params is None else {"query": query, "params": params}
    answer = client.post("/v1/stream", {"source": source, "format": "csv"})
    assert answer.status_code == 200, answer.text
    assert sorted(answer.text.splitlines()[1:]) == rows


@pytest.mark.parametrize(
    ("query", "params", "code"),
    [
        ("SELECT * FROM pg_authid", [], "query_table"),
        ("SELECT t.pg_read_file FROM unnest(ARRAY['PG_VERSION']) t", [], "query_function"),
        ("SELECT lo_import ? + 1", ["/etc/passwd"], "query_function"),
        ("SELECT 1; DELETE FROM item", [], "query_stacked"),
        ("SELECT id FROM item WHERE id = ?", [], "query_placeholder"),
    ],
)
def test_a_query_that_may_do_more_is_refused(client: Client, query: str, params: Any, code: str) -> None:
    answer = client.post("/v1/stream", {"source": {"query": query, "params": params}, "format": "csv"})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_stored_export_of_a_query_completes(client: Client) -> None:
    request = {"source": {"query": "SELECT count(*) AS n FROM item WHERE id <> ?", "params": [1]}, "format": "csv"}
    target = f"/v1/exports/{client.post('/v1/exports', request).json()['id']}"
    assert wait_until(lambda: client.get(target).json()["status"] == "completed", 60)
    assert client.get(target).json()["rows"] == 1


def test_the_command_line_exports_a_query(database: PostgresDatabase, tmp_path: Path) -> None:
    words = ["SELECT id, tags FROM item WHERE id < :top ORDER BY 1", "-p", "top=3", "--from", database.url]
    command = [sys.executable, "-m", "fluxport", "export", *words, "--to", "-", "--format", "csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["id,tags", '1,"{""k1"": 1}"', '2,"{""k2"": 2}"'], done.stderr
