"""The encoder: slices to sheets, sheets to a workbook, in one pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fluxport.arrow_groups import Groups, has_huge_cells, joined
from fluxport.errors import FluxportError, LimitExceeded
from fluxport.findings import Findings
from fluxport.formats.columnar import pulled_first
from fluxport.formats.slices import slices
from fluxport.formats.xlsx import columns, parts
from fluxport.formats.xlsx.cells import Cells, Column, Kernel
from fluxport.formats.xlsx.celltext import text_cells
from fluxport.formats.xlsx.names import column_names, notes_name, sheet_name, sheet_names
from fluxport.formats.xlsx.options import XlsxOptions, check, data_rows_max
from fluxport.formats.xlsx.rows import Joiner, Rows, column_letters
from fluxport.formats.xlsx.zipstream import MEMBER_BYTES_MAX, ZipStream
from fluxport.stages import Batches, Chunks, Stored

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS_PER_SLICE = 61_440  # smaller slices cost time (kernel calls), larger ones memory
SLICE_ROWS_MIN, SLICE_ROWS_MAX = 32, 12_288
SLICE_TEXT_BYTES = 2 << 20
SHEET_BYTES_MAX = MEMBER_BYTES_MAX - (64 << 20)  # leaves room for the XML after the rows
JOBS_AHEAD = 1
NOTES_WIDTH = 100.0

# Returns the next bytes of the file; jobs run in order, one at a time.
Job = Callable[[], bytes]


class XlsxEncoder:
    """Encodes record batches as one workbook.

    ``threads`` is 2 (deflate in a helper thread) or 1, with the same bytes. ``sheet_bytes_max`` limits the XML of a
    sheet; beyond it the next sheet begins.
    """

    def __init__(
        self, options: XlsxOptions, findings: Findings, *, threads: int = 2, sheet_bytes_max: int = SHEET_BYTES_MAX
    ) -> None:
        self._options = options
        self._findings = findings
        self._threads = threads
        self._sheet_bytes_max = sheet_bytes_max

    def encode(self, schema: pa.Schema, batches: Batches) -> Chunks:
        """The workbook; batches are pulled in the caller's thread, at most JOBS_AHEAD + 1 slices ahead."""
        with closing(batches):
            check(self._options, len(schema))
            workbook = _Workbook(schema, self._options, self._findings, self._sheet_bytes_max)
            jobs = workbook.jobs(pulled_first(batches))  # an early failure is raised before our first byte
            yield from _in_helper(jobs) if self._threads > 1 else _here(jobs)

    def stored(self, schema: pa.Schema) -> list[Stored]:
        return [columns.stored(field, self._options) for field in schema]

    @property
    def sheet_rows(self) -> int:
        return data_rows_max(self._options)


