"""Points over NATS JetStream and MQTT, from real brokers into a running service that may be killed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import nats
import pyarrow as pa
import pytest
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DiscardPolicy, StreamConfig
from paho.mqtt.client import Client as Mqtt
from paho.mqtt.client import MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from brokers import mosquitto, nats_server
from fluxport.errors import Refused, Unavailable
from fluxport.grpc import historian_pb2 as historian
from fluxport.ingest import Message, patiently, take
from fluxport.ingest.mqtt import MqttIngest, MqttOptions
from fluxport.series import Points
from fluxport.series.bodies import read_points
from fluxport.series.embedded import EmbeddedOptions, EmbeddedStore
from own_servers import free_port
from series_support import T0, csv_of, points, same, stored, walk
from service_support import Client, process, service

Send = tuple[str, bytes, str]


def message(sensor: str, found: Points, kind: str) -> Send:
    if kind == "text/csv":
        return sensor, csv_of(found), kind
    values = [None if v != v else v for v in found.values.tolist()]
    columns = {"timestamp_ms": found.ms.tolist(), "value": values, "quality": found.quality.tolist()}
    return sensor, json.dumps(columns).encode(), kind


def messages(count: int, size: int = 50) -> list[Send]:
    whole = walk(count * size)
    kinds = ("application/json", "text/csv", "")
    return [message("plant.a", whole[n * size : n * size + size], kinds[n % 3]) for n in range(count)]


BAD = [("plant.a", b"{not json", ""), ("plant.a", b'[{"timestamp_ms": 1}]', ""), ("plant.a", b"x", "image/png")]
ONE_POINT = message("line/1", points([T0], [2.5]), "")

LETTERS_OF_NATS = 'fluxport_dead_letters_total{door="nats"}'
LETTERS_OF_MQTT = 'fluxport_dead_letters_total{door="mqtt"}'
LETTERS_LOST = 'fluxport_refusals_total{code="dead_letter_lost"}'


def counted(client: Client, metric: str, number: int) -> bool:
    return f"{metric} {number}.0" in httpx.get(f"{client.base}/metrics").text


def publish_nats(url: str, sent: Sequence[Send]) -> None:
    async def run() -> None:
        client = await nats.connect(url)
        stream = client.jetstream()
        for sensor, body, kind in sent:
            await stream.publish(f"sensors.{sensor}", body, headers={"Content-Type": kind} if kind else None)
        await client.close()

    asyncio.run(run())


def nats_do(url: str, do: Callable[[Any], Awaitable[Any]]) -> None:
    """Call ``do`` with a JetStream context."""

    async def run() -> None:
        client = await nats.connect(url)
        await do(client.jetstream())
        await client.close()

    asyncio.run(run())


def nats_consumer(url: str) -> ConsumerInfo:
    async def run() -> ConsumerInfo:
        client = await nats.connect(url)
        try:
            reported: ConsumerInfo = await client.jetstream().consumer_info("SENSORS", "fluxport")
            return reported
        finally:
            await client.close()

    return asyncio.run(run())


def read_to(url: str) -> int:
    """The number of the last message before which all are acknowledged."""
    floor = nats_consumer(url).ack_floor
    return floor.stream_seq if floor else 0


def publish_mqtt(url: str, sent: Sequence[Send], qos: int = 1) -> None:
    parts = urlsplit(url)
    client = Mqtt(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.max_inflight_messages_set(20)
    client.connect(parts.hostname or "", parts.port or 0)
    client.loop_start()
    last: Any = None
    for sensor, body, kind in sent:
        properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # the library has no types there
        if kind:
            properties.ContentType = kind
        last = client.publish(f"sensors/{sensor}", body, qos=qos, properties=properties)
    last.wait_for_publish(30)
    client.disconnect()
    client.loop_stop()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def count_of(client: Client, sensor: str) -> int:
    answer = httpx.get(f"{client.base}/v1/sensors/{sensor}/points?max_points=4")
    return int(answer.json()["count"]) if answer.status_code == 200 else 0


def file_of(client: Client, sensor: str) -> bytes:
    return httpx.get(f"{client.base}/api/v1/export?sensor_id={sensor}&start_ts=0&end_ts={T0 + 10**12}").content


def subscribed(client: Client, url: str, first: Send, sensor: str = "", qos: int = 1) -> bool:
    """Whether a message arrives: a broker queues messages only for a session that it has."""
    publish_mqtt(url, [first], qos)
    return count_of(client, sensor or first[0]) > 0


def settings_of(folder: Path, **more: str) -> dict[str, str]:
    return {"FLUXPORT_SERIES__PATH": str(folder / "series.db"), **more}


def test_messages_of_nats_are_stored_then_acknowledged_and_bad_ones_are_dead_letters(tmp_path: Path) -> None:
    sent = messages(60)
    with (
        nats_server(tmp_path) as url,
        service(tmp_path, "", **settings_of(tmp_path, FLUXPORT_SERIES__NATS__URL=url)) as client,
    ):
        until(lambda: bool(nats_stream(url)), "the stream was not made")
        several = json.dumps([{"sensor_id": s, "timestamp_ms": T0, "value": 1.5} for s in ("x", "y")]).encode()
        publish_nats(url, [*BAD, *sent, *sent[:10], ("any", several, "")])
        until(lambda: count_of(client, "plant.a") == 3000, "not all points arrived")
        until(lambda: count_of(client, "y") == 1, "a message of several sensors did not arrive")
        assert file_of(client, "plant.a") == csv_of(walk(3000))
        until(lambda: nats_consumer(url).num_ack_pending == 0, "not everything was answered for")
        assert nats_consumer(url).num_pending == 0
        metrics = httpx.get(f"{client.base}/metrics").text
        assert 'fluxport_points_total{door="nats"} 3502.0' in metrics
        assert 'fluxport_refusals_total{code="bad_points"} 2.0' in metrics
        assert 'fluxport_dead_letters_total{door="nats"} 3.0' in metrics
        assert [(letter.data, letter.headers["Fluxport-Subject"]) for letter in nats_dead_letters(url)] == [
            (body, f"sensors.{sensor}") for sensor, body, _ in BAD
        ]


def nats_stream(url: str) -> list[str]:
    async def run() -> list[str]:
        client = await nats.connect(url)
        try:
            return [info.config.name or "" for info in await client.jetstream().streams_info()]
        finally:
            await client.close()

    return asyncio.run(run())


def nats_dead_letters(url: str, stream: str = "SENSORS_DEAD") -> list[Any]:
    """All messages of the stream of dead letters."""

    async def run() -> list[Any]:
        client = await nats.connect(url)
        try:
            context = client.jetstream()
            state = (await context.stream_info(stream)).state
            return [await context.get_msg(stream, n) for n in range(state.first_seq, state.last_seq + 1)]
        finally:
            await client.close()

    return asyncio.run(run())


def sensor_data(sensor: str, found: Points) -> list[bytes]:
    """As the Historian's producers send points: one in each message."""
    rows = zip(found.ms.tolist(), found.values.tolist(), found.quality.tolist(), strict=True)
    return [
        historian.SensorData(sensor_id=sensor, timestamp_ms=ms, value=value, quality=quality).SerializeToString()
        for ms, value, quality in rows
    ]


