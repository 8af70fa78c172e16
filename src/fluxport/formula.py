"""Which text a spreadsheet would run as a formula: one rule for every format.

Such text begins with one of ``= + - @ TAB CR`` or a full-width ``＝ ＋ － ＠`` and is not a plain number (``-5``,
``+1.5e3``, ``-Infinity``). Characters before the sign that a reader may drop do not hide it: LibreOffice drops NUL, CSV
readers drop a byte order mark, editors and web pages drop other control characters, zero-width characters and direction
marks. A space or a line feed before the sign already makes a cell text in spreadsheets.

The first bytes of all cells of an array are looked up at once; only suspects are examined as strings:

    first byte    in _ONE_BYTE?  ->  first two bytes in _TWO_BYTES?  ->  regular expressions on the rest
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_SIGNS = "=+-@\t\r＝＋－＠"
# Inclusive ranges: C0 but TAB, LF and CR, DEL and C1, soft hyphen, Arabic letter mark, zero-width, direction, BOM.
_DROPPED = (
    ("\x00", "\x08"), ("\x0b", "\x0c"), ("\x0e", "\x1f"), ("\x7f", "\x9f"), ("\xad", "\xad"), ("\u061c", "\u061c"),
    ("\u180e", "\u180e"), ("\u200b", "\u200f"), ("\u202a", "\u202e"), ("\u2060", "\u206f"), ("\ufeff", "\ufeff"),
)  # fmt: skip
# For Python's re and for Arrow's RE2 alike.
_BEFORE = "^[" + "".join(f"{first}-{last}" for first, last in _DROPPED) + "]*"
_FORMULA = f"{_BEFORE}[{re.escape(_SIGNS)}]"
# Infinity as our encoders write it, so that a number written as text is not escaped.
_NUMBER = rf"{_BEFORE}[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|Infinity)"


def _heads() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which first bytes, and which first two bytes of multi-byte characters, may begin a formula."""
    characters = [*_SIGNS, *(chr(c) for first, last in _DROPPED for c in range(ord(first), ord(last) + 1))]
    one, two = np.zeros(256, np.bool_), np.ones(1 << 16, np.bool_)
    for head in {character.encode()[0] for character in characters}:
        one[head] = True
        if head >= 0x80:
            two[head << 8 : (head + 1) << 8] = False
    for encoded in (character.encode() for character in characters):
        if len(encoded) > 1:
            two[encoded[0] << 8 | encoded[1]] = True
    return one, two


_ONE_BYTE, _TWO_BYTES = _heads()


def is_formula(text: str) -> bool:
    """Whether a spreadsheet may run ``text``."""
    return re.match(_FORMULA, text) is not None and re.fullmatch(_NUMBER, text) is None


def formula_rows(array: pa.Array) -> NDArray[np.intp]:
    """The rows of a ``string`` or ``large_string`` array whose text a spreadsheet may run; never nulls."""
    from fluxport import compute as pc

    rows = suspect_rows(array)
    if not len(rows):
        return rows
    texts = pc.take(array, pc.from_numpy(rows))
    numbers = pc.match_substring_regex(texts, f"{_NUMBER}$")
    formulas = pc.and_not(pc.match_substring_regex(texts, _FORMULA), numbers)
    matches: NDArray[np.intp] = rows[pc.fill_null(formulas, False).to_numpy(zero_copy_only=False)]
    return matches


def suspect_rows(array: pa.Array) -> NDArray[np.intp]:
    """Rows whose first bytes may begin a formula: a superset of those that do."""
    import pyarrow as pa

    _, offsets, data = array.buffers()
    if not len(array) or data is None or not data.size:
        return np.empty(0, np.intp)
    wide = pa.types.is_large_string(array.type)
    dtype = np.dtype(np.int64 if wide else np.int32)
    bounds = np.frombuffer(offsets, dtype, len(array) + 1, array.offset * dtype.itemsize)
    bytes_ = np.frombuffer(data, np.uint8)
    # An empty last cell starts behind the data; checking another byte instead is harmless.
    at = np.minimum(bounds[:-1], len(bytes_) - 1)
    rows = np.flatnonzero(_ONE_BYTE[bytes_[at]])
    if not len(rows):
        return rows
    at = at[rows]
    following = bytes_[np.minimum(at + 1, len(bytes_) - 1)]
    suspects: NDArray[np.intp] = rows[_TWO_BYTES[bytes_[at].astype(np.uint16) << 8 | following]]
    return suspects
