"""Names of files as people see them, without invisible characters."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import unquote

import pytest

from fluxport.file_names import file_name
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
