"""Decimals as the text that a database sent: exact, and written by the text formats without a conversion.

Arrow converts text to its decimals and back at twice the cost of copying the text. A source that is asked to
(:attr:`fluxport.sources.table.SourceOptions.decimal_text`) therefore yields arrays of :class:`DecimalText`, whose
storage is a string array, each value just as Arrow would print it: all digits of the scale, no exponent, no zero before
another digit of the whole part, no negative zero.

    decimal128(5, 2)    1.50    -0.05    999.99
    storage             "1.50"  "-0.05"  "999.99"
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_strings import string_window, valid_rows
from fluxport.digits import decimal_text

if TYPE_CHECKING:
    from numpy.typing import NDArray


class DecimalText(pa.ExtensionType):  # type: ignore[misc]  # Arrow has no types
    """The type of decimals given as text; ``decimal`` is the decimal type that holds all of its values."""

    def __init__(self, decimal: pa.DataType) -> None:
        self.decimal = decimal
        super().__init__(pa.string(), "fluxport.decimal_text")

    def __arrow_ext_serialize__(self) -> bytes:
        return f"{self.decimal.bit_width} {self.decimal.precision} {self.decimal.scale}".encode()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DecimalText) and other.decimal.equals(self.decimal)

    def __ne__(self, other: object) -> bool:  # Arrow's own would ignore the decimal type
        return not self == other

    def __hash__(self) -> int:
        return hash(self.decimal)

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> DecimalText:
        return _deserialized(serialized)


@lru_cache(maxsize=256)  # Arrow asks again for each array of which Python has no type at hand
def _deserialized(serialized: bytes) -> DecimalText:
    width, precision, scale = map(int, serialized.split())
    return DecimalText(pa.decimal256(precision, scale) if width == 256 else pa.decimal128(precision, scale))


def decimal_type(kind: pa.DataType) -> pa.DataType | None:
    """The decimal type behind ``kind``, a decimal or a DecimalText; None for other types."""
    if isinstance(kind, DecimalText):
        return kind.decimal
    return kind if pa.types.is_decimal(kind) else None


def exact(array: pa.Array) -> pa.Array:
    """``array``, with the texts of a DecimalText as decimals."""
    return pc.cast(array.storage, array.type.decimal) if isinstance(array.type, DecimalText) else array


def from_text(texts: pa.StringArray, kind: DecimalText) -> pa.ExtensionArray:
    """``texts`` as an array of ``kind``; pa.ArrowInvalid if one is not a number that its decimal type can hold.

    Texts in another form than Arrow's (``1.5`` for a scale of 2, ``007``, ``-0.00``) are converted there and back.
    """
    if not _as_printed(texts, kind.decimal):
        texts = decimal_text(pc.cast(texts, kind.decimal))
    return pa.ExtensionArray.from_storage(kind, texts)


def _as_printed(texts: pa.StringArray, decimal: pa.DataType) -> bool:
    """Whether each text is what Arrow prints for such a decimal (nulls hold no bytes)."""
    offsets, data = string_window(texts)
    content = data[offsets[0] : offsets[-1]]
    rows = np.flatnonzero(valid_rows(texts)) if texts.null_count else slice(None)
    starts, ends = offsets[:-1][rows], offsets[1:][rows]
    sizes = ends - starts
    if not len(starts) or decimal.scale < 0 or sizes.min() < 1 or int(sizes.sum(dtype=np.int64)) != content.size:
        return not content.size and not len(starts)
    negative = data[starts] == ord("-")
    lead = starts + negative
    points = len(starts) if decimal.scale else 0
    digits = ends - lead - (decimal.scale + (decimal.scale > 0))  # of the whole part
    # Bytes below the digits are counted: if they are the signs and points found at their places, the rest is digits.
    if (
        digits.min() < 1
        or digits.max() > max(decimal.precision - decimal.scale, 1)
        or content.max() > ord("9")
        or np.count_nonzero(content < ord("0")) != np.count_nonzero(negative) + points
        or (points and (data[ends - 1 - decimal.scale] != ord(".")).any())
    ):
        return False
    zero = data[lead] == ord("0")
    if decimal.precision == decimal.scale and not zero.all():
        return False
    if not zero.any():
        return True
    if (digits[zero] > 1).any():
        return False
    near = np.flatnonzero(zero & negative)
    return not len(near) or not _any_zero(texts, np.arange(len(texts))[rows][near], decimal)


def _any_zero(texts: pa.StringArray, rows: NDArray[np.intp], decimal: pa.DataType) -> bool:
    values = pc.cast(pc.take(texts, pc.from_numpy(rows)), decimal)
    return bool(pc.any(pc.equal(values, pa.scalar(0, decimal))).as_py())
