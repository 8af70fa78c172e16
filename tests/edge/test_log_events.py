"""The log events of exports: the names of the export middleware, with the ids of the export, each as often as it
happens."""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.flight as fl
import pytest

import store_support as stores
from fault_proxy import FaultProxy
from fluxport.auth.caller import Caller
from fluxport.errors import Canceled, FluxportError, TooMany
from fluxport.jobs.attempts import AttemptOptions, Attempts
from fluxport.jobs.pushes import Admission, AdmissionOptions
from fluxport.jobs.request import ExportRequest
from fluxport.spec import ExportSpec
from fluxport.telemetry import logs
from fluxport.telemetry.events import EVENTS
from grpc_support import ROW, GrpcApi, batch, grpc_api, metadata
from identity_support import Clock, empty_store
from mysql_support import wait_until
from object_double import ObjectDouble, Request
from service_support import Client, emulator, service
from webhook_receiver import receiving, status

# As the middleware named them; those of temporary files have no counterpart.
OF_THE_MIDDLEWARE = {
    *("TaskCreated", "TaskQueued", "TaskQueueFull", "TaskStarted", "WriterInitialized", "StreamStarted"),
    *("BatchProcessed", "StreamCompleted", "FileFinalized", "OSSUploadStarted", "OSSUploadRetry", "OSSPartUploaded"),
    *("OSSUploadCompleted", "OSSUploadFailed", "TaskCompleted", "TaskFailed", "ExportCompleted", "StatusQueried"),
    *("StatusNotFound", "ValidationError", "StreamReceiveError", "StreamError"),
}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
USERS = "SELECT id, name, email FROM users ORDER BY id"


def lines(folder: Path) -> list[dict[str, Any]]:
    text = "".join(file.read_text() for file in sorted(folder.glob("*.log")))
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def of(folder: Path, task_id: str) -> list[dict[str, Any]]:
    """The events of an export in their order."""
    found = [line for line in lines(folder) if line.get("task_id") == task_id and "message" in line]
    return sorted(found, key=lambda line: line["timestamp"])


def names(events: list[dict[str, Any]]) -> list[str]:
    return [line["event"] for line in events]


def test_every_event_of_the_middleware_but_those_of_temporary_files_exists() -> None:
    assert {name for name, event in EVENTS.items() if not event.ours} == OF_THE_MIDDLEWARE


# -- stored exports ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log-events")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    """A service with a connection that fails once."""
    with emulator(folder, 20_000) as url, FaultProxy(url, "rst", 300_000, connections=1) as failing:
        settings = {
            "FLUXPORT_CONNECTIONS__FAILING__URL": failing.url,
            "FLUXPORT_WEBHOOKS__ALLOW": json.dumps(["127.0.0.1"]),
            "FLUXPORT_WEBHOOKS__HTTP_ALLOWED": "true",
        }
        with service(folder, url, **settings) as running:
            yield running