def publish_plain(url: str, subject: str, bodies: Sequence[bytes]) -> None:
    """Without headers, as the Historian's producers do."""

    async def run() -> None:
        client = await nats.connect(url)
        for body in bodies:
            await client.publish(subject, body)
        await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("subject", ["data.raw", "plant.all"])
def test_the_historians_producers_need_no_header(tmp_path: Path, subject: str) -> None:
    """Their subject says what they send, or the setting does; other messages of the subject are dead letters."""
    more = {} if subject == "data.raw" else {"FLUXPORT_SERIES__NATS__TYPE": "application/x-protobuf"}
    found = walk(400)
    with nats_server(tmp_path) as url:
        settings = settings_of(tmp_path, FLUXPORT_SERIES__NATS__URL=url, FLUXPORT_SERIES__NATS__SUBJECT=subject, **more)
        with service(tmp_path, "", "--no-worker", **settings) as client:
            until(lambda: bool(nats_stream(url)), "the stream was not made")
            unnamed = historian.SensorData(timestamp_ms=T0, value=1).SerializeToString()
            unknown = [b"?", b'{"timestamp_ms": 1, "value": 1}', unnamed]
            publish_plain(url, subject, [*unknown, *sensor_data("pump/1", found)])
            until(lambda: count_of(client, "pump/1") == 400, "not all points arrived")
            until(lambda: nats_consumer(url).num_ack_pending == 0, "not everything was answered for")
            assert file_of(client, "pump/1") == csv_of(found)
            letters = nats_dead_letters(url)
            assert [letter.data for letter in letters] == unknown
            assert {letter.headers["Fluxport-Subject"] for letter in letters} == {subject}
            assert [letter.headers["Fluxport-Error-Code"] for letter in letters] == ["bad_points"] * 2 + ["bad_sensor"]


