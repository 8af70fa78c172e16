"""What the guard refuses, with which code, and that nothing but a refusal ever comes out of it."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxport.errors import QueryRefused
from fluxport.policy.guard import GuardPolicy, check, words
from guard_corpora import accepted, attacks, legitimate

POLICY = GuardPolicy(default_schema="shop")
DIALECTS = ("mysql", "sqlite", "duckdb", "postgresql")
ATTACKS = [(dialect, code, sql) for dialect in DIALECTS for code, sql in attacks(dialect)]


def refusal(sql: str, policy: GuardPolicy = POLICY) -> QueryRefused:
    with pytest.raises(QueryRefused) as caught:
        check(sql, policy)
    return caught.value


@pytest.mark.parametrize(("dialect", "code", "sql"), ATTACKS, ids=[f"{d} {s[:60]!a}" for d, _, s in ATTACKS])
def test_an_attack_is_refused_with_its_code_and_one_sentence(dialect: Any, code: str, sql: str) -> None:
    error = refusal(sql, GuardPolicy(dialect, default_schema="main"))
    assert error.code == code
    assert re.fullmatch(r"[A-Z$].{20,300}\.", error.message), error.message


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(ATTACKS) >= 600


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT '{'a' * 70_000}'",
        f"SELECT '{'é' * 33_000}'",
        "SELECT " + "+".join(["1"] * 30_000),
        "SELECT " + ",".join(["1"] * 5_000),
        "SELECT * FROM " + ", ".join(f"t{i}" for i in range(65)),
    ],
)
def test_a_statement_beyond_the_caps_is_too_large(sql: str) -> None:
    assert refusal(sql).code == "query_too_large"


@pytest.mark.parametrize(
    ("just_within", "just_beyond", "code"),
    [
        (f"SELECT '{'a' * 65_527}'", f"SELECT '{'a' * 65_528}'", "query_too_large"),  # 65,536 bytes
        (f"SELECT 'a{'é' * 32_763}'", f"SELECT 'a{'é' * 32_763}b'", "query_too_large"),  # the same in UTF-8
        ("SELECT " + ",".join(["1"] * 2_500), "SELECT DISTINCT " + ",".join(["1"] * 2_500), "query_too_large"),
        (
            "SELECT 1 FROM " + ", ".join(f"t{i}" for i in range(64)),
            "SELECT 1 FROM " + ", ".join(f"t{i}" for i in range(65)),
            "query_too_large",
        ),
        (f"SELECT {'(' * 50}1{')' * 50}", f"SELECT {'(' * 51}1{')' * 51}", "query_too_deep"),
        ("SELECT 1 FROM a" + " JOIN b" * 6, "SELECT 1 FROM a" + " JOIN b" * 7, "query_too_deep"),
    ],
    ids=["bytes", "bytes of UTF-8", "tokens", "tables", "depth", "joins"],
)
def test_a_cap_allows_its_number_and_not_one_more(just_within: str, just_beyond: str, code: str) -> None:
    check(just_within, POLICY)
    assert refusal(just_beyond).code == code


@pytest.mark.parametrize("comment", ["/*/* a */", "/* /* a */", "/* a */*/* b /* c */"])
def test_a_comment_in_a_comment_is_refused(comment: str) -> None:
    """Databases differ in where such a comment ends."""
    assert refusal(f"SELECT {comment} 1").code == "query_comment"


@pytest.mark.parametrize(
    ("dialect", "just_within", "just_beyond"),
    [
        ("mysql", "SPACE(10000)", "SPACE(10001)"),
        ("mysql", "RPAD(a, 10000, 'x')", "RPAD(a, 10001, 'x')"),
        ("mysql", "CAST(a AS BINARY(10000))", "CAST(a AS BINARY(10001))"),
        ("mysql", "REPEAT('x', 10000)", "REPEAT('x', 10001)"),
        ("mysql", "REPEAT(REPEAT('x', 1000), 1000)", "REPEAT(REPEAT('x', 1000), 1001)"),
        ("sqlite", "zeroblob(10000)", "zeroblob(10001)"),
        ("sqlite", "printf('%10000d', a)", "printf('%10001d', a)"),
        ("sqlite", "printf('%.10000f', a)", "printf('%.10001f', a)"),
        ("sqlite", "printf('%-010000d', a)", "printf('%-0100000d', a)"),
        ("sqlite", "printf('%*d', 10000, a)", "printf('%*d', 10001, a)"),
        ("duckdb", "format('{:10000}', a)", "format('{:10001}', a)"),
        ("postgresql", "repeat('x', 10000)", "repeat('x', 10001)"),
        ("postgresql", "repeat('xxxxxxxxxx', 5000 * 2)", "repeat('xxxxxxxxxx', 5001 * 2)"),
        ("postgresql", "repeat(v, 1000)", "repeat(v, 1001)"),
        ("postgresql", "lpad(v, 10000)", "lpad(v, 10001)"),
        ("postgresql", "rpad(v, a % 10000)", "rpad(v, a % 10001)"),
        ("postgresql", "array_fill(0, ARRAY[100, 100])", "array_fill(0, ARRAY[100, 101])"),
        ("postgresql", "a::char(10000)", "a::char(10001)"),
        ("postgresql", "format('%10000s|%-5s', a, v)", "format('%10001s|%-5s', a, v)"),
        ("postgresql", "format('%*s', 10000, v)", "format('%*s', 10001, v)"),
    ],
)
def test_a_length_in_a_call_may_reach_its_bound_and_not_exceed_it(
    dialect: Any, just_within: str, just_beyond: str
) -> None:
    check(f"SELECT {just_within} FROM t", GuardPolicy(dialect))
    assert refusal(f"SELECT {just_beyond} FROM t", GuardPolicy(dialect)).code == "query_amplifier"


@pytest.mark.parametrize(
    ("dialect", "just_within", "just_beyond", "code"),
    [
        ("mysql", "seq_1_to_1000000", "seq_1_to_1000001", "query_table"),
        ("mysql", "seq_1000000_to_1", "seq_1000000_to_0", "query_table"),
        ("mysql", "seq_0_to_1999999_step_2", "seq_0_to_2000000_step_2", "query_table"),
        ("sqlite", "generate_series(1, 1000000)", "generate_series(1, 1000001)", "query_amplifier"),
        ("sqlite", "generate_series(0, 1999999, 2)", "generate_series(0, 2000000, 2)", "query_amplifier"),
        ("duckdb", "generate_series(1, 1000000)", "generate_series(1, 1000001)", "query_amplifier"),
        ("duckdb", "range(1000000)", "range(1000001)", "query_amplifier"),  # without its end
        ("duckdb", "range(0, 2000000, 2)", "range(0, 2000001, 2)", "query_amplifier"),
        ("postgresql", "generate_series(1, 1000000)", "generate_series(1, 1000001)", "query_amplifier"),
        ("postgresql", "generate_series(0, 1999999, 2)", "generate_series(0, 2000000, 2)", "query_amplifier"),
    ],
)
def test_a_generator_may_produce_a_million_rows_and_not_one_more(
    dialect: Any, just_within: str, just_beyond: str, code: str
) -> None:
    check(f"SELECT * FROM {just_within}", GuardPolicy(dialect))
    assert refusal(f"SELECT * FROM {just_beyond}", GuardPolicy(dialect)).code == code


def test_the_caps_apply_to_the_given_text_and_not_to_the_rewritten_one() -> None:
    assert len(check("SELECT " + ",".join(["a+1"] * 1_200) + " FROM t", POLICY)) > 20_000


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("(", ")"),
        ("ABS(", ")"),
        ("(SELECT ", ")"),
        ("CASE WHEN 1 THEN ", " END"),
        ("NOT ", ""),
        ("- ", ""),
        ("BINARY ", ""),
        ("1 IN (", ")"),
        ("EXISTS (SELECT ", ")"),
        ("IF(1, ", ", 2)"),
        ("CHAR(", ")"),
    ],
)
def test_nesting_up_to_the_cap_passes_and_beyond_it_is_refused(before: str, after: str) -> None:
    check(f"SELECT {before * 48}1{after * 48}", POLICY)
    assert refusal(f"SELECT {before * 51}1{after * 51}").code == "query_too_deep"


def test_the_depth_cap_does_not_depend_on_the_callers_stack() -> None:
    """The accepted depth does not depend on the depth of the caller's stack."""

    def at_depth(frames: int) -> str:
        return at_depth(frames - 1) if frames else check(f"SELECT {'(' * 48}1{')' * 48}", POLICY)

    limit = sys.getrecursionlimit()
    assert at_depth(limit - 300).startswith("SELECT ((")
    assert sys.getrecursionlimit() == limit


