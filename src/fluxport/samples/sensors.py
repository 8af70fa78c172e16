"""Sample sensors of a small plant: each has a million seconds of points up to now, and a new point every second."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fluxport.errors import Unavailable
from fluxport.series import Description, Points, SensorStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS = 1_000_000
STEP_MS = 1000
DAY_MS = 86_400_000
POINTS_AT_ONCE = 100_000


@dataclass(frozen=True)
class SampleSensor:
    """A daily wave of amplitude ``swing`` around ``level``, with ``noise`` and occasional peaks of ``peak``."""

    id: str
    name: str
    unit: str
    level: float
    swing: float
    noise: float
    peak: float


SENSORS = (
    SampleSensor("boiler/temperature", "Boiler, flow temperature", "°C", 72.0, 6.0, 0.15, 14.0),
    SampleSensor("boiler/pressure", "Boiler, pressure", "bar", 1.8, 0.15, 0.01, 0.9),
    SampleSensor("pump/flow", "Circulation pump, flow", "m³/h", 12.5, 2.0, 0.2, -9.0),
    SampleSensor("pump/vibration", "Circulation pump, vibration", "mm/s", 2.2, 0.3, 0.12, 7.0),
    SampleSensor("hall/humidity", "Hall, relative humidity", "%", 47.0, 9.0, 0.3, 20.0),
    SampleSensor("grid/power", "Grid connection, power", "kW", 310.0, 140.0, 6.0, 220.0),
)


def seed(store: SensorStore, until_ms: int, points: int = POINTS) -> None:
    """Store every sample sensor's points up to ``until_ms``."""
    for number, sensor in enumerate(SENSORS):
        store.describe(sensor.id, Description(sensor.name, sensor.unit))
        ms = until_ms // STEP_MS * STEP_MS - STEP_MS * np.arange(points, dtype=np.int64)[::-1]
        random = np.random.default_rng(number)
        whole = simulated(sensor, ms, random)
        for start in range(0, points, POINTS_AT_ONCE):
            store.append([(sensor.id, whole[start : start + POINTS_AT_ONCE])])


def simulated(sensor: SampleSensor, ms: NDArray[np.int64], random: np.random.Generator) -> Points:
    """Points at the times ``ms``: a daily wave, noise, rare peaks of a few minutes, and periods of bad quality."""
    wave = np.sin(2 * np.pi * (ms % DAY_MS) / DAY_MS - 2)
    slow = np.sin(2 * np.pi * (ms % (13 * 3_600_000)) / (13 * 3_600_000))
    values = sensor.level + sensor.swing * (wave + 0.3 * slow) + random.normal(0, sensor.noise, len(ms))
    for at in random.integers(0, max(len(ms), 1), len(ms) // 90_000):
        width = int(random.integers(20, 400))
        stretch = values[at : at + width]
        stretch += sensor.peak * np.hanning(width)[: len(stretch)]
    quality = np.ones(len(ms), np.uint8)
    for at in random.integers(0, max(len(ms), 1), len(ms) // 200_000):
        quality[at : at + int(random.integers(30, 900))] = 0
    return Points(ms, np.round(values, 3), quality)


def keep_arriving(store: SensorStore, over: threading.Event, clock: Callable[[], float]) -> None:
    """Append a point to every sample sensor each second until ``over`` is set."""
    random = np.random.default_rng()
    while not over.wait(1 - clock() % 1):
        now = np.array([round(clock()) * 1000], np.int64)
        with contextlib.suppress(Unavailable):
            store.append([(sensor.id, simulated(sensor, now, random)) for sensor in SENSORS])
