"""The sweep: deletes expired files, fails streams of lost processes, purges old records, and removes unfinished uploads
of killed workers."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from fluxport.error_codes import Failure
from fluxport.errors import Broken, Conflict, NotFound
from fluxport.jobs.store import JobStore, Record
from fluxport.loops import attempt
from fluxport.stages import Sink

LOST_AFTER_S = 300.0  # beyond the longest duration of an export
FORGOTTEN_AFTER_S = 900.0
STORES_SWEPT_EVERY = 36  # rounds: six hours, as listing a large bucket is expensive


@dataclass(frozen=True)
class SweepOptions:
    """``export_s`` is the longest duration of one export; records of ended ones are retained for ``history_s``, audit
    lines for ``audit_s``."""

    export_s: float
    history_s: float
    audit_s: float


def sweeper(store: JobStore, sinks: Mapping[str, Sink], options: SweepOptions) -> Callable[[], None]:
    """The function that runs in each round. Unavailable, and nothing is done, if this process's clock differs from the
    database's."""
    rounds = itertools.count()

    def sweep() -> None:
        expire(store, sinks)
        fail_lost_streams(store, options.export_s)
        purge(store, options)
        if next(rounds) % STORES_SWEPT_EVERY == 0:
            for name, sink in sinks.items():
                # No file is that old: removes only unfinished uploads.
                attempt(f"sweeping the store {name}", partial(sink.sweep, math.inf, store.clock()))

    return sweep


def expire(store: JobStore, sinks: Mapping[str, Sink]) -> None:
    """Expire exports whose retention has ended, and delete their files."""
    _delete_files(store.expire(), sinks)


def forget(store: JobStore, sinks: Mapping[str, Sink], api: str) -> None:
    """Delete exports of this API FORGOTTEN_AFTER_S after they completed, and their files."""
    while forgotten := store.forget(api, FORGOTTEN_AFTER_S):
        _delete_files(forgotten, sinks)


def _delete_files(records: Iterable[Record], sinks: Mapping[str, Sink]) -> None:
    for record in records:
        for location in [] if record.result is None else record.result.locations:
            attempt(f"deleting a file of export {record.id}", partial(_remove, sinks, record.spec.store, location))


def _remove(sinks: Mapping[str, Sink], store: str, location: str) -> None:
    if store not in sinks:
        raise NotFound(
            f"The store {store!r} is no longer configured; {location} was not deleted.", code="unknown_store"
        )
    sinks[store].remove(location)


def fail_lost_streams(store: JobStore, export_s: float) -> None:
    """Fail direct streams that have run longer than any export may: their process has exited."""
    error = Failure.of(Broken("The service exited during this stream.", code="service_died"))
    for export_id in store.lost_streams(export_s + LOST_AFTER_S):
        with contextlib.suppress(Conflict):
            store.move(export_id, "failed", error=error)


def purge(store: JobStore, options: SweepOptions) -> None:
    """Delete old records and audit lines."""
    while store.purge_history(options.history_s):
        pass
    store.purge_audit(options.audit_s)
