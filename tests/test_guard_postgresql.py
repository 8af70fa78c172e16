"""PostgreSQL's guard: what statements become, and that they give the same on a real server."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pglast import ast, keywords

from fluxport.errors import QueryRefused
from fluxport.policy.guard import GuardPolicy, check
from fluxport.policy.guard.postgres.nodes import fields_of
from fluxport.policy.guard.postgres.words import EXTENSION_FUNCTIONS, FUNCTIONS, RESULT_NAMES, ROW_FUNCTIONS
from guard_corpora import CORPUS, attacks, legitimate, reads, refused_as_listed, statements
from postgres_support import scratch_postgres

POLICY = GuardPolicy("postgresql", default_schema="shop")
WITH_PARAMS = replace(POLICY, params=True)
BENCHMARKS = [(f"{name}: {title}", sql) for name in ("tpch", "imdb", "clickbench") for title, sql in statements(name)]


def refusal(sql: str, policy: GuardPolicy = POLICY) -> QueryRefused:
    with pytest.raises(QueryRefused) as caught:
        check(sql, policy)
    return caught.value


# -- rewriting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "rewritten"),
    [
        ("select A, \"B\" from T -- end", 'select "a", "B" from "shop"."t"'),
        ("SELECT/**/1;", "SELECT 1"),
        ("SELECT a FROM stock.t", 'SELECT "a" FROM "stock"."t"'),
        ("SELECT a\"b\" FROM t", 'SELECT "a" "b" FROM "shop"."t"'),
        ("WITH t AS (SELECT 1) TABLE t", 'WITH "t" AS (SELECT 1) TABLE "t"'),
        ("SELECT $$it's$$, $a$b$a$, 'c\\d', E'e\\n', N'f'", "SELECT 'it''s', 'b', E'c\\\\d', E'e\\n', NCHAR 'f'"),
        ("SELECT 'a' -- b 'c'\n 'd'", "SELECT 'ad'"),
        ("SELECT a||'\\x' FROM t", 'SELECT "a"|| E\'\\\\x\' FROM "shop"."t"'),
        ("SELECT - -1, 2*-3, a::int[], x[1:2]", 'SELECT - -1, 2*-3, "a"::int[], "x"[1:2]'),
        ("SELECT öÄ, \"say \"\"hi\"\"\"", 'SELECT "öÄ", "say ""hi"""'),
    ],
)  # fmt: skip
def test_a_statement_is_written_from_its_tokens(sql: str, rewritten: str) -> None:
    assert check(sql, POLICY) == rewritten
    assert check(rewritten, POLICY) == rewritten


@pytest.mark.parametrize(
    ("sql", "params", "rewritten"),
    [
        ("SELECT a FROM t WHERE a=? AND b IN (?,?)", [1, 2, 3], '"a"= ? AND "b" IN ( ? , ? )'),
        ("SELECT a FROM t WHERE a = :id AND b = ':id'", {"id": 1}, '"a" = :id AND "b" = \':id\''),
        ("SELECT a FROM t WHERE a = :id::int", {"id": 1}, '"a" = :id ::int'),
        ("SELECT a FROM t WHERE tags ? 'a' AND tags ?| x", [], '"tags" ? \'a\' AND "tags" ?| "x"'),
        ("SELECT a FROM t WHERE tags ? 'a' AND b[1:n] = :id", {"id": 1}, None),  # :n is a parameter then
        ("SELECT a FROM t WHERE tags ? 'a' AND b = :id", {"id": 1}, '"tags" ? \'a\' AND "b" = :id'),
        ("SELECT a FROM t WHERE tags ? 'a' AND b = ?", ["x"], None),
    ],
)
def test_a_placeholder_is_what_the_source_takes_for_one(sql: str, params: Any, rewritten: str | None) -> None:
    policy = WITH_PARAMS.taking(params)
    if rewritten is None:
        assert refusal(sql, policy).code in {"query_syntax", "query_placeholder"}
        return
    statement = check(sql, policy)
    assert statement == f'SELECT "a" FROM "shop"."t" WHERE {rewritten}'
    assert check(statement, policy) == statement


