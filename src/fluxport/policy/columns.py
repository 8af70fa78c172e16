"""Selects, orders and renames columns, and sets their spreadsheet metadata (width, format)."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from fluxport.errors import Refused
from fluxport.stages import FIELD_AS_TEXT, FIELD_FORMAT, FIELD_WIDTH, Apply, Step

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_MAX = 50


class ColumnChoice(Protocol):
    """``name`` in the source, ``label`` in the file (else the name), ``width`` in characters, Excel's ``format``."""

    @property
    def name(self) -> str: ...
    @property
    def label(self) -> str | None: ...
    @property
    def width(self) -> float | None: ...
    @property
    def format(self) -> str | None: ...
    @property
    def as_text(self) -> bool: ...


def pick(choices: Sequence[ColumnChoice]) -> Step:
    """The chosen columns in the order of the choices, duplicates included; all columns if ``choices`` is empty.

    The step is Refused for a name that the source does not have, or has more than once.
    """

    def step(schema: pa.Schema) -> tuple[pa.Schema, Apply]:
        import pyarrow as pa

        if not choices:
            return schema, lambda batch: batch
        indices = [_index(schema.names, choice.name) for choice in choices]
        picked = pa.schema(
            [_field(schema.field(index), choice) for index, choice in zip(indices, choices, strict=True)],
            metadata=schema.metadata,
        )

        def apply(batch: pa.RecordBatch) -> pa.RecordBatch:
            return pa.RecordBatch.from_arrays([batch.column(index) for index in indices], schema=picked)

        return picked, apply

    return step


def _index(names: list[str], name: str) -> int:
    count = names.count(name)
    if count == 1:
        return names.index(name)
    if count:
        raise Refused(
            f"Column {name!r} occurs {count} times in the result; give each its own alias in the query.",
            code="ambiguous_column",
        )
    near = difflib.get_close_matches(name, names, 1, 0.5)
    hint = f"did you mean {near[0]!r}? The" if near else "the"
    shown = ", ".join(names[:SHOWN_MAX]) + (", ..." if len(names) > SHOWN_MAX else "")
    raise Refused(f"Unknown column {name!r}; {hint} result has: {shown or 'none'}.", code="unknown_column")


def _field(field: pa.Field, choice: ColumnChoice) -> pa.Field:
    hints = {FIELD_WIDTH: choice.width, FIELD_FORMAT: choice.format, FIELD_AS_TEXT: 1 if choice.as_text else None}
    metadata = dict(field.metadata or {}) | {k: str(v).encode() for k, v in hints.items() if v is not None}
    return field.with_name(choice.label or choice.name).with_metadata(metadata)
