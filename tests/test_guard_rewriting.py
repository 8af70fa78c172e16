"""How the guard rewrites a statement."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fluxport.policy.guard import GuardPolicy, check
from guard_corpora import GOLDEN, accepted

PLAIN = GuardPolicy()


def test_every_accepted_statement_is_written_as_the_golden_file_has_it() -> None:
    """A parser version that reads one of them differently is detected here (tests/guard_corpora.py writes the file)."""
    assert {title: check(sql, policy) for title, sql, policy in accepted()} == json.loads(GOLDEN.read_text("utf-8"))


def test_the_rewritten_statement_comes_out_of_the_guard_unchanged() -> None:
    for _, sql, policy in accepted():
        statement = check(sql, policy)
        assert check(statement, policy) == statement


@pytest.mark.parametrize(
    ("sql", "statement"),
    [
        ("select a from t -- x\n;", "select `a` from `t`"),
        ("SELECT a /* , b */ FROM t # c", "SELECT `a` FROM `t`"),
        ('SELECT "a""b", "it\'s"', "SELECT 'a\"b', 'it''s'"),
        (r"SELECT 'a\'b\\c\nd\%'", r"SELECT 'a''b\\c\nd\\%'"),
        ("SELECT a.b.c, a . b, a.* FROM a.b", "SELECT `a`.`b`.`c`, `a`.`b`, `a`.* FROM `a`.`b`"),
        ("SELECT COUNT( * ) n", "SELECT COUNT(*) `n`"),
        ("SELECT count(*)", "SELECT count(*)"),
        ("SELECT a+1 FROM t", "SELECT `a` + 1 AS `a+1` FROM `t`"),
        ("SELECT 1, /* two */ a+1 FROM t", "SELECT 1, `a` + 1 AS `a+1` FROM `t`"),
        ("SELECT a + INTERVAL 1 DAY 'next' FROM t", "SELECT `a` + INTERVAL 1 DAY 'next' FROM `t`"),
        ("SELECT 1+/*x*/1", "SELECT 1 + 1 AS `1+/*x*/1`"),
        ("SELECT `a``b`*2 FROM t", "SELECT `a``b` * 2 AS ```a````b``*2` FROM `t`"),
        ("SELECT -1, - a, 1 - -1", "SELECT -1, -`a` AS `- a`, 1 - -1"),
        ("SELECT date, `select` FROM t", "SELECT `date`, `select` FROM `t`"),
        ("SELECT 1 FROM dual", "SELECT 1 FROM dual"),
        ("SELECT utc_date, now()", "SELECT utc_date, now()"),
        ("SELECT timestampdiff(day, a, b) d FROM t", "SELECT timestampdiff(day, `a`, `b`) `d` FROM `t`"),
        (
            "SELECT a FROM t WHERE x = 'ß' COLLATE utf8mb4_bin",
            "SELECT `a` FROM `t` WHERE `x` = 'ß' COLLATE utf8mb4_bin",
        ),
    ],
)
def test_a_statement_is_written_in_one_way(sql: str, statement: str) -> None:
    assert check(sql, PLAIN) == statement


def test_tables_take_the_default_schema_and_with_queries_do_not() -> None:
    sql = "WITH c AS (SELECT id FROM a) SELECT c.id, b.id FROM c JOIN b ON b.id = c.id JOIN other.c ON 1 = 1"
    assert check(sql, GuardPolicy(default_schema="my shop")) == (
        "WITH `c` AS (SELECT `id` FROM `my shop`.`a`) SELECT `c`.`id`, `b`.`id` FROM `c` JOIN `my shop`.`b` "
        "ON `b`.`id` = `c`.`id` JOIN `other`.`c` ON 1 = 1"
    )


def test_names_are_quoted_as_each_database_does() -> None:
    sql = "SELECT a, 'it''s' FROM t"
    assert check(sql, GuardPolicy("mysql")) == "SELECT `a`, 'it''s' FROM `t`"
    assert check(sql, GuardPolicy("sqlite")) == "SELECT `a`, 'it''s' FROM `t`"
    assert check(sql, GuardPolicy("duckdb")) == "SELECT \"a\", 'it''s' FROM \"t\""


@pytest.mark.parametrize("dialect", ["mysql", "sqlite", "duckdb"])
@pytest.mark.parametrize(
    "condition",
    [
        "= ?",
        "IN (?, ?)",
        "BETWEEN ? AND ?",
        "= :id",
        "IN (:a, :b_2)",
        "= :date OR 1 = :from",
        "= ? LIMIT ?",
        "> CAST(? AS CHAR)",
    ],
)
def test_bound_parameters_retain_their_names_and_positions(dialect: Any, condition: str) -> None:
    statement = check(f"SELECT 1 FROM t WHERE id {condition}", GuardPolicy(dialect, params=True))
    assert statement.split(" WHERE ")[1].partition(" ")[2] == condition


def test_a_parameter_in_a_result_column_does_not_change_the_header() -> None:
    policy = GuardPolicy(params=True)
    assert check("SELECT ?, :a, ? +1", policy) == "SELECT ?, :a, ? + 1 AS `? +1`"


def test_headers_are_cut_where_the_server_cuts_them() -> None:
    header = check("SELECT " + "+".join(["1"] * 200), PLAIN).rpartition(" AS ")[2]
    assert header == "`" + ("1+" * 128)[:255] + "`"


@pytest.mark.parametrize("words", ["long varchar", "character set", "current date", "char varying", "primary key"])
def test_two_words_that_are_one_to_the_parser_are_a_column_and_its_alias(words: str) -> None:
    column, alias = words.split()
    statement = check(f"SELECT {words} FROM t", GuardPolicy("sqlite", default_schema="main"))
    assert statement == f"SELECT `{column}` `{alias}` FROM `main`.`t`"
