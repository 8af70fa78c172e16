"""Listeners to exports: one query for all of them, and each gets the events that it does not have yet."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial

import pytest

from fluxport.auth.caller import Caller
from fluxport.errors import Unavailable
from fluxport.jobs.request import ExportRequest
from fluxport.jobs.store import Happened, JobStore
from fluxport.jobs.watch import News, Watch
from fluxport.spec import ExportSpec

ANN = Caller("ann", scopes=frozenset({"sql:*"}))
WAIT_S = 30


class Looks:
    """The queries to a store, in order; fails while ``away`` is set."""

    def __init__(self, store: JobStore) -> None:
        self.queries: list[dict[str, int]] = []
        self.away = threading.Event()
        self._store = store
        self._looked = threading.Condition()

    def __call__(self, since: dict[str, int]) -> dict[str, Happened]:
        try:
            if self.away.is_set():
                raise Unavailable("The database is away.", code="database_away")
            return self._store.happened(since)
        finally:
            with self._looked:
                self.queries.append(dict(since))
                self._looked.notify_all()

    def wait(self, more: int) -> None:
        """Until ``more`` further looks have begun and ended."""
        with self._looked:
            enough = len(self.queries) + more
            assert self._looked.wait_for(lambda: len(self.queries) >= enough, WAIT_S)


@pytest.fixture
def looks(store: JobStore) -> Looks:
    return Looks(store)


@pytest.fixture
def watch(looks: Looks) -> Iterator[Watch]:
    made = Watch(looks)
    yield made
    made.close(Unavailable("The test is over."))


def running(store: JobStore) -> str:
    request = ExportRequest(ExportSpec("SELECT 1"))
    record = store.create(request, ANN, api="native", active_max=999, queue_max=999)[0]
    store.claim(record.id, attempts_max=3)
    return record.id


def seqs(news: Future[News]) -> list[int]:
    return [event.seq for event in news.result(WAIT_S).events]


def test_each_listener_gets_the_events_that_it_does_not_have(store: JobStore, watch: Watch) -> None:
    first, other = running(store), running(store)
    for rows in (1, 2, 3):
        store.progress(first, 1, "reading", rows, 0)
    ahead, waits = watch.after(first, 3), watch.after(other, 0)
    assert seqs(watch.after(first, 0)) == [1, 2, 3]
    assert seqs(watch.after(first, 2)) == [3]
    assert not ahead.done()
    store.progress(first, 1, "reading", 4, 0)
    assert seqs(ahead) == [4]
    assert not waits.done()


def test_the_end_is_the_last_event(store: JobStore, watch: Watch) -> None:
    export_id = running(store)
    store.progress(export_id, 1, "reading", 1, 0)
    assert watch.after(export_id, 0).result(WAIT_S).over is False
    ending = watch.after(export_id, 1)
    store.move(export_id, "failed")
    news = ending.result(WAIT_S)
    assert ([event.kind for event in news.events], news.over) == (["failed"], True)
    assert watch.after(export_id, 2).result(WAIT_S) == News([], True)
    assert watch.now(export_id, 0).over


def test_a_purged_export_has_no_more_events(store: JobStore, watch: Watch) -> None:
    assert watch.after("none", 5).result(WAIT_S) == News([], True)
    assert watch.now("none", 0) == News([], True)


def test_many_listeners_are_one_question_and_none_is_none(store: JobStore, watch: Watch, looks: Looks) -> None:
    ids = [running(store) for _ in range(3)]
    listeners = [watch.after(export_id, seq) for seq in (0, 1, 2) for export_id in ids for _ in range(20)]
    looks.wait(2)
    assert looks.queries[-1] == dict.fromkeys(ids, 0)
    for listener in listeners:
        listener.cancel()
    alone = watch.after(ids[0], 0)
    looks.wait(2)
    assert looks.queries[-1] == {ids[0]: 0}
    store.progress(ids[0], 1, "reading", 1, 0)
    assert seqs(alone) == [1]
    seen = len(looks.queries)
    assert watch.now(ids[0], 1) == News([], False)
    assert len(looks.queries) == seen + 1


def test_listeners_wait_while_the_database_is_away(store: JobStore, watch: Watch, looks: Looks) -> None:
    export_id = running(store)
    looks.away.set()
    waits = watch.after(export_id, 0)
    looks.wait(1)
    store.progress(export_id, 1, "reading", 1, 0)
    assert not waits.done()
    looks.away.clear()
    assert seqs(waits) == [1]


def test_more_events_than_one_look_takes_come_in_parts(store: JobStore) -> None:
    watch = Watch(partial(store.happened, most=2))
    export_id, other = sorted([running(store), running(store)])
    for rows in (1, 2, 3):
        store.progress(export_id, 1, "reading", rows, 0)
    store.move(export_id, "failed")
    store.move(other, "failed")
    ended = watch.after(other, 0)
    found: list[int] = []
    over = False
    while not over:
        events, over = watch.after(export_id, len(found)).result(WAIT_S)
        found += [event.seq for event in events]
    assert found == [1, 2, 3, 4]
    assert seqs(ended) == [1]
    watch.close(Unavailable("The test is over."))


def test_listeners_get_the_reason_when_it_is_closed(store: JobStore, watch: Watch) -> None:
    before = watch.after(running(store), 0)
    watch.close(Unavailable("It ends.", code="closing"))
    for news in (before, watch.after("none", 0)):
        with pytest.raises(Unavailable, match="It ends"):
            news.result(WAIT_S)
