"""From a request to an export: everything that can be refused without a database is refused here.

An :class:`Origin` says where the rows come from: a caller's query, a dataset, sensors, or rows that a client pushes.
:func:`check` is the only way from a request and its origin to a :class:`Checked`, which is opened later with the
export's id; nothing is connected before the first chunk is pulled.

    ExportSpec + Origin --check()--> Checked --open(id)--> Export --chunks() or parts()--> bytes
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from fluxport import formats
from fluxport.errors import LimitExceeded, QueryFailed, QueryRefused, Refused, Unavailable
from fluxport.file_names import fields, file_name
from fluxport.findings import Findings
from fluxport.pipeline import Part, Split, Tally, parts, stream
from fluxport.sources import QUERIES_MAX, SourceOptions, dialect_of, guard_of, open_source
from fluxport.sources.table import Files
from fluxport.spec import ExportSpec
from fluxport.stages import Batches, Chunks, Encoder, Limits, Source, Step

if TYPE_CHECKING:
    import pyarrow as pa

    from fluxport.datasets import Dataset
    from fluxport.formats.compress import Compression
    from fluxport.formats.options import ColumnChoice, CommonOptions
    from fluxport.policy.guard import GuardPolicy
    from fluxport.policy.guard.words import Dialect
    from fluxport.series import SensorStore
    from fluxport.sources.pushed import DeclaredSource

T = TypeVar("T")

COUNT_S = 2.0  # longest time for counting the rows


@dataclass(frozen=True)
class Connection:
    """A database that exports may read, by the name callers use; without ``guard`` it serves only datasets."""

    name: str
    url: str = field(repr=False)
    guard: GuardPolicy | None = None
    queries_max: int = QUERIES_MAX
    options: SourceOptions = field(default_factory=SourceOptions)  # for each query


class Sensors(NamedTuple):
    """The sensor store, read by ``queries_max`` exports at once; ``connection`` is its database, or a reserved name."""

    store: SensorStore
    queries_max: int
    connection: str


# -- where rows come from ----------------------------------------------------------------------------------------------


def uncounted() -> None:
    """The ``rows_to_come`` of sources that cannot count without reading: None."""


class Rows(NamedTuple):
    """Rows of one export, checked and not yet begun. ``rows_to_come`` counts them within COUNT_S, or returns None;
    ``estimate`` asks the database for an estimate; ``statement`` is what will run there. ``declared`` is their schema
    if it is known before the first row; ``stem`` is the default file name.
    """

    source: Source
    rows_to_come: Callable[[], int | None] = uncounted
    estimate: Callable[[], int | None] = uncounted
    statement: str | None = None
    declared: pa.Schema | None = None
    stem: str | None = None


class Origin(NamedTuple):
    """Where the rows of an export come from; ``rows`` checks the request (Refused) without connecting. ``connection``
    is the name of the connection, if it has one."""

    rows: Callable[[Findings, Limits], Rows]
    dataset: Dataset | None = None
    connection: str | None = None


def of_query(spec: ExportSpec, connection: Connection, guarded: Callable[[], str] | None = None) -> Origin:
    """A caller's statement. ``guarded`` returns the statement to run if the guard runs in a separate process (on the
    command line), else the connection's guard checks it."""

    def rows(findings: Findings, limits: Limits) -> Rows:
        statement = guarded() if guarded else _guard(spec, connection)
        may_read = connection.guard.opens if connection.guard is not None else None
        options = replace(_read_options(spec, connection), may_read=may_read)
        return _queried(connection, options, statement, spec.params, findings, limits)

    return Origin(rows, connection=connection.name)


def of_dataset(spec: ExportSpec, connection: Connection, dataset: Dataset, owner: str) -> Origin:
    """A dataset's rows that ``owner`` may see; its query is the operator's and needs no guard."""

    def rows(findings: Findings, limits: Limits) -> Rows:
        query, params = dataset.compile(dialect_of(connection.url), spec.params, owner, **spec.rows)
        return _queried(connection, _read_options(spec, connection), query, params, findings, limits)

    return Origin(rows, dataset, connection.name)


