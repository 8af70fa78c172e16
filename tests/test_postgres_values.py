"""Every type of PostgreSQL beside every other: what is read is the server's own text, or the value with that text."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxport.findings import Finding, Findings
from fluxport.sources import open_source
from fluxport.stages import FIELD_KIND, FIELD_TYPE
from mysql_support import read_all
from postgres_support import PostgresDatabase, scratch_postgres

TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'so, so', 'happy');
CREATE TYPE pair AS (a integer, b text);
CREATE DOMAIN cents AS numeric(10,2);
CREATE DOMAIN word AS text CHECK (value <> '');
CREATE DOMAIN pairs AS pair[];
"""
EXTENSIONS = ("hstore", "citext", "ltree")


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresDatabase]:
    with scratch_postgres() as made:
        for extension in EXTENSIONS:
            made.run(f"CREATE EXTENSION {extension}")
        for statement in TYPES.strip().splitlines():
            made.run(statement)
        yield made


# Types that are read as the text which the server prints, with such texts.
PRINTED: dict[str, list[str]] = {
    "text": ["", "a", "é€\U0001f600", "NULL"],
    "varchar(20)": ["x"],
    "char(5)": ["ab   "],
    "name": ["pg_class"],
    '"char"': ["x", ""],
    "word": ["w"],
    "mood": ["so, so"],
    "pair": ['(1,"a,b")', "(,)"],
    "uuid": ["11111111-2222-3333-4444-5555aabbccdd", "00000000-0000-0000-0000-000000000000"],
    "json": ['{"a" : 1e400}', "[1,  2]"],
    "jsonb": ['{"a": 123456789012345678901234567890.10}', "null", '"\u00e9"'],
    "xml": ["<a>b</a>", '<?xml version="1.0" standalone="yes"?><a/>'],
    "interval": ["P1Y2M3DT4H5M6.5S", "PT0S", "P-1Y-2M3DT-4H-5M-6S"],
    "timetz": ["10:00:00+02", "24:00:00-15:59:59"],
    "inet": ["10.0.0.1", "10.0.0.1/8", "::1"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "bit(4)": ["1010"],
    "varbit": ["", "101"],
    "int4range": ["[1,5)", "empty", "(,)"],
    "tstzrange": ['["2024-01-01 00:00:00+00",infinity)'],
    "int8multirange": ["{[1,3),[7,9)}", "{}"],
    "point": ["(1,2.5)"],
    "box": ["(3,4),(1,2)"],
    "polygon": ["((0,0),(1,1),(1,0))"],
    "circle": ["<(1,2),3>"],
    "path": ["[(0,0),(1,1)]"],
    "lseg": ["[(0,0),(1,1)]"],
    "line": ["{1,2,3}"],
    "tsvector": ["'a':1A 'b'"],
    "tsquery": ["'a' & 'b'"],
    "pg_lsn": ["16/B374D848"],
    "regclass": ["pg_class"],
    "xid": ["7"],
    "tid": ["(0,1)"],
    "hstore": ['"a"=>"1", "b"=>NULL'],
    "citext": ["MiXed"],
    "ltree": ["Top.Science"],
    "aclitem": ["postgres=r/postgres"],
    "numeric": ["0", "1", "-0.5", "123456789.000100", "0.00", "1" + "0" * 40, "-1." + "0" * 49 + "1", "0.1234567"],
    "numeric(100,50)": ["1." + "0" * 49 + "1"],
}

# Arrays, and the JSON that they are read as.
ARRAYS: dict[str, dict[str, str]] = {
    "pairs": {'{"(1,x)",NULL,"(,)"}': '[{"a":1,"b":"x"},null,{"a":null,"b":null}]'},
    "integer[]": {
        "{}": "[]",
        "{1,NULL,-3}": "[1,null,-3]",
        "{{1,2},{3,4}}": "[[1,2],[3,4]]",
        "[0:1]={5,6}": "[5,6]",
    },
    "text[]": {'{a,"b,c",NULL,"NULL",""}': '["a","b,c",null,"NULL",""]'},
    "numeric[]": {"{1.50,NaN,123456789012345678901234567890.10}": '[1.50,"NaN",123456789012345678901234567890.10]'},
    "date[]": {"{2024-01-01,infinity}": '["2024-01-01","infinity"]'},
    "jsonb[]": {'{"{\\"a\\": 1}",NULL}': '[{"a": 1},null]'},
    "inet[]": {"{10.0.0.1/8}": '["10.0.0.1/8"]'},
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_is_json(database: PostgresDatabase, kind: str) -> None:
    rows = ", ".join("('" + text.replace("'", "''") + f"'::{kind})" for text in ARRAYS[kind])
    table, findings = read_all(database.url, f"SELECT v FROM (VALUES {rows}, (NULL)) AS t (v)")
    assert table["v"].to_pylist() == [*ARRAYS[kind].values(), None]
    assert table.schema.field("v").metadata[FIELD_KIND] == b"json"
    assert findings == []


@pytest.mark.parametrize("kind", PRINTED)
def test_a_type_alone_is_the_text_of_the_server(database: PostgresDatabase, kind: str) -> None:
    texts = PRINTED[kind]
    rows = ", ".join("('" + text.replace("'", "''") + f"'::{kind})" for text in texts)
    table, findings = read_all(database.url, f"SELECT v FROM (VALUES {rows}, (NULL)) AS t (v)")
    assert table["v"].to_pylist() == [*texts, None]
    assert findings == []


def test_all_types_beside_each_other_in_any_row(database: PostgresDatabase) -> None:
    """Also beside infinities and NULLs of types that are not text."""
    others = {
        "boolean": ["true", "false"],
        "date": ["infinity", "-infinity", "0044-03-15 BC"],
        "timestamp": ["infinity", "294276-12-31 23:59:59"],
        "timestamptz": ["-infinity", "2024-01-01 00:00:00+00"],
        "numeric(10,2)": ["NaN", "1.50"],
        "float8": ["NaN", "Infinity", "0.1"],
        "smallint": ["-1"],
        "bytea": ["\\x00ff"],
        "time": ["24:00:00"],
        **{kind: list(texts) for kind, texts in ARRAYS.items()},
    }
    kinds = PRINTED | others
    rows = max(len(texts) for texts in kinds.values()) + 1

    def cell(text: str, kind: str) -> str:
        return "'" + text.replace("'", "''") + f"'::{kind}"

    values = [
        ", ".join(cell(texts[row % (len(texts) + 1)], kind) if row % (len(texts) + 1) < len(texts) else f"NULL::{kind}"
                  for kind, texts in kinds.items())
        for row in range(rows)
    ]  # fmt: skip
    query = " UNION ALL ".join(f"SELECT {row}" for row in values)
    table, findings = read_all(
        database.url, f"SELECT * FROM ({query}) AS t ({', '.join(f'c{n}' for n in range(len(kinds)))})"
    )
    for column, texts in zip(table.columns, PRINTED.values(), strict=False):
        assert column.to_pylist() == [*itertools.islice(itertools.cycle([*texts, None]), rows)]
    assert {f.code for f in findings} == {"infinity_null", "far_time_null", "not_a_number"}
    assert table.column(len(PRINTED)).to_pylist()[:3] == [True, False, None]


def test_numbers_without_a_declared_scale_are_numbers(database: PostgresDatabase) -> None:
    query = (
        "SELECT sum(g::bigint) AS s, avg(g) AS a, 1234.5::money AS m, max(7::numeric) AS n FROM generate_series(1, 4) g"
    )
    table, findings = read_all(database.url, query)
    assert table.to_pylist() == [{"s": "10", "a": "2.5000000000000000", "m": "1234.50", "n": "7"}]
    assert [field.metadata.get(FIELD_KIND) for field in table.schema] == [b"number"] * 4
    assert table.schema.field("m").metadata[FIELD_TYPE] == b"money"
    assert findings == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.decimals(allow_nan=True, allow_infinity=True).filter(
            lambda v: not (v.is_nan() and v.is_signed()) and not v.is_snan()
        )
        | st.decimals(-(10**12), 10**12, places=4)
        | st.from_regex(r"-?[1-9][0-9]{0,60}(\.[0-9]{1,60})?|-?[1-9]e-?[0-9]{1,3}", fullmatch=True),
        min_size=1,
        max_size=40,
    ),
    st.integers(0, 30),
)
def test_any_number_is_what_the_server_prints(database: PostgresDatabase, values: list[Any], nulls: int) -> None:
    texts = [str(v) for v in values]
    rows = ", ".join(f"('{text}'::numeric)" for text in texts) + ", (NULL)" * nulls
    query = f"SELECT v AS n, v::text AS t FROM (VALUES {rows}) AS x (v)"
    table, findings = read_all(database.url, query)
    assert table["n"].to_pylist() == table["t"].to_pylist()
    assert findings == []


