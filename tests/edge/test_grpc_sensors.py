"""Points over gRPC from a real client to a running service: acknowledged when they are durable."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from fluxport.grpc import historian_pb2, historian_pb2_grpc
from fluxport.grpc import sensors_pb2 as pb
from fluxport.grpc import sensors_pb2_grpc as pb_grpc
from fluxport.series import Points
from fluxport.series.embedded import EmbeddedStore
from grpc_support import COLUMNS, GrpcApi, batch, grpc_api, metadata, new_key
from own_servers import free_ports
from series_support import T0, csv_of, points, stored, walk

A = walk(50_000)
SOME = points([T0 + 1, T0 + 2, T0 + 3, T0 + 4], [0.1, -2.5, 3.0, 1e300], [1, 0, 7, 1])


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


@pytest.mark.parametrize("name", ["sensors.SensorService", "historian.v1.HistorianQuery"])
def test_the_service_reports_that_it_is_healthy(plant: GrpcApi, name: str) -> None:
    with grpc.insecure_channel(plant.target) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        reported = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
        assert reported.status == health_pb2.HealthCheckResponse.SERVING
        assert name in ProtoReflectionDescriptorDatabase(channel).get_services()


# -- the Historian's query ---------------------------------------------------------------------------------------------


def query(to: GrpcApi, *headers: tuple[str, str], **fields: Any) -> tuple[list[tuple[int, float, int]], Any]:
    """The points, and the ended call; without a key, as the Historian's clients call."""
    found: list[tuple[int, float, int]] = []
    with grpc.insecure_channel(to.target) as channel:
        stub: Any = historian_pb2_grpc.HistorianQueryStub(channel)
        call = stub.Query(historian_pb2.QueryRequest(**fields), metadata=headers, timeout=60)
        try:
            for point in call:
                assert point.sensor_id == fields["sensor_id"]
                found.append((point.timestamp_ms, point.value, point.quality))
        except grpc.RpcError:
            pass
        call.code()
    return found, call


def rows(found: Points) -> list[tuple[int, float, int]]:
    return list(zip(found.ms.tolist(), found.values.tolist(), found.quality.tolist(), strict=True))


def test_the_messages_have_the_historians_names_and_numbers() -> None:
    file = historian_pb2.DESCRIPTOR
    assert file.package == "historian.v1"
    assert {
        name: [(field.name, field.number) for field in message.fields]
        for name, message in file.message_types_by_name.items()
    } == {
        "SensorData": [("sensor_id", 1), ("value", 2), ("timestamp_ms", 3), ("quality", 4)],
        "QueryRequest": [("sensor_id", 1), ("start_ts", 2), ("end_ts", 3), ("max_points", 4)],
    }
    (method,) = file.services_by_name["HistorianQuery"].methods
    assert (method.name, method.client_streaming, method.server_streaming) == ("Query", False, True)


def test_a_range_has_both_its_ends_and_every_point_as_it_was_sent(plant: GrpcApi) -> None:
    append(plant, messages("a", SOME, 4))
    assert query(plant, sensor_id="a", start_ts=T0 + 2, end_ts=T0 + 3)[0] == rows(SOME[1:3])
    assert query(plant, sensor_id="a")[0] == rows(SOME), "without bounds, all of it"
    assert query(plant, sensor_id="a", start_ts=T0 + 3)[0] == rows(SOME[2:])
    nothing, call = query(plant, sensor_id="a", start_ts=1, end_ts=2)
    assert (nothing, call.code()) == ([], grpc.StatusCode.OK)


@pytest.mark.parametrize(("most", "http"), [(0, 1000), (-1, 0), (100, 100), (1, 1), (2**31 - 1, 20_000)])
def test_more_points_are_reduced_as_over_http(plant: GrpcApi, most: int, http: int) -> None:
    append(plant, messages("a", A, 10_000))
    found, _ = query(plant, sensor_id="a", start_ts=T0, end_ts=T0 + 10**10, max_points=most)
    target = f"/api/v1/query?sensor_id=a&start_ts={T0}&end_ts={T0 + 10**10}&max_points={http}"
    expected = httpx.get(plant.http.base + target).json()["points"]
    shown = [(ms, None if value != value else value, quality) for ms, value, quality in found]
    assert shown == [(point["timestamp"], point["value"], point["quality"]) for point in expected]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"sensor_id": "nobody"}, "NOT_FOUND", "NO_SUCH_SENSOR"),
        ({"sensor_id": "a", "start_ts": 3, "end_ts": 2}, "INVALID_ARGUMENT", "BAD_RANGE"),
        ({"sensor_id": "a", "start_ts": -(2**62)}, "INVALID_ARGUMENT", "BAD_RANGE"),
        ({"sensor_id": ""}, "INVALID_ARGUMENT", "BAD_SOURCE"),
    ],
)
def test_a_query_that_cannot_be_answered_is_refused(
    plant: GrpcApi, fields: dict[str, Any], status: str, code: str
) -> None:
    _, call = query(plant, **fields)
    assert (call.code().name, dict(call.trailing_metadata())["x-fluxport-error-code"]) == (status, code)


def test_who_may_query_is_who_may_read_over_http(tmp_path: Path) -> None:
    environ = {"FLUXPORT_SERIES__PATH": str(tmp_path / "series.db")}

    def status(to: GrpcApi, *headers: tuple[str, str]) -> str:
        name: str = query(to, *headers, sensor_id="a")[1].code().name
        return name

    with grpc_api(tmp_path, **environ) as local:
        append(local, messages("a", A[:10], 10))
        assert status(local) == "OK"
        assert status(local, ("authorization", "Bearer another-systems")) == "OK"
        assert status(local, ("x-forwarded-for", "192.0.2.1")) == "UNAUTHENTICATED"
    with grpc_api(tmp_path, FLUXPORT_SERIES__OPEN="off", **environ) as closed:
        assert status(closed) == "UNAUTHENTICATED"
        assert status(closed, ("authorization", f"Bearer {closed.key}")) == "PERMISSION_DENIED"
        reader = new_key(tmp_path, "chart", "series")
        assert status(closed, ("authorization", f"Bearer {reader}")) == "OK"
    with grpc_api(tmp_path, FLUXPORT_SERIES__OPEN="on", **environ) as public:
        assert status(public, ("x-forwarded-for", "192.0.2.1")) == "OK"


def test_one_server_listens_on_several_addresses(tmp_path: Path) -> None:
    """The ports of the export middleware and of the Historian: each serves everything."""
    first, second = free_ports(2)
    environ = {
        "FLUXPORT_SERIES__PATH": str(tmp_path / "series.db"),
        "FLUXPORT_GRPC__PORT": str(first),
        "FLUXPORT_GRPC__ADDRESSES": f'["127.0.0.1:{second}"]',
    }
    with grpc_api(tmp_path, **environ) as found:
        assert found.target == f"127.0.0.1:{first}"
        other = replace(found, target=f"127.0.0.1:{second}")
        append(found, messages("a", SOME, 4))
        assert query(other, sensor_id="a")[0] == rows(SOME)
        for each in (found, other):
            assert each.push([metadata(columns=COLUMNS[:1]), batch(1, ("1",))]).last.record_count == 1
