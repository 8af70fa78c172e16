"""The log events of exports, under the names that the export middleware gave them, so that alerts on those still fire.

A line has its name as ``event`` and a sentence as ``message``. Names that the middleware did not have are marked.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from fluxport.errors import FluxportError
from fluxport.telemetry.logs import Ids


class Event(NamedTuple):
    """``about`` says for the reference when it is logged, ``message`` for a reader of the log what has happened."""

    level: int
    component: str
    message: str
    about: str
    ours: bool = False


_D, _I, _W = logging.DEBUG, logging.INFO, logging.WARNING
_EXPORTS, _STORES, _GRPC, _NOTIFY = (f"fluxport.{name}" for name in ("exports", "stores", "grpc", "notify"))
EVENTS: dict[str, Event] = {
    "TaskCreated": Event(_I, _EXPORTS, "export created", "a stored export or a push was accepted"),
    "TaskQueued": Event(_I, _EXPORTS, "export queued", "it waits for a worker, a push for its turn"),
    "TaskQueueFull": Event(_W, _EXPORTS, "export refused: the queue is full", "an export or a push was refused"),
    "TaskStarted": Event(_I, _EXPORTS, "attempt started", "an attempt begins; `duration_ms` since the creation"),
    "StreamStarted": Event(_D, _EXPORTS, "reading started", "the source has named its columns"),
    "WriterInitialized": Event(_D, _EXPORTS, "file begun", "the encoder begins a file, of several each"),
    "BatchProcessed": Event(_D, _EXPORTS, "batch read", "a record batch goes to the encoder, with its `rows`"),
    "StreamCompleted": Event(_D, _EXPORTS, "reading completed", "the source has reported the end of its rows"),
    "FileFinalized": Event(_D, _EXPORTS, "file finished", "the encoder has finished a file"),
    "OSSUploadStarted": Event(_D, _STORES, "storing started", "storing begins, in a store of any type"),
    "OSSUploadRetry": Event(_W, _STORES, "request to the store repeated", "a request of an upload is repeated"),
    "OSSPartUploaded": Event(_D, _STORES, "part stored", "an object store has one `part` of a large file"),
    "OSSUploadCompleted": Event(_I, _STORES, "export stored", "everything is stored; `duration_ms` of storing alone"),
    "OSSUploadFailed": Event(_W, _STORES, "storing failed", "the store failed, not the source"),
    "TaskRetried": Event(_I, _EXPORTS, "attempt to be repeated", "an attempt has failed and another follows", True),
    "TaskCompleted": Event(_I, _EXPORTS, "export completed", "the export is complete, a direct stream too"),
    "TaskFailed": Event(_W, _EXPORTS, "export failed", "it has failed for good, with its `error_code`"),
    "TaskCanceled": Event(_I, _EXPORTS, "export canceled", "a caller has canceled it", True),
    "ExportCompleted": Event(_I, _GRPC, "result sent", "the client of a push has its result"),
    "NotificationSent": Event(_I, _NOTIFY, "notification sent", "a mail, webhook or upload (`target`)", True),
    "NotificationFailed": Event(_W, _NOTIFY, "notification failed", "one attempt at it has failed", True),
    "StatusQueried": Event(_D, _GRPC, "status queried", "`QueryTaskStatus` of a task"),
    "StatusNotFound": Event(_I, _GRPC, "status of an unknown task queried", "`QueryTaskStatus` of no task"),
    "ValidationError": Event(_W, _GRPC, "push refused", "metadata, a batch or a value of a push is not valid"),
    "StreamReceiveError": Event(_W, _GRPC, "push not received", "its client disconnected, or a message is not one"),
    "StreamError": Event(_W, _GRPC, "push aborted", "a gap, a pause or a limit of time ended a push, or the shutdown"),
}


def emit(name: str, ids: Ids | None = None, error: FluxportError | None = None, **fields: str | float | None) -> None:
    """Log the event ``name`` of EVENTS with the ids of an export (None: those bound to the current task) and fields of
    ``logs.FIELDS``. ``error`` adds its message and code."""
    event = EVENTS[name]
    logger = logging.getLogger(event.component)
    if not logger.isEnabledFor(event.level):
        return
    message = event.message if error is None else f"{event.message}: {error.message}"
    if error is not None:
        fields["error_code"] = error.code
    bound = {} if ids is None else ids._asdict()
    logger.log(event.level, "%s", message, extra={"event": name, **bound, **fields})
