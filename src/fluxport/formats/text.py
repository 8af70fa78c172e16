"""Values as text: one kernel per Arrow type, whole arrays at a time.

CSV and TSV, the text cells of spreadsheets and the strings of JSON share these texts. The text of a value depends only
on its type and the style, never on its neighbours, so the bytes do not depend on how rows were batched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fluxport.arrow_strings import string_window
from fluxport.decimals import DecimalText
from fluxport.errors import Refused
from fluxport.formats._jsontext import json_text, native
from fluxport.formats._scalars import TextStyle, in_style, kind_of, plain, scalar_text
from fluxport.formats._times import ambiguous_in, check_pattern, fractions_in, hides_fraction, hides_offset

if TYPE_CHECKING:
    from fluxport.findings import Findings

__all__ = ["TextStyle", "check_style", "check_types", "kind_of", "plain", "report_times", "string_window", "text_of"]


def text_of(array: pa.Array, field: pa.Field, style: TextStyle) -> pa.StringArray:
    """``array`` as ``pa.string()``, null where it was null; exact for every value, nested ones as compact JSON."""
    if isinstance(array.type, DecimalText):
        return in_style(array.storage, style)
    array = plain(array)
    if pa.types.is_nested(array.type):
        return json_text(array, field, native(style))
    return scalar_text(array, field, style)


def invalid_text(name: str) -> Refused:
    """The error for a column with bytes that are not UTF-8."""
    return Refused(
        f"Column {name!r} holds bytes that are not valid UTF-8; convert it in the query.", code="invalid_text"
    )


def check_style(style: TextStyle) -> None:
    """Refused if a pattern or a separator is invalid."""
    if style.datetime_format is not None:
        check_pattern(style.datetime_format, "datetime_format")
    if style.date_format is not None:
        check_pattern(style.date_format, "date_format")
    separators = [("decimal_separator", style.decimal_separator), ("grouping_separator", style.grouping_separator)]
    for name, sign in separators:
        if sign is not None and (len(sign) != 1 or sign.isalnum() or sign in '+-"\\\r\n\0\x01\x02'):
            raise Refused(f"Option {name!r} cannot be {sign!r}; it takes one character that does not occur in numbers.")
    if style.decimal_separator == style.grouping_separator:
        raise Refused(
            f"Options 'decimal_separator' and 'grouping_separator' cannot both be {style.decimal_separator!r}."
        )


def check_types(fields: Iterable[pa.Field], style: TextStyle) -> None:
    """Refused, before any row is read, if one of ``fields`` has a type without a text form."""
    for field in fields:
        text_of(pa.nulls(0, field.type), field, style)


def report_times(
    array: pa.Array,
    schema: pa.Schema,
    indices: Sequence[int],
    style: TextStyle,
    findings: Findings,
    *,
    by_rows: bool = True,
) -> None:
    """Report the timestamps whose text omits the fraction of a second, or the UTC offset in an hour that occurs twice.

    ``array`` has the values of the columns ``indices`` of ``schema``, row by row or (not ``by_rows``) by columns.
    """
    if not pa.types.is_timestamp(array.type):
        return
    for code, hides, found_in in _HIDDEN:
        if hides(style.datetime_format):
            found = found_in(array)
            found = found.reshape(-1, len(indices)) if by_rows else found.reshape(len(indices), -1).T
            counts = np.count_nonzero(found, axis=0).tolist()
            for index, count in zip(indices, counts, strict=True):
                findings.add(code, schema.field(index).name, count)


_HIDDEN = (("fraction_left_out", hides_fraction, fractions_in), ("ambiguous_time", hides_offset, ambiguous_in))
