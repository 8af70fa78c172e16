"""The Historian's message, read as protobuf's own parser reads it, or refused."""

from __future__ import annotations

import math
import struct

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from fluxport.errors import Refused
from fluxport.grpc import historian_pb2 as pb
from fluxport.series.bodies import PROTOBUF, read_points
from fluxport.series.sensor_data import read_sensor_data

INT64 = st.integers(-(2**63), 2**63 - 1)


def columns(message: pb.SensorData) -> dict[str, list[object]]:
    return {name: [getattr(message, name)] for name in ("sensor_id", "timestamp_ms", "value", "quality")}


@given(st.text(max_size=200), st.floats(allow_nan=False), INT64, st.integers(-(2**31), 2**31 - 1))
def test_every_message_is_read_exactly(sensor: str, value: float, ms: int, quality: int) -> None:
    message = pb.SensorData(sensor_id=sensor, value=value, timestamp_ms=ms, quality=quality)
    found = read_sensor_data(message.SerializeToString())
    assert found == columns(message)
    assert math.copysign(1, found["value"][0]) == math.copysign(1, value)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_as_the_parser_does_or_refused(content: bytes) -> None:
    try:
        found = read_sensor_data(content)
    except ValueError:
        return
    expected = pb.SensorData.FromString(content)
    assert found["sensor_id"] == [expected.sensor_id]
    assert struct.pack("<d", found["value"][0]) == struct.pack("<d", expected.value)


@pytest.mark.parametrize("tag", ["00", "8080808010", "f8ffffff1f", "f8ffffffff01", "98808080800000"])
def test_a_number_that_no_field_has_is_refused(tag: str) -> None:
    """As by protobuf's own parser: 0, more than 29 bits, or more than five bytes."""
    for content in (bytes.fromhex(tag) + b"\0", b"\x18\5" + bytes.fromhex(tag) + b"\0"):
        with pytest.raises(DecodeError):
            pb.SensorData.FromString(content)
        with pytest.raises(Refused) as refused:
            read_points(content, PROTOBUF, "a")
        assert refused.value.code == "bad_points"


def test_fields_of_later_versions_are_skipped() -> None:
    later = b"\x2a\x02hi\x30\x07\x3d\x00\x00\x80\x3f\x41" + bytes(8)
    message = pb.SensorData(sensor_id="a", value=2.5, timestamp_ms=7, quality=1)
    assert read_sensor_data(message.SerializeToString() + later) == columns(message)


def test_a_field_that_is_left_out_has_its_default_value() -> None:
    """So quality is bad: that is what such a message says."""
    ((sensor, points),) = read_points(pb.SensorData(sensor_id="a").SerializeToString(), PROTOBUF, "", several=True)
    assert (sensor, points.ms.tolist(), points.values.tolist(), points.quality.tolist()) == ("a", [0], [0.0], [0])


def test_the_message_names_the_sensor_or_leaves_it_to_the_request() -> None:
    for named, kind in (("a", PROTOBUF), ("", PROTOBUF), ("a", "application/protobuf")):
        body = pb.SensorData(sensor_id=named, value=1, timestamp_ms=5, quality=1).SerializeToString()
        ((sensor, points),) = read_points(body, kind, "a")
        assert (sensor, points.quality.tolist()) == ("a", [1])


ONE = pb.SensorData(sensor_id="a", value=1, timestamp_ms=5, quality=1).SerializeToString()


@pytest.mark.parametrize(
    "body",
    [
        ONE + ONE,
        ONE[:-1],
        b'{"timestamp_ms": 1, "value": 1}',
        pb.SensorData(sensor_id="b", timestamp_ms=5).SerializeToString(),
        pb.SensorData(sensor_id="a", timestamp_ms=5, quality=256).SerializeToString(),
        pb.SensorData(sensor_id="a", timestamp_ms=5, quality=-1).SerializeToString(),
        pb.SensorData(sensor_id="a", timestamp_ms=2**62).SerializeToString(),
        ONE.replace(b"a", b"\xff"),
    ],
)
def test_what_is_not_one_message_of_the_sensor_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        read_points(body, "application/x-protobuf; messageType=historian.v1.SensorData", "a")
    assert refused.value.code in ("bad_points", "bad_point")
