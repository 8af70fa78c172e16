"""Converts whole columns of text to numbers, dates and booleans. An empty text is null.

The usual case costs one cast and one pass over the bytes; the rest (zones, a plus sign, the caller's own pattern) is
parsed value by value. The fast check for numbers compares bytes at the edges of all cells at once:
::

    data     -12.5|007|3e8          offsets 0 5 8 11, one more than there are texts
    starts   ^     ^   ^            the first byte, a digit or "-"
    lead      ^    ^   ^            the first digit; "0" with a digit after it is not a JSON number
    ends-1       ^   ^   ^          the last byte, a digit
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from fluxport import compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRUE, FALSE = ("true", "1", "yes", "t", "y"), ("false", "0", "no", "f", "n")
NUMBER_CHARS_MAX = 400  # a double has at most 767 significant digits; no sane number has half as many

# The array and None, or any array and the index of the first value that cannot be converted.
Parsed = tuple[pa.Array, "int | None"]


class Parser(NamedTuple):
    """The type that a column of text is converted to, and the function that converts it. ``quick`` converts several
    columns in one array, if all values are in the usual notation; else it returns None, and each is converted alone."""

    type: pa.DataType
    kind: str | None
    parse: Callable[[pa.Array], Parsed]
    quick: Callable[[pa.Array], pa.Array | None]

    def __call__(self, texts: pa.Array) -> Parsed:
        return self.parse(texts)


def parser(kind: str, pattern: str | None, *, exact_text: bool, exact_numbers: bool) -> Parser:
    """The parser for values of ``kind``. With ``exact_numbers`` numbers are checked and stay text, else they become
    doubles; with ``exact_text`` dates are checked and stay text, else they become timestamps."""
    if kind == "string":
        return Parser(pa.string(), None, lambda texts: (texts, None), lambda texts: texts)
    if kind == "boolean":
        return Parser(pa.bool_(), None, booleans, lambda texts: _if_right(booleans(texts)))
    if kind == "number" and exact_numbers:
        return Parser(pa.string(), "number", numbers, lambda texts: _plain_numbers(_values(texts)))
    if kind == "number":
        return Parser(pa.float64(), None, doubles, _plain_doubles)
    dated = _dates(pattern)
    if exact_text:
        return Parser(
            pa.string(),
            None,
            lambda texts: (_values(texts), dated(texts)[1]),
            lambda texts: None if _plain_dates(values := _values(texts)) is None else values,
        )
    return Parser(pa.timestamp("us"), "date", dated, lambda texts: _plain_dates(_values(texts)))


def _if_right(parsed: Parsed) -> pa.Array | None:
    return parsed[0] if parsed[1] is None else None


def booleans(texts: pa.Array) -> Parsed:
    texts = _values(texts)
    lower = pc.ascii_lower(texts)
    true = pc.is_in(lower, pa.array(TRUE))
    wrong = pc.invert(pc.or_(true, pc.is_in(lower, pa.array(FALSE))))
    return pc.if_else(texts.is_valid(), true, pa.scalar(None, pa.bool_())), _first(wrong, texts)


def numbers(texts: pa.Array) -> Parsed:
    """Numbers as text, each in JSON's notation."""
    texts = _values(texts)
    if (plain := _plain_numbers(texts)) is not None:
        return plain, None
    values: list[str | None] = []
    for index, text in enumerate(texts.to_pylist()):
        try:
            values.append(None if text is None else _canonical(text))
        except (InvalidOperation, ValueError, OverflowError):
            return texts, index
    return pa.array(values, pa.string()), None


def doubles(texts: pa.Array) -> Parsed:
    """Numbers as doubles; a number of more than 15 characters that no double holds exactly counts as wrong."""
    texts, wrong = numbers(texts)
    return (texts, wrong) if wrong is not None else _doubles(texts)


def _plain_doubles(texts: pa.Array) -> pa.Array | None:
    plain = _plain_numbers(_values(texts))
    return None if plain is None else _if_right(_doubles(plain))


def _doubles(texts: pa.Array) -> Parsed:
    values = texts.cast(pa.float64())
    long = pc.greater(pc.binary_length(texts), 15)
    for index in np.flatnonzero(pc.fill_null(long, False).to_numpy(zero_copy_only=False)).tolist():
        if Decimal(repr(values[index].as_py())) != Decimal(texts[index].as_py()):
            return values, index
    return values, None


_DIGITS = np.zeros(256, np.bool_)
_DIGITS[[*b"0123456789-.eE"]] = True


