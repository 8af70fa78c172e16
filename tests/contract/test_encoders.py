"""The contract of formats, run on every built-in one with a third-party reader."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import openpyxl
import polars
import pyarrow as pa
import pyorc
import pytest

from fluxport.formats import FORMATS
from fluxport.testing import FormatCase, FormatContract, ReadBack


def read_json(data: bytes) -> ReadBack:
    rows = json.loads(data)
    return ReadBack(list(rows[0]) if rows else None, len(rows))


def read_jsonl(data: bytes) -> ReadBack:
    rows = [json.loads(line) for line in data.splitlines()]
    return ReadBack(list(rows[0]) if rows else None, len(rows))


def read_separated(delimiter: str) -> Callable[[bytes], ReadBack]:
    def read(data: bytes) -> ReadBack:
        header, *rows = csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter)
        return ReadBack(header, len(rows))

    return read


def read_xlsx(data: bytes) -> ReadBack:
    sheet = openpyxl.load_workbook(io.BytesIO(data)).worksheets[0]
    header, *rows = sheet.iter_rows(values_only=True)
    return ReadBack([str(cell) for cell in header], len(rows))


def read_parquet(data: bytes) -> ReadBack:
    frame = polars.read_parquet(io.BytesIO(data))
    return ReadBack(frame.columns, frame.height)


def read_orc(data: bytes) -> ReadBack:
    reader = pyorc.Reader(io.BytesIO(data))
    assert isinstance(reader.schema, pyorc.Struct)
    return ReadBack(list(reader.schema.fields), sum(1 for _ in reader))


def read_arrow(data: bytes) -> ReadBack:
    """By Arrow's own library: no other knows every Arrow type."""
    table = pa.ipc.open_stream(data).read_all()
    table.validate(full=True)
    return ReadBack(table.schema.names, table.num_rows)


CASES = [
    FormatCase("csv", read_separated(","), repeated_names=True),
    FormatCase("tsv", read_separated("\t"), repeated_names=True),
    FormatCase("jsonl", read_jsonl, names_without_rows=False),
    FormatCase("json", read_json, names_without_rows=False),
    FormatCase("xlsx", read_xlsx),
    FormatCase("parquet", read_parquet),
    FormatCase("orc", read_orc),
    FormatCase("arrow", read_arrow, repeated_names=True),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def subject(request: pytest.FixtureRequest) -> FormatCase:
    found: FormatCase = request.param
    return found


def test_every_format_of_the_table_is_in_this_suite() -> None:
    assert [case.name for case in CASES] == list(FORMATS.built_in)


class TestFormats(FormatContract):
    pass
