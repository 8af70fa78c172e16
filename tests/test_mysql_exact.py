"""Integers that MariaDB computes with 64 bits and declares with fewer arrive with all their digits, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from fluxport.errors import Broken, QueryFailed
from fluxport.sources.mysql.definitions import BINARY_FLAG, Type
from fluxport.stages import FIELD_TYPE
from mysql_support import Database, read_all, scratch_database
from scripted_mysql import Result, ScriptedServer, definition, sized

# The server declares these INT, SMALLINT or TINYINT, and sends other values in the width of that.
WIDER: dict[str, int] = {
    "10 DIV 0.0000000001": 100_000_000_000,
    "10 DIV 0.00000000001": 1_000_000_000_000,
    "-(10 DIV 0.00000000001)": -1_000_000_000_000,
    "IF(1, 10 DIV 0.00000000001, 1) + 1": 1_000_000_000_001,
    "CAST(10 DIV 0.00000000001 AS SIGNED)": 1_000_000_000_000,
    "ORD('\U0001f600')": 4_036_991_104,
    "PERIOD_ADD(999912, 1000000000)": 8_334_333_304,
    "ABS(0xFFFFFFFFFF)": 1_099_511_627_775,
    "-(0xFFFFFFFF)": -4_294_967_295,
    "ROUND(b, -1)": 4_294_967_300,
    "COALESCE(y, t)": 2155,
    "IFNULL(y, t)": 2155,
    "GREATEST(t, y)": 2155,
}
ORDINARY = [
    "1", "-1", "t = t", "LENGTH('abc')", "YEAR('2026-01-31')", "MAX(i)", "MIN(-i)", "ABS(i)", "i + 1", "i * -1",
    "CASE WHEN t THEN i ELSE t END", "ROUND(i, -9)", "COUNT(*)", "y", "MAX(y)", "MAX(t)", "i", "t", "BIT_COUNT(-1)",
]  # fmt: skip


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with scratch_database() as made:
        made.run("CREATE TABLE n (t TINYINT UNSIGNED, y YEAR, i INT, b BIT(32), f FLOAT, s VARCHAR(9))")
        made.run("INSERT INTO n VALUES (255, 2155, -2147483648, 4294967295, 0.1, 'text')")
        made.run("CREATE VIEW made AS SELECT 10 DIV 0.00000000001 AS v, i FROM n")
        yield made


@pytest.mark.parametrize("text_protocol", [False, True], ids=["prepared", "text"])
@pytest.mark.parametrize("expression", [*WIDER, *ORDINARY])
def test_integers_are_those_that_the_server_computes(database: Database, expression: str, text_protocol: bool) -> None:
    query = f"SELECT {expression} AS v FROM n"
    table, _ = read_all(database.url, query, text_protocol=text_protocol)
    assert table["v"].to_pylist() == [value for (value,) in database.run(query)]
    assert table["v"][0].as_py() == WIDER.get(expression, table["v"][0].as_py())
    if expression in WIDER:
        assert table.schema.field("v").type in (pa.int64(), pa.uint64())
        assert table.schema.field("v").metadata[FIELD_TYPE].startswith(b"bigint")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT v FROM made",
        "SELECT v + 0 AS v FROM made",
        "SELECT v FROM (SELECT 10 DIV 0.00000000001 AS v FROM n) d",
        "SELECT DISTINCT 10 DIV 0.00000000001 AS v FROM n",
        "SELECT 10 DIV 0.00000000001 AS v FROM n GROUP BY v",
    ],
)
def test_text_between_an_expression_and_its_column_changes_nothing(database: Database, query: str) -> None:
    assert read_all(database.url, query)[0]["v"].to_pylist() == [1_000_000_000_000]


@pytest.mark.parametrize("value", [7, "7", 7.0])
def test_values_are_bound_all_the_same(database: Database, value: Any) -> None:
    query = "SELECT 10 DIV 0.00000000001 AS v, s FROM n WHERE :value = 7 AND s = :name"
    table, _ = read_all(database.url, query, {"value": value, "name": "text"})
    assert table.to_pylist() == [{"v": 1_000_000_000_000, "s": "text"}]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT f, 10 DIV 0.00000000001 AS wide FROM n",
        "SELECT f, v AS wide FROM n, made",
        "SELECT f, ABS(0xFFFFFFFFFF) AS wide FROM n",
        "SELECT f, GREATEST(t, y) AS wide FROM n",
        "SELECT f, ROUND(b, -1) AS wide FROM n",
    ],
)
def test_a_float_beside_such_an_integer_is_refused_with_what_to_do(database: Database, query: str) -> None:
    """Each is exact in one of the two protocols only."""
    with pytest.raises(QueryFailed) as caught:
        read_all(database.url, query)
    assert caught.value.code == "ambiguous_type"
    assert "CAST 'f' AS DOUBLE" in caught.value.message
    table, _ = read_all(database.url, query.replace("f,", "CAST(f AS DOUBLE) AS f,"))
    assert table["f"].to_pylist() == [0.10000000149011612]


@pytest.mark.parametrize(
    "expression", ["1", "YEAR('2026-01-31')", "LENGTH(s)", "MAX(i)", "t = t", "CASE WHEN t THEN i END"]
)
def test_a_float_beside_an_ordinary_integer_of_an_expression_is_exact(database: Database, expression: str) -> None:
    query = f"SELECT f, {expression} AS v FROM n GROUP BY f, t, i, s"
    table, _ = read_all(database.url, query)
    assert table["f"].to_pylist() == [0.10000000149011612]
    assert table["v"].to_pylist() == [value for _, value in database.run(query)]


def test_columns_of_tables_retain_their_types_and_the_binary_protocol(database: Database) -> None:
    table, _ = read_all(database.url, "SELECT t, y, i, f FROM n")
    assert table.schema.types == [pa.uint8(), pa.uint16(), pa.int32(), pa.float32()]
    assert table["f"].to_pylist() == [0.10000000149011612]


def test_a_number_that_does_not_fit_is_refused_wherever_it_comes_from() -> None:
    """A server that is not MariaDB, in the text protocol: 12 digits in an INT."""
    columns = [definition("v", Type.LONG, charset=63, length=2, flags=BINARY_FLAG)]
    with ScriptedServer(Result(columns, [sized(b"100000000000")])) as server, pytest.raises(Broken) as caught:
        read_all(server.url, "SELECT v", text_protocol=True)
    assert caught.value.code == "number_overflow"
    assert "100000000000" not in caught.value.message
