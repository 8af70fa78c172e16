"""What a caller chooses of a dataset's rows, its order, a page and the operators of filters: the same declaration gives
the same rows on every database, those of an independent computation."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from datasets_support import Journal
from fluxport.datasets import Dataset, parse_datasets
from fluxport.datasets.sqltext import names_of, replaced
from fluxport.errors import QueryFailed, Refused
from fluxport.sources import open_source
from mysql_support import scratch_database
from postgres_support import scratch_postgres

DIALECTS = ["sqlite", "mysql", "postgresql", "duckdb"]
# One text for all. A sort means the result's columns: n is not the table's, and two tables have a kind.
DECLARED: dict[str, Any] = {
    "query": "SELECT t.id AS id, t.kind AS kind, -t.n AS n, t.label AS label "
    "FROM things t LEFT JOIN things u ON u.id = t.id + 1000 "
    "WHERE t.owner = :user AND {filters}",
    "order": "t.id",
    "columns": {
        "id": "integer",
        "kind": "text",
        "n": "integer",
        "label": {"type": "text", "sortable": False},
    },
    "filters": {
        "label": {"type": "text", "column": "t.label"},
        "kind": {"type": "one_of", "values": ["a", "b"], "column": "t.kind"},
        "ids": {"type": "any_of", "items": "integer", "column": "t.id"},
        "ids_1": {"type": "text", "where": "t.label = :ids_1"},
        "n": {"type": "number_range", "column": "t.n"},
        "day": {"type": "date_range", "bind": "date", "column": "t.day"},
    },
}
THINGS = parse_datasets({"things": DECLARED})["things"]


class Thing(NamedTuple):
    id: int
    owner: str
    kind: str | None
    n: int | None
    label: str | None
    day: date | None


LABELS = [None, *("".join(signs) for size in (0, 1, 2) for signs in product("a%_\\!", repeat=size)), "a%b", "it's"]
ROWS = [
    Thing(
        number,
        "dev" if number % 9 else "bob",
        [None, "b", "a"][number % 3],
        None if number % 5 == 0 else number % 4,
        label,
        None if number % 2 else date(2026, 1, 1 + number % 28),
    )
    for number, label in enumerate(LABELS * 2, 1)
]
OWN = [row for row in ROWS if row.owner == "dev"]
COLUMNS = "id INTEGER PRIMARY KEY, owner VARCHAR(9), kind VARCHAR(9), n INTEGER, label VARCHAR(20), day DATE"
Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Read]]:
    """The rows of a dataset by dialect."""
    insert = "INSERT INTO things VALUES (%s, %s, %s, %s, %s, %s)"
    file = tmp_path_factory.mktemp("things") / "things.db"
    with ExitStack() as stack:
        mariadb = stack.enter_context(scratch_database())
        postgres = stack.enter_context(scratch_postgres())
        for server in (mariadb, postgres):
            server.run(f"CREATE TABLE things ({COLUMNS})")
            server.insert(insert, [tuple(row) for row in ROWS])
        embedded = stack.enter_context(duckdb.connect())
        with sqlite3.connect(file) as lite:
            for engine in (lite, embedded):
                engine.execute(f"CREATE TABLE things ({COLUMNS})")
                texts = [(*row[:5], row.day and str(row.day)) for row in ROWS]
                engine.executemany(insert.replace("%s", "?"), texts)
        lite.close()
        urls = {"sqlite": f"sqlite:///{file}", "mysql": mariadb.url, "postgresql": postgres.url}
        yield {dialect: reader(dialect, url) for dialect, url in urls.items()} | {"duckdb": duckdb_reader(embedded)}


def reader(dialect: str, url: str) -> Read:
    journal = Journal(dialect, url)
    return lambda made=THINGS, **chosen: journal.read(made, **chosen).to_pylist()


def duckdb_reader(connection: duckdb.DuckDBPyConnection) -> Read:
    """By DuckDB itself."""

    def read(made: Dataset = THINGS, params: Any = None, **rows: Any) -> list[dict[str, Any]]:
        query, values = made.compile("duckdb", params or {}, "dev", **rows)
        marked = replaced(query, {name: f"${name}" for name in names_of(query)})
        found = connection.execute(marked, values)
        return [dict(zip([column[0] for column in found.description], row, strict=True)) for row in found.fetchall()]

    return read


def shown(rows: list[Thing]) -> list[dict[str, Any]]:
    return [{"id": r.id, "kind": r.kind, "n": None if r.n is None else -r.n, "label": r.label} for r in rows]


def in_order(keys: str) -> list[dict[str, Any]]:
    """All own rows: NULL is the smallest value, equal rows are in the declared order."""
    rows = shown(OWN)
    for key in reversed(keys.split(",")):
        name = key.removeprefix("-")
        rows.sort(key=lambda row: (row[name] is not None, row[name] or 0 if name != "kind" else row[name] or ""),
                  reverse=key.startswith("-"))  # fmt: skip
    return rows


# -- sort and pages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("sort", ["kind", "-kind", "n,-kind", "-n,kind", "-id", "kind,-id"])
def test_rows_are_sorted_by_columns_of_the_result(databases: dict[str, Read], dialect: str, sort: str) -> None:
    expected = in_order(sort)
    assert {row[sort.strip("-").split(",")[0]] for row in expected} & {None, 1}, "there are NULLs, or keys"
    assert databases[dialect](sort=sort) == expected
    as_objects = [{"column": key.strip("-"), "descending": key.startswith("-")} for key in sort.split(",")]
    assert databases[dialect](sort=as_objects) == expected


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("sort", [None, "kind", "-n,kind"])
def test_pages_are_the_whole_without_a_gap_or_a_repetition(
    databases: dict[str, Read], dialect: str, sort: str | None
) -> None:
    size, found, offset = 17, list[dict[str, Any]](), 0
    while page := databases[dialect](sort=sort, limit=size, offset=offset):
        assert len(page) <= size
        found, offset = found + page, offset + size
    assert found == in_order(sort or "id")
    assert databases[dialect](sort=sort, limit=size) == found[:size]
    assert databases[dialect](limit=2**53 - 1, offset=2**53 - 1) == []


def test_sort_page_and_filters_apply_together(databases: dict[str, Read]) -> None:
    kept = [row for row in in_order("-n") if row["kind"] == "a"]
    for read in databases.values():
        assert read(params={"kind": "a"}, sort="-n", limit=5, offset=3) == kept[3:8]


def test_names_are_quoted_as_the_database_quotes_them(tmp_path: Path) -> None:
    """The quotes themselves are characters of a name. SQLite would read an unknown name in double quotes as text, and
    leave the rows unsorted."""
    name = """x"`); DROP TABLE things; --"""
    columns = {"id": "integer", name: "integer", "other": "integer"}
    for dialect, quoted in (("sqlite", '"x""`); DROP TABLE things; --"'), ("mysql", '`x"``); DROP TABLE things; --`')):
        query = f"SELECT id, -id AS {quoted} FROM (SELECT 1 AS id UNION SELECT 2) AS t WHERE {{filters}}"
        made = parse_datasets({"d": {"query": query, "columns": columns, "order": "id", "scope": "all"}})["d"]
        text, _ = made.compile(dialect, {}, "", sort=[name])
        assert text.splitlines()[-1] == 'ORDER BY `x"``); DROP TABLE things; --` ASC, id'
        if dialect == "sqlite":
            lite = sqlite3.connect(":memory:")
            assert [row[0] for row in lite.execute(text)] == [2, 1]
            lite.close()
            source = open_source(f"sqlite:///{tmp_path}/new.db", made.compile(dialect, {}, "", sort=["other"])[0])
            with pytest.raises(QueryFailed):
                _ = source.schema
            source.close()
    text, _ = made.compile("postgresql", {}, "", sort=[f"-{name}"])
    assert text.splitlines()[-1] == 'ORDER BY "x""`); DROP TABLE things; --" DESC NULLS LAST, id'


