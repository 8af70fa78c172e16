"""Scalar values as text: a table of kernels by Arrow type.

A kernel takes a whole array and returns Arrow strings: one buffer of text and the offsets of its values. Where the
width of a text follows from its value, the kernel converts the buffer in one call and computes the offsets:

    binary  data  4D 61 | 6E         offsets  0, 2, 3
    hex     data  4 d 6 1 | 6 e      offsets  0, 4, 6
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_strings import string_window, with_nulls_of
from fluxport.digits import decimal_text, float_text, integer_text
from fluxport.errors import Refused
from fluxport.formats._times import date_text, duration_text, interval_text, time_text, timestamp_text
from fluxport.stages import FIELD_KIND

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TextStyle:
    """How values are written; the defaults match the default profile."""

    datetime_format: str | None = None  # strftime pattern or "rfc3339"
    date_format: str | None = None
    true_value: str = "true"
    false_value: str = "false"
    binary: Literal["hex", "base64"] = "hex"
    decimal_separator: str = "."
    grouping_separator: str | None = None  # between groups of three digits


def kind_of(field: pa.Field) -> bytes:
    """The meaning of the column beyond its Arrow type (``b"json"``, ``b"time"``, ...), or empty."""
    named: bytes = (field.metadata or {}).get(FIELD_KIND, b"")
    return named or (b"json" if getattr(field.type, "extension_name", "") == "arrow.json" else b"")


def plain(array: pa.Array) -> pa.Array:
    """``array`` without a dictionary, runs, views or an extension type around its values."""
    kind = array.type
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            return _uuid_text(array.storage)
        return plain(array.storage)
    if t.is_dictionary(kind):
        return plain(array.dictionary_decode())
    if t.is_run_end_encoded(kind):
        return plain(pc.run_end_decode(array))
    if t.is_string_view(kind):
        return pc.cast(array, pa.string())
    if t.is_binary_view(kind) or t.is_fixed_size_binary(kind):
        return pc.cast(array, pa.binary())
    return array


def scalar_text(array: pa.Array, field: pa.Field, style: TextStyle) -> pa.StringArray:
    """``array`` (a plain one) as strings, null where it is null; Refused for a type that has no text."""
    kernel = _KERNELS.get(array.type.id)
    if kernel is None:
        raise unsupported(field)
    if pa.types.is_duration(array.type) and kind_of(field) == b"time":
        return time_text(array)
    text = kernel(array, style)
    return in_style(text, style) if kind_of(field) == b"number" and kernel is _string_text else text


def unsupported(field: pa.Field) -> Refused:
    return Refused(
        f"Column {field.name!r} has the type {field.type}, which has no text form; cast it in the query.",
        code="unsupported_type",
    )


def _string_text(array: pa.Array, _: TextStyle) -> pa.StringArray:
    return array if pa.types.is_string(array.type) else pc.cast(array, pa.string())


def _null_text(array: pa.Array, _: TextStyle) -> pa.StringArray:
    return pa.nulls(len(array), pa.string())


def _boolean_text(array: pa.Array, style: TextStyle) -> pa.StringArray:
    return pc.if_else(array, style.true_value, style.false_value)


def _number(kernel: Callable[[pa.Array], pa.StringArray]) -> Callable[[pa.Array, TextStyle], pa.StringArray]:
    def text(array: pa.Array, style: TextStyle) -> pa.StringArray:
        return in_style(kernel(array), style)

    return text


def in_style(text: pa.StringArray, style: TextStyle) -> pa.StringArray:
    """Numbers as text, with the separators of ``style``."""
    if style.grouping_separator is None and style.decimal_separator == ".":
        return text
    # The separators are first replaced by characters that no number has, so that "." and "," can be swapped.
    text = pc.replace_substring(text, ".", "\x01")
    while style.grouping_separator is not None:
        grouped = pc.replace_substring_regex(
            text, r"^(-?\d+)(\d{3})($|[\x01\x02])", r"\1\x02\2\3".replace("\\x02", "\x02")
        )
        if grouped.equals(text):
            break
        text = grouped
    text = pc.replace_substring(text, "\x02", style.grouping_separator or "")
    return pc.replace_substring(text, "\x01", style.decimal_separator)


def _binary_text(array: pa.Array, style: TextStyle) -> pa.StringArray:
    return base64_text(array) if style.binary == "base64" else hex_text(array)


def hex_text(array: pa.Array) -> pa.StringArray:
    """Binary as lowercase hex."""
    offsets, data = string_window(array)
    return _ascii(
        binascii.hexlify(data[offsets[0] : offsets[-1]].data), (offsets - offsets[0]).astype(np.int64) * 2, array
    )


def base64_text(array: pa.Array) -> pa.StringArray:
    """Binary as padded standard base64.

    One call encodes all values: each is padded with zeros to whole groups of three bytes, and the characters that the
    padding becomes are overwritten with ``=``::

        values   b"M"       b"Man"     b"Ma"
        padded   4D 00 00 | 4D 61 6E | 4D 61 00
        encoded  T Q A A  | T W F u  | T W E A
        result   T Q = =  | T W F u  | T W E =
    """
    offsets, data = string_window(array)
    lengths = np.diff(offsets).astype(np.int64)
    odd = lengths % 3
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum((lengths + 2) // 3)])
    used = np.ones(int(ends[-1]) * 3, np.bool_)
    used[3 * ends[1:][odd > 0] - 1] = False
    used[3 * ends[1:][odd == 1] - 2] = False
    filled = np.zeros(len(used), np.uint8)
    filled[used] = data[offsets[0] : offsets[-1]]
    encoded = np.frombuffer(bytearray(binascii.b2a_base64(filled.data, newline=False)), np.uint8)
    encoded[4 * ends[1:][odd > 0] - 1] = ord("=")
    encoded[4 * ends[1:][odd == 1] - 2] = ord("=")
    return _ascii(encoded, ends * 4, array)


def _ascii(data: Any, offsets: NDArray[np.int64], array: pa.Array) -> pa.StringArray:
    if offsets[-1] > np.iinfo(np.int32).max:
        raise pa.ArrowCapacityError("text of one slice is longer than 2 GiB")
    texts = pa.StringArray.from_buffers(len(array), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data))
    return with_nulls_of(texts, array)


def _uuid_text(array: pa.Array) -> pa.StringArray:
    digits = hex_text(pc.cast(array, pa.binary()))
    cuts = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
    return pc.binary_join_element_wise(*(pc.utf8_slice_codeunits(digits, a, b) for a, b in cuts), "-")


_KERNELS: dict[int, Callable[[pa.Array, TextStyle], pa.StringArray]] = {
    pa.null().id: _null_text,
    pa.bool_().id: _boolean_text,
    pa.string().id: _string_text,
    pa.large_string().id: _string_text,
    pa.binary().id: _binary_text,
    pa.large_binary().id: _binary_text,
    **dict.fromkeys(
        (
            t.id
            for t in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
        ),
        _number(integer_text),
    ),
    **dict.fromkeys((pa.float16().id, pa.float32().id, pa.float64().id), _number(float_text)),
    **dict.fromkeys(
        (t.id for t in (pa.decimal32(1), pa.decimal64(1), pa.decimal128(1), pa.decimal256(1))), _number(decimal_text)
    ),
    pa.timestamp("s").id: lambda array, style: timestamp_text(array, style.datetime_format),
    pa.date32().id: lambda array, style: date_text(array, style.date_format),
    pa.date64().id: lambda array, style: date_text(array, style.date_format),
    pa.time32("s").id: lambda array, _: time_text(array),
    pa.time64("us").id: lambda array, _: time_text(array),
    pa.duration("s").id: lambda array, _: duration_text(array),
    pa.month_day_nano_interval().id: lambda array, _: interval_text(array),
}
