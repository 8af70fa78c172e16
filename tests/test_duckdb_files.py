"""What a statement may reach: nothing but the files of the connection's folder, by each layer alone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

import fluxport
from duckdb_support import CANARY, contents, make_lake, read
from fluxport.errors import FluxportError, QueryRefused, Refused
from fluxport.policy.guard import GuardPolicy, check
from fluxport.sources.duckdb.scratch import PREFIX
from fluxport.stages import Limits
from fluxport.testing.sources import wait_until
from service_support import service

POLICY = GuardPolicy(dialect="duckdb", files="folder", params=True)
# {out}: the folder around the connection's; {port}: a server that nothing may connect to.
ATTACKS = """
SELECT * FROM '{out}/secret.csv'
SELECT * FROM '../secret.csv'
SELECT * FROM 'orders/../../secret.parquet'
SELECT * FROM '{out}/lake/../secret.csv'
SELECT * FROM '/proc/self/cwd/../secret.csv'
SELECT * FROM 'linked/secret.csv'
SELECT * FROM 'linked/*.parquet'
SELECT * FROM 'link.csv'
SELECT * FROM '*.csv'
SELECT * FROM 'link.arrow'
SELECT * FROM '../secret.arrow'
SELECT * FROM '{out}/secret.arrow'
SELECT * FROM "../secret.csv"
SELECT * FROM "{out}/secret.csv"
SELECT * FROM read_csv('../secret.csv')
SELECT * FROM read_csv(['items.csv', '../secret.csv'], union_by_name = true)
SELECT * FROM read_csv(['items.csv'] || ['../secret.csv'], union_by_name = true)
SELECT * FROM read_csv(['items.csv', '../secret.csv'][2:2])
SELECT * FROM read_csv('..' || '/secret.csv')
SELECT * FROM read_csv(E'..\\x2fsecret.csv')
SELECT * FROM read_csv($$../secret.csv$$)
SELECT * FROM '../secret.csv'.read_csv()
SELECT * FROM read_parquet('{out}/secret.parquet')
SELECT * FROM parquet_scan('../*.parquet')
SELECT * FROM parquet_metadata('../secret.parquet')
SELECT * FROM parquet_schema('../secret.parquet')
SELECT * FROM sniff_csv('../secret.csv')
SELECT * FROM read_text('../secret.csv')
SELECT * FROM read_blob('../secret.csv')
SELECT * FROM read_json('../secret.csv', format = 'unstructured')
SELECT * FROM read_text('/etc/passwd')
SELECT * FROM read_text('/proc/self/environ')
SELECT * FROM read_duckdb('../secret.db')
SELECT * FROM glob('../*')
SELECT * FROM glob('/etc/*')
SELECT * FROM query('FROM ''../secret.csv''')
SELECT * FROM query_table('../secret.csv')
SELECT getenv('PATH')
SELECT * FROM 'http://127.0.0.1:{port}/x.parquet'
SELECT * FROM read_csv('http://127.0.0.1:{port}/x.csv')
SELECT * FROM read_parquet('s3://127.0.0.1:{port}/x.parquet')
SELECT * FROM 'file://{out}/secret.csv'
WITH x AS (COPY (SELECT 1 AS a) TO 'x.csv') SELECT * FROM x
WITH x AS (COPY (SELECT 1 AS a) TO '../x.csv') SELECT * FROM x
SELECT (WITH x AS (COPY (SELECT 1 AS a) TO 'x.parquet') SELECT count(*) FROM x)
WITH y AS (WITH x AS (COPY (SELECT 1) TO 'items.csv') FROM x) FROM y
COPY (SELECT 1) TO 'x.csv'
COPY (SELECT 1) TO 'items.csv'
EXPORT DATABASE 'x'
ATTACH '../secret.db' AS s
ATTACH 'x.db'
INSTALL httpfs
LOAD httpfs
LOAD './x.duckdb_extension'
SET enable_external_access = true
SET allowed_directories = ['/']
RESET lock_configuration
PRAGMA enable_profiling = 'json'
CALL enable_logging()
CREATE TABLE x (a INTEGER)
CREATE SECRET (TYPE s3)
EXPLAIN ANALYZE SELECT 1
SELECT 1; COPY (SELECT 1) TO 'x.csv'
IMPORT DATABASE 'orders'
""".strip().splitlines()
READS = """
SELECT * FROM 'items.csv' ORDER BY id
SELECT count(*) AS n FROM 'orders/**/*.parquet'
FROM 'orders/2024/a.parquet' WHERE id < 3
SELECT o.id, i.name FROM 'orders/2024/*.parquet' o JOIN 'items.csv' AS i USING (id) ORDER BY ALL
SELECT * FROM read_csv('items.csv', header = true, columns = {'a': 'INTEGER', 'b': 'VARCHAR'}, nullstr = ['item 1'])
SELECT * FROM read_parquet(['orders/2024/a.parquet', 'orders/2024/b.parquet'], filename := true) ORDER BY id
SELECT id FROM read_json('items.json', format = 'newline_delimited') WHERE id IN (SELECT id FROM 'items.csv')
WITH x AS (FROM 'file.arrow') SELECT sum(id) AS s FROM x
SELECT (SELECT max(id) FROM 'stream.arrows') AS m
""".strip().splitlines()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("duckdb")
    make_lake(folder)
    with duckdb.connect(str(folder / "own.db")) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS v")
    with duckdb.connect(str(folder / "secret.db")) as connection:
        connection.execute(f"CREATE TABLE t AS SELECT '{CANARY}' AS v")
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        yield listening


@pytest.mark.parametrize("where", ["folder", "database"])
def test_the_engine_alone_lets_no_statement_reach_more(place: Path, server: socket.socket, where: str) -> None:
    before = contents(place)
    url, files = ("duckdb:", place / "lake") if where == "folder" else (f"duckdb:{place}/own.db", None)
    for attack in ATTACKS:
        query = attack.replace("{out}", str(place)).replace("{port}", str(server.getsockname()[1]))
        try:
            found = str(read(query, url=url, files=files).to_pylist())
        except FluxportError as error:
            found = error.message
        assert not any(secret in found for secret in (CANARY, "root:", "PATH", "secret.csv")), query
        assert contents(place) == before, query
        with pytest.raises(BlockingIOError):  # nobody has connected
            server.accept()


def test_the_guard_alone_refuses_every_such_statement() -> None:
    for attack in ATTACKS:
        if "'link" not in attack and "'*." not in attack:  # only the engine knows where links lead to
            with pytest.raises(QueryRefused):
                check(attack.replace("{out}", "/data").replace("{port}", "80"), POLICY)


@pytest.mark.parametrize("query", READS)
def test_the_guard_lets_a_statement_read_files_and_its_rows_are_the_originals(place: Path, query: str) -> None:
    lake = place / "lake"
    assert read(check(query, POLICY), files=lake) == read(query, files=lake)
    with pytest.raises(QueryRefused):
        check(query, GuardPolicy(dialect="duckdb"))


def test_a_list_of_tables_is_one_of_files_too() -> None:
    policy = GuardPolicy(dialect="duckdb", files="folder", tables=frozenset({"t", "a.csv"}))
    for name in ("t", "'a.csv'", "read_csv('a.csv')", "read_parquet(['a.csv', 'a.csv'])"):
        check(f"SELECT * FROM {name}", policy)
    for name in (
        "u",
        "'u'",
        "'b.csv'",
        "'*.csv'",
        "read_csv('b.csv')",
        "read_csv(['a.csv', 'b.csv'])",
        '"a.csv"',
        "'A.csv'",
        "read_csv('A.CSV')",
    ):
        with pytest.raises(QueryRefused):
            check(f"SELECT * FROM {name}", policy)


@pytest.fixture
def configured(place: Path, tmp_path: Path) -> Path:
    dataset = {
        "connection": "lake",
        "query": {"duckdb": "SELECT id, name, :user AS owner FROM 'orders/2024/*.parquet' WHERE {filters}"},
        "order": "id",
        "columns": {"id": "integer", "name": "text", "owner": "text"},
        "filters": {"id": {"type": "number_range", "min": "least", "max": "most",
                           "where_min": "id >= :least", "where_max": "id <= :most"}},
    }  # fmt: skip
    path = tmp_path / "fluxport.yaml"
    connections = {"lake": {"url": "duckdb:", "files": {"path": str(place / "lake")}}, "own": {"url": "duckdb:own.db"}}
    path.write_text(json.dumps({"connections": connections, "datasets": {"items": dataset}}))
    return path


def test_a_connection_of_the_configuration_reads_its_folder(configured: Path, tmp_path: Path) -> None:
    query, to = "SELECT id FROM 'orders/2024/*.parquet' WHERE id > :id", tmp_path / "t.csv"
    for guard in (True, False):
        done = fluxport.export(query, source="lake", to=to, params={"id": 9}, config=configured, guard=guard)
        assert done.rows == 5
    # Without a deadline too, it runs in a process whose folder that is.
    assert fluxport.export(query, source="lake", to=to, params={"id": 9}, config=configured, limits=Limits()).rows == 5
    for guard in (True, False):
        with pytest.raises(Refused):
            fluxport.export("SELECT * FROM '../secret.csv'", source="lake", to=to, config=configured, guard=guard)


def test_a_dataset_reads_files(configured: Path, tmp_path: Path) -> None:
    source = fluxport.Dataset("items", "ann")
    to = tmp_path / "t.csv"
    fluxport.export(source=source, to=to, params={"least": 9, "most": 10}, config=configured)
    assert to.read_text() == "id,name,owner\n9,item 9,ann\n10,item 10,ann\n"


def test_the_service_reads_the_folder_for_callers(place: Path, tmp_path: Path) -> None:
    with service(tmp_path, "duckdb:", FLUXPORT_CONNECTIONS__MAIN__FILES__PATH=str(place / "lake")) as client:

        def streamed(query: str) -> Any:
            return client.post("/v1/stream", {"source": {"query": query}, "format": "csv"})

        assert streamed("SELECT id FROM 'orders/2024/*.parquet' WHERE id > 12").text == "id\n13\n14\n"
        for query in ("FROM '../secret.csv'", "FROM 'link.csv'", "COPY (SELECT 1) TO 'x.csv'", "FROM 'nothing.csv'"):
            answer = streamed(query)
            assert (answer.status_code, CANARY in answer.text) == (400, False)
        assert client.post("/v1/preview", {"source": {"query": "FROM 'items.csv'"}}).json()["rows"][1]["id"] == 1


@pytest.mark.parametrize(
    ("connection", "reason"),
    [
        ({"url": "sqlite:///t.db", "files": {"path": "."}}, "reads no files"),
        ({"url": "duckdb:", "files": {"path": "/nowhere"}}, "not a folder"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_before_any_work(
    tmp_path: Path, connection: dict[str, object], reason: str
) -> None:
    path = tmp_path / "fluxport.yaml"
    path.write_text(json.dumps({"connections": {"lake": connection}}))
    with pytest.raises(Refused, match=reason) as caught:
        fluxport.export("SELECT 1", source="lake", to=tmp_path / "t.csv", config=path)
    assert caught.value.code == "bad_configuration"


def test_the_program_of_the_operator_reads_any_file_and_statements_of_others_none(place: Path, tmp_path: Path) -> None:
    query, to = f"SELECT * FROM '{place}/secret.csv'", tmp_path / "t.csv"
    assert fluxport.export(query, source="duckdb:", to=to).rows == 1
    with pytest.raises(QueryRefused):
        fluxport.export(query, source="duckdb:", to=to, guard=True)


def test_the_command_line_reads_any_file_and_checks_the_statement(place: Path, tmp_path: Path) -> None:
    def ran(query: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fluxport", "export", query, "--from", "duckdb:", "--to", "-", "-q", *more]
        return subprocess.run(command, cwd=place / "lake", capture_output=True, text=True, timeout=60, check=False)

    done = ran("SELECT id FROM '../lake/orders/2024/*.parquet' WHERE id >= :least", "-p", "least=13")
    assert (done.stdout, done.returncode) == ("id\n13\n14\n", 0)
    assert ran(f"FROM '{place}/secret.csv'").stdout == f"v\n{CANARY}\n"
    before = contents(place)
    for query in ("COPY (SELECT 1) TO 'x.csv'", "WITH x AS (COPY (SELECT 1) TO 'x.csv') FROM x"):
        for more in ((), ("--no-guard",)):
            assert ran(query, *more).returncode == 2
    assert contents(place) == before


def cpu_s(pid: int) -> float:
    """The processor time of a process."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def test_a_signal_ends_the_command_and_leaves_nothing(tmp_path: Path) -> None:
    query = "SELECT count(*) AS n FROM range(9999999) a, range(9999999) b WHERE hash(a.range) = b.range"
    command = [sys.executable, "-m", "fluxport", "export", query, "--from", "duckdb:", "--to", "t.csv", "--no-guard"]
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert wait_until(lambda: any(tmp_path.glob(f"{PREFIX}*")))  # DuckDB starts
        used = cpu_s(process.pid)
        assert wait_until(lambda: cpu_s(process.pid) > used + 0.5)  # the statement runs
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert (process.returncode, "interrupted" in said, list(tmp_path.iterdir())) == (1, True, [])


def test_many_statements_on_one_file_at_once(place: Path) -> None:
    sources = [fluxport.stream("SELECT v FROM t", source=f"duckdb:{place}/own.db") for _ in range(4)]
    for source in sources:
        with closing(source):
            assert b"".join(source) == b"v\n1\n"