CLAUSES = [
    ("mysql", "`n` DESC, t.id\nLIMIT 5 OFFSET 3"),
    ("mssql", '"n" DESC, t.id\nOFFSET 3 ROWS FETCH NEXT 5 ROWS ONLY'),
    ("oracle", '"n" DESC NULLS LAST, t.id\nOFFSET 3 ROWS FETCH NEXT 5 ROWS ONLY'),
    ("bigquery", "`n` DESC NULLS LAST, t.id\nLIMIT 5 OFFSET 3"),
    ("adbc+any", '"n" DESC NULLS LAST, t.id\nLIMIT 5 OFFSET 3'),
]


@pytest.mark.parametrize(("dialect", "clauses"), CLAUSES)
def test_other_dialects_get_the_clauses_that_they_have(dialect: str, clauses: str) -> None:
    assert THINGS.compile(dialect, {}, "dev", sort="-n", limit=5, offset=3)[0].partition("ORDER BY ")[2] == clauses


UNORDERED = parse_datasets({"d": {key: value for key, value in DECLARED.items() if key != "order"}})["d"]
LIMITED = parse_datasets({"d": DECLARED | {"filters": {"most": {"type": "limit"}}}})["d"]
WRONG: list[tuple[Dataset, dict[str, Any], str, str]] = [
    (THINGS, {"sort": "kinds"}, "unknown_column", "Unknown column 'kinds' of dataset 'things'; did you mean 'kind'?"),
    (THINGS, {"sort": "t.id"}, "unknown_column", "Unknown column 't.id' of dataset 'things'"),
    (THINGS, {"sort": "day"}, "unknown_column", "it has: id, kind, n, label."),
    (THINGS, {"sort": "label"}, "bad_sort", "cannot be sorted by 'label'; choose among: id, kind, n."),
    (THINGS, {"sort": "id,-id"}, "bad_sort", "has the column 'id' twice"),
    (THINGS, {"sort": ""}, "bad_sort", "'sort' is a list of columns"),
    (THINGS, {"sort": "id,"}, "bad_sort", "'sort' is a list of columns"),
    (THINGS, {"sort": ["-"]}, "bad_sort", "'sort' is a list of columns"),
    (THINGS, {"sort": 1}, "bad_sort", "'sort' is a list of columns"),
    (THINGS, {"sort": [{"column": "id", "descending": 1}]}, "bad_sort", "'sort' is a list of columns"),
    (THINGS, {"sort": [{"column": "id", "nulls": "last"}]}, "bad_sort", "'sort' is a list of columns"),
    (THINGS, {"offset": 5}, "bad_page", "'offset' needs 'limit'"),
    (THINGS, {"limit": 0}, "bad_page", "'limit' is a whole number from 1 to 9,007,199,254,740,991"),
    (THINGS, {"limit": "5"}, "bad_page", "'limit' is a whole number"),
    (THINGS, {"limit": True}, "bad_page", "'limit' is a whole number"),
    (THINGS, {"limit": 5, "offset": -1}, "bad_page", "'offset' is a whole number from 0"),
    (THINGS, {"limit": 5, "offset": 2**53}, "bad_page", "'offset' is a whole number from 0"),
    (UNORDERED, {"sort": "id"}, "bad_sort", "Dataset 'd' cannot be sorted: it has no 'order'"),
    (UNORDERED, {"limit": 5}, "bad_page", "Dataset 'd' has no pages: without an 'order'"),
    (LIMITED, {"limit": 5, "params": {"most": 3}}, "bad_page", "give either that or the filter"),
]


