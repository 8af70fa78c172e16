"""Picking, ordering and renaming columns."""

from __future__ import annotations

import pyarrow as pa
import pytest

from fluxport.errors import Refused
from fluxport.formats.options import ColumnChoice
from fluxport.policy.columns import pick
from fluxport.stages import FIELD_AS_TEXT, FIELD_FORMAT, FIELD_TYPE, FIELD_WIDTH

SCHEMA = pa.schema(
    [pa.field("id", pa.int64(), metadata={FIELD_TYPE: b"bigint"}), ("name", pa.string()), ("score", pa.float64())]
)
BATCH = pa.record_batch([[1, 2], ["a", "b"], [0.5, None]], schema=SCHEMA)


def test_columns_have_the_requested_order_and_labels() -> None:
    """One may be picked twice; others are omitted."""
    schema, apply = pick([ColumnChoice("score"), ColumnChoice("id", label="No."), ColumnChoice("id")])(SCHEMA)
    batch = apply(BATCH)
    assert batch.schema == schema
    assert batch.to_pydict() == {"score": [0.5, None], "No.": [1, 2], "id": [1, 2]}


def test_what_a_spreadsheet_needs_to_know_goes_with_the_field() -> None:
    """Width, format and as_text are added to the source's metadata."""
    schema, _ = pick([ColumnChoice("id", width=12.5, format="#,##0", as_text=True), ColumnChoice("name")])(SCHEMA)
    assert schema.field(0).metadata == {
        FIELD_TYPE: b"bigint",
        FIELD_WIDTH: b"12.5",
        FIELD_FORMAT: b"#,##0",
        FIELD_AS_TEXT: b"1",
    }
    assert not schema.field(1).metadata


def test_no_choice_is_all_columns() -> None:
    """The batch passes as it is."""
    schema, apply = pick([])(SCHEMA)
    assert schema is SCHEMA
    assert apply(BATCH) is BATCH


def test_an_unknown_column_is_refused_with_the_nearest_and_the_list() -> None:
    """A typing error gets a suggestion."""
    with pytest.raises(Refused, match=r"'nmae'; did you mean 'name'.* id, name, score") as caught:
        pick([ColumnChoice("nmae")])(SCHEMA)
    assert caught.value.code == "unknown_column"


def test_a_list_of_thousands_of_columns_is_not_recited() -> None:
    """The sentence stays one."""
    schema = pa.schema([(f"c{i}", pa.int8()) for i in range(5000)])
    with pytest.raises(Refused) as caught:
        pick([ColumnChoice("x")])(schema)
    assert len(str(caught.value)) < 1000


def test_a_name_that_occurs_twice_is_ambiguous() -> None:
    """Only the query can resolve it."""
    schema = pa.schema([("a", pa.int8()), ("b", pa.int8()), ("a", pa.int8())])
    with pytest.raises(Refused, match="occurs 2 times") as caught:
        pick([ColumnChoice("a")])(schema)
    assert caught.value.code == "ambiguous_column"
    picked, _ = pick([ColumnChoice("b")])(schema)
    assert picked.names == ["b"]


@pytest.mark.parametrize(("count", "listed"), [(50, "c48, c49."), (51, "c48, c49, ....")])
def test_up_to_50_names_are_listed(count: int, listed: str) -> None:
    schema = pa.schema([(f"c{number}", pa.int8()) for number in range(count)])
    with pytest.raises(Refused) as caught:
        pick([ColumnChoice("zzz")])(schema)
    assert caught.value.message.endswith(listed)
