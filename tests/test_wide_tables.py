"""A table of a thousand columns of six types comes from MariaDB and from the emulator, by both protocols, as the same
typed values."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

import wide_support
from emulator_support import PASSWORD, USER, emulator
from fluxport.sources import open_source
from mysql_support import scratch_database

ROWS = 200
SERVERS = ["MariaDB", "emulator"]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The URL of a server, and what has the numbers of ROWS rows there."""
    if request.param == "MariaDB":
        with scratch_database() as database:
            yield database.url, f"(SELECT CAST(seq AS SIGNED) AS n FROM seq_1_to_{ROWS}) s"
    else:
        with emulator(rows=ROWS) as running:
            yield f"mysql://{USER}:{PASSWORD}@127.0.0.1:{running.port}/app", "(SELECT id AS n FROM users) s"


@pytest.mark.parametrize("options", ["", "?prepared=false"], ids=["binary", "text"])
def test_every_cell_of_a_thousand_columns_has_its_value_and_type(server: tuple[str, str], options: str) -> None:
    url, numbers = server
    batches = list(open_source(url + options, wide_support.query(numbers)).batches())
    assert len(batches) > 1
    found, sent = pa.Table.from_batches(batches), wide_support.table(ROWS)
    assert found.schema.names == sent.schema.names
    assert found.schema.types == sent.schema.types
    for name in sent.column_names:
        assert found.column(name).to_pylist() == sent.column(name).to_pylist(), name