def test_a_message_waits_until_its_dead_letter_is_stored(tmp_path: Path) -> None:
    """A stream that takes no more messages has the subject: the bad message is not acknowledged before it does."""

    async def dead_stream(url: str, most: int) -> None:
        client = await nats.connect(url)
        context = client.jetstream()
        config = StreamConfig("DEAD", subjects=["fluxport.dead"], discard=DiscardPolicy.NEW, max_bytes=most)
        await (context.add_stream(config) if most == 1 else context.update_stream(config))
        await client.close()

    with nats_server(tmp_path) as url:
        asyncio.run(dead_stream(url, 1))
        settings = settings_of(tmp_path, FLUXPORT_SERIES__NATS__URL=url)
        with service(tmp_path, "", "--no-worker", **settings) as client:
            until(lambda: bool(set(nats_stream(url)) - {"DEAD"}), "the stream was not made")
            publish_nats(url, [BAD[0], message("line/1", points([T0], [2.5]), "")])
            until(lambda: count_of(client, "line/1") == 1, "the good message waits for the bad one")
            until(lambda: warned(tmp_path, "a dead letter cannot be stored at fluxport.dead now"), "nothing was said")
            assert nats_consumer(url).num_ack_pending == 1
            asyncio.run(dead_stream(url, 1 << 20))
            until(lambda: nats_consumer(url).num_ack_pending == 0, "the dead letter was not stored")
        (letter,) = nats_dead_letters(url, "DEAD")
        assert letter.data == BAD[0][1]


def test_a_dead_letter_too_large_for_nats_has_no_body(tmp_path: Path) -> None:
    """The server closes a connection that sends more than its limit, headers included."""
    body = b"{" * (1 << 20)
    with nats_server(tmp_path) as url:
        settings = settings_of(tmp_path, FLUXPORT_SERIES__NATS__URL=url)
        with service(tmp_path, "", "--no-worker", **settings) as client:
            until(lambda: bool(nats_stream(url)), "the stream was not made")
            publish_nats(url, [("plant.a", body, ""), ONE_POINT])
            until(lambda: count_of(client, "line/1") == 1, "the message after it did not arrive")
            until(lambda: counted(client, LETTERS_OF_NATS, 1), "the letter was not counted")
        (letter,) = nats_dead_letters(url)
        assert not letter.data
        assert letter.headers["Fluxport-Body-Bytes"] == str(1 << 20)
        assert letter.headers["Fluxport-Body-SHA256"] == hashlib.sha256(body).hexdigest()


def test_a_dead_letter_too_large_for_its_stream_has_no_body(tmp_path: Path) -> None:
    with nats_server(tmp_path) as url:
        nats_do(url, lambda jetstream: jetstream.add_stream(name="D", subjects=["fluxport.dead"], max_msg_size=1000))
        settings = settings_of(tmp_path, FLUXPORT_SERIES__NATS__URL=url)
        with service(tmp_path, "", "--no-worker", **settings) as client:
            until(lambda: "SENSORS" in nats_stream(url), "the stream was not made")
            publish_nats(url, [("plant.a", b"{" * 2000, "")])
            until(lambda: counted(client, LETTERS_OF_NATS, 1), "the letter was not counted")
        (letter,) = nats_dead_letters(url, "D")
        assert letter.headers["Fluxport-Body-Bytes"] == "2000"


def test_headers_that_leave_no_room_are_not_those_of_the_dead_letter(tmp_path: Path) -> None:
    """The headers of a message in a stream have at most 65,535 bytes."""
    with nats_server(tmp_path) as url:
        settings = settings_of(tmp_path, FLUXPORT_SERIES__NATS__URL=url)
        with service(tmp_path, "", "--no-worker", **settings) as client:
            until(lambda: bool(nats_stream(url)), "the stream was not made")
            headers = {"Large": "x" * 65_400}
            nats_do(url, lambda jetstream: jetstream.publish("sensors.plant.a", b"?", headers=headers))
            until(lambda: counted(client, LETTERS_OF_NATS, 1), "the letter was not counted")
        (letter,) = nats_dead_letters(url)
        assert letter.data == b"?"
        assert letter.headers["Fluxport-Error-Code"] == "bad_points"
        assert "Large" not in letter.headers


