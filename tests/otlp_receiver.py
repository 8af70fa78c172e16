"""A receiver of traces by OTLP over HTTP, which decodes them with OpenTelemetry's own messages."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from own_servers import http_server


@dataclass(frozen=True)
class Received:
    """One span. Ids are lowercase hex; ``parent`` is empty for the first span of a trace; ``error`` is None, or what
    its error status says. Attributes of the process are those of the whole message."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    start: int
    end: int
    error: str | None
    attributes: dict[str, Any]
    process: dict[str, Any]


@dataclass
class OtlpReceiver:
    port: int = 0
    spans: list[Received] = field(default_factory=list)
    raw: bytes = b""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, body: bytes) -> None:
        message = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            self.raw += body
            for of_process in message.resource_spans:
                process = _values(of_process.resource.attributes)
                for scope in of_process.scope_spans:
                    self.spans += [_received(span, process) for span in scope.spans]
            self._changed.notify_all()

    def trace(self, trace: str, until: Callable[[list[Received]], object]) -> list[Received]:
        """The spans of a trace, by their start, once ``until`` is true of them."""
        found: list[Received] = []

        def complete() -> bool:
            found[:] = sorted((span for span in self.spans if span.trace == trace), key=lambda span: span.start)
            return bool(until(found))

        with self._changed:
            assert self._changed.wait_for(complete, 60), [span.name for span in found]
        return found

    def first(self, name: str) -> Received:
        """The first span of that name, in any trace."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(span.name == name for span in self.spans), 60)
            return next(span for span in self.spans if span.name == name)


def _received(span: Any, process: dict[str, Any]) -> Received:
    return Received(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.message if span.status.code == 2 else None,
        _values(span.attributes),
        process,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}


@contextlib.contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    receiver = OtlpReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            receiver.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing on standard error."""

    with http_server(Handler) as port:
        receiver.port = port
        yield receiver