@pytest.mark.parametrize(
    "word", ["BINARY", "CHAR", "DECIMAL", "DOUBLE", "SIGNED", "UNION", "JSON", "MAP", "STRUCT", "ROW"]
)
def test_nested_type_names_take_no_more_time_than_others(word: str) -> None:
    """A parser that tries types before functions takes 2^n steps here; this test would not end."""
    for shape in (f"{word}(", f"({word} ", f"{word}(1, ", f"CASE WHEN ({word} ("):
        try:
            check(f"SELECT {shape * 20}1{')' * shape.count('(') * 20}", POLICY)
        except QueryRefused:
            continue


def test_many_joins_without_a_condition_are_refused_before_they_are_parsed() -> None:
    assert refusal("SELECT * FROM a" + " JOIN b" * 40).code == "query_too_deep"
    check("SELECT * FROM a" + " CROSS JOIN b" * 40, POLICY)
    check("SELECT * FROM a" + " JOIN b USING (id)" * 40, POLICY)


def test_only_open_schemas_and_tables_may_be_read() -> None:
    tables = frozenset({"orders", "stock.items"})
    policy = GuardPolicy(default_schema="shop", schemas=frozenset({"stock"}), tables=tables)
    for sql in ("SELECT 1 FROM orders", "SELECT 1 FROM shop.orders", "SELECT 1 FROM stock.items"):
        check(sql, policy)
    for sql, code in [
        ("SELECT 1 FROM hr.orders", "query_schema"),
        ("SELECT 1 FROM items", "query_table"),
        ("SELECT 1 FROM stock.orders", "query_table"),
        ("SELECT 1 FROM ORDERS", "query_table"),
        ("SELECT 1 FROM orders o JOIN secret s ON 1 = 1", "query_table"),
        ("SELECT (SELECT 1 FROM secret)", "query_table"),
        ("WITH a AS (SELECT 1 FROM secret) SELECT 1 FROM a", "query_table"),
        ("SELECT LEFT('a', 1, (SELECT 1 FROM secret))", "query_table"),
    ]:
        assert refusal(sql, policy).code == code, sql


