"""The progress of an export: a live line on a terminal, one JSON object per second with --json, else nothing."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fluxport.pipeline import Tally

# Shorter exports show no progress, so that they do not load the terminal library.
QUIET_START_S = 0.4


@contextlib.contextmanager
def watched(tally: Tally, *, total: int | None, as_json: bool, quiet: bool) -> Iterator[None]:
    """Show ``tally`` on standard error while the body runs, with a percentage if the ``total`` of rows is known."""
    show = _json_lines if as_json else _terminal_line
    if quiet or sys.stderr is None or not (as_json or sys.stderr.isatty()):
        yield
        return
    finished = threading.Event()
    thread = threading.Thread(target=show, args=(tally, total, finished), name="fluxport-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def _json_lines(tally: Tally, total: int | None, finished: threading.Event) -> None:
    while not finished.wait(1.0):
        elapsed = time.monotonic() - tally.started
        event = {"event": "progress", "rows": tally.rows, "bytes": tally.size_bytes, "elapsed_s": round(elapsed, 1)}
        if total is not None:
            event["rows_total"] = total
        print(json.dumps(event), file=sys.stderr, flush=True)


def _terminal_line(tally: Tally, total: int | None, finished: threading.Event) -> None:
    if finished.wait(QUIET_START_S):
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

    known = [] if total is None else [BarColumn(bar_width=20), TaskProgressColumn()]
    columns = (
        SpinnerColumn(),
        *known,
        TextColumn("{task.fields[rows]:,} rows"),
        TextColumn("{task.fields[size]}"),
        TextColumn("{task.fields[speed]:,.0f} rows/s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=10) as bar:
        task = bar.add_task("export", total=total, rows=0, size="", speed=0.0)
        ended = False
        while not ended:
            ended = finished.wait(0.1)
            elapsed = max(time.monotonic() - tally.started, 1e-9)
            bar.update(
                task, completed=tally.rows, rows=tally.rows, size=_size(tally.size_bytes), speed=tally.rows / elapsed
            )


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
