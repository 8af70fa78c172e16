"""Workbooks of the encoder, and how the tests read them."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from xml.etree import ElementTree

import openpyxl
import pyarrow as pa
from python_calamine import CalamineWorkbook

from fluxport import formats
from fluxport.findings import Findings
from fluxport.formats.xlsx import XlsxEncoder, XlsxOptions
from fluxport.stages import Batches

NS = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


class Made(NamedTuple):
    """A workbook's bytes and its findings, as ``(code, column): count``."""

    data: bytes
    reported: dict[tuple[str, str | None], int]

    def part(self, name: str) -> str:
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            return archive.read(name).decode()

    def parts(self) -> list[str]:
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            return archive.namelist()


class RawCell(NamedTuple):
    """A cell as the file has it; ``style`` is its number format, quotePrefix and horizontal alignment."""

    kind: str | None
    text: str
    style: tuple[str, bool, str | None]


def batches_of(batch: pa.RecordBatch, sizes: Iterable[int] = ()) -> Batches:
    start = 0
    for size in sizes:
        yield batch.slice(start, size)
        start += size
    yield batch.slice(start)


def workbook(batch: pa.RecordBatch, sizes: Iterable[int] = (), threads: int = 2, /, **given: Any) -> Made:
    """``batch`` as a workbook, encoded in batches of ``sizes`` rows and the rest."""
    findings = Findings()
    options = formats.options("xlsx", given)
    assert isinstance(options, XlsxOptions)
    encoder = XlsxEncoder(options, findings, threads=threads)
    data = b"".join(encoder.encode(batch.schema, batches_of(batch, sizes)))
    return Made(data, {(found.code, found.column): found.count for found in findings})


def column(
    values: Any, kind: pa.DataType, name: str = "x", metadata: dict[bytes, bytes] | None = None
) -> pa.RecordBatch:
    """A batch of one column."""
    array = values if isinstance(values, pa.Array) else pa.array(values, kind)
    return pa.record_batch([array], schema=pa.schema([pa.field(name, kind, metadata=metadata)]))


def cells(made: Made, sheet: int = 1) -> dict[str, RawCell]:
    """Every cell of a sheet by its reference; texts as an XML parser gives them."""
    root = ElementTree.fromstring(made.part(f"xl/worksheets/sheet{sheet}.xml"))
    styles = list(_styles(made))
    found = {}
    for cell in root.iter(f"{NS}c"):
        text = "".join(node.text or "" for node in cell.iter() if node.tag in (f"{NS}v", f"{NS}t"))
        found[cell.attrib["r"]] = RawCell(cell.get("t"), text, styles[int(cell.get("s", "0"))])
    return found


def _styles(made: Made) -> Iterator[tuple[str, bool, str | None]]:
    root = ElementTree.fromstring(made.part("xl/styles.xml"))
    codes = {node.attrib["numFmtId"]: node.attrib["formatCode"] for node in root.iter(f"{NS}numFmt")}
    formats_of_cells = root.find(f"{NS}cellXfs")
    assert formats_of_cells is not None
    for xf in formats_of_cells:
        alignment = xf.find(f"{NS}alignment")
        horizontal = alignment.get("horizontal") if alignment is not None else None
        yield codes.get(xf.attrib["numFmtId"], "General"), xf.get("quotePrefix") == "1", horizontal


def openpyxl_rows(made: Made, sheet: int = 0) -> list[list[Any]]:
    """Rows as openpyxl reads them, which leaves ``_xHHHH_`` in inline strings as it is."""
    book = openpyxl.load_workbook(io.BytesIO(made.data))
    return [list(row) for row in book.worksheets[sheet].iter_rows(values_only=True)]


def calamine_rows(made: Made, sheet: int = 0) -> list[list[Any]]:
    book = CalamineWorkbook.from_filelike(io.BytesIO(made.data))
    return book.get_sheet_by_index(sheet).to_python(skip_empty_area=False)


def decoded(text: str) -> str:
    """What Excel shows for a text of the file."""
    return re.sub(r"_x([0-9A-Fa-f]{4})_", lambda found: chr(int(found[1], 16)), text)