def of_sensors(spec: ExportSpec, store: Callable[[], SensorStore], *, owned: bool = False) -> Origin:
    """The points of sensors. ``store`` is called once the request is valid; if ``owned``, the rows close it."""

    def rows(findings: Findings, limits: Limits) -> Rows:
        from fluxport.sources.series import Selection, SeriesSource

        assert spec.series is not None
        selection = Selection.from_json(spec.series)
        return Rows(SeriesSource(store(), selection, owned=owned), stem=selection.stem)

    return Origin(rows)


def of_push(source: DeclaredSource) -> Origin:
    """Rows that a client sends."""
    return Origin(lambda findings, limits: Rows(source, declared=source.declared))


def of_arrow(rows: Any) -> Origin:
    """Rows that the calling program has as Arrow data (:class:`fluxport.sources.arrow.ArrowSource`)."""

    def opened(findings: Findings, limits: Limits) -> Rows:
        from fluxport.sources.arrow import ArrowSource

        source = ArrowSource(rows)
        return Rows(source, declared=source.declared)

    return Origin(opened)


def _read_options(spec: ExportSpec, connection: Connection) -> SourceOptions:
    """The connection's options, and what the format of the file takes."""
    return replace(connection.options, decimal_text=formats.FORMATS[formats.canonical(spec.format)].decimal_text)


def _queried(
    connection: Connection, options: SourceOptions, query: str, params: Any, findings: Findings, limits: Limits
) -> Rows:
    # A query with a deadline must run where the deadline can end it.
    options = replace(options, separate=limits.deadline_s is not None)
    opened = partial(open_source, connection.url)
    counted = replace(options, columns_only=False)

    def count() -> int | None:
        # Counts the query that will run: checked by the guard, or the operator's own.
        counting = opened(
            f"SELECT COUNT(*) FROM (\n{query}\n) AS counted",  # noqa: S608  the guarded query, or the operator's own
            params,
            options=counted,
            limits=Limits(deadline_s=COUNT_S),
        )
        try:
            (total,) = [int(batch.column(0)[0].as_py()) for batch in counting.batches()]
        except (Unavailable, QueryFailed, LimitExceeded):
            return None
        finally:
            counting.close()
        return total if limits.rows is None else min(total, limits.rows)

    def estimate() -> int | None:
        from fluxport.sources.tables import estimated_rows

        rows = estimated_rows(connection.url, query, params, counted)
        return rows if rows is None or limits.rows is None else min(rows, limits.rows)

    source = opened(query, params, options=options, findings=findings, limits=limits)
    return Rows(source, count, estimate, query)


def guard_dialect(url: str) -> Dialect:
    """The dialect in which the guard parses queries of this database; QueryRefused if it supports none."""
    dialect = guard_of(url)
    if dialect is None:
        raise _unguarded()
    return dialect


def guard_files(files: Files) -> Literal["folder", "anywhere"] | None:
    """The files that the guard lets a statement read."""
    return "folder" if isinstance(files, Path) else files


def _unguarded() -> QueryRefused:
    return QueryRefused(
        "The guard cannot check queries for this kind of database: export a dataset that is declared for it.",
        code="query_unchecked",
    )


def _guard(spec: ExportSpec, connection: Connection) -> str:
    if connection.guard is None:
        raise _unguarded()
    from fluxport.policy.guard import check as check_query

    return check_query(spec.query, connection.guard.taking(spec.params))


# -- the form of the file ----------------------------------------------------------------------------------------------


