"""Few points that draw the same line as many: lowest and highest of each of as many spans of time as the chart has room
for. No peak is lost, every point returned is one of the sensor's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxport.series.points import Points, joined

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

# Points held before what has come so far is thinned out: bounds the memory of a chart over any range.
HELD_MAX = 1 << 20
THINNED = 16


def downsample(points: Points, most: int) -> Points:
    """At most ``most`` (4 or more) of the sorted ``points``, all of them if they are not more.

    The first and the last are kept, the rest of each span is its lowest and its highest. The quality of what stands for
    others is the lowest of its span.
    """
    if len(points) <= most:
        return points
    edges = _edges(points.ms, (most - 2) // 2)
    values = points.values
    gaps = bool(np.isnan(values).any())
    kept = np.empty(2 * len(edges) + 2, np.intp)
    kept[0], kept[-1] = 0, len(points) - 1
    stops = [*edges[1:].tolist(), len(points)]
    for i, (start, stop) in enumerate(zip(edges.tolist(), stops, strict=True)):
        span = values[start:stop]
        low, high = _extremes(span) if gaps else (int(span.argmin()), int(span.argmax()))
        kept[2 * i + 1], kept[2 * i + 2] = start + min(low, high), start + max(low, high)
    chosen = np.unique(kept)
    worst = np.minimum.reduceat(points.quality, edges)
    quality = worst[np.searchsorted(edges, chosen, "right") - 1]
    return Points(points.ms[chosen], points.values[chosen], quality)


def _edges(ms: NDArray[np.int64], spans: int) -> NDArray[np.intp]:
    """Where each of ``spans`` equal spans of time that has points begins."""
    bounds = np.linspace(int(ms[0]), int(ms[-1]), spans, endpoint=False)
    return np.unique(np.searchsorted(ms, bounds.astype(np.int64)))


def _extremes(span: NDArray[np.float64]) -> tuple[int, int]:
    """Lowest and highest where values may be missing; a span without any is told by its first point."""
    there = np.flatnonzero(~np.isnan(span))
    if not len(there):
        return 0, 0
    return int(there[span[there].argmin()]), int(there[span[there].argmax()])


def downsampled(batches: Iterable[Points], most: int) -> tuple[Points, int]:
    """:func:`downsample` of points that come in batches, and how many came; memory does not grow with them."""
    done: list[Points] = []
    held: list[Points] = []
    count = waiting = kept = 0
    each = THINNED
    for batch in batches:
        held.append(batch)
        count += len(batch)
        waiting += len(batch)
        if waiting >= max(HELD_MAX, 4 * most):
            done.append(thinned(joined(held), each))
            kept += len(done[-1])
            held, waiting = [], 0
        if kept >= max(HELD_MAX, 4 * most):
            # All that came so far is thinned as much as what comes from now on.
            done = [thinned(joined(done), THINNED)]
            kept = len(done[0])
            each *= THINNED // 2
    return downsample(joined(done + held), most), count


def thinned(points: Points, each: int) -> Points:
    """Lowest and highest of every ``each`` points: whatever span is looked at later, its peaks are still there."""
    whole = len(points) // each * each
    values = points.values[:whole].reshape(-1, each)
    there = ~np.isnan(values)
    starts = np.arange(0, whole, each)
    low = starts + np.where(there, values, np.inf).argmin(axis=1)
    high = starts + np.where(there, values, -np.inf).argmax(axis=1)
    # A span without any value is told by its first point.
    empty = ~there.any(axis=1)
    low[empty] = high[empty] = starts[empty]
    chosen = np.unique(np.concatenate([[0], low, high, np.arange(whole, len(points)), [len(points) - 1]]))
    worst = np.minimum.reduceat(points.quality, np.append(starts, whole) if whole < len(points) else starts)
    return Points(points.ms[chosen], points.values[chosen], worst[chosen // each])
