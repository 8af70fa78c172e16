"""NUMERIC in its binary form as decimals, or as text.

::

    12345.67    ndigits 3 | weight 1 | sign 0 | dscale 2 | 1, 2345, 6700       digits of base 10,000, two bytes each
                weight: the first digit counts 10,000 ** 1; dscale: 2 digits after the point are shown

Numbers of few digits become integers times a power of ten, in a few passes. The others become text, the digits of base
10,000 of each in a row of a matrix, whose column is the power of its digit::

    weight       1       0   point  -1
    12345.67    |0001|2345| . |6700|        shown: 12345.67, from the first digit that counts to dscale after the point
        -0.5    |0000|0000| . |5000|        shown: -0.5
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_strings import replaced_at
from fluxport.decimals import DecimalText, decimal_type, from_text
from fluxport.digits import four_digits, scaled_text, texts_at
from fluxport.errors import Broken
from fluxport.sources.postgres.columns import Column
from fluxport.sources.wire.blocks import Mask, Numbers
from fluxport.sources.wire.cells import Cells, fixed, with_type
from fluxport.sources.wire.malformed import Malformed

HEADER_BYTES, DIGIT_BYTES = 8, 2
BASE, BASE_DIGITS = 10_000, 4
POSITIVE, NEGATIVE, NAN, INFINITY, MINUS_INFINITY = 0x0000, 0x4000, 0xC000, 0xD000, 0xF000
SCALE_MAX = 0x3FFF
_SPECIAL = (NAN, INFINITY, MINUS_INFINITY)
_FEW = 4  # digits of base 10,000 that fit 64 bits
_SHORT_MAX = 17  # decimal digits of numbers that 64 bits hold and digits.scaled_text writes
_MATRIX_BYTES = 4 << 20
_LONG = 16  # digits of base 10,000 beyond which numbers are not written beside shorter ones
_TEXT_MAX = 16 << 20


class TooMuchText(Exception):
    """The texts of numbers with large exponents are many times their binary form; the block should be halved."""


class _Heads(NamedTuple):
    digits: Numbers  # how many of base 10,000
    weight: Numbers
    sign: Numbers
    scale: Numbers


def to_number(cells: Cells[Column]) -> pa.Array:
    """Decimals, DecimalText, or for a column without declared scale the text that the server would print."""
    kind = cells.column.arrow
    cells, heads = _read(cells)
    if (decimal := decimal_type(kind)) is not None:
        special = heads.sign >= NAN
        if special.any():
            cells = cells.without("not_a_number", ~special)
        return _decimals(cells, heads, decimal)
    texts = _texts(cells, heads)
    return with_type(cells, _with_specials(texts, heads), pa.utf8())


def _read(cells: Cells[Column]) -> tuple[Cells[Column], _Heads]:
    head = cells.block.window.numbers[8][cells.at].astype(np.uint64)
    if cells.valid is not None:
        head *= cells.valid
    heads = _Heads(
        (head >> np.uint64(48)).astype(np.int64),
        (head >> np.uint64(32)).astype(np.int16).astype(np.int64),
        (head >> np.uint64(16)).astype(np.uint16),
        head.astype(np.uint16).astype(np.int64),
    )
    sizes = HEADER_BYTES + DIGIT_BYTES * heads.digits
    right = (sizes == cells.sizes) & (heads.scale <= SCALE_MAX)
    right &= (heads.sign == POSITIVE) | (heads.sign == NEGATIVE) | np.isin(heads.sign, _SPECIAL)
    if not (right if cells.valid is None else right | ~cells.valid).all():
        raise Malformed
    return cells, heads


def _decimals(cells: Cells[Column], heads: _Heads, decimal: pa.DataType) -> pa.Array:
    kind = cells.column.arrow
    weight_max = (decimal.precision - decimal.scale - 1) // BASE_DIGITS
    wide = (heads.scale > decimal.scale) | ((heads.weight > weight_max) & (heads.digits > 0))
    if cells.valid is not None:
        wide &= cells.valid
    if wide.any():
        raise _overflow(cells, wide)
    short = _short(cells, heads, decimal.scale) if decimal.precision <= _SHORT_MAX else None
    if short is not None and len(short) and max(int(short.max()), -int(short.min())) >= 10**decimal.precision:
        raise _overflow(cells, np.abs(short) >= 10**decimal.precision)
    if short is None:
        texts = with_type(cells, _texts(cells, heads), pa.utf8())
        try:
            return from_text(texts, kind) if isinstance(kind, DecimalText) else pc.cast(texts, kind)
        except pa.ArrowInvalid:
            raise _overflow(cells, ~wide) from None
    if isinstance(kind, DecimalText):
        texts = with_type(cells, scaled_text(short, decimal.scale), pa.utf8())
        return pa.ExtensionArray.from_storage(kind, texts)
    words = np.repeat(short >> 63, kind.bit_width // 64).reshape(len(short), -1)
    words[:, 0] = short
    return fixed(kind, words, cells.valid)


def _overflow(cells: Cells[Column], where: Mask) -> Broken:
    column = cells.columns[int(where.argmax()) // len(cells.block)]
    return Broken(
        f"Column {column.name!r} has a number that does not fit its declared {column.type_name}; "
        "CAST it in the query to a wider NUMERIC.",
        code="decimal_overflow",
    )


_POWERS = np.array([10**power for power in range(19)], np.uint64)
_LARGEST = np.uint64(10**_SHORT_MAX - 1) // _POWERS  # that, times the power, have few enough digits


def _short(cells: Cells[Column], heads: _Heads, scale: int) -> Numbers | None:
    """The numbers times 10 ** ``scale`` as 64-bit integers; None if one has too many digits, or more than that scale.

    The caller knows that they fit.
    """
    if heads.digits.max(initial=0) > _FEW:
        return None
    data = cells.block.window.numbers[8][cells.at + HEADER_BYTES].astype(np.uint64)
    unused = (16 * (_FEW - heads.digits)).astype(np.uint64)
    data = data >> unused << unused
    parts = [data >> np.uint64(shift) & np.uint64(0xFFFF) for shift in (48, 32, 16, 0)]
    total = parts[0]
    for part in parts[1:]:
        total = total * np.uint64(BASE) + part
    if max(int(part.max(initial=0)) for part in parts) >= BASE:
        raise Malformed
    exponent = BASE_DIGITS * (heads.weight - (_FEW - 1)) + scale
    last = len(_POWERS) - 1
    raised, lowered = np.clip(exponent, 0, last), np.clip(-exponent, 0, last)
    if (total > _LARGEST[raised]).any():
        return None
    scaled, down = total * _POWERS[raised], _POWERS[lowered]
    magnitudes = scaled // down
    if (magnitudes * down != scaled).any():
        return None
    numbers = magnitudes.view(np.int64)
    signed: Numbers = np.where(heads.sign == NEGATIVE, -numbers, numbers)
    return signed


def _texts(cells: Cells[Column], heads: _Heads) -> pa.StringArray:
    """What the server would print, but for NaN and infinities; some number where null."""
    scale, weight = int(heads.scale.max(initial=0)), int(heads.weight.max(initial=0))
    if BASE_DIGITS * (max(weight, 0) + 1) + scale <= _SHORT_MAX:
        short = _short(cells, heads, scale)
        if short is not None:
            return scaled_text(short, scale, shown=heads.scale)
    groups = np.maximum(heads.weight + 1, 1) + -(-heads.scale // BASE_DIGITS)
    if BASE_DIGITS * int(groups.sum()) > _TEXT_MAX and len(cells.block) > 1:
        raise TooMuchText
    if groups.max(initial=0) <= _LONG:
        return _written(cells, heads)
    order = np.argsort(groups, kind="stable")
    sizes = BASE_DIGITS * groups[order]
    parts, start = [], 0
    while start < len(order):
        many = np.searchsorted(sizes[start:] * np.arange(1, len(order) - start + 1), _MATRIX_BYTES, side="right")
        rows = order[start : start + max(1, int(many))]
        own = replace(cells, at=cells.at[rows])
        parts.append(_written(own, _Heads(*(each[rows] for each in heads))))
        start += len(rows)
    back = np.empty(len(order), np.int32)
    back[order] = np.arange(len(order), dtype=np.int32)
    return pc.take(pa.concat_arrays(parts), pc.from_numpy(back))


def _written(cells: Cells[Column], heads: _Heads) -> pa.StringArray:
    """The digits of each number in a row of a matrix, and the texts taken from these rows."""
    rows = len(cells.at)
    whole = max(int(heads.weight.max()) + 1, 1)
    fraction = -(-int(heads.scale.max()) // BASE_DIGITS)
    number = (heads.weight - (whole - 1))[:, None] + np.arange(whole + fraction)
    present = (number >= 0) & (number < heads.digits[:, None])
    at = np.where(present, cells.at[:, None] + (HEADER_BYTES + DIGIT_BYTES * number), 0)
    digits = cells.block.window.numbers[DIGIT_BYTES][at] * present
    if digits.max(initial=0) >= BASE:
        raise Malformed
    texts = four_digits()[digits].view(np.uint8)
    point = 1 + BASE_DIGITS * whole  # behind the sign and the whole part
    matrix = np.empty((rows, point + 1 + BASE_DIGITS * fraction), np.uint8)
    matrix[:, 1:point] = texts[:, : BASE_DIGITS * whole]
    matrix[:, point] = ord(".")
    matrix[:, point + 1 :] = texts[:, BASE_DIGITS * whole :]
    counting = matrix[:, 1:point] != ord("0")
    counting[:, -1] = True
    negative = heads.sign == NEGATIVE
    starts = np.arange(0, matrix.size, matrix.shape[1])
    ends = starts + point + np.where(heads.scale > 0, 1 + heads.scale, 0)
    starts = starts + 1 + counting.argmax(axis=1) - negative
    matrix.reshape(-1)[starts[negative]] = ord("-")
    return texts_at(matrix, starts, ends)


_WORDS = ((NAN, "NaN"), (INFINITY, "Infinity"), (MINUS_INFINITY, "-Infinity"))


def _with_specials(texts: pa.StringArray, heads: _Heads) -> pa.StringArray:
    for sign, word in _WORDS:
        rows = np.flatnonzero(heads.sign == sign)
        if len(rows):
            texts = replaced_at(texts, rows, pc.from_strings([word] * len(rows)))
    return texts