@pytest.mark.parametrize("sql", ["SELECT lo_import ? + 1", "SELECT lo_import ? FROM t", "SELECT f ? AS a"])
def test_a_value_in_parentheses_makes_no_call(sql: str) -> None:
    """The source writes values in parentheses, which after a name would be the arguments of a function."""
    assert refusal(sql, WITH_PARAMS.taking(["/etc/passwd"])).code == "query_function"


def test_placeholders_need_values_and_a_policy_that_allows_them() -> None:
    assert "without values" in refusal("SELECT a FROM t WHERE a = :id", WITH_PARAMS).message
    assert "not allowed here" in refusal("SELECT a FROM t WHERE a = ?", POLICY.taking([1])).message
    assert refusal("SELECT a FROM t WHERE a = $1", WITH_PARAMS.taking([1])).code == "query_placeholder"


# -- what is allowed ---------------------------------------------------------------------------------------------------


def test_tables_and_schemas_are_compared_exactly() -> None:
    policy = replace(POLICY, schemas=frozenset({"stock"}), tables=frozenset({"orders", "stock.Items"}))
    for sql in ("SELECT 1 FROM orders", "TABLE Orders", 'SELECT 1 FROM shop.orders, stock."Items"'):
        check(sql, policy)
    for sql, code in [
        ('SELECT 1 FROM "Orders"', "query_table"),
        ("SELECT 1 FROM stock.items", "query_table"),
        ("SELECT 1 FROM hr.orders", "query_schema"),
        ("SELECT 1::hr.kind", "query_schema"),
    ]:
        assert refusal(sql, policy).code == code, sql


@pytest.mark.parametrize(
    "sql",
    [
        "WITH secret AS (SELECT 1 FROM secret) SELECT 1 FROM secret",
        "WITH a AS (SELECT 1 FROM secret), secret AS (SELECT 1) SELECT 1 FROM a, secret",
        "SELECT 1 FROM (WITH secret AS (SELECT 1) SELECT 1 FROM secret) q, secret",
        "(WITH secret AS (SELECT 1) SELECT 1 FROM secret) UNION SELECT 1 FROM secret",
        "WITH a AS (WITH secret AS (SELECT 1) SELECT 1 FROM secret) SELECT 1 FROM secret",
        "WITH secret AS (SELECT 1) SELECT 1 FROM shop.secret",
        'WITH "Secret" AS (SELECT 1) SELECT 1 FROM secret',
    ],
)
def test_a_with_query_hides_a_table_only_where_it_is_in_scope(sql: str) -> None:
    assert refusal(sql, replace(POLICY, tables=frozenset({"orders"}))).code == "query_table"


@pytest.mark.parametrize(
    "sql",
    [
        "WITH q AS (SELECT 1) SELECT 1 FROM (SELECT 1 FROM q) x WHERE EXISTS (SELECT FROM q)",
        "WITH q AS (SELECT 1) SELECT 1 FROM q UNION SELECT 1 FROM q",
        "WITH RECURSIVE b AS (SELECT 1 FROM a), a AS (SELECT 1) SELECT 1 FROM b",
        "WITH q AS (SELECT 1), r AS (WITH s AS (SELECT 1 FROM q) SELECT 1 FROM s, q) SELECT 1 FROM r",
    ],
)
def test_a_with_query_is_no_table_where_it_is_in_scope(sql: str) -> None:
    check(sql, replace(POLICY, tables=frozenset()))


def test_functions_operators_and_fields_of_the_configuration_pass() -> None:
    policy = replace(POLICY, functions=frozenset({"price_of", "stock.level_of", "public.<->", "due", "<=>="}))
    for call in ("price_of(1)", "PRICE_OF(1)", "stock.level_of(1)", "1 OPERATOR(public.<->) 2", "(a).due", "1 <=>= 2"):
        check(f"SELECT {call}", policy)
    for call in ('"Price_Of"(1)', "stock.price_of(1)", "level_of(1)", "1 OPERATOR(stock.<->) 2", "(a).paid"):
        assert refusal(f"SELECT {call}", policy).code == "query_function", call


def test_recursive_queries_may_be_switched_off() -> None:
    sql = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT i FROM n"
    check(sql, POLICY)
    assert refusal(sql, replace(POLICY, recursive=False)).code == "query_recursive"


