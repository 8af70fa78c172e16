"""``fluxport export --dry-run`` shows what an export would do; it reads no row and writes nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from fluxport.api import Configured
from fluxport.cli import root
from fluxport.cli.dryrun import _database
from fluxport.errors import QueryFailed, QueryRefused, Refused
from fluxport.findings import Findings
from fluxport.formats import encoder, options
from mysql_support import Database, scratch_database
from postgres_support import scratch_postgres


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with scratch_database() as made:
        made.run("CREATE TABLE t (id BIGINT, price DECIMAL(10,2), note TEXT, day DATE)")
        made.run("INSERT INTO t SELECT seq, 1, 'x', '2024-01-01' FROM seq_1_to_1000")
        made.run("ANALYZE TABLE t")
        yield made


def run(*words: str) -> Result:
    return CliRunner().invoke(root, ["export", *words, "--dry-run"])


def plan(*words: str) -> dict[str, Any]:
    result = run(*words, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    shown: dict[str, Any] = json.loads(result.stdout)
    return shown


def test_the_plan_has_the_guarded_statement_columns_rows_and_target(database: Database, tmp_path: Path) -> None:
    shown = plan("SELECT id, price FROM t", "--from", database.url, "--to", str(tmp_path / "a.json"))
    assert shown["statement"] == "SELECT `id`, `price` FROM `t`"
    assert shown["columns"] == [
        {"name": "id", "type": "bigint", "stored": "number"},
        {"name": "price", "type": "decimal(10,2)", "stored": "number"},
    ]
    assert 500 <= shown["rows"] <= 2000
    assert not shown["counted"]
    assert shown["target"] == str(tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_count_is_exact_and_a_limit_bounds_it(database: Database) -> None:
    words = ("SELECT id FROM t WHERE id > :x", "-p", "x=0", "--from", database.url, "--to", "-", "--count")
    assert plan(*words)["rows"] == 1000
    limited = plan(*words, "-o", "limit=7")
    assert (limited["rows"], limited["counted"]) == (7, True)


def test_no_row_of_the_statement_is_made(database: Database) -> None:
    words = ("SELECT SLEEP(1000) AS s FROM t ORDER BY 1", "--no-guard", "--from", database.url, "--to", "-")
    assert plan(*words, "--timeout", "30")["columns"][0]["name"] == "s"


def test_the_source_is_shown_without_its_secrets(database: Database, tmp_path: Path) -> None:
    account = f"{database.name}_secret"
    database.run(f"CREATE USER '{account}'@'%' IDENTIFIED BY 's3cret/%'")
    database.run(f"GRANT SELECT ON {database.name}.* TO '{account}'@'%'")
    try:
        host = database.url.rsplit("@", 1)[1]
        for url in (f"mysql://{account}:s3cret%2F%25@{host}?ssl-mode=disabled",):
            text = run("SELECT id FROM t", "--from", url, "--to", "-").output
            assert "3cret" not in text
            assert account not in text
            assert host in text
            config = tmp_path / "c.yaml"
            config.write_text(f"connections: {{shop: {{url: '{url}'}}}}")
            named = plan("SELECT id FROM t", "--from", "shop", "--config", str(config), "--to", "-")
            assert named["source"] == "the connection 'shop' (MySQL and MariaDB)"
    finally:
        database.run(f"DROP USER '{account}'@'%'")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:sec#ret@db.example.com/shop", "PostgreSQL"),
        ("postgresql://ann:sec?ret@db.example.com/shop", "PostgreSQL"),
        ("postgresql://ann:a[b@db.example.com/shop", "postgresql://db.example.com/shop (PostgreSQL)"),
        ("mysql://ann:sec@ret@h:1/d?ssh=bob@gate&ssh-password=s@cret", "mysql://h:1/d (MySQL and MariaDB)"),
        ("mysql://ann:secret@h/d?ssl-ca=a@b", "MySQL and MariaDB"),
        ("ann:secret@tcp(h:1)/d", "MySQL and MariaDB"),
        ("odbc:Driver=x;PWD=secret://a", "ODBC"),
        ("duckdb:///a/b.db", "duckdb:///a/b.db (DuckDB, and files of rows)"),
    ],
)
def test_a_url_is_shown_without_what_may_be_of_a_password(url: str, shown: str) -> None:
    assert _database(url, Configured()) == shown


def test_what_a_workbook_cannot_hold_is_foreseen(database: Database, tmp_path: Path) -> None:
    many = "SELECT seq, note FROM seq_1_to_1500000, t"
    target = str(tmp_path / "a.xlsx")
    possible = plan(many, "--no-guard", "--from", database.url, "--to", target)["possible_warnings"]
    assert {(warning["code"], *warning["columns"]) for warning in possible} == {
        ("cell_cut", "note"),
        ("number_as_text", "seq"),
        ("rows_on_new_sheet",),
    }


def test_what_an_export_refuses_a_dry_run_refuses(database: Database, tmp_path: Path) -> None:
    assert isinstance(run("DELETE FROM t", "--from", database.url, "--to", "-").exception, QueryRefused)
    gone = run("SELECT 1 AS a", "--from", database.url, "--to", str(tmp_path / "gone" / "a.csv"))
    assert isinstance(gone.exception, Refused)
    failed = run("SELECT nothing FROM t", "--from", database.url, "--to", "-").exception
    assert isinstance(failed, QueryFailed)


def test_postgresql_is_described_without_an_estimate() -> None:
    with scratch_postgres() as database:
        shown = plan("SELECT 1 AS n, now() AS at", "--no-guard", "--from", database.url, "--to", "-")
    assert [column["name"] for column in shown["columns"]] == ["n", "at"]


SCHEMA = pa.schema({
    "big": pa.uint64(),
    "exact": pa.decimal128(20, 2),
    "wide": pa.decimal256(60, 2),
    "real": pa.float64(),
    "text": pa.string(),
    "at": pa.timestamp("us", "UTC"),
    "clock": pa.time64("us"),
    "span": pa.duration("us"),
    "truth": pa.bool_(),
    "list": pa.list_(pa.int32()),
})  # fmt: skip


def empty_file(name: str) -> tuple[list[str], bytes]:
    made = encoder(name, options(name, {}), Findings())
    described = [stored.kind for stored in made.stored(SCHEMA)]  # type: ignore[attr-defined]  # of formats with columns
    none: list[pa.RecordBatch] = []
    return described, b"".join(bytes(chunk) for chunk in made.encode(SCHEMA, (batch for batch in none)))


@pytest.mark.parametrize("name", ["parquet", "orc", "arrow"])
def test_the_described_types_are_those_that_a_reader_finds(name: str) -> None:
    described, data = empty_file(name)
    if name == "parquet":
        found = pa.parquet.read_schema(io.BytesIO(data))
    elif name == "orc":
        found = pa.orc.ORCFile(io.BytesIO(data)).schema
    else:
        found = pa.ipc.open_stream(data).schema
    types = [str(kind).replace("element:", "item:") for kind in found.types]
    same = {"timestamp[us, tz=UTC]": "timestamp[ns, tz=UTC]"} if name == "orc" else {}
    assert [same.get(kind, kind) for kind in described] == [same.get(kind, kind) for kind in types]


def test_cells_of_text_formats_are_described_for_every_type() -> None:
    assert empty_file("xlsx")[0] == [
        "number", "number", "number", "number", "text", "date and time", "time", "time", "boolean", "text"
    ]  # fmt: skip
    assert empty_file("json")[0] == [
        "number", "number", "number", "number", "string", "string", "string", "string", "boolean", "array"
    ]  # fmt: skip
