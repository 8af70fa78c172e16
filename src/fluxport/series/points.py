"""Points of one sensor as three arrays of the same length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fluxport.errors import Refused

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The years 0001 to 9999, so that every timestamp is a date in every format.
MS_MIN = -62_135_596_800_000
MS_MAX = 253_402_300_799_999
QUALITY_MAX = 255
BAD, GOOD = 0, 1
SENSOR_ID_MAX = 200


@dataclass(frozen=True, eq=False)
class Points:
    """``ms`` int64 since 1970, ``values`` float64 with NaN for no value, ``quality`` uint8: 0 bad, 1 good."""

    ms: NDArray[np.int64]
    values: NDArray[np.float64]
    quality: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.ms)

    def __getitem__(self, cut: slice | NDArray[np.intp] | NDArray[np.bool_]) -> Points:
        return Points(self.ms[cut], self.values[cut], self.quality[cut])

    def between(self, start_ms: int, end_ms: int) -> Points:
        """The points from ``start_ms`` to ``end_ms``, inclusive; requires them to be sorted."""
        first, last = np.searchsorted(self.ms, [start_ms, end_ms + 1])
        return self[first:last]

    @property
    def size_bytes(self) -> int:
        return 17 * len(self)


EMPTY = Points(np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.uint8))


def joined(parts: list[Points]) -> Points:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return EMPTY
    return Points(
        np.concatenate([p.ms for p in parts]),
        np.concatenate([p.values for p in parts]),
        np.concatenate([p.quality for p in parts]),
    )


def settled(points: Points) -> Points:
    """The points sorted by time; of those with the same timestamp, only the last."""
    rising = np.diff(points.ms) > 0
    if rising.all():
        return points
    order = np.argsort(points.ms, kind="stable")
    ms = points.ms[order]
    last = np.append(ms[1:] != ms[:-1], True)
    return points[order[last]]


def merged(old: Points, new: Points) -> Points:
    """All points of both, which must be sorted; a new point replaces an old one with the same timestamp."""
    if not len(new):
        return old
    if not len(old) or old.ms[-1] < new.ms[0]:
        return joined([old, new])
    return settled(joined([old, new]))


def checked(points: Points) -> Points:
    """Points as the store requires them; Refused for a timestamp outside the calendar."""
    if len(points) and (int(points.ms.min()) < MS_MIN or int(points.ms.max()) > MS_MAX):
        raise Refused("A timestamp is outside the years 1 to 9999; they are milliseconds since 1970.", code="bad_point")
    return settled(points)


def check_sensor_id(sensor_id: str) -> None:
    if not 1 <= len(sensor_id) <= SENSOR_ID_MAX or not sensor_id.isprintable() or sensor_id != sensor_id.strip():
        raise Refused(
            f"A sensor's id must have 1 to {SENSOR_ID_MAX} printable characters, without a space at either end.",
            code="bad_sensor",
        )
