"""Whole columns of text as numbers, dates and booleans. An empty text is no value.

The usual case costs a cast and a look at the bytes; the rest (zones, a plus sign, a pattern of the caller's own) is
found and mended value by value.
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
NUMBER_CHARS_MAX = 400  # a double has at most 767 significant digits, and no sane number half of them

# The array and None, or anything and the index of the first value that is not of the type.
Parsed = tuple[pa.Array, "int | None"]


class Parser(NamedTuple):
    """What a column of text becomes."""

    type: pa.DataType
    kind: str | None
    parse: Callable[[pa.Array], Parsed]

    def __call__(self, texts: pa.Array) -> Parsed:
        return self.parse(texts)


def parser(kind: str, pattern: str | None, *, exact_text: bool, exact_numbers: bool) -> Parser:
    """How values of ``kind`` are read. ``exact_text``: checked numbers and dates stay as they are; else dates are
    moments, and numbers text that is known to be one, or doubles without ``exact_numbers``."""
    if kind == "string":
        return Parser(pa.string(), None, lambda texts: (texts, None))
    if kind == "boolean":
        return Parser(pa.bool_(), None, booleans)
    if kind == "number":
        return Parser(pa.string(), "number", numbers) if exact_numbers else Parser(pa.float64(), None, doubles)
    dated = _dates(pattern)
    if exact_text:
        return Parser(pa.string(), None, lambda texts: (_values(texts), dated(texts)[1]))
    return Parser(pa.timestamp("us"), "date", dated)


def booleans(texts: pa.Array) -> Parsed:
    texts = _values(texts)
    lower = pc.ascii_lower(texts)
    true = pc.is_in(lower, pa.array(TRUE))
    wrong = pc.invert(pc.or_(true, pc.is_in(lower, pa.array(FALSE))))
    return pc.if_else(texts.is_valid(), true, pa.scalar(None, pa.bool_())), _first(wrong, texts)


def numbers(texts: pa.Array) -> Parsed:
    """Numbers as text, each in the form that JSON has."""
    texts = _values(texts)
    if (made := _plain_numbers(texts)) is not None:
        return made, None
    values: list[str | None] = []
    for index, text in enumerate(texts.to_pylist()):
        try:
            values.append(None if text is None else _canonical(text))
        except (InvalidOperation, ValueError, OverflowError):
            return texts, index
    return pa.array(values, pa.string()), None


def doubles(texts: pa.Array) -> Parsed:
    """Numbers as doubles; one that a double does not hold exactly counts as wrong, beyond 15 digits."""
    texts, wrong = numbers(texts)
    if wrong is not None:
        return texts, wrong
    made = texts.cast(pa.float64())
    long = pc.greater(pc.binary_length(texts), 15)
    for index in np.flatnonzero(pc.fill_null(long, False).to_numpy(zero_copy_only=False)).tolist():
        if Decimal(repr(made[index].as_py())) != Decimal(texts[index].as_py()):
            return made, index
    return made, None


_DIGITS = np.zeros(256, np.bool_)
_DIGITS[[*b"0123456789-.eE"]] = True


def _plain_numbers(texts: pa.Array) -> pa.Array | None:
    """``texts`` itself if all of them are numbers as JSON writes them; None if one of them may not be."""
    offsets, data = _window(texts)
    seen = data[offsets[0] : offsets[-1]]
    if not seen.size:
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
        _DIGITS[seen].all()
        and _is_digit(data[lead]).all()
        and _is_digit(last).all()
        and not (zero & _is_digit(after)).any()
        and (ends - starts).max() <= NUMBER_CHARS_MAX
    )
    if not usual or b".e" in seen.tobytes().lower():
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
    """A number that people write otherwise (``+5``, ``007``, ``.5``, ``5.``) as JSON has it; ValueError for others."""
    if len(text) > NUMBER_CHARS_MAX or not _NUMBER.fullmatch(text) or not np.isfinite(float(text)):
        raise ValueError
    mantissa, exponent, power = text.strip().lower().partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("+-").partition(".")
    made = sign + (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")
    return made + exponent + power


# Excel's words for the parts of a date, longest first, and what strptime calls them.
_PARTS = {"yyyy": "%Y", "yy": "%y", "mmmm": "%B", "mmm": "%b", "dd": "%d", "d": "%d", "hh": "%H", "h": "%H", "ss": "%S"}


def _dates(pattern: str | None) -> Callable[[pa.Array], Parsed]:
    own = _strptime(pattern) if pattern else None

    def parse(texts: pa.Array) -> Parsed:
        texts = _values(texts)
        try:
            return texts.cast(pa.timestamp("us")), None
        except pa.ArrowInvalid:
            values: list[datetime | None] = []
            for index, text in enumerate(texts.to_pylist()):
                moment = None if text is None else _moment(text, own)
                if text is not None and moment is None:
                    return texts, index
                values.append(moment)
            return pa.array(values, pa.timestamp("us")), None

    return parse


def _moment(text: str, own: str | None) -> datetime | None:
    """A date in ISO 8601 or the column's own pattern, in UTC if it has a zone; None if it is neither."""
    if re.match(r"\d{4}-\d\d-\d\d", text):
        try:
            found = datetime.fromisoformat(text.strip())
            return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)
        except (ValueError, OverflowError):
            return None
    try:
        return datetime.strptime(text.strip(), own) if own else None
    except ValueError:
        return None


def _strptime(pattern: str) -> str | None:
    """The pattern of strptime that reads what Excel's date format ``pattern`` shows; None if it shows anything else."""
    if re.search(r"%-?[A-Za-z]", pattern):
        return pattern
    made, after_hour = "", False
    for literal, word in re.findall(r"\\(.)|([a-z]+|[^a-z])", pattern.lower()):
        if literal or not word.isalpha():
            made += (literal or word).replace("%", "%%")
            continue
        if word in ("m", "mm"):
            made += "%M" if after_hour else "%m"
        elif word in _PARTS:
            made += _PARTS[word]
        elif word == "t":
            made += "T"
        else:
            return None
        after_hour = word in ("h", "hh")
    return made


def _values(texts: pa.Array) -> pa.Array:
    """``texts`` with null for empty ones."""
    empty = pc.equal(pc.binary_length(texts), 0)
    return pc.if_else(empty, pa.scalar(None, pa.string()), texts) if pc.any(empty).as_py() else texts


def _first(wrong: pa.Array, texts: pa.Array) -> int | None:
    """The index of the first true of ``wrong`` where ``texts`` has a value."""
    found = np.flatnonzero(pc.and_(wrong, texts.is_valid()).to_numpy(zero_copy_only=False))
    return int(found[0]) if len(found) else None


def _window(texts: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Offsets and bytes of a string array that begins at 0."""
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return bounds, np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
