"""Traces by OpenTelemetry, sent by OTLP over HTTP. Off unless :func:`configure` finds that they are wanted.

No context is implicit: a span's parent is a W3C ``traceparent``, a string that callers pass on, through threads, our
tables and other processes. While traces are off, a span's ``traceparent`` is that of its parent, so that the context
of a caller still reaches a webhook's receiver.

    traceparent of a request -> its span -> the export's record -> attempt -> read, encode, store
                                                                \\-> notify -> traceparent of the webhook

Attributes hold names and numbers of ours only: no SQL, row value, address, link or secret.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from fluxport.errors import FluxportError, Refused
from fluxport.headers import web_address
from fluxport.loops import attempt, background
from fluxport.version import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OpenSpan
    from opentelemetry.trace import Tracer

log = logging.getLogger("fluxport.traces")

Kind = Literal["server", "consumer", "client", "internal"]
Attributes: TypeAlias = Mapping[str, str | int | float | bool]
END_S = 5.0  # an exiting process waits this long for spans to be sent
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_provider: TracerProvider | None = None
_tracer: Tracer | None = None


def accepted(header: str) -> str:
    """A received ``traceparent`` in version 00; empty if it is invalid."""
    match = _TRACEPARENT.fullmatch(header)
    # Version 00 ends with the flags; later versions may append fields, which are ignored.
    return f"00-{match[2]}" if match and not (match[1] == "00" and match[3]) else ""


def trace_id(traceparent: str) -> str:
    """The trace id of an accepted ``traceparent``; empty if that is empty."""
    return traceparent[3:35]


def configure(setting: Literal["auto", "on", "off"], environ: Mapping[str, str] = os.environ) -> None:
    """Send the spans of this process, if ``setting`` is on, or auto and OpenTelemetry's variables name a receiver.

    Refused if it is on and impossible; with auto, a warning is logged, as the variables may be meant for other
    programs. Call it once, before threads start.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or not _wanted(setting, environ):
        return
    try:
        _start(environ)
    except Refused as refused:
        if setting == "on":
            raise
        log.warning("no traces are sent: %s", refused.message, extra={"error_code": refused.code})


def _wanted(setting: str, environ: Mapping[str, str]) -> bool:
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if setting == "off" or exporter == "none":
        return False
    return setting == "on" or bool(exporter) or any(environ.get(name) for name in _ENDPOINTS)


def _start(environ: Mapping[str, str]) -> None:
    _check(environ)
    try:
        _start_sending()
    except ImportError:
        raise Refused(
            "Traces need OpenTelemetry: pip install 'fluxport[otel]', or set telemetry.traces to off.",
            code="missing_extra",
        ) from None
    except ValueError:  # its message may quote a value
        raise Refused(
            "OpenTelemetry does not accept the value of one of its variables, such as OTEL_BSP_MAX_QUEUE_SIZE; compare "
            "those that begin with OTEL_ with its documentation.",
            code="bad_configuration",
        ) from None


def _check(environ: Mapping[str, str]) -> None:
    """Refused for what this process cannot send, or not to that address."""
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), "http/protobuf")
    if exporter != "otlp" or protocol != "http/protobuf":
        raise Refused(
            "Traces are sent by OTLP over HTTP only: set OTEL_TRACES_EXPORTER to otlp or none, and "
            "OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf, whose port is usually 4318.",
            code="bad_configuration",
        )
    for name in _ENDPOINTS:
        if environ.get(name) and web_address(environ[name]) is None:
            raise Refused(
                f"{name} must be an address such as http://collector.example.com:4318; credentials belong into "
                "OTEL_EXPORTER_OTLP_HEADERS.",
                code="bad_configuration",
            )


def _start_sending() -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    global _provider, _tracer  # noqa: PLW0603  one for each process, as loggers are
    # It logs headers that it cannot read, which may hold a key.
    logging.getLogger("opentelemetry.util.re").setLevel(logging.ERROR)
    ours = Resource.create({"service.name": "fluxport", "service.version": __version__})
    _provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer("fluxport", __version__)


def end() -> None:
    """Send what is left, for at most END_S; call it before the process exits."""
    if _provider is not None:
        background("fluxport-traces", attempt, "sending traces", _provider.shutdown).join(END_S)


class Span:
    """A span under way; ``traceparent`` is the parent of spans below it. While traces are off it does nothing."""

    def __init__(self, traceparent: str, span: OpenSpan | None = None) -> None:
        self.traceparent = traceparent
        self._span = span
        self._failed = False

    def set(self, attributes: Attributes) -> None:
        if self._span is not None:
            self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        if self._span is not None:
            self._span.update_name(name)

    def failed(self, error_type: str) -> None:
        """Mark the span as failed, the first time; ``error_type`` is an error code, a status or the name of a class."""
        if self._span is not None and not self._failed:
            from opentelemetry.trace import StatusCode

            self._failed = True
            self._span.set_status(StatusCode.ERROR, error_type)
            self._span.set_attribute("error.type", error_type)


@contextlib.contextmanager
def span(name: str, parent: str, attributes: Attributes | None = None, kind: Kind = "internal") -> Iterator[Span]:
    """A span while the block runs, in any threads; an error marks each span whose block it leaves as failed.

    ``parent`` is a ``traceparent``; empty begins a new trace.
    """
    if _tracer is None:
        yield Span(parent)
        return
    from opentelemetry.trace import SpanKind

    opened = _tracer.start_span(name, _context(parent), SpanKind[kind.upper()], attributes)
    of = opened.get_span_context()
    span = Span(f"00-{of.trace_id:032x}-{of.span_id:016x}-{int(of.trace_flags):02x}", opened)
    try:
        yield span
    except GeneratorExit:  # the consumer of a generator needs no more of it
        raise
    except BaseException as error:
        span.failed(error.code if isinstance(error, FluxportError) else type(error).__name__)
        raise
    finally:
        opened.end()


def _context(parent: str) -> Context:
    """The context of a span that runs elsewhere, perhaps in another process; empty for no parent."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if not parent:
        return Context()
    _, trace, of, flags = parent.split("-")
    remote = SpanContext(int(trace, 16), int(of, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(remote), Context())
