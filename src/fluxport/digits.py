"""Numbers as text: Arrow's casts, corrected where they write an unusual exponent or another name for infinity or NaN.

The casts are exact and shortest. What numpy writes faster into a byte matrix is written so: integers, in half the time
if all have the same number of digits, and decimals and doubles with few digits, as money and measured values have:

    value      row of the matrix
    1234567    |1|2|3|4|5|6|7|      four digits at a time from the right, looked up in a table
    1234568    |1|2|3|4|5|6|8|      as one 32-bit integer; the rest one at a time
    -4.50      |0|-|4|.|5|0|        the texts are then taken from their places in the rows
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_strings import (
    bytes_of,
    fixed_width_text,
    replaced_at,
    rows_at,
    valid_rows,
    values_of,
    with_nulls_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PLACES_TRIED = (2, 4, 6)
_SAMPLE = 64  # doubles are looked at before they are tried as short ones
_SHORT_MAX = 10.0**15
_MATRIX_MIN = 256  # integers from which a matrix takes less time than a cast, if they have at most nine digits
_ROWS_MAX = 1 << 20  # beyond which a matrix takes much memory
_PLAIN_EXPONENTS = range(10, 16)  # Arrow writes 1e+10; up to 1e16 a number has all its digits


def number_text(array: pa.Array) -> pa.StringArray:
    """The text of integers, floats or decimals, the same in every format and step."""
    if pa.types.is_floating(array.type):
        return float_text(array)
    return decimal_text(array) if pa.types.is_decimal(array.type) else integer_text(array)


def integer_text(array: pa.Array) -> pa.StringArray:
    """Integers of any width and sign."""
    values = values_of(array, _dtype_of(array.type))
    if array.null_count:
        values = np.where(valid_rows(array), values, values.dtype.type(0))
    return with_nulls_of(whole_text(values), array)


def whole_text(values: NDArray[Any]) -> pa.StringArray:
    """Integers of a numpy array."""
    width = common_width(values)
    if width is not None:
        return fixed_width_text(digits(values, width))
    if _MATRIX_MIN <= len(values) <= _ROWS_MAX and values.min() > -(10**9) and values.max() < 10**9:
        return scaled_text(values, 0)
    return pc.cast(pc.from_numpy(values), pa.string())


def common_width(values: NDArray[Any]) -> int | None:
    """How many digits each of ``values`` has, at most 17 and none negative; None if they differ."""
    if not len(values):
        return None
    lowest, highest = int(values.min()), int(values.max())
    width = len(str(highest))
    return width if 0 <= lowest <= highest < 10**17 and len(str(lowest)) == width else None


def digits(values: NDArray[Any], width: int) -> NDArray[np.uint8]:
    """The digits of integers below 10**17, a row of ``width`` bytes for each."""
    matrix = np.empty((len(values), width), np.uint8)
    _write_number(matrix, values)
    return matrix


def _write_number(places: NDArray[np.uint8], values: NDArray[Any]) -> None:
    """Write integers below 10**17, which have at most as many digits as ``places`` has columns."""
    if places.shape[1] > 8:  # in halves: 32-bit division is several times faster than 64-bit
        high = values // 10**8
        _write_digits(places[:, -8:], (values - high * 10**8).astype(np.uint32))
        _write_digits(places[:, :-8], high.astype(np.uint32))
    else:
        _write_digits(places, values.astype(np.uint32))


def _write_digits(places: NDArray[np.uint8], numbers: NDArray[np.uint32]) -> None:
    """Write ``numbers`` into all ``places`` from the right, four digits at a time while four places are left."""
    end = places.shape[1]
    while end >= 4:
        rest = numbers // 10_000
        places[:, end - 4 : end].view(np.uint32)[:, 0] = four_digits()[numbers - rest * 10_000]
        numbers, end = rest, end - 4
    for place in range(end - 1, -1, -1):
        rest = numbers // 10
        places[:, place] = numbers - rest * 10 + ord("0")
        numbers = rest


@functools.cache
def four_digits() -> NDArray[np.uint32]:
    """The four digits of each number below 10,000, their bytes read as one integer."""
    numbers = np.arange(10_000)
    texts = np.stack([numbers // power % 10 + ord("0") for power in (1000, 100, 10, 1)], axis=1)
    return texts.astype(np.uint8).view(np.uint32).ravel()


def _dtype_of(kind: pa.DataType) -> np.dtype[Any]:
    return np.dtype(f"{'i' if pa.types.is_signed_integer(kind) else 'u'}{kind.bit_width // 8}")


def float_text(array: pa.Array) -> pa.StringArray:
    """The shortest text that reads back as the same double or float; half floats are cast to floats first.

    ``0.1``, ``5``, ``-0``, ``1e+16``, ``1e-7``, ``NaN``, ``Infinity``, ``-Infinity``.
    """
    if pa.types.is_float64(array.type) and _SAMPLE <= len(array) <= _ROWS_MAX:
        values = values_of(array, np.float64)
        if array.null_count:
            values = np.where(valid_rows(array), values, 0.0)
        places = _places_of(values[:: len(values) // _SAMPLE])
        if places is not None:
            return _short_text(array, values, places)
    return _cast_floats(array)


def _places_of(values: NDArray[np.float64]) -> int | None:
    """A number of places after the point with which most of ``values`` are exact; None if there is none."""
    with np.errstate(over="ignore", invalid="ignore"):
        for places in _PLACES_TRIED:
            power = 10.0**places
            if np.count_nonzero(np.rint(values * power) / power == values) * 4 > len(values) * 3:
                return places
    return None


def _short_text(array: pa.Array, values: NDArray[np.float64], places: int) -> pa.StringArray:
    """``values``, those of ``array`` with 0 for null: as integers / 10**places where that is the same double.

    No two decimals of at most 15 digits are the same double, so such a decimal is the shortest text.
    """
    power = 10.0**places
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(values * power)
        short = (scaled / power == values) & (np.abs(scaled) < _SHORT_MAX)
    zero = scaled == 0
    if zero.any():
        short &= ~(zero & np.signbit(values))
    every = bool(short.all())
    text = scaled_text((scaled if every else np.where(short, scaled, 0.0)).astype(np.int64), places, trimmed=True)
    if not every:
        rows = np.flatnonzero(~short)
        text = replaced_at(text, rows, _cast_floats(pc.take(array, pc.from_numpy(rows))))
    return with_nulls_of(text, array)


def scaled_text(
    values: NDArray[Any], places: int, *, trimmed: bool = False, shown: NDArray[Any] | None = None
) -> pa.StringArray:
    """``values / 10**places``, for integers between -10**17 and 10**17, with all places, or ``trimmed``: no zeros at
    the end of them; or with ``shown`` places of each."""
    negative = values < 0
    signed = bool(negative.any())
    magnitudes = np.abs(values.astype(np.int64, copy=False)) if signed else values
    if int(magnitudes.max()) < 2**32 and places < 10:
        magnitudes = magnitudes.astype(np.uint32)
    whole = magnitudes // 10**places if places else magnitudes
    length = len(str(int(whole.max())))
    point = 1 + length  # of a row: the sign, the digits, the point, digits
    width = point + (1 + places if places else 0)
    matrix = np.empty((len(values), width), np.uint8)
    _write_number(matrix[:, 1:point], whole)
    if places:
        matrix[:, point] = ord(".")
        _write_number(matrix[:, point + 1 :], magnitudes - whole * 10**places)
    leading = np.zeros(len(values), np.uint8)  # digits and sign beyond the one before the point
    for digit in range(1, length):
        leading += (whole >= 10**digit).view(np.uint8)
    if signed:
        leading += negative.view(np.uint8)
    ends = np.arange(width, matrix.size + 1, width, dtype=np.int32)
    starts = ends - np.int32(width - point + 1) - leading
    if signed:
        matrix.reshape(-1)[starts[negative]] = ord("-")
    if trimmed:
        zero = np.ones(len(values), np.bool_)
        trailing = np.zeros(len(values), np.uint8)  # zeros, and the point if nothing else is behind it
        for place in range(places):
            zero &= matrix[:, width - 1 - place] == ord("0")
            trailing += zero.view(np.uint8)
        trailing += zero.view(np.uint8)
        ends -= trailing
    elif shown is not None:
        ends -= np.where(shown > 0, places - shown, places + (places > 0)).astype(np.int32)
    return texts_at(matrix, starts, ends)


def texts_at(matrix: NDArray[np.uint8], starts: NDArray[Any], ends: NDArray[Any]) -> pa.StringArray:
    """The texts in the rows of ``matrix``, one in each, by their positions in all of it."""
    offsets = np.zeros(2 * len(starts) + 1, np.int32)
    offsets[1::2], offsets[2::2] = starts, ends
    parts = pa.StringArray.from_buffers(2 * len(starts), pa.py_buffer(offsets), pa.py_buffer(matrix))
    return pc.take(parts, _every_second(len(starts)), checked=False)


@functools.lru_cache(maxsize=1)
def _every_second(count: int) -> pa.Array:
    return pc.from_numpy(np.arange(1, 2 * count, 2, dtype=np.int32))


def _cast_floats(array: pa.Array) -> pa.StringArray:
    if pa.types.is_float16(array.type):
        array = pc.cast(array, pa.float32())
    text = pc.cast(array, pa.string())
    data = bytes_of(text)
    if data.max(initial=0) <= ord("9"):
        return text
    if (data == ord("n")).any():  # nan, inf
        text = pc.if_else(pc.is_finite(array), text, _not_finite(array))
        data = bytes_of(text)
    scientific = data == ord("+")
    if scientific.any():
        rows = np.flatnonzero(rows_at(text, np.flatnonzero(scientific)))
        text = replaced_at(text, rows, _without_exponents(pc.take(text, pc.from_numpy(rows))))
    return text


def _not_finite(array: pa.Array) -> pa.StringArray:
    infinite = pc.if_else(pc.greater(array, 0), "Infinity", "-Infinity")
    return pc.if_else(pc.is_nan(array), "NaN", infinite)


def _without_exponents(text: pa.StringArray) -> pa.StringArray:
    for exponent in _PLAIN_EXPONENTS:
        mask = pc.ends_with(text, f"e+{exponent}")
        if pc.any(mask).as_py():
            text = pc.replace_with_mask(text, mask, _plain(pc.filter(text, mask), exponent))
    return text


def _plain(text: pa.StringArray, exponent: int) -> pa.StringArray:
    """``-1.25e+10`` as ``-12500000000``, for texts that all have the exponent given."""
    digits = pc.replace_substring(pc.utf8_slice_codeunits(text, 0, -4), ".", "")
    sign = pc.if_else(pc.starts_with(digits, "-"), "-", "")
    digits = pc.ascii_rpad(pc.ascii_ltrim(digits, "-"), exponent + 1, "0")
    fraction = pc.utf8_slice_codeunits(digits, exponent + 1)
    point = pc.if_else(pc.equal(fraction, ""), "", ".")
    return pc.binary_join_element_wise(sign, pc.utf8_slice_codeunits(digits, 0, exponent + 1), point, fraction, "")


def infinite_texts(texts: pa.StringArray) -> NDArray[np.bool_] | None:
    """Which numbers given as text are NaN or an infinity, as a database prints them; None if none."""
    data = bytes_of(texts)
    if data.max(initial=0) < ord("I"):
        return None
    positions = np.flatnonzero((data == ord("I")) | (data == ord("N")))
    return rows_at(texts, positions) if len(positions) else None


def exponents(texts: pa.StringArray) -> NDArray[np.bool_] | None:
    """Which finite numbers given as text have an exponent; None if none."""
    data = bytes_of(texts)
    if data.max(initial=0) <= ord("9"):
        return None
    return rows_at(texts, np.flatnonzero(data > ord("9")))


def decimal_text(array: pa.Array) -> pa.StringArray:
    """Decimals of any width with all digits of their scale, never an exponent."""
    written = _short_decimals(array)
    if written is not None:
        return written
    text = pc.cast(array, pa.string())
    scientific = bytes_of(text) == ord("E")
    if not scientific.any():
        return text
    rows = np.flatnonzero(rows_at(text, np.flatnonzero(scientific)))
    return replaced_at(text, rows, _plain_decimals(pc.take(array, pc.from_numpy(rows))))


def _short_decimals(array: pa.Array) -> pa.StringArray | None:
    """Decimals of at most 17 digits, in half the time of a cast; None if there are others."""
    scale = array.type.scale
    unscaled = _unscaled(array) if 0 <= scale < 17 and 0 < len(array) <= _ROWS_MAX else None
    if unscaled is None or max(-int(unscaled.min()), int(unscaled.max())) >= 10**17:
        return None
    text = scaled_text(unscaled, scale) if scale else whole_text(np.ascontiguousarray(unscaled))
    return with_nulls_of(text, array)


def _unscaled(array: pa.Array) -> NDArray[np.int64] | None:
    """The integers of decimals of 128 or 256 bits, 0 where they are null; None if one does not fit 64 bits."""
    words = array.type.bit_width // 64
    if words < 2:
        return None
    low, *high = values_of(array, (np.int64, words)).reshape(-1, words).T
    if array.null_count:
        present = valid_rows(array)
        low, high = low * present, [word * present for word in high]
    sign = low >> 63
    return low if all((word == sign).all() for word in high) else None


def _plain_decimals(array: pa.Array) -> pa.StringArray:
    kind = array.type
    if kind.bit_width < 128:
        kind = pa.decimal128(kind.precision, kind.scale)
        array = pc.cast(array, kind)
    whole = pa.decimal128 if kind.bit_width == 128 else pa.decimal256
    # The same digits as whole numbers, which have no exponent.
    digits = pa.Array.from_buffers(whole(kind.precision, 0), len(array), array.buffers(), array.null_count)
    digits = pc.cast(digits, pa.string())
    if kind.scale <= 0:
        return pc.if_else(pc.equal(digits, "0"), "0", pc.binary_join_element_wise(digits, "0" * -kind.scale, ""))
    sign = pc.if_else(pc.starts_with(digits, "-"), "-", "")
    digits = pc.ascii_lpad(pc.ascii_ltrim(digits, "-"), kind.scale + 1, "0")
    before, after = pc.utf8_slice_codeunits(digits, 0, -kind.scale), pc.utf8_slice_codeunits(digits, -kind.scale)
    return pc.binary_join_element_wise(sign, before, ".", after, "")