@pytest.mark.parametrize(
    ("just_within", "just_beyond", "code"),
    [
        (f"SELECT '{'a' * 65_527}'", f"SELECT '{'a' * 65_528}'", "query_too_large"),
        ("SELECT " + ",".join(["1"] * 2_500), "SELECT ALL " + ",".join(["1"] * 2_500), "query_too_large"),
        ("SELECT 1 FROM " + ", ".join(["t"] * 64), "SELECT 1 FROM " + ", ".join(["t"] * 65), "query_too_large"),
        (f"SELECT {'(' * 50}1{')' * 50}", f"SELECT {'(' * 51}1{')' * 51}", "query_too_deep"),
        (f"SELECT {'NOT ' * 50}true", f"SELECT {'NOT ' * 51}true", "query_too_deep"),
    ],
)
def test_a_cap_allows_its_number_and_not_one_more(just_within: str, just_beyond: str, code: str) -> None:
    check(just_within, POLICY)
    assert refusal(just_beyond).code == code


def test_long_chains_within_the_caps_pass_and_beyond_them_are_not_parsed() -> None:
    check("SELECT " + "+".join(["1"] * 2_499), POLICY)
    check("SELECT 1" + " UNION SELECT 1" * 1_600, POLICY)
    assert refusal("SELECT " + "+".join(["1"] * 30_000)).code == "query_too_large"


def test_a_length_from_computed_rows_needs_a_bound() -> None:
    """A column of a table has what is stored there; any other may have what the caller writes."""
    check("SELECT repeat('a', nullif(n, 0)), repeat('b', width_bucket(n, 0, 100, 10)) FROM t", POLICY)
    for call in ("repeat('a', n)", "lpad('a', 2 * n)", "rpad('a', coalesce(n, 3))", "repeat('a', length(s))"):
        check(f"SELECT {call} FROM t", POLICY)
        for rows in ("(SELECT 10 AS n) q", "(VALUES (10)) v(n)", "generate_series(1, 2) n", "t, LATERAL (TABLE t) q"):
            assert refusal(f"SELECT {call} FROM {rows}").code == "query_amplifier"
    check("SELECT repeat('a', least(2 * n, 10000)) FROM (SELECT 10 AS n) q", POLICY)
    assert refusal("SELECT repeat('a', least(n, 10001)) FROM (SELECT 1 AS n) q").code == "query_amplifier"
    assert refusal("SELECT repeat('a', ?)", WITH_PARAMS.taking([10**9])).code == "query_amplifier"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT repeat('-', 20 - length(name)) FROM t",
        "SELECT rpad(name, length(coalesce(trim(name), 'none')) + 2) FROM t",
        "SELECT repeat('-', t.n) FROM t, generate_series(1, 2) g",
        "SELECT repeat('-', greatest(0, least(q.n, 50)) + 1) FROM (SELECT 10 AS n) q",
        "SELECT repeat('-', (n * 30 / 10.0)::int) FROM t",
        "SELECT format('%-10s|%*s', name, 10, note), format('%*s', '10', 'n') FROM t",
        "SELECT replace(replace(note, 'name', name), 'city', city), array_to_string(tags, ', ') FROM t",
        "SELECT array_fill(0, '{3,3}'::int[]), array_fill(0, ARRAY[n]) FROM t",
        "SELECT array_fill('x'::text, ARRAY[10000])",
        "SELECT generate_series(2015, least(2100, extract(year FROM now())::int))",
        "SELECT generate_series(1, t.n) FROM t",
        "SELECT g FROM t, generate_series(1, t.n) g",
        "SELECT generate_series(1, (SELECT max(n) FROM t)), generate_series(10, 1, -1), generate_series(0, 1, 0.1)",
        "SELECT generate_series(now() - interval '7 days', now(), '1 hour')",
        "SELECT generate_series((SELECT min(at) FROM t), (SELECT max(at) FROM t), interval '1' day)",
        "SELECT generate_series('2024-01-01'::timestamp, '2024-01-02', '00:00:01'), generate_series(a, b, '1 month') "
        "FROM t",
        "SELECT generate_series('2024-03-01'::date, '2024-01-01', - interval '1 month 2 days')",
    ],
)
def test_lengths_and_rows_with_a_bound_that_is_seen_pass(sql: str) -> None:
    check(sql, POLICY)


