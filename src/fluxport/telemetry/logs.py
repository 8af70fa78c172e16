"""Logs as one JSON object per line (or as text), on standard error.

No secret, token, presigned URL, row value or SQL of a caller is ever logged. Of a foreign exception only the type and
the stack are logged, as its message may quote any of these.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, NamedTuple

from fluxport.errors import Canceled, FluxportError

FIELDS = (
    *("task_id", "request_id", "session_id", "trace_id", "attempt", "target", "part", "status", "rows", "bytes"),
    *("error_code", "duration_ms"),
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")

_bound: ContextVar[dict[str, str]] = ContextVar("fluxport_log_fields", default={})  # noqa: B039  replaced, never changed

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Ids(NamedTuple):
    """The ids of an export, or of one attempt at it, in its log lines; ``traceparent`` is the parent of its spans."""

    task_id: str = ""
    request_id: str = ""
    trace_id: str = ""
    traceparent: str = ""


def bind(ids: Ids) -> None:
    """Set the ids of every line that the current task (or thread) logs from now on; empty ones are omitted."""
    _bound.set({name: value for name, value in ids._asdict().items() if value})


class _Discreet(logging.Formatter):
    def formatException(self, ei: _ExcInfo) -> str:
        return "\n".join(places(ei[1]))


def places(error: BaseException | None) -> Iterator[str]:
    """The chain of exceptions, from the first cause on: the frames and the type of each, and the message of a
    FluxportError."""
    if error is None:
        return
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    yield from places(before)
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"{frame.filename}:{frame.lineno} {frame.name}"
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    yield f"{kind}: {error.message}" if isinstance(error, FluxportError) else kind


class JsonLines(_Discreet):
    """One JSON object per record: timestamp, level, component, event, and those of FIELDS that are set or bound.

    A record of :mod:`fluxport.telemetry.events` has the event's name; the text is then its message. It has the request
    as session too, as in the export middleware's lines.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "timestamp": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "component": record.name,
        }
        fields = _bound.get() | vars(record)
        if "event" in fields:
            line |= {"event": fields["event"], "message": record.getMessage()}
            fields["session_id"] = fields.get("request_id")
        else:
            line["event"] = record.getMessage()
        line |= {name: value for name in FIELDS if (value := fields.get(name)) not in (None, "")}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextLines(_Discreet):
    """Plain text lines; control characters are escaped, so that no input can begin a line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return _CONTROL.sub(lambda m: repr(m[0])[1:-1], super().formatMessage(record))


def one_line(record: logging.LogRecord) -> bool:
    """A logging filter. A stream that cannot be completed raises an error into the server, which then breaks the
    connection; the server's log record of it becomes one line without a stack."""
    error = record.exc_info[1] if record.exc_info and record.name == "uvicorn.error" else None
    for cause in (error, error.__cause__ if error is not None else None):
        if isinstance(cause, FluxportError):
            record.msg, record.args = "a response was aborted before its end", ()
            record.exc_info = record.exc_text = None
            record.levelno = logging.INFO if isinstance(cause, Canceled) else logging.WARNING
            record.levelname = logging.getLevelName(record.levelno)
            record.error_code = cause.code
    return True


def configure(level: str, style: Literal["json", "text"]) -> None:
    """Log on standard error: our own lines from ``level`` on, those of libraries if they are warnings too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(one_line)
    handler.setFormatter(
        JsonLines() if style == "json" else TextLines("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    ours = logging.getLogger("fluxport")
    ours.setLevel(level.upper())
    root.setLevel(max(ours.level, logging.WARNING))
