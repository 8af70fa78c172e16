"""Logs as one JSON object per line (or as text), on standard error.

No secret, token, signed URL, row value or SQL of a caller is ever written: messages are ours, and of an exception that
is not ours only its type and the places it came through are told, as its message may quote whatever it stumbled over.
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
from typing import Literal

from fluxport.errors import Canceled, FluxportError

_FIELDS = ("task_id", "request_id", "trace_id", "status", "rows", "bytes", "error_code", "duration_ms")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")

_bound: ContextVar[dict[str, str]] = ContextVar("fluxport_log_fields", default={})  # noqa: B039  replaced, never changed

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def bind(**fields: str) -> None:
    """The fields of every line that the current task (or thread) logs from here on; empty ones are left out."""
    _bound.set({name: value for name, value in fields.items() if value})


def bound(field: str) -> str:
    """A field that was bound to the current task, or nothing."""
    return _bound.get().get(field, "")


def trace_id(traceparent: str) -> str:
    """The trace id of a W3C ``traceparent``; nothing if it is not valid."""
    found = _TRACEPARENT.fullmatch(traceparent)
    # Version 00 ends with the flags; what a later version may add is not ours to read.
    return found[1] if found and not (traceparent.startswith("00-") and found[2]) else ""


class _Discreet(logging.Formatter):
    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802  the name that logging calls
        return "\n".join(places(ei[1]))


def places(error: BaseException | None) -> Iterator[str]:
    """The exceptions from the first cause on, each as its frames, its type and, if it is ours, its message."""
    if error is None:
        return
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    yield from places(before)
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"{frame.filename}:{frame.lineno} {frame.name}"
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    yield f"{kind}: {error.message}" if isinstance(error, FluxportError) else kind


class JsonLines(_Discreet):
    """timestamp, level, component, event, and whichever of the known fields a record carries or are bound."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "timestamp": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "component": record.name,
            "event": record.getMessage(),
        }
        given = _bound.get() | vars(record)
        line |= {name: value for name in _FIELDS if (value := given.get(name)) not in (None, "")}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextLines(_Discreet):
    """The same for people; what comes from outside cannot begin a line of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the name that logging calls
        return _CONTROL.sub(lambda m: repr(m[0])[1:-1], super().formatMessage(record))


def one_line(record: logging.LogRecord) -> bool:
    """A stream that cannot be completed is broken on purpose, by an error that the server must see; what the server
    logs of it becomes one line without its stack."""
    error = record.exc_info[1] if record.exc_info and record.name == "uvicorn.error" else None
    for cause in (error, error.__cause__ if error is not None else None):
        if isinstance(cause, FluxportError):
            record.msg, record.args = "an answer was broken off before its end", ()
            record.exc_info = record.exc_text = None
            record.levelno = logging.INFO if isinstance(cause, Canceled) else logging.WARNING
            record.levelname = logging.getLevelName(record.levelno)
            record.error_code = cause.code
    return True


def configure(level: str, style: Literal["json", "text"]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(one_line)
    handler.setFormatter(
        JsonLines() if style == "json" else TextLines("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