@pytest.mark.parametrize(("made", "rows", "code", "said"), WRONG)
def test_a_wrong_order_or_page_is_refused_with_what_is_right(
    made: Dataset, rows: dict[str, Any], code: str, said: str
) -> None:
    with pytest.raises(Refused) as caught:
        made.compile("mysql", rows.pop("params", {}), "dev", **rows)
    assert said in caught.value.message
    assert caught.value.code == code


def test_a_description_says_what_can_be_sorted_and_paged() -> None:
    described = THINGS.describe()
    assert {c["name"]: c["sortable"] for c in described["columns"]} == {
        "id": True, "kind": True, "n": True, "label": False,
    }  # fmt: skip
    assert described["paging"]
    assert not UNORDERED.describe()["paging"]
    assert not any(column["sortable"] for column in UNORDERED.describe()["columns"])
    types = {"j": "json", "b": "binary", "t": "text", "s": {"type": "json", "sortable": True}}
    made = parse_datasets({"d": DECLARED | {"columns": types}})["d"]
    assert [column.sortable for column in made.columns] == [False, False, True, True]


# -- operators of filters ----------------------------------------------------------------------------------------------

MATCHES: dict[str, Callable[[str, str], bool]] = {
    "equals": str.__eq__,
    "contains": str.__contains__,
    "starts_with": str.startswith,
}
VALUES = ["a", "%", "_", "\\", "!", "a%", "%_", "\\\\", "_\\", "!a", "it's", "zz"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("match", list(MATCHES))
def test_a_value_s_characters_mean_themselves(databases: dict[str, Read], dialect: str, match: str) -> None:
    """Not: all other rows, those without a value among them."""
    for value in VALUES:
        kept = [r for r in OWN if r.label is not None and MATCHES[match](r.label, value)]
        others = [r for r in OWN if r not in kept]
        assert databases[dialect](params={f"label.{match}": value}) == shown(kept), value
        assert databases[dialect](params={f"label.not.{match}": value}) == shown(others), value
        if match == "equals":
            assert databases[dialect](params={"label": value}) == shown(kept)
            assert databases[dialect](params={"label.not": value}) == shown(others)


CASES: list[tuple[dict[str, Any], Callable[[Thing], bool]]] = [
    ({"label.is_empty": True}, lambda r: not r.label),
    ({"label.is_empty": "False"}, lambda r: bool(r.label)),
    ({"kind.is_empty": "true"}, lambda r: r.kind is None),
    ({"kind.is_empty": False}, lambda r: r.kind is not None),
    ({"n.is_empty": True}, lambda r: r.n is None),
    ({"day.is_empty": True}, lambda r: r.day is None),
    ({"kind.not": "a"}, lambda r: r.kind != "a"),
    ({"ids.not": [1, 2, 3]}, lambda r: r.id not in (1, 2, 3)),
    ({"ids.not": []}, lambda r: True),
    ({"ids": [4, 5], "ids.not": [5, 6]}, lambda r: r.id == 4),
    # Names of a list's items may be those of another filter.
    ({"ids": list(range(1, 30)), "ids_1": "a"}, lambda r: r.id < 30 and r.label == "a"),
    ({"label.contains": "a", "label.not.contains": "%", "label.not.starts_with": "!"},
     lambda r: r.label is not None and "a" in r.label and "%" not in r.label and not r.label.startswith("!")),
    ({"nMin": 1, "nMax": "2"}, lambda r: r.n is not None and 1 <= r.n <= 2),
    ({"dayFrom": "2026-01-05", "dayTo": "2026-01-10"}, lambda r: r.day is not None and 5 <= r.day.day <= 10),
]  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("params", "kept"), CASES, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_operators_keep_the_same_rows_on_every_database(
    databases: dict[str, Read], dialect: str, params: dict[str, Any], kept: Callable[[Thing], bool]
) -> None:
    expected = shown([row for row in OWN if kept(row)])
    assert databases[dialect](params=params) == expected
    assert expected


def test_a_bracket_is_a_wildcard_of_one_database_only() -> None:
    for dialect, pattern in (("mssql", "%a![b!_]%"), ("postgresql", "%a[b!_]%")):
        assert THINGS.compile(dialect, {"label.contains": "a[b_]"}, "dev")[1]["label"] == pattern


BAD: list[tuple[str, Any, str, str]] = [
    ("label.is_empty", "yes", "bad_filter", "Filter 'label.is_empty' of dataset 'things' takes true or false."),
    ("label.is_empty", 1, "bad_filter", "takes true or false"),
    ("label.contains", "", "bad_filter", "Filter 'label.contains' of dataset 'things' takes text of 1 to 1,000"),
    ("label.not.contains", ["a"], "bad_filter", "'label.not.contains'"),
    ("kind.not", "c", "bad_filter", "Filter 'kind.not' of dataset 'things' takes one of a, b."),
    ("label.not.is_empty", True, "unknown_filter", "did you mean"),
    ("label.cntains", "a", "unknown_filter", "did you mean 'label.contains'?"),
    ("kind.contains", "a", "unknown_filter", "Unknown filter 'kind.contains'"),
    ("ids_1.contains", "a", "unknown_filter", "Unknown filter 'ids_1.contains'"),
    ("nMin.not", 1, "unknown_filter", "Unknown filter 'nMin.not'"),
]


@pytest.mark.parametrize(("key", "value", "code", "said"), BAD)
def test_a_wrong_operator_is_refused_with_what_is_right(key: str, value: Any, code: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        THINGS.compile("mysql", {key: value}, "dev")
    assert said in caught.value.message
    assert caught.value.code == code


def test_a_description_lists_the_operators() -> None:
    listed = {entry["name"]: entry["operators"] for entry in THINGS.describe()["filters"]}
    assert listed == {
        "label": [
            "not", "equals", "not.equals", "contains", "not.contains", "starts_with", "not.starts_with", "is_empty",
        ],
        "kind": ["not", "is_empty"],
        "ids": ["not", "is_empty"],
        "ids_1": ["not", "equals", "not.equals"],
        "n": ["is_empty"],
        "day": ["is_empty"],
    }  # fmt: skip