def test_a_kind_or_field_that_is_not_listed_is_refused() -> None:
    assert dict(fields_of(ast.RangeVar(relname="t"))) == {"relname": "t"}
    for node in (ast.InsertStmt(), ast.RangeVar(relname="t", catalogname="c"), ast.LockingClause()):
        with pytest.raises(QueryRefused):
            list(fields_of(node))


def test_a_missing_parser_is_told_in_one_sentence() -> None:
    program = (
        "import sys; sys.modules['pglast'] = None\n"
        "from fluxport.policy.guard import GuardPolicy, check\n"
        "try: check('SELECT 1', GuardPolicy('postgresql'))\n"
        "except Exception as error: print(error.code, error.message)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out == "missing_extra Checking SQL for PostgreSQL needs its parser: pip install 'fluxport[postgres]'.\n"


def test_no_refusal_quotes_a_literal_in_its_message_or_its_causes() -> None:
    for sql in ("SELECT 'hunter2' 'x'", "SELECT 'hunter2", "SELECT pg_sleep('hunter2')", "SELECT ('hunter2'"):
        error: BaseException | None = refusal(sql)
        while error is not None:
            assert "hunter2" not in str(error)
            error = error.__cause__ or error.__context__


# -- any text ----------------------------------------------------------------------------------------------------------

SEEDS = [one.sql for one in legitimate("postgresql")]
PIECES = sorted(
    {piece for _, sql in attacks("postgresql") for piece in re.findall(r"\w+|\s+|'[^']*'|/\*.*?\*/|--|.", sql)}
    | {"pg_user", "pg_sleep(9)", "; ", "FOR UPDATE", "INTO x", "$1", "\\", "''", 'U&"', "(a).version", "::regclass"}
)
_QUOTED = re.compile(r"(?:\b[eE])'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"", re.DOTALL)


def assert_harmless(sql: str, policy: GuardPolicy = POLICY) -> None:
    """A refusal, or a statement that passes again unchanged and whose bare words are keywords."""
    try:
        statement = check(sql, policy)
    except QueryRefused:
        return
    assert check(statement, policy) == statement
    bare = _QUOTED.sub(" ", statement)
    assert not re.search(r"[;$\\\"'`]|--|/\*|\*/", bare), statement
    words = {word.lower() for word in re.findall(r"(?<![\w.])[A-Za-z_]\w*", bare)}
    known = keywords.RESERVED_KEYWORDS | keywords.UNRESERVED_KEYWORDS
    known |= keywords.COL_NAME_KEYWORDS | keywords.TYPE_FUNC_NAME_KEYWORDS | {"u", "x", "b"}
    assert words <= known, statement


@given(st.data())
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_legitimate_statement_with_pieces_of_attacks_is_refused_or_harmless(data: st.DataObject) -> None:
    parts = re.findall(r"\w+|\s+|.", data.draw(st.sampled_from(SEEDS)), re.DOTALL)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(parts)))
        piece = data.draw(st.sampled_from(PIECES) | st.sampled_from(parts))
        parts[place : place + data.draw(st.integers(0, 2))] = [" ", piece, " "] if data.draw(st.booleans()) else [piece]
    params = data.draw(st.sampled_from([(), [1], {"id": 1}]))
    assert_harmless("".join(parts), WITH_PARAMS.taking(params))


@given(st.text(max_size=80), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_text_is_refused_or_harmless(text: str, selects: bool) -> None:
    assert_harmless(f"SELECT {text}" if selects else text)


PRINTED = st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Cn", "Co"]) | st.sampled_from(
    "\t\n\\'\"$;%_"
)


@pytest.fixture(scope="module")
def server() -> Iterator[psycopg.Connection[Any]]:
    """A connection to a database with the tables of the corpora, in UTC."""
    with scratch_postgres() as database, psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute((CORPUS / "legit_postgresql_schema.sql").read_text("utf-8").encode())
        for statement in benchmark_tables():
            connection.execute(statement.encode())
        yield connection


def test_a_string_keeps_its_value(server: psycopg.Connection[Any]) -> None:
    @given(st.text(PRINTED, max_size=40))
    @settings(max_examples=150, deadline=None)
    def holds(value: str) -> None:
        plain, escaped = value.replace("'", "''"), value.replace("\\", "\\\\").replace("'", "\\'")
        cursor = server.execute(check(f"SELECT '{plain}', E'{escaped}', $q${value}$q$", POLICY).encode())
        assert cursor.fetchall() == [(value, value, value)]

    holds()


