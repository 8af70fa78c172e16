"""Declared types: the rows get exactly these from whatever the database returns, or the export fails."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from fluxport.datasets import Column, typed
from fluxport.errors import QueryFailed
from fluxport.stages import FIELD_FORMAT, FIELD_KIND, FIELD_TYPE, FIELD_WIDTH


def made(array: pa.Array, kind: str, stored: str | None = None) -> pa.Array:
    batch = pa.record_batch([array], ["v"])
    schema, apply = typed("things", [Column("v", kind, stored=stored)])(batch.schema)
    result = apply(batch)
    assert result.schema == schema
    result.validate(full=True)
    return result.column(0)


NOON = datetime(2024, 2, 29, 12, 0, 0, 123000)
EXACT: list[tuple[pa.Array, str, str | None, Any]] = [
    (pa.array([1, None], pa.int8()), "integer", None, [1, None]),
    (pa.array([Decimal("12.00")]), "integer", None, [12]),
    (pa.array(["12", "-9223372036854775808"]), "integer", None, [12, -(2**63)]),
    (pa.array([Decimal(7)], pa.decimal256(41, 0)), "integer", None, [7]),
    (pa.array([5]), "decimal(10,2)", None, [Decimal("5.00")]),
    (pa.array([Decimal("1.5000")]), "decimal(10,2)", None, [Decimal("1.50")]),
    (pa.array(["-0.25", None]), "decimal(10,2)", None, [Decimal("-0.25"), None]),
    (pa.array([-125, None, 0]), "decimal(10,2)", "minor_units", [Decimal("-1.25"), None, Decimal("0.00")]),
    (pa.array([Decimal(125)], pa.decimal256(41, 0)), "decimal(10,2)", "minor_units", [Decimal("1.25")]),
    (pa.array(["125"]), "decimal(10,2)", "minor_units", [Decimal("1.25")]),
    (pa.array([1, 2, 3]).slice(1), "decimal(10,2)", "minor_units", [Decimal("0.02"), Decimal("0.03")]),
    (pa.array([Decimal("0.5")]), "number", None, [0.5]),
    (pa.array([0, 1, None]), "boolean", None, [False, True, None]),
    (pa.array(["2024-02-29"]), "date", None, [date(2024, 2, 29)]),
    (pa.array([datetime(2024, 2, 29)]), "date", None, [date(2024, 2, 29)]),
    (pa.array(["2024-02-29 12:00:00.123"]), "datetime(3)", None, [NOON]),
    (pa.array([NOON]), "datetime(6)", None, [NOON]),
    (pa.array([NOON]), "timestamp(3)", None, [NOON.replace(tzinfo=UTC)]),
    (pa.array(["2024-02-29 12:00:00"]), "timestamp", None, [datetime(2024, 2, 29, 12, tzinfo=UTC)]),
    (pa.array([1709208000123]), "timestamp(3)", "epoch_ms", [NOON.replace(tzinfo=UTC)]),
    (pa.array([1709208000]), "datetime", "epoch_s", [datetime(2024, 2, 29, 12)]),
    (pa.array([1709208000.123, None]), "datetime(3)", "epoch_s", [NOON, None]),
    (pa.array([1709164800]), "date", "epoch_s", [date(2024, 2, 29)]),
    (pa.array([1709164800000]), "date", "epoch_ms", [date(2024, 2, 29)]),
    (pa.array([2460370.0]), "datetime", "julian_day", [datetime(2024, 2, 29, 12)]),
    (pa.array([2460370]), "timestamp", "julian_day", [datetime(2024, 2, 29, 12, tzinfo=UTC)]),
    (pa.array([2460370.00000142, None]), "datetime(3)", "julian_day", [NOON, None]),
    (pa.array([2460369.5]), "date", "julian_day", [date(2024, 2, 29)]),
    (pa.array(["2024-02-29 00:00:00"]), "date", None, [date(2024, 2, 29)]),
    (pa.array(["2024-02-29T13:00:00+01:00", None]), "timestamp", None, [datetime(2024, 2, 29, 12, tzinfo=UTC), None]),
    (pa.array(["2024-02-29T12:00:00Z"]), "timestamp(3)", None, [datetime(2024, 2, 29, 12, tzinfo=UTC)]),
    (pa.nulls(2), "timestamp(3)", None, [None, None]),
    (pa.nulls(1), "decimal(10,2)", "minor_units", [None]),
    (pa.array([5]), "text", None, ["5"]),
    (pa.array([1.0, 0.1, 1e10, float("-inf"), None]), "text", None, ["1", "0.1", "10000000000", "-Infinity", None]),
    (pa.array([Decimal("0.00000001")]), "text", None, ["0.00000001"]),
]


@pytest.mark.parametrize(("array", "kind", "stored", "values"), EXACT, ids=lambda v: str(v)[:20].replace("\n", ""))
def test_values_get_their_declared_type(array: pa.Array, kind: str, stored: str | None, values: Any) -> None:
    assert made(array, kind, stored).to_pylist() == values


INEXACT: list[tuple[pa.Array, str, str | None]] = [
    (pa.array([1.5]), "integer", None),
    (pa.array([Decimal("1.5")]), "integer", None),
    (pa.array(["1.5"]), "integer", None),
    (pa.array(["x"]), "integer", None),
    (pa.array([Decimal("1.255")]), "decimal(10,2)", None),
    (pa.array([10**9]), "decimal(10,2)", None),
    (pa.array([0.1]), "decimal(10,2)", None),
    (pa.array([0.5]), "decimal(10,2)", "minor_units"),
    (pa.array([10**11]), "decimal(10,2)", "minor_units"),
    (pa.array([2]), "boolean", None),
    (pa.array([2**53 + 1]), "number", None),
    (pa.array([NOON]), "date", None),
    (pa.array([NOON]), "datetime", None),
    (pa.array(["2024-02-30"]), "date", None),
    (pa.array([NOON], pa.timestamp("ms", "UTC")), "datetime(3)", None),
    (pa.array([b"x"]), "date", None),
    (pa.array(["2024-02-29 12:00:00"]), "date", None),
    (pa.array(["2024-02-29T12:00:00Z"]), "datetime", None),
    (pa.array(["2024-02-29T12:00:00Z", "2024-02-29 12:00:00"]), "timestamp", None),
    (pa.array(["soon"]), "timestamp", None),
    (pa.array([2460370.0]), "date", "julian_day"),
    (pa.array([2460370.00000142]), "datetime", "julian_day"),
    (pa.array([1e300]), "datetime(3)", "julian_day"),
    (pa.array([float("inf")]), "datetime(3)", "epoch_s"),
    (pa.array([1709208000.123]), "datetime", "epoch_s"),
    (pa.array(["2024-02-29"]), "datetime", "julian_day"),
]


@pytest.mark.parametrize(("array", "kind", "stored"), INEXACT, ids=lambda v: str(v)[:20].replace("\n", ""))
def test_what_is_not_exactly_of_the_type_ends_the_export(array: pa.Array, kind: str, stored: str | None) -> None:
    with pytest.raises(QueryFailed, match=r"Dataset 'things': column 'v' has a value that is not exactly") as caught:
        made(array, kind, stored)
    assert caught.value.code == "dataset_type"


def test_columns_come_in_the_declared_order_with_metadata_for_spreadsheets() -> None:
    batch = pa.record_batch([pa.array([1]), pa.array(["{}"])], ["b", "a"])
    schema, apply = typed("t", [Column("a", "json"), Column("b", "integer", width=9, format="0")])(batch.schema)
    assert apply(batch).to_pylist() == [{"a": "{}", "b": 1}]
    assert schema.field("a").metadata == {FIELD_TYPE: b"json", FIELD_KIND: b"json"}
    assert schema.field("b").metadata == {FIELD_TYPE: b"integer", FIELD_WIDTH: b"9", FIELD_FORMAT: b"0"}


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"], ["a", "a", "b"], ["a", "B"]])
def test_a_query_with_other_columns_than_declared_is_refused(names: list[str]) -> None:
    with pytest.raises(QueryFailed, match="the declared columns are a, b") as caught:
        typed("t", [Column("a", "text"), Column("b", "text")])(pa.schema([(name, pa.utf8()) for name in names]))
    assert caught.value.code == "dataset_columns"
