"""Reads of the service's own database wait for no writer and no reader."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from whole_service import Whole, get_targets, whole_service

# What records that something leaves, before it does, or tries whether anything can be written.
WRITE = {
    "/health/ready",
    "/v1/exports/{export_id}/file",
    "/api/exports/jobs/{export_id}/download",
    "/api/exports/stream",
    "/api/v1/export",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reads")


@pytest.fixture(scope="module")
def whole(folder: Path) -> Iterator[Whole]:
    with whole_service(folder) as running:
        yield running


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN"], ids=["a writer", "a reader"])
def test_no_route_that_only_reads_waits(whole: Whole, folder: Path, tmp_path: Path, begin: str) -> None:
    targets = get_targets(whole, whole.export(), tmp_path)
    assert targets.keys() > WRITE
    with closing(sqlite3.connect(folder / "fluxport.db", isolation_level=None)) as other:
        other.execute("UPDATE keys SET last_used_at = NULL")  # so that the next use would be recorded
        other.execute(begin)
        other.execute("SELECT count(*) FROM exports").fetchone()
        # Until this transaction ends nothing can be written; who waited for that would be answered 503.
        answers = {path: whole.http.get(target).status_code for path, target in targets.items() if path not in WRITE}
    assert {path: status for path, status in answers.items() if status != 200} == {}
