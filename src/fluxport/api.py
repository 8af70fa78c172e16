"""Exports in the calling process: ``fluxport.export``, ``fluxport.stream``, and what the command line shares with them.

They plan an export as the service does (``plan.check``). The calling program writes the query, so the guard checks it
only if ``guard`` is true; the transaction is always read-only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from fluxport.errors import Refused
from fluxport.sources.table import SourceOptions, is_url
from fluxport.stages import Limits
from fluxport.targets import THROUGH, ExportResult, checked, deliver, form_of, result, target

if TYPE_CHECKING:
    import os

    import pyarrow as pa

    from fluxport.config import Config
    from fluxport.datasets import Dataset as DeclaredDataset
    from fluxport.plan import Connection, Export, Origin
    from fluxport.policy.guard import GuardPolicy
    from fluxport.series import SensorStore
    from fluxport.sinks.options import SinkOptions
    from fluxport.spec import ExportSpec

Params: TypeAlias = Sequence[Any] | Mapping[str, Any]


@dataclass(frozen=True)
class Dataset:
    """A dataset of the configuration, as a source: the rows that ``user`` may see (default: the login name).

    ``connection`` is a database's URL, or the name of a connection; default: the dataset's own. ``sort`` names its
    columns, as ``"-placedAt,id"`` or as a list of names or of ``{"column": "placedAt", "descending": True}``; rows that
    it leaves equal are in the dataset's own order. With ``limit`` there are that many rows, behind ``offset`` others.
    """

    name: str
    user: str | None = None
    connection: str | None = None
    sort: str | Sequence[str | Mapping[str, Any]] | None = None
    limit: int | None = None
    offset: int | None = None

    @property
    def owner(self) -> str:
        """The user whose rows these are."""
        import getpass

        return self.user or getpass.getuser()


@dataclass(frozen=True)
class Sensors:
    """Points of one or several sensors of the configuration's sensor store, as a source.

    ``start`` and ``end`` (both inclusive; default: open) are milliseconds since 1970, or RFC 3339 such as
    2026-01-31T23:59:59Z.
    """

    ids: str | Sequence[str]
    start: int | str | None = None
    end: int | str | None = None


# A database's URL or the name of a connection; a dataset or sensors; or Arrow data: any object with
# ``__arrow_c_stream__`` is accepted, too.
Rows: TypeAlias = (
    "str | Dataset | Sensors | pa.Table | pa.RecordBatch | pa.RecordBatchReader | Iterator[pa.RecordBatch]"
)


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
        query: The statement, if ``source`` is a database; None for all other sources.
        source: A database's URL (``mysql://user:password@host:3306/db``, ``postgresql://``, ``sqlite:///file.db``,
            ``duckdb:`` for files that the statement names) or the name of a connection; a :class:`Dataset` or
            :class:`Sensors`; or an Arrow table, a RecordBatchReader, an iterator of record batches, a data frame.
        to: A path, a folder, a URL of a store (``s3://bucket/key``, or ``store://name/key`` for a store of the
            configuration), ``-`` for standard output, or an open binary file. An existing file is replaced when the new
            one is complete. An open file stays open; bytes written to it before an error remain.
        format: csv, tsv, json, jsonl, xlsx, parquet, ...; default: from the suffix of ``to``, else CSV.
        options: Options of the format, such as ``{"profile": "excel-eu", "limit": 1000}``.
        compression: none, gzip, zstd or zip; default: from the suffix of ``to``.
        params: Values bound by the database: a sequence for ``?``, a mapping for ``:name``. For a dataset its filters,
            for sensors ``layout``, ``aggregate``, ``interval`` and ``time``.
        filename: The name in a folder, with ``{date}``, ``{time}``, ``{connection}``, ``{param.NAME}``, of a dataset
            ``{dataset}`` and ``{user}``, and for several files ``{part}``.
        limits: Limits of rows, of the bytes of the file and of a cell, and ``deadline_s``, the longest time in seconds;
            default: those of the configuration if the source is named there, else only the limit of a cell.
        strict: Raise WarningsFound, and leave no file, if any value had to be changed.
        guard: Before the statement is sent, check that it only reads, and only tables and files that the connection
            allows. For statements written by others.
        config: The configuration file, read if a name or the URL of a store is used; default: ``fluxport.yaml``, if
            there is one. ``.env`` and the environment override it, as for the command line.

    Returns:
        The file's location, rows, bytes, SHA-256 and columns, and the changes that had to be made.

    Raises:
        Refused: The request is invalid (the format, an option, the target); no connection was opened.
        QueryFailed: The database rejected the statement.
        LimitExceeded, WarningsFound: See ``limits`` and ``strict``.
        Unavailable: The database or the store is unavailable, or the connection broke; retrying may help.
    """
    configured = Configured(config)
    destination = target(to, configured.stores)
    format_name, compression_name = form_of(destination, format, compression)
    spec = spec_of(query, source, params, format_name, options, compression_name, filename)
    export = planned(spec, source, configured, limits=limits, guard=guard, may_split=destination.may_split)
    try:
        return deliver(export, destination, strict=strict)
    finally:
        export.source.close()


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
    config: str | os.PathLike[str] | None = None,
) -> Stream:
    """The file as chunks of bytes, for the streaming response of a web framework.

    The arguments are those of :func:`export`. When this returns, the query is running and the first chunk is available:
    a rejected statement raises here, before a status line is sent. The iteration raises later errors, so that a server
    breaks the connection and the client knows that the file is incomplete. In asynchronous programs, call it in
    a thread (``asyncio.to_thread``, or a ``def`` endpoint of FastAPI).

    Raises:
        FluxportError: As :func:`export`.
    """
    spec = spec_of(query, source, params, format, options, compression, filename)
    return Stream(planned(spec, source, Configured(config), limits=limits, guard=guard), strict=strict)


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


