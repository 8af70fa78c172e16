"""Stored files as responses, from any sink: whole or one byte range, with their validators and digests (RFC 9110,
9530)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from fluxport.errors import Conflict, NotFound
from fluxport.http.bridge import StreamedFile, is_blind
from fluxport.http.responses import file_headers
from fluxport.http.routing import HeadersOnly, is_head
from fluxport.jobs.outcome import Result, StoredFile, expired
from fluxport.jobs.spool import Spool, Spooled, whole
from fluxport.jobs.store import Record
from fluxport.partfiles import MANIFEST, zipped
from fluxport.stages import Chunks, Sink


@dataclass(frozen=True)
class Files:
    """What responses with files share: sinks, the spool for clients that need a length, and threads for reading."""

    sinks: Mapping[str, Sink]
    spool: Spool
    threads: Executor
    send_timeout_s: float

    def response(self, record: Record, request: Request) -> Response:
        """The export's file or the requested range of it; Conflict or Gone if there is none. For an export of several
        files, the one that ``part`` in the query numbers, else all of them as a ZIP that is built while it is sent."""
        result = file_of(record)
        number = request.query_params.get("part")
        if number is None:
            return self._zip(record, result, request) if result.files else self._file(record, result, request)
        parts = result.parts
        if not re.fullmatch(r"[0-9]{1,9}", number) or not 1 <= int(number) <= len(parts):
            raise NotFound(f"This export has {len(parts)} files; 'part' is the number of one.", code="no_such_part")
        return self._file(record, parts[int(number) - 1], request)

    def _file(self, record: Record, file: StoredFile, request: Request) -> Response:
        size, etag = file.bytes, f'"{file.sha256}"'
        digest = base64.b64encode(bytes.fromhex(file.sha256)).decode()
        headers = self._headers(record, file) | {
            "ETag": etag,
            "Repr-Digest": f"sha-256=:{digest}:",
            "Accept-Ranges": "bytes",
        }
        span = None
        if "range" in request.headers and request.headers.get("if-range", etag) == etag:
            span = byte_range(request.headers["range"], size)
        start, end = span or (0, size)
        if span is not None:
            if start >= end:
                return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{size}"})
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        headers["Content-Length"] = str(end - start)
        sink = self.sinks[record.spec.store]
        status = 200 if span is None else 206
        return self._sent(lambda: sink.open(_location(file), start, end), headers, request, status)

    def _zip(self, record: Record, result: Result, request: Request) -> Response:
        sink = self.sinks[record.spec.store]
        members: list[tuple[str, str, int | None]] = [(f.filename, _location(f), f.bytes) for f in result.files]
        members.append((MANIFEST, _location(result), None))
        return self._sent(
            lambda: zipped((name, sink.open(location, 0, size)) for name, location, size in members),
            self._headers(record, result),
            request,
        )

    @staticmethod
    def _headers(record: Record, file: StoredFile) -> dict[str, str]:
        return file_headers(file.filename, file.media_type, record.id) | {"X-Export-Rows": str(file.rows)}

    def _sent(
        self, chunks: Callable[[], Chunks], headers: Mapping[str, str], request: Request, status: int = 200
    ) -> Response:
        if is_head(request):
            return HeadersOnly(headers, status)
        spooled = None
        if "Content-Length" not in headers and is_blind(request):
            spooled = Spooled(self.spool)
        return StreamedFile(
            chunks() if spooled is None else whole(chunks(), spooled),
            headers=headers,
            threads=self.threads,
            cancel=lambda: None,
            send_timeout_s=self.send_timeout_s,
            status=status,
            length=None if spooled is None else lambda: spooled.size_bytes,
        )


_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of the one range in the ``Range`` header, empty if it lies beyond the file; None if the
    header is not a single range, in which case the response may be the whole file (RFC 9110, 14.2)."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        return max(size - int(match[2]), 0), size
    start, last = int(match[1]), int(match[2] or size)
    if last < start:
        return None if match[2] else (size, size)
    return start, min(last + 1, size)


def _location(file: StoredFile) -> str:
    assert file.location is not None  # a stored file has one
    return file.location


def file_of(record: Record) -> Result:
    """The result of an export whose file is stored; Conflict or Gone if there is no file."""
    if record.file is not None:
        return record.file
    if record.status == "expired":
        raise expired()
    if not record.stored:
        raise Conflict("A stream is not stored; it has no file.", code="not_stored")
    raise Conflict(f"This export is {record.status}; it has no file.", code="not_ready")
