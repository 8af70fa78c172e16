"""The first sheet of an Excel file as rows: its first row has the columns' names, its cells the types.

A sheet is compressed in no order that could be read in parts, so python-calamine holds it as a whole. A column has the
type of its cells; numbers are whole if all of them are. Cells of several types become text.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from fluxport.digits import float_text
from fluxport.errors import QueryFailed, Refused

BATCH_ROWS = 8192
EXACT_MAX = 1 << 53  # the largest whole number that a cell holds exactly
WHOLE = "whole number"
_TYPES: dict[frozenset[Any], pa.DataType] = {
    frozenset(): pa.null(),
    frozenset({WHOLE}): pa.int64(),
    frozenset({float}): pa.float64(),
    frozenset({WHOLE, float}): pa.float64(),
    frozenset({bool}): pa.bool_(),
    frozenset({date}): pa.date32(),
    frozenset({datetime}): pa.timestamp("us"),
    frozenset({date, datetime}): pa.timestamp("us"),
    frozenset({time}): pa.time64("us"),
}


class ExcelFile:
    """Each reader of its stream begins anew."""

    def __init__(self, path: Path) -> None:
        self._sheet = _first_sheet(path)
        rows = self._sheet.iter_rows()
        self._names = _names(next(rows, []))
        if not self._names:
            raise QueryFailed("The first sheet of the Excel file has no row with names.", code="source_damaged")
        found: list[set[Any]] = [set() for _ in self._names]
        for cells in _columns(rows):
            for kinds, column in zip(found, cells, strict=True):
                kinds.update(_kinds(column))
        types = [_TYPES.get(frozenset(kinds), pa.string()) for kinds in found]
        self._schema = pa.schema(list(zip(self._names, types, strict=True)))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        reader = pa.RecordBatchReader.from_batches(self._schema, self._batches())
        return reader.__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        rows = self._sheet.iter_rows()
        next(rows, None)
        for cells in _columns(rows):
            arrays = [_array(column, kind) for column, kind in zip(cells, self._schema.types, strict=True)]
            yield pa.record_batch(arrays, schema=self._schema)


_SHEET = re.compile(rb'<(?:\w+:)?sheet\b[^>]*?\bid="([^"]+)"')
_RELATION = re.compile(rb"<(?:\w+:)?Relationship\b[^>]*>")
_ATTRIBUTE = re.compile(rb'\b(Id|Target)="([^"]*)"')
_ERROR = re.compile(rb'<(?:\w+:)?c\b[^<>]*?\bt="e"')
PIECE_BYTES = 1 << 20
CELL_BYTES = 1024  # a cell's own tag is shorter


def error_cells(path: Path) -> int:
    """How many cells of the first sheet hold an error, such as #N/A, which python-calamine does not tell from an empty
    one."""
    with zipfile.ZipFile(path) as archive:
        sheet = _SHEET.search(archive.read("xl/workbook.xml"))
        relations = archive.read("xl/_rels/workbook.xml.rels")
        targets = {found.get(b"Id"): found.get(b"Target", b"") for found in _attributes(relations)}
        target = targets.get(sheet[1], b"").decode() if sheet else ""
        part = target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
        if (
            part not in archive.namelist()
        ):  # written in another form than Excel's: python-calamine reads it all the same
            return 0
        with archive.open(part) as xml:
            count, rest = 0, b""
            while piece := xml.read(PIECE_BYTES):
                piece = rest + piece
                matches = list(_ERROR.finditer(piece))
                count += len(matches)
                rest = piece[max(matches[-1].end() if matches else 0, len(piece) - CELL_BYTES) :]
    return count


def _attributes(relations: bytes) -> Iterator[dict[bytes, bytes]]:
    for element in _RELATION.findall(relations):
        yield dict(_ATTRIBUTE.findall(element))


def _first_sheet(path: Path) -> Any:
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError:
        raise Refused(
            "Excel files need the package python-calamine: pip install 'fluxport[excel]'.", code="missing_extra"
        ) from None
    try:
        return CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0)
    except CalamineError as error:
        raise QueryFailed(
            "The Excel file that the query reads is damaged, or has no sheet.", code="source_damaged", detail=str(error)
        ) from None


def _names(header: Sequence[Any]) -> list[str]:
    """The names of the columns; what is empty or occurs again gets its number."""
    names: list[str] = []
    for number, cell in enumerate(header, 1):
        name = _text(cell) or f"column{number}"
        names.append(f"{name}_{number}" if name.lower() in map(str.lower, names) else name)
    return names


def _columns(rows: Iterator[Sequence[Any]]) -> Iterator[list[tuple[Any, ...]]]:
    """The cells of the columns, of so many rows at a time."""
    while part := list(islice(rows, BATCH_ROWS)):
        yield list(zip(*part, strict=True))


def _kinds(column: Sequence[Any]) -> set[Any]:
    kinds: set[Any] = {type(cell) for cell in column if cell != ""}
    if float in kinds or int in kinds:
        numbers = [cell for cell in column if type(cell) in (int, float)]
        whole = all(float(number).is_integer() and abs(number) <= EXACT_MAX for number in numbers)
        kinds = (kinds - {int, float}) | {WHOLE if whole else float}
    return kinds


def _array(column: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if kind == pa.string():
        return pa.array([_text(cell) for cell in column], kind)
    if kind == pa.timestamp("us"):
        column = [cell if type(cell) is not date else datetime(cell.year, cell.month, cell.day) for cell in column]
    if kind == pa.int64():
        column = [cell if cell == "" else int(cell) for cell in column]
    return pa.array([None if cell == "" else cell for cell in column], kind)


def _text(cell: Any) -> str | None:
    """A cell's text; None for an empty one."""
    if type(cell) is float:
        return (
            str(int(cell)) if cell.is_integer() and abs(cell) <= EXACT_MAX else float_text(pa.array([cell]))[0].as_py()
        )
    if type(cell) is bool:
        return "true" if cell else "false"
    return str(cell) if cell != "" else None