def _plain_numbers(texts: pa.Array) -> pa.Array | None:
    """``texts`` itself if all of them are numbers in JSON's notation; None if one may not be."""
    offsets, data = _window(texts)
    content = data[offsets[0] : offsets[-1]]
    if not content.size:
        return texts
    starts, ends = offsets[:-1], offsets[1:]
    filled = ends > starts
    starts, ends = starts[filled], ends[filled]
    first, last = data[starts], data[ends - 1]
    negative = (first == ord("-")) & (ends - starts > 1)
    lead = starts + negative
    zero = (data[lead] == ord("0")) & (ends - lead > 1)
    after = data[np.minimum(lead + 1, ends - 1)]
    usual = (
        _DIGITS[content].all()
        and _is_digit(data[lead]).all()
        and _is_digit(last).all()
        and not (zero & _is_digit(after)).any()
        and (ends - starts).max() <= NUMBER_CHARS_MAX
    )
    if not usual or b".e" in content.tobytes().lower():
        return None
    try:
        finite = pc.is_finite(texts.cast(pa.float64()))
    except pa.ArrowInvalid:
        return None
    return texts if pc.all(finite).as_py() is not False else None


def _is_digit(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (codes >= ord("0")) & (codes <= ord("9"))


_NUMBER = re.compile(r"\s*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*")


def _canonical(text: str) -> str:
    """A number in another common notation (``+5``, ``007``, ``.5``, ``5.``) in JSON's; ValueError for other text."""
    if len(text) > NUMBER_CHARS_MAX or not _NUMBER.fullmatch(text) or not np.isfinite(float(text)):
        raise ValueError
    mantissa, exponent, power = text.strip().lower().partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("+-").partition(".")
    number = sign + (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")
    return number + exponent + power


# Excel's codes for the parts of a date, longest first, and those of strptime.
_PARTS = {"yyyy": "%Y", "yy": "%y", "mmmm": "%B", "mmm": "%b", "dd": "%d", "d": "%d", "hh": "%H", "h": "%H", "ss": "%S"}


def _dates(pattern: str | None) -> Callable[[pa.Array], Parsed]:
    own = _strptime(pattern) if pattern else None

    def parse(texts: pa.Array) -> Parsed:
        texts = _values(texts)
        if (plain := _plain_dates(texts)) is not None:
            return plain, None
        values: list[datetime | None] = []
        for index, text in enumerate(texts.to_pylist()):
            value = None if text is None else _date(text, own)
            if text is not None and value is None:
                return texts, index
            values.append(value)
        return pa.array(values, pa.timestamp("us")), None

    return parse


def _plain_dates(texts: pa.Array) -> pa.Array | None:
    """Timestamps, if all texts are in ISO 8601 without a zone."""
    try:
        return texts.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return None


def _date(text: str, own: str | None) -> datetime | None:
    """A date in ISO 8601 or the column's own pattern, in UTC if it has a zone; None if it matches neither."""
    if re.match(r"\d{4}-\d\d-\d\d", text):
        try:
            value = datetime.fromisoformat(text.strip())
            return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
        except (ValueError, OverflowError):
            return None
    try:
        return datetime.strptime(text.strip(), own) if own else None
    except ValueError:
        return None


def _strptime(pattern: str) -> str | None:
    """Excel's date format ``pattern`` as a pattern of strptime; None if it has codes that strptime lacks."""
    if re.search(r"%-?[A-Za-z]", pattern):
        return pattern
    converted, after_hour = "", False
    for literal, word in re.findall(r"\\(.)|([a-z]+|[^a-z])", pattern.lower()):
        if literal or not word.isalpha():
            converted += (literal or word).replace("%", "%%")
            continue
        if word in ("m", "mm"):
            converted += "%M" if after_hour else "%m"
        elif word in _PARTS:
            converted += _PARTS[word]
        elif word == "t":
            converted += "T"
        else:
            return None
        after_hour = word in ("h", "hh")
    return converted


def _values(texts: pa.Array) -> pa.Array:
    """``texts`` with null for empty ones."""
    empty = pc.equal(pc.binary_length(texts), 0)
    return pc.if_else(empty, pa.scalar(None, pa.string()), texts) if pc.any(empty).as_py() else texts


def _first(wrong: pa.Array, texts: pa.Array) -> int | None:
    """The index of the first true of ``wrong`` where ``texts`` has a value."""
    indices = np.flatnonzero(pc.and_(wrong, texts.is_valid()).to_numpy(zero_copy_only=False))
    return int(indices[0]) if len(indices) else None


def _window(texts: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Offsets and bytes of a string array that begins at 0."""
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return bounds, np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