def test_a_stream_of_dead_letters_gets_a_changed_subject(tmp_path: Path) -> None:
    with nats_server(tmp_path) as url:
        nats_do(url, lambda jetstream: jetstream.add_stream(name="SENSORS_DEAD", subjects=["other.dead"]))
        settings = settings_of(tmp_path, FLUXPORT_SERIES__NATS__URL=url)
        with service(tmp_path, "", "--no-worker", **settings) as client:
            until(lambda: "SENSORS" in nats_stream(url), "the stream was not made")
            publish_nats(url, BAD[:1])
            until(lambda: counted(client, LETTERS_OF_NATS, 1), "the letter was not counted")
        (letter,) = nats_dead_letters(url)
        assert letter.subject == "fluxport.dead"


NO_LETTERS = """
authorization {
  users = [
    {user: admin, password: secret}
    {user: reader, password: secret, permissions: {publish: {allow: ">", deny: "fluxport.dead"}}}
  ]
}
"""


def test_bad_messages_whose_dead_letters_nats_refuses_do_not_stop_the_good_ones(tmp_path: Path) -> None:
    """More of them than the consumer delivers without acknowledgement; the log names the permission that is missing."""
    with nats_server(tmp_path, settings=NO_LETTERS) as plain:
        url = plain.replace("//", "//admin:secret@")
        nats_do(url, lambda jetstream: jetstream.add_stream(name="SENSORS", subjects=["sensors.>"]))
        few = ConsumerConfig(durable_name="fluxport", ack_policy=AckPolicy.EXPLICIT, max_ack_pending=10)
        nats_do(url, lambda jetstream: jetstream.add_consumer("SENSORS", few))
        settings = settings_of(tmp_path, FLUXPORT_SERIES__NATS__URL=plain.replace("//", "//reader:secret@"))
        with service(tmp_path, "", "--no-worker", **settings) as client:
            publish_nats(url, [*(BAD * 5), ONE_POINT])
            until(lambda: count_of(client, "line/1") == 1, "the message after them did not arrive")
            until(lambda: counted(client, LETTERS_LOST, 15), "not every lost letter was counted")
            until(lambda: nats_consumer(url).num_ack_pending == 0, "not everything was answered for")
            assert warned(tmp_path, "the account needs the permission to publish to fluxport.dead")


def test_a_subject_of_another_stream_is_named_as_the_reason(tmp_path: Path) -> None:
    async def other(url: str) -> None:
        client = await nats.connect(url)
        await client.jetstream().add_stream(name="OTHER", subjects=["sensors.>"])
        await client.close()

    with nats_server(tmp_path) as url:
        asyncio.run(other(url))
        with service(tmp_path, "", "--no-worker", **settings_of(tmp_path, FLUXPORT_SERIES__NATS__URL=url)):
            until(lambda: warned(tmp_path, "subjects overlap with an existing stream"), "nothing was said")


def test_dead_letters_among_the_subjects_that_are_read_are_passed_by(tmp_path: Path) -> None:
    with nats_server(tmp_path) as url:
        settings = settings_of(
            tmp_path, FLUXPORT_SERIES__NATS__URL=url, FLUXPORT_SERIES__NATS__DEAD_LETTER="sensors.dead"
        )
        with service(tmp_path, "", "--no-worker", **settings):
            until(lambda: bool(nats_stream(url)), "the stream was not made")
            publish_nats(url, BAD[:1])
            until(lambda: read_to(url) == 2, "the dead letter was not passed by")
        assert [letter.subject for letter in nats_dead_letters(url, "SENSORS")] == ["sensors.plant.a", "sensors.dead"]


