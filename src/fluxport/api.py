"""Exports in the calling process: ``fluxport.export`` and ``fluxport.stream``.

Both plan as the command line and the service do (``plan.check``). The calling program writes the query, so the guard
checks it only if ``guard`` is true; the transaction is always read-only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from fluxport.errors import Refused
from fluxport.stages import Limits
from fluxport.targets import THROUGH, ExportResult, checked, deliver, form_of, result, target

if TYPE_CHECKING:
    import os

    import pyarrow as pa

    from fluxport.plan import Export, Origin
    from fluxport.sinks.options import SinkOptions
    from fluxport.spec import ExportSpec

# A database's URL, or Arrow data. Any object with ``__arrow_c_stream__`` is accepted, too.
Rows: TypeAlias = "str | pa.Table | pa.RecordBatch | pa.RecordBatchReader | Iterator[pa.RecordBatch]"
Params: TypeAlias = Sequence[Any] | Mapping[str, Any]


def export(  # noqa: PLR0913  keyword-only
    query: str | None = None,
    *,
    source: Rows,
    to: str | os.PathLike[str] | BinaryIO,
    format: str | None = None,
    options: Mapping[str, Any] | None = None,
    compression: str | None = None,
    params: Params = (),
    filename: str | None = None,
    limits: Limits | None = None,
    strict: bool = False,
    guard: bool = False,
    config: str | os.PathLike[str] | None = None,
) -> ExportResult:
    """Export the rows of ``query``, or Arrow data, into a file: complete or not at all.

    Args:
        query: The statement. None if ``source`` is Arrow data, which is exported as it is.
        source: A database's URL (``mysql://user:password@host:3306/db``, ``postgresql://``, ``sqlite:///file.db``); or
            an Arrow table, a RecordBatchReader, an iterator of record batches, a data frame.
        to: A path, a folder, a URL of a store (``s3://bucket/key``), ``-`` for standard output, or an open binary file.
            An existing file is replaced when the new one is complete. An open file stays open; bytes written to it
            before an error remain.
        format: csv, tsv, json, jsonl, xlsx, parquet, ...; default: from the suffix of ``to``, else CSV.
        options: Options of the format, such as ``{"profile": "excel-eu", "limit": 1000}``.
        compression: none, gzip, zstd or zip; default: from the suffix of ``to``.
        params: Values bound by the database: a sequence for ``?``, a mapping for ``:name``.
        filename: The name in a folder, with ``{date}``, ``{time}`` and, for several files, ``{part}``.
        limits: Limits of rows, of the bytes of the file and of a cell, and ``deadline_s``, the longest time in seconds.
        strict: Raise WarningsFound, and leave no file, if any value had to be changed.
        guard: Check that the statement only reads, before it is sent. For statements written by others.
        config: A configuration file whose stores provide settings for URLs; default: only the environment.

    Returns:
        The file's location, rows, bytes, SHA-256 and columns, and the changes that had to be made.

    Raises:
        Refused: The request is invalid (the format, an option, the target); nothing was connected.
        QueryFailed: The database rejected the statement.
        LimitExceeded, WarningsFound: See ``limits`` and ``strict``.
        Unavailable: The database or the store is unavailable, or the connection broke; retrying may help.
    """
    destination = target(to, lambda: _stores(config))
    chosen, packed = form_of(destination, format, compression)
    spec = _spec(query, params, chosen, options, packed, filename)
    origin = _origin(spec, query, source, guard)
    return deliver(_planned(spec, origin, limits, may_split=destination.may_split), destination, strict=strict)


def stream(  # noqa: PLR0913  keyword-only
    query: str | None = None,
    *,
    source: Rows,
    format: str = "csv",
    options: Mapping[str, Any] | None = None,
    compression: str = "none",
    params: Params = (),
    filename: str | None = None,
    limits: Limits | None = None,
    strict: bool = False,
    guard: bool = False,
) -> Stream:
    """The file as chunks of bytes, for the streaming response of a web framework.

    The arguments are those of :func:`export`. When this returns, the query is running and the first chunk is available:
    a rejected statement raises here, before a status line is sent. Later errors are raised by the iteration, so that a
    server breaks the connection and the client knows that the file is incomplete. In asynchronous programs, call it in
    a thread (``asyncio.to_thread``, or a ``def`` endpoint of FastAPI).

    Raises:
        FluxportError: As :func:`export`.
    """
    spec = _spec(query, params, format, options, compression, filename)
    return Stream(_planned(spec, _origin(spec, query, source, guard), limits, may_split=False), strict=strict)


class Stream:
    """Chunks of at most 1 MiB, iterable once, synchronously or asynchronously; a context manager that closes itself.

    ``close`` cancels the query on the server; it may be called from any thread, any number of times. It is also called
    when the iteration ends, for any reason, and when the object is dropped.
    """

    def __init__(self, planned: Export, *, strict: bool) -> None:
        self._planned = planned
        self._chunks = checked(planned, planned.chunks(), strict)
        self._held: bytes | memoryview | None = next(self._chunks, None)

    @property
    def media_type(self) -> str:
        """The value of ``Content-Type``."""
        return self._planned.media_type

    @property
    def filename(self) -> str:
        """The name under which a browser saves it."""
        return self._planned.filename

    @property
    def headers(self) -> dict[str, str]:
        """``Content-Disposition``, with the name of the file."""
        from fluxport.headers import content_disposition

        return {"Content-Disposition": content_disposition(self.filename)}

    @property
    def result(self) -> ExportResult | None:
        """Rows, bytes and SHA-256 of the file once all of it has been read; None before."""
        tally = self._planned.tally
        return result(self._planned, THROUGH, tally.sha256) if tally.complete and self._held is None else None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        held, self._held = self._held, None
        return bytes(next(self._chunks) if held is None else held)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks, each pulled in a thread. If the task is canceled, as frameworks do when the client disconnects,
        the query is canceled at once."""
        import asyncio

        try:
            while (chunk := await asyncio.to_thread(next, self, None)) is not None:
                yield chunk
        finally:
            self.close()

    def close(self) -> None:
        self._held = None
        self._planned.source.close()  # makes a pending pull in another thread raise
        try:
            self._chunks.close()
        except ValueError:  # the generator is running in another thread, and ends there
            return

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()


def _spec(
    query: str | None,
    params: Params,
    format: str,
    options: Mapping[str, Any] | None,
    compression: str,
    filename: str | None,
) -> ExportSpec:
    from fluxport.spec import ExportSpec

    return ExportSpec(
        query=query or "",
        params=params,
        format=format,
        options=options or {},
        compression=compression,
        filename=filename,
    )


def _origin(spec: ExportSpec, query: str | None, source: Rows, guard: bool) -> Origin:
    from fluxport.plan import Connection, guard_dialect, of_arrow, of_query

    if not isinstance(source, str):
        if query is not None:
            raise Refused("Arrow data is exported as it is; omit the query.", code="bad_source")
        return of_arrow(source)
    if query is None:
        raise Refused("A database source needs a query; pass one.", code="no_query")
    connection = Connection("python", source)
    if not guard:
        return of_query(spec, connection, lambda: query)
    from fluxport.policy.guard import GuardPolicy

    return of_query(spec, replace(connection, guard=GuardPolicy(dialect=guard_dialect(source), params=True)))


def _planned(spec: ExportSpec, origin: Origin, limits: Limits | None, *, may_split: bool) -> Export:
    from fluxport.plan import check

    return check(spec, origin, limits=limits or Limits(), may_split=may_split).open("export")


def _stores(config: str | os.PathLike[str] | None) -> Mapping[str, SinkOptions]:
    if config is None:
        from fluxport.sinks.local import LocalOptions

        return {"local": LocalOptions()}
    from pathlib import Path

    from fluxport.config import load

    return load(Path(config)).stores