@pytest.mark.parametrize(
    "sql",
    [
        "WITH secret AS (SELECT 1 FROM secret) SELECT 1 FROM secret",
        "SELECT 1 FROM (WITH secret AS (SELECT 1) SELECT 1 FROM secret) q, secret",
        "WITH a AS (SELECT 1 FROM secret), secret AS (SELECT 1) SELECT 1 FROM a, secret",
        "SELECT (WITH secret AS (SELECT 1) SELECT 1 FROM secret), 1 FROM secret",
        "(WITH secret AS (SELECT 1) SELECT 1 FROM secret) UNION SELECT 1 FROM secret",
        "WITH a AS (WITH secret AS (SELECT 1) SELECT 1 FROM secret) SELECT 1 FROM secret",
        "WITH secret AS (SELECT 1) SELECT 1 FROM shop.secret",
        "WITH `Secret` AS (SELECT 1), a AS (SELECT 1) SELECT 1 FROM a, (SELECT 1 FROM secret) q",
    ],
)
def test_a_with_query_hides_a_table_only_where_it_is_in_sight(sql: str) -> None:
    policy = GuardPolicy(default_schema="shop", tables=frozenset({"orders"}))
    assert refusal(sql, policy).code in {"query_table", "query_identifier"}


def test_functions_of_the_configuration_pass() -> None:
    policy = GuardPolicy(functions=frozenset({"price_of"}))
    assert check("SELECT Price_Of(id) FROM t", policy) == "SELECT Price_Of(`id`) AS `Price_Of(id)` FROM `t`"
    assert refusal("SELECT other(id) FROM t", policy).code == "query_function"


def test_recursive_queries_may_be_switched_off() -> None:
    sql = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT i FROM n"
    check(sql, POLICY)
    assert refusal(sql, GuardPolicy(recursive=False)).code == "query_recursive"


