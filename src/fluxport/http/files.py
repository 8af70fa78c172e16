"""Stored files as answers, from whichever store they rest in: whole or one range of bytes, with everything that proves
them (RFC 9110, 9530)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from fluxport.errors import Conflict, Gone, NotFound
from fluxport.http.answers import file_headers
from fluxport.http.bridge import StreamedFile, is_blind
from fluxport.http.routing import HeadersOnly, is_head
from fluxport.jobs.outcome import Result, StoredFile
from fluxport.jobs.spool import Spool, Spooled, whole
from fluxport.jobs.store import Record
from fluxport.partfiles import MANIFEST, zipped
from fluxport.stages import Chunks, Sink


@dataclass(frozen=True)
class Files:
    """What sends them: the stores, the spool for those who need a length, and the threads in which they are read."""

    stores: Mapping[str, Sink]
    spool: Spool
    threads: Executor
    send_timeout_s: float

    def answer(self, record: Record, request: Request) -> Response:
        """The export's file, or the range of it that is asked for; Conflict or Gone without one. Of several files that
        which ``part`` in the query numbers, else all in a ZIP that is made meanwhile."""
        result = file_of(record)
        number = request.query_params.get("part")
        if number is None:
            return self._zip(record, result, request) if result.files else self._file(record, result, request)
        parts = result.parts
        if not number.isascii() or not number.isdigit() or not 1 <= int(number[:9]) <= len(parts):
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
        found = None
        if "range" in request.headers and request.headers.get("if-range", etag) == etag:
            found = byte_range(request.headers["range"], size)
        start, end = found or (0, size)
        if found is not None:
            if start >= end:
                return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{size}"})
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        headers["Content-Length"] = str(end - start)
        sink = self.stores[record.spec.store]
        status = 200 if found is None else 206
        return self._sent(lambda: sink.open(_location(file), start, end), headers, request, status)

    def _zip(self, record: Record, result: Result, request: Request) -> Response:
        sink = self.stores[record.spec.store]
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


def byte_range(wanted: str, size: int) -> tuple[int, int] | None:
    """Start and end (not included) of the one range that ``Range`` names, empty where the file has nothing of it; None
    for what is no single range and may be answered with the whole file (RFC 9110, 14.2)."""
    found = _RANGE.fullmatch(wanted.strip())
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        return max(size - int(found[2]), 0), size
    start, last = int(found[1]), int(found[2] or size)
    if last < start:
        return None if found[2] else (size, size)
    return start, min(last + 1, size)


def _location(file: StoredFile) -> str:
    assert file.location is not None  # it is stored
    return file.location


def file_of(record: Record) -> Result:
    """What is known of the export's file; Conflict or Gone without one."""
    if record.status == "completed" and record.result is not None and record.result.location is not None:
        return record.result
    if record.status == "expired":
        raise Gone("This file has expired and was deleted.", code="file_expired")
    if not record.stored:
        raise Conflict("A stream is not stored; it has no file.", code="not_stored")
    raise Conflict(f"This export is {record.status}; it has no file.", code="not_ready")
