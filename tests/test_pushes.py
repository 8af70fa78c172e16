"""Pushes of lost processes, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fluxport.auth.caller import Caller
from fluxport.error_codes import Failure
from fluxport.errors import Conflict, TooMany, Unprocessable
from fluxport.jobs.catalog import Catalog
from fluxport.jobs.pushes import Pushes
from fluxport.jobs.store import JobStore, Record
from fluxport.jobs.transfers import Transfers
from fluxport.sinks.memory import MemorySink
from fluxport.spec import ExportSpec
from fluxport.stages import Limits
from identity_support import DATABASES, Clock, database_url, empty_store

HELD_S = 60

CALLER = Caller("shop", scopes=frozenset({"push"}))
SPEC = ExportSpec(connection="push", pushed=[{"name": "a", "type": "string"}])


@pytest.fixture(params=DATABASES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    with database_url(request.param, tmp_path) as url, empty_store(url, Clock()) as found:
        yield found


def begun(store: JobStore, key: tuple[str, str] = ("push:a", "1"), caller: Caller = CALLER) -> tuple[Record, bool]:
    return store.create_push(SPEC, caller, api="grpc", key=key, held_until=store.clock() + HELD_S)


def pushes(store: JobStore) -> Pushes:
    catalog = Catalog({}, {"local": MemorySink()}, Limits())
    return Pushes(catalog, store, Transfers(), store_name="local", keep_s=60)


def test_a_push_of_a_lost_process_is_failed_by_the_next_process_that_checks(store: JobStore) -> None:
    record, _ = begun(store)
    assert store.claim(record.id, attempts_max=1) is not None
    looking = pushes(store)
    looking.expire()
    assert store.get(record.id).status == "running"
    store.clock.now += HELD_S + 1  # type: ignore[attr-defined]  # the clock that the test made
    looking.expire()
    found = store.get(record.id)
    assert (found.status, found.error and found.error.code) == ("failed", "holder_died")
    with pytest.raises(Conflict):
        store.move(record.id, "completed", fence=1)
    assert store.lost_pushes() == []
    looking.close()


def test_a_push_that_is_held_stays(store: JobStore) -> None:
    record, _ = begun(store)
    store.clock.now += HELD_S - 1  # type: ignore[attr-defined]  # the clock that the test made
    store.hold_pushes([record.id], store.clock() + HELD_S)
    store.clock.now += HELD_S - 1  # type: ignore[attr-defined]  # the clock that the test made
    assert store.lost_pushes() == []


def test_a_key_names_one_push_until_that_has_failed(store: JobStore) -> None:
    record, new = begun(store)
    assert new
    again, new = begun(store)
    assert (again.id, new) == (record.id, False)
    with pytest.raises(Unprocessable):
        begun(store, ("push:a", "2"))
    store.move(record.id, "failed", error=Failure("client_gone", ""))
    other, new = begun(store, ("push:a", "2"))
    assert (other.id != record.id, new) == (True, True)


def test_a_key_with_a_limit_of_its_own_begins_no_more_than_that(store: JobStore) -> None:
    caller = replace(CALLER, active_max=1)
    begun(store, caller=caller)
    with pytest.raises(TooMany):
        begun(store, ("push:b", "1"), caller)