class _Workbook:
    """The state of one encoding: its columns, and the sheets written so far."""

    def __init__(self, schema: pa.Schema, options: XlsxOptions, findings: Findings, sheet_bytes_max: int) -> None:
        self._options = options
        self._findings = findings
        self._sheet_bytes_max = sheet_bytes_max
        self._zip = ZipStream()
        self._styles = parts.Styles()
        self._bold = self._styles.style(bold=True)  # for the notes sheet, which is written after the styles
        self._names = column_names(schema.names, findings, table=options.table)
        self._columns = [
            columns.make(field, name, options, self._styles, findings)
            for field, name in zip(schema, self._names, strict=True)
        ]
        self._alike = Groups([columns.alike(column, kernel) for column, kernel in self._columns])
        self._wrapped = [i for i, field in enumerate(schema) if not columns.is_plain(field)]
        self._positions: list[list[int]] = []  # of the columns of each group, for the last slice
        self._groups: list[tuple[NDArray[np.intp], Column, Kernel]] = []
        self._widths = [columns.width(field, name, options) for field, name in zip(schema, self._names, strict=True)]
        self._header = self._header_row()
        self._sheet_names = sheet_names(sheet_name(options.sheet_name, findings))
        self._sheets: list[parts.SheetPart] = []
        self._joiner = Joiner()
        self._done = 0  # records written to the file
        self._rows = self._size = 0  # records, and bytes of their XML, in the open sheet

    def jobs(self, batches: Batches) -> Generator[Job, None, None]:
        """The jobs of the whole file. Kernels run while this is pulled; a job joins rows and deflates them."""
        for name, content in parts.opening_parts(self._styles).items():
            yield partial(self._zip.file, name, content)
        yield from self._data_sheets(batches)
        if self._options.notes_sheet == "always" or (self._options.notes_sheet == "auto" and self._findings):
            yield from self._notes()
        for name, content in parts.closing_parts(self._sheets).items():
            yield partial(self._zip.file, name, content)
        yield self._zip.close

    def _data_sheets(self, batches: Batches) -> Iterator[Job]:
        """Sheet after sheet; a slice is split at a sheet's last row."""
        rows_max = data_rows_max(self._options)
        yield from self._begin()
        with closing(slices(batches, *self._slice_size())) as cut_batches:
            for batch in cut_batches:
                start = 0
                while start < batch.num_rows:
                    if self._rows == rows_max:
                        yield from self._roll()
                    rows = min(rows_max - self._rows, batch.num_rows - start)
                    yield from self._records(batch if rows == batch.num_rows else batch.slice(start, rows))
                    start += rows
        yield from self._end()

    def _records(self, batch: pa.RecordBatch) -> Iterator[Job]:
        """Records whose number fits the sheet; if their XML does not, they start the next sheet."""
        cells = self._cells(batch)
        rows = self._sheet_rows(cells)
        size = rows.size
        if self._rows and self._size + size > self._sheet_bytes_max:
            yield from self._roll()
            rows = self._sheet_rows(cells)
            size = rows.size
        yield partial(self._deflated, rows)
        self._done += batch.num_rows
        self._rows += batch.num_rows
        self._size += size
        if len(self._sheets) > 1:
            self._findings.add("rows_on_new_sheet", None, batch.num_rows)

    def _slice_size(self) -> tuple[int, int]:
        rows = CELLS_PER_SLICE // max(1, len(self._columns))
        return max(SLICE_ROWS_MIN, min(rows, SLICE_ROWS_MAX)), SLICE_TEXT_BYTES

    def _header_row(self) -> bytes:
        """The names as bold text cells, as one row's XML."""
        # A filter button covers the right end of a cell, so the name is then aligned to the left.
        buttons = self._options.table or self._options.autofilter
        placed = [column.right and not buttons for column, _ in self._columns]
        left, right = (self._names_cells(right=right) if right in placed else [] for right in (False, True))
        names = [(right if on_right else left)[i] for i, on_right in enumerate(placed)]
        row = self._options.start_row
        if self._options.compact:
            return f"<row>{''.join(f'<c{cell}' for cell in names)}</row>".encode()
        cells = (f'<c r="{column_letters(i)}{row}"{cell}' for i, cell in enumerate(names))
        return f'<row r="{row}">{"".join(cells)}</row>'.encode()

    def _names_cells(self, *, right: bool) -> list[str]:
        bold = self._styles.style(bold=True, right=right)
        quoted = self._styles.style(bold=True, right=right, quoted=True) if self._options.sanitize != "off" else bold
        return text_cells(self._names, bold, quoted)

    def _notes(self) -> Iterator[Job]:
        """A last sheet that lists the changes, one sentence per row."""
        sentences = [finding.sentence for finding in self._findings] or ["Nothing was changed."]
        cells = [*text_cells(["What was changed in the data"], self._bold, self._bold), *text_cells(sentences, 0, 0)]
        rows = "".join(f'<row r="{i}"><c r="A{i}"{cell}</row>' for i, cell in enumerate(cells, 1))
        sheet = parts.SheetPart(len(self._sheets) + 1, notes_name([sheet.name for sheet in self._sheets]))
        start = parts.sheet_start([NOTES_WIDTH], 1, selected=False)
        self._sheets.append(sheet)
        yield partial(self._zip.file, sheet.path, start + rows.encode() + parts.sheet_end(sheet, None))

    def _cells(self, batch: pa.RecordBatch) -> list[tuple[NDArray[np.intp], Cells]]:
        """The cells of a slice: columns that are alike together, with their positions."""
        arrays = batch.columns
        for i in self._wrapped:
            arrays[i] = columns.plain(arrays[i])
        if has_huge_cells(batch):
            return self._alone(arrays)
        if (positions := self._alike.of(batch.num_rows)) is not self._positions:
            self._positions, self._groups = positions, [self._group(at) for at in positions]
        try:
            return [
                (at, kernel(column, joined([arrays[i] for i in at]), self._done + 1))
                for at, column, kernel in self._groups
            ]
        except FluxportError:
            self._alone(arrays)  # raises the error of the first column that has one
            raise

    def _alone(self, arrays: Sequence[pa.Array]) -> list[tuple[NDArray[np.intp], Cells]]:
        """The cells of a slice, column by column."""
        return [
            (np.array([i]), kernel(column, array, self._done + 1))
            for i, ((column, kernel), array) in enumerate(zip(self._columns, arrays, strict=True))
        ]

    def _group(self, at: list[int]) -> tuple[NDArray[np.intp], Column, Kernel]:
        """The columns ``at`` as one, for one call of their kernel."""
        column, kernel = self._columns[at[0]]
        return np.array(at), replace(column, names=tuple(self._names[i] for i in at)), kernel

    def _sheet_rows(self, cells: list[tuple[NDArray[np.intp], Cells]]) -> Rows:
        """The rows of ``cells``, numbered after those already in the sheet."""
        return Rows(cells, None if self._options.compact else self._first_row + self._rows)

    def _deflated(self, rows: Rows) -> bytes:
        return b"".join(map(self._zip.data, self._joiner.joined(rows)))

    @property
    def _first_row(self) -> int:
        """The row number of the sheet's first record."""
        return self._options.start_row + int(self._options.header)

    def _begin(self) -> Iterator[Job]:
        sheet = parts.SheetPart(len(self._sheets) + 1, next(self._sheet_names))
        self._sheets.append(sheet)
        self._rows = self._size = 0
        frozen = self._first_row - 1 if self._options.header and self._options.freeze_header else 0
        yield partial(self._zip.begin, sheet.path)
        yield partial(self._zip.data, parts.sheet_start(self._widths, frozen, selected=sheet.number == 1))
        if self._options.compact and self._options.start_row > 1:
            yield partial(self._zip.data, f'<row r="{self._options.start_row - 1}"/>'.encode())
        if self._options.header and self._columns:
            yield partial(self._zip.data, self._header)

    def _end(self) -> Iterator[Job]:
        sheet = self._sheets[-1]
        last = column_letters(len(self._columns) - 1)
        bottom = self._first_row + self._rows - 1
        if self._columns and self._options.table:
            sheet.table = f"A{self._options.start_row}:{last}{max(bottom, self._first_row)}"
        elif self._columns and self._options.autofilter and self._options.header:
            sheet.filtered = f"A{self._options.start_row}:{last}{bottom}"
        data = f"A{self._first_row}:{last}{bottom}" if self._columns and self._rows else None
        yield partial(self._zip.data, parts.sheet_end(sheet, data))
        yield self._zip.end
        if sheet.table:
            for name, content in parts.table_parts(sheet, self._names).items():
                yield partial(self._zip.file, name, content)

    def _roll(self) -> Iterator[Job]:
        wanted = self._options.on_row_limit
        if wanted != "new_sheet":
            hint = {
                "new_file": "use a smaller 'max_rows_per_file'",
                "fail": "use 'on_row_limit: new_sheet', fewer rows, or another format",
            }
            raise LimitExceeded(f"A sheet is full after {self._rows:,} records; {hint[wanted]}.", code="sheet_full")
        yield from self._end()
        yield from self._begin()


def _here(jobs: Iterable[Job]) -> Chunks:
    for job in jobs:
        if chunk := job():
            yield chunk


def _in_helper(jobs: Generator[Job, None, None]) -> Chunks:
    """The results of ``jobs``, run in a helper thread while this one pulls the next job."""
    pending: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(1, "xlsx-deflate") as helper, closing(jobs):
        try:
            for job in jobs:
                pending.append(helper.submit(job))
                while pending and (len(pending) > JOBS_AHEAD or pending[0].done()):
                    if chunk := pending.popleft().result():
                        yield chunk
            while pending:
                if chunk := pending.popleft().result():
                    yield chunk
        finally:
            for future in pending:
                future.cancel()
