"""Converts timestamps to a time zone for display."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from fluxport.errors import Refused
from fluxport.stages import Apply, Step

if TYPE_CHECKING:
    import pyarrow as pa


def to_zone(name: str) -> Step:
    """Zoned timestamps, nested ones too, get the IANA zone ``name``; only the type changes, never the instant.

    Naive ones (MySQL DATETIME) are not instants and stay unchanged. Refused at once if the zone is unknown.
    """
    _check(name)

    def step(schema: pa.Schema) -> tuple[pa.Schema, Apply]:
        import pyarrow as pa

        zoned = pa.schema([field.with_type(_zoned(field.type, name)) for field in schema], metadata=schema.metadata)
        changed = [a.type != b.type for a, b in zip(schema, zoned, strict=True)]
        if not any(changed):
            return schema, lambda batch: batch
        _check_arrow(name)

        def apply(batch: pa.RecordBatch) -> pa.RecordBatch:
            columns = [c.cast(t) if c.type != t else c for c, t in zip(batch.columns, zoned.types, strict=True)]
            return pa.RecordBatch.from_arrays(columns, schema=zoned)

        return zoned, apply

    return step


def _check(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise _unknown(name) from error


def _check_arrow(name: str) -> None:
    """Arrow has its own reader of the system's zones and supports fewer (not ``right/UTC``); check that early."""
    import pyarrow as pa

    from fluxport import compute as pc

    try:
        pc.local_timestamp(pa.array([0], pa.timestamp("s", name)))
    except pa.ArrowInvalid as error:
        raise _unknown(name) from error


def _unknown(name: str) -> Refused:
    return Refused(
        f"Unknown time zone {name!r}; give an IANA name such as Europe/Berlin, America/Sao_Paulo or UTC.",
        code="unknown_timezone",
    )


def _zoned(kind: pa.DataType, name: str) -> pa.DataType:
    import pyarrow as pa

    t = pa.types

    def inner(field: pa.Field) -> pa.Field:
        return field.with_type(_zoned(field.type, name))

    if t.is_timestamp(kind) and kind.tz is not None:
        target = pa.timestamp(kind.unit, name)
    elif t.is_struct(kind):
        target = pa.struct([inner(field) for field in kind])
    elif t.is_map(kind):
        target = pa.map_(inner(kind.key_field), inner(kind.item_field), kind.keys_sorted)
    elif t.is_list(kind):
        target = pa.list_(inner(kind.value_field))
    elif t.is_large_list(kind):
        target = pa.large_list(inner(kind.value_field))
    elif t.is_fixed_size_list(kind):
        target = pa.list_(inner(kind.value_field), kind.list_size)
    elif t.is_dictionary(kind) and _zoned(kind.value_type, name) != kind.value_type:
        target = _zoned(kind.value_type, name)
    else:
        target = kind
    return target
