"""XLSX: whole slices of sheet XML by Arrow and numpy kernels, written strictly forward.

How: the rows are cut into slices of about CELLS_PER_SLICE cells. Each column of a slice becomes text cells by a few
kernels (:mod:`cells`, :mod:`celltext`), the columns become rows of XML some thousand rows at a time (:mod:`rows`), and
the XML goes through one raw deflate stream per sheet into a forward-only ZIP (:mod:`zipstream`). Kernels run in the
thread that pulls ``encode``, which is also the one that pulls the batches; rows are joined and deflated in a helper.

Decisions that the file format leaves open:

- Text cells are inline strings: a shared table would have to hold all distinct texts of the file.
- The 1900 date system as Excel counts it: 1900-01-01 is day 1 and 1900-03-01 day 61. LibreOffice, which leaves the
  29th of February 1900 out, shows the 59 days before it one day early; Excel is the one that must be right. (It also
  shows one in a hundred seconds of 1967 to 1972 one second early, whoever wrote the file.)
- Times and dates have milliseconds, Excel's finest; a finer value is rounded and counted.
- A number is a number cell if it needs at most 15 digits, without leading zeros and trailing zeros of the fraction.
- A text cell is never run, so text that looks like a formula keeps its value and only gets the quotePrefix style, by
  which it stays text when a person edits the cell. Nothing is changed, so nothing is counted.
- NULL is no cell at all, or a text cell of ``null_value``; booleans are text only if ``true_value`` or ``false_value``
  is set.
"""

from fluxport.formats.xlsx.encoder import XlsxEncoder
from fluxport.formats.xlsx.options import COLUMNS_MAX, ROWS_MAX, XlsxOptions, data_rows_max

__all__ = ["COLUMNS_MAX", "ROWS_MAX", "XlsxEncoder", "XlsxOptions", "data_rows_max"]
