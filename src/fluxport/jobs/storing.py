"""Storing the file or files of an export, for workers and pushes."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace

from fluxport.errors import Broken
from fluxport.formats.compress import ZIP
from fluxport.jobs.outcome import Changes, Result, StoredFile
from fluxport.jobs.store import Record
from fluxport.partfiles import Names, put_parts, whole_name
from fluxport.pipeline import Part, as_failure
from fluxport.plan import Export
from fluxport.stages import About, Chunks, Sink
from fluxport.telemetry import events, traces

FLUXQUERY = "fluxquery"  # the API of its clients, to whom files of JSON Lines are .json
_SUFFIXES = {FLUXQUERY: {".jsonl": ".json"}}


def rename(export: Export, api: str) -> None:
    """Give the export's file the suffix that the clients of this API expect, in the store and when it is downloaded."""
    for own, theirs in _SUFFIXES.get(api, {}).items():
        if export.suffix.startswith(own):
            suffix = theirs + export.suffix.removeprefix(own)
            export.filename = export.filename.removesuffix(export.suffix) + suffix
            export.suffix = suffix


def put(export: Export, sink: Sink, name: str) -> Result:
    """Store the export's file, or its files below ``name``; the result's ``upload_s`` excludes reading and encoding."""
    ids, encoding = export.tally.ids, _Encoding()
    began = time.monotonic()
    events.emit("OSSUploadStarted", ids)
    try:
        with traces.span("store", ids.traceparent, {"fluxport.store": export.spec.store}) as span:
            result = (_put_file if export.parts is None else _put_parts)(export, sink, name, encoding)
            span.set({"fluxport.bytes": result.bytes})
    except Exception as error:
        if not encoding.failed:
            events.emit("OSSUploadFailed", ids, as_failure(error))
        raise
    upload_s = round(time.monotonic() - began - encoding.seconds, 3)
    took_ms = round(upload_s * 1000, 1)
    events.emit("OSSUploadCompleted", ids, rows=result.rows, bytes=result.bytes, duration_ms=took_ms)
    return replace(result, upload_s=upload_s)


@dataclass
class _Encoding:
    """The time spent on producing chunks, so that the rest is the store's; ``failed`` if that raised."""

    seconds: float = 0.0
    failed: bool = False


def _put_file(export: Export, sink: Sink, name: str, encoding: _Encoding) -> Result:
    tally = export.tally
    tally.hashed = False  # the sink hashes the same bytes
    receipt = sink.put(name, _timed(export.chunks(), encoding), About(export.media_type, export.filename))
    if not tally.complete or receipt.size_bytes != tally.size_bytes:
        sink.remove(receipt.location)
        raise Broken(
            "The store received a different number of bytes than was sent; the export has failed.", code="store_differs"
        )
    return replace(Result.of(export, receipt.sha256), location=receipt.location, verified=receipt.verified)


def _put_parts(export: Export, sink: Sink, name: str, encoding: _Encoding) -> Result:
    assert export.parts is not None
    names = Names(name.removesuffix(export.suffix) + "/", export.suffix)
    receipt, files = put_parts(sink, export, _timed_parts(export.parts(), encoding), names)
    return replace(
        Result.of(export, receipt.sha256),
        # Downloaded as one file, they are a ZIP that is written while it is sent.
        filename=whole_name(export.filename, export.suffix, ZIP.suffix),
        media_type=ZIP.media_type or export.media_type,
        verified=receipt.verified,
        location=receipt.location,
        files=tuple(map(StoredFile.from_json, files)),
    )


def attempt_attributes(record: Record) -> traces.Attributes:
    """The attributes of an attempt's span."""
    return {
        "fluxport.export.id": record.id,
        "fluxport.attempt": record.attempts,
        "fluxport.api": record.door,
        "fluxport.source": record.spec.connection,
        "fluxport.format": record.spec.format,
    }


def completed(result: Result, expires_at: float) -> Changes:
    """The columns to record with the state ``completed``."""
    return {
        "rows": result.rows,
        "rows_total": result.rows,
        "bytes": result.bytes,
        "result": result,
        "expires_at": expires_at,
    }


def _timed_parts(parts: Generator[Part, None, None], encoding: _Encoding) -> Generator[Part, None, None]:
    with closing(parts):
        for part in parts:
            yield replace(part, chunks=_timed(part.chunks, encoding))


def _timed(chunks: Chunks, encoding: _Encoding) -> Chunks:
    """The chunks, timed in ``encoding``."""
    try:
        while True:
            began = time.monotonic()
            try:
                chunk = next(chunks)
            except StopIteration:
                return
            except BaseException:
                encoding.failed = True
                raise
            finally:
                encoding.seconds += time.monotonic() - began
            yield chunk
    finally:
        chunks.close()
