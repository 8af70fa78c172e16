"""Arrays as JSON values, whole arrays at a time, to any depth: lists join the text of their items by their offsets."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fluxport import compute as pc
from fluxport.arrow_strings import bytes_of, replaced_at, rows_at, true_rows, valid_rows, with_nulls_of
from fluxport.decimals import DecimalText
from fluxport.digits import infinite_texts
from fluxport.formats._scalars import TextStyle, kind_of, plain, scalar_text, unsupported

if TYPE_CHECKING:
    from numpy.typing import NDArray

Report = Callable[[int], None]  # receives the number of NaN and infinities, which JSON cannot express, written as null


def _ignored(_: int) -> None:
    """The caller does not count them."""


def native(style: TextStyle) -> TextStyle:
    """``style`` with the booleans and numbers of JSON."""
    return replace(style, true_value="true", false_value="false", decimal_separator=".", grouping_separator=None)


def json_text(array: pa.Array, field: pa.Field, style: TextStyle, report: Report = _ignored) -> pa.StringArray:
    """Each value as JSON text, null where it is null; ``style`` comes from :func:`native`."""
    quote, body = json_body(array, field, style, report)
    return pc.binary_join_element_wise(quote, body, quote, "") if quote else body


def json_body(
    array: pa.Array, field: pa.Field, style: TextStyle, report: Report = _ignored
) -> tuple[str, pa.StringArray]:
    """Like :func:`json_text`, but the delimiter around every value (a quote or nothing) is returned separately."""
    if isinstance(array.type, DecimalText):
        return "", array.storage
    array = plain(array)
    kind = array.type
    t = pa.types
    if t.is_nested(kind):
        return "", _nested(array, field, style, report)
    if is_plain_text(array, field):
        return '"', escaped(scalar_text(array, field, style))
    if t.is_string(kind) or t.is_large_string(kind):
        text = scalar_text(array, field, style)
        return "", _finite_numbers(text, report) if kind_of(field) == b"number" else _embedded(text)
    if t.is_floating(kind):
        finite = pc.is_finite(array)
        if not pc.all(finite).as_py():  # nulls are skipped
            report(sum(not_finite(array, 1)))
            array = pc.if_else(finite, array, pa.scalar(None, kind))
    if t.is_floating(kind) or t.is_integer(kind) or t.is_decimal(kind) or t.is_boolean(kind) or t.is_null(kind):
        return "", scalar_text(array, field, style)
    text = scalar_text(array, field, style)
    return '"', escaped(text) if style.datetime_format or style.date_format else text


def is_plain_text(array: pa.Array, field: pa.Field) -> bool:
    """Whether the values are strings that become JSON strings."""
    is_text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    return bool(is_text and kind_of(field) not in (b"number", b"json"))


def _finite_numbers(text: pa.StringArray, report: Report) -> pa.StringArray:
    """Numbers given as text, null where they are not finite."""
    bad = infinite_texts(text)
    if bad is None:
        return text
    report(int(np.count_nonzero(bad)))
    return pc.if_else(pc.from_numpy(bad), pa.scalar(None, pa.string()), text)


def not_finite(array: pa.Array, columns: int) -> list[int]:
    """How many NaN and infinities are in each of ``columns`` columns of floats or of numbers given as text, whose
    values come row by row."""
    if pa.types.is_floating(array.type):
        bad = true_rows(pc.invert(pc.is_finite(array)))
    else:
        words = infinite_texts(array)
        bad = np.zeros(len(array), np.bool_) if words is None else words
    counts: list[int] = np.count_nonzero(bad.reshape(-1, columns), axis=0).tolist()
    return counts


def escaped(text: pa.StringArray) -> pa.StringArray:
    """The inside of JSON strings."""
    found = escapes(text)
    return text if found is None else replaced_at(text, *found)


def escapes(text: pa.StringArray) -> tuple[NDArray[np.intp], pa.StringArray] | None:
    """The rows with a quote, backslash or control character, and their text as the inside of JSON strings."""
    data = bytes_of(text)
    hits = (data < 32) | (data == ord('"')) | (data == ord("\\"))
    if not hits.any():
        return None
    affected = rows_at(text, np.flatnonzero(hits))
    if text.null_count:
        affected &= valid_rows(text)
    rows = np.flatnonzero(affected)
    values = pc.take(text, pc.from_numpy(rows))
    for code in sorted(set(data[hits].tolist()), key=lambda c: c != ord("\\")):  # backslashes first
        values = pc.replace_substring(values, chr(code), json.dumps(chr(code))[1:-1])
    return rows, values


def _embedded(text: pa.StringArray) -> pa.StringArray:
    """JSON documents unchanged, each on one line; invalid JSON becomes a JSON string."""
    rows = text.to_pylist()
    valid = [row for row in rows if row is not None]
    if not _all_documents(valid):
        rows = [row if row is None or _is_document(row) else json.dumps(row, ensure_ascii=False) for row in rows]
        text = pa.array(rows, pa.string())
    data = bytes_of(text)
    if (data == 10).any() or (data == 13).any():  # valid JSON has these between tokens only
        text = pc.replace_substring(pc.replace_substring(text, "\n", " "), "\r", " ")
    return text


def _all_documents(rows: list[str]) -> bool:
    """Whether each row is a JSON document, found out in a single parse.

    They are parsed as one list with an unguessable string after each. If every other item of the list is that string,
    then each text between two of them is one value: no row can open or close a bracket of another row.
    """
    mark = uuid.uuid4().hex
    separator = f',"{mark}",'
    try:
        items = json.loads(
            f"[{separator.join(rows)}{separator}0]", parse_constant=_refuse, parse_int=str, parse_float=str
        )
    except (ValueError, RecursionError):
        return False
    return len(items) == 2 * len(rows) + 1 and all(item == mark for item in items[1::2])


def _is_document(row: str) -> bool:
    try:
        json.loads(row, parse_constant=_refuse, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _nested(array: pa.Array, field: pa.Field, style: TextStyle, report: Report) -> pa.StringArray:
    """Nested values; ``field`` only names the column in errors."""
    kind = array.type
    t = pa.types
    if t.is_struct(kind):
        return _object(array, field, style, report)
    if t.is_map(kind):
        array = pc.cast(array, pa.list_(pa.struct([kind.key_field, kind.item_field])))
        items = _members(array.flatten(), field, style, report)
        return pc.binary_join_element_wise("{", _per_row(array, items), "}", "")
    if t.is_union(kind):
        raise unsupported(field)
    items = pc.fill_null(json_text(array.flatten(), kind.value_field.with_name(field.name), style, report), "null")
    return pc.binary_join_element_wise("[", _per_row(array, items), "]", "")


def _per_row(array: pa.Array, items: pa.StringArray) -> pa.StringArray:
    """``items`` of each row of a list array of any layout, joined by commas; null where the row is."""
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    offsets = pc.from_numpy(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))
    mask = pc.is_null(array) if array.null_count else None
    return pc.binary_join(pa.ListArray.from_arrays(offsets, items, mask=mask), ",")


def _members(pairs: pa.StructArray, field: pa.Field, style: TextStyle, report: Report) -> pa.StringArray:
    """Keys and values of a map as ``"key":value``; keys of any type become strings."""
    key_field, value_field = (f.with_name(field.name) for f in pairs.type)
    quote, keys = json_body(pairs.field(0), key_field, style, report)
    values = pc.fill_null(json_text(pairs.field(1), value_field, style, report), "null")
    return pc.binary_join_element_wise('"', keys if quote else escaped(keys), '":', values, "")


def _object(array: pa.Array, field: pa.Field, style: TextStyle, report: Report) -> pa.StringArray:
    parts: list[str | pa.StringArray] = []
    for child, child_field in zip(array.flatten(), array.type, strict=True):
        start = ("," if parts else "{") + json.dumps(child_field.name, ensure_ascii=False) + ":"
        value = json_text(child, child_field.with_name(field.name), style, report)
        parts += [start, pc.fill_null(value, "null")]
    text = pc.binary_join_element_wise(*parts, "}", "") if parts else pc.from_strings(["{}"] * len(array))
    if not array.null_count:
        return text
    # Without bytes under a null, which Arrow's CSV writer would refuse.
    return with_nulls_of(pc.if_else(pc.is_valid(array), text, ""), array)
