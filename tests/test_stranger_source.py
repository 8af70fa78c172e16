"""A source of another package, on the common part of ours: the contract, and the page that shows it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

import stranger_duckdb
from fluxport.errors import Refused
from fluxport.findings import Findings
from fluxport.sources import SourceOptions
from fluxport.stages import Limits, Source
from fluxport.testing import SourceCase, SourceContract
from processes import descriptors

HOW_TO = Path(__file__).parent.parent / "docs/how-to/add-a-format.md"


def opened(file: Path, query: str) -> Source:
    options = SourceOptions()
    return stranger_duckdb.DuckDbSource(f"duckdb:///{file}", query, (), options, Findings(), Limits())


class TestDuckDb(SourceContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> SourceCase:
        file = tmp_path / "numbers.duckdb"
        duckdb.connect(str(file)).close()
        return SourceCase(
            open=lambda query: opened(file, query),
            numbers=lambda n: f"SELECT i AS id, 'row ' || i AS label FROM range(1, {n} + 1) AS r (i)",
            endless="SELECT 1 FROM range(9999) a, range(9999) b, range(9999) c, range(9999) d WHERE random() < 0",
            running=lambda: min(1, descriptors(file)),
            syntax_error="query_failed",
        )

    def test_an_empty_statement_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "rows.duckdb"
        duckdb.connect(str(file)).close()
        with pytest.raises(Refused) as caught:
            _ = opened(file, "-- nothing").schema
        assert caught.value.code == "no_result_set"


def test_the_how_to_shows_the_whole_source() -> None:
    assert f"\n{Path(stranger_duckdb.__file__).read_text()}```" in HOW_TO.read_text()
