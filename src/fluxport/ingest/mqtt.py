"""MQTT 5, at least once, in a persistent session. Back-pressure: the broker sends at most Receive Maximum messages
without acknowledgement.

While the service is down, messages wait in the broker's queue of the session. The queue has a limit, and the session
expires: beyond either, messages are lost, and the protocol does not report it. So two observations are compared with
their last values, across restarts: whether the broker still has the session, and how many messages it has dropped.

MQTT stores a message only for those who subscribe, and the last of each topic where it is retained. So a dead letter is
published below a topic of its own, followed by that of the message, and retained.

Two threads: the library's own reads from the broker into a queue, and waits while that is full; ours empties the queue
and never waits for anything that the other has to read.
"""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from fluxport.errors import FluxportError, Refused
from fluxport.ingest import Message, body_facts, dead_letter, fact, lost_letter, patiently, report_loss, take
from fluxport.loops import background
from fluxport.series import SensorStore

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

log = logging.getLogger("fluxport.ingest")

UNACKNOWLEDGED_MAX = 256
LETTERS_MAX = 1024  # dead letters of QoS 0 messages that await the broker's answer
PACKET_MAX_BYTES = 268_435_455  # of MQTT; a broker may set less
PACKET_HEAD_BYTES = 16  # at most, of a PUBLISH besides topic, properties and payload
NO_BODY = b"The body is too large for a dead letter; the user properties have its size and SHA-256."
SESSION_S = 7 * 86400
# The total of all clients of the broker; Mosquitto's topic.
DROPPED = "$SYS/broker/publish/messages/dropped"


@dataclass(frozen=True)
class MqttOptions:
    """``media_type`` is that of messages without a Content Type; ``dead_letter`` is the topic above those of dead
    letters."""

    url: str = field(repr=False)
    topic: str
    client_id: str
    body_max_bytes: int
    dead_letter: str
    media_type: str


@dataclass(frozen=True)
class _Received:
    """``connection`` is the number of the connection that brought the message: an acknowledgement is valid on that one
    only, since another may use the message id for another message."""

    connection: int
    message: MQTTMessage


@dataclass
class _Letter:
    """A dead letter that awaits the broker's answer."""

    received: _Received
    error: FluxportError
    topic: str


