"""CSV and TSV, a slice of rows at a time: the kernels of ``text.py`` turn columns into text, which is quoted where
needed and joined by ``_lines.py``; or by Arrow's own writer where that takes less time: few columns without quotes."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from pyarrow import csv

from fluxport import compute as pc
from fluxport.arrow_groups import cut
from fluxport.arrow_strings import bytes_of, rows_at, string_window, true_rows, valid_rows
from fluxport.decimals import decimal_type
from fluxport.errors import Refused
from fluxport.findings import Findings
from fluxport.formats._lines import Cells, Lines
from fluxport.formats._rows import THREADS, Groups, bounded_slices, by_rows, distinct, in_order
from fluxport.formats.options import CommonOptions, option
from fluxport.formats.text import TextStyle, check_style, check_types, report_times, text_of
from fluxport.stages import Batches, Chunks, Stored

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class DelimitedOptions(CommonOptions):
    """``null_value`` is written unquoted; a value equal to it is quoted. A cell that contains the delimiter, as in a
    decimal comma, is quoted. ``bom`` has no effect in encodings without a byte order mark."""

    quoting: Literal["minimal", "all", "nonnumeric"] = option("minimal", "which cells are quoted")
    line_ending: Literal["lf", "crlf"] = option("lf", "the line terminator")
    bom: bool = option(False, "a byte order mark at the start, by which Excel recognizes UTF-8")
    encoding: str = option("utf-8", "any text encoding that Python knows, such as `cp1252` or `gb18030`")
    encoding_errors: Literal["strict", "replace"] = option(
        "strict", "for a character that the encoding lacks: fail, or write `?` and report it"
    )
    decimal_separator: str = option(".", "one character")
    grouping_separator: str | None = option(None, "one character between groups of three digits; none unless set")
    sep_line: bool = option(
        False, "a first line `sep=,` that sets the delimiter in Excel (other readers read it as data)"
    )

    @property
    def charset(self) -> str | None:
        return _iana(codecs.lookup(self.encoding).name)


@dataclass(frozen=True, kw_only=True)
class CsvOptions(DelimitedOptions):
    delimiter: str = option(",", "one ASCII character between cells")


@dataclass(frozen=True, kw_only=True)
class TsvOptions(DelimitedOptions):
    delimiter = "\t"  # not an option: with another delimiter it is CSV


class CsvEncoder:
    """Encodes record batches with any delimiter; with ``threads`` 1, in the thread that pulls the chunks."""

    def __init__(self, options: CsvOptions | TsvOptions, findings: Findings, *, threads: int = THREADS) -> None:
        self._options = options
        self._findings = findings
        self._threads = threads
        self._style = TextStyle(
            datetime_format=options.datetime_format,
            date_format=options.date_format,
            true_value="true" if options.true_value is None else options.true_value,
            false_value="false" if options.false_value is None else options.false_value,
            binary=options.binary or "hex",
            decimal_separator=options.decimal_separator,
            grouping_separator=options.grouping_separator,
        )
        check_style(self._style)
        _check_separators(options)
        self._codec = _Codec(options.encoding, options.encoding_errors, findings)

    def encode(self, schema: pa.Schema, batches: Batches) -> Chunks:
        try:
            if not len(schema):
                raise Refused("The result has no columns, so there is nothing to write.", code="no_columns")
            joiner = _Joiner(schema, self._options, self._style, self._codec, self._findings)
            yield self._head(schema)
            slices = bounded_slices(batches, schema)
            try:
                yield from in_order(joiner.rows, slices, self._threads)
            finally:
                slices.close()
        finally:
            batches.close()

    def stored(self, schema: pa.Schema) -> list[Stored]:
        return [Stored("text") for _ in schema]

    def _head(self, schema: pa.Schema) -> bytes:
        options = self._options
        end = _LINE_ENDS[options.line_ending]
        text = f"sep={options.delimiter}{end}" if options.sep_line else ""
        if options.header:
            text += options.delimiter.join(_header_cell(name, schema, options) for name in schema.names) + end
        head = self._codec.encode(text, ((name, [name]) for name in schema.names))
        return (self._codec.bom if options.bom else self._codec.forced_bom) + head


_ROWS_WRITTEN = 2048  # at a time, so that they stay in the cache
_ROWS_PLAIN = 512  # of fewer rows, a column costs Arrow's CSV writer more than its cells do
_LINE_ENDS = {"lf": "\n", "crlf": "\r\n"}


def _check_separators(options: CsvOptions | TsvOptions) -> None:
    sign = options.delimiter
    if len(sign) != 1 or not sign.isascii() or sign.isalnum() or sign in '"\r\n\0':
        raise Refused(
            f"Option 'delimiter' cannot be {sign!r}; it takes one ASCII character other than a letter, digit, quote "
            "or line end.",
            code="bad_option",
        )
    null = options.null_value or ""
    if any(c in null for c in (sign, '"', "\r", "\n")):
        raise Refused(
            f"Option 'null_value' cannot be {null!r}: it is written unquoted, so it cannot contain a delimiter, quote "
            "or line end.",
            code="bad_option",
        )


def _header_cell(name: str, schema: pa.Schema, options: CsvOptions | TsvOptions) -> str:
    special = any(c in name for c in (options.delimiter, '"', "\r", "\n"))
    lone_empty = name == "" and len(schema) == 1
    if options.quoting != "minimal" or special or lone_empty or (name and name == options.null_value):
        return '"' + name.replace('"', '""') + '"'
    return name


class _Codec:
    """A Python codec that encodes whole lines, so that its output can be concatenated."""

    def __init__(self, encoding: str, errors: str, findings: Findings) -> None:
        self._errors = errors
        self._findings = findings
        try:
            name = codecs.lookup(encoding).name
            usable = "a,1\r\n".encode(name).decode(name) == "a,1\r\n" and name not in _UNUSABLE
        except (LookupError, ValueError):  # ValueError: a zero byte, and every UnicodeError
            name, usable = "", False
        if not usable:
            raise Refused(
                f"Option 'encoding' cannot be {encoding!r}; it takes a text encoding that Python knows, such as utf-8, "
                "cp1252 or gb18030.",
                code="bad_option",
            )
        # These codecs write a byte order mark at each call.
        native = {"utf-16": "utf-16-le", "utf-32": "utf-32-le", "utf-8-sig": "utf-8"}
        self.name = _iana(name)
        self._codec = native.get(name, name)
        try:
            self.bom = "\ufeff".encode(self._codec)
        except UnicodeEncodeError:
            self.bom = b""
        self.forced_bom = self.bom if name in native else b""
        self.is_utf8 = self._codec == "utf-8"

    def encode(self, text: str, columns: Iterable[tuple[str, list[str]]]) -> bytes:
        """Encode ``text``, which consists of the texts of ``columns`` (name, values) and of ASCII delimiters;
        ``columns`` is read only if a character cannot be encoded."""
        try:
            return text.encode(self._codec)
        except UnicodeEncodeError as error:
            bad = [(name, self._unencodable(values)) for name, values in columns]
            if self._errors == "strict":
                name = next((name for name, count in bad if count), "")
                raise Refused(
                    f"Column {name!r} contains characters that the encoding {self.name} lacks; use utf-8 or set "
                    "encoding_errors to replace.",
                    code="unencodable",
                ) from error
        for name, count in bad:
            self._findings.add("characters_replaced", name, count)
        return text.encode(self._codec, "replace")

    def _unencodable(self, values: list[str]) -> int:
        text = "".join(values)
        return sum(text.count(c) for c in set(text) if not c.isascii() and not self._can_encode(c))

    def _can_encode(self, character: str) -> bool:
        try:
            character.encode(self._codec)
        except UnicodeEncodeError:
            return False
        return True


def _iana(name: str) -> str:
    """The IANA name of the Python codec ``name``."""
    return re.sub(r"^iso(8859|2022)[-_]?", r"iso-\1-", name)


_UNUSABLE = frozenset({"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape"})


class _Joiner:
    """Encodes slices; one instance per file, which several threads may use at once.

    Refused if a column has a type without a text form.
    """

    def __init__(
        self,
        schema: pa.Schema,
        options: CsvOptions | TsvOptions,
        style: TextStyle,
        codec: _Codec,
        findings: Findings,
    ) -> None:
        self._schema = schema
        self._style = style
        self._codec = codec
        self._findings = findings
        self._null_value = options.null_value or ""
        self._special = ['"', "\n", "\r", options.delimiter]
        fields, kinds = distinct(schema)
        check_types(fields, style)
        quoted = [_always_quoted(field, options.quoting) for field in fields]
        clean = [_never_special(field.type, style, options.delimiter) for field in fields]
        self._quoted, self._clean = [quoted[kind] for kind in kinds], [clean[kind] for kind in kinds]
        self._groups = Groups(schema, fields, kinds)
        # Slices are handled in the order that suits the way in which the lines of the last one were joined.
        self._row_by_row = False
        self._null = '""' if len(schema) == 1 and not self._null_value else self._null_value
        starts, end = ["", *[options.delimiter] * (len(schema) - 1)], _LINE_ENDS[options.line_ending]
        self._lines = Lines(starts, end, self._null)
        self._plain = csv.WriteOptions(
            include_header=False, batch_size=_ROWS_WRITTEN, delimiter=options.delimiter, eol=end, quoting_style="none"
        )

    def rows(self, batch: pa.RecordBatch) -> Iterable[bytes | memoryview]:
        """The lines of a slice, as consecutive pieces."""
        row_by_row = self._row_by_row or batch.num_rows < _ROWS_PLAIN
        groups = [
            self._cells(indices, array, row_by_row=row_by_row)
            for indices, array in self._groups.of(batch, row_by_row=row_by_row)
        ]
        if len(self._schema) == 1 and not self._null_value:
            self._findings.add("lone_null_quoted", self._schema[0].name, groups[0].text.null_count)
        plain = all(map(self._is_plain, groups))
        self._row_by_row = not plain
        if plain and not (row_by_row and any(len(cells.columns) > 1 for cells in groups)):
            lines = self._plain_lines(groups)
        else:
            groups = groups if row_by_row else [_by_rows(cells, batch.num_rows) for cells in groups]
            lines = self._lines.join(groups, batch.num_rows)
        if self._codec.is_utf8:
            return lines
        texts = ((f.name, text_of(c, f, self._style)) for c, f in zip(batch.columns, self._schema, strict=True))
        columns = ((name, [bytes_of(text).tobytes().decode()]) for name, text in texts)
        return [self._codec.encode(b"".join(lines).decode(), columns)]

    def _is_plain(self, cells: Cells) -> bool:
        """Whether no cell is in quotes and none has another text for null than Arrow's writer has."""
        return not cells.quoted and cells.in_quotes is None and not (self._null and cells.text.null_count)

    def _plain_lines(self, groups: Sequence[Cells]) -> Chunks:
        columns: list[pa.StringArray] = [None] * len(self._schema)
        for cells in groups:
            for column, text in zip(cells.columns, cut(cells.text, len(cells.columns)), strict=True):
                columns[column] = text
        rows = pa.RecordBatch.from_arrays(columns, [""] * len(columns))
        size = sum(len(bytes_of(cells.text)) for cells in groups)
        buffer = pa.allocate_buffer(size + rows.num_rows * (len(columns) - 1 + len(self._plain.eol)))
        sink = pa.FixedSizeBufferWriter(buffer)
        csv.write_csv(rows, sink, write_options=self._plain)
        yield memoryview(buffer)[: sink.tell()]

    def _cells(self, indices: list[int], array: pa.Array, *, row_by_row: bool) -> Cells:
        """A group of columns as text, quoted where needed."""
        report_times(array, self._schema, indices, self._style, self._findings, by_rows=row_by_row)
        text = text_of(array, self._schema[indices[0]], self._style)
        if self._quoted[indices[0]]:
            rows = _rows_with(text, '"')
            return Cells(indices, text, quoted=True, changed=rows, texts=_doubled(text, rows))
        offsets, _ = string_window(text)
        needed: NDArray[np.bool_] = offsets[1:] == offsets[:-1]
        special = None if self._clean[indices[0]] else _hits(text, self._special)
        if special is not None:
            needed |= rows_at(text, np.flatnonzero(special))
        if self._null_value:
            needed |= true_rows(pc.equal(text, self._null_value))
        if text.null_count and needed.any():
            needed &= valid_rows(text)
        in_quotes = np.flatnonzero(needed)
        if special is None and not len(in_quotes):  # else a null may have such bytes, which Arrow's writer would refuse
            return Cells(indices, text)
        changed = None if special is None else _rows_with(text, '"')
        return Cells(indices, text, in_quotes=in_quotes, changed=changed, texts=_doubled(text, changed))