class Form(NamedTuple):
    """The checked form of the file. With ``split`` there are several; a compression that is an archive contains them,
    or the single one. ``fields`` are for the template of its name."""

    format: str
    options: CommonOptions
    compression: Compression
    split: Split | None
    dataset: Dataset | None
    fields: Mapping[str, Any]

    def encoder(self, findings: Findings) -> Encoder:
        return formats.encoder(self.format, self.options, findings)

    def steps(self, findings: Findings) -> list[Step]:
        """The steps applied to each batch before it is encoded."""
        checked, steps = self.options, list[Step]()
        if self.dataset is not None:
            steps.append(self.dataset.typed())
        if checked.timezone is not None:
            from fluxport.policy.timezone import to_zone

            steps.append(to_zone(checked.timezone))
        if checked.columns:
            from fluxport.policy.columns import pick

            steps.append(pick(checked.columns))
        if formats.FORMATS[self.format].delimited and checked.sanitize == "formulas":
            from fluxport.policy.formulas import defuse

            steps.append(defuse(findings))
        return steps

    @property
    def media_type(self) -> str:
        return self.compression.media_type or formats.media_type(self.format, self.options)

    def names(self, template: str | None, export_id: str) -> tuple[str, str]:
        """The download file name, and the suffix of each file."""
        compression, suffix = self.compression, formats.FORMATS[self.format].suffixes[0]
        suffix += "" if compression.archive else compression.suffix
        ending, numbered = (compression.suffix, False) if compression.archive else (suffix, self.split is not None)
        now = datetime.now(UTC)
        return file_name(template, ending, export_id=export_id, now=now, numbered=numbered, given=self.fields), suffix

    def try_out(self, declared: pa.Schema, findings: Findings | None = None) -> tuple[pa.Schema, Encoder]:
        """Refused if such a file cannot hold columns of that schema (widths, number formats, sheet names, encodings);
        checked by encoding a file without rows. Returns the file's columns and that encoder."""
        findings = findings if findings is not None else Findings()
        for step in self.steps(findings):
            declared, _ = step(declared)
        encoder = self.encoder(findings)
        for _ in encoder.encode(declared, _no_batches()):
            pass
        return declared, encoder

    def limited(self, limits: Limits) -> Limits:
        """``limits`` with the option 'limit'."""
        return limits if self.options.limit is None else replace(limits, rows=self.options.limit)


def check_form(
    spec: ExportSpec,
    dataset: Dataset | None = None,
    *,
    connection: str | None = None,
    user: str | None = None,
    may_split: bool = False,
) -> Form:
    """Format, options, compression and file name of a request; Refused if they are invalid, or result in several files
    and ``may_split`` is false."""
    name = formats.canonical(spec.format)
    checked = formats.options(name, spec.options)
    compression = _compression(name, spec)
    if checked.limit is not None and checked.limit < 0:
        raise Refused("Option 'limit' cannot be negative.", code="bad_option")
    split = _split(checked, may_split or compression.archive)
    if dataset is not None:
        checked = replace(checked, columns=_columns(dataset, checked.columns))
    given = fields(spec.params, dataset=spec.dataset, connection=connection, user=user)
    form = Form(name, checked, compression, split, dataset, given)
    form.encoder(Findings())  # may refuse options, and imports what it needs while the guard is running
    form.names(spec.filename, "id")
    return form


def _compression(name: str, spec: ExportSpec) -> Compression:
    from fluxport.formats import compress

    written, compression = formats.FORMATS[name], compress.COMPRESSIONS[compress.canonical(spec.compression)]
    if written.compresses_inside and compression.apply is not None:
        raise Refused(
            f"{written.label} compresses inside the file: use its option {written.compresses_inside!r} instead.",
            code="bad_compression",
        )
    return compression


def _split(checked: CommonOptions, may_split: bool) -> Split | None:
    """Where files end, if several are requested."""
    for option in ("max_rows_per_file", "max_bytes_per_file"):
        if (value := getattr(checked, option)) is not None and value < 1:
            raise Refused(f"Option {option!r} cannot be {value}; it takes 1 or more.", code="bad_option")
    if checked.file_rows_max is None and checked.max_bytes_per_file is None:
        return None
    if not may_split:
        raise Refused(
            "A stream holds one file: with 'max_rows_per_file', 'max_bytes_per_file' or 'on_row_limit: new_file' use "
            "compression zip, a stored export without upload, or 'fluxport export' to a folder.",
            code="one_file_only",
        )
    return Split(checked.file_rows_max, checked.max_bytes_per_file)