def test_no_refusal_quotes_a_literal_in_its_message_or_its_causes() -> None:
    for sql in ("SELECT 'hunter2' FROM t t2 t3", "SELECT 'hunter2", "SELECT SLEEP('hunter2')", "SELECT ('hunter2'"):
        error: BaseException | None = refusal(sql)
        while error is not None:
            assert "hunter2" not in str(error)
            error = error.__cause__ or error.__context__


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The parser would log what it cannot parse; statements must not be logged."""
    for _, _, sql in ATTACKS:
        with contextlib.suppress(QueryRefused):
            check(sql, POLICY)
    with contextlib.suppress(QueryRefused):
        check("WITH a AS SET NAMES gbk SELECT js->'hunter2' FETCH", POLICY)
    assert caplog.records == []


def test_most_refusals_need_no_parser() -> None:
    """sqlglot is heavy to import; a statement that is refused on sight does not wait for it."""
    program = (
        "import sys; from fluxport.policy.guard import GuardPolicy, check\n"
        "try: check('SELECT 1 INTO OUTFILE \"x\"', GuardPolicy())\n"
        "except Exception as error: print(error.code, 'sqlglot' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["query_into", "False"]


STATEMENTS = [(sql, policy) for _, sql, policy in accepted()] + [
    (one.sql, GuardPolicy(dialect)) for dialect in words.FUNCTIONS for one in legitimate(dialect)
]
PIECES = sorted(
    {piece for _, _, sql in ATTACKS for piece in re.findall(r"[\w@]+|\s+|'[^']*'|/\*.*?\*/|--|.", sql)}
    | {"INTO OUTFILE '/tmp/x'", "/*!50000 ", "mysql.user", "SLEEP(9)", "; ", "FOR UPDATE", "@@version", "\\", "''"}
)
QUOTED = {
    "mysql": re.compile(
        r"(?:\b(?:[xXbBnN]|_\w+ ?))?'(?:[^'\\]|''|\\.)*'|`(?:[^`]|``)*`|\b_\w+ (?=0[xb]|[xXbB]')", re.DOTALL
    ),
    "sqlite": re.compile(r"(?:\b[xX])?'(?:[^']|'')*'|`(?:[^`]|``)*`", re.DOTALL),
    "duckdb": re.compile(
        r"\b[eE]'(?:[^'\\]|''|\\.)*'|(?:\b[xX])?'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$\$.*?\$\$", re.DOTALL
    ),
}
FORBIDDEN = {
    "mysql": r"[;@#\\{}$\"'`]|--|/\*|\*/",
    "sqlite": r"[;@#\\{}$\"'`]|--|/\*|\*/",
    "duckdb": r"[;\\$\"'`]|(?<![<^])@(?!>)|#(?![0-9])|--|/\*|\*/",
}
KNOWN = {
    dialect: words.KEYWORDS[dialect]
    | words.HIDDEN_WORDS[dialect]
    | words.FUNCTIONS[dialect]
    | words.TABLE_FUNCTIONS[dialect]
    | {name.upper() for name in words.CHARSETS}
    | {"NOCASE", "RTRIM"}
    for dialect in words.KEYWORDS
}


def assert_harmless(sql: str, policy: GuardPolicy) -> None:
    """A refusal, or a statement that passes again unchanged and has no word outside of the lists."""
    try:
        statement = check(sql, policy)
    except QueryRefused:
        return
    assert check(statement, policy) == statement
    bare = QUOTED[policy.dialect].sub(" ", statement)
    assert not re.search(FORBIDDEN[policy.dialect], bare), statement
    found = {word.upper() for word in re.findall(r"(?<![\w:])[A-Za-z_]\w*", bare)}
    assert {word for word in found if word.partition("_")[0].lower() not in words.CHARSETS} <= KNOWN[policy.dialect]


@pytest.mark.slow
@given(st.data())
@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_legitimate_statement_with_pieces_of_attacks_is_refused_or_harmless(data: st.DataObject) -> None:
    sql, policy = data.draw(st.sampled_from(STATEMENTS))
    parts = re.findall(r"\w+|\s+|.", sql, re.DOTALL)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(parts)))
        piece = data.draw(st.sampled_from(PIECES) | st.sampled_from(parts))
        parts[place : place + data.draw(st.integers(0, 2))] = [" ", piece, " "] if data.draw(st.booleans()) else [piece]
    assert_harmless("".join(parts), policy)


@given(st.lists(st.sampled_from(PIECES), max_size=25), st.sampled_from(["mysql", "sqlite", "duckdb"]))
@settings(max_examples=300, deadline=None)
def test_pieces_of_attacks_in_any_order_are_refused_or_harmless(pieces: list[str], dialect: Any) -> None:
    assert_harmless("SELECT " + " ".join(pieces), GuardPolicy(dialect))


@pytest.mark.slow
@given(st.text(max_size=80), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_text_is_refused_or_harmless(text: str, selects: bool) -> None:
    assert_harmless(f"SELECT {text}" if selects else text, POLICY)


PRINTED = st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Cn", "Co"]) | st.sampled_from(
    "\t\n\\'\"`;%_"
)


@given(st.text(PRINTED, max_size=40))
@settings(max_examples=200, deadline=None)
def test_a_string_keeps_its_value(value: str) -> None:
    """Unescaping by the same rules yields the original text."""
    statement = check("SELECT '" + value.replace("\\", "\\\\").replace("'", "''") + "'", POLICY)
    body = statement.removeprefix("SELECT '").removesuffix("'").replace("''", "'")
    assert json.loads('"' + body.replace('"', '\\"').replace("\t", "\\t") + '"') == value