def _by_rows(cells: Cells, rows: int) -> Cells:
    """The cells of columns that follow one another, row by row."""
    columns = len(cells.columns)
    if columns == 1:
        return cells

    def moved(at: NDArray[np.intp] | None) -> NDArray[np.intp] | None:
        return None if at is None else at % rows * columns + at // rows

    return cells._replace(
        text=by_rows(cells.text, columns), in_quotes=moved(cells.in_quotes), changed=moved(cells.changed)
    )


def _hits(text: pa.StringArray, characters: Sequence[str]) -> NDArray[np.bool_] | None:
    """A mask of the bytes of ``text`` that are one of ``characters``; None if none is."""
    data = bytes_of(text)
    mask = None
    for character in characters:
        hits = data == ord(character)
        if hits.any():
            mask = hits if mask is None else mask | hits
    return mask


def _rows_with(text: pa.StringArray, character: str) -> NDArray[np.intp] | None:
    """The rows with a character, never nulls; None if there are none."""
    hits = _hits(text, [character])
    if hits is None:
        return None
    rows = rows_at(text, np.flatnonzero(hits))
    return np.flatnonzero(rows & valid_rows(text) if text.null_count else rows)


def _doubled(text: pa.StringArray, rows: NDArray[np.intp] | None) -> pa.StringArray | None:
    """The texts at ``rows`` with their quotes doubled."""
    return None if rows is None else pc.replace_substring(pc.take(text, pc.from_numpy(rows)), '"', '""')


def _always_quoted(field: pa.Field, quoting: str) -> bool:
    return quoting == "all" or (quoting == "nonnumeric" and not _is_number(field.type))


def _never_special(kind: pa.DataType, style: TextStyle, delimiter: str) -> bool:
    """Whether no text of this type can contain a special character."""
    t = pa.types
    if delimiter in {"+", "-", ".", ":", " ", style.decimal_separator, style.grouping_separator}:
        return False
    if t.is_temporal(kind):
        return (style.datetime_format if t.is_timestamp(kind) else style.date_format) in (None, "rfc3339")
    return _is_number(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or decimal_type(kind) is not None
