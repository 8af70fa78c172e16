"""NATS JetStream: a durable pull consumer. Back-pressure: a batch is fetched after the last one is stored.

Dead letters are published to a subject of a stream, which is created if there is none, with the headers of the message
and those of ``_headers``. While JetStream is unavailable, their messages are delivered again; those whose letters it
refuses are terminated after some deliveries, because unacknowledged messages hold up the others (max_ack_pending).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from fluxport.errors import FluxportError, Refused
from fluxport.ingest import RETRY_MOST_S, Message, body_facts, dead_letter, fact, lost_letter, report_loss, take
from fluxport.loops import background
from fluxport.series import SensorStore
from fluxport.series.bodies import HISTORIAN_SUBJECT, JSON, PROTOBUF

if TYPE_CHECKING:
    from nats.aio.client import Client

log = logging.getLogger("fluxport.ingest")

BATCH_MAX = 512
BATCH_BYTES = 8 << 20  # of one batch, estimated from the size of the last messages
FETCH_WAIT_S = 1.0
ACK_WAIT_S = 15.0  # then the messages fetched by a killed process are redelivered
IN_PROGRESS_EVERY_S = 5.0
DELIVERIES_MAX = 5  # of a message whose dead letter is refused
HEADERS_MAX_BYTES = 65_535  # of a message in a stream
MESSAGE_TOO_LARGE = 10054  # JetStream's error code for a message above the stream's own limit


@dataclass(frozen=True)
class NatsOptions:
    """``media_type`` is that of messages without a Content-Type; None: as usual on the subject."""

    url: str = field(repr=False)
    stream: str
    subject: str
    durable: str
    body_max_bytes: int
    dead_letter: str
    media_type: str | None

    @property
    def usual_type(self) -> str:
        return self.media_type or (PROTOBUF if self.subject == HISTORIAN_SUBJECT else JSON)


class _ForbiddenError(Exception):
    description = "permissions violation"


class NatsIngest:
    """See :class:`fluxport.ingest.Ingest`."""

    def __init__(self, store: SensorStore, options: NatsOptions) -> None:
        try:
            import nats  # noqa: F401  checks that it is installed
        except ImportError:
            raise Refused("Reading from NATS needs nats-py: pip install 'fluxport[nats]'.", code="no_nats") from None
        self._store = store
        self._options = options
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._forbidden = asyncio.Event()  # the server has reported that the account may not publish something

    def start(self) -> None:
        self._thread = background("fluxport-nats", lambda: asyncio.run(self._run()))

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    async def _run(self) -> None:
        """Connect and read until stopped; reconnect when the connection or the stream is lost."""
        pause = 0.5
        while not self._stopped.is_set():
            try:
                await self._connected()
                pause = 0.5
            except Exception as error:  # noqa: BLE001  whatever the library raises, the next attempt may succeed
                log.warning("NATS cannot be read now: %s", _reason(error))
            await self._pause(pause)
            pause = min(2 * pause, RETRY_MOST_S)

    async def _pause(self, seconds: float) -> None:
        await asyncio.to_thread(self._stopped.wait, seconds)

    async def _connected(self) -> None:
        import nats

        async def quiet(error: Exception) -> None:
            log.debug("NATS: %s", type(error).__name__)
            if "permissions violation for publish" in str(error).lower():
                self._forbidden.set()

        client = await nats.connect(
            self._options.url, connect_timeout=5, max_reconnect_attempts=3, error_cb=quiet, name="fluxport"
        )
        try:
            await self._read(client)
        finally:
            await client.close()

    async def _read(self, client: Client) -> None:
        from nats.errors import TimeoutError as NoMessages

        subscription = await self._subscribed(client)
        batch = 64
        while not self._stopped.is_set() and not client.is_closed:
            try:
                messages = await subscription.fetch(batch, timeout=FETCH_WAIT_S)
            except NoMessages:
                continue
            size = sum(len(message.data) for message in messages) // len(messages) + 1
            batch = max(1, min(BATCH_MAX, BATCH_BYTES // size))
            await self._store_batch(client, messages)

    async def _subscribed(self, client: Client) -> Any:
        from nats.js.api import AckPolicy, ConsumerConfig
        from nats.js.errors import NotFoundError

        options = self._options
        stream = client.jetstream()
        try:
            await stream.stream_info(options.stream)
        except NotFoundError:
            await stream.add_stream(name=options.stream, subjects=[options.subject])
        config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_S, max_ack_pending=4 * BATCH_MAX)
        subscription = await stream.pull_subscribe(
            options.subject, durable=options.durable, stream=options.stream, config=config
        )
        await self._check_for_gap(stream, subscription)
        return subscription

    async def _check_for_gap(self, stream: Any, subscription: Any) -> None:
        """Report messages that the stream's limits removed before they were read; not for a stream with other subjects,
        whose messages would count as gaps."""
        info, ours = await stream.stream_info(self._options.stream), await subscription.consumer_info()
        read_to = ours.ack_floor.stream_seq if ours.ack_floor else 0
        gap = info.state.first_seq - read_to - 1
        if read_to and gap > 0 and info.config.subjects == [self._options.subject]:
            report_loss(
                "nats", f"{gap:,} messages of the stream were removed by its limits before they were read; raise those"
            )

    async def _store_batch(self, client: Client, messages: list[Any]) -> None:
        """Store a batch and acknowledge each message, or nak it to be delivered again. One that can never be stored
        becomes a dead letter; dead letters themselves, which a wide subject may include, are only passed by."""
        for message in messages:
            if message.subject == self._options.dead_letter:
                await message.ack()
        messages = [message for message in messages if message.subject != self._options.dead_letter]
        read = [self._message(message) for message in messages]
        try:
            results = await self._stored(messages, read)
        except FluxportError as error:
            log.warning("points are waiting: %s", error.message, extra={"error_code": error.code})
            for message in messages:
                await message.nak(delay=1)
            await self._pause(0.5)
            return
        bad: list[tuple[Any, FluxportError]] = []
        for message, refused in zip(messages, results, strict=True):
            if refused is None:
                await message.ack()
            else:
                bad.append((message, refused))
        await self._bury(client, bad)

    async def _bury(self, client: Client, bad: list[tuple[Any, FluxportError]]) -> None:
        """Store the messages as dead letters and acknowledge them."""
        from nats.js.errors import APIError

        subject = self._options.dead_letter
        for number, (message, error) in enumerate(bad):
            try:
                await self._store_letter(client, message, error)
            except Exception as failure:  # noqa: BLE001  whatever the library raises
                log.warning("a dead letter cannot be stored at %s now: %s", subject, _reason(failure))
                if _is_refusal(failure):
                    await self._refused(message, error, failure)
                elif isinstance(failure, APIError):
                    await message.nak(delay=RETRY_MOST_S)
                else:  # no answer: each further attempt would take as long
                    for waiting, _ in bad[number:]:
                        await waiting.nak(delay=RETRY_MOST_S)
                    return
            else:
                dead_letter("nats", error, subject)
                await message.ack()

    async def _refused(self, message: Any, error: FluxportError, failure: Exception) -> None:
        """Have a message whose dead letter is refused delivered again, or terminate it."""
        if message.metadata.num_delivered < DELIVERIES_MAX:
            await message.nak(delay=1)
            return
        subject, dead = self._options.dead_letter, self._dead_stream
        lost_letter(
            "nats",
            error,
            f"JetStream refuses it at {subject} ({_reason(failure)}); the account needs the permission to publish to "
            f"{subject}, and to $JS.API.STREAM.*.{dead} unless another stream has that subject.",
        )
        await message.term()

    @property
    def _dead_stream(self) -> str:
        return f"{self._options.stream}_DEAD"

    async def _store_letter(self, client: Client, message: Any, error: FluxportError) -> None:
        """Publish a message as a dead letter, without its body where the server or the stream takes nothing so large:
        the server would close the connection."""
        from nats.js.errors import APIError

        headers = self._headers(message, error)
        publish = partial(self._publish_letter, client)
        if len(message.data) + _size(headers) <= client.max_payload:
            try:
                await self._unless_forbidden(publish(message.data, headers))
                return
            except APIError as failure:
                if failure.err_code != MESSAGE_TOO_LARGE:
                    raise
        await self._unless_forbidden(publish(b"", headers | body_facts(message.data)))

    async def _publish_letter(self, client: Client, body: bytes, headers: dict[str, str]) -> None:
        """Publish a dead letter; if no stream has its subject, the stream of dead letters gets it, or is created."""
        from nats.js.errors import NoStreamResponseError, NotFoundError

        subject, stream = self._options.dead_letter, client.jetstream()
        try:
            await stream.publish(subject, body, headers=headers)
        except NoStreamResponseError:
            try:
                config = (await stream.stream_info(self._dead_stream)).config
            except NotFoundError:
                await stream.add_stream(name=self._dead_stream, subjects=[subject])
            else:
                await stream.update_stream(config, subjects=[*(config.subjects or []), subject])
            await stream.publish(subject, body, headers=headers)

    async def _unless_forbidden(self, work: Coroutine[Any, Any, None]) -> None:
        """Await ``work``; _ForbiddenError once the server reports that the account may not publish, since a request
        that it ignores would end only by its timeout."""
        self._forbidden.clear()
        tasks = asyncio.ensure_future(work), asyncio.ensure_future(self._forbidden.wait())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not tasks[0].done():
                raise _ForbiddenError
            await tasks[0]
        finally:
            for task in tasks:
                task.cancel()

    def _headers(self, message: Any, error: FluxportError) -> dict[str, str]:
        """The message's own headers if there is room for them, but not those that tell JetStream what to do, and what
        became of the message. Its id lets JetStream ignore a letter that is sent again."""
        own = {name: value for name, value in (message.headers or {}).items() if not name.startswith("Nats-")}
        ours = {
            "Nats-Msg-Id": f"{self._options.stream}.{message.metadata.sequence.stream}",
            "Fluxport-Subject": fact(message.subject),
            "Fluxport-Error-Code": error.code,
            "Fluxport-Error": fact(error.message),
        }
        with_body_facts = _size(own | ours | body_facts(b""))
        return own | ours if with_body_facts <= HEADERS_MAX_BYTES else ours

    async def _stored(self, messages: list[Any], read: list[Message]) -> list[FluxportError | None]:
        """Store the messages, sending in-progress signals so that a slow disk causes no redelivery."""
        work = asyncio.get_running_loop().run_in_executor(
            None, partial(take, self._store, "nats", read, self._options.body_max_bytes)
        )
        while not (await asyncio.wait({work}, timeout=IN_PROGRESS_EVERY_S))[0]:
            for message in messages:
                await message.in_progress()
        return work.result()

    def _message(self, message: Any) -> Message:
        """The subject without the fixed prefix of the subscription is the sensor's id."""
        fixed = self._options.subject.split("*")[0].split(">")[0]
        sensor = message.subject.removeprefix(fixed) or message.subject
        headers = {name.lower(): value for name, value in (message.headers or {}).items()}
        return Message(sensor, headers.get("content-type") or self._options.usual_type, message.data)


def _size(headers: dict[str, str]) -> int:
    """At most the bytes of the headers of a message, which its limit includes."""
    return 32 + sum(len(f"{name}: {value}\r\n".encode()) for name, value in headers.items())


def _is_refusal(failure: Exception) -> bool:
    """Whether a dead letter would be refused again, rather than JetStream be unavailable."""
    from nats import errors
    from nats.js import errors as jetstream

    unavailable = (
        OSError,
        asyncio.TimeoutError,
        errors.ConnectionClosedError,
        errors.ConnectionDrainingError,
        errors.OutboundBufferLimitError,
        errors.StaleConnectionError,
        jetstream.NoStreamResponseError,
        jetstream.ServerError,
        jetstream.ServiceUnavailableError,
    )
    return not isinstance(failure, unavailable)


def _reason(error: Exception) -> str:
    """What JetStream says, such as that another stream has the subject; of other errors only the kind, as their text
    may contain the broker's URL."""
    return getattr(error, "description", None) or type(error).__name__