def _columns(dataset: Dataset, choices: Sequence[ColumnChoice]) -> tuple[ColumnChoice, ...]:
    """The chosen columns, or all of the dataset's; attributes that a choice omits are those the dataset declares."""
    from fluxport.formats.options import parse_columns

    declared = {choice.name: choice for choice in parse_columns(dataset.choices)}
    for choice in choices:
        if choice.name not in declared:
            import difflib

            near = difflib.get_close_matches(choice.name, declared, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(declared)}."
            raise Refused(f"Unknown column {choice.name!r} of dataset {dataset.name!r}; {hint}", code="unknown_column")
    return tuple(_with_defaults(choice, declared[choice.name]) for choice in choices) or tuple(declared.values())


def _with_defaults(choice: ColumnChoice, declared: ColumnChoice) -> ColumnChoice:
    return replace(
        choice,
        label=choice.label or declared.label,
        width=declared.width if choice.width is None else choice.width,
        format=choice.format or declared.format,
        as_text=choice.as_text or declared.as_text,
    )


# -- the export --------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Export:
    """One planned export; ``chunks()`` does the work when pulled and may be called once.

    If ``parts`` is set, the export is several files: call it instead; ``filename`` may then hold ``{part}``.
    ``rows_to_come`` counts the query's rows in the database before they are read; None if that takes longer than
    COUNT_S or is impossible (two columns of one name). Rows may still be added before they are read.
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


class Checked(NamedTuple):
    """A request that is valid as far as can be known without its database; opened once."""

    spec: ExportSpec
    form: Form
    rows: Rows
    limits: Limits
    findings: Findings

    def open(self, export_id: str) -> Export:
        """The export with that id; nothing is connected before its first pull."""
        form, findings, tally, source = self.form, self.findings, Tally(), self.rows.source
        encoder = form.encoder(findings)
        steps, compress = form.steps(findings), form.compression.apply
        filename, suffix = form.names(self.spec.filename or self.rows.stem, export_id)

        def chunks() -> Chunks:
            file = stream(source, steps, encoder, compress=compress, limits=self.limits, tally=tally)
            return _finished(file, tally, findings)

        def several(split: Split, tally: Tally = tally) -> Generator[Part, None, None]:
            shared: dict[str, Any] = {"limits": self.limits, "tally": tally, "findings": findings}
            files = parts(source, steps, form.encoder, split, compress=compress, **shared)
            return _finished(files, tally, findings)

        def archive() -> Chunks:
            from fluxport.partfiles import part_name, zip_of_parts

            inner = Tally(started=tally.started, ids=tally.ids)
            stem = filename.removesuffix(form.compression.suffix) + suffix

            def name_of(number: int) -> str:
                return stem if form.split is None else part_name(stem, suffix, number)

            return zip_of_parts(several(form.split or Split(), inner), name_of, inner, tally, findings)

        export = partial(
            Export,
            self.spec,
            filename,
            tally=tally,
            findings=findings,
            source=source,
            rows_to_come=self.rows.rows_to_come,
        )
        if form.compression.archive:
            return export(suffix=form.compression.suffix, media_type=form.media_type, chunks=archive)
        in_parts = partial(several, form.split) if form.split is not None else None
        return export(suffix=suffix, media_type=form.media_type, chunks=chunks, parts=in_parts)


def check(
    spec: ExportSpec, origin: Origin, *, limits: Limits, user: str | None = None, may_split: bool = False
) -> Checked:
    """The request of ``user``, checked as far as possible without a database; Refused if it is invalid."""
    form = check_form(spec, origin.dataset, connection=origin.connection, user=user, may_split=may_split)
    findings, limits = Findings(), form.limited(limits)
    rows = origin.rows(findings, limits)
    if rows.declared is not None:
        form.try_out(rows.declared)
    return Checked(spec, form, rows, limits, findings)


def _no_batches() -> Batches:
    yield from ()


def _finished(items: Generator[T, None, None], tally: Tally, findings: Findings) -> Generator[T, None, None]:
    yield from items
    if tally.truncated:
        findings.add("limit_reached")
