"""``import fluxport``: exports and streams in the calling program, from real databases and from Arrow data."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

import fluxport
from fault_proxy import FaultProxy
from fluxport.series import Points
from fluxport.series.embedded import EmbeddedStore
from fluxport.testing.sources import wait_until
from mysql_support import Database, scratch_database

TABLE = pa.table({"id": [1, 2, 3], "name": ["a", None, "=c"]})
HEAVY = ("pyarrow", "numpy", "fastapi", "sqlalchemy", "httpx", "pydantic", "click", "urllib3", "asyncio")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An SQLite database with a table of 1,000 rows."""
    with sqlite3.connect(tmp_path / "rows.db") as connection:
        connection.execute("CREATE TABLE t (id INTEGER, name TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(n, f"name {n}") for n in range(1000)])
    connection.close()
    return f"sqlite:///{tmp_path}/rows.db"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "out"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Database]:
    with scratch_database() as database:
        database.run("CREATE TABLE numbers (n INT, told VARCHAR(100))")
        database.run("INSERT INTO numbers SELECT seq, REPEAT('x', 100) FROM seq_1_to_50000")
        yield database


# -- the package ---------------------------------------------------------------------------------------------------


def test_importing_it_imports_nothing_heavy() -> None:
    shown = f"import sys, fluxport; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", fluxport.__all__)
def test_every_name_exists_and_has_a_docstring(name: str) -> None:
    found = getattr(fluxport, name)
    assert name in dir(fluxport)
    assert name == "__version__" or found.__module__.startswith("fluxport.")


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fluxport.nothing


def test_every_family_of_errors_is_exported() -> None:
    families: list[type[fluxport.FluxportError]] = [fluxport.FluxportError]
    for family in families:
        families += [kind for kind in family.__subclasses__() if kind.__module__ == "fluxport.errors"]
    assert {family.__name__ for family in families} <= set(fluxport.__all__)


# -- export --------------------------------------------------------------------------------------------------------


def test_a_query_becomes_a_file_that_its_result_describes(url: str, folder: Path) -> None:
    done = fluxport.export("SELECT * FROM t WHERE id < :top", source=url, to=folder / "t.csv", params={"top": 10})
    data = (folder / "t.csv").read_bytes()
    assert done.path == folder / "t.csv"
    assert (done.rows, done.bytes, done.sha256) == (10, len(data), sha256(data).hexdigest())
    assert [column.name for column in done.columns] == ["id", "name"]
    assert (done.truncated, done.warnings, done.files) == (False, (), ())
    assert len(list(csv.DictReader(io.StringIO(data.decode())))) == 10


def test_the_suffix_or_the_format_decides_the_format(url: str, folder: Path) -> None:
    fluxport.export("SELECT * FROM t", source=url, to=folder / "a.parquet")
    fluxport.export("SELECT * FROM t", source=url, to=str(folder / "b"), format="parquet")
    assert pq.read_table(folder / "a.parquet").num_rows == pq.read_table(folder / "b").num_rows == 1000
    with pytest.raises(fluxport.Refused, match="has no known suffix"):
        fluxport.export("SELECT * FROM t", source=url, to=folder / "a.xyz")


def test_a_folder_gets_the_file_by_its_template(url: str, folder: Path) -> None:
    done = fluxport.export("SELECT 1", source=url, to=folder, format="jsonl", filename="one")
    assert done.path == folder / "one.jsonl"


def test_several_files_have_a_manifest(url: str, folder: Path) -> None:
    done = fluxport.export("SELECT * FROM t", source=url, to=folder / "t.csv", options={"max_rows_per_file": 400})
    assert [file.rows for file in done.files] == [400, 400, 200]
    assert (done.rows, done.sha256) == (1000, None)
    reported = json.loads(Path(done.location).read_text())
    assert [file["sha256"] for file in reported["files"]] == [file.sha256 for file in done.files]
    for file in done.files:
        assert sha256(Path(file.location).read_bytes()).hexdigest() == file.sha256


