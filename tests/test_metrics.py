"""Metrics: what is counted of exports, where it is stored, and how it is exposed."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from fluxport.auth.caller import Caller
from fluxport.error_codes import Failure
from fluxport.errors import Unavailable
from fluxport.jobs.outcome import Result
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.store import JobStore, Record
from fluxport.spec import ExportSpec
from fluxport.telemetry import metrics
from fluxport.telemetry.measures import COUNTED, Ended, Sample, ended, increment, observed
from postgres_support import scratch_postgres

NAMES = {
    "export_active_tasks",
    "export_queued_tasks",
    "export_duration_seconds",
    "export_upload_duration_seconds",
    "export_errors",
    "export_records_processed",
    "fluxport_bytes",
    "fluxport_retries",
    "fluxport_refusals",
    "fluxport_first_byte_seconds",
    "fluxport_rows_per_second",
    "fluxport_http_requests",
    "fluxport_database_up",
}
DONE = Ended(False, None, "csv", "main", rows=1000, size_bytes=5000, duration_s=0.5, upload_s=0.07)

RESULT = Result("rows.csv", "text/csv", rows=1, bytes=1, sha256="")


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1_767_225_600.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    with contextlib.ExitStack() as stack:
        postgres = request.param == "postgres"
        url = stack.enter_context(scratch_postgres()).url if postgres else f"sqlite:///{tmp_path}/fluxport.db"
        made = JobStore(url, clock=Clock())
        stack.callback(made.close)
        made.create_tables()
        yield made


def created(store: JobStore, **given: Any) -> Record:
    record, _ = store.create(
        ExportRequest(ExportSpec("SELECT 1", **given)),
        Caller("ann"),
        api="native",
        active_max=10_000,
        queue_max=10_000,
    )
    return record


def reported(store: JobStore) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of the stored metrics, by name and labels."""
    text = metrics.exposition(store.measured).decode()
    families = text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_metrics_that_increase_when_an_export_ends() -> None:
    assert ended(DONE) == [
        increment("export_duration_seconds_bucket", le="0.5"),
        increment("export_duration_seconds_sum", 0.5),
        increment("export_records_processed_total", 1000),
        increment("fluxport_bytes_total", 5000),
        increment("export_upload_duration_seconds_bucket", le="0.1"),
        increment("export_upload_duration_seconds_sum", 0.07),
        increment("fluxport_rows_per_second_bucket", le="3000.0", format="csv", source="main"),
        increment("fluxport_rows_per_second_sum", 2000.0, format="csv", source="main"),
    ]
    failed = Ended(False, "unknown_column", "csv", "main", rows=7, size_bytes=9, duration_s=2000, upload_s=None)
    assert ended(failed) == [
        increment("export_duration_seconds_bucket", le="+Inf"),
        increment("export_duration_seconds_sum", 2000),
        increment("export_errors_total", code="unknown_column"),
    ]
    assert ended(Ended(True, None, "csv", "main", rows=7, size_bytes=9, duration_s=1, upload_s=None)) == []


@given(st.floats(min_value=0, max_value=1e7, allow_nan=False))
def test_an_observation_is_in_the_first_bucket_that_holds_it(value: float) -> None:
    bucket, _ = observed("export_duration_seconds", value)
    bounds = (*COUNTED["export_duration_seconds"].buckets, float("inf"))
    first = next(bound for bound in bounds if value <= bound)
    assert bucket == increment(
        "export_duration_seconds_bucket", le="+Inf" if first == float("inf") else str(float(first))
    )


def test_every_documented_metric_is_present_from_the_start(store: JobStore) -> None:
    names = {family.name for family in text_string_to_metric_families(metrics.exposition(store.measured).decode())}
    assert names >= NAMES
    assert reported(store)["export_records_processed_total", ()] == 0


def test_every_metric_of_ours_is_on_the_page_for_operators() -> None:
    text = metrics.exposition(lambda: ({}, [])).decode()
    reported = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    page = (Path(__file__).parent.parent / "docs" / "how-to" / "operate.md").read_text()
    written = set(re.findall(r"^\| `(\w+)` \| (?:gauge|counter|histogram)", page, re.MULTILINE))
    assert {name for name in reported if not name.startswith("process_")} == written


def test_the_gauges_are_the_exports_that_wait_and_run_now(store: JobStore) -> None:
    first, _ = created(store), created(store)
    store.claim(first.id, attempts_max=10)
    assert reported(store)["export_queued_tasks", ()] == 1
    assert reported(store)["export_active_tasks", ()] == 1
    store.move(first.id, "canceled", error=Failure("canceled", ""))
    assert reported(store)["export_active_tasks", ()] == 0


def test_exports_are_counted_as_they_end_and_attempts_as_they_begin_again(store: JobStore) -> None:
    assert isinstance(store.clock, Clock)
    good, bad = created(store, format="xlsx"), created(store)
    store.claim(bad.id, attempts_max=10)
    store.claim(good.id, attempts_max=10)
    store.claim(good.id, attempts_max=10)
    store.clock.now += 2
    store.move(
        good.id,
        "completed",
        fence=2,
        rows=40_000,
        bytes=123,
        result=replace(RESULT, upload_s=0.2),
    )
    store.move(bad.id, "failed", fence=1, error=Failure("no_such_table", ""))
    found = reported(store)
    assert found["fluxport_retries_total", ()] == 1
    assert found["export_records_processed_total", ()] == 40_000
    assert found["fluxport_bytes_total", ()] == 123
    assert found["export_errors_total", (("code", "no_such_table"),)] == 1
    assert found["export_duration_seconds_count", ()] == 2
    assert found["export_duration_seconds_sum", ()] == 4
    assert found["export_duration_seconds_bucket", (("le", "1.0"),)] == 0
    assert found["export_duration_seconds_bucket", (("le", "2.5"),)] == 2
    assert found["export_upload_duration_seconds_sum", ()] == pytest.approx(0.2)
    labels = (("format", "xlsx"), ("source", "main"))
    assert found["fluxport_rows_per_second_sum", labels] == 20_000


def test_exports_that_end_at_once_are_all_counted(store: JobStore) -> None:
    records = [created(store) for _ in range(40)]
    for record in records:
        store.claim(record.id, attempts_max=10)

    def finish(mine: list[Record]) -> None:
        for record in mine:
            store.move(
                record.id,
                "completed",
                fence=1,
                rows=10,
                bytes=1,
                result=replace(RESULT, upload_s=0.0),
            )

    threads = [threading.Thread(target=finish, args=(records[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = reported(store)
    assert found["export_records_processed_total", ()] == 400
    assert found["export_duration_seconds_count", ()] == 40


def test_without_its_database_the_service_has_its_own_metrics_and_reports_the_loss() -> None:
    def away() -> tuple[dict[str, int], list[Sample]]:
        raise Unavailable("The database is away.")

    text = metrics.exposition(away).decode()
    assert "fluxport_database_up 0.0" in text
    assert "process_cpu_seconds_total" in text
    assert "export_active_tasks" not in text


@pytest.mark.parametrize(
    ("count", "sample"),
    [
        (lambda: metrics.request("BREW", None, 404), ("method", "other")),
        (lambda: metrics.request("GET", None, 404), ("route", "none")),
        (lambda: metrics.request("GET", "/v1/exports/{export_id}", 200), ("route", "/v1/exports/{export_id}")),
    ],
)
def test_labels_come_from_lists_of_ours(count: Callable[[], None], sample: tuple[str, str]) -> None:
    count()
    text = metrics.exposition(lambda: ({}, [])).decode()
    assert f'{sample[0]}="{sample[1]}"' in text
    assert "BREW" not in text