def test_queued_started_retried_stored_and_notified_are_each_one_line(client: Client, folder: Path) -> None:
    with receiving(status(200)) as hooks:
        body = {"source": {"query": USERS, "connection": "failing"}}
        body |= {"notify": {"webhook": f"http://127.0.0.1:{hooks.port}/"}}
        headers = {"X-Request-Id": "a-session", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        job = client.post("/v1/exports", body, headers=headers).json()["id"]
        wait_until(lambda: "NotificationSent" in names(of(folder, job)))
    events = of(folder, job)
    created = ["TaskCreated", "TaskQueued"]  # by the service, perhaps after the worker has begun
    assert [name for name in names(events) if name in created] == created
    assert [name for name in names(events) if name not in created] == [
        *("TaskStarted", "TaskRetried", "TaskStarted"),
        *("OSSUploadCompleted", "TaskCompleted", "NotificationSent"),
    ]
    for line in events:
        assert (line["level"], line["session_id"], line["trace_id"]) == ("info", "a-session", TRACE)
        assert line["component"].startswith("fluxport.")
    by_name = {line["event"]: line for line in events}
    for name in ("TaskStarted", "OSSUploadCompleted", "TaskCompleted", "NotificationSent"):
        assert by_name[name]["duration_ms"] >= 0, name
    assert (by_name["TaskRetried"]["attempt"], by_name["TaskRetried"]["error_code"]) == (1, "source_lost")
    assert by_name["TaskCompleted"]["rows"] == by_name["OSSUploadCompleted"]["rows"] == 20_000
    assert by_name["NotificationSent"]["target"] == "webhook"


@pytest.mark.parametrize("api", ["/v1/exports", "/export"])
def test_a_failed_export_says_why_whatever_the_api(client: Client, folder: Path, api: str) -> None:
    query = "SELECT nowhere FROM users"
    if api == "/export":
        job = client.post(api, {"query": query, "format": "csv"}, version=1).json()["job_id"]
    else:
        job = client.post(api, {"source": {"query": query}}).json()["id"]
    wait_until(lambda: "TaskFailed" in names(of(folder, job)))
    events = of(folder, job)
    assert sorted(names(events)) == ["TaskCreated", "TaskFailed", "TaskQueued", "TaskStarted"]
    assert (events[-1]["level"], events[-1]["error_code"]) == ("warning", "unknown_column")


def test_a_notification_that_fails_is_one_line(client: Client, folder: Path) -> None:
    with receiving(status(410)) as hooks:
        target = f"http://127.0.0.1:{hooks.port}/"
        job = client.post("/v1/exports", {"source": {"query": USERS}, "notify": {"webhook": target}}).json()["id"]
        wait_until(lambda: "NotificationFailed" in names(of(folder, job)))
    failed = of(folder, job)[-1]
    assert (failed["event"], failed["level"], failed["target"]) == ("NotificationFailed", "warning", "webhook")


def test_attempts_of_lost_and_stopped_workers_a_full_queue_and_a_canceled_export_are_one_line_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fluxport")
    with empty_store(f"sqlite:///{tmp_path}/fluxport.db", Clock()) as store:

        def no_plan(spec: ExportSpec, export_id: str, owner: str) -> Any:
            raise Canceled("stopped") if runs.draining.is_set() else FluxportError("not planned")

        runs = Attempts(store, {}, no_plan, AttemptOptions(keep_s=60))
        request = ExportRequest(ExportSpec("SELECT 1"))
        record, _ = store.create(request, Caller("ann"), api="native", active_max=5, queue_max=5)
        assert store.claim(record.id, attempts_max=10) is not None  # and its worker is lost
        again = store.claim(record.id, attempts_max=10)
        assert again is not None
        runs.run(again)
        waiting, _ = store.create(request, Caller("ann"), api="native", active_max=5, queue_max=1)
        with pytest.raises(FluxportError, match="queue is full"):
            store.create(request, Caller("ann"), api="native", active_max=5, queue_max=1)
        runs.draining.set()
        stopped = store.claim(waiting.id, attempts_max=10)
        assert stopped is not None
        assert runs.run(stopped) == 0.0
        store.move(waiting.id, "canceled")
    admission = Admission(AdmissionOptions(tasks_max=1, queue_max=0, queue_s=1))
    with admission.admitted(), pytest.raises(TooMany), admission.admitted():
        pass
    events = [vars(line) for line in caplog.records if "event" in vars(line)]
    assert [line["event"] for line in events] == [
        *("TaskCreated", "TaskQueued", "TaskRetried", "TaskStarted", "TaskFailed"),
        *("TaskCreated", "TaskQueued", "TaskQueueFull", "TaskStarted", "TaskRetried", "TaskCanceled", "TaskQueueFull"),
    ]
    assert events[-3]["error_code"] == "worker_stopped"
    assert (events[2]["attempt"], events[2]["error_code"]) == (1, "worker_lost")
    assert events[3]["attempt"] == 2


# -- pushes ------------------------------------------------------------------------------------------------------------


def is_part(request: Request) -> bool:
    return "partNumber" in request.query


@pytest.fixture(scope="module")
def double() -> Iterator[ObjectDouble]:
    with stores.oss_double().running() as running:
        yield running


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, double: ObjectDouble) -> Iterator[GrpcApi]:
    """A service for pushed rows that stores in an object store and logs everything."""
    store = {
        "TYPE": "oss",
        "ENDPOINT": double.endpoint,
        "BUCKET": stores.BUCKET,
        "REGION": stores.OSS_REGION,
        "ACCESS_KEY_ID": stores.OSS_KEY,
        "SECRET_ACCESS_KEY": stores.OSS_SECRET,
        "PATH_STYLE": "true",
        "RETRY_FIRST_S": "0.01",
    }
    settings = {f"FLUXPORT_STORES__LOCAL__{name}": value for name, value in store.items()}
    settings |= {"FLUXPORT_LOGGING__LEVEL": "debug", "FLUXPORT_GRPC__IDLE_S": "1", "FLUXPORT_FLIGHT__PORT": "0"}
    with grpc_api(tmp_path_factory.mktemp("pushes"), **settings) as found:
        yield found