@pytest.mark.parametrize("buffering", [-1, 0], ids=["buffered", "raw"])
def test_an_open_file_is_written_and_stays_open(url: str, folder: Path, buffering: int) -> None:
    with (folder / "t.jsonl").open("wb", buffering) as file:
        file.write(b"before\n")
        done = fluxport.export("SELECT * FROM t", source=url, to=file)
        file.write(b"after\n")
    lines = (folder / "t.jsonl").read_bytes().splitlines()
    assert (lines[0], lines[-1], len(lines)) == (b"before", b"after", 1002)
    assert json.loads(lines[1]) == {"id": 0, "name": "name 0"}
    assert (done.location, done.path) == ("-", None)


def test_a_file_open_for_text_is_refused_as_a_target(url: str) -> None:
    with pytest.raises(fluxport.Refused, match="mode 'wb'"):
        fluxport.export("SELECT 1", source=url, to=io.StringIO())  # type: ignore[arg-type]  # that is the point


def test_a_full_disk_behind_an_open_file_is_one_of_our_errors(url: str) -> None:
    with open("/dev/full", "wb", 0) as file, pytest.raises(fluxport.Unavailable, match="could not be written"):
        fluxport.export("SELECT * FROM t", source=url, to=file)


@pytest.mark.parametrize("to", ["", "ftp://host/file.csv", "http://host/file.csv"])
def test_an_invalid_target_is_refused(url: str, to: str) -> None:
    with pytest.raises(fluxport.Refused) as refused:
        fluxport.export("SELECT 1", source=url, to=to)
    assert refused.value.code == "bad_target"


def test_limits_hold_and_leave_no_file(url: str, folder: Path) -> None:
    with pytest.raises(fluxport.LimitExceeded):
        fluxport.export("SELECT * FROM t", source=url, to=folder / "t.csv", limits=fluxport.Limits(rows_max=999))
    assert list(folder.iterdir()) == []
    done = fluxport.export("SELECT * FROM t", source=url, to=folder / "t.csv", limits=fluxport.Limits(rows_max=1000))
    assert done.rows == 1000


def test_strict_leaves_no_file_where_a_value_had_to_be_changed(folder: Path) -> None:
    with pytest.raises(fluxport.WarningsFound):
        fluxport.export(source=TABLE, to=folder / "t.csv", strict=True)
    assert list(folder.iterdir()) == []
    done = fluxport.export(source=TABLE, to=folder / "t.csv")
    assert [(found.code, found.column, found.count) for found in done.warnings] == [("formula_defused", "name", 1)]


def test_the_transaction_is_read_only_and_the_guard_runs_if_requested(url: str, folder: Path) -> None:
    for guard, error in ((False, fluxport.QueryFailed), (True, fluxport.QueryRefused)):
        with pytest.raises(error):
            fluxport.export("DELETE FROM t RETURNING id", source=url, to=folder / "t.csv", guard=guard)
    done = fluxport.export("SELECT COUNT(*) AS n FROM t", source=url, to=folder / "t.csv", guard=True)
    assert (done.rows, (folder / "t.csv").read_text().split()) == (1, ["n", "1000"])


def test_the_umask_of_the_program_is_not_touched(url: str, folder: Path) -> None:
    """Files that another thread creates meanwhile get their requested mode."""
    ended = threading.Event()
    modes = set()

    def create() -> None:
        number = 0
        while not ended.is_set():
            path = folder / f"other-{number % 50}"
            path.write_bytes(b"")
            modes.add(path.stat().st_mode & 0o777)
            path.unlink()
            number += 1

    other = threading.Thread(target=create)
    other.start()
    try:
        for _ in range(20):
            fluxport.export(source=TABLE, to=folder / "t.csv")
    finally:
        ended.set()
        other.join()
    assert len(modes) == 1
    assert modes == {(folder / "t.csv").stat().st_mode & 0o777}