def test_numbers_of_very_different_lengths_are_read_in_parts(database: PostgresDatabase) -> None:
    query = (
        "SELECT g, (CASE WHEN g % 3 = 0 THEN 1e30000 ELSE 1e-9 END)::numeric AS n FROM generate_series(1, 3000) AS g"
    )
    lengths, sizes = [], []
    for batch in open_source(database.url, query).batches():
        lengths += [len(text) for text in batch["n"].to_pylist()]
        sizes.append(batch.nbytes)
    assert lengths == [30001 if g % 3 == 0 else 11 for g in range(1, 3001)]
    assert max(sizes) < 40 << 20


def test_a_change_is_counted_once_however_often_its_rows_are_read_in_parts(database: PostgresDatabase) -> None:
    """Long numbers halve their block; the columns before and after them have findings."""
    query = (
        "SELECT 'infinity'::timestamptz AS t, 'NaN'::numeric(10, 2) AS m, ('1' || repeat('0', 60000))::numeric AS n, "
        "'-infinity'::date AS d FROM generate_series(1, 1000) AS g"
    )
    findings = Findings()
    batches = open_source(database.url, query, findings=findings).batches()
    assert sum(batch.num_rows for batch in batches) == 1000
    assert [(f.code, f.column, f.count) for f in findings] == [
        ("infinity_null", "d", 1000), ("infinity_null", "t", 1000), ("not_a_number", "m", 1000)
    ]  # fmt: skip


