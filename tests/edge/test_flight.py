"""Arrow Flight by pyarrow's client: rows of queries and datasets, and pushed batches."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

import wide_support
from fault_proxy import FaultProxy
from fluxport.auth.keys import Keys
from fluxport.flight.server import FlightOptions
from fluxport.samples import create_sample
from fluxport.tables import connect, exports, reading
from grpc_support import new_key
from mysql_support import wait_until
from service_support import Client, emulator, service

ROWS = 20_000
QUERY = "SELECT id, name, score FROM users ORDER BY id"
TABLE = pa.table({"id": pa.array(range(5_000), pa.int64()), "name": [f"name {i}" for i in range(5_000)]})


@dataclass
class Place:
    """A running service's Flight server, and its HTTP."""

    http: Client
    location: str
    folder: Path

    def client(self) -> fl.FlightClient:
        return fl.connect(self.location)

    def options(self, key: str) -> fl.FlightCallOptions:
        return fl.FlightCallOptions(timeout=60, headers=[(b"authorization", f"Bearer {key}".encode())])

    def files(self) -> list[Path]:
        return sorted(path for path in (self.folder / "exports").rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("flight")
    create_sample(folder / "journal.db", 500, ("shop",))
    journal = {"connections": {"journal": {"url": f"sqlite:///{folder / 'journal.db'}"}}, "sample": "journal"}
    (folder / "fluxport.yaml").write_text(json.dumps(journal))
    with emulator(folder, ROWS) as url, service(folder, url, FLUXPORT_FLIGHT__PORT="0") as client:
        log = next(folder.glob("serve-*.log")).read_text()
        found = re.search(r"Arrow Flight at (\S+)", log)
        assert found
        yield Place(client, f"grpc://{found[1]}", folder)


@pytest.fixture(scope="module")
def key(place: Place) -> str:
    return new_key(place.folder, "everything", "push", "sql:main", "dataset:trades", user="shop")


def ticket(query: str = QUERY, **more: Any) -> fl.Ticket:
    return fl.Ticket(json.dumps({"source": {"query": query}} | more).encode())


def command(**given: Any) -> fl.FlightDescriptor:
    return fl.FlightDescriptor.for_command(json.dumps(given).encode())


def put(place: Place, key: str, table: pa.Table, per_batch: int = 1_000, /, **given: Any) -> dict[str, Any]:
    with place.client() as client:
        writer, metadata = client.do_put(command(**given), table.schema, place.options(key))
        with writer:
            writer.write_table(table, per_batch)
            writer.done_writing()
            reported = []
            while (buffer := metadata.read()) is not None:
                reported.append(json.loads(buffer.to_pybytes()))
    assert [answer["status"] for answer in reported][-1] == "completed"
    last: dict[str, Any] = reported[-1]
    return last


def test_a_query_comes_as_record_batches(place: Place, key: str) -> None:
    with place.client() as client:
        table = client.do_get(ticket(), place.options(key)).read_all()
    assert (table.num_rows, table.column_names) == (ROWS, ["id", "name", "score"])
    assert pa.types.is_integer(table.schema.field("id").type)
    assert pa.types.is_floating(table.schema.field("score").type)


def test_an_error_is_a_code_and_a_sentence_and_no_stack(place: Place, key: str) -> None:
    """For every call of the protocol, implemented or not."""
    command = fl.FlightDescriptor.for_command(b"{}")
    failing = fl.FlightDescriptor.for_command(ticket("SELECT nothing FROM users").ticket)
    calls: list[tuple[str, Callable[[fl.FlightClient, fl.FlightCallOptions], Any]]] = [
        ("bad_json", lambda client, options: client.do_get(fl.Ticket(b"{"), options).read_all()),
        ("bad_source", lambda client, options: client.do_get(fl.Ticket(b"{}"), options).read_all()),
        (
            "unknown_column",
            lambda client, options: client.do_get(ticket("SELECT nothing FROM users"), options).read_all(),
        ),
        ("unknown_column", lambda client, options: client.get_flight_info(failing, options)),
        ("bad_body", lambda client, options: client.get_flight_info(fl.FlightDescriptor.for_path("a"), options)),
        ("not_served", lambda client, options: client.get_schema(command, options)),
        ("not_served", lambda client, options: list(client.list_flights(b"", options))),
        ("not_served", lambda client, options: list(client.do_action(fl.Action("a", b""), options))),
        ("not_served", lambda client, options: list(client.list_actions(options))),
    ]
    with place.client() as client:
        for code, call in calls:
            with pytest.raises((fl.FlightServerError, OSError)) as raised:
                call(client, place.options(key))
            said = str(raised.value)
            if isinstance(raised.value, OSError):  # what pyarrow makes of any error of GetSchema
                assert "This call is not supported" in said
            else:
                failure = json.loads(raised.value.extra_info)
                assert (failure["code"], failure["retryable"]) == (code, False)
                assert failure["message"] in said
            assert "Traceback" not in said
            assert ".py" not in said
        with pytest.raises(fl.FlightUnauthenticatedError) as refused:
            list(client.list_flights(b"", place.options("fxp_no")))
    assert json.loads(refused.value.extra_info)["code"] == "unauthorized"


def test_a_dataset_comes_as_the_callers_own_rows(place: Place, key: str) -> None:
    request = {"source": {"dataset": "trades", "params": {"status": "CLOSED"}}}
    with place.client() as client:
        table = client.do_get(fl.Ticket(json.dumps(request).encode()), place.options(key)).read_all()
    assert 0 < table.num_rows < 500
    assert set(table["status"].to_pylist()) == {"CLOSED"}


def test_flight_info_has_the_columns_and_the_ticket(place: Place, key: str) -> None:
    descriptor = fl.FlightDescriptor.for_command(ticket(options={"columns": ["score"]}).ticket)
    with place.client() as client:
        info = client.get_flight_info(descriptor, place.options(key))
        table = client.do_get(info.endpoints[0].ticket, place.options(key)).read_all()
    assert info.schema.names == table.column_names == ["score"]
    assert table.num_rows == ROWS


def test_record_batches_become_a_stored_file(place: Place, key: str) -> None:
    reported = put(place, key, TABLE, request_id="flight-1", format="parquet", filename="orders", expected_rows=5_000)
    content = httpx.get(reported["url"]).raise_for_status().content
    assert pq.read_table(pa.BufferReader(content)).cast(TABLE.schema).equals(TABLE)
    assert (reported["rows"], reported["bytes"]) == (5_000, len(content))
    again = put(place, key, TABLE, request_id="flight-1", format="parquet", filename="orders", expected_rows=5_000)
    assert again["task_id"] == reported["task_id"]


@pytest.mark.parametrize("per_batch", [1, 7, 40])
def test_a_thousand_columns_are_stored_as_they_were_sent(place: Place, key: str, per_batch: int) -> None:
    """However the rows were cut into batches."""
    sent = wide_support.table(40)
    reported = put(place, key, sent, per_batch, request_id=f"wide-{per_batch}", format="parquet")
    content = httpx.get(reported["url"]).raise_for_status().content
    assert pq.read_table(pa.BufferReader(content)).cast(sent.schema).equals(sent)


def test_a_query_of_a_thousand_columns_comes_with_every_value(place: Place, key: str) -> None:
    """In several batches; a caller's statement has at most 5,000 words and signs."""
    names = ("id", "name", "email", "created_at", "score")
    columns = ", ".join(f"{names[k % 5]} c{k}" for k in range(1000))
    with place.client() as client:
        query = f"SELECT {columns} FROM users WHERE id <= 600 ORDER BY id"
        batches = [chunk.data for chunk in client.do_get(ticket(query), place.options(key))]
    assert len(batches) > 1
    found = pa.Table.from_batches(batches)
    begin = datetime(2020, 1, 1)
    sent = [(n, f"User{n}", f"user{n}@example.com", begin + timedelta(seconds=61 * n), n * 0.1) for n in range(1, 601)]
    values = list(zip(*sent, strict=True))
    for k, column in enumerate(found.columns):
        assert tuple(column.to_pylist()) == values[k % 5], k
    assert found.column_names == [f"c{k}" for k in range(1000)]


def test_equal_record_batches_are_all_stored(place: Place, key: str) -> None:
    one = TABLE.slice(0, 1)
    reported = put(place, key, pa.concat_tables([one, one, one]), request_id="flight-equal", format="csv")
    assert reported["rows"] == 3


def test_a_key_limited_to_its_own_results_gets_no_push_of_another_key(place: Place, key: str) -> None:
    engine = connect(f"sqlite:///{place.folder}/fluxport.db")
    modest = Keys(engine).create("modest", "shop", ["push"], expires_s=None, own_results=True)[1]
    engine.dispose()
    reported = put(place, key, TABLE, request_id="once")
    assert put(place, key, TABLE, request_id="once") == reported
    with pytest.raises(fl.FlightServerError, match="Idempotency-Key was used"):
        put(place, modest, TABLE, request_id="once")


def test_options_of_the_format_are_honoured(place: Place, key: str) -> None:
    reported = put(place, key, TABLE.slice(0, 1), request_id="flight-2", options={"delimiter": ";"}, compression="none")
    assert httpx.get(reported["url"]).content == b"id;name\n0;name 0\n"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (ticket("DELETE FROM users"), "SELECT"),
        (fl.Ticket(b"not json"), "JSON"),
        (fl.Ticket(b'{"source": {"dataset": "nothing"}}'), "scope|dataset"),
        (ticket(options={"colour": "red"}), "colour"),
    ],
)
def test_what_cannot_be_read_is_refused_with_our_sentence(place: Place, key: str, sent: fl.Ticket, said: str) -> None:
    with place.client() as client, pytest.raises((fl.FlightServerError, fl.FlightUnauthorizedError), match=said):
        client.do_get(sent, place.options(key)).read_all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "request_id"),
        ({"request_id": ""}, "1 to 200 characters"),
        ({"request_id": "x" * 201}, "1 to 200 characters"),
        ({"request_id": "x", "expected_rows": -1}, "0 to 9,223,372,036,854,775,807"),
        ({"request_id": "x", "expected_rows": 1 << 63}, "0 to 9,223,372,036,854,775,807"),
        ({"request_id": "x", "expected_rows": True}, "a whole number"),
        ({"request_id": "x", "colour": 1}, "JSON object of"),
        ({"request_id": "x", "format": "pdf"}, "pdf"),
        ({"request_id": "short", "expected_rows": 6_000}, "5,000 of the 6,000 announced"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_leaves_nothing(
    place: Place, key: str, given: dict[str, Any], said: str
) -> None:
    before = place.files()
    with pytest.raises(fl.FlightServerError, match=said):
        put(place, key, TABLE, **given)
    assert place.files() == before


def test_callers_are_identified_by_keys_and_limited_to_their_scopes(place: Place, key: str) -> None:
    with place.client() as client:
        for wrong in ("", "nonsense"):
            with pytest.raises(fl.FlightUnauthenticatedError):
                client.do_get(ticket(), place.options(wrong)).read_all()
        with pytest.raises(fl.FlightUnauthorizedError, match="sql:main"):
            client.do_get(ticket(), place.options(new_key(place.folder, "push-only"))).read_all()
    with pytest.raises(fl.FlightUnauthorizedError, match="push"):
        put(place, new_key(place.folder, "read-only", "sql:main"), TABLE, request_id="y")


def test_a_stream_is_an_export_with_a_record(place: Place, key: str) -> None:
    with place.client() as client:
        client.do_get(ticket(), place.options(key)).read_all()
    headers = {"Authorization": f"Bearer {key}"}
    newest = httpx.get(f"{place.http.base}/v1/exports", headers=headers).json()["data"][0]
    assert (newest["status"], newest["rows"], newest["format"]) == ("completed", ROWS, "arrow")


STAYS = """
import json, sys
import pyarrow as pa, pyarrow.flight as fl
client = fl.connect(sys.argv[1])
options = fl.FlightCallOptions(headers=[(b"authorization", b"Bearer " + sys.argv[2].encode())])
table = pa.table({"id": range(100_000)})
descriptor = fl.FlightDescriptor.for_command(json.dumps({"request_id": sys.argv[3]}).encode())
writer, _ = client.do_put(descriptor, table.schema, options)
writer.write_table(table, 1000)
print("sent", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", range(5))
def test_a_client_that_crashes_leaves_a_failed_task_and_nothing_stored(place: Place, key: str, number: int) -> None:
    before = place.files()
    headers = {"Authorization": f"Bearer {key}"}

    def newest() -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{place.http.base}/v1/exports", headers=headers).json()["data"][0]
        return found

    words = [sys.executable, "-c", STAYS, place.location, key, f"dies-{number}"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"sent\n"
        assert wait_until(lambda: newest()["request_id"] == f"dies-{number}", 30)
        client.kill()
    assert wait_until(lambda: newest()["status"] == "failed", 30)
    assert newest()["error"]["code"] == "client_gone"
    assert place.files() == before


def test_a_client_that_neither_sends_nor_disconnects_does_not_delay_shutdown(tmp_path: Path) -> None:
    settings = {"FLUXPORT_FLIGHT__PORT": "0", "FLUXPORT_SERVER__GRACE_S": "1"}
    with emulator(tmp_path, 10) as url, service(tmp_path, url, **settings) as client:
        found = re.search(r"Arrow Flight at (\S+)", next(tmp_path.glob("serve-*.log")).read_text())
        assert found
        words = [sys.executable, "-c", STAYS, f"grpc://{found[1]}", new_key(tmp_path), "stays"]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stuck:
            assert stuck.stdout is not None
            assert stuck.stdout.readline() == b"sent\n"
            os.kill(client.pid, signal.SIGTERM)
            deadline = time.monotonic() + 40
            while Path(f"/proc/{client.pid}/stat").read_text().split()[2] != "Z":
                assert time.monotonic() < deadline
                time.sleep(0.1)
            stuck.kill()
    assert not [path for path in (tmp_path / "exports").rglob("*") if path.is_file() and path.suffix == ".csv"]


MANY = """
import sys, threading
import pyarrow.flight as fl
options = fl.FlightCallOptions(headers=[(b"authorization", b"Bearer " + sys.argv[2].encode())])
ticket = fl.Ticket(sys.argv[3].encode())
for _ in range(int(sys.argv[4])):
    threading.Thread(target=lambda: fl.connect(sys.argv[1]).do_get(ticket, options)).start()
"""


def test_clients_that_disconnect_before_their_first_batch_release_their_slot(tmp_path: Path) -> None:
    """As many clients as may stream at once disconnect; the next one gets its rows."""
    most = FlightOptions.streams_max
    settings = {"FLUXPORT_FLIGHT__PORT": "0", "FLUXPORT_CONNECTIONS__MAIN__QUERIES_MAX": str(most + 1)}
    settings |= {"FLUXPORT_LIMITS__REQUESTS_PER_MINUTE": "1000"}
    with (
        emulator(tmp_path, ROWS) as url,
        FaultProxy(url, "slow", 3_000, slow_bytes_s=100_000, connections=most) as slow,
        service(tmp_path, slow.url, "--no-worker", **settings) as client,
    ):
        found = re.search(r"Arrow Flight at (\S+)", next(tmp_path.glob("serve-*.log")).read_text())
        assert found
        place = Place(client, f"grpc://{found[1]}", tmp_path)
        key = new_key(tmp_path, "robot", "sql:main")
        engine = connect(f"sqlite:///{tmp_path}/fluxport.db")

        def states() -> list[str]:
            with reading(engine) as connection:
                return list(connection.scalars(sa.select(exports.c.status)))

        words = [sys.executable, "-c", MANY, place.location, key, ticket().ticket.decode(), str(most)]
        with subprocess.Popen(words) as leaving:
            assert wait_until(lambda: states() == ["running"] * most, 60)
            leaving.kill()
        assert wait_until(lambda: states() == ["failed"] * most, 90)
        engine.dispose()
        with place.client() as one:
            table = one.do_get(ticket(), place.options(key)).read_all()
    assert table.num_rows == ROWS


def test_flight_is_served_without_grpc(tmp_path: Path) -> None:
    with service(tmp_path, "sqlite://", FLUXPORT_GRPC__ENABLED="false", FLUXPORT_FLIGHT__PORT="0") as client:
        log = next(tmp_path.glob("serve-*.log")).read_text()
        place = Place(client, f"grpc://{log.split('Arrow Flight at ')[1].split()[0]}", tmp_path)
        key = new_key(tmp_path, "pushing", "push")
        assert put(place, key, TABLE, request_id="one", format="csv")["rows"] == TABLE.num_rows
    assert "gRPC at" not in log


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FLUXPORT_")}
        done = subprocess.run(
            [sys.executable, "-m", "fluxport", "serve", "--port", "0", "--grpc-port", "0"],
            cwd=tmp_path,
            env=environ | {"FLUXPORT_FLIGHT__PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    said = done.stdout + done.stderr
    assert (
        f"Cannot listen on 127.0.0.1:{port} for Arrow Flight: Address already in use; set another flight.port." in said
    )
    assert "Traceback" not in said


def test_pushes_wait_for_their_turn_and_can_be_canceled_there(tmp_path: Path) -> None:
    """One runs and one waits: a third is refused, and the waiting one ends as soon as it is canceled."""
    one = {"FLUXPORT_GRPC__TASKS_MAX": "1", "FLUXPORT_GRPC__QUEUE_MAX": "1"}
    with emulator(tmp_path, 10) as url, service(tmp_path, url, FLUXPORT_FLIGHT__PORT="0", **one) as http:
        found = re.search(r"Arrow Flight at (\S+)", next(tmp_path.glob("serve-*.log")).read_text())
        assert found
        small = Place(http, f"grpc://{found[1]}", tmp_path)
        key = new_key(tmp_path, "all", "push", user="shop")
        mine = httpx.Client(base_url=http.base, headers={"Authorization": f"Bearer {key}"})

        def states() -> list[str]:
            return [job["status"] for job in mine.get("/v1/exports").json()["data"]]

        with mine, small.client() as client, ThreadPoolExecutor(1) as threads:
            running, _ = client.do_put(command(request_id="first"), TABLE.schema, small.options(key))
            running.write_table(TABLE)
            assert wait_until(lambda: states() == ["running"], 30)
            waiting = threads.submit(put, small, key, TABLE, request_id="second")
            assert wait_until(lambda: states() == ["queued", "running"], 30)
            with pytest.raises(fl.FlightUnavailableError, match=r"The queue is full \(1 tasks\)"):
                put(small, key, TABLE, request_id="third")
            second = mine.get("/v1/exports").json()["data"][0]["id"]
            assert mine.delete(f"/v1/exports/{second}").status_code in (200, 202)
            with pytest.raises(fl.FlightCancelledError, match="canceled"):
                waiting.result(60)
            running.done_writing()
            running.close()
            assert wait_until(lambda: states() == ["canceled", "completed"], 30)


def test_a_client_that_sends_nothing_loses_its_slot_and_one_that_is_slow_does_not(tmp_path: Path) -> None:
    """With one slot: the next push completes while the client that stopped sending is still connected."""
    idle_s = 3
    settings = {"FLUXPORT_FLIGHT__PORT": "0", "FLUXPORT_GRPC__TASKS_MAX": "1", "FLUXPORT_GRPC__IDLE_S": str(idle_s)}
    with emulator(tmp_path, 10) as url, service(tmp_path, url, **settings) as http:
        found = re.search(r"Arrow Flight at (\S+)", next(tmp_path.glob("serve-*.log")).read_text())
        assert found
        small = Place(http, f"grpc://{found[1]}", tmp_path)
        key = new_key(tmp_path, "all", "push", user="shop")
        with small.client() as client:
            stalled, metadata = client.do_put(command(request_id="stalled"), TABLE.schema, small.options(key))
            stalled.write_table(TABLE)
            message = json.loads(metadata.read().to_pybytes())
            assert (message["status"], message["error"]["code"]) == ("failed", "stream_idle")
            assert small.files() == []

            slow, metadata = client.do_put(command(request_id="slow"), TABLE.schema, small.options(key))
            for batch in TABLE.to_batches(max_chunksize=500):
                time.sleep(2 * idle_s / 10)  # ten batches: twice as long as a client may be idle
                slow.write_batch(batch)
            slow.done_writing()
            while (message := json.loads(metadata.read().to_pybytes()))["status"] == "received":
                pass
            slow.close()
            assert (message["status"], message["rows"]) == ("completed", TABLE.num_rows)

            with pytest.raises(fl.FlightTimedOutError, match="Nothing was sent for 3 s") as ended:
                stalled.close()
            assert json.loads(ended.value.extra_info)["code"] == "stream_idle"
            assert len(small.files()) == 1