def test_a_connection_that_is_cut_leaves_the_older_file(mariadb: Database, folder: Path) -> None:
    (folder / "n.csv").write_text("older")
    with FaultProxy(mariadb.url, "rst", 1 << 20) as proxy, pytest.raises(fluxport.Unavailable):
        fluxport.export("SELECT * FROM numbers", source=proxy.url, to=folder / "n.csv")
    assert [path.name for path in folder.iterdir()] == ["n.csv"]
    assert (folder / "n.csv").read_text() == "older"
    assert fluxport.export("SELECT * FROM numbers", source=mariadb.url, to=folder / "n.csv").rows == 50_000


# -- Arrow data ----------------------------------------------------------------------------------------------------

SHAPES: dict[str, Any] = {
    "table": lambda: TABLE,
    "batch": lambda: TABLE.to_batches()[0],
    "reader": TABLE.to_reader,
    "iterator": lambda: iter(TABLE.to_batches(max_chunksize=2)),
    "list": lambda: TABLE.to_batches(max_chunksize=1),
    "data frame": lambda: polars.from_arrow(TABLE),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_arrow_data_of_every_shape_is_exported(shape: str, folder: Path) -> None:
    done = fluxport.export(source=SHAPES[shape](), to=folder / "t.parquet")
    assert done.rows == 3
    assert pq.read_table(folder / "t.parquet").to_pylist() == TABLE.to_pylist()


def test_a_large_batch_is_cut_and_a_limit_ends_it(folder: Path) -> None:
    table = pa.table({"text": ["x" * 1000] * 20_000})
    taken: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in table.to_batches() * 100:
                taken.append(batch.num_rows)
                yield batch
        finally:
            taken.append(-1)

    done = fluxport.export(source=batches(), to=folder / "t.csv", options={"limit": 30_000})
    assert (done.rows, done.truncated) == (30_000, True)
    assert taken[-1] == -1  # the iterator was closed
    assert len(taken) < 10


def test_errors_of_the_iterator_go_up_as_they_are(folder: Path) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield from TABLE.to_batches()
        raise ZeroDivisionError("of the program")

    with pytest.raises(ZeroDivisionError, match="of the program"):
        fluxport.export(source=batches(), to=folder / "t.csv")
    assert list(folder.iterdir()) == []


WRONG: dict[str, tuple[Any, str]] = {
    "nothing": (iter(()), "has no record batch"),
    "no rows at all": (7, "neither a URL nor Arrow data"),
    "dictionaries": (iter([{"a": 1}]), "yielded a dict"),
    "other columns": (iter([*TABLE.to_batches(), pa.record_batch({"b": [1]})]), "batch 2 has other columns"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_other_data_than_arrow_is_refused(wrong: str, folder: Path) -> None:
    source, sentence = WRONG[wrong]
    with pytest.raises(fluxport.Refused, match=sentence):
        fluxport.export(source=source, to=folder / "t.csv")
    assert list(folder.iterdir()) == []


def test_a_query_belongs_to_a_database_alone(url: str, folder: Path) -> None:
    with pytest.raises(fluxport.Refused, match="omit the query"):
        fluxport.export("SELECT 1", source=TABLE, to=folder / "t.csv")
    with pytest.raises(fluxport.Refused, match="needs a query"):
        fluxport.export(source=url, to=folder / "t.csv")


# -- stream --------------------------------------------------------------------------------------------------------


def test_a_stream_has_the_bytes_of_the_file(url: str, folder: Path) -> None:
    fluxport.export("SELECT * FROM t", source=url, to=folder / "t.csv")
    with fluxport.stream("SELECT * FROM t", source=url, filename="ß") as stream:
        before = stream.result
        data = b"".join(stream)
    done = stream.result
    assert before is None
    assert done is not None
    assert data == (folder / "t.csv").read_bytes()
    assert (done.rows, done.sha256) == (1000, sha256(data).hexdigest())
    assert (stream.media_type, stream.filename) == ("text/csv; charset=utf-8", "ß.csv")
    assert "filename*=UTF-8''%C3%9F.csv" in stream.headers["Content-Disposition"]


def test_what_the_database_refuses_is_raised_before_the_first_chunk(url: str) -> None:
    with pytest.raises(fluxport.QueryFailed):
        fluxport.stream("SELECT * FROM nothing", source=url)
    with pytest.raises(fluxport.Refused):
        fluxport.stream("SELECT 1", source=url, format="nothing")


def test_a_source_that_fails_half_way_breaks_the_stream(mariadb: Database) -> None:
    with FaultProxy(mariadb.url, "fin", 1 << 20) as proxy:
        stream = fluxport.stream("SELECT * FROM numbers", source=proxy.url)
        with pytest.raises(fluxport.Unavailable):
            list(stream)
    assert stream.result is None


ENDLESS = "SELECT a.n, a.told FROM numbers a JOIN numbers b"


def test_closing_a_stream_ends_its_query(mariadb: Database) -> None:
    stream = fluxport.stream(f"{ENDLESS} /* closed */", source=mariadb.url)
    assert next(stream)
    assert mariadb.running("closed")
    stream.close()
    stream.close()
    assert wait_until(lambda: not mariadb.running("closed"))
    assert list(stream) == []


def test_a_stream_that_is_dropped_ends_its_query(mariadb: Database) -> None:
    stream = fluxport.stream(f"{ENDLESS} /* dropped */", source=mariadb.url)
    assert mariadb.running("dropped")
    del stream
    assert wait_until(lambda: not mariadb.running("dropped"))


def test_a_task_that_is_canceled_ends_its_query(mariadb: Database) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        async def read() -> None:
            async for _ in await asyncio.to_thread(fluxport.stream, f"{ENDLESS} /* task */", source=mariadb.url):
                begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(wait_until, lambda: not mariadb.running("task"))

    asyncio.run(main())


def test_starlette_streams_it(url: str) -> None:
    def endpoint(request: Any) -> StreamingResponse:
        stream = fluxport.stream("SELECT * FROM t", source=url, format="jsonl")
        return StreamingResponse(stream, media_type=stream.media_type, headers=stream.headers)

    async def fetch() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=[Route("/", endpoint)]))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/")

    answer = asyncio.run(fetch())
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert "attachment" in answer.headers["content-disposition"]
    assert [json.loads(line)["id"] for line in answer.text.splitlines()] == list(range(1000))


def test_an_asynchronous_iterator_gives_the_same_bytes(url: str) -> None:
    async def read(stream: AsyncIterator[bytes]) -> bytes:
        return b"".join([chunk async for chunk in stream])

    data = asyncio.run(read(aiter(fluxport.stream("SELECT * FROM t", source=url))))
    assert data == b"".join(fluxport.stream("SELECT * FROM t", source=url))


# -- names of the configuration ------------------------------------------------------------------------------------


@pytest.fixture
def configured(url: str, tmp_path: Path) -> Path:
    """A configuration file with a connection, a dataset, sensors and a store."""
    database = {"url": url, "tables": ["t"]}
    dataset = {
        "connection": "shop",
        "query": "SELECT id, name, :user AS owner FROM t WHERE {filters}",
        "order": "id",
        "columns": {"id": "integer", "name": "text", "owner": "text"},
        "filters": {"id": {"type": "number_range", "min": "least", "max": "most",
                           "where_min": "id >= :least", "where_max": "id <= :most"}},
    }  # fmt: skip
    path = tmp_path / "shop.yaml"
    path.write_text(
        json.dumps(
            {
                "connections": {"shop": database},
                "datasets": {"people": dataset},
                "series": {"path": str(tmp_path / "sensors.db")},
                "stores": {"archive": {"type": "local", "path": str(tmp_path / "archive")}},
                "limits": {"rows_max": 900},
            }
        )
    )
    store = EmbeddedStore(tmp_path / "sensors.db")
    store.append([("t1", Points(np.array([1000, 2000, 3000]), np.array([1.5, 2.5, 3.5]), np.ones(3, np.uint8)))])
    store.close()
    return path


def test_a_connection_is_used_by_its_name(configured: Path, folder: Path) -> None:
    done = fluxport.export("SELECT * FROM t LIMIT 5", source="shop", to=folder / "t.csv", config=configured)
    assert done.rows == 5
    with fluxport.stream("SELECT * FROM t LIMIT 5", source="shop", config=configured) as stream:
        assert b"".join(stream) == (folder / "t.csv").read_bytes()


def test_a_connection_may_come_from_the_environment(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FLUXPORT_CONNECTIONS__ELSEWHERE__URL", url)
    assert fluxport.export("SELECT * FROM t", source="elsewhere", to="t.csv").rows == 1000


def test_the_usual_file_is_read_where_the_program_runs(
    configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured.rename(tmp_path / "fluxport.yaml")
    monkeypatch.chdir(tmp_path)
    assert fluxport.export("SELECT 1 AS n", source="shop", to="n.csv").rows == 1


def test_the_limits_of_the_configuration_hold_for_its_sources_alone(configured: Path, url: str, folder: Path) -> None:
    with pytest.raises(fluxport.LimitExceeded):
        fluxport.export("SELECT * FROM t", source="shop", to=folder / "t.csv", config=configured)
    own = fluxport.Limits(rows_max=1000)
    for source, limits in (("shop", own), (url, None)):
        done = fluxport.export("SELECT * FROM t", source=source, to=folder / "t.csv", limits=limits, config=configured)
        assert done.rows == 1000


def test_the_guard_of_a_named_connection_holds_its_tables(configured: Path, folder: Path) -> None:
    query = "SELECT name FROM sqlite_master"
    with pytest.raises(fluxport.QueryRefused):
        fluxport.export(query, source="shop", to=folder / "t.csv", guard=True, config=configured)
    assert fluxport.export(query, source="shop", to=folder / "t.csv", config=configured).rows == 1


def test_a_dataset_is_a_source_with_its_filters_and_its_user(configured: Path, folder: Path) -> None:
    source = fluxport.Dataset("people", user="ann")
    fluxport.export(source=source, params={"least": 3, "most": 4}, to=folder / "p.jsonl", config=configured)
    rows = [json.loads(line) for line in (folder / "p.jsonl").read_text().splitlines()]
    assert rows == [{"id": n, "name": f"name {n}", "owner": "ann"} for n in (3, 4)]


@pytest.mark.parametrize("sort", ["-name", ["-name"], [{"column": "name", "descending": True}]])
def test_a_dataset_is_sorted_and_paged(configured: Path, folder: Path, sort: Any) -> None:
    source = fluxport.Dataset("people", user="ann", sort=sort, limit=2, offset=1)
    named = "{dataset} of {user} from {connection} {param.least}"
    done = fluxport.export(
        source=source, params={"least": 3}, to=folder, filename=named, format="jsonl", config=configured
    )
    assert (Path(done.location).name, done.truncated) == ("people of ann from shop 3.jsonl", False)
    names = [json.loads(line)["name"] for line in Path(done.location).read_text().splitlines()]
    every = sorted((f"name {n}" for n in range(3, 1000)), reverse=True)
    assert names == every[1:3]


def test_sensors_are_a_source_with_their_range(configured: Path, folder: Path) -> None:
    source = fluxport.Sensors("t1", start=2000, end="1970-01-01T00:00:03Z")
    for form, expected in (({}, [[2000, 2.5], [3000, 3.5]]), ({"aggregate": "avg", "interval": "1h"}, [[0, 3.0]])):
        with fluxport.stream(source=source, params=form, format="jsonl", config=configured) as stream:
            lines = b"".join(stream).decode().splitlines()
        assert [list(json.loads(line).values())[:2] for line in lines] == expected


def test_a_store_is_a_target_by_its_name(configured: Path, url: str, tmp_path: Path) -> None:
    for to, name in (("store://archive/2026/t.csv.gz", "2026/t.csv.gz"), ("store://archive/2026/", "2026/all.csv")):
        done = fluxport.export("SELECT * FROM t", source=url, to=to, filename="all", config=configured)
        assert (done.rows, (tmp_path / "archive" / name).stat().st_size) == (1000, done.bytes)


UNKNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "connection": ({"query": "SELECT 1", "source": "nothing"}, "unknown_connection"),
    "dataset": ({"source": fluxport.Dataset("nothing")}, "unknown_dataset"),
    "filter": ({"source": fluxport.Dataset("people"), "params": {"nothing": 1}}, "unknown_filter"),
    "positional filters": ({"source": fluxport.Dataset("people"), "params": [1]}, "bad_source"),
    "form of sensors": ({"source": fluxport.Sensors("t1"), "params": {"nothing": 1}}, "unknown_key"),
    "store": ({"source": TABLE, "to": "store://nothing/t.csv"}, "unknown_store"),
    "key": ({"source": TABLE, "to": "store://archive/../t.csv"}, "bad_name"),
    "no key": ({"source": TABLE, "to": "store://archive"}, "bad_target"),
    "query for sensors": ({"query": "SELECT 1", "source": fluxport.Sensors("t1")}, "bad_source"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_a_name_that_the_configuration_lacks_is_refused(case: str, configured: Path, folder: Path) -> None:
    arguments, code = UNKNOWN[case]
    with pytest.raises(fluxport.Refused) as refused:
        fluxport.export(**({"to": folder / "t.csv", "config": configured} | arguments))
    assert refused.value.code == code
    assert list(folder.iterdir()) == []


def test_sensors_without_a_store_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("{}")
    with pytest.raises(fluxport.Refused) as refused:
        fluxport.export(source=fluxport.Sensors("t1"), to=folder / "t.csv", config=tmp_path / "empty.yaml")
    assert refused.value.code == "no_series"


def test_the_sensor_store_is_closed_with_the_export(configured: Path, folder: Path, tmp_path: Path) -> None:
    """SQLite removes the log beside the file when its last connection closes."""
    for to in (folder / "t.csv", folder / "missing" / "t.csv"):
        with suppress(fluxport.Refused):
            fluxport.export(source=fluxport.Sensors("t1"), to=to, config=configured)
        assert not (tmp_path / "sensors.db-wal").exists()


def test_the_command_exports_the_same_bytes(configured: Path, folder: Path) -> None:
    query = "SELECT * FROM t LIMIT 9"
    sources: dict[str, tuple[list[str], dict[str, Any]]] = {
        "connection": ([query, "--from", "shop"], {"query": query, "source": "shop"}),
        "dataset": (["--dataset", "people", "--user", "ann", "-p", "most=4"],
                    {"source": fluxport.Dataset("people", "ann"), "params": {"most": "4"}}),
        "sensors": (["--sensor", "t1", "--sensor", "t1", "--start", "2000", "-p", "layout=wide"],
                    {"source": fluxport.Sensors(["t1"], start=2000), "params": {"layout": "wide"}}),
    }  # fmt: skip
    for name, (words, arguments) in sources.items():
        command = [sys.executable, "-m", "fluxport", "export", *words, "--config", str(configured), "-q"]
        subprocess.run([*command, "--to", f"store://archive/{name}.csv"], check=True)
        fluxport.export(**arguments, to=folder / f"{name}.csv", config=configured)
        stored = configured.parent / "archive" / f"{name}.csv"
        assert stored.read_bytes() == (folder / f"{name}.csv").read_bytes()
