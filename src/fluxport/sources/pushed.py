"""Pushed rows: the caller sends them batch after batch.

Nothing is queued here: ``take`` returns the next batch when it is pulled, so the sink's speed limits the sender's
(backpressure). Columns are declared before the first row; values arrive as Arrow IPC, or as text, converted to typed
columns a whole batch at a time. A value that does not match its declaration is refused with its row (from 1) and
column.

A number stays the text that was sent (FIELD_KIND "number") where the file can hold every digit; in columnar files it is
a double. A date is a timestamp without a zone; text files contain it as it was sent.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol

from fluxport.errors import Refused
from fluxport.stages import FIELD_FORMAT, FIELD_KIND, FIELD_TYPE, FIELD_WIDTH, Batches, Source

if TYPE_CHECKING:
    import pyarrow as pa

    from fluxport.sources.typed_text import Parser

Kind = Literal["string", "number", "date", "boolean"]

GATHERED_ROWS, GATHERED_BYTES = 256, 1 << 20  # of small batches that are converted together
JOINED_CELLS = 1 << 15  # of columns that are converted together


@dataclass(frozen=True)
class PushedColumn:
    """A column as its sender declares it; ``width`` and ``format`` are for spreadsheets."""

    name: str
    kind: Kind
    width: int | None = None
    format: str | None = None


@dataclass(frozen=True)
class PushedBatch:
    """One batch: ``rows`` with one text per column, ``cells``, the same as a string array, one row after the other, or
    ``arrow``, an IPC stream. ``sequence`` 0: not numbered; else from 1. ``raw`` is the batch as sent, for comparing
    repeats."""

    sequence: int
    raw: bytes
    rows: Sequence[Sequence[str]] = ()
    cells: pa.StringArray | None = None
    arrow: bytes = b""

    @property
    def has_texts(self) -> bool:
        return bool(self.rows) or self.cells is not None

    @property
    def name(self) -> str:
        return f"Batch {self.sequence}" if self.sequence else "A batch without a number"


@dataclass(frozen=True)
class PushedOptions:
    """``exact_text``: the file holds numbers and dates as text; ``rows_expected`` None: unknown."""

    exact_text: bool = False
    exact_numbers: bool = True
    batch_rows_max: int = sys.maxsize
    rows_expected: int | None = None


class DeclaredSource(Source, Protocol):
    """A source whose columns are known before its first row."""

    @property
    def declared(self) -> pa.Schema: ...


class PushedSource:
    """See :class:`fluxport.stages.Source`.

    ``take`` blocks until there is a batch and returns None after the last; ``stop`` makes it raise Canceled; ``ready``
    says whether it returns at once: small batches that have arrived are converted together. Not a BaseSource: the call
    that sends the rows owns the connection and knows why it ends (client gone, idle, canceled).
    """

    sent = True

    def __init__(
        self,
        columns: Sequence[PushedColumn],
        take: Callable[[], PushedBatch | None],
        stop: Callable[[], None],
        options: PushedOptions | None = None,
        ready: Callable[[], bool] = lambda: False,
    ) -> None:
        self._columns = columns
        self._take = take
        self._stop = stop
        self._ready = ready
        self._options = options or PushedOptions()
        self._schema: pa.Schema | None = None
        self._ordered = self._in_order()  # None for a message without new rows
        self._first: PushedBatch | None = None
        self._rows = 0
        self.ended = False

    @property
    def schema(self) -> pa.Schema:
        if self._schema is None:
            self._first = next((batch for batch in self._ordered if batch is not None), None)
            if self._first is not None and self._first.arrow:
                self._schema = self._arrow_schema(self._first)
            else:
                self._schema = self.declared
        return self._schema

    @property
    def declared(self) -> pa.Schema:
        """The schema of rows that arrive as text."""
        import pyarrow as pa

        return pa.schema([_field(column, parser.type, parser.kind) for column, parser in self._parsers()])

    def batches(self) -> Batches:
        schema = self.schema
        as_arrow = self._first is not None and bool(self._first.arrow)
        first, self._first = self._first, None
        batches = self._checked(chain([first] if first is not None else [], self._ordered), as_arrow=as_arrow)
        for part in self._arrow(batches, schema) if as_arrow else self._texts(batches, schema):
            self._rows += part.num_rows
            yield part
        _check_count(self._rows, self._options.rows_expected)
        self.ended = True

    def close(self) -> None:
        self._stop()

    # -- batches in their order --------------------------------------------------------------------------------------

    def _in_order(self) -> Iterator[PushedBatch | None]:
        """Every batch that has rows, once; None for each other one, so that no reader waits for what follows it. One
        without a number is taken as it comes: it is no repeat, and the others are counted without it. Numbers rise by
        one, from 1."""
        last: PushedBatch | None = None
        while (batch := self._take()) is not None:
            if batch.sequence:
                if _repeats(batch, last):
                    yield None
                    continue
                last = batch
            yield batch if batch.arrow or batch.has_texts else None

    @staticmethod
    def _checked(batches: Iterator[PushedBatch | None], *, as_arrow: bool) -> Iterator[PushedBatch | None]:
        """The batches, which must all be records, or all Arrow."""
        for batch in batches:
            if batch is not None:
                if batch.arrow and batch.has_texts:
                    raise Refused(f"{batch.name} has records and arrow_ipc; send one of them.", code="bad_batch")
                if bool(batch.arrow) != as_arrow:
                    raise Refused(f"{batch.name}: send all batches as records or all as arrow_ipc.", code="bad_batch")
            yield batch

    def _gathered(
        self, batches: Iterator[PushedBatch | None], read: Callable[[PushedBatch, int], Sequence[Any]], width: int
    ) -> Iterator[list[Any]]:
        """What ``read`` returns for each batch: arrays or record batches, of ``width`` values a row. Those of several
        small batches that have arrived come together, as a batch of many columns and few rows costs as much as one of
        more rows; of a large batch, each alone. What was read never waits for a batch that has not arrived. An error is
        raised after the rows before it."""
        held: list[Any] = []
        size = rows = 0
        failed: Refused | None = None
        try:
            for batch in batches:
                parts = [] if batch is None else read(batch, self._rows + rows)
                sent = 0 if batch is None else len(batch.raw)
                count = sum(len(part) for part in parts) // width
                is_large = sent >= GATHERED_BYTES or count >= GATHERED_ROWS
                if not is_large:
                    held, size, rows = [*held, *parts], size + sent, rows + count
                if held and (is_large or size >= GATHERED_BYTES or rows >= GATHERED_ROWS or not self._ready()):
                    yield held
                    held, size, rows = [], 0, 0
                if is_large:
                    yield from ([part] for part in parts)
        except Refused as error:
            failed = error
        if held:
            yield held
        if failed is not None:
            raise failed

    # -- texts -------------------------------------------------------------------------------------------------------

    def _parsers(self) -> list[tuple[PushedColumn, Parser]]:
        from fluxport.sources.typed_text import parser

        options = self._options
        return [
            (c, parser(c.kind, c.format, exact_text=options.exact_text, exact_numbers=options.exact_numbers))
            for c in self._columns
        ]

    def _texts(self, batches: Iterator[PushedBatch | None], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        parsers = [parser for _, parser in self._parsers()]
        alike: dict[tuple[str, str | None], list[int]] = {}
        for index, column in enumerate(self._columns):
            alike.setdefault((column.kind, column.format if column.kind == "date" else None), []).append(index)
        for cells in self._gathered(batches, self._cells, len(parsers)):
            yield self._converted(cells, parsers, list(alike.values()), schema)

    def _cells(self, batch: PushedBatch, rows_before: int) -> list[pa.StringArray]:
        """The batch's values, one row after the other, in one array; none if it has no rows."""
        import pyarrow as pa

        width = len(self._columns)
        if batch.cells is not None:
            cells = batch.cells
        else:
            for at, row in enumerate(batch.rows, 1):
                if len(row) != width:
                    raise Refused(
                        f"Row {rows_before + at:,} has {len(row)} values; {width} columns are declared.",
                        code="wrong_width",
                    )
            cells = pa.array(list(chain.from_iterable(batch.rows)), pa.string())
        self._check_rows(batch, len(cells) // width)
        return [cells] if len(cells) else []

    def _converted(
        self, cells: list[pa.StringArray], parsers: Sequence[Parser], alike: Sequence[list[int]], schema: pa.Schema
    ) -> pa.RecordBatch:
        """One batch of all rows: columns ``alike`` are converted together, except where one has unusual values."""
        import numpy as np
        import pyarrow as pa

        from fluxport import compute as pc

        width = len(parsers)
        ends = np.cumsum([len(each) // width for each in cells])
        rows = int(ends[-1])
        joined = cells[0] if len(cells) == 1 else pa.concat_arrays(cells)
        first_cells = np.arange(rows, dtype=np.int64) * width
        arrays: list[Any] = [None] * width
        wrong: list[tuple[int, int, int]] = []  # batch, column and row of the first wrong value of each column
        most = max(1, JOINED_CELLS // rows)
        for group in (columns[start : start + most] for columns in alike for start in range(0, len(columns), most)):
            texts = pc.take(joined, pc.from_numpy((np.array(group)[:, None] + first_cells).ravel()))
            quick = parsers[group[0]].quick(texts) if len(group) > 1 else None
            for number, index in enumerate(group):
                if quick is not None:
                    arrays[index] = quick.slice(number * rows, rows)
                    continue
                arrays[index], at = parsers[index](texts.slice(number * rows, rows))
                if at is not None:
                    wrong.append((int(np.searchsorted(ends, at, side="right")), index, at))
        if wrong:
            _, index, at = min(wrong)
            self._refuse_value(at, self._columns[index])
        return pa.record_batch(arrays, schema=schema)

    def _refuse_value(self, at: int, column: PushedColumn) -> NoReturn:
        expected = {"number": "a number", "date": "a date", "boolean": "true or false", "string": "text"}
        raise Refused(
            f"Row {self._rows + at + 1:,}, column {column.name!r}: the value is not {expected[column.kind]}.",
            code="wrong_type",
        )

    def _check_rows(self, batch: PushedBatch, count: int) -> None:
        if count > self._options.batch_rows_max:
            raise Refused(
                f"{batch.name} has {count:,} rows; send at most {self._options.batch_rows_max:,} in one.",
                code="batch_too_large",
            )

    # -- Arrow -------------------------------------------------------------------------------------------------------

    def _arrow_schema(self, batch: PushedBatch) -> pa.Schema:
        """The schema of the first batch, checked against the declared columns, with their spreadsheet metadata."""
        import pyarrow as pa

        from fluxport.arrow_ipc import opened

        with opened(batch.arrow, f"{batch.name}: its arrow_ipc", "bad_batch") as reader:
            sent = reader.schema
        return pa.schema(checked_fields(sent, self._columns))

    def _arrow(self, batches: Iterator[PushedBatch | None], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        sent = schema.remove_metadata()
        for parts in self._gathered(batches, lambda batch, _: self._records(batch, sent), 1):
            whole = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
            yield pa.record_batch(whole.columns, schema=schema)

    def _records(self, batch: PushedBatch, sent: pa.Schema) -> list[pa.RecordBatch]:
        """The record batches of one message, those without rows left out: views of its bytes."""
        from fluxport.arrow_ipc import opened, read

        with opened(batch.arrow, f"{batch.name}: its arrow_ipc", "bad_batch") as reader:
            if not reader.schema.equals(sent, check_metadata=False):
                raise Refused(f"{batch.name} has other columns than the first one.", code="bad_batch")
            parts = [part for part in read(reader) if part.num_rows]
        self._check_rows(batch, sum(part.num_rows for part in parts))
        return parts


class ReadSource:
    """Rows that arrive as record batches of a known schema. ``read`` blocks until there is one and returns None after
    the last; ``stop`` wakes it. Not a BaseSource, for the same reason as :class:`PushedSource`."""

    sent = True

    def __init__(
        self,
        declared: pa.Schema,
        read: Callable[[], pa.RecordBatch | None],
        stop: Callable[[], None],
        options: PushedOptions,
    ) -> None:
        self.declared = self.schema = declared
        self._read = read
        self._stop = stop
        self._options = options

    def batches(self) -> Batches:
        import pyarrow as pa

        rows = 0
        while (batch := self._read()) is not None:
            try:
                batch.validate(full=True)
            except pa.ArrowInvalid as error:
                raise Refused("A record batch is damaged.", code="bad_batch") from error
            rows += batch.num_rows
            for start in range(0, batch.num_rows, self._options.batch_rows_max):
                yield batch.slice(start, self._options.batch_rows_max)
        _check_count(rows, self._options.rows_expected)

    def close(self) -> None:
        self._stop()


def _check_count(rows: int, expected: int | None) -> None:
    if expected is not None and expected != rows:
        raise Refused(f"{rows:,} of the {expected:,} announced rows were received.", code="rows_missing")


def checked_fields(sent: pa.Schema, columns: Sequence[PushedColumn]) -> list[pa.Field]:
    """The fields of an Arrow schema as declared; Refused where name or kind differ."""
    if sent.names != [column.name for column in columns]:
        raise Refused(
            "The columns of the Arrow batches differ from the declared ones, or their order.", code="bad_batch"
        )
    return [_checked(field, column) for field, column in zip(sent, columns, strict=True)]


def kind_of_type(kind: pa.DataType) -> Kind | None:
    """The declared kind for a column of this Arrow type; None for unsupported types."""
    import pyarrow as pa

    t = pa.types
    if t.is_string(kind) or t.is_large_string(kind):
        return "string"
    if t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind):
        return "number"
    if t.is_date(kind) or t.is_timestamp(kind):
        return "date"
    return "boolean" if t.is_boolean(kind) else None


def _checked(field: pa.Field, column: PushedColumn) -> pa.Field:
    if kind_of_type(field.type) != column.kind:
        raise Refused(
            f"Column {column.name!r} is declared {column.kind}, and its Arrow type is {field.type}.", code="wrong_type"
        )
    return _field(column, field.type, None)


def _field(column: PushedColumn, kind: pa.DataType, meaning: str | None) -> pa.Field:
    import pyarrow as pa

    metadata = {
        FIELD_TYPE: column.kind,
        FIELD_KIND: meaning,
        FIELD_WIDTH: column.width,
        FIELD_FORMAT: column.format if column.kind in ("number", "date") else None,
    }
    return pa.field(column.name, kind, metadata={k: str(v).encode() for k, v in metadata.items() if v})


def _repeats(batch: PushedBatch, last: PushedBatch | None) -> bool:
    """Whether a numbered batch is the last one again, whose receipt the sender did not see; Refused for a gap."""
    if last is None:
        if batch.sequence != 1:
            raise _gap(f"the first number is {batch.sequence}, not 1")
        return False
    if batch.sequence == last.sequence:
        if batch.raw != last.raw:
            raise _gap(f"two different batches have the number {batch.sequence}")
        return True
    if batch.sequence != last.sequence + 1:
        raise _gap(f"batch {batch.sequence} came after batch {last.sequence}")
    return False


def _gap(what: str) -> Refused:
    return Refused(f"Batch numbers must rise by one, from 1: {what}; rows may be missing.", code="batch_gap")