# -- planning, as the command line does, too ---------------------------------------------------------------------------


class Configured:
    """Looks up names in the configuration, which is read at the first lookup. Every method raises Refused for an
    unknown name or an invalid configuration."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        completed: Callable[[str], str] = lambda url: url,
        authenticated: Callable[[str], str] = lambda url: url,
        own_process: bool = False,
    ) -> None:
        """``completed`` adds what a URL that is given instead of a name leaves out, ``authenticated`` what any URL
        does. ``own_process``: no other code of this process opens databases, as on the command line."""
        self._path = path
        self._completed = completed
        self._authenticated = authenticated
        self._own_process = own_process

    @cached_property
    def _config(self) -> Config:
        from pathlib import Path

        from fluxport.config import load

        return load(None if self._path is None else Path(self._path))

    def stores(self) -> Mapping[str, SinkOptions]:
        return self._config.stores

    def connection(self, source: str) -> Connection:
        """The connection with that name, or to that URL, whose references are replaced; the latter has no name and
        no guard, and may read any file of rows."""
        found = self._found(source)
        return replace(found, options=replace(found.options, own_process=self._own_process))

    def _found(self, source: str) -> Connection:
        if is_url(source):
            import os

            from fluxport.plan import Connection
            from fluxport.references import expanded

            url = self._authenticated(self._completed(expanded(source, os.environ)))
            return Connection("", url, options=SourceOptions(files="anywhere"))
        from fluxport.wiring import connections

        known = connections(self._config)
        if source not in known:
            names = ", ".join(sorted(known)) or "none"
            raise Refused(
                f"{source!r} is neither a database URL nor a connection of the configuration (which has: {names}).",
                code="unknown_connection",
            )
        return replace(known[source], url=self._authenticated(known[source].url))

    def guard(self, source: str) -> GuardPolicy:
        """The guard of the named connection; for a URL, one that accepts any statement that only reads."""
        connection = self.connection(source)
        if connection.guard is not None:
            return connection.guard
        from fluxport.plan import guard_dialect, guard_files
        from fluxport.policy.guard import GuardPolicy

        files = guard_files(connection.options.files)
        return GuardPolicy(dialect=guard_dialect(connection.url), params=True, files=files)

    def dataset(self, name: str) -> DeclaredDataset:
        from fluxport.wiring import datasets

        known = datasets(self._config)
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise Refused(f"Unknown dataset {name!r}; the configuration has: {names}.", code="unknown_dataset")
        return known[name]

    def sensor_store(self) -> SensorStore:
        """The sensor store; the caller closes it."""
        from fluxport.wiring import sensors

        configured = sensors(self._config)
        if configured is None:
            raise Refused(
                "The configuration has no sensor store: set series.path or series.connection.", code="no_series"
            )
        return configured.store

    def limits(self, source: Rows) -> Limits:
        """The limits of the configuration if the source is named there, else the default ones."""
        database = source.connection or "" if isinstance(source, Dataset) else source
        if isinstance(database, Sensors) or (isinstance(database, str) and not is_url(database)):
            from fluxport.wiring import limits

            return limits(self._config)
        return Limits()


def spec_of(
    query: str | None,
    source: Rows,
    params: Params,
    format: str,
    options: Mapping[str, Any] | None,
    compression: str,
    filename: str | None,
) -> ExportSpec:
    """The request for an export of ``source``; Refused if query and source do not go together."""
    from fluxport.spec import ROWS, ExportSpec

    if isinstance(source, str):
        if query is None:
            raise Refused("A database source needs a query; pass one.", code="no_query")
    elif query is not None:
        raise Refused("Only a database takes a query; for this source omit the query.", code="bad_source")
    if isinstance(source, Dataset | Sensors) and not isinstance(params, Mapping) and len(params):
        raise Refused("The params of a dataset or of sensors are a mapping of names to values.", code="bad_source")
    series = _series(source, params) if isinstance(source, Sensors) else None
    rows = {name: getattr(source, name) for name in ROWS} if isinstance(source, Dataset) else {}
    return ExportSpec(
        query=query or "",
        dataset=source.name if isinstance(source, Dataset) else None,
        series=series,
        **rows,
        params=params if series is None else (),
        format=format,
        options=options or {},
        compression=compression,
        filename=filename,
    )


def _series(source: Sensors, params: Params) -> dict[str, Any]:
    """The sensor source in the form of the HTTP API."""
    bounds = {"start_ts": source.start, "end_ts": source.end}
    ids = source.ids if isinstance(source.ids, str) else list(source.ids)
    return {"sensor_id": ids} | {name: value for name, value in bounds.items() if value is not None} | dict(params)


def planned(
    spec: ExportSpec,
    source: Rows,
    configured: Configured,
    *,
    limits: Limits | None = None,
    guard: bool = False,
    guarded: Callable[[], str] | None = None,
    may_split: bool = False,
) -> Export:
    """The export, not yet connected. ``guarded`` returns the statement to run, if the guard has a process of its own.
    Refused if the request is invalid."""
    from fluxport.plan import check

    origin = origin_of(spec, source, configured, guard=guard, guarded=guarded)
    bounds = limits or configured.limits(source)
    user = source.owner if isinstance(source, Dataset) else None
    return check(spec, origin, limits=bounds, user=user, may_split=may_split).open("export")


def origin_of(
    spec: ExportSpec,
    source: Rows,
    configured: Configured,
    *,
    guard: bool = False,
    guarded: Callable[[], str] | None = None,
    columns_only: bool = False,
) -> Origin:
    """Where the rows of ``source`` come from; with ``columns_only`` only their schema will be read."""
    from fluxport.plan import of_arrow, of_dataset, of_query, of_sensors

    if isinstance(source, Sensors):
        return of_sensors(spec, configured.sensor_store, owned=True)
    if isinstance(source, Dataset):
        dataset = configured.dataset(source.name)
        connection = _connection(configured, source.connection or dataset.connection, columns_only)
        return of_dataset(spec, connection, dataset, source.owner)
    if not isinstance(source, str):
        return of_arrow(source)
    connection = _connection(configured, source, columns_only)
    if guarded is not None:
        return of_query(spec, connection, guarded)
    if guard:
        return of_query(spec, _for_others(connection, configured.guard(source)))
    return of_query(spec, replace(connection, guard=None), lambda: spec.query)


def _for_others(connection: Connection, guard: GuardPolicy) -> Connection:
    """``connection`` for statements that others write: of files, they read those of a folder that is configured."""
    if guard.files != "anywhere":
        return replace(connection, guard=guard)
    return replace(connection, guard=replace(guard, files=None), options=replace(connection.options, files=None))


def _connection(configured: Configured, name: str, columns_only: bool) -> Connection:
    connection = configured.connection(name)
    return replace(connection, options=replace(connection.options, columns_only=columns_only))
