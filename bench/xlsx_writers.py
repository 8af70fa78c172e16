"""Other XLSX writers: an Arrow table in memory to a file; run by the peers' interpreter.

Cells are typed: numbers, texts, booleans, real dates. Each peer gets its fastest input form, and the conversion counts
in its time. Each function imports what only it needs.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from peers import load_extension

Work = Callable[[pa.Table, Path], None]
BATCH_ROWS = 8_192  # the batch size of our sources
NATIVE = Path(sys.prefix) / "native"  # of the peers' environment
DATES = "yyyy-mm-dd hh:mm:ss"
DAY_MS, EPOCH_DAYS = 86_400_000, 25_569  # 1970-01-01 as Excel counts days


def rows_of(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Rows as Python values, a batch at a time."""
    for batch in table.to_batches(BATCH_ROWS):
        yield from values_of(batch)


def values_of(batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def floats_for_decimals(table: pa.Table) -> pa.Table:
    """For peers that write a decimal as text, or not at all."""
    fields = (f.with_type(pa.float64()) if pa.types.is_decimal(f.type) else f for f in table.schema)
    return table.cast(pa.schema(fields))


# -- packages of Python ----------------------------------------------------------------------------------------------


def rustpy_xlsxwriter(table: pa.Table, path: Path) -> None:
    records = (record for batch in table.to_batches(BATCH_ROWS) for record in batch.to_pylist())
    peer = importlib.import_module("rustpy_xlsxwriter")
    peer.FastExcel(str(path)).format(datetime_format=DATES).sheet("Sheet1", records).save()


def xlsxturbo(level: int | None) -> Work:
    def work(table: pa.Table, path: Path) -> None:
        polars, peer = importlib.import_module("polars"), importlib.import_module("xlsxturbo")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant_memory warns of what it does not support
            peer.df_to_xlsx(polars.DataFrame(table), str(path), constant_memory=True, compression_level=level)

    return work


def rvgsrust_xlsxwriter(table: pa.Table, path: Path) -> None:
    book = importlib.import_module("rvgsrust_xlsxwriter").Workbook(str(path))
    book.add_worksheet("Sheet1", constant_memory=True).write_dataframe(0, 0, floats_for_decimals(table))
    book.close()


def neatxlsx(table: pa.Table, path: Path) -> None:
    polars, peer = importlib.import_module("polars"), importlib.import_module("neatxlsx")
    with peer.Workbook(path) as book:
        book.write_sheet(polars.DataFrame(table), "Sheet1", autofit=peer.Autofit(mode="none"))


def fastxlsxio(table: pa.Table, path: Path) -> None:
    peer = importlib.import_module("fastxlsxio")
    book = peer.XIOWWorkbook(str(path), peer.XIOWOptions(constant_memory=True))
    book.add_format({"num_format": DATES}, peer.ColTypeHint.DateTime)
    sheet, at = book.add_worksheet("Sheet1"), 1
    sheet.write_row(0, 0, table.column_names)
    for batch in floats_for_decimals(table).to_batches(BATCH_ROWS):
        sheet.write_rows(at, 0, values_of(batch))
        at += batch.num_rows
    book.save()


def duckdb_excel(table: pa.Table, path: Path) -> None:
    with importlib.import_module("duckdb").connect() as connection:
        load_extension(connection, "excel")
        connection.register("rows", table)
        connection.execute(f"COPY rows TO '{path}' (FORMAT xlsx, HEADER true)")


def xlsxwriter(table: pa.Table, path: Path) -> None:
    options = {"constant_memory": True, "default_date_format": DATES}
    book = importlib.import_module("xlsxwriter").Workbook(str(path), options)
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, table.column_names)
    for number, row in enumerate(rows_of(table), 1):
        sheet.write_row(number, 0, row)
    book.close()


def openpyxl(table: pa.Table, path: Path) -> None:
    book = importlib.import_module("openpyxl").Workbook(write_only=True)
    sheet = book.create_sheet("Sheet1")
    sheet.append(table.column_names)
    for row in rows_of(table):
        sheet.append(row)
    book.save(path)


def pyfastexcel(table: pa.Table, path: Path) -> None:
    writer = importlib.import_module("pyfastexcel").StreamWriter()
    writer.row_append_list(table.column_names, create_row=True)
    for row in rows_of(floats_for_decimals(table)):
        writer.row_append_list(list(row), create_row=True)  # dates become text: it does not support them
    path.write_bytes(writer.read_lib_and_create_excel())


# -- C and Go --------------------------------------------------------------------------------------------------------


class Column(ctypes.Structure):
    """``column`` of native/columns.h."""

    _fields_ = (
        ("kind", ctypes.c_char),
        ("name", ctypes.c_char_p),
        ("valid", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
    )


def native(name: str) -> Work:
    """A library of ``native/``, which reads the columns in place."""

    def work(table: pa.Table, path: Path) -> None:
        write = ctypes.CDLL(str(NATIVE / f"{name}.so")).write_columns
        write.argtypes = [ctypes.c_char_p, ctypes.POINTER(Column), ctypes.c_int, ctypes.c_int64, ctypes.c_char_p]
        write.restype = ctypes.c_char_p
        plain = [plainly(column) for column in table.columns]
        described = (Column * len(plain))(*map(_column, table.column_names, plain))
        error = write(str(path).encode(), described, len(plain), table.num_rows, DATES.encode())
        if error is not None:
            raise RuntimeError(error.decode())

    return work


def plainly(column: pa.ChunkedArray) -> tuple[bytes, pa.Array]:
    """A column in one of the kinds of native/columns.h, and its letter."""
    if pa.types.is_timestamp(column.type):
        ms = column.cast(pa.timestamp("ms")).cast(pa.int64()).combine_chunks()
        valid, values = ms.buffers()
        days = np.frombuffer(values, np.int64) / DAY_MS + EPOCH_DAYS  # Arrow's own kernels would import pandas for this
        return b"t", pa.Array.from_buffers(pa.float64(), len(ms), [valid, pa.py_buffer(days)])
    kinds = ((pa.types.is_boolean, b"b", pa.bool_()), (pa.types.is_integer, b"i", pa.int64()))
    texts = ((pa.types.is_string, b"s", pa.string()), (pa.types.is_large_string, b"s", pa.string()))
    for is_one, letter, kind in (*kinds, *texts):
        if is_one(column.type):
            return letter, column.cast(kind).combine_chunks()
    return b"f", column.cast(pa.float64()).combine_chunks()


def _column(name: str, plain: tuple[bytes, pa.Array]) -> Column:
    letter, array = plain
    assert array.offset == 0
    valid, *offsets, values = (None if buffer is None else buffer.address for buffer in array.buffers())
    return Column(letter, name.encode(), valid, offsets[0] if offsets else None, values)


WRITERS: dict[str, Work] = {
    "xlsxturbo": xlsxturbo(None),
    "xlsxturbo, level 1": xlsxturbo(1),
    "rustpy-xlsxwriter": rustpy_xlsxwriter,
    "rvgsrust-xlsxwriter": rvgsrust_xlsxwriter,
    "neatxlsx": neatxlsx,
    "fastxlsxio": fastxlsxio,
    "libxlsxwriter (C)": native("libxlsxwriter"),
    "excelize (Go)": native("excelize"),
    "pyfastexcel (excelize)": pyfastexcel,
    "duckdb excel": duckdb_excel,
    "xlsxwriter, constant memory": xlsxwriter,
    "openpyxl, write-only": openpyxl,
}