def test_what_rows_a_role_may_see_and_what_views_make_of_them(database: PostgresDatabase) -> None:
    """Row security, views, partitions, materialised views and functions that return sets."""
    for statement in (
        "CREATE TABLE parted (k int, v text) PARTITION BY RANGE (k)",
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20)",
        "INSERT INTO parted SELECT g, 'v' || g FROM generate_series(0, 19) AS g",
        "CREATE VIEW seen AS SELECT k, v FROM parted WHERE k % 2 = 0",
        "CREATE MATERIALIZED VIEW kept_view AS SELECT k FROM parted WHERE k > 15",
        "CREATE FUNCTION squares(n int) RETURNS TABLE (i int, sq numeric) LANGUAGE sql AS "
        "$$ SELECT g, g::numeric * g FROM generate_series(1, n) AS g $$",
    ):
        database.run(statement)
    assert read_all(database.url, "SELECT count(*) AS n, min(v) AS v FROM parted")[0].to_pylist() == [
        {"n": 20, "v": "v0"}
    ]
    assert read_all(database.url, "SELECT k FROM seen ORDER BY k DESC LIMIT 2")[0]["k"].to_pylist() == [18, 16]
    assert read_all(database.url, "SELECT k FROM kept_view ORDER BY k")[0]["k"].to_pylist() == [16, 17, 18, 19]
    assert read_all(database.url, "SELECT * FROM squares(3)")[0].to_pylist() == [
        {"i": 1, "sq": "1"},
        {"i": 2, "sq": "4"},
        {"i": 3, "sq": "9"},
    ]
    role = f"{database.name}_reader"
    database.run(f"CREATE ROLE {role} LOGIN")
    try:
        for statement in (
            "CREATE TABLE guarded (owner text, v int)",
            f"INSERT INTO guarded VALUES ('{role}', 1), ('somebody', 2)",
            "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY own ON guarded USING (owner = current_user)",
            f"GRANT SELECT ON guarded TO {role}",
        ):
            database.run(statement)
        url = database.url.replace("postgres@", f"{role}@").replace("postgres:@", f"{role}:@")
        assert read_all(url, "SELECT v FROM guarded")[0]["v"].to_pylist() == [1]
    finally:
        database.run("DROP TABLE guarded")
        database.run(f"DROP ROLE {role}")