# Pieces that read a closed table or call a foreign function, each of which raises an error that says so.
_READS = [
    *("pins", "public.pins", '"pins"', "read_pins_of", "read_pins_of('x')", "('x').read_pins_of", ".read_pins_of"),
    *("g.read_pins_of", "read_pins_of.read_pins_of", "g(read_pins_of)", "unnest(ARRAY['x']) read_pins_of(x)"),
    *("unnest(ARRAY['x']) g", "CAST('x' AS text) g", "generate_series(1, 2) g", "'x' <~~~> 'y'", "TABLE pins"),
    *("OPERATOR(public.<~~~>)", "WITH pins AS (SELECT 1)", "WITH RECURSIVE", "SELECT", "FROM", "JOIN", "LATERAL"),
    *("ROWS FROM", "::", ",", "(", ")", ".", "*", "AS", "g", "'x'", "USING", "ORDER BY"),
]
_CANARIES = """
    CREATE FUNCTION read_pins_of(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'CANARY'; END$$;
    CREATE FUNCTION read_pins_of(float8) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'CANARY'; END$$;
    CREATE FUNCTION compare_pins(text, text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'CANARY'; END$$;
    CREATE OPERATOR <~~~> (FUNCTION = compare_pins, LEFTARG = text, RIGHTARG = text);
    CREATE VIEW pins AS SELECT read_pins_of('x') AS pin;
    SET statement_timeout = '2s';
"""


def test_statements_with_pieces_of_reads_are_refused_or_read_open_tables_alone(
    server: psycopg.Connection[Any],
) -> None:
    opened = frozenset({"shopper", "visit", "busy", "post", "place", "node", "Odd Names"})
    policy = GuardPolicy("postgresql", default_schema="public", tables=opened)
    seeds = [sql for sql in (*SEEDS, *reads("postgresql")) if len(sql) < 400]

    @given(st.data())
    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    def holds(data: st.DataObject) -> None:
        parts = re.findall(r"\w+|\s+|'[^']*'|.", data.draw(st.sampled_from(seeds)), re.DOTALL)
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(parts)))
            parts[place : place + data.draw(st.integers(0, 1))] = [f" {data.draw(st.sampled_from(_READS))} "]
        said = ""
        try:
            server.execute(check("".join(parts), policy).encode())
        except QueryRefused:
            return
        except psycopg.Error as error:
            said = str(error)
        assert "CANARY" not in said

    server.execute(_CANARIES)
    with pytest.raises(psycopg.errors.RaiseException, match="CANARY"):
        server.execute("SELECT g.read_pins_of FROM unnest(ARRAY['x']) g")
    holds()


def test_the_out_parameters_of_allowed_functions_are_those_of_the_server(server: psycopg.Connection[Any]) -> None:
    """A function in FROM that has one OUT parameter gives a value of that name; with several, it gives a row."""
    rows = server.execute("""
        SELECT proname, array(SELECT proargnames[n] FROM generate_subscripts(proargmodes, 1) AS n
                              WHERE proargmodes[n] IN ('o', 'b', 't'))
        FROM pg_proc WHERE proargmodes IS NOT NULL""").fetchall()
    allowed = [(name, outs) for name, outs in rows if name in FUNCTIONS | EXTENSION_FUNCTIONS and outs]
    assert {name: outs[0] for name, outs in allowed if len(outs) == 1} == RESULT_NAMES
    assert {name for name, outs in allowed if len(outs) > 1} <= ROW_FUNCTIONS | {"unnest"}


def test_a_field_is_a_column_only_where_the_server_gives_it_that_name() -> None:
    policy = replace(POLICY, functions=frozenset({"prices", "stock.each"}))
    for source in ("unnest(ARRAY['x']) f", "prices(1) g(f)", "json_array_elements('[1]') g(f)", "json_each('{}') g"):
        check(f"SELECT {source.split()[-1][0]}.f FROM {source}", policy)
    for source in ("prices(1) f", "stock.each('x') f", "json_array_elements('[1]') f"):
        assert refusal(f"SELECT f.f FROM {source}", policy).code == "query_function", source


