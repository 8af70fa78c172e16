"""One value per interval: avg, min, max, first or last of its points.

Intervals start at multiples of their length since 1970 and have the timestamp of their start; empty ones are omitted. A
point without a value affects only the interval's quality, which is the lowest of its points. The sum for an average is
accumulated in order of time, so that the result does not depend on the batches.
::

    batch      | . . : . . . : . |     the last interval of a batch may continue in the next one: it stays open
    intervals  |  a  :   b   : c...    and its state (start, value, count, quality) is carried over
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from fluxport.series.points import Points

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fluxport.series import PointBatches

Aggregate = Literal["avg", "min", "max", "first", "last"]
AGGREGATES: tuple[str, ...] = get_args(Aggregate)


def aggregated(batches: PointBatches, aggregate: str, interval_ms: int) -> PointBatches:
    """The intervals of sorted points; the last one of a batch is held until a later interval starts."""
    open_ = _Open(aggregate)
    try:
        for batch in batches:
            if not len(batch):
                continue
            starts = batch.ms // interval_ms * interval_ms
            edges = np.flatnonzero(np.diff(starts, prepend=starts[0] - 1))
            intervals = open_.add(starts[edges], edges, batch)
            if len(intervals):
                yield intervals
        if len(rest := open_.rest()):
            yield rest
    finally:
        batches.close()


class _Open:
    """The interval that has not ended yet, as (start, value, count of values, quality)."""

    def __init__(self, aggregate: str) -> None:
        self._aggregate = aggregate
        self._open: tuple[int, float, int, int] | None = None

    def add(self, begins: NDArray[np.int64], edges: NDArray[np.intp], batch: Points) -> Points:
        """The intervals that have ended; ``edges`` are the indices of the first points of the intervals ``begins``."""
        present = ~np.isnan(batch.values)
        group = np.repeat(np.arange(len(edges)), np.diff(edges, append=len(batch)))
        values, counts = self._reduced(batch.values[present], group[present], len(edges), int(begins[0]))
        quality = np.minimum.reduceat(batch.quality, edges)
        before = Points(np.empty(0, np.int64), np.empty(0), np.empty(0, np.uint8))
        if self._open is not None:
            if self._open[0] == begins[0]:
                counts[0] += self._open[2]
                quality[0] = min(int(quality[0]), self._open[3])
            else:
                before = self.rest()
        self._open = int(begins[-1]), float(values[-1]), int(counts[-1]), int(quality[-1])
        ended = Points(begins[:-1], self._final(values[:-1], counts[:-1]), quality[:-1])
        return Points(
            np.concatenate([before.ms, ended.ms]),
            np.concatenate([before.values, ended.values]),
            np.concatenate([before.quality, ended.quality]),
        )

    def rest(self) -> Points:
        if self._open is None:
            return Points(np.empty(0, np.int64), np.empty(0), np.empty(0, np.uint8))
        begin, value, count, quality = self._open
        self._open = None
        values = self._final(np.array([value]), np.array([count]))
        return Points(np.array([begin], np.int64), values, np.array([quality], np.uint8))

    def _reduced(
        self, values: NDArray[np.float64], group: NDArray[np.intp], groups: int, first: int
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Sums (for avg) or values per group, and counts of values; the open interval continues in the first group."""
        counts = np.bincount(group, minlength=groups)
        if self._open is not None and self._open[0] == first and self._open[2]:
            values = np.concatenate([[self._open[1]], values])
            group = np.concatenate([np.zeros(1, np.intp), group])
        if self._aggregate == "avg":
            return np.bincount(group, values, minlength=groups).astype(np.float64), counts
        reduced = np.full(groups, np.nan)
        if len(values):
            edges = np.flatnonzero(np.diff(group, prepend=-1))
            reduced[group[edges]] = _KERNELS[self._aggregate](values, edges)
        return reduced, counts

    def _final(self, values: NDArray[np.float64], counts: NDArray[np.intp]) -> NDArray[np.float64]:
        if self._aggregate != "avg":
            return values
        means = np.full(len(values), np.nan)
        np.divide(values, counts, out=means, where=counts > 0)
        return means


_KERNELS: dict[str, Callable[[NDArray[np.float64], NDArray[np.intp]], NDArray[np.float64]]] = {
    "min": np.minimum.reduceat,
    "max": np.maximum.reduceat,
    "first": lambda values, edges: values[edges],
    "last": lambda values, edges: values[np.append(edges[1:], len(values)) - 1],
}
