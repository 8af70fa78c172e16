"""From what was asked to a stream that is ready to be pulled: everything that can be refused is refused here.

Both the command line and the service go through :func:`plan_export`; nothing has been opened when it returns.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fluxport import formats
from fluxport.errors import LimitExceeded, QueryFailed, QueryRefused, Refused, Unavailable
from fluxport.findings import Findings
from fluxport.headers import one_line
from fluxport.pipeline import Part, Split, Tally, parts, stream
from fluxport.stages import Batches, Chunks, Limits, Source, Step

if TYPE_CHECKING:
    import pyarrow as pa

    from fluxport.datasets import Dataset
    from fluxport.formats.compress import Compression
    from fluxport.formats.options import ColumnChoice, CommonOptions
    from fluxport.policy.guard import GuardPolicy
    from fluxport.policy.guard.words import Dialect
    from fluxport.series import SensorStore
    from fluxport.sources import SourceOptions

T = TypeVar("T")

COUNT_S = 2.0  # how long the number of rows to come may take to be counted


@dataclass(frozen=True)
class Connection:
    """A database that exports may read, by the name callers use; without ``guard`` it serves datasets alone."""

    name: str
    url: str = field(repr=False)
    guard: GuardPolicy | None = None
    queries_max: int = 3
    tinyint1_bool: bool = False
    shown: str = ""  # what errors call it; else host and port of the database
    connect_timeout_s: float | None = None
    read_timeout_s: float | None = None

    @property
    def options(self) -> SourceOptions:
        """What is the same for each of its queries."""
        from fluxport.sources import SourceOptions

        return SourceOptions(
            tinyint1_bool=self.tinyint1_bool,
            shown=self.shown,
            connect_timeout_s=self.connect_timeout_s,
            read_timeout_s=self.read_timeout_s,
        )


@dataclass(frozen=True)
class Sensors:
    """Where sensors are read, by so many exports at once; ``connection`` is the one behind it, or a name of its own."""

    store: SensorStore
    connection: str = "series"
    queries_max: int = 64


@dataclass(frozen=True)
class ExportSpec:
    """What somebody asked for; the body of ``POST /v1/exports`` and ``/v1/stream``, checked for shape.

    With ``dataset`` there is no ``query``, ``params`` are its filters, and ``connection`` is what the dataset says.
    With ``series`` there is neither: it is the object ``source`` of sensors (sources/series.py).
    With ``pushed``, the names and types of columns, the caller sends the rows and no connection is read.
    """

    query: str = ""
    connection: str = "main"
    params: Any = ()
    format: str = "csv"
    options: Mapping[str, Any] = field(default_factory=dict)
    compression: str = "none"
    filename: str | None = None
    store: str = "local"
    dataset: str | None = None
    series: Mapping[str, Any] | None = None
    pushed: Sequence[Mapping[str, str]] | None = None

    @property
    def scope(self) -> str:
        """What a caller must be allowed to do to ask for this."""
        if self.series is not None:
            return "series"
        if self.pushed is not None:
            return "push"
        if self.dataset is not None:
            return f"dataset:{self.dataset}"
        return f"sql:{self.connection}"

    @classmethod
    def from_json(cls, body: Any) -> ExportSpec:
        if not isinstance(body, Mapping):
            raise Refused("The body must be a JSON object with at least 'source'.", code="bad_body")
        _known(body, ("source", "format", "options", "compression", "filename", "store"), "body")
        source = body.get("source")
        if not isinstance(source, Mapping):
            raise Refused('\'source\' must be an object such as {"query": "SELECT ..."}.', code="bad_source")
        kinds = [kind for kind in SOURCE_KEYS if kind in source]
        if len(kinds) != 1:
            raise Refused("'source' has either 'query', 'dataset' or 'sensor_id'.", code="bad_source")
        kind = kinds[0]
        _known(source, SOURCE_KEYS[kind], "source")
        series = dict(source) if kind == "sensor_id" else None
        given = ({} if series is not None else {kind: source[kind]}) | {
            "connection": source.get("connection", "main"),
            "format": body.get("format", "csv"),
            "compression": body.get("compression", "none"),
            "filename": body.get("filename"),
            "store": body.get("store", "local"),
        }
        for key, value in given.items():
            if not isinstance(value, str) and not (key == "filename" and value is None):
                raise Refused(f"{key!r} must be text.", code="bad_body")
        options = body.get("options", {})
        if not isinstance(options, Mapping):
            raise Refused("'options' must be an object of option names and values.", code="bad_body")
        params = source.get("params", {} if kind == "dataset" else ())
        if kind == "dataset" and not isinstance(params, Mapping):
            raise Refused("'params' must be an object of filters and their values.", code="bad_body")
        if not isinstance(params, Mapping | list | tuple):
            raise Refused("'params' must be a list or an object of values to bind.", code="bad_body")
        return cls(**given, options=options, params=params, series=series)


SOURCE_KEYS: dict[str, tuple[str, ...]] = {
    "query": ("query", "connection", "params"),
    "dataset": ("dataset", "params"),
    "sensor_id": ("sensor_id", "start_ts", "end_ts", "layout", "aggregate", "interval", "time"),
}


def _known(given: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it knows: {', '.join(names)}."
            raise Refused(f"Unknown key {key!r} in {where}{hint}", code="unknown_key")


@dataclass(eq=False)
class Export:
    """One export, planned; ``chunks()`` does the work when pulled and may be called once.

    With ``parts`` it is asked for as several files: then that is called instead, and ``filename`` may hold ``{part}``.
    ``rows_to_come`` asks the database how many rows the query gives, before they are read: None where the answer takes
    longer than COUNT_S or cannot be had (two columns of one name). Others may add rows meanwhile.
    """

    spec: ExportSpec
    filename: str
    suffix: str
    media_type: str
    tally: Tally
    findings: Findings
    source: Source
    rows_to_come: Callable[[], int | None]
    chunks: Callable[[], Chunks]
    parts: Callable[[], Generator[Part, None, None]] | None = None


def plan_export(  # noqa: PLR0913  everything that a request, a configuration and a door say
    spec: ExportSpec,
    connection: Connection | None,
    *,
    limits: Limits,
    dataset: Dataset | None = None,
    sensors: SensorStore | None = None,
    owner: str = "",
    export_id: str = "export",
    guarded: Callable[[], str] | None = None,
    may_split: bool = False,
) -> Export:
    """Check everything that needs no database; Refused with one sentence otherwise.

    ``guarded`` gives the statement to run where the guard has its own process (the command line); else the
    connection's guard is asked here. A ``dataset`` needs no guard: its query is the operator's, and gets the rows of
    ``owner``. A spec of ``series`` reads ``sensors`` and needs no connection. ``limits.rows`` is set by the ``limit``
    option. Options that make several files are refused unless the caller ``may_split``.
    """
    name = formats.canonical(spec.format)
    checked = formats.options(name, spec.options)
    findings, tally = Findings(), Tally()
    encoder = formats.encoder(name, checked, findings)
    archived, entry = _compression(name, spec)
    split = _split(checked, may_split or archived)
    if dataset is not None:
        checked = replace(checked, columns=_columns(dataset, checked.columns))
    steps = _steps(name, checked, findings)
    if dataset is not None:
        steps.insert(0, dataset.typed())
    limits = _limited(limits, checked.limit)
    source: Source
    rows_to_come: Callable[[], int | None]
    stem = spec.filename
    if spec.series is not None:
        assert sensors is not None
        source, rows_to_come, stem = _sensed(spec, sensors)
    else:
        assert connection is not None
        source, rows_to_come = _queried(spec, connection, dataset, owner, guarded, findings, limits)
    media_type = entry.media_type or encoder.media_type
    suffix = encoder.suffix + entry.suffix
    ending, numbered = (".zip", False) if archived else (suffix, split is not None)
    filename = file_name(stem, ending, export_id=export_id, now=datetime.now(UTC), numbered=numbered)

    def chunks() -> Chunks:
        made = stream(source, steps, encoder, compress=entry.apply, limits=limits, tally=tally)
        return _finished(made, tally, findings)

    def several(split: Split, tally: Tally = tally) -> Generator[Part, None, None]:
        again = partial(formats.encoder, name, checked)
        told: dict[str, Any] = {"compress": entry.apply, "limits": limits, "tally": tally, "findings": findings}
        return _finished(parts(source, steps, again, split, **told), tally, findings)

    def archive() -> Chunks:
        from fluxport.partfiles import part_name, zip_of_parts

        inner, stem = Tally(started=tally.started), filename[: -len(".zip")] + suffix

        def name_of(number: int) -> str:
            return stem if split is None else part_name(stem, suffix, number)

        return zip_of_parts(several(split or Split(), inner), name_of, inner, tally, findings)

    if archived:
        return Export(spec, filename, ".zip", "application/zip", tally, findings, source, rows_to_come, archive)
    in_parts = partial(several, split) if split is not None else None
    return Export(spec, filename, suffix, media_type, tally, findings, source, rows_to_come, chunks, in_parts)


def _limited(limits: Limits, rows: int | None) -> Limits:
    """``limits`` with the option 'limit'."""
    if rows is None:
        return limits
    if rows < 0:
        raise Refused("Option 'limit' cannot be negative.", code="bad_option")
    return replace(limits, rows=rows)


def _sensed(spec: ExportSpec, sensors: SensorStore) -> tuple[Source, Callable[[], int | None], str]:
    """The source of sensors' points, which nobody counts before they are read, and what their file is called."""
    from fluxport.sources.series import Selection, SeriesSource

    assert spec.series is not None
    selection = Selection.from_json(spec.series)
    return SeriesSource(sensors, selection), lambda: None, spec.filename or selection.stem


