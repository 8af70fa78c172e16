"""Names of files as people see them, without invisible characters."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import pytest

from fluxport.errors import Refused
from fluxport.file_names import VALUE_MAX, fields, file_name
from fluxport.headers import content_disposition

NOW = datetime(2026, 1, 31, tzinfo=UTC)
UNSEEN = "\u202e\u202a\u2066\u2069\u200e\u200f\u061c\u200b\ufeff\u00ad\x85\ud800"


@pytest.mark.parametrize("mark", UNSEEN)
def test_marks_of_direction_and_what_else_is_not_seen_leave_a_name(mark: str) -> None:
    """``annual\u202egpj`` would be shown as another kind of file than it is."""
    assert file_name(f"annual{mark}fdp", ".csv", export_id="id", now=NOW) == "annualfdp.csv"
    header = content_disposition(f"annual{mark}fdp.csv")
    assert unquote(header).count("annualfdp.csv") == 2


def test_names_in_every_script_stay() -> None:
    for name in ("Übersicht ☃", "отчёт", "報告書", "تقرير"):
        assert file_name(name, ".csv", export_id="id", now=NOW) == f"{name}.csv"
        assert unquote(content_disposition(f"{name}.csv")).endswith(f"{name}.csv")


def named(template: str, params: Any = None, **values: str | None) -> str:
    return file_name(template, ".csv", export_id="id", now=NOW, given=fields(params, **values))


def test_a_name_has_the_values_of_its_export() -> None:
    values: dict[str, Any] = {"dataset": "orders", "user": "ann", "connection": "shop"}
    template = "{dataset}-{user}-{connection}-{param.status}-{date}-{job_id}"
    assert named(template, {"status": "OPEN"}, **values) == "orders-ann-shop-OPEN-2026-01-31-id.csv"
    assert named("{user}{user}", user="ann") == "annann.csv"
    given = {"n": 5, "d": Decimal("1.50"), "b": True, "day": date(2026, 1, 2), "l": ["a", "b", 3], "note.not": "x"}
    assert named("{param.n} {param.d} {param.b} {param.day} {param.l} {param.note.not}", given) == (
        "5 1.50 true 2026-01-02 a,b,3 x.csv"
    )


@pytest.mark.parametrize("value", [None, "", [], [[["a"]]], {}, {"a": 1}, object(), b"a", "\u202e", " "])
def test_a_field_without_a_value_is_refused(value: Any) -> None:
    """Never an empty place in the name."""
    with pytest.raises(Refused, match="for which this export has no value") as caught:
        named("a-{param.x}", {"x": value})
    assert caught.value.code == "bad_filename"


@pytest.mark.parametrize("field", ["user", "dataset", "connection", "param.a", "param."])
def test_an_export_without_such_a_value_is_told_so(field: str) -> None:
    nothing: dict[str, Any] = {"user": None, "dataset": "", "connection": None}
    for params, values in ((None, {}), (["a"], {}), ({}, nothing)):
        with pytest.raises(Refused, match=rf"'filename' has \{{{field}\}}, for which this export has no value"):
            named(f"{{{field}}}", params, **values)


@pytest.mark.parametrize("field", ["usr", "part", "params.a", "", "User"])
def test_an_unknown_field_is_refused_with_those_that_exist(field: str) -> None:
    with pytest.raises(Refused, match=r"\{date\}, \{time\}, \{dataset\}, \{user\}, \{connection\}, \{param.NAME\}"):
        named(f"{{{field}}}", {"a": 1}, user="ann")


HOSTILE = [
    "../../etc/passwd",
    "..\\..\\boot",
    "/etc/passwd",
    "C:\\x",
    "a\0b",
    "a\r\nSet-Cookie: b",
    "\u202efdp.exe",
    "..x",
]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", ["user", "dataset", "connection", "param.x"])
def test_a_value_is_never_a_path_or_a_header(value: str, field: str) -> None:
    name = named(f"{{{field}}}", {"x": value}, user=value, dataset=value, connection=value)
    assert not set(name) & set("/\\:\0\r\n\u202e")
    assert name.strip(". ") == name
    assert name.endswith(".csv")


@pytest.mark.parametrize("value", [".", "..", " . "])
def test_a_name_of_dots_is_refused(value: str) -> None:
    with pytest.raises(Refused, match="'filename' has no usable character"):
        named("{param.x}", {"x": value})


def test_a_value_is_no_template_and_leaves_room_for_the_rest() -> None:
    assert named("{param.x}-{date}", {"x": "{date}{user}"}, user="ann") == "(date)(user)-2026-01-31.csv"
    parts: dict[str, Any] = {"export_id": "id", "now": NOW, "numbered": True, "given": fields({"x": "{part}"})}
    assert file_name("{param.x}-{part}", ".csv", **parts) == "(part)-{part}.csv"
    long = named("{param.x}-{user}-{date}", {"x": "x" * 10_000}, user="y" * 10_000)
    assert long == f"{'x' * VALUE_MAX}-{'y' * VALUE_MAX}-2026-01-31.csv"
    assert len(named("{param.x}" * 9, {"x": "é" * 100}).encode()) <= 200
