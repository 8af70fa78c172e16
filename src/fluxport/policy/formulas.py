"""Defusing text that a spreadsheet would run as a formula, in CSV and TSV.

Text cells and column names that begin with one of ``= + - @ TAB CR`` or a full-width ``＝ ＋ － ＠`` get a leading
``'``, unless the whole cell is a plain number (``-5``, ``+1.5e3``). Numeric columns are never touched, nor JSON and
geometry, whose text begins otherwise. A space or line feed before a sign makes a cell text in spreadsheets already.

The first bytes of all cells of a batch are looked up at once; strings are built only where something was found.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from fluxport.findings import Findings
from fluxport.stages import FIELD_KIND, Apply, Step

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

CODE = "formula_defused"
SIGNS = "=+-@\t\r＝＋－＠"
# For Python's re and for Arrow's RE2 alike.
STARTS_FORMULA = f"^[{re.escape(SIGNS)}]"
PLAIN_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"

_FIRST_BYTES = np.zeros(256, np.bool_)
_FIRST_BYTES[[sign.encode()[0] for sign in SIGNS]] = True


def defuse(findings: Findings) -> Step:
    """A step for formats where a leading ``'`` is the only way; each changed cell and name is counted."""

    def step(schema: pa.Schema) -> tuple[pa.Schema, Apply]:
        import pyarrow as pa

        fields = []
        for field in schema:
            named = field
            if re.match(STARTS_FORMULA, field.name) and not re.fullmatch(PLAIN_NUMBER, field.name):
                named = field.with_name("'" + field.name)
                findings.add(CODE, field.name)
            fields.append(named)
        named_schema = pa.schema(fields, metadata=schema.metadata)
        texts = {index: field.name for index, field in enumerate(schema) if _is_text(field)}

        def apply(batch: pa.RecordBatch) -> pa.RecordBatch:
            columns = batch.columns
            for index, name in texts.items():
                columns[index], count = _defused(columns[index])
                findings.add(CODE, name, count)
            return pa.RecordBatch.from_arrays(columns, schema=named_schema) if columns else batch

        return named_schema, apply

    return step


def _is_text(field: pa.Field) -> bool:
    import pyarrow as pa

    t = pa.types
    kind = field.type
    if (field.metadata or {}).get(FIELD_KIND) in (b"json", b"wkb", b"number"):
        return False
    if t.is_dictionary(kind) or t.is_run_end_encoded(kind):
        kind = kind.value_type
    return bool(t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind))


def _defused(array: pa.Array) -> tuple[pa.Array, int]:
    """The array, of the same type, and how many of its cells were changed."""
    import pyarrow as pa

    from fluxport import compute as pc

    t = pa.types
    if t.is_dictionary(array.type):
        values, found = _defused(array.dictionary)
        if not found:
            return array, 0
        changed = pc.not_equal(values, array.dictionary)
        cells = pc.sum(pc.take(changed, array.indices)).as_py() or 0
        return pa.DictionaryArray.from_arrays(array.indices, values, ordered=array.type.ordered), cells
    if t.is_run_end_encoded(array.type):
        plain, count = _defused(pc.run_end_decode(array))
        return (pc.run_end_encode(plain, array.type.run_end_type), count) if count else (array, 0)
    if t.is_string_view(array.type):
        plain, count = _defused(pc.cast(array, pa.large_string()))
        return (pc.cast(plain, array.type), count) if count else (array, 0)
    rows = _suspects(array)
    if len(rows):
        texts = pc.take(array, pc.from_numpy(rows))
        numbers = pc.match_substring_regex(texts, f"^(?:{PLAIN_NUMBER})$")
        formulas = pc.and_not(pc.match_substring_regex(texts, STARTS_FORMULA), numbers)
        rows = rows[pc.fill_null(formulas, False).to_numpy(zero_copy_only=False)]
    if not len(rows):
        return array, 0
    mask = np.zeros(len(array), np.bool_)
    mask[rows] = True
    quote, nothing = pa.scalar("'", array.type), pa.scalar("", array.type)
    marked = pc.binary_join_element_wise(quote, pc.take(array, pc.from_numpy(rows)), nothing)
    return pc.replace_with_mask(array, pc.from_numpy(mask), marked), len(rows)


def _suspects(array: pa.Array) -> NDArray[np.intp]:
    """Positions of cells whose first byte may begin a formula: few, and not all of them do."""
    import pyarrow as pa

    _, offsets, data = array.buffers()
    if not len(array) or data is None or not data.size:
        return np.empty(0, np.intp)
    wide = pa.types.is_large_string(array.type)
    dtype = np.dtype(np.int64 if wide else np.int32)
    bounds = np.frombuffer(offsets, dtype, len(array) + 1, array.offset * dtype.itemsize)
    bytes_ = np.frombuffer(data, np.uint8)
    # An empty last cell starts behind the data; looking at another byte there is harmless.
    firsts = bytes_[np.minimum(bounds[:-1], len(bytes_) - 1)]
    return np.flatnonzero(_FIRST_BYTES[firsts])
