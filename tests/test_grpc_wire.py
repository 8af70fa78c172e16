"""The fast parser of batches returns what protobuf's parser returns, or nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxport.grpc import export_pb2 as pb
from fluxport.grpc import wire

# Longer and shorter than what one byte of length can say, and than what is copied one by one.
TEXTS = st.one_of(st.text(max_size=6), st.integers(0, 70_000).map(lambda n: "ü" * n))


def message(rows: list[list[str]], sequence: int = 1) -> bytes:
    records = [pb.Record(values=row) for row in rows]
    return pb.ExportRequest(batch=pb.DataBatch(records=records, batch_sequence=sequence)).SerializeToString()


@pytest.fixture(params=[1, 1 << 30], ids=["by column", "by record"], autouse=True, scope="module")
def located(request: pytest.FixtureRequest) -> Iterator[None]:
    """Values are located in both ways, whatever the number of records."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(wire, "MANY_RECORDS", request.param)
        yield


@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(TEXTS, min_size=n, max_size=n), min_size=1, max_size=20)))
def test_every_value_is_read(rows: list[list[str]]) -> None:
    found = wire.cells(message(rows, 2**40), len(rows[0]))
    assert found is not None
    assert found[0] == 2**40
    assert found[1].to_pylist() == [value for row in rows for value in row]


@given(st.lists(st.lists(TEXTS, max_size=4), max_size=6), st.integers(1, 4))
def test_rows_of_another_width_are_left_to_the_parser(rows: list[list[str]], width: int) -> None:
    found = wire.cells(message(rows), width)
    assert (found is not None) == (bool(rows) and all(len(row) == width for row in rows))


@given(st.binary(max_size=200), st.integers(1, 4))
def test_any_bytes_are_read_as_the_parser_does_or_left_to_it(content: bytes, width: int) -> None:
    found = wire.cells(content, width)
    if found is not None:
        batch = pb.ExportRequest.FromString(content).batch
        assert found[1].to_pylist() == [value for record in batch.records for value in record.values]
        assert {len(record.values) for record in batch.records} == {width}


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_message_that_was_cut_is_left_to_the_parser(cut: int) -> None:
    whole = message([["a", "ü" * 100], ["", "c"]])
    assert wire.cells(whole[:-cut], 2) is None


def test_a_negative_number_is_left_to_the_parser() -> None:
    assert wire.cells(message([["a"]], -1), 1) is None


def test_what_is_not_utf_8_is_left_to_the_parser() -> None:
    assert wire.cells(message([["ab"]]).replace(b"ab", b"\xff\xfe"), 1) is None


def test_unknown_fields_are_left_to_the_parser() -> None:
    body = pb.DataBatch(records=[pb.Record(values=["a"])]).SerializeToString() + b"\x78\x01"
    content = b"\x12" + bytes([len(body)]) + body
    assert wire.cells(content, 1) is None
    assert pb.ExportRequest.FromString(content).batch.records[0].values == ["a"]
