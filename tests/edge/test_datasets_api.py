"""Datasets in the native API and on the command line: their descriptions, previews, and the owner's rows."""

from __future__ import annotations

import csv
import getpass
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest

from fluxport.auth.keys import Keys
from fluxport.formats import FORMATS
from fluxport.samples import create_sample
from fluxport.tables import connect
from journal_service import calling_as, journal_service
from service_support import Client

TRADES = 300
PNL = {
    "title": "Profit",
    "connection": "journal",
    "query": "SELECT id, status, quantity_e4 AS quantity FROM trades WHERE user_id = :user AND {filters}",
    "order": "id",
    "columns": {
        "id": {"type": "text", "label": "Trade", "width": 21},
        "status": "text",
        "quantity": {"type": "decimal(18,4)", "stored": "minor_units", "format": "0.00"},
    },
    "filters": {
        "status": {"type": "one_of", "values": ["OPEN", "CLOSED"], "where": "status = :status"},
        "trade": {"type": "text", "column": "id"},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture(scope="module")
def ann(folder: Path) -> Iterator[Client]:
    with journal_service(folder, TRADES, datasets={"labelled": PNL}) as running:
        yield running


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def test_datasets_are_listed_with_the_types_of_columns_and_filters_and_no_sql(ann: Client) -> None:
    answer = ann.get("/v1/datasets")
    assert [d["name"] for d in answer.json()["data"]] == ["trades", "goals", "dailyPnl", "tagPerformance", "labelled"]
    assert "SELECT" not in answer.text
    one = ann.get("/v1/datasets/trades").json()
    assert one == answer.json()["data"][0]
    assert {c["name"]: c["type"] for c in one["columns"]}["entryPrice"] == "decimal(18,4)"
    assert {f["name"]: f["type"] for f in one["filters"]}["entry"] == "date_range"
    assert {f["name"]: f["operators"] for f in one["filters"]}["status"] == ["not"]
    assert one["paging"]
    assert all(column["sortable"] for column in one["columns"])


def test_a_dataset_is_hidden_from_callers_who_may_not_export_it(ann: Client) -> None:
    eve = calling_as(ann, "eve")
    assert eve.get("/v1/datasets").json() == {"data": []}
    assert problem(eve.get("/v1/datasets/trades")) == problem(ann.get("/v1/datasets/none")) == (404, "no_such_dataset")
    for route in ("/v1/exports", "/v1/stream", "/v1/preview"):
        assert problem(eve.post(route, {"source": {"dataset": "trades"}})) == (403, "missing_scope")


def test_an_export_of_a_dataset_is_stored_and_its_source_is_recorded(ann: Client) -> None:
    source = {"dataset": "trades", "params": {"status": "CLOSED"}}
    job = ann.post("/v1/exports", {"source": source, "format": "json"}).json()
    while job["status"] in ("queued", "running"):
        time.sleep(0.02)
        job = ann.get(f"/v1/exports/{job['id']}").json()
    assert (job["status"], job["source"]) == ("completed", source)
    rows = ann.plain_get(job["download"]["url"]).json()
    assert {row["status"] for row in rows} == {"CLOSED"}
    assert {c["name"]: c["type"] for c in job["columns"]}["realizedPnl"] == "decimal(24,8)"


def test_a_grid_exports_the_page_that_it_shows(ann: Client) -> None:
    """Sorted, filtered and cut as chosen, by every way to the rows; such a file is complete, so it is not truncated."""
    source: dict[str, Any] = {"dataset": "trades", "params": {"status.not": "OPEN"}}
    every = ann.post("/v1/stream", {"source": source, "format": "json"}).json()
    assert {row["status"] for row in every} == {"CLOSED", "CANCELLED"}
    every.sort(key=lambda row: (row["exitAt"] is not None, row["exitAt"] or "", row["direction"]), reverse=True)
    sort = [{"column": "exitAt", "descending": True}, "-direction"]
    source |= {"sort": sort, "limit": 100, "offset": len(every) - 90}
    shown = [row["id"] for row in every[-90:]]
    assert None in {row["exitAt"] for row in every[-90:]}

    def ids(rows: Any) -> list[str]:
        return [row["id"] for row in rows]

    # Rows without exitAt are in the dataset's own order within each direction, as in the whole file.
    assert ids(ann.post("/v1/stream", {"source": source, "format": "json"}).json()) == shown
    preview = ann.post("/v1/preview", {"source": source}).json()
    assert (ids(preview["rows"]), preview["truncated"]) == (shown[:50], True)
    body = {"source": source, "format": "json", "filename": "{dataset} of {user} by {param.status.not}", "count": True}
    job = ann.post("/v1/exports", body).json()
    while job["status"] in ("queued", "running"):
        time.sleep(0.02)
        job = ann.get(f"/v1/exports/{job['id']}").json()
    assert (job["status"], job["source"], job["rows"], job["rows_total"]) == ("completed", source, 90, 90)
    assert (job["files"][0]["name"], job["truncated"]) == ("trades of ann by OPEN.json", False)
    assert ids(ann.plain_get(job["download"]["url"]).json()) == shown


def test_a_stream_has_the_rows_of_its_caller(ann: Client) -> None:
    body = {"source": {"dataset": "trades"}, "options": {"columns": "id"}}
    mine, theirs = (
        set(caller.post("/v1/stream", body).text.splitlines()[1:]) for caller in (ann, calling_as(ann, "bob"))
    )
    assert len(mine) == len(theirs) == TRADES
    assert not mine & theirs


def test_labels_widths_and_formats_are_the_declared_ones_where_the_caller_chooses_none(ann: Client) -> None:
    def sheet(columns: Any) -> Any:
        body = {"source": {"dataset": "labelled"}, "format": "xlsx", "options": {"columns": columns} if columns else {}}
        return openpyxl.load_workbook(io.BytesIO(ann.post("/v1/stream", body).content)).worksheets[0]

    whole = sheet(None)
    assert [cell.value for cell in whole[1]] == ["Trade", "status", "quantity"]
    assert whole["C2"].number_format == "0.00"
    assert whole.column_dimensions["A"].width == pytest.approx(21, abs=1)
    chosen = sheet([{"name": "quantity", "label": "Qty", "format": "0.0000"}, "id"])
    assert [cell.value for cell in chosen[1]] == ["Qty", "Trade"]
    assert chosen["A2"].number_format == "0.0000"


@pytest.mark.parametrize(
    ("source", "options", "code"),
    [
        ({"dataset": "trade"}, {}, "unknown_dataset"),
        ({"dataset": "trades", "query": "SELECT 1"}, {}, "bad_source"),
        ({}, {}, "bad_source"),
        ({"dataset": 7}, {}, "bad_body"),
        ({"dataset": "trades", "connection": "journal"}, {}, "unknown_key"),
        ({"dataset": "trades", "params": ["OPEN"]}, {}, "bad_body"),
        ({"dataset": "trades", "params": {"status": "WON"}}, {}, "bad_filter"),
        ({"dataset": "trades", "params": {"user": "bob"}}, {}, "unknown_filter"),
        ({"dataset": "trades", "params": {"status.not": "WON"}}, {}, "bad_filter"),
        ({"dataset": "trades", "params": {"status.contains": "O"}}, {}, "unknown_filter"),
        ({"dataset": "labelled", "params": {"trade.is_empty": "maybe"}}, {}, "bad_filter"),
        ({"dataset": "trades", "sort": "profit"}, {}, "unknown_column"),
        ({"dataset": "trades", "sort": "t.id"}, {}, "unknown_column"),
        ({"dataset": "trades", "sort": "id; DROP TABLE trades"}, {}, "unknown_column"),
        ({"dataset": "trades", "sort": [{"name": "id"}]}, {}, "bad_sort"),
        ({"dataset": "trades", "offset": 5}, {}, "bad_page"),
        ({"dataset": "trades", "limit": 0}, {}, "bad_page"),
        ({"dataset": "trades", "limit": 5, "params": {"limit": 5}}, {}, "bad_page"),
        ({"query": "SELECT 1", "connection": "journal", "limit": 5}, {}, "unknown_key"),
        ({"dataset": "trades"}, {"columns": "id,profit"}, "unknown_column"),
    ],
)
@pytest.mark.parametrize("route", ["/v1/exports", "/v1/stream", "/v1/preview"])
def test_what_a_dataset_does_not_take_is_refused_before_anything_runs(
    ann: Client, route: str, source: Any, options: Any, code: str
) -> None:
    assert problem(ann.post(route, {"source": source, "options": options})) == (400, code)


def test_the_connections_that_a_caller_may_query_are_listed(ann: Client, folder: Path) -> None:
    def names(client: Client) -> Any:
        return client.get("/v1/connections").json()

    assert names(ann) == {"data": [{"name": "journal", "kind": "sqlite"}]}
    assert names(calling_as(ann, "eve")) == names(ann), "her scope is sql:journal"
    engine = connect(f"sqlite:///{folder}/fluxport.db")
    token = Keys(engine).create("narrow", "ann", ("dataset:trades", "sql:other"), expires_s=None)[1]
    engine.dispose()
    answer = httpx.get(f"{ann.base}/v1/connections", headers={"Authorization": f"Bearer {token}"})
    assert answer.json() == {"data": []}


def test_the_formats_are_those_of_the_table_with_their_options(ann: Client) -> None:
    found = ann.get("/v1/formats").json()
    assert [(entry["name"], entry["label"]) for entry in found["data"]] == [(n, e.label) for n, e in FORMATS.items()]
    assert [entry["name"] for entry in found["compressions"]] == ["none", "gzip", "zstd", "zip"]
    described = ann.get("/v1/formats/NDJSON").json()
    assert described["name"] == "jsonl"
    assert described["options"]["int64_as_string"] == {
        "type": "boolean",
        "default": False,
        "description": "64-bit integers as strings, for readers that parse numbers as doubles",
    }
    assert described["options"]["binary"]["enum"] == ["hex", "base64", None]
    assert described["options"]["limit"]["type"] == ["integer", "null"]
    assert problem(ann.get("/v1/formats/pdf")) == (404, "no_such_format")


def test_a_preview_is_the_first_fifty_rows_with_the_requested_columns(ann: Client) -> None:
    body = {
        "source": {"dataset": "trades"},
        "format": "xlsx",
        "compression": "gzip",
        "options": {"columns": ["id", {"name": "quantity", "label": "Quantity"}], "profile": None},
    }
    shown = ann.post("/v1/preview", body).json()
    assert [c["name"] for c in shown["columns"]] == ["id", "Quantity"]
    assert (len(shown["rows"]), shown["truncated"]) == (50, True)
    whole = ann.post("/v1/stream", {"source": {"dataset": "trades"}, "format": "json"}).json()
    assert [row["id"] for row in shown["rows"]] == [row["id"] for row in whole[:50]]


def test_a_preview_has_keys_for_columns_without_a_unique_name(ann: Client) -> None:
    query = 'SELECT id AS a, id AS a, id AS "2" FROM trades'
    shown = ann.post("/v1/preview", {"source": {"query": query, "connection": "journal"}}).json()
    assert [(c["name"], c["key"]) for c in shown["columns"]] == [("a", "a"), ("a", "a_1"), ("2", "2")]
    assert {c["key"] for c in shown["columns"]} == set(shown["rows"][0])


def test_a_preview_of_few_rows_is_whole_and_one_of_none_is_empty(ann: Client) -> None:
    few = ann.post("/v1/preview", {"source": {"dataset": "trades", "params": {"limit": 3}}}).json()
    none = ann.post("/v1/preview", {"source": {"dataset": "trades", "params": {"dateTo": "1999-12-31"}}}).json()
    limited = ann.post("/v1/preview", {"source": {"dataset": "trades"}, "options": {"limit": 2}}).json()
    assert (len(few["rows"]), few["truncated"]) == (3, False)
    assert (none["rows"], none["truncated"]) == ([], False)
    assert (len(limited["rows"]), limited["truncated"]) == (2, True)


def test_a_preview_leaves_no_export_behind(ann: Client) -> None:
    before = ann.get("/v1/exports?limit=1").json()["data"]
    ann.post("/v1/preview", {"source": {"dataset": "goals"}})
    assert ann.get("/v1/exports?limit=1").json()["data"] == before


def test_a_dataset_without_sql_for_its_connection_is_reported_at_the_start(tmp_path: Path) -> None:
    sentence = "Dataset 'lost' has SQL for postgresq, but its connection 'journal' needs sqlite."
    with pytest.raises(AssertionError, match=sentence):
        with journal_service(tmp_path, 1, datasets={"lost": PNL | {"query": {"postgresq": PNL["query"]}}}):
            pass


def test_a_dataset_on_an_unknown_connection_is_reported_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="reads the connection 'elsewhere'"):
        with journal_service(tmp_path, 1, datasets={"lost": PNL | {"connection": "elsewhere"}}):
            pass


def fluxport(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fluxport", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def shell(tmp_path: Path) -> Path:
    """A folder with a configuration and a journal of the user who runs the tests, and of ``bob``."""
    create_sample(tmp_path / "journal.db", 40, (getpass.getuser(), "bob"))
    (tmp_path / "fluxport.yaml").write_text(
        json.dumps({"connections": {"journal": {"url": "sqlite:///journal.db"}}, "sample": "journal"})
    )
    return tmp_path


def test_the_command_line_exports_a_dataset_with_filters_for_a_user(shell: Path) -> None:
    words = ["export", "--dataset", "trades", "--param", "limit=5", "--columns", "id,status", "--to", "-"]
    mine = fluxport(*words, cwd=shell)
    theirs = fluxport(*words, "--from", "journal", "--user", "bob", cwd=shell)
    for done in (mine, theirs):
        assert done.returncode == 0, done.stderr
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert [list(row) for row in rows] == [["id", "status"]] * 5
    assert mine.stdout != theirs.stdout


def test_the_command_line_exports_a_page_under_a_name_of_its_fields(shell: Path) -> None:
    (shell / "out").mkdir()
    words = [
        "export",
        "--dataset",
        "trades",
        "--columns",
        "id",
        "--sort",
        "-entryAt,id",
        "--user",
        "bob",
        "--to",
        "out",
    ]
    name = "{connection} {dataset} {user} {param.direction}"
    for page in (["--limit", "3"], ["--limit", "2", "--offset", "1"]):
        done = fluxport(*words, "--param", "direction=LONG", "--filename", f"{name} {len(page)}", *page, cwd=shell)
        assert done.returncode == 0, done.stderr
    whole, second = ((shell / "out" / f"journal trades bob LONG {n}.csv").read_text().splitlines() for n in (2, 4))
    assert len(whole) == 4
    assert second == [whole[0], *whole[2:]]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["SELECT 1", "--from", "journal", "--sort", "id"], "--sort, --limit and --offset are for --dataset"),
        (["SELECT 1", "--from", "journal", "--filename", "{user}"], "{user}, for which this export has no value"),
        (["--dataset", "trades", "--filename", "{param.status}"], "{param.status}, for which this export has no value"),
        (
            ["--dataset", "trades", "--sort", "exit"],
            "Unknown column 'exit' of dataset 'trades'; did you mean 'exitAt'?",
        ),
        (["--dataset", "trades", "--offset", "9"], "'offset' needs 'limit'"),
        (["SELECT 1", "--dataset", "trades"], "one of QUERY, --dataset NAME or --sensor ID"),
        ([], "one of QUERY, --dataset NAME or --sensor ID"),
        (["SELECT 1"], "--from"),
        (["--dataset", "trade"], "Unknown dataset 'trade'; the configuration has: dailyPnl, goals"),
        (["--dataset", "trades", "--param", "status=WON"], "takes one of OPEN, CLOSED, CANCELLED"),
    ],
)
def test_the_command_line_reports_what_is_wrong_with_a_dataset(shell: Path, words: list[str], sentence: str) -> None:
    done = fluxport("export", *words, "--to", "out.csv", cwd=shell)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert not (shell / "out.csv").exists()