def test_a_push_has_the_events_of_the_middleware_and_the_ids_of_its_call(shop: GrpcApi, double: ObjectDouble) -> None:
    """Two parts, the first of which the store takes at the second attempt."""
    double.fails = is_part
    double.answers.append((500, {}, b""))
    wide = secrets.token_hex(500_000)
    sent = [batch(number, ("1", wide, "2026-01-31", "true")) for number in range(1, 13)]
    request_id = secrets.token_hex(8)
    done = shop.push([metadata(request_id), *sent], ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"))
    assert done.code is grpc.StatusCode.OK, done.details
    task = done.last.task_id
    shop.status(task)
    wait_until(lambda: "StatusQueried" in names(of(shop.folder, task)))
    events = of(shop.folder, task)
    counted = Counter(names(events))
    once = (
        *("TaskCreated", "TaskQueued", "TaskStarted", "StreamStarted", "WriterInitialized", "StreamCompleted"),
        *("FileFinalized", "OSSUploadStarted", "OSSUploadRetry", "OSSUploadCompleted", "TaskCompleted"),
        *("ExportCompleted", "StatusQueried"),
    )
    assert {name: counted.pop(name, 0) for name in once} == dict.fromkeys(once, 1)
    assert counted == {"BatchProcessed": counted["BatchProcessed"], "OSSPartUploaded": 2}
    assert {line["session_id"] for line in events if line["event"] != "StatusQueried"} == {request_id}
    assert {line["trace_id"] for line in events} == {TRACE}
    assert sum(line["rows"] for line in events if line["event"] == "BatchProcessed") == 12
    (again,) = [line for line in events if line["event"] == "OSSUploadRetry"]
    assert (again["level"], again["attempt"], again["status"]) == ("warning", 2, 500)
    assert sorted(line["part"] for line in events if line["event"] == "OSSPartUploaded") == [1, 2]


def test_a_push_over_flight_has_the_events_of_a_push(shop: GrpcApi) -> None:
    found = re.search(r"Arrow Flight at (\S+)", next(shop.folder.glob("serve-*.log")).read_text())
    assert found
    options = fl.FlightCallOptions(timeout=60, headers=[(b"authorization", f"Bearer {shop.key}".encode())])
    command = fl.FlightDescriptor.for_command(json.dumps({"request_id": secrets.token_hex(8)}).encode())
    table = pa.table({"id": [1, 2]})
    with fl.connect(f"grpc://{found[1]}") as flight:
        writer, reader = flight.do_put(command, table.schema, options)
        with writer:
            writer.write_table(table)
            writer.done_writing()
            sent = []
            while (message := reader.read()) is not None:
                sent.append(json.loads(message.to_pybytes()))
    task = sent[-1]["task_id"]
    wait_until(lambda: "ExportCompleted" in names(of(shop.folder, task)))
    counted = Counter(names(of(shop.folder, task)))
    once = ("TaskCreated", "TaskQueued", "TaskStarted", "OSSUploadCompleted", "TaskCompleted", "ExportCompleted")
    assert [counted[name] for name in once] == [1] * len(once)


def test_errors_of_pushes_have_the_events_of_the_middleware(shop: GrpcApi, double: ObjectDouble) -> None:
    double.fails = lambda request: request.method == "PUT"
    refusal: Any = (403, {}, b"<Error><Code>AccessDenied</Code></Error>")
    cases: dict[str, tuple[list[Any], bool]] = {
        "ValidationError": ([metadata(), batch(1, ("one", "Ada", "2026-01-31", "true"))], False),
        "StreamError": ([metadata(), batch(1, ROW), batch(3, ROW)], False),
        "StreamReceiveError": ([metadata(), metadata()], False),
        "OSSUploadFailed": ([metadata(), batch(1, ROW)], True),
    }
    for event, (requests, refused) in cases.items():
        double.answers.extend([refusal] if refused else [])
        done = shop.push(requests)
        assert done.code is not grpc.StatusCode.OK
        task = done.last.task_id
        found = names(of(shop.folder, task))
        assert (found.count(event), found.count("TaskFailed")) == (1, 1), found
        assert sum(name in found for name in cases) == 1, found
    with pytest.raises(grpc.RpcError):
        shop.status("nothing")
    assert "StatusNotFound" in [line["event"] for line in lines(shop.folder)]


def test_debug_is_for_our_own_lines(shop: GrpcApi) -> None:
    found = {(line["component"].split(".")[0], line["level"]) for line in lines(shop.folder)}
    assert ("fluxport", "debug") in found
    assert {name for name, level in found if level in ("debug", "info")} == {"fluxport"}


@pytest.mark.parametrize(
    ("level", "ours", "others"),
    [("debug", "DEBUG", "WARNING"), ("info", "INFO", "WARNING"), ("error", "ERROR", "ERROR")],
)
def test_the_level_of_libraries_is_at_least_warning(level: str, ours: str, others: str) -> None:
    root, own = logging.getLogger(), logging.getLogger("fluxport")
    before = root.handlers[:], root.level, own.level
    try:
        logs.configure(level, "json")
        named = [logging.getLevelName(logging.getLogger(name).getEffectiveLevel()) for name in ("fluxport.x", "other")]
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        own.setLevel(before[2])
    assert named == [ours, others]
