"""Defuses text that a spreadsheet would run as a formula, in CSV and TSV.

Text cells and column names that :mod:`fluxport.formula` classifies as formulas get a leading ``'``. Numeric columns
stay unchanged, and so do JSON and geometry, whose text never starts like a formula.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxport.findings import Findings
from fluxport.formula import formula_rows, is_formula
from fluxport.stages import FIELD_KIND, Apply, Step

if TYPE_CHECKING:
    import pyarrow as pa

CODE = "formula_defused"


def defuse(findings: Findings) -> Step:
    """A step for formats without cell types, where only a leading ``'`` helps; counts changed cells and names."""

    def step(schema: pa.Schema) -> tuple[pa.Schema, Apply]:
        import pyarrow as pa

        fields = []
        for field in schema:
            safe = field
            if is_formula(field.name):
                safe = field.with_name("'" + field.name)
                findings.add(CODE, field.name)
            fields.append(safe)
        safe_schema = pa.schema(fields, metadata=schema.metadata)
        texts = {index: field.name for index, field in enumerate(schema) if _is_text(field)}

        def apply(batch: pa.RecordBatch) -> pa.RecordBatch:
            columns = batch.columns
            for index, name in texts.items():
                columns[index], count = _defused(columns[index])
                findings.add(CODE, name, count)
            return pa.RecordBatch.from_arrays(columns, schema=safe_schema) if columns else batch

        return safe_schema, apply

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
    """The array, of the same type, and the number of changed cells."""
    import pyarrow as pa

    from fluxport import compute as pc

    t = pa.types
    if t.is_dictionary(array.type):
        values, count = _defused(array.dictionary)
        if not count:
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
    rows = formula_rows(array)
    if not len(rows):
        return array, 0
    mask = np.zeros(len(array), np.bool_)
    mask[rows] = True
    quote, nothing = pa.scalar("'", array.type), pa.scalar("", array.type)
    marked = pc.binary_join_element_wise(quote, pc.take(array, pc.from_numpy(rows)), nothing)
    return pc.replace_with_mask(array, pc.from_numpy(mask), marked), len(rows)
