"""Traces: one trace from a request through the queue to each attempt and notification, across processes, as a receiver
of OTLP sees them."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pyarrow as pa
import pyarrow.flight as fl
import pytest

from fault_proxy import FaultProxy
from fluxport.errors import Refused
from fluxport.grpc import export_pb2 as pb
from fluxport.grpc import export_pb2_grpc as pb_grpc
from fluxport.telemetry import traces
from grpc_support import ROW, batch, metadata, new_key
from mysql_support import wait_until
from otlp_receiver import OtlpReceiver, Received, otlp_receiver
from service_support import SECRET, Client, emulator, process
from webhook_receiver import Receiver, receiving, status

ROWS = 20_000
USERS = "SELECT id, name, email FROM users WHERE name <> 'value-of-a-caller'"
SERVER, CONSUMER = 2, 5  # kinds of spans in OTLP
CALLER = "00f067aa0ba902b7"


@dataclass
class Traced:
    http: Client
    folder: Path
    receiver: OtlpReceiver
    hooks: Receiver
    grpc: str
    flight: str
    key: str

    def sent(self) -> tuple[str, dict[str, str]]:
        """A new trace id, and the header of a caller in that trace."""
        trace = secrets.token_hex(16)
        return trace, {"traceparent": f"00-{trace}-{CALLER}-01"}


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """A service and a worker in separate processes that send their spans, and a connection that fails once."""
    folder = tmp_path_factory.mktemp("traces")
    export = {"source": {"query": "SELECT 1 AS n"}}
    schedule = {"cron": "* * * * * *", "user": "ann", "export": export}
    (folder / "fluxport.yaml").write_text(json.dumps({"schedules": {"every-second": schedule}}))
    with (
        otlp_receiver() as receiver,
        receiving(status(200)) as hooks,
        emulator(folder, ROWS) as url,
        FaultProxy(url, "rst", 300_000, connections=1) as failing,
    ):
        environ = {
            "MYSQL_DSN": url,
            "API_SECRET": SECRET,
            "LOCAL_STORAGE_PATH": str(folder / "exports"),
            "FLUXPORT_CONNECTIONS__FAILING__URL": failing.url,
            "FLUXPORT_WEBHOOKS__ALLOW": json.dumps(["127.0.0.1"]),
            "FLUXPORT_WEBHOOKS__HTTP_ALLOWED": "true",
            "FLUXPORT_FLIGHT__PORT": "0",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
            "OTEL_SERVICE_NAME": "exports-of-a-test",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        words = ("serve", "--port", "0", "--no-worker")
        with (
            process(*words, folder=folder, environ=environ, until="listening on") as (started, line),
            process("worker", folder=folder, environ=environ, until="worker ready"),
        ):
            log = next(folder.glob("serve-*.log")).read_text()
            grpc_at, flight_at = (re.search(rf"{name} at (\S+)", log) for name in ("gRPC", "Arrow Flight"))
            assert grpc_at
            assert flight_at
            yield Traced(
                Client(line.split("listening on ")[1].strip(), started.pid),
                folder,
                receiver,
                hooks,
                grpc_at[1],
                f"grpc://{flight_at[1]}",
                new_key(folder, "all", "push", "sql:*", user="shop"),
            )


def names(spans: list[Received]) -> list[str]:
    return sorted(span.name for span in spans)


def tree(spans: list[Received]) -> set[tuple[str, str]]:
    """Each span's name with that of its parent; the caller's span is named ``caller``."""
    by_id = {span.id: span.name for span in spans} | {CALLER: "caller", "": ""}
    return {(span.name, by_id[span.parent]) for span in spans}


def has(*wanted: str) -> Any:
    return lambda spans: set(wanted) <= {span.name for span in spans}


def test_a_stored_export_is_one_trace_from_the_request_to_the_webhook(traced: Traced) -> None:
    trace, headers = traced.sent()
    target = f"http://127.0.0.1:{traced.hooks.port}/hook"
    body = {"source": {"query": USERS}, "notify": {"webhook": target}}
    answer = traced.http.post("/v1/exports", body, headers=headers)
    assert answer.status_code == 202, answer.text
    spans = traced.receiver.trace(trace, has("notify", "attempt"))
    assert tree(spans) == {
        ("POST /v1/exports", "caller"),
        ("attempt", "POST /v1/exports"),
        ("read", "attempt"),
        ("encode", "attempt"),
        ("store", "attempt"),
        ("notify", "POST /v1/exports"),
    }
    assert len(spans) == 6
    by_name = {span.name: span for span in spans}
    request, run, notify = by_name["POST /v1/exports"], by_name["attempt"], by_name["notify"]
    assert (request.kind, run.kind) == (SERVER, CONSUMER)
    assert request.attributes["http.response.status_code"] == 202
    assert run.attributes["fluxport.export.id"] == answer.json()["id"]
    assert by_name["read"].attributes["fluxport.rows"] == ROWS
    assert request.start < run.start <= by_name["store"].start <= by_name["store"].end <= run.end <= notify.start
    assert {span.process["service.name"] for span in spans} == {"exports-of-a-test"}
    assert [span.error for span in spans] == [None] * 6
    assert traced.hooks.requests[-1].headers["traceparent"] == f"00-{trace}-{notify.id}-01"


def test_a_failed_attempt_and_its_retry_are_in_one_trace_and_the_failed_one_is_marked(traced: Traced) -> None:
    trace, headers = traced.sent()
    body = {"source": {"query": USERS, "connection": "failing"}}
    assert traced.http.post("/v1/exports", body, headers=headers).status_code == 202
    spans = traced.receiver.trace(trace, lambda found: names(found).count("attempt") == 2)
    first, second = [span for span in spans if span.name == "attempt"]
    assert (first.error, second.error) == ("source_lost", None)
    assert first.attributes["error.type"] == "source_lost"
    assert [span.attributes["fluxport.attempt"] for span in (first, second)] == [1, 2]
    assert {span.error for span in spans if span.parent == first.id} == {"source_lost"}
    assert names([span for span in spans if span.parent == second.id]) == ["encode", "read", "store"]
    assert first.parent == second.parent


def test_a_direct_stream_is_read_and_encoded_below_its_request(traced: Traced) -> None:
    trace, headers = traced.sent()
    assert traced.http.post("/v1/stream", {"source": {"query": USERS}}, headers=headers).status_code == 200
    spans = traced.receiver.trace(trace, has("POST /v1/stream"))
    request = "POST /v1/stream"
    assert tree(spans) == {(request, "caller"), ("read", request), ("encode", request)}


def test_several_files_and_a_preview_have_spans_too(traced: Traced) -> None:
    trace, headers = traced.sent()
    several = {"source": {"query": USERS}, "options": {"max_rows_per_file": 10_000}}
    traced.http.post("/v1/exports", several, headers=headers)
    spans = traced.receiver.trace(trace, has("attempt"))
    parts = [span.attributes["fluxport.part"] for span in spans if span.name == "encode"]
    assert parts == [1, 2]
    trace, headers = traced.sent()
    traced.http.post("/v1/preview", {"source": {"query": USERS}}, headers=headers)
    assert ("read", "POST /v1/preview") in tree(traced.receiver.trace(trace, has("POST /v1/preview")))


def test_a_push_over_grpc_is_one_trace_and_a_refused_one_is_marked(traced: Traced) -> None:
    trace, headers = traced.sent()
    keyed = (("authorization", f"Bearer {traced.key}"), *headers.items())
    with grpc.insecure_channel(traced.grpc) as channel:
        call = pb_grpc.ExportServiceStub(channel).StreamExport(
            iter([metadata(), batch(1, ROW)]), metadata=keyed, timeout=60
        )
        assert list(call)[-1].status == pb.TASK_STATUS_COMPLETED
        rpc = "export.ExportService/StreamExport"
        spans = traced.receiver.trace(trace, has(rpc))
        assert tree(spans) == {
            (rpc, "caller"),
            ("attempt", rpc),
            ("read", "attempt"),
            ("encode", "attempt"),
            ("store", "attempt"),
        }
        trace, headers = traced.sent()
        keyed = (("authorization", f"Bearer {traced.key}"), *headers.items())
        unknown = pb.TaskStatusRequest(task_id="nothing")
        with pytest.raises(grpc.RpcError):
            pb_grpc.ExportServiceStub(channel).QueryTaskStatus(unknown, metadata=keyed, timeout=60)
    (query,) = traced.receiver.trace(trace, has("export.ExportService/QueryTaskStatus"))
    assert (query.error, query.attributes["rpc.grpc.status_code"]) == ("no_such_export", 5)


def test_calls_of_arrow_flight_are_traced(traced: Traced) -> None:
    trace, headers = traced.sent()
    given = [(b"authorization", f"Bearer {traced.key}".encode()), (b"traceparent", headers["traceparent"].encode())]
    options = fl.FlightCallOptions(timeout=60, headers=given)
    with fl.connect(traced.flight) as client:
        ticket = fl.Ticket(json.dumps({"source": {"query": USERS}}).encode())
        assert client.do_get(ticket, options).read_all().num_rows == ROWS
        command = fl.FlightDescriptor.for_command(json.dumps({"request_id": secrets.token_hex(8)}).encode())
        table = pa.table({"id": [1, 2]})
        writer, reader = client.do_put(command, table.schema, options)
        with writer:
            writer.write_table(table)
            writer.done_writing()
            while reader.read() is not None:
                pass
    service = "arrow.flight.protocol.FlightService"
    get, put = f"{service}/DoGet", f"{service}/DoPut"
    spans = traced.receiver.trace(trace, has(get, put))
    assert {(get, "caller"), ("read", get), ("encode", get), (put, "caller"), ("attempt", put)} <= tree(spans)


def test_a_request_without_a_trace_begins_one_which_its_log_lines_name(traced: Traced) -> None:
    answer = traced.http.post("/v1/exports", {"source": {"query": USERS}}, headers={"X-Request-Id": "untraced"})
    assert answer.status_code == 202
    lines = [
        json.loads(line)
        for line in next(traced.folder.glob("serve-*.log")).read_text().splitlines()
        if '"untraced"' in line
    ]
    trace = lines[0]["trace_id"]
    spans = traced.receiver.trace(trace, has("attempt", "store"))
    assert [span.name for span in spans if not span.parent] == ["POST /v1/exports"]


def test_a_run_of_a_schedule_is_one_trace(traced: Traced) -> None:
    scheduled = traced.receiver.first("schedule")
    spans = traced.receiver.trace(scheduled.trace, has("attempt"))
    assert {("attempt", "schedule"), ("store", "attempt")} <= tree(spans)
    assert (scheduled.parent, scheduled.attributes) == ("", {"fluxport.schedule": "every-second"})


def test_what_a_caller_did_not_sample_is_not_sent(traced: Traced) -> None:
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{CALLER}-00"}
    job = traced.http.post("/v1/exports", {"source": {"query": USERS}}, headers=headers).json()
    after, headers = traced.sent()
    wait_until(lambda: traced.http.get(f"/v1/exports/{job['id']}").json()["status"] == "completed")
    traced.http.post("/v1/stream", {"source": {"query": USERS}}, headers=headers)
    traced.receiver.trace(after, has("POST /v1/stream"))
    assert [span.name for span in traced.receiver.spans if span.trace == trace] == []


def test_no_span_has_a_secret_a_value_sql_or_an_address(traced: Traced) -> None:
    trace, headers = traced.sent()
    target = f"http://127.0.0.1:{traced.hooks.port}/secret-of-the-url"
    body = {"source": {"query": USERS}, "notify": {"webhook": target}}
    job = traced.http.post("/v1/exports", body, headers=headers).json()
    traced.receiver.trace(trace, has("notify"))
    link = traced.http.post(f"/v1/exports/{job['id']}/links", {}, headers=headers).json()["url"]
    httpx.get(link, headers=headers).raise_for_status()
    traced.receiver.trace(trace, has("GET /v1/exports/{export_id}/file"))
    for secret in ("value-of-a-caller", "SELECT", "secret-of-the-url", SECRET, traced.key, "token=", "127.0.0.1"):
        assert secret.encode() not in traced.receiver.raw, secret


def test_a_context_reaches_the_webhook_while_traces_are_off(tmp_path: Path) -> None:
    with receiving(status(200)) as hooks, emulator(tmp_path, 10) as url:
        environ = {
            "MYSQL_DSN": url,
            "API_SECRET": SECRET,
            "FLUXPORT_WEBHOOKS__ALLOW": json.dumps(["127.0.0.1"]),
            "FLUXPORT_WEBHOOKS__HTTP_ALLOWED": "true",
        }
        with process("serve", "--port", "0", folder=tmp_path, environ=environ, until="listening on") as (started, line):
            client = Client(line.split("listening on ")[1].strip(), started.pid)
            traceparent = f"00-{secrets.token_hex(16)}-{CALLER}-01"
            body = {"source": {"query": USERS}, "notify": {"webhook": f"http://127.0.0.1:{hooks.port}/"}}
            client.post("/v1/exports", body, headers={"traceparent": traceparent})
            wait_until(lambda: hooks.requests)
    assert hooks.requests[0].headers["traceparent"] == traceparent


# -- on or off ---------------------------------------------------------------------------------------------------------

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
ASK = """
import sys
from fluxport.telemetry import traces
traces.configure(sys.argv[1])
with traces.span("x", "") as span:
    print(bool(span.traceparent), any(name.startswith("opentelemetry") for name in sys.modules))
