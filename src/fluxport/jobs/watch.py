"""Events of exports for any number of listeners: one thread polls the database with one query for all.

A listener requests the events after the last one that it has, gets a future, and requests more after it has used them:
so a slow client accumulates nothing, and a disconnected one is a cancelled future. Without listeners nothing is
polled.

    listeners    after(A, 3)   after(A, 5)   after(B, 0)
                      \\            |            /
    every 0.2 s        {A: 3, B: 0}  ->  one SELECT  ->  events of A from 4 on, and of B
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from fluxport.errors import FluxportError
from fluxport.jobs.states import FINAL
from fluxport.jobs.store import Event, Happened
from fluxport.loops import attempt, background

EVERY_S = 0.2
AGAIN_S = 1.0  # while the database is unavailable


class News(NamedTuple):
    """Events after a listener's last one, in order; ``over``: none will follow, as the export has ended."""

    events: list[Event]
    over: bool


@dataclass(frozen=True)
class _Listener:
    export_id: str
    seq: int
    news: Future[News]


class Watch:
    """``look`` returns the new events of exports, as :meth:`JobStore.happened` does."""

    def __init__(self, look: Callable[[dict[str, int]], dict[str, Happened]]) -> None:
        self._look = look
        self._changed = threading.Condition()
        self._listeners: list[_Listener] = []
        self._running = False
        self._closed: FluxportError | None = None
        self._closing = threading.Event()

    def after(self, export_id: str, seq: int) -> Future[News]:
        """A future, done at the first events after ``seq`` (0: from the beginning), or once there will be none. Fails
        with the error of :meth:`close`. It stays pending while the database is unavailable."""
        news: Future[News] = Future()
        with self._changed:
            if self._closed is not None:
                news.set_exception(self._closed)
                return news
            self._listeners.append(_Listener(export_id, seq, news))
            if not self._running:
                self._running = True
                background("fluxport-watch", self._run)
            self._changed.notify()
        return news

    def now(self, export_id: str, seq: int) -> News:
        """The events after ``seq`` that exist now; raises what ``look`` raises."""
        return _news(self._look({export_id: seq}).get(export_id), seq) or News([], False)

    def close(self, why: FluxportError) -> None:
        """Fail all listeners, present and future, with ``why``."""
        with self._changed:
            self._closed = self._closed or why
            left, self._listeners = self._listeners, []
            self._changed.notify()
        self._closing.set()
        for listener in left:
            if listener.news.set_running_or_notify_cancel():
                listener.news.set_exception(why)

    def _run(self) -> None:
        failing = False
        while self._some():
            failing = not attempt("reading events", self._round, quiet=failing)
            self._closing.wait(AGAIN_S if failing else EVERY_S)

    def _some(self) -> bool:
        """Wait for a listener; False once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._listeners or self._closed)
            return self._closed is None

    def _round(self) -> None:
        with self._changed:
            self._listeners = [listener for listener in self._listeners if not listener.news.cancelled()]
            listeners = list(self._listeners)
        since: dict[str, int] = {}
        for listener in listeners:
            since[listener.export_id] = min(listener.seq, since.get(listener.export_id, listener.seq))
        if not since:
            return
        happened = self._look(since)
        ready = [
            (listener, news)
            for listener in listeners
            if (news := _news(happened.get(listener.export_id), listener.seq)) is not None
        ]
        with self._changed:
            served = {id(listener) for listener, _ in ready}
            self._listeners = [listener for listener in self._listeners if id(listener) not in served]
        for listener, news in ready:
            if listener.news.set_running_or_notify_cancel():
                listener.news.set_result(news)


def _news(happened: Happened | None, seq: int) -> News | None:
    """The news for a listener that has the events up to ``seq``; None if there is nothing new."""
    if happened is None:
        return None
    events = [event for event in happened.events if event.seq > seq]
    over = happened.whole and (happened.status is None or happened.status in FINAL)
    return News(events, over) if events or over else None
