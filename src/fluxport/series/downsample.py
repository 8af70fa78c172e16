"""Reduces points to a few that draw the same line: the lowest and the highest of each span of time. No peak is lost,
and every returned point is one of the sensor's.

::

    points   . ' . : ' . | . . ' : , . | ' . . , : .      spans of equal duration
    result   .   : ' ,   | .   ' : ,   | '     , : .      first, low and high of each span in order of time, last
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxport.series.points import Points, joined

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

LEAST = 4  # the first, the last, and one span's lowest and highest
# Points held before they are thinned: bounds the memory of a chart over any range.
HELD_MAX = 1 << 20
THINNED = 16


def downsample(points: Points, most: int) -> Points:
    """At most ``most`` (1 or more) of the sorted ``points``; all of them if there are no more.

    The result has the first and the last point, and the lowest and the highest of each span. The quality of a point is
    the lowest of its span. Fewer than four are every so many-th point, as no span has room for its peaks.
    """
    if len(points) <= most:
        return points
    if most < LEAST:
        few = points[np.linspace(0, len(points) - 1, most).astype(np.intp)]
        return Points(few.ms, few.values, np.full(most, points.quality.min(), np.uint8))
    edges = _edges(points.ms, (most - 2) // 2)
    values = points.values
    gaps = bool(np.isnan(values).any())
    indices = np.empty(2 * len(edges) + 2, np.intp)
    indices[0], indices[-1] = 0, len(points) - 1
    stops = [*edges[1:].tolist(), len(points)]
    for i, (start, stop) in enumerate(zip(edges.tolist(), stops, strict=True)):
        span = values[start:stop]
        low, high = _extremes(span) if gaps else (int(span.argmin()), int(span.argmax()))
        indices[2 * i + 1], indices[2 * i + 2] = start + min(low, high), start + max(low, high)
    chosen = np.unique(indices)
    worst = np.minimum.reduceat(points.quality, edges)
    quality = worst[np.searchsorted(edges, chosen, "right") - 1]
    return Points(points.ms[chosen], points.values[chosen], quality)


def _edges(ms: NDArray[np.int64], spans: int) -> NDArray[np.intp]:
    """Start index of each nonempty one of ``spans`` spans of equal duration."""
    bounds = np.linspace(int(ms[0]), int(ms[-1]), spans, endpoint=False)
    return np.unique(np.searchsorted(ms, bounds.astype(np.int64)))


def _extremes(span: NDArray[np.float64]) -> tuple[int, int]:
    """Indices of lowest and highest where values may be missing; 0 and 0 for a span without values."""
    present = np.flatnonzero(~np.isnan(span))
    if not len(present):
        return 0, 0
    return int(present[span[present].argmin()]), int(present[span[present].argmax()])


def downsampled(batches: Iterable[Points], most: int) -> tuple[Points, int]:
    """:func:`downsample` of points in batches, and the number of points; memory is bounded."""
    done: list[Points] = []
    pending: list[Points] = []
    count = pending_count = thinned_count = 0
    each = THINNED
    for batch in batches:
        pending.append(batch)
        count += len(batch)
        pending_count += len(batch)
        if pending_count >= max(HELD_MAX, 4 * most):
            done.append(thinned(joined(pending), each))
            thinned_count += len(done[-1])
            pending, pending_count = [], 0
        if thinned_count >= max(HELD_MAX, 4 * most):
            # Thin the earlier points as much as the later ones will be thinned.
            done = [thinned(joined(done), THINNED)]
            thinned_count = len(done[0])
            each *= THINNED // 2
    return downsample(joined(done + pending), most), count


def thinned(points: Points, each: int) -> Points:
    """The lowest and highest of every ``each`` points, so that no span loses its peaks."""
    whole = len(points) // each * each
    values = points.values[:whole].reshape(-1, each)
    present = ~np.isnan(values)
    starts = np.arange(0, whole, each)
    low = starts + np.where(present, values, np.inf).argmin(axis=1)
    high = starts + np.where(present, values, -np.inf).argmax(axis=1)
    # A span without values is represented by its first point.
    empty = ~present.any(axis=1)
    low[empty] = high[empty] = starts[empty]
    chosen = np.unique(np.concatenate([[0], low, high, np.arange(whole, len(points)), [len(points) - 1]]))
    worst = np.minimum.reduceat(points.quality, np.append(starts, whole) if whole < len(points) else starts)
    return Points(points.ms[chosen], points.values[chosen], worst[chosen // each])