@pytest.mark.parametrize("protocol", ["nats", "mqtt"])
def test_a_killed_service_resumes_where_it_was(tmp_path: Path, protocol: str) -> None:
    sent = messages(600, size=20)
    broker, publish = (nats_server, publish_nats) if protocol == "nats" else (mosquitto, publish_mqtt)
    with broker(tmp_path) as url:
        settings = settings_of(tmp_path, **{f"FLUXPORT_SERIES__{protocol.upper()}__URL": url})
        words = ("serve", "--port", "0", "--no-worker")
        with process(*words, folder=tmp_path, environ=settings, until="listening on") as (started, line):
            client = Client(line.split("listening on ")[1].strip(), started.pid)
            ready = (
                (lambda: bool(nats_stream(url))) if protocol == "nats" else (lambda: subscribed(client, url, sent[0]))
            )
            until(ready, "it does not read")
            publishing = threading.Thread(target=publish, args=(url, sent))
            publishing.start()
            until(lambda: count_of(client, "plant.a") > 100, "nothing arrived")
            os.kill(started.pid, signal.SIGKILL)
            started.wait()
        publishing.join()
        with service(tmp_path, "", "--no-worker", **settings) as client:
            until(lambda: count_of(client, "plant.a") == 12_000, "not all points arrived")
            assert file_of(client, "plant.a") == csv_of(walk(12_000))
            if protocol == "nats":
                until(lambda: nats_consumer(url).num_ack_pending == 0, "not everything was answered for")
    store = EmbeddedStore(tmp_path / "series.db")
    assert same(stored(store, "plant.a"), walk(12_000))
    store.close()


def test_a_broker_that_comes_later_or_again_is_read(tmp_path: Path) -> None:
    port = free_port()
    settings = settings_of(tmp_path, FLUXPORT_SERIES__NATS__URL=f"nats://127.0.0.1:{port}")
    with service(tmp_path, "", "--no-worker", **settings) as client:
        assert count_of(client, "plant.a") == 0
        sent = messages(20)
        for part in (sent[:10], sent):
            with nats_server(tmp_path, port) as url:
                until(partial(stream_there, url), "the stream was not made")
                publish_nats(url, part)
                until(partial(has, client, 50 * len(part)), "points of a new broker did not arrive")


def stream_there(url: str) -> bool:
    return bool(nats_stream(url))


def has(client: Client, count: int) -> bool:
    return count_of(client, "plant.a") == count


def test_messages_of_mqtt_are_stored_by_topic(tmp_path: Path) -> None:
    with (
        mosquitto(tmp_path) as url,
        service(tmp_path, "", "--no-worker", **settings_of(tmp_path, FLUXPORT_SERIES__MQTT__URL=url)) as client,
    ):
        until(lambda: subscribed(client, url, message("line/1", points([T0], [2.5]), "")), "no session")
        sent = messages(30)
        publish_mqtt(url, [*BAD, *sent, *sent[:5]])
        until(lambda: count_of(client, "plant.a") == 1500, "not all points arrived")
        (protobuf,) = sensor_data("pump/1", points([T0], [2.5]))
        publish_mqtt(url, [("any", protobuf, "application/x-protobuf")])
        until(lambda: count_of(client, "pump/1") == 1, "a message of the Historian did not arrive")
        assert file_of(client, "plant.a") == csv_of(walk(1500))
        assert file_of(client, "line/1") == csv_of(points([T0], [2.5]))


