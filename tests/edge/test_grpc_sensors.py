"""Points over gRPC from a real client to a running service: acknowledged when they are durable."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fluxport.grpc import sensors_pb2 as pb
from fluxport.grpc import sensors_pb2_grpc as pb_grpc
from fluxport.series import Points
from fluxport.series.embedded import EmbeddedStore
from grpc_support import GrpcApi, grpc_api, new_key
from series_support import T0, csv_of, stored, walk

A = walk(50_000)


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[GrpcApi]:
    with grpc_api(tmp_path, FLUXPORT_SERIES__PATH=str(tmp_path / "series.db")) as found:
        yield found


def messages(sensor: str, whole: Points, size: int) -> Iterator[pb.Points]:
    for number, start in enumerate(range(0, len(whole), size), 1):
        part = whole[start : start + size]
        yield pb.Points(
            sensor_id=sensor,
            timestamp_ms=part.ms.tolist(),
            value=part.values.tolist(),
            quality=part.quality.tolist(),
            sequence=number,
        )


def append(to: GrpcApi, sent: Iterator[pb.Points], key: str | None = None) -> tuple[list[pb.Accepted], Any]:
    """The responses, and the ended call."""
    metadata = (("authorization", f"Bearer {to.key if key is None else key}"),)
    answers: list[pb.Accepted] = []
    with grpc.insecure_channel(to.target) as channel:
        call: Any = pb_grpc.SensorServiceStub(channel).Append(sent, metadata=metadata, timeout=60)
        try:
            for answer in call:
                answers.append(answer)  # noqa: PERF402  an error must not lose those before it
        except grpc.RpcError:
            pass
        call.code()
    return answers, call


def file_of(to: GrpcApi, sensor: str) -> bytes:
    target = f"/api/v1/export?sensor_id={sensor}&start_ts=0&end_ts={T0 + 10**12}"
    return httpx.get(to.http.base + target).content


def test_every_message_is_answered_in_order_and_stored(plant: GrpcApi) -> None:
    answers, call = append(plant, messages("a", A, 500))
    assert call.code() is grpc.StatusCode.OK
    assert [answer.sequence for answer in answers] == list(range(1, 101))
    assert {answer.points for answer in answers} == {500}
    assert file_of(plant, "a") == csv_of(A)
    append(plant, messages("a", A, 1000))
    assert file_of(plant, "a") == csv_of(A), "what is sent again changes nothing"
    assert 'fluxport_points_total{door="grpc"} 100000.0' in httpx.get(f"{plant.http.base}/metrics").text


def test_without_quality_points_are_good(plant: GrpcApi) -> None:
    append(plant, iter([pb.Points(sensor_id="a", timestamp_ms=[T0], value=[2.5])]))
    assert file_of(plant, "a") == b"timestamp_ms,value,quality\n%d,2.5,1\n" % T0


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (pb.Points(sensor_id="a", timestamp_ms=[1, 2], value=[1.0]), "BAD_POINTS"),
        (pb.Points(sensor_id="a", timestamp_ms=[1], value=[1.0], quality=[256]), "BAD_POINTS"),
        (pb.Points(sensor_id="", timestamp_ms=[1], value=[1.0]), "BAD_SENSOR"),
        (pb.Points(sensor_id="a", timestamp_ms=[10**17], value=[1.0]), "BAD_POINT"),
    ],
)
def test_an_invalid_message_ends_the_call_after_those_before_it(plant: GrpcApi, wrong: pb.Points, code: str) -> None:
    good = next(messages("good", A, 10))
    answers, call = append(plant, iter([good, wrong, good]))
    assert call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(call.trailing_metadata())["x-fluxport-error-code"] == code
    assert [answer.points for answer in answers] == [10]
    assert file_of(plant, "good") == csv_of(A[:10])


def test_keys_need_the_scope(plant: GrpcApi) -> None:
    one = pb.Points(sensor_id="a", timestamp_ms=[1], value=[1.0])
    _, unknown = append(plant, iter([one]), key="nothing")
    assert unknown.code() is grpc.StatusCode.UNAUTHENTICATED
    _, reader = append(plant, iter([one]), key=new_key(plant.folder, "reader", "series"))
    assert reader.code() is grpc.StatusCode.PERMISSION_DENIED
    assert file_of(plant, "a").startswith(b'{"type"'), "there is no such sensor"


def test_a_killed_service_has_what_it_acknowledged(plant: GrpcApi) -> None:
    answered = 0
    metadata = (("authorization", f"Bearer {plant.key}"),)
    with grpc.insecure_channel(plant.target) as channel:
        call: Any = pb_grpc.SensorServiceStub(channel).Append(messages("a", A, 100), metadata=metadata, timeout=60)
        with pytest.raises(grpc.RpcError):
            for answer in call:
                answered = answer.sequence
                if answered == 100:
                    os.kill(plant.http.pid, signal.SIGKILL)
    store = EmbeddedStore(plant.folder / "series.db")
    found = stored(store, "a")
    store.close()
    assert answered >= 100
    assert len(found) >= 100 * answered
    assert csv_of(found) == csv_of(A[: len(found)])


def test_without_a_store_it_is_unimplemented(tmp_path: Path) -> None:
    with grpc_api(tmp_path) as bare:
        _, call = append(bare, iter([pb.Points(sensor_id="a", timestamp_ms=[1], value=[1.0])]))
        assert call.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_service_reports_that_it_is_healthy(plant: GrpcApi) -> None:
    with grpc.insecure_channel(plant.target) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        reported = health.Check(health_pb2.HealthCheckRequest(service="sensors.SensorService"), timeout=10)
    assert reported.status == health_pb2.HealthCheckResponse.SERVING
