"""XLSX: Arrow and numpy kernels build whole slices of sheet XML, written strictly forward.

Rows are cut into slices of about CELLS_PER_SLICE cells. A few kernels turn the columns of a slice into the text of
their cells (:mod:`cells`, :mod:`celltext`), those that are alike in one call, the cells are joined into rows of XML,
some thousand cells at a time (:mod:`rows`), and the XML passes through one raw deflate stream per sheet into a
forward-only ZIP (:mod:`zipstream`). So the cost follows the cells, however many columns they are in. Kernels run in the
thread that pulls ``encode`` and the batches; a helper thread joins and deflates rows:

    batch -> slice -> kernel per group of columns -> Cells -> Rows | -> join -> deflate -> chunk
                      caller's thread                              |    helper thread

Design decisions:

- Text cells are inline strings: a shared string table would hold all distinct texts of the file in memory.
- The 1900 date system as Excel counts it: 1900-01-01 is day 1 and 1900-03-01 day 61. LibreOffice, which omits the
  nonexistent 29 February 1900, shows the 59 days before it one day early; Excel takes precedence. (LibreOffice also
  shows one in a hundred seconds of 1967 to 1972 one second early, whichever program wrote the file.)
- Times and dates have milliseconds, Excel's finest resolution; a finer value is truncated and counted.
- A number is a number cell if it has at most 15 digits without leading zeros and trailing zeros of the fraction. A
  decimal is written with all digits of its scale, whether it comes as a number or as its text.
- Excel never evaluates a text cell, so text that looks like a formula retains its value and only gets the quotePrefix
  style, which keeps it text when a person edits the cell. Nothing is changed, so nothing is counted.
- NULL is an absent cell, or a text cell of ``null_value``; booleans are text only if ``true_value`` or ``false_value``
  is set.
"""

from fluxport.formats.xlsx.encoder import XlsxEncoder
from fluxport.formats.xlsx.options import COLUMNS_MAX, ROWS_MAX, XlsxOptions, data_rows_max

__all__ = ["COLUMNS_MAX", "ROWS_MAX", "XlsxEncoder", "XlsxOptions", "data_rows_max"]
