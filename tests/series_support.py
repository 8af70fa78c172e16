"""Points for tests of sensors."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fluxport.series import Points, SensorStore
from fluxport.series.points import joined

T0 = 1_700_000_000_000
EVER = (-(10**14), 10**14)


def points(ms: Iterable[int], values: Iterable[float | None], quality: Iterable[int] | int = 1) -> Points:
    moments = np.array(list(ms), np.int64)
    numbers = np.array([np.nan if v is None else v for v in values], np.float64)
    retained = np.full(len(moments), quality) if isinstance(quality, int) else np.array(list(quality))
    return Points(moments, numbers, retained.astype(np.uint8))


def walk(count: int, *, start: int = T0, step: int = 1000, seed: int = 1) -> Points:
    """A random walk with some bad and some missing values."""
    random = np.random.default_rng(seed)
    values = np.cumsum(random.normal(size=count))
    values[random.random(count) < 0.01] = np.nan
    quality = (random.random(count) > 0.02).astype(np.uint8)
    return Points(start + step * np.arange(count, dtype=np.int64), values, quality)


def stored(store: SensorStore, sensor: str, start: int = EVER[0], end: int = EVER[1]) -> Points:
    return joined(list(store.scan(sensor, start, end)))


def same(a: Points, b: Points) -> bool:
    """Equal bit for bit."""
    pairs = ((a.ms, b.ms), (a.values.view(np.int64), b.values.view(np.int64)), (a.quality, b.quality))
    return all(np.array_equal(x, y) for x, y in pairs)


def csv_of(found: Points) -> bytes:
    """The points as the Historian's file has them, with Python's shortest floats."""
    lines = ["timestamp_ms,value,quality"]
    for ms, value, quality in zip(found.ms.tolist(), found.values.tolist(), found.quality.tolist(), strict=True):
        lines.append(f"{ms},{'' if value != value else number(value)},{quality}")
    return "".join(line + "\n" for line in lines).encode()


def number(value: float) -> str:
    text = repr(value)
    return text.removesuffix(".0")
