"""A chunk: some thousand points of one sensor as one compressed block, lossless.

Times, and values as 64-bit integers, are stored as differences from their predecessor, transposed to byte planes (all
first bytes, all second bytes, ...), so that bytes that change little are adjacent; zstd compresses the planes.
::

    01 | zstd( times: plane 0 .. plane 7 | values: plane 0 .. plane 7 | quality )      17 bytes per point
               n bytes each                n bytes each                 n bytes

    deltas  e8 03 00 00 ..        plane 0  e8 e8 e9      little-endian: high planes are mostly 00 or ff
            e8 03 00 00 ..   ->   plane 1  03 03 03
            e9 03 00 00 ..        plane 2  00 00 00
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import zstandard

from fluxport.errors import Broken
from fluxport.series.downsample import thinned
from fluxport.series.points import Points

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS = 8192
# An outline has the lowest and highest point of each of so many parts of a chunk: enough for a chart of many chunks.
OUTLINE_PARTS = 16
OUTLINE_POINTS = 2 * OUTLINE_PARTS
_VERSION = b"\x01"
_LEVEL = 1


def pack(points: Points) -> bytes:
    planes = [_planes(points.ms), _planes(points.values.view(np.int64)), points.quality.tobytes()]
    # One compressor per call: they are not thread-safe.
    return _VERSION + zstandard.ZstdCompressor(_LEVEL, write_checksum=True).compress(b"".join(planes))


def unpack(data: bytes, count: int) -> Points:
    """The ``count`` points passed to :func:`pack`; Broken if the block is damaged."""
    try:
        if data[:1] != _VERSION:
            raise ValueError(data[:1])
        flat = zstandard.decompress(memoryview(data)[1:], max_output_size=17 * count)
        raw = np.frombuffer(flat, np.uint8)
        if len(raw) != 17 * count:
            raise ValueError(len(raw))
    except (ValueError, zstandard.ZstdError) as error:
        raise Broken("A chunk of the sensor store is damaged; restore the file.", code="series_damaged") from error
    ms = _whole(raw[: 8 * count], count)
    values = _whole(raw[8 * count : 16 * count], count).view(np.float64)
    return Points(ms, values, raw[16 * count :])


def pack_outline(points: Points) -> bytes:
    few = thinned(points, max(1, len(points) // OUTLINE_PARTS))
    return few.ms.tobytes() + few.values.tobytes() + few.quality.tobytes()


def unpack_outline(data: bytes) -> Points:
    count = len(data) // 17
    return Points(
        np.frombuffer(data, np.int64, count),
        np.frombuffer(data, np.float64, count, 8 * count),
        np.frombuffer(data, np.uint8, count, 16 * count),
    )


def _planes(numbers: NDArray[np.int64]) -> bytes:
    # Differences wrap around, and so does the sum that undoes them.
    steps = np.empty(len(numbers), np.uint64)
    bits = numbers.view(np.uint64)
    steps[:1] = bits[:1]
    np.subtract(bits[1:], bits[:-1], out=steps[1:])
    return steps.astype("<u8").view(np.uint8).reshape(-1, 8).T.tobytes()


def _whole(planes: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    steps = np.ascontiguousarray(planes.reshape(8, count).T).view("<u8").reshape(count)
    return np.cumsum(steps, dtype=np.uint64).view(np.int64)
