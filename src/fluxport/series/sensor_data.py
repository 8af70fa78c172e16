"""Parses ``historian.v1.SensorData``, one point of one sensor in protobuf, as the Historian's producers send it.

proto3 does not send a field that has its default value, so that a field which is absent is that value: quality 0 is
bad, value 0.0, time 0 is 1970. A message with a field twice is refused: it is two messages, of which protobuf's own
parser would use the second.
"""

from __future__ import annotations

import struct
from typing import Any

from fluxport.varints import signed, varint

# Names and wire types by field number; int64 and int32 are varints, a double is eight bytes, text has a length.
_VARINT, _DOUBLE, _TEXT, _FLOAT = 0, 1, 2, 5
_FIELDS = {1: ("sensor_id", _TEXT), 2: ("value", _DOUBLE), 3: ("timestamp_ms", _VARINT), 4: ("quality", _VARINT)}
_NUMBER_MAX = (1 << 29) - 1  # of a field


def read_sensor_data(body: bytes) -> dict[str, Any]:
    """The point as columns of one row, ``sensor_id`` among them; ValueError if it is not a SensorData."""
    point: dict[str, Any] = {}
    at = 0
    try:
        while at < len(body):
            start = at
            key, at = varint(body, at)
            if not 1 <= key >> 3 <= _NUMBER_MAX or at - start > 5:
                raise ValueError  # no field has this number
            value, at = _value(body, at, key & 7)
            name, kind = _FIELDS.get(key >> 3, ("", None))
            if name and (kind != key & 7 or name in point):
                raise ValueError
            if name:
                point[name] = value
    except (IndexError, struct.error):
        raise ValueError from None
    return {
        "sensor_id": [point.get("sensor_id", b"").decode()],
        "timestamp_ms": [signed(point.get("timestamp_ms", 0))],
        "value": [point.get("value", 0.0)],
        "quality": [signed(point.get("quality", 0))],
    }


def _value(body: bytes, at: int, kind: int) -> tuple[Any, int]:
    """The value of a wire type at ``at``, and the position after it."""
    if kind == _VARINT:
        return varint(body, at)
    if kind == _DOUBLE:
        return struct.unpack_from("<d", body, at)[0], at + 8
    size = 4
    if kind == _TEXT:
        size, at = varint(body, at)
    elif kind != _FLOAT:
        raise ValueError
    if at + size > len(body):
        raise IndexError
    return body[at : at + size], at + size
