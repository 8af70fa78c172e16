"""Bound parameters: names become positions without changing string literals, and every value arrives unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport.errors import Refused
from fluxport.sources import open_source
from fluxport.sources.mysql.params import encoded, positional
from mysql_support import Database, read_all, scratch_database


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with scratch_database() as made:
        yield made


NAMED = [
    ("SELECT :a, :b, :a", {"a": 1, "b": 2}, "SELECT ?, ?, ?", [1, 2, 1]),
    ("SELECT ':a' , \":a\", `:a`, :a", {"a": 1}, "SELECT ':a' , \":a\", `:a`, ?", [1]),
    (r"SELECT 'it\'s :a', 'it''s :a', :a", {"a": 1}, r"SELECT 'it\'s :a', 'it''s :a', ?", [1]),
    ("SELECT 1 -- :a ?\n + :b # :a ?\n/* :a ? */", {"b": 1}, "SELECT 1 -- :a ?\n + ? # :a ?\n/* :a ? */", [1]),
    ("SELECT 5--:a", {"a": 1}, "SELECT 5--?", [1]),
    ("SELECT @x := :a", {"a": 1}, "SELECT @x := ?", [1]),
    ("SELECT '?' = :a", {"a": None}, "SELECT '?' = ?", [None]),
    ("SELECT 1", {}, "SELECT 1", []),
]


@pytest.mark.parametrize(("query", "params", "text", "values"), NAMED)
def test_names_become_positions_outside_of_strings_and_comments(
    query: str, params: dict[str, Any], text: str, values: list[Any]
) -> None:
    assert positional(query, params) == (text, values)


@pytest.mark.parametrize(
    ("query", "params", "said"),
    [
        ("SELECT :a", {}, ":a was given no value"),
        ("SELECT :a", {"a": 1, "b": 2}, "'b' does not occur"),
        ("SELECT :a, ?", {"a": 1}, "use names only"),
        ("SELECT ?", "x", "a list of values"),
    ],
)
def test_names_and_values_must_agree(query: str, params: Any, said: str) -> None:
    with pytest.raises(Refused, match=said) as caught:
        positional(query, params)
    assert caught.value.code == "bad_params"


@given(st.text(alphabet="'\"`\\:a?#-/* \n", max_size=40))
def test_the_lexer_changes_nothing_but_parameters(query: str) -> None:
    try:
        text, values = positional(query, {"a": 1} if ":a" in query else {})
    except Refused:
        return
    assert text.count("?") == query.count("?") + len(values)
    assert len(text) == len(query) - len(values)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        Decimal("NaN"),
        "\ud800",
        timedelta(hours=839),
        time(1, tzinfo=UTC),
        pytest.param(object(), id="an object"),
        [1],
        {},
    ],
    ids=str,
)
def test_what_mysql_does_not_have_is_refused_with_its_number(value: Any) -> None:
    with pytest.raises(Refused, match="Parameter 2 is"):
        encoded([1, value])


EXACT: list[tuple[str, Any, Any]] = [
    ("? IS NULL", None, 1),
    ("CAST(? AS SIGNED)", -(2**63), -(2**63)),
    ("CAST(? AS UNSIGNED)", 2**64 - 1, 2**64 - 1),
    ("CAST(? AS DECIMAL(30,0))", 10**29, Decimal(10**29)),
    ("CAST(? AS SIGNED)", True, 1),
    ("CAST(? AS DOUBLE)", 0.1, 0.1),
    ("CAST(? AS DECIMAL(40,20))", Decimal("-1E-20"), Decimal("-1E-20")),
    ("CAST(? AS CHAR)", "it's \\ \0 \U0001f600", "it's \\ \0 \U0001f600"),
    ("CAST(? AS CHAR)", "x" * 70_000, "x" * 70_000),
    ("CAST(? AS BINARY)", bytes(range(256)), bytes(range(256))),
    ("CAST(? AS DATE)", date(2024, 2, 29), date(2024, 2, 29)),
    ("CAST(? AS DATETIME(6))", datetime(2024, 2, 29, 23, 59, 58, 7), datetime(2024, 2, 29, 23, 59, 58, 7)),
    (
        "CAST(? AS DATETIME(6))",
        datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))),
        datetime(2023, 12, 31, 23),
    ),
    ("CAST(? AS TIME(6))", time(23, 59, 58, 7), timedelta(hours=23, minutes=59, seconds=58, microseconds=7)),
    ("CAST(? AS TIME(6))", timedelta(hours=-838, microseconds=-1), timedelta(hours=-838, microseconds=-1)),
]


@pytest.mark.parametrize("beside", ["", ", 10 DIV 0.00000000001 AS wide"], ids=["prepared", "immediate"])
@pytest.mark.parametrize(("expression", "value", "expected"), EXACT, ids=lambda v: repr(v)[:40])
def test_values_arrive_exactly(database: Database, expression: str, value: Any, expected: Any, beside: str) -> None:
    """By both protocols; an integer that needs the text protocol selects the second."""
    table, _ = read_all(database.url, f"SELECT {expression} AS v{beside}", [value])
    assert table["v"].to_pylist() == [expected]


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.none() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(), min_size=1, max_size=20))
def test_many_values_of_many_kinds_retain_their_positions(database: Database, values: list[Any]) -> None:
    shown = ", ".join(f"HEX(CAST(? AS BINARY)) AS c{n}" for n in range(len(values)))
    raw = [v.encode() if isinstance(v, str) else str(v).encode() if isinstance(v, int) else v for v in values]
    for beside in ("0e0", "0"):  # a double; an integer, which may go by the text protocol
        table, _ = read_all(database.url, f"SELECT {shown}, {beside} AS beside", values)
        assert list(table.to_pylist()[0].values()) == [*(None if v is None else v.hex().upper() for v in raw), 0]


def test_a_value_is_never_part_of_the_text(database: Database) -> None:
    database.run("CREATE TABLE notes (note VARCHAR(50))")
    database.run("INSERT INTO notes VALUES (%s), (%s)", "' OR 1=1 -- ", "other")
    table, _ = read_all(database.url, "SELECT note FROM notes WHERE note = :wanted", {"wanted": "' OR 1=1 -- "})
    assert table["note"].to_pylist() == ["' OR 1=1 -- "]


def test_a_wrong_number_of_values_is_refused_before_anything_runs(database: Database) -> None:
    source = open_source(database.url, "SELECT ?, ?", [1])
    with pytest.raises(Refused, match="takes 2 parameters, and 1 were given"):
        _ = source.schema
    source.close()


def test_values_need_prepared_statements(database: Database) -> None:
    with pytest.raises(Refused, match="prepared=false"):
        read_all(database.url, "SELECT ?", [1], text_protocol=True)