class MqttIngest:
    """See :class:`fluxport.ingest.Ingest`."""

    def __init__(self, store: SensorStore, options: MqttOptions) -> None:
        try:
            import paho.mqtt.client  # noqa: F401  checks that it is installed
        except ImportError:
            raise Refused("Reading from MQTT needs paho-mqtt: pip install 'fluxport[mqtt]'.", code="no_mqtt") from None
        self._store = store
        self._options = options
        self._stopped = threading.Event()
        # The broker sends at most UNACKNOWLEDGED_MAX messages that await an acknowledgement, but any number of QoS 0.
        self._received: queue.Queue[_Received] = queue.Queue(UNACKNOWLEDGED_MAX + 1)
        self._client = self._create_client()
        self._thread: threading.Thread | None = None
        self._has_session: bool | None = None  # from the last CONNACK, until it is checked
        self._connection = 0  # the number of connections so far
        self._granted: Any = None  # the broker's limits, the properties of the last CONNACK
        self._letters: dict[int, _Letter] = {}  # by message id
        self._answers: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()  # message id of a letter, reason code
        self._dropped: int | None = None  # the broker's counter
        self._noted_dropped: int | None = None

    def start(self) -> None:
        url = urlsplit(self._options.url)
        port = url.port or (8883 if url.scheme == "mqtts" else 1883)
        self._client.connect_async(
            url.hostname or "", port, keepalive=30, clean_start=False, properties=self._session()
        )
        self._client.loop_start()
        self._thread = background("fluxport-mqtt", self._write)

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()

    def _create_client(self) -> Client:
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion

        url = urlsplit(self._options.url)
        client = Client(
            CallbackAPIVersion.VERSION2, client_id=self._options.client_id, protocol=MQTTv5, manual_ack=True
        )
        if url.username is not None:
            client.username_pw_set(unquote(url.username), unquote(url.password or ""))
        if url.scheme == "mqtts":
            client.tls_set()
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.message_callback_add(DROPPED, self._on_dropped)
        return client

    @staticmethod
    def _session() -> Any:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # the library has no types there
        properties.ReceiveMaximum = UNACKNOWLEDGED_MAX
        properties.SessionExpiryInterval = SESSION_S
        return properties

    def _on_connect(self, client: Client, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            log.warning("MQTT cannot be read now: %s", reason.getName())
            return
        self._connection += 1
        self._granted = properties
        self._has_session = bool(flags.session_present)
        expiry_s = getattr(properties, "SessionExpiryInterval", SESSION_S)  # sent if the broker changes it
        if expiry_s < SESSION_S:
            log.warning(
                "the MQTT broker expires the session after %s s: a longer stop of the service loses messages", expiry_s
            )
        client.subscribe(self._options.topic, qos=1)
        client.subscribe(DROPPED, qos=0)  # a broker may refuse it, or lack the topic

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        """Queue a message. While the queue is full nothing more is read, until :meth:`stop`, which ends this thread."""
        while not self._stopped.is_set():
            with suppress(queue.Full):
                self._received.put(_Received(self._connection, message), timeout=0.2)
                return

    def _on_publish(self, _client: Client, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        self._answers.put((mid, reason))

    def _on_dropped(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        if message.payload.isdigit():
            self._dropped = int(message.payload)

    def _check_for_loss(self) -> None:
        """Compare the broker's session and its counter of dropped messages with their last values."""
        name, has_session, dropped = self._options.client_id, self._has_session, self._dropped
        if has_session is not None:
            if self._store.mark(f"mqtt session {name}", 1) is not None and not has_session:
                report_loss(
                    "mqtt",
                    f"the broker no longer has the session of {name!r}; messages sent while the service was down "
                    "are lost",
                )
            self._has_session = None
        if dropped is not None and dropped != self._noted_dropped:
            before = self._store.mark(f"mqtt dropped {name}", dropped)
            self._noted_dropped = dropped
            # The counter restarts with the broker; its value before the first check is ignored.
            more = 0 if before is None else dropped - before if dropped >= before else dropped
            if more:
                report_loss(
                    "mqtt", f"the broker has dropped {more:,} messages from its clients' queues; raise its queue limit"
                )

    def _write(self) -> None:
        while not self._stopped.is_set():
            try:
                self._check_for_loss()
            except FluxportError as error:
                log.info("the check for lost MQTT messages is retried later: %s", error.message)
            self._read_answers()
            try:
                batch = [self._received.get(timeout=0.2)]
            except queue.Empty:
                continue
            while len(batch) < UNACKNOWLEDGED_MAX and not self._received.empty():
                batch.append(self._received.get())
            self._store_batch(batch)

    def _store_batch(self, batch: list[_Received]) -> None:
        """Store a batch and acknowledge each message; the broker redelivers the others when the connection is renewed.
        Dead letters, which a wide topic may include, are only passed by."""
        above = f"{self._options.dead_letter}/"
        letters = [received for received in batch if received.message.topic.startswith(above)]
        batch = [received for received in batch if not received.message.topic.startswith(above)]
        read = [self._message(received.message) for received in batch]
        work = partial(take, self._store, "mqtt", read, self._options.body_max_bytes)
        results = patiently(work, self._stopped.wait)
        if results is None:
            return
        for received in letters:
            self._acknowledge(received)
        for received, error in zip(batch, results, strict=True):
            if error is None:
                self._acknowledge(received)
            else:
                self._bury(received, error)

    def _acknowledge(self, received: _Received) -> None:
        if received.connection == self._connection:
            self._client.ack(received.message.mid, received.message.qos)

    def _bury(self, received: _Received, error: FluxportError) -> None:
        """Publish the message as a dead letter; :meth:`_read_answers` acknowledges it. The library sends the letter
        again after a reconnect, as the broker does the message."""
        message = received.message
        topic = f"{self._options.dead_letter}/{message.topic}"
        for letter in self._letters.values() if message.dup else ():
            earlier = letter.received.message
            if (earlier.mid, earlier.topic, earlier.payload) == (message.mid, message.topic, message.payload):
                letter.received = received
                return
        if message.qos == 0 and len(self._letters) >= LETTERS_MAX:
            lost_letter("mqtt", error, f"{LETTERS_MAX:,} others await the broker's answer.")
            return
        qos = min(1, getattr(self._granted, "MaximumQoS", 1))
        retain = bool(getattr(self._granted, "RetainAvailable", 1))
        try:
            body, properties = self._letter(message, error, topic)
            sent = self._client.publish(topic, body, qos=qos, retain=retain, properties=properties)
        except Exception as failure:  # noqa: BLE001  whatever the library raises, it would raise again
            lost_letter("mqtt", error, f"it cannot be published to {fact(topic)}: {type(failure).__name__}.")
            self._acknowledge(received)
        else:
            if qos == 0:
                dead_letter("mqtt", error, fact(topic))  # no broker answers for it
                return
            self._letters[sent.mid] = _Letter(received, error, topic)

    def _letter(self, message: MQTTMessage, error: FluxportError, topic: str) -> tuple[bytes, Any]:
        """Payload and properties of a dead letter, without the body where the broker does not take so large a packet.
        Raises for what cannot be sent: once the library has such a packet, it fails with each connection."""
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # the library has no types there
        if content_type := _content_type(message):
            properties.ContentType = fact(content_type)
        payload = bytes(message.payload)
        properties.UserProperty = [("fluxport-error-code", error.code), ("fluxport-error", fact(error.message))]
        room = getattr(self._granted, "MaximumPacketSize", PACKET_MAX_BYTES) - PACKET_HEAD_BYTES - len(topic.encode())
        if len(properties.pack()) + len(payload) <= room:
            return payload, properties
        properties.UserProperty = [(name.lower(), value) for name, value in body_facts(payload).items()]
        if len(properties.pack()) + len(NO_BODY) > room:
            raise ValueError("the broker takes no packet that large")
        return NO_BODY, properties

    def _read_answers(self) -> None:
        """Acknowledge the messages whose dead letters the broker has stored or refused: delivered again, they would
        be refused again."""
        while not self._answers.empty():
            mid, reason = self._answers.get()
            letter = self._letters.pop(mid, None)
            if letter is None:
                continue
            if reason.is_failure:
                above = self._options.dead_letter
                lost_letter(
                    "mqtt",
                    letter.error,
                    f"the broker refuses it at {fact(letter.topic)} ({reason.getName()}); the account needs the "
                    f"permission to publish to {above}/#.",
                )
            else:
                dead_letter("mqtt", letter.error, fact(letter.topic))
            self._acknowledge(letter.received)

    def _message(self, message: MQTTMessage) -> Message:
        """The topic without the fixed prefix of the subscription is the sensor's id."""
        fixed = self._options.topic.split("#")[0].split("+")[0]
        sensor = message.topic.removeprefix(fixed) or message.topic
        return Message(sensor, _content_type(message) or self._options.media_type, bytes(message.payload))


def _content_type(message: MQTTMessage) -> str:
    return str(getattr(message.properties, "ContentType", ""))
