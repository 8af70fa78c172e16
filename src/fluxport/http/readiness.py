"""Readiness: probes of the service's dependencies. Callers learn only names and states; the log has the reasons."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial

from fluxport.errors import Disabled, Unavailable
from fluxport.http.callers import Callers
from fluxport.jobs import queue
from fluxport.jobs.catalog import Catalog
from fluxport.jobs.store import JobStore
from fluxport.jobs.transfers import Transfers
from fluxport.pipeline import as_failure
from fluxport.plan import Connection
from fluxport.series import SensorStore
from fluxport.sinks.objects import ObjectSink
from fluxport.sinks.probe import probe
from fluxport.sources import open_source
from fluxport.stages import Limits
from fluxport.tables import reading

log = logging.getLogger("fluxport.ready")

CACHE_S = 2.0
BUCKET_CACHE_S = 60.0  # for a usable bucket: each probe is five billed requests
PROBE_S = 5.0
SILENT_MAX_S = 2 * queue.DEAD_AFTER_S  # a restarted worker has written a heartbeat by then
ROUND_S = 8.0  # a sink retries for longer than a load balancer waits for this response


class Readiness:
    """Probes all dependencies concurrently, one round at a time, and caches the outcome for CACHE_S, so that frequent
    requests do not load the databases. When a dependency fails, the reason is logged once."""

    def __init__(
        self,
        catalog: Catalog,
        store: JobStore,
        transfers: Transfers,
        callers: Callers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._transfers = transfers
        self._callers = callers
        self._clock = clock
        self._round = threading.Lock()
        self._usable: dict[str, bool] = {}
        self._probed_at = float("-inf")
        self._good_until: dict[str, float] = {}
        self._under_way: dict[str, Future[bool]] = {}

    def __call__(self) -> dict[str, bool]:
        """The dependencies by name, and whether each is usable; only ``queue``, as False, while the service shuts
        down."""
        if self._transfers.closing:
            return {"queue": False}
        with self._round:
            if self._clock() - self._probed_at > CACHE_S:
                self._usable = self._probe_all()
                self._probed_at = self._clock()
            return {"queue": True} | self._usable

    def _probe_all(self) -> dict[str, bool]:
        probes: dict[str, Callable[[], object]] = {
            "database": self._probe_persistence,
            "workers": partial(check_workers, self._store),
            "clock": self._store.check_clock,
        }
        for name, connection in self._catalog.connections.items():
            probes[f"connection {name}"] = partial(check_connection, connection)
        if (sensors := self._catalog.sensors) is not None:
            probes["series"] = lambda: check_sensors(sensors.store)
        for name, sink in self._catalog.sinks.items():
            if isinstance(sink, ObjectSink) and self._good_until.get(name, 0.0) > self._clock():
                continue
            probes[f"store {name}"] = partial(probe, sink)
        usable = self._outcomes(probes)
        for name in self._catalog.sinks:
            if usable.get(f"store {name}"):
                self._good_until[name] = self._clock() + BUCKET_CACHE_S
        return {f"store {name}": True for name in self._good_until} | usable

    def _probe_persistence(self) -> None:
        """Write to everything that is persisted; the store of used signatures may be a separate file."""
        self._store.probe()
        self._callers.probe()

    def _outcomes(self, probes: Mapping[str, Callable[[], object]]) -> dict[str, bool]:
        """Whether each succeeds. A probe that exceeds ROUND_S counts as failed, and is not started again until it has
        ended."""
        for name, trial in probes.items():
            if name not in self._under_way:
                self._under_way[name] = self._start(name, trial)
        done, _ = wait(self._under_way.values(), timeout=ROUND_S)
        usable = {name: future in done and future.result() for name, future in self._under_way.items()}
        self._under_way = {name: future for name, future in self._under_way.items() if future not in done}
        return usable

    def _start(self, name: str, trial: Callable[[], object]) -> Future[bool]:
        """Run the probe in a daemon thread, which does not delay the end of the process."""
        outcome: Future[bool] = Future()

        def run() -> None:
            try:
                outcome.set_result(self._works(name, trial))
            except BaseException as error:  # noqa: BLE001  raised by Future.result
                outcome.set_exception(error)

        threading.Thread(target=run, name="fluxport-ready", daemon=True).start()
        return outcome

    def _works(self, name: str, trial: Callable[[], object]) -> bool:
        try:
            trial()
        except Exception as raised:  # noqa: BLE001  whatever the error, the dependency is unusable
            error = as_failure(raised)
            if self._usable.get(name, True):
                log.warning("%s cannot be used: %s", name, error.message, extra={"error_code": error.code})
            return False
        if not self._usable.get(name, True):
            log.info("%s can be used again", name)
        return True


def check_workers(store: JobStore) -> None:
    """Unavailable if there were workers and none writes heartbeats any more: exports would wait forever."""
    with reading(store.engine) as connection:
        seen_at, now = queue.newest_heartbeat(connection), store.now(connection)
    if seen_at is not None and (silent_s := now - seen_at) > SILENT_MAX_S:
        raise Unavailable(
            f"No worker has written a heartbeat for {silent_s:.0f} s; check its log, or start another worker.",
            code="no_worker",
        )


def check_connection(connection: Connection) -> None:
    """Run the smallest possible query."""
    source = open_source(connection.url, "SELECT 1", limits=Limits(deadline_s=PROBE_S))
    try:
        for _ in source.batches():
            pass
    finally:
        source.close()


def check_sensors(sensors: SensorStore) -> None:
    """Read one sensor; if the store is writable, also write a small mark."""
    sensors.sensors(limit=1)
    with suppress(Disabled):
        sensors.mark("readiness", int(time.time()))
