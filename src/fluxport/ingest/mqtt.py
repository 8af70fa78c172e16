"""MQTT 5, at least once, in a session that the broker keeps. It sends no more messages than are allowed unacknowledged:
that is the back-pressure.

While the service is down, messages wait in the broker's queue for the session, which has a limit of the broker's own,
and ends with the session: past either they are lost, and nothing in the protocol says so. What can be seen is compared
with what was seen before, across restarts: whether the broker still has the session, and how many messages it has
dropped.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from fluxport.errors import FluxportError, Refused
from fluxport.ingest import Message, lost, patiently, take
from fluxport.loops import background
from fluxport.series import SensorStore

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

log = logging.getLogger("fluxport.ingest")

UNANSWERED_MAX = 256
SESSION_S = 7 * 86400
# Of every client of the broker together; Mosquitto's name for it.
DROPPED = "$SYS/broker/publish/messages/dropped"


@dataclass(frozen=True)
class MqttOptions:
    url: str = field(repr=False)
    topic: str = "sensors/#"
    client_id: str = "fluxport"
    body_max_bytes: int = 16 << 20


class MqttIngest:
    """See :class:`fluxport.ingest.Ingest`."""

    def __init__(self, store: SensorStore, options: MqttOptions) -> None:
        try:
            import paho.mqtt.client  # noqa: F401  to see whether it is there
        except ImportError:
            raise Refused("Reading from MQTT needs paho-mqtt: pip install 'fluxport[mqtt]'.", code="no_mqtt") from None
        self._store = store
        self._options = options
        self._over = threading.Event()
        # Never full: the broker sends nothing beyond what is unanswered.
        self._came: queue.Queue[MQTTMessage] = queue.Queue(UNANSWERED_MAX + 1)
        self._client = self._made()
        self._thread: threading.Thread | None = None
        self._has_session: bool | None = None  # as the broker said at the last connect, until that is looked at
        self._dropped: int | None = None  # the same of its counter
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
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()

    def _made(self) -> Client:
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
        client.on_connect = self._connected
        client.on_message = lambda _client, _data, message: self._came.put(message)
        client.message_callback_add(DROPPED, self._told_dropped)
        return client

    @staticmethod
    def _session() -> Any:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # the library has no types there
        properties.ReceiveMaximum = UNANSWERED_MAX
        properties.SessionExpiryInterval = SESSION_S
        return properties

    def _connected(self, client: Client, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            log.warning("MQTT cannot be read now: %s", reason.getName())
            return
        self._has_session = bool(flags.session_present)
        kept_s = getattr(properties, "SessionExpiryInterval", SESSION_S)  # which the broker says if it is another
        if kept_s < SESSION_S:
            log.warning(
                "the MQTT broker keeps the session for %s s alone: stopped longer, the service loses messages", kept_s
            )
        client.subscribe(self._options.topic, qos=1)
        client.subscribe(DROPPED, qos=0)  # a broker may refuse it, or have no such topic

    def _told_dropped(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        if message.payload.isdigit():
            self._dropped = int(message.payload)

    def _look_for_gaps(self) -> None:
        """Compare what the broker says of its session and its queues with what it said when this was looked at last."""
        name, has_session, dropped = self._options.client_id, self._has_session, self._dropped
        if has_session is not None:
            if self._store.mark(f"mqtt session {name}", 1) is not None and not has_session:
                lost(
                    "mqtt",
                    f"the broker no longer has the session of {name!r}; what came while the service was away is lost",
                )
            self._has_session = None
        if dropped is not None and dropped != self._noted_dropped:
            before = self._store.mark(f"mqtt dropped {name}", dropped)
            self._noted_dropped = dropped
            # The counter begins anew with the broker; what it had before this service first looked is of no concern.
            more = 0 if before is None else dropped - before if dropped >= before else dropped
            if more:
                lost(
                    "mqtt", f"the broker has dropped {more:,} messages of its clients' queues; raise its limit for them"
                )

    def _write(self) -> None:
        while not self._over.is_set():
            try:
                self._look_for_gaps()
            except FluxportError as error:
                log.info("gaps of MQTT are looked for later: %s", error.message)
            try:
                messages = [self._came.get(timeout=0.2)]
            except queue.Empty:
                continue
            while len(messages) < UNANSWERED_MAX and not self._came.empty():
                messages.append(self._came.get())
            read = [self._message(message) for message in messages]
            work = partial(take, self._store, "mqtt", read, self._options.body_max_bytes)
            if patiently(work, self._over.wait) is None:
                return  # unanswered: the broker sends them again
            for message in messages:
                self._client.ack(message.mid, message.qos)

    def _message(self, message: MQTTMessage) -> Message:
        """The topic behind the fixed part of what is subscribed to names the sensor."""
        fixed = self._options.topic.split("#")[0].split("+")[0]
        sensor = message.topic.removeprefix(fixed) or message.topic
        return Message(sensor, getattr(message.properties, "ContentType", ""), bytes(message.payload))