def _queried(
    spec: ExportSpec,
    connection: Connection,
    dataset: Dataset | None,
    owner: str,
    guarded: Callable[[], str] | None,
    findings: Findings,
    limits: Limits,
) -> tuple[Source, Callable[[], int | None]]:
    """The source of a query or of a dataset's, and what counts its rows."""
    from fluxport.sources import open_source, scheme_of

    query, params = spec.query, spec.params
    # What can meet a deadline must be able to end by it.
    options = replace(connection.options, separate=limits.deadline_s is not None)
    if dataset is not None:
        query, params = dataset.compile(scheme_of(connection.url), params, owner)
    else:
        query = guarded() if guarded else _guard(spec, connection)
        options = replace(options, may_read=connection.guard.opens if connection.guard is not None else None)
    opened = partial(open_source, connection.url, options=options)

    def rows_to_come() -> int | None:
        # What is counted is what will run: checked by the guard, or the operator's own.
        counting = opened(f"SELECT COUNT(*) FROM (\n{query}\n) AS counted", params, limits=Limits(deadline_s=COUNT_S))  # noqa: S608  the guarded query, or the operator's own
        try:
            (found,) = [int(batch.column(0)[0].as_py()) for batch in counting.batches()]
        except (Unavailable, QueryFailed, LimitExceeded):
            return None
        finally:
            counting.close()
        return found if limits.rows is None else min(found, limits.rows)

    return opened(query, params, findings=findings, limits=limits), rows_to_come


