"""Options of XLSX, the limits of a sheet, and the checks before the first row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fluxport.errors import Refused
from fluxport.formats.options import CommonOptions, option

ROWS_MAX = 1_048_576  # of a sheet, the header included
COLUMNS_MAX = 16_384
CELL_UNITS_MAX = 32_767  # UTF-16 code units of a cell's text
SHEET_NAME_UNITS_MAX = 31
HEADER_UNITS_MAX_IN_TABLE = 255
WIDTH_MAX = 255.0


@dataclass(frozen=True, kw_only=True)
class XlsxOptions(CommonOptions):
    """``start_row`` is the row, from 1, of the header or, without a header, of the first record."""

    sheet_name: str = option("Sheet1", "corrected and reported if Excel does not allow it")
    start_row: int = option(1, "the row, from 1, of the header; rows above are empty")
    freeze_header: bool = option(True, "the header stays visible while scrolling")
    autofilter: bool = option(False, "filter buttons on the header")
    table: bool = option(False, "format the rows as an Excel table")
    on_row_limit: Literal["new_sheet", "new_file", "fail"] = option(
        "new_sheet", "beyond 1,048,576 rows: further sheets, further files, or fail"
    )
    on_long_text: Literal["truncate", "fail"] = option(
        "truncate", "cells beyond 32,767 characters: cut and report, or fail"
    )
    notes_sheet: Literal["auto", "always", "never"] = option(
        "auto", "a last sheet that lists the changes to the data: if there are any, always, or never"
    )
    compact: bool = option(
        False, 'leave out the cells\' references (`r="A1"`): smaller and faster, but some readers require them'
    )

    @property
    def file_rows_max(self) -> int | None:
        if self.on_row_limit != "new_file":
            return self.max_rows_per_file
        sheet = max(1, data_rows_max(self))  # if no row fits, the encoder refuses
        return sheet if self.max_rows_per_file is None else min(sheet, self.max_rows_per_file)


def data_rows_max(options: XlsxOptions) -> int:
    """The record limit of a sheet; with ``on_row_limit: new_file`` the caller splits the rows at it."""
    return ROWS_MAX - (options.start_row - 1) - int(options.header)


def check(options: XlsxOptions, columns: int) -> None:
    """Refused if these options or this many columns do not fit a sheet."""
    if columns > COLUMNS_MAX:
        raise Refused(
            f"{columns:,} columns do not fit a spreadsheet, which has {COLUMNS_MAX:,}; select some with 'columns' "
            "or use another format.",
            code="too_many_columns",
        )
    if options.start_row < 1 or data_rows_max(options) < 1:
        raise Refused(
            f"Option 'start_row' cannot be {options.start_row}; it takes 1 to {ROWS_MAX - 1:,}.", code="bad_option"
        )
    if options.table and not options.header:
        raise Refused("Option 'table' needs the header; leave 'header' true.", code="bad_option")