"""


@pytest.mark.parametrize(
    ("setting", "environ", "on"),
    [
        ("auto", {}, False),
        ("auto", ENDPOINT, True),
        ("auto", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, True),
        ("auto", {"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ("auto", ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        ("auto", ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, False),
        ("off", ENDPOINT, False),
        ("on", {}, True),
        ("on", {"OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_traces_are_on_where_they_are_asked_for_and_else_nothing_is_imported(
    setting: str, environ: dict[str, str], on: bool
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK, setting], env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == [str(on), str(on)]


@pytest.mark.parametrize(
    "environ",
    [
        ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        ENDPOINT | {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
        {"OTEL_TRACES_EXPORTER": "zipkin"},
    ],
)
def test_another_protocol_is_refused_where_traces_are_on_and_else_only_logged(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Refused, match="OTLP over HTTP"):
        traces.configure("on", environ)
    traces.configure("auto", environ)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:a-password@collector/v1/traces"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
    ],
)
def test_a_variable_that_cannot_be_used_is_one_sentence_without_its_value(
    tmp_path: Path, name: str, value: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fluxport", "worker"],
        cwd=tmp_path,
        env={"FLUXPORT_TELEMETRY__TRACES": "on", name: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "OTEL_" in done.stderr
    assert value not in done.stderr
    assert "a-password" not in done.stderr


def test_a_key_in_a_header_that_is_not_one_is_not_logged() -> None:
    ask = "from fluxport.telemetry import logs, traces; logs.configure('debug', 'json'); traces.configure('on')"
    environ = ENDPOINT | {"OTEL_EXPORTER_OTLP_HEADERS": "authorization Bearer a-private-key"}
    done = subprocess.run(
        [sys.executable, "-c", ask], env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert "a-private-key" not in done.stderr


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    """A package of that name which cannot be imported stands for one that is not installed."""
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("raise ImportError\n")
    done = subprocess.run(
        [sys.executable, "-m", "fluxport", "worker"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "FLUXPORT_TELEMETRY__TRACES": "on"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "Traces need OpenTelemetry: pip install 'fluxport[otel]'" in done.stderr
