"""The transfers of this process: direct streams to clients, and pushes from them. They end when the process exits.

The shutdown has two steps: ``drain`` refuses new exports, ``close`` also ends the transfers that are still running.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial

from fluxport.auth.caller import Caller
from fluxport.error_codes import Failure
from fluxport.errors import Canceled, Unavailable
from fluxport.jobs.store import JobStore, Record
from fluxport.loops import attempt, background
from fluxport.tables import patiently


class Transfers:
    """Which transfers are running, and whether new exports are accepted."""

    def __init__(self) -> None:
        self._ends: dict[str, Callable[[], None]] = {}
        self._closing = threading.Event()

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    def check_open(self) -> None:
        """Unavailable once the shutdown has begun."""
        if self.closing:
            raise shutting_down()

    @contextlib.contextmanager
    def running(self, export_id: str, end: Callable[[], None]) -> Iterator[None]:
        """Register a transfer while this block runs; ``end`` stops it."""
        self._ends[export_id] = end
        try:
            yield
        finally:
            del self._ends[export_id]

    @property
    def any_running(self) -> bool:
        return bool(self._ends)

    def end(self, export_id: str) -> None:
        """Stop the transfer of this export, if this process runs it."""
        if (end := self._ends.get(export_id)) is not None:
            end()

    def record(self, what: str, do: Callable[[], object]) -> None:
        """Call ``do``, which records what was sent; if the database is unavailable, retry in the background until the
        shutdown."""
        try:
            do()
        except Unavailable:
            self.record_later(what, do)

    def record_later(self, what: str, do: Callable[[], object]) -> None:
        """Call ``do`` in the background, until the database is available or the shutdown begins."""
        background("fluxport-ended", attempt, f"recording {what}", partial(patiently, do, self._closing))

    def drain(self) -> None:
        """Accept no new exports; running transfers go on."""
        self._closing.set()

    def close(self) -> None:
        """Accept no new exports, and end running transfers."""
        self.drain()
        for end in list(self._ends.values()):
            end()


def cancel(export_id: str, caller: Caller, store: JobStore, transfers: Transfers) -> Record:
    """Cancel a queued or running export; Conflict if it has ended. Its worker cancels the query within 2 s."""
    record = store.get(export_id, caller)
    canceled = store.move(record.id, "canceled", error=Failure.of(Canceled("The export was canceled.")))
    transfers.end(export_id)
    return canceled


def shutting_down() -> Unavailable:
    return Unavailable("The service is shutting down; retry in a moment.", code="closing", retry_after_s=5)
