"""Text cells: text that XML or Excel cannot hold is escaped or cut, and reported.

A scan of the array's bytes shows which of the rare cases occur; each one that does costs one more kernel, others none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_groups import cut
from fluxport.arrow_strings import true_rows, valid_rows
from fluxport.errors import LimitExceeded
from fluxport.formats.text import invalid_text, string_window, text_of
from fluxport.formats.xlsx.cells import Cells, Column, by_column, inline_text, replaced, whole
from fluxport.formats.xlsx.options import CELL_UNITS_MAX
from fluxport.formula import formula_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ESCAPE_LITERAL = "_x[0-9A-Fa-f]{4}_"


def text(column: Column, array: pa.Array, first_row: int) -> Cells:
    """Text cells of an array that ``text_of`` can write; text that looks like a formula gets ``quoted_style``."""
    array = text_of(array, column.field, column.text)
    offsets, data = string_window(array)
    if offsets[0] == offsets[-1]:
        return inline_text(column.style, array)
    array = _fitting(column, array, offsets, data[offsets[0] : offsets[-1]], first_row)
    return _cells(array, column.style, column.quoted_style, len(column.names))


def text_cells(strings: Sequence[str], style: int, quoted_style: int) -> list[str]:
    """Strings that fit a cell, each as the XML that follows the cell's reference."""
    cells: list[str] = whole(_cells(pc.from_strings(strings), style, quoted_style)).values.to_pylist()
    return cells