def mqtt_retained(url: str, topic: str) -> Any:
    """The message that the broker retains under the topic."""
    received: list[Any] = []
    parts = urlsplit(url)
    client = Mqtt(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.on_message = lambda _client, _data, message: received.append(message)
    client.connect(parts.hostname or "", parts.port or 0)
    client.loop_start()
    client.subscribe(topic, qos=1)
    until(lambda: bool(received), "nothing is retained")
    client.disconnect()
    client.loop_stop()
    return received[0]


@pytest.mark.parametrize("topic", ["sensors/#", "#"])
def test_a_bad_message_of_mqtt_is_retained_as_a_dead_letter(tmp_path: Path, topic: str) -> None:
    """Also where the service reads the topic of dead letters."""
    with mosquitto(tmp_path) as url:
        settings = settings_of(tmp_path, FLUXPORT_SERIES__MQTT__URL=url, FLUXPORT_SERIES__MQTT__TOPIC=topic)
        with service(tmp_path, "", "--no-worker", **settings) as client:
            known = message("line/1", points([T0], [2.5]), "")
            sensor = "line/1" if topic == "sensors/#" else "sensors/line/1"
            until(lambda: subscribed(client, url, known, sensor), "no session")
            publish_mqtt(url, BAD)
            until(lambda: counted(client, LETTERS_OF_MQTT, 3), "not every letter was counted")
            letter = mqtt_retained(url, "fluxport/dead/sensors/plant.a")
            assert (letter.payload, letter.properties.ContentType) == (BAD[-1][1], BAD[-1][2])
            assert dict(letter.properties.UserProperty)["fluxport-error-code"] == "bad_points_type"


def test_a_long_name_in_a_message_of_mqtt_is_cut_in_its_dead_letter(tmp_path: Path) -> None:
    """A property holds at most 65,535 bytes."""
    with mosquitto(tmp_path) as url:
        settings = settings_of(tmp_path, FLUXPORT_SERIES__MQTT__URL=url)
        with service(tmp_path, "", "--no-worker", **settings) as client:
            until(lambda: subscribed(client, url, ONE_POINT), "no session")
            body = json.dumps([{"x" * 70_000: 1}]).encode()
            publish_mqtt(url, [("plant.a", body, ""), message("line/2", points([T0], [1.5]), "")])
            until(lambda: counted(client, LETTERS_OF_MQTT, 1), "the letter was not counted")
            until(lambda: count_of(client, "line/2") == 1, "the message after it did not arrive")
        letter = mqtt_retained(url, "fluxport/dead/sensors/plant.a")
        assert letter.payload == body
        assert len(dict(letter.properties.UserProperty)["fluxport-error"]) < 200


def test_a_dead_letter_that_cannot_be_published_is_reported_once(tmp_path: Path) -> None:
    """The topic above the letters and that of the message exceed together what a topic can be."""
    with mosquitto(tmp_path) as url:
        settings = settings_of(tmp_path, FLUXPORT_SERIES__MQTT__URL=url)
        with service(tmp_path, "", "--no-worker", **settings) as client:
            until(lambda: subscribed(client, url, ONE_POINT), "no session")
            publish_mqtt(url, [("x" * 65_520, b"{not json", ""), message("line/2", points([T0], [1.5]), "")])
            until(lambda: counted(client, LETTERS_LOST, 1), "the lost letter was not counted")
            until(lambda: count_of(client, "line/2") == 1, "the message after it did not arrive")
        (tmp_path / "second").mkdir()
        with service(tmp_path / "second", "", "--no-worker", **settings) as client:
            publish_mqtt(url, [message("line/3", points([T0], [1.5]), "")])
            until(lambda: count_of(client, "line/3") == 1, "the second service reads nothing")
            assert not counted(client, LETTERS_LOST, 1)


def test_a_dead_letter_too_large_for_the_broker_has_no_body(tmp_path: Path) -> None:
    """A message of the largest size that the broker takes; its letter has a longer topic, and properties."""
    body = b"{" * 19_900
    with mosquitto(tmp_path, "max_packet_size 20000") as url:
        settings = settings_of(tmp_path, FLUXPORT_SERIES__MQTT__URL=url)
        with service(tmp_path, "", "--no-worker", **settings) as client:
            until(lambda: subscribed(client, url, ONE_POINT), "no session")
            publish_mqtt(url, [("plant.a", body, "")])
            until(lambda: counted(client, LETTERS_OF_MQTT, 1), "the letter was not counted")
        facts = dict(mqtt_retained(url, "fluxport/dead/sensors/plant.a").properties.UserProperty)
        assert facts["fluxport-body-bytes"] == "19900"
        assert facts["fluxport-body-sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(("line", "qos"), [("retain_available false", 1), ("max_qos 0", 0)])
def test_dead_letters_are_such_as_the_broker_takes(tmp_path: Path, line: str, qos: int) -> None:
    with mosquitto(tmp_path, line) as url:
        settings = settings_of(tmp_path, FLUXPORT_SERIES__MQTT__URL=url)
        with service(tmp_path, "", "--no-worker", **settings) as client:
            until(lambda: subscribed(client, url, ONE_POINT, qos=qos), "no session")
            publish_mqtt(url, [BAD[0], message("line/2", points([T0], [1.5]), "")], qos)
            until(lambda: counted(client, LETTERS_OF_MQTT, 1), "the letter was not counted")
            until(lambda: count_of(client, "line/2") == 1, "the message after it did not arrive")


def test_bad_messages_in_a_burst_without_flow_control_do_not_stop_the_good_ones(tmp_path: Path) -> None:
    """The broker sends all of QoS 0 at once, so that its answers to dead letters come after them."""
    found = walk(3000)
    sent = [
        BAD[n % 3] if n % 100 == 0 else message("plant.a", found[n : n + 1], "application/json") for n in range(3000)
    ]
    with mosquitto(tmp_path) as url:
        settings = settings_of(tmp_path, FLUXPORT_SERIES__MQTT__URL=url)
        with service(tmp_path, "", "--no-worker", **settings) as client:
            until(lambda: subscribed(client, url, ONE_POINT), "no session")
            publish_mqtt(url, sent, qos=0)
            until(lambda: count_of(client, "plant.a") == 2970, "not all good points arrived")
            until(lambda: counted(client, LETTERS_OF_MQTT, 30), "not every letter was counted")


def test_bad_messages_whose_dead_letters_the_broker_refuses_do_not_stop_the_good_ones(tmp_path: Path) -> None:
    """More of them than it sends without acknowledgement; the log names the permission that is missing."""
    rights = tmp_path / "rights"
    rights.write_text("topic readwrite sensors/#\n")
    with mosquitto(tmp_path, "max_queued_messages 10000", f"acl_file {rights}", "user root") as url:
        settings = settings_of(tmp_path, FLUXPORT_SERIES__MQTT__URL=url)
        with service(tmp_path, "", "--no-worker", **settings) as client:
            until(lambda: subscribed(client, url, ONE_POINT), "no session")
            publish_mqtt(url, [*(BAD * 100), message("line/2", points([T0], [1.5]), "")])
            until(lambda: count_of(client, "line/2") == 1, "the message after them did not arrive")
            until(lambda: counted(client, LETTERS_LOST, 300), "not every lost letter was counted")
            assert warned(tmp_path, "the permission to publish to fluxport/dead/#")


def warned(folder: Path, words: str) -> bool:
    return any(words in log.read_text() for log in folder.glob("serve-*.log"))


def test_messages_dropped_by_a_limit_of_the_broker_cause_a_warning(tmp_path: Path) -> None:
    """Thirty messages wait for a session limited to ten: the service logs what the broker dropped."""
    settings = settings_of(tmp_path)
    with mosquitto(tmp_path, "max_queued_messages 10") as url:
        settings["FLUXPORT_SERIES__MQTT__URL"] = url
        with service(tmp_path, "", "--no-worker", **settings) as client:
            until(lambda: subscribed(client, url, message("line/1", points([T0], [2.5]), "")), "no session")
            until(lambda: marks(tmp_path).get("mqtt dropped fluxport") == 0, "the broker sent no counter")
        publish_mqtt(url, messages(30))
        (tmp_path / "second").mkdir()
        with service(tmp_path / "second", "", "--no-worker", **settings) as client:
            # In as many warnings as the broker's counter had values while it was looked at.
            until(lambda: sum(dropped(tmp_path / "second")) == 20, "not all of them were warned of")
            assert "messages_lost" in httpx.get(f"{client.base}/metrics").text
    assert not warned(tmp_path, "may be missing")


def test_a_session_lost_by_the_broker_causes_a_warning(tmp_path: Path) -> None:
    """A broker without persistence is restarted while the service runs."""
    port = free_port()
    with mosquitto(tmp_path, port=port) as url:
        with service(tmp_path, "", "--no-worker", **settings_of(tmp_path, FLUXPORT_SERIES__MQTT__URL=url)) as client:
            until(lambda: subscribed(client, url, message("line/1", points([T0], [2.5]), "")), "no session")
            assert not warned(tmp_path, "may be missing")
    with mosquitto(tmp_path, port=port) as url:
        (tmp_path / "second").mkdir()
        settings = settings_of(tmp_path, FLUXPORT_SERIES__MQTT__URL=url)
        with service(tmp_path / "second", "", "--no-worker", **settings):
            until(lambda: warned(tmp_path / "second", "no longer has the session of 'fluxport'"), "nothing was said")


def test_messages_that_a_nats_stream_removes_unread_cause_a_warning(tmp_path: Path) -> None:
    """A stream limited to ten messages gets thirty while the service is down."""

    async def made(url: str) -> None:
        client = await nats.connect(url)
        await client.jetstream().add_stream(name="SENSORS", subjects=["sensors.>"], max_msgs=10)
        await client.close()

    settings = settings_of(tmp_path)
    with nats_server(tmp_path) as url:
        asyncio.run(made(url))
        settings["FLUXPORT_SERIES__NATS__URL"] = url
        with service(tmp_path, "", "--no-worker", **settings) as client:
            publish_nats(url, [message("line/1", points([T0], [2.5]), "")])
            until(lambda: count_of(client, "line/1") == 1, "the point did not arrive")
            until(lambda: nats_consumer(url).num_ack_pending == 0, "the message was not acknowledged")
        publish_nats(url, messages(30))
        (tmp_path / "second").mkdir()
        with service(tmp_path / "second", "", "--no-worker", **settings):
            until(lambda: warned(tmp_path / "second", "20 messages of the stream"), "nothing was said")
    assert not warned(tmp_path, "may be missing")


def dropped(folder: Path) -> list[int]:
    """The number of dropped messages in each warning."""
    (log,) = folder.glob("serve-*.log")
    return [int(number) for number in re.findall(r"the broker has dropped (\d+) messages", log.read_text())]


def marks(folder: Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(folder / "series.db")) as connection:
        return dict(connection.execute("SELECT name, value FROM marks"))


# -- without a broker --------------------------------------------------------------------------------------------------


def test_a_message_that_the_store_refuses_harms_no_other(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "series.db", EmbeddedOptions(sensors_max=1))
    body = b'{"timestamp_ms": [1], "value": [1]}'
    refused = take(store, "test", [Message("a", "", body), Message("b", "", body), Message("a", "", b"?")], 1 << 20)
    assert [error and error.code for error in refused] == [None, "too_many_sensors", "bad_points"]
    assert [sensor.id for sensor in store.sensors()] == ["a"]
    large = take(store, "test", [Message("a", "", body), Message("a", "", b" " * 200)], 100)
    assert [error and error.code for error in large] == [None, "body_too_large"]
    store.close()


@pytest.mark.parametrize("kind", ["application/json", "text/csv", "application/vnd.apache.arrow.stream"])
def test_an_error_quotes_little_of_a_message(kind: str) -> None:
    """It becomes a header, a property, a line of the log, which have limits."""
    name = "x" * 70_000
    table = io.BytesIO()
    with pa.ipc.new_stream(table, pa.schema([(name, pa.int64())])):
        pass
    bodies = {"application/json": json.dumps({name: [1]}).encode(), "text/csv": f"{name}\n1\n".encode()}
    with pytest.raises(Refused) as refused:
        read_points(bodies.get(kind, table.getvalue()), kind, "a")
    assert "the column 'xxx" in refused.value.message
    assert len(refused.value.message) < 300


def test_messages_wait_while_the_store_is_unavailable() -> None:
    left = [Unavailable("away"), Unavailable("away")]

    def work() -> list[bool]:
        if left:
            raise left.pop()
        return [True]

    pauses: list[float] = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return False

    assert patiently(work, wait) == [True]
    assert pauses == [0.2, 0.4]
    left.append(Unavailable("away"))
    assert patiently(work, lambda _: True) is None


def test_reading_from_mqtt_stops_although_more_waits_than_the_store_takes(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "series.db", EmbeddedOptions())
    _, body, _ = message("plant.a", walk(1), "")
    with mosquitto(tmp_path) as url, contextlib.closing(sqlite3.connect(store.path)) as other:
        other.execute("BEGIN IMMEDIATE")  # the store can write nothing
        ingest = MqttIngest(store, MqttOptions(url, "sensors/#", "fluxport", 1 << 20, "dead", "application/json"))
        ingest.start()
        parts = urlsplit(url)
        client = Mqtt(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        client.connect(parts.hostname or "", parts.port or 0)
        client.loop_start()

        def full() -> bool:
            for _ in range(100):
                client.publish("sensors/plant.a", body, qos=0)
            return ingest._received.full()

        until(full, "too few messages arrived")
        client.disconnect()
        client.loop_stop()
        stopping = threading.Thread(target=ingest.stop, daemon=True)
        stopping.start()
        stopping.join(60)
        assert not stopping.is_alive()


def test_points_from_elsewhere_need_a_store_of_ours(tmp_path: Path) -> None:
    from fluxport.config import load
    from fluxport.wiring import ingests

    flags = {
        "series.nats.url": "nats://127.0.0.1:1",
        "series.connection": "main",
        "connections.main.url": "sqlite:///x",
    }
    with pytest.raises(Refused) as refused:
        ingests(load(environ={}, folder=tmp_path, flags=flags), None)  # type: ignore[arg-type]  # refused before it is looked at
    assert refused.value.code == "bad_configuration"
