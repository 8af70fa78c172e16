"""Whether the service can do its work: what it depends on, tried, and told to strangers by name alone."""

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
from fluxport.jobs.exports import Exports
from fluxport.jobs.queue import DEAD_AFTER_S
from fluxport.jobs.store import JobStore
from fluxport.pipeline import as_failure
from fluxport.plan import Connection
from fluxport.series import SensorStore
from fluxport.sinks.objects import ObjectSink
from fluxport.sinks.probe import probe
from fluxport.sources import open_source
from fluxport.stages import Limits

log = logging.getLogger("fluxport.ready")

KEPT_S = 2.0
BUCKET_KEPT_S = 60.0  # of a bucket that could be used: each try is five requests that somebody pays for
TRY_S = 5.0
SILENT_MAX_S = 2 * DEAD_AFTER_S  # a worker that is started again has given a sign of life by then
ANSWER_S = 8.0  # a store tries again for longer than anybody waits for this answer


class Readiness:
    """Tries everything at once, one round at a time; an outcome is kept for a moment, so that whoever asks often does
    not load the databases. Why something cannot be used goes to the log, once."""

    def __init__(self, exports: Exports, callers: Callers, clock: Callable[[], float] = time.monotonic) -> None:
        self._exports = exports
        self._callers = callers
        self._clock = clock
        self._round = threading.Lock()
        self._found: dict[str, bool] = {}
        self._found_at = float("-inf")
        self._good_until: dict[str, float] = {}
        self._under_way: dict[str, Future[bool]] = {}

    def __call__(self) -> dict[str, bool]:
        """What the service depends on, and whether it can be used; never usable while it shuts down."""
        if self._exports.closing:
            return {"queue": False}
        with self._round:
            if self._clock() - self._found_at > KEPT_S:
                self._found = self._tried()
                self._found_at = self._clock()
            return {"queue": True} | self._found

    def _tried(self) -> dict[str, bool]:
        ours = self._exports.store
        probes: dict[str, Callable[[], object]] = {
            "database": self._keep,
            "workers": partial(alive, ours),
            "clock": ours.check_clock,
        }
        for name, connection in self._exports.connections.items():
            probes[f"connection {name}"] = partial(ask, connection)
        if (sensors := self._exports.sensors) is not None:
            probes["series"] = lambda: look(sensors.store)
        for name, store in self._exports.stores.items():
            if isinstance(store, ObjectSink) and self._good_until.get(name, 0.0) > self._clock():
                continue
            probes[f"store {name}"] = partial(probe, store)
        found = self._outcomes(probes)
        for name in self._exports.stores:
            if found.get(f"store {name}"):
                self._good_until[name] = self._clock() + BUCKET_KEPT_S
        return {f"store {name}": True for name in self._good_until} | found

    def _keep(self) -> None:
        """Write to what must outlive a restart; used signatures may be in a file of their own."""
        self._exports.store.probe()
        self._callers.probe()

    def _outcomes(self, probes: Mapping[str, Callable[[], object]]) -> dict[str, bool]:
        """Whether each works; one that takes longer than ANSWER_S does not, and is not tried twice at once."""
        for name, trial in probes.items():
            if name not in self._under_way:
                self._under_way[name] = self._begun(name, trial)
        done, _ = wait(self._under_way.values(), timeout=ANSWER_S)
        found = {name: future in done and future.result() for name, future in self._under_way.items()}
        self._under_way = {name: future for name, future in self._under_way.items() if future not in done}
        return found

    def _begun(self, name: str, trial: Callable[[], object]) -> Future[bool]:
        """In a thread that keeps no process from ending."""
        outcome: Future[bool] = Future()

        def run() -> None:
            try:
                outcome.set_result(self._works(name, trial))
            except BaseException as error:  # noqa: BLE001  raised where the outcome is asked for
                outcome.set_exception(error)

        threading.Thread(target=run, name="fluxport-ready", daemon=True).start()
        return outcome

    def _works(self, name: str, trial: Callable[[], object]) -> bool:
        try:
            trial()
        except Exception as raised:  # noqa: BLE001  whatever it is, it cannot be used
            error = as_failure(raised)
            if self._found.get(name, True):
                log.warning("%s cannot be used: %s", name, error.message, extra={"error_code": error.code})
            return False
        if not self._found.get(name, True):
            log.info("%s can be used again", name)
        return True


def alive(store: JobStore) -> None:
    """Unavailable if workers were there and none of them gives a sign of life any more: exports would wait."""
    silent_s = store.youngest_beat_s()
    if silent_s is not None and silent_s > SILENT_MAX_S:
        raise Unavailable(
            f"No worker has given a sign of life for {silent_s:.0f} s; look at its log, or start another.",
            code="no_worker",
        )


def ask(connection: Connection) -> None:
    """Run the smallest query there is."""
    source = open_source(connection.url, "SELECT 1", limits=Limits(deadline_s=TRY_S))
    try:
        for _ in source.batches():
            pass
    finally:
        source.close()


def look(sensors: SensorStore) -> None:
    """Ask for a sensor, whichever comes first; where points are ours to store, write something small."""
    sensors.sensors(limit=1)
    with suppress(Disabled):
        sensors.mark("readiness", int(time.time()))