def plan_pushed(
    spec: ExportSpec, source: Source, declared: pa.Schema, *, limits: Limits, export_id: str = "planned"
) -> Export:
    """The file of rows that the caller sends, whose columns are ``declared``; Refused where there can be none."""
    from fluxport.formats import compress

    name = formats.canonical(spec.format)
    checked = formats.options(name, spec.options)
    findings, tally = Findings(), Tally()
    encoder = formats.encoder(name, checked, findings)
    steps = _steps(name, checked, findings)
    entry = compress.COMPRESSIONS[compress.canonical(spec.compression)]
    # A file of no rows shows whether there can be one at all: widths, number formats, names of sheets, encodings.
    trial = formats.encoder(name, checked, Findings())
    schema = declared
    for step in steps:
        schema, _ = step(schema)
    for _ in trial.encode(schema, _no_batches()):
        pass
    suffix = encoder.suffix + entry.suffix

    def chunks() -> Chunks:
        made = stream(source, steps, encoder, compress=entry.apply, limits=limits, tally=tally)
        return _finished(made, tally, findings)

    return Export(
        spec,
        file_name(spec.filename, suffix, export_id=export_id, now=datetime.now(UTC)),
        suffix,
        entry.media_type or encoder.media_type,
        tally,
        findings,
        source,
        lambda: None,
        chunks,
    )


def _no_batches() -> Batches:
    yield from ()


def _compression(name: str, spec: ExportSpec) -> tuple[bool, Compression]:
    """Whether the export is a ZIP, and how each file is compressed."""
    from fluxport.formats import compress

    archived = spec.compression.lower() == compress.ARCHIVE
    packed = "none" if archived else compress.canonical(spec.compression)
    if name == "parquet" and packed != "none":
        raise Refused("Parquet compresses inside the file: use its option 'codec' instead.", code="bad_compression")
    return archived, compress.COMPRESSIONS[packed]


