"""Declarations: every mistake is refused before anything runs, with the dataset's name and the place."""

from __future__ import annotations

from typing import Any

import pytest

from fluxport.datasets import parse_datasets
from fluxport.errors import Refused

RIGHT: dict[str, Any] = {
    "query": "SELECT a FROM t WHERE u = :user AND {filters}",
    "columns": {"a": "integer"},
    "filters": {"a": {"type": "text", "where": "a = :a"}},
    "order": "a",
}


def changed(**keys: Any) -> dict[str, Any]:
    return {key: value for key, value in (RIGHT | keys).items() if value is not None}


def filtered(**keys: Any) -> dict[str, Any]:
    return changed(filters={"a": keys})


ENDS = {"where_min": "a >= :low", "where_max": "a <= :high"}
WRONG: list[tuple[Any, str]] = [
    ("SELECT 1", "Dataset 'd': must be a mapping"),
    (changed(query=None), "Dataset 'd': 'query' is missing"),
    (changed(query=5), "Dataset 'd', query: must be SQL text"),
    (changed(query="SELECT :user;"), "one statement without ';'"),
    (changed(query={"my sql": "SELECT 1"}), "Dataset 'd', query: 'my sql' is not a dialect; write a name such"),
    (changed(query={}), "Dataset 'd', query: has no text"),
    (changed(query="SELECT a FROM t WHERE {filters}"), "must bind :user, or the scope must be 'all'"),
    (changed(query="SELECT ':user' FROM t WHERE {filters}"), "must bind :user"),
    (changed(query="SELECT a FROM t WHERE u = :user AND x = :x AND {filters}"), "binds :x; only :user is allowed"),
    (changed(query="SELECT a FROM t WHERE u = :user"), "must have {filters} once"),
    (changed(query="SELECT {filters} FROM t WHERE u = :user AND {filters}"), "must have {filters} once"),
    (changed(scope="team"), "Dataset 'd': 'scope' must be one of user, all"),
    (changed(columms={}), "Dataset 'd': unknown key 'columms'; did you mean 'columns'?"),
    (changed(columns=None), "Dataset 'd': 'columns' is missing"),
    (changed(columns={"a": "varchar"}), "Dataset 'd', column 'a': 'type' must be one of integer, decimal(18,4)"),
    (changed(columns={"a": "decimal(40,2)"}), "'type' must be one of"),
    (changed(columns={"a": "decimal(4,5)"}), "'type' must be one of"),
    (changed(columns={"a": {"type": "text", "stored": "epoch_ms"}}), "'stored' must be minor_units for a decimal"),
    (changed(columns={"a": {"type": "text", "width": "wide"}}), "'width' must be a number of characters"),
    (changed(columns={"a": {"type": "text", "as_text": "yes"}}), "'as_text' must be true or false"),
    (changed(columns={"a": {"type": "text", "lable": "A"}}), "column 'a': unknown key 'lable'; did you mean 'label'?"),
    (changed(query={"mysql": ":user {filters}", "duckdb": ":user {filters}"}, order={"mysql": "a"}),
     "'order' has no text for duckdb"),
    (changed(order={"mysql": "a"}, filters={"a": {"type": "text", "where": {"sqlite": "a = :a"}}}),
     "has no text for"),
    (changed(columns={"a": {"type": "text", "sortable": 1}}), "'sortable' must be true or false"),
    (filtered(type="like"), "Dataset 'd', filter 'a': 'type' must be one of date_range, one_of"),
    (filtered(type="text"), "filter 'a': 'where' is missing"),
    (filtered(type="text", where="a = :b"), "the condition of 'a' must bind :a"),
    (filtered(type="text", where="a = :a AND b = :b"), "binds :b, which is not its parameter"),
    (filtered(type="text", column="a", where="a = :a"), "filter 'a': has both 'column' and 'where'; give one of them"),
    (filtered(type="date_range", column="a", where_to="a < :aTo"), "has both 'column' and 'where_to'"),
    (filtered(type="text", column="a || :b"), "binds :b, which is not its parameter"),
    (filtered(type="text", match="contains", where="a LIKE :a"), "LIKE with ESCAPE '!'"),
    (
        filtered(type="text", where="a = :a", zone="UTC"),
        "filter 'a': unknown key 'zone'; choose one of: type, match, column, where",
    ),
    (filtered(type="one_of", values=[True], where="a = :a"), "'values' must be a list of texts"),
    (filtered(type="any_of", items_max=0, where="a IN (:a)"), "'items_max' must be a whole number from 1 to 10,000"),
    (filtered(type="date_range", zone="Mars", where_from="a >= :aFrom", where_to="a < :aTo"), "not an IANA time zone"),
    (filtered(type="date_range", where_from="a >= :aFrom"), "'where_to' is missing"),
    (changed(filters={"user": {"type": "text", "where": "a = :user"}}), "'user' already belongs to the calling user"),
    (
        changed(filters={n: {"type": "number_range", "min": "low", "max": n, **ENDS} for n in "ab"}),
        "filter 'b': the parameter 'low' already belongs to filter 'a'",
    ),
    (changed(order=None, filters={"n": {"type": "limit"}}), "a limit needs an 'order'"),
    (changed(filters={"n": {"type": "limit"}, "m": {"type": "limit"}}), "a dataset can have only one limit"),
    (changed(filters={"a-b": {"type": "limit"}}), "the name 'a-b' must be letters"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "said"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_a_mistake_is_refused_with_its_place(declared: Any, said: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_datasets({"d": declared})
    assert said in caught.value.message
    assert caught.value.message.startswith("Dataset 'd'")
    assert caught.value.code == "bad_configuration"


def test_every_wrong_dataset_is_named_at_once() -> None:
    with pytest.raises(Refused) as caught:
        parse_datasets({"first": {}, "right": RIGHT, "second": 5, "no name": {}})
    assert [line.split(":")[0] for line in caught.value.message.splitlines()] == [
        "Dataset 'first'",
        "Dataset 'second'",
        "Dataset 'no name'",
    ]


def test_omitted_settings_have_a_default() -> None:
    made = parse_datasets({"d": {"scope": "all", "query": "SELECT 1 AS a", "columns": {"a": "integer"}}})["d"]
    assert (made.title, made.connection, made.filters) == ("d", "main", ())
    assert made.compile("sqlite", {}, "dev") == ("SELECT 1 AS a", {})


@pytest.mark.parametrize(
    ("keys", "dialects"),
    [
        ({}, {"*"}),
        ({"order": {"mysql": "a", "mariadb_columnstore": "a"}}, {"mysql", "mariadb_columnstore"}),
        ({"query": {"postgres": RIGHT["query"], "oracle": RIGHT["query"]}}, {"postgresql", "oracle"}),
        ({"query": {"sqlite": RIGHT["query"]}, "order": {"sqlite": "a", "mysql": "a"}}, {"sqlite"}),
    ],
)
def test_a_dataset_serves_every_dialect_that_all_of_it_has_text_for(keys: Any, dialects: set[str]) -> None:
    made = parse_datasets({"d": changed(**keys)})["d"]
    assert made.dialects == dialects
    assert [made.serves(name) for name in ("mysql", "adbc+any")] == [bool({d, "*"} & dialects) for d in ("mysql", "*")]
    if "*" not in dialects:
        with pytest.raises(Refused, match="has no query for duckdb; it has: ") as caught:
            made.compile("duckdb", {}, "dev")
        assert caught.value.code == "no_query"