def _cells(array: pa.Array, style: int, quoted_style: int, columns: int = 1) -> Cells:
    """Text cells of ``columns`` columns, whose rows follow one another in ``array``."""
    offsets, data = string_window(array)
    if offsets[0] == offsets[-1]:
        return inline_text(style, array)
    preserve = _preserved(offsets, data, columns)
    cells = inline_text(style, escaped(array), preserve=preserve)
    formulas = formula_rows(array) if quoted_style != style else ()
    if not len(formulas):
        return cells
    mask = np.zeros(len(array), np.bool_)
    mask[formulas] = True
    others = pc.filter(cells.values, pc.from_numpy(mask))
    if isinstance(preserve, tuple):  # one for each of the others
        preserve = tuple(preserve[at] for at in (np.flatnonzero(mask) // (len(array) // columns)).tolist())
    return replaced(cells, mask, inline_text(quoted_style, others, preserve=preserve))


def escaped(array: pa.Array) -> pa.Array:
    """Strings as XML text that Excel decodes to the original: ``_xHHHH_`` for what XML 1.0 cannot express."""
    offsets, data = string_window(array)
    seen = data[offsets[0] : offsets[-1]]
    if not seen.size:
        return array
    content = seen.tobytes()
    if b"_" in content and b"_x" in content:  # scanning for one byte is much faster
        literal = pc.match_substring_regex(array, _ESCAPE_LITERAL)
        if pc.any(literal).as_py():
            array = pc.if_else(literal, pc.replace_substring(array, "_x", "_x005F_x"), array)
    for char, entity in ((b"&", "&amp;"), (b"<", "&lt;"), (b">", "&gt;")):
        if char in content:
            array = pc.replace_substring(array, char.decode(), entity)
    if seen.min() < 0x20:
        for code in np.unique(seen[seen < 0x20]).tolist():
            if code not in (0x09, 0x0A):
                array = pc.replace_substring(array, chr(code), "&#13;" if code == 0x0D else f"_x{code:04X}_")
    if seen.max() >= 0xED:
        array = _without_noncharacters(array, seen, content)
    return array


def attributes(strings: Sequence[str]) -> list[str]:
    """Strings as the contents of XML attributes, where white space needs ``_xHHHH_`` as well."""
    array = escaped(pc.from_strings(strings))
    for char, reference in (('"', "&quot;"), ("\n", "_x000A_"), ("\t", "_x0009_"), ("&#13;", "_x000D_")):
        array = pc.replace_substring(array, char, reference)
    escapes: list[str] = array.to_pylist()
    return escapes


def _without_noncharacters(array: pa.Array, seen: NDArray[np.uint8], content: bytes) -> pa.Array:
    """U+FFFE, U+FFFF and lone surrogates (three bytes that are not UTF-8) as ``_xHHHH_``."""
    marks = [mark for mark in (b"\xef\xbf\xbe", b"\xef\xbf\xbf") if mark in content]
    if b"\xed" in content:
        at = np.flatnonzero((seen[:-2] == 0xED) & (seen[1:-1] >= 0xA0))
        marks += sorted({content[i : i + 3] for i in at.tolist()})
    if marks:
        binary = pc.cast(array, pa.binary())
        for mark in marks:
            code = (mark[0] & 0x0F) << 12 | (mark[1] & 0x3F) << 6 | mark[2] & 0x3F
            binary = pc.replace_substring(binary, mark, f"_x{code:04X}_".encode())
        array = pc.cast(binary, pa.string(), safe=False)
    return array


def _fitting(
    column: Column, array: pa.Array, offsets: NDArray[Any], seen: NDArray[np.uint8], first_row: int
) -> pa.Array:
    """``array`` with line ends LF and no cell too long; Broken if bytes are not UTF-8."""
    if seen.min() <= 0x0D and (seen == 0x0D).any():
        both = true_rows(pc.match_substring(array, "\r\n"))
        if both.any():
            column.report("line_ends_changed", both)
            array = pc.replace_substring(array, "\r\n", "\n")
            offsets, _ = string_window(array)
    if np.diff(offsets).max() > CELL_UNITS_MAX:
        array = _cut(column, array, offsets, first_row)
    if seen.max() >= 0x80:
        _check_utf8(column, array)
    return array


def _check_utf8(column: Column, array: pa.Array) -> None:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        marks = pc.replace_substring_regex(pc.cast(array, pa.binary()), rb"\xed[\xa0-\xbf][\x80-\xbf]", b"?")
        for name, texts in zip(column.names, cut(marks, len(column.names)), strict=True):
            try:
                pc.cast(texts, pa.string(), safe=True)
            except pa.ArrowInvalid as error:
                raise invalid_text(name) from error


def _cut(column: Column, array: pa.Array, offsets: NDArray[Any], first_row: int) -> pa.Array:
    """Cut cells of more than CELL_UNITS_MAX UTF-16 units before the first character that does not fit."""
    mask = np.zeros(len(array), np.bool_)
    heads: list[bytes] = []
    for row in np.flatnonzero((np.diff(offsets) > CELL_UNITS_MAX) & valid_rows(array)).tolist():
        head = np.frombuffer(array[row].as_buffer(), np.uint8)[: 4 * CELL_UNITS_MAX + 4]
        units = np.cumsum(((head & 0xC0) != 0x80).astype(np.int32) + (head >= 0xF0))
        if units[-1] > CELL_UNITS_MAX:
            mask[row] = True
            heads.append(head[: np.searchsorted(units, CELL_UNITS_MAX, "right")].tobytes())
    if not heads:
        return array
    if not column.cut_long:
        at, row = np.argwhere(by_column(mask, column))[0].tolist()
        raise LimitExceeded(
            f"Row {first_row + row:,}, column {column.names[at]!r}: a text of more than "
            f"{CELL_UNITS_MAX:,} characters does not fit a cell; set 'on_long_text: truncate' or use another format.",
            code="cell_too_long",
        )
    column.report("cell_cut", mask)
    return pc.replace_with_mask(
        array, pc.from_numpy(mask), pc.cast(pa.array(heads, pa.binary()), pa.string(), safe=False)
    )


def _preserved(offsets: NDArray[Any], data: NDArray[np.uint8], columns: int) -> bool | tuple[bool, ...]:
    """Whether texts begin or end with a space or have control characters; a tuple if only some columns have such."""
    seen = data[offsets[0] : offsets[-1]]
    lowest = seen.min()
    if lowest > 0x20:
        return False
    # An empty text is looked at as its neighbour, and then left out.
    white = data[np.minimum(offsets[:-1], offsets[-1] - 1)] == 0x20
    white |= data[np.maximum(offsets[1:] - 1, offsets[0])] == 0x20
    if white.any():
        white &= np.diff(offsets) > 0
    if lowest < 0x20:
        white[np.searchsorted(offsets[1:], np.flatnonzero(seen < 0x20) + offsets[0], side="right")] = True
    some = white.reshape(columns, -1).any(axis=1)
    return bool(some[0]) if some.all() or not some.any() else tuple(some.tolist())