def test_foreign_tables(database: PostgresDatabase) -> None:
    place = urlsplit(database.url)
    for statement in (
        "CREATE EXTENSION postgres_fdw",
        "CREATE TABLE near (k int, n numeric, a int[])",
        "INSERT INTO near SELECT g, g / 3.0, ARRAY[g, NULL] FROM generate_series(1, 3) AS g",
        "CREATE SERVER itself FOREIGN DATA WRAPPER postgres_fdw OPTIONS "
        f"(host '{place.hostname}', port '{place.port or 5432}', dbname '{database.name}')",
        f"CREATE USER MAPPING FOR PUBLIC SERVER itself OPTIONS (user '{place.username}')",
        "CREATE FOREIGN TABLE far (k int, n numeric, a int[]) SERVER itself OPTIONS (table_name 'near')",
    ):
        database.run(statement)
    near, _ = read_all(database.url, "SELECT * FROM near ORDER BY k")
    far, _ = read_all(database.url, "SELECT * FROM far ORDER BY k")
    assert far.to_pylist() == near.to_pylist()
    assert far["a"].to_pylist() == ["[1,null]", "[2,null]", "[3,null]"]


def test_the_order_is_that_of_the_statement_also_where_columns_are_printed(database: PostgresDatabase) -> None:
    """The server would start parallel workers for anything."""
    database.run("CREATE TABLE ordered AS SELECT g, (g * 7919) % 100000 AS k FROM generate_series(1, 100000) AS g")
    database.run("ALTER TABLE ordered SET (parallel_workers = 2)")
    database.run("ANALYZE ordered")
    options = "-c parallel_setup_cost=0 -c parallel_tuple_cost=0 -c min_parallel_table_scan_size=0"
    url = f"{database.url}?options={options.replace(' ', '%20').replace('=', '%3D')}"
    table, _ = read_all(url, "SELECT k, ARRAY[g] AS a, int4range(g, g + 1) AS r FROM ordered ORDER BY k DESC")
    assert table["k"].to_pylist() == list(range(99_999, -1, -1))
    assert pa.types.is_string(table.schema.field("a").type)


def test_names_may_repeat_and_be_missing_where_columns_are_printed(database: PostgresDatabase) -> None:
    table, _ = read_all(database.url, "SELECT 1 AS a, '{1}'::int[] AS a, '10.0.0.1'::inet, 'x' || 'y'")
    assert table.schema.names == ["a", "a", "inet", "?column?"]
    assert [column.to_pylist() for column in table.columns] == [[1], ["[1]"], ["10.0.0.1"], ["xy"]]


@pytest.mark.parametrize("volatility", ["VOLATILE", "STABLE", "IMMUTABLE"])
@pytest.mark.parametrize(("kind", "value"), [("int[]", "ARRAY[v]"), ("int4range", "int4range(v, v, '[]')")])
def test_an_expression_is_evaluated_once_where_columns_are_printed(
    database: PostgresDatabase, kind: str, value: str, volatility: str
) -> None:
    """Each evaluation warns."""
    database.run(
        f"CREATE OR REPLACE FUNCTION warned(v int, like_this {kind}) RETURNS {kind} LANGUAGE plpgsql {volatility} "
        f"AS $$ BEGIN RAISE WARNING 'sensitive'; RETURN {value}; END $$"
    )
    table, findings = read_all(database.url, f"SELECT g, warned(g, NULL::{kind}) AS a FROM generate_series(1, 3) AS g")
    texts = {"int[]": ["[1]", "[2]", "[3]"], "int4range": ["[1,2)", "[2,3)", "[3,4)"]}
    assert table["a"].to_pylist() == texts[kind]
    assert findings == [Finding("database_warning", None, 3, "SQLSTATE 01000")]