# -- the same results --------------------------------------------------------------------------------------------------

_FILL = {
    "int": "n % 25",
    "decimal": "n * 1.37",
    "date": "date '1994-01-01' + n",
    "datetime": "timestamp '2013-07-15' + n * interval '5 hours'",
    "text": "(ARRAY['BUILDING', 'GERMANY', 'EUROPE', 'movie', '', 'MAIL', 'R'])[1 + n % 7]",
}


def benchmark_tables() -> Iterator[str]:
    """The tables of TPC-H, the join order benchmark and ClickBench, filled by type."""
    for table, columns in re.findall(
        r"^CREATE TABLE (\w+) \((.*)\);$", (CORPUS / "schema.sql").read_text("utf-8"), re.MULTILINE
    ):
        if table == "rental" or table.startswith(("film", "actor", "category", "inventory", "payment", "odd")):
            continue
        definitions, values = [], []
        for column in re.split(r", (?![^(]*\))", columns):
            name, kind = re.findall(r"\w+", column)[:2]
            if name.upper() == "PRIMARY":
                continue
            base = next((base for base in ("datetime", "date", "decimal") if kind.lower() == base), None)
            base = base or ("int" if kind.lower().endswith("int") else "text")
            definitions.append(f"{name} {base.replace('datetime', 'timestamp')}")
            values.append(_FILL[base])
        yield f"CREATE TABLE {table} ({', '.join(definitions)})"
        yield f"INSERT INTO {table} SELECT {', '.join(values)} FROM generate_series(1, 60) n"


# Titles of statements of the corpora that call functions of MySQL alone.
MYSQL_ONLY = {"functions of every kind", "a name that is a function"}


def result(connection: psycopg.Connection[Any], sql: str) -> tuple[list[str], list[list[bytes | None]]]:
    """Headers, and the rows in any order, as the server's text."""
    cursor = connection.execute(sql.encode())
    rows = cursor.pgresult
    assert rows is not None
    columns = range(rows.nfields)
    cells = [[rows.get_value(row, column) for column in columns] for row in range(rows.ntuples)]
    return [(rows.fname(column) or b"").decode() for column in columns], sorted(cells, key=repr)


def test_legitimate_statements_give_the_same(server: psycopg.Connection[Any]) -> None:
    accepted = 0
    for one in legitimate("postgresql"):
        try:
            statement = check(one.sql, GuardPolicy("postgresql", default_schema="public"))
        except QueryRefused:
            continue
        if not one.runs:
            continue
        original = result(server, one.sql)
        accepted += 1
        assert result(server, statement) == original, statement
    assert accepted > 480


def test_benchmarks_that_postgresql_can_run_pass_and_give_the_same(server: psycopg.Connection[Any]) -> None:
    """Some of the corpora's statements are written for MySQL."""
    ran, rows = 0, 0
    for title, sql in BENCHMARKS:
        try:
            original = result(server, sql)
        except psycopg.Error:
            continue
        ran += 1
        rows += len(original[1])
        assert result(server, check(sql, GuardPolicy("postgresql", default_schema="public"))) == original, title
    assert ran > 60
    assert rows > 100


def test_what_postgresql_can_parse_of_tpc_ds_passes(server: psycopg.Connection[Any]) -> None:
    """Its tables are not there: the server finds that out only once it has parsed the statement."""
    parsed = 0
    for title, sql in statements("tpcds"):
        if title in MYSQL_ONLY:
            continue
        with pytest.raises(psycopg.Error) as original:
            result(server, sql)
        if isinstance(original.value, psycopg.errors.UndefinedTable):
            parsed += 1
            with pytest.raises(psycopg.errors.UndefinedTable):
                result(server, check(sql, GuardPolicy("postgresql", default_schema="public")))
    assert parsed > 20


def test_less_than_two_in_a_thousand_legitimate_statements_are_refused_and_those_are_listed() -> None:
    """``python tests/guard_corpora.py`` rewrites the list: an added or removed line is a change for callers."""
    refused = refused_as_listed("postgresql")
    assert len(refused) < 0.002 * (len(SEEDS) + len(BENCHMARKS))
    listed = (CORPUS / "refused_postgresql.txt").read_text("utf-8").splitlines()
    assert refused == [line for line in listed if not line.startswith("# ")]
