"""The progress of an attempt, recorded while it runs."""

from __future__ import annotations

import threading

from fluxport.jobs.states import Phase
from fluxport.jobs.store import JobStore, Record
from fluxport.loops import keep_going
from fluxport.plan import Export

WATCH_EVERY_S = 0.5


def watch(store: JobStore, record: Record, export: Export, finished: threading.Event) -> None:
    """Record an attempt's progress; close its source once the export is canceled or another attempt replaces it."""

    def record_progress() -> None:
        phase: Phase = "uploading" if export.tally.complete else "reading"
        if store.progress(record.id, record.fence, phase, export.tally.rows, export.tally.size_bytes) != "running":
            finished.set()
            export.source.close()

    # An error here, such as an unavailable database, does not stop the export.
    keep_going(f"the progress of export {record.id}", finished, WATCH_EVERY_S, record_progress)