def _split(checked: CommonOptions, may_split: bool) -> Split | None:
    """Where files end, if several are asked for."""
    for option in ("max_rows_per_file", "max_bytes_per_file"):
        if (value := getattr(checked, option)) is not None and value < 1:
            raise Refused(f"Option {option!r} cannot be {value}; it takes 1 or more.", code="bad_option")
    if checked.file_rows_max is None and checked.max_bytes_per_file is None:
        return None
    if not may_split:
        raise Refused(
            "One stream holds one file: with 'max_rows_per_file', 'max_bytes_per_file' or 'on_row_limit: new_file' ask "
            "for compression zip, for a stored export without upload, or for 'fluxport export' to a folder.",
            code="one_file_only",
        )
    return Split(checked.file_rows_max, checked.max_bytes_per_file)


def _finished(made: Generator[T, None, None], tally: Tally, findings: Findings) -> Generator[T, None, None]:
    yield from made
    if tally.truncated:
        findings.add("limit_reached")


def guard_dialect(url: str) -> Dialect:
    """The dialect in which the guard reads queries of this database; QueryRefused if it knows none."""
    from fluxport.sources import scheme_of

    dialects: dict[str, Dialect] = {"mysql": "mysql", "mariadb": "mysql", "sqlite": "sqlite"}
    dialect = dialects.get(scheme_of(url))
    if dialect is None:
        raise _unguarded()
    return dialect


def _unguarded() -> QueryRefused:
    return QueryRefused(
        "Queries of callers cannot be checked for this kind of database: export a dataset that is declared for it.",
        code="query_unchecked",
    )


def _guard(spec: ExportSpec, connection: Connection) -> str:
    if connection.guard is None:
        raise _unguarded()
    from fluxport.policy.guard import check

    return check(spec.query, connection.guard)


def _columns(dataset: Dataset, asked: Sequence[ColumnChoice]) -> tuple[ColumnChoice, ...]:
    """The columns asked for, or all of the dataset's; what a choice leaves open is as the dataset declares it."""
    from fluxport.formats.options import parse_columns

    declared = {choice.name: choice for choice in parse_columns(dataset.choices)}
    for choice in asked:
        if choice.name not in declared:
            near = difflib.get_close_matches(choice.name, declared, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(declared)}."
            raise Refused(f"Unknown column {choice.name!r} of dataset {dataset.name!r}; {hint}", code="unknown_column")
    return tuple(_with_defaults(choice, declared[choice.name]) for choice in asked) or tuple(declared.values())


def _with_defaults(choice: ColumnChoice, declared: ColumnChoice) -> ColumnChoice:
    return replace(
        choice,
        label=choice.label or declared.label,
        width=declared.width if choice.width is None else choice.width,
        format=choice.format or declared.format,
        as_text=choice.as_text or declared.as_text,
    )


def _steps(name: str, checked: CommonOptions, findings: Findings) -> list[Step]:
    steps: list[Step] = []
    if checked.timezone is not None:
        from fluxport.policy.timezone import to_zone

        steps.append(to_zone(checked.timezone))
    if checked.columns:
        from fluxport.policy.columns import pick

        steps.append(pick(checked.columns))
    if name in ("csv", "tsv") and checked.sanitize == "formulas":
        from fluxport.policy.formulas import defuse

        steps.append(defuse(findings))
    return steps


_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


def file_name(template: str | None, suffix: str, *, export_id: str, now: datetime, numbered: bool = False) -> str:
    """The file's name for people: the caller's template filled in, unsafe characters replaced, the right suffix.

    ``{part}`` stays as it is where files are ``numbered``, and is unknown elsewhere.
    """
    made = (template or "export-{date}-{time}").strip()
    values = {
        "job_id": export_id,
        "date": f"{now:%Y-%m-%d}",
        "time": f"{now:%H%M%S}",
    } | ({"part": "{part}"} if numbered else {})
    for key in re.findall(r"\{([^{}]*)\}", made):
        if key not in values:
            raise Refused(
                f"Unknown field {{{key}}} in 'filename'; it knows: {', '.join('{' + k + '}' for k in values)}.",
                code="bad_filename",
            )
        made = made.replace("{" + key + "}", values[key])
    # A mark that sets a direction shows fdp.exe as exe.pdf; nothing that is not seen belongs into a name.
    made = one_line(_UNSAFE.sub("_", made)).strip(". ")
    if not made:
        raise Refused("'filename' has no usable character.", code="bad_filename")
    stem = made
    for ending in (suffix, f".{suffix.split('.')[1]}"):
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
            break
    return stem.encode()[: 200 - len(suffix)].decode(errors="ignore") + suffix
