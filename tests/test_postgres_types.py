"""PostgreSQL's types: values are compared with psycopg's, or with the server's text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport.errors import Refused
from fluxport.sources import open_source
from fluxport.stages import FIELD_KIND, FIELD_TYPE
from mysql_support import read_all
from postgres_support import PostgresDatabase, scratch_postgres


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresDatabase]:
    with scratch_postgres() as made:
        yield made


# expression, Arrow type, values (as SQL); compared with what psycopg reads
SAME_AS_PSYCOPG: list[tuple[str, pa.DataType, list[str]]] = [
    ("boolean", pa.bool_(), ["true", "false"]),
    ("smallint", pa.int16(), ["-32768", "32767"]),
    ("integer", pa.int32(), ["-2147483648", "0"]),
    ("bigint", pa.int64(), ["-9223372036854775808", "9223372036854775807"]),
    ("oid", pa.uint32(), ["4294967295"]),
    ("real", pa.float32(), ["0.1", "-3.4e38", "1e-45"]),
    ("double precision", pa.float64(), ["0.1", "1e-320", "-0", "1.7976931348623157e308", "Infinity", "-Infinity"]),
    ("numeric(18,4)", pa.decimal128(18, 4), ["12345678901234.5678", "-0.0001", "0"]),
    ("numeric(50,10)", pa.decimal256(50, 10), ["1234567890123456789012345678901234567890.0123456789", "-1"]),
    ("numeric(5,0)", pa.decimal128(5, 0), ["99999"]),
    ("numeric(2,-3)", pa.decimal128(5, 0), ["99000"]),
    ("numeric(3,5)", pa.decimal128(5, 5), ["0.00999"]),
    ("text", pa.utf8(), ["", "a", "é€\U0001f600", 'quo"te', "a,b", "line\nbreak\r\n", "\\.", "\\N", "\ufeffbom"]),
    ("varchar(20)", pa.utf8(), ["", "NULL", " padded "]),
    ("char(5)", pa.utf8(), ["ab"]),
    ("bytea", pa.binary(), ["\\x", "\\x00ff0a22", "\\x" + "ab" * 1000]),
    ("date", pa.date32(), ["0001-01-01", "2024-02-29", "9999-12-31"]),
    ("timestamp", pa.timestamp("us"), ["0001-01-01 00:00:00", "2024-02-29 23:59:59.999999", "1969-12-31 23:59:59.1"]),
    ("timestamp(0)", pa.timestamp("s"), ["2024-02-29 23:59:59"]),
    ("timestamp(3)", pa.timestamp("ms"), ["2024-02-29 23:59:59.12"]),
    ("timestamptz", pa.timestamp("us", "UTC"), ["2024-02-29 23:59:59.5+05:30"]),
    ("timestamptz(2)", pa.timestamp("ms", "UTC"), ["2024-03-31 02:30:00+01"]),
]


@pytest.mark.parametrize(("kind", "arrow", "values"), SAME_AS_PSYCOPG, ids=lambda v: v if isinstance(v, str) else "")
def test_every_type_arrives_as_psycopg_reads_it(
    database: PostgresDatabase, kind: str, arrow: pa.DataType, values: list[str]
) -> None:
    quoted = ", ".join("('" + v.replace("'", "''") + f"'::{kind})" for v in values)
    query = f"SELECT v FROM (VALUES {quoted}, (NULL::{kind})) AS t (v)"
    table, findings = read_all(database.url, query)
    assert table.schema.field("v").type == arrow
    expected = [plain(v) for (v,) in database.run(query)]
    if kind == "real":  # which psycopg reads as doubles
        expected = pa.array(expected, pa.float32()).to_pylist()
    assert repr([plain(v) for v in table["v"].to_pylist()]) == repr(expected)
    assert findings == []


def plain(value: Any) -> Any:
    """Timestamps without their zone's class, decimals with the digits of Arrow's type."""
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value.normalize() if isinstance(value, Decimal) else value


AS_TEXT = [
    ("inet", "10.0.0.1/8"),
    ("bit(4)", "1010"),
    ("int4range", "[1,5)"),
    ("point", "(1,2)"),
    ("xml", "<a/>"),
    ("timetz", "10:00:00+02"),
    ("interval", "P1Y2M3DT4H5M6.5S"),
    ("uuid", "11111111-2222-3333-4444-555555555555"),
    ("numeric", "123456789.000100"),
    ("numeric(100,50)", "1." + "0" * 49 + "1"),
    ("tsvector", "'a' 'b'"),
]


@pytest.mark.parametrize(("kind", "text"), AS_TEXT)
def test_types_without_an_exact_arrow_form_are_the_servers_text(
    database: PostgresDatabase, kind: str, text: str
) -> None:
    quoted = text.replace("'", "''")
    table, findings = read_all(database.url, f"SELECT '{quoted}'::{kind} AS v")
    assert table.schema.field("v").type == pa.utf8()
    assert table["v"].to_pylist() == [text]
    assert findings == []


def test_composites_enums_and_domains_arrive(database: PostgresDatabase) -> None:
    database.run("CREATE TYPE mood AS ENUM ('sad', 'happy')")
    database.run("CREATE DOMAIN cents AS numeric(10,2)")
    table, _ = read_all(database.url, "SELECT 'happy'::mood AS m, 1.5::cents AS c, ROW(1, 'a') AS r")
    assert table.to_pylist() == [{"m": "happy", "c": Decimal("1.50"), "r": "(1,a)"}]


def test_columns_have_the_servers_type_and_their_kind(database: PostgresDatabase) -> None:
    query = "SELECT 1::numeric(10,2) AS a, 'x'::varchar(7) AS b, '{}'::jsonb AS c, '10:00'::time(3) AS d"
    schema = read_all(database.url, query)[0].schema
    assert [f.metadata[FIELD_TYPE] for f in schema] == [
        b"numeric(10,2)",
        b"character varying(7)",
        b"jsonb",
        b"time(3) without time zone",
    ]
    assert [f.metadata.get(FIELD_KIND) for f in schema] == [None, None, b"json", b"time"]


def test_times_are_durations_up_to_midnight_of_the_next_day(database: PostgresDatabase) -> None:
    query = "SELECT v::time FROM (VALUES ('00:00:00'), ('23:59:59.999999'), ('24:00:00'), (NULL)) AS t (v)"
    assert read_all(database.url, query)[0]["v"].to_pylist() == [
        timedelta(0),
        timedelta(hours=23, minutes=59, seconds=59, microseconds=999999),
        timedelta(days=1),
        None,
    ]


def test_what_arrow_does_not_have_is_empty_and_counted(database: PostgresDatabase) -> None:
    query = (
        "SELECT d::date AS d, t::timestamp AS t, n::numeric(10,2) AS n, 'kept'::text AS k FROM (VALUES "
        "('infinity', '-infinity', 'NaN'), ('2024-01-01', '2024-01-01 10:00', '1.5'), (NULL, NULL, NULL)) v (d, t, n)"
    )
    table, findings = read_all(database.url, query)
    assert table.to_pylist() == [
        {"d": None, "t": None, "n": None, "k": "kept"},
        {"d": date(2024, 1, 1), "t": datetime(2024, 1, 1, 10), "n": Decimal("1.50"), "k": "kept"},
        {"d": None, "t": None, "n": None, "k": "kept"},
    ]
    assert {(f.code, f.column, f.count) for f in findings} == {
        ("infinity_null", "d", 1),
        ("infinity_null", "t", 1),
        ("not_a_number", "n", 1),
    }


@pytest.mark.parametrize("text", ["4713-01-01 BC", "0044-03-15 BC", "0001-12-31 BC", "10000-01-01", "250000-02-28"])
def test_years_of_other_than_four_digits_are_exact(database: PostgresDatabase, text: str) -> None:
    table, findings = read_all(
        database.url,
        f"SELECT '{text}'::date AS d, '{text}'::timestamp AS t, '{text}'::timestamptz AS z, "
        f"('{text}'::date - '1970-01-01'::date) AS days",
    )
    (days,) = table["days"].to_pylist()
    assert table["d"].cast(pa.int32()).to_pylist() == [days]
    assert table["t"].cast(pa.int64()).to_pylist() == [days * 86_400_000_000]
    assert table["z"].cast(pa.int64()).to_pylist() == [days * 86_400_000_000]
    assert findings == []


@pytest.mark.parametrize("kind", ["timestamp", "timestamptz"])
def test_a_timestamp_beyond_64_bits_is_empty_and_counted(database: PostgresDatabase, kind: str) -> None:
    last, beyond = "294247-01-10 04:00:54.775807+00", "294247-01-10 04:00:54.775808+00"
    query = f"SELECT v::{kind} AS t, v::{kind}(3) AS s, true AS b FROM (VALUES ('{last}'), ('{beyond}')) AS t (v)"
    table, findings = read_all(database.url, query)
    assert table["t"].cast(pa.int64()).to_pylist() == [(1 << 63) - 1, None]
    assert table["s"].cast(pa.int64()).to_pylist() == [9_223_372_036_854_776, 9_223_372_036_854_776]
    assert [(f.code, f.column, f.count) for f in findings] == [("far_time_null", "t", 1)]


def test_a_byte_order_mark_at_the_start_of_the_rows_is_preserved(database: PostgresDatabase) -> None:
    table, _ = read_all(database.url, "SELECT U&'\\FEFFx' AS v FROM generate_series(1, 3)")
    assert table["v"].to_pylist() == ["\ufeffx"] * 3


def test_null_and_empty_text_differ_in_a_single_column(database: PostgresDatabase) -> None:
    table, _ = read_all(database.url, "SELECT v FROM (VALUES (NULL), (''), (NULL)) AS t (v)")
    assert table["v"].to_pylist() == [None, "", None]


def test_names_may_repeat_and_hold_anything(database: PostgresDatabase) -> None:
    table, _ = read_all(database.url, 'SELECT 1 AS "a", 2 AS "a", 3 AS "x "" , y"')
    assert table.schema.names == ["a", "a", 'x " , y']


EXACT: list[tuple[str, Any, Any]] = [
    ("pg_typeof(:v)::text", 5, "integer"),
    (":v::bigint", -(2**63), -(2**63)),
    ("1 -:v", -5, 6),
    (":v::int = -5", -5, True),
    (":v::numeric(40,0)", 10**39, Decimal(10**39)),
    (":v", True, True),
    (":v", None, None),
    (":v", 0.1, 0.1),
    (":v", float("-inf"), float("-inf")),
    (":v::numeric(30,20)", Decimal("-1E-20"), Decimal("-1E-20")),
    (":v", bytes(range(256)), bytes(range(256))),
    (":v", date(2024, 2, 29), date(2024, 2, 29)),
    (":v", datetime(2024, 2, 29, 23, 59, 58, 7), datetime(2024, 2, 29, 23, 59, 58, 7)),
    (":v::timestamp", datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), datetime(2023, 12, 31, 23)),
    (":v", time(23, 59, 58, 7), timedelta(hours=23, minutes=59, seconds=58, microseconds=7)),
    (":v", timedelta(days=-1, microseconds=1), "P-1DT0.000001S"),
    (":v", UUID(int=5), str(UUID(int=5))),
    ("'2024-05-01'::date = :v", "2024-05-01", True),
]


@pytest.mark.parametrize(("expression", "value", "expected"), EXACT, ids=lambda v: repr(v)[:30])
def test_values_arrive_exactly(database: PostgresDatabase, expression: str, value: Any, expected: Any) -> None:
    table, _ = read_all(database.url, f"SELECT {expression} AS v", {"v": value})
    assert table["v"].to_pylist() == [expected]


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_is_a_value_and_never_part_of_the_statement(database: PostgresDatabase, value: str) -> None:
    table, _ = read_all(database.url, "SELECT :v::text AS v, $$:v$$ AS w, E'\\':v' AS x", {"v": value})
    assert table.to_pylist() == [{"v": value, "w": ":v", "x": "':v"}]


PLACES = [
    "SELECT ':v' -- :v\n, :v",
    'SELECT 1 AS ":v", :v',
    "SELECT $tag$ :v $$ $tag$, :v /* :v /* nested :v */ */",
    "SELECT e'\\' :v', :v",
    "SELECT 'x'::text, date'2024-01-01', :v",
]


@pytest.mark.parametrize("query", PLACES)
def test_parameters_stand_outside_of_strings_names_and_comments(database: PostgresDatabase, query: str) -> None:
    table, _ = read_all(database.url, query, {"v": "it's"})
    assert [row[-1] for row in zip(*(c.to_pylist() for c in table.columns), strict=True)] == ["it's"]


@pytest.mark.parametrize(
    ("query", "params", "said"),
    [
        ("SELECT :a", {}, ":a was given no value"),
        ("SELECT :a", {"a": 1, "b": 2}, "'b' does not occur"),
        ("SELECT ?, ?", [1], "takes 2 parameters, and 1 were given"),
        ("SELECT ?", "x", "a list of values"),
        ("SELECT :a", {"a": "\0"}, "Parameter 1 is"),
        ("SELECT :a", {"a": "\ud800"}, "Parameter 1 is"),
        ("SELECT :a", {"a": [1]}, "Parameter 1 is a list"),
        ("SELECT :a /*/*/*/*/*/*/* :a */*/*/*/*/*/*/", {"a": 1}, "nested too deeply"),
    ],
)
def test_names_and_values_must_agree_before_anything_is_connected(query: str, params: Any, said: str) -> None:
    with pytest.raises(Refused, match=said) as caught:
        open_source("postgresql://nobody@127.0.0.1:1/none", query, params)
    assert caught.value.code == "bad_params"


def test_the_question_mark_operators_of_json_are_left_alone(database: PostgresDatabase) -> None:
    table, _ = read_all(database.url, "SELECT '{\"a\": 1}'::jsonb ? :key AS v", {"key": "a"})
    assert table["v"].to_pylist() == [True]
