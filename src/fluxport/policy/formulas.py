"""Defuses text that a spreadsheet would run as a formula, in CSV and TSV.

Text cells and column names that :mod:`fluxport.formula` classifies as formulas get a leading ``'``. Numeric columns
stay unchanged, and so do JSON and geometry, whose text never starts like a formula.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fluxport.findings import Findings
from fluxport.formula import formula_rows, is_formula, suspect_rows
from fluxport.stages import FIELD_KIND, Apply, Step

if TYPE_CHECKING:
    import pyarrow as pa

    from fluxport.arrow_groups import Groups

CODE = "formula_defused"


def defuse(findings: Findings) -> Step:
    """A step for formats without cell types, where only a leading ``'`` helps; counts changed cells and names."""

    def step(schema: pa.Schema) -> tuple[pa.Schema, Apply]:
        import pyarrow as pa

        from fluxport.arrow_groups import Groups

        fields = []
        for field in schema:
            safe = field
            if is_formula(field.name):
                safe = field.with_name("'" + field.name)
                findings.add(CODE, field.name)
            fields.append(safe)
        safe_schema = pa.schema(fields, metadata=schema.metadata)
        names = schema.names
        texts = [index for index, field in enumerate(schema) if _is_text(field)]
        groups = Groups(["string" if pa.types.is_string(schema.field(index).type) else None for index in texts])
        renamed = any(field.name != safe.name for field, safe in zip(schema, fields, strict=True))

        def apply(batch: pa.RecordBatch) -> pa.RecordBatch:
            columns = [batch.column(index) for index in texts]
            changed = {}
            for place in _suspected(batch, columns, groups):
                column, count = _defused(columns[place])
                if count:
                    changed[texts[place]] = column
                    findings.add(CODE, names[texts[place]], count)
            if not changed and not renamed:
                return batch
            arrays = batch.columns
            for index, column in changed.items():
                arrays[index] = column
            return pa.RecordBatch.from_arrays(arrays, schema=safe_schema)

        return safe_schema, apply

    return step


def _suspected(batch: pa.RecordBatch, columns: Sequence[pa.Array], groups: Groups) -> Iterator[int]:
    """Where in ``columns`` of a batch a text may be a formula; ``groups`` of them are looked at together."""
    from fluxport.arrow_groups import has_huge_cells, joined

    if has_huge_cells(batch):
        yield from range(len(columns))
        return
    rows = batch.num_rows
    for places in groups.of(rows):
        if len(places) == 1:
            yield places[0]
            continue
        suspects = suspect_rows(joined([columns[place] for place in places]))
        if len(suspects):
            yield from (places[number] for number in np.unique(suspects // rows).tolist())


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
