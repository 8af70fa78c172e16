"""Points that arrive as messages: from NATS JetStream and from MQTT.

A message is acknowledged once its points are durable (at least once); storing it again changes nothing. A message that
can never be stored is logged and discarded; while the store cannot write, messages wait at the broker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fluxport.errors import Broken, FluxportError, LimitExceeded, Refused, TooMany
from fluxport.series import Points, SensorStore
from fluxport.series.bodies import read_points
from fluxport.telemetry import metrics

log = logging.getLogger("fluxport.ingest")

RETRY_FIRST_S = 0.2
RETRY_MOST_S = 10.0


class Ingest(Protocol):
    """Reads messages in its own threads from ``start`` to ``stop``."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Message:
    """``sensor_id`` is the sensor of points whose message names none."""

    sensor_id: str
    media_type: str
    body: bytes


def take(store: SensorStore, protocol: str, messages: Sequence[Message], body_max_bytes: int) -> list[bool]:
    """Store the points of all messages at once; returns, for each message, False if it can never be stored.

    Raises the store's errors if it cannot write now; no message may be acknowledged then.
    """
    read = [_read(protocol, message, body_max_bytes) for message in messages]
    good = [points for points in read if points is not None]
    try:
        store.append([pair for points in good for pair in points])
        stored = [points is not None for points in read]
    except TooMany:
        raise
    except Refused:
        # One bad message must not block the others.
        stored = [points is not None and _stored(store, protocol, points) for points in read]
    metrics.points(protocol, sum(_count(p) for p, s in zip(read, stored, strict=True) if s and p is not None))
    return stored


def _read(protocol: str, message: Message, body_max_bytes: int) -> list[tuple[str, Points]] | None:
    try:
        if len(message.body) > body_max_bytes:
            raise LimitExceeded(f"The message is larger than {body_max_bytes:,} bytes.", code="body_too_large")
        return read_points(message.body, message.media_type, message.sensor_id, several=True)
    except Refused as error:
        discard(protocol, error)
        return None
    except Exception:
        # A bug that this message triggers would be triggered again by each redelivery.
        log.exception("a message of %s could not be read", protocol)
        discard(protocol, Broken("It could not be read.", code="internal"))
        return None


def _stored(store: SensorStore, protocol: str, points: list[tuple[str, Points]]) -> bool:
    try:
        store.append(points)
    except TooMany:
        raise
    except Refused as error:
        discard(protocol, error)
        return False
    return True


def discard(protocol: str, error: FluxportError) -> None:
    metrics.refusal(error.code)
    log.warning("a message of %s was discarded: %s", protocol, error.message, extra={"error_code": error.code})


def report_loss(protocol: str, what: str) -> None:
    """Report messages that will not be delivered again."""
    metrics.refusal("messages_lost")
    log.warning("points of %s may be missing: %s", protocol, what, extra={"error_code": "messages_lost"})


def _count(points: list[tuple[str, Points]]) -> int:
    return sum(len(p) for _, p in points)


def patiently(work: Callable[[], list[bool]], wait: Callable[[float], bool]) -> list[bool] | None:
    """Retry ``work`` while the store cannot write and return its result; None once ``wait`` returns True."""
    pause = RETRY_FIRST_S
    while True:
        try:
            return work()
        except FluxportError as error:
            log.warning("points are waiting: %s", error.message, extra={"error_code": error.code})
        except Exception:
            # A bug, perhaps triggered by these points: they are not lost, and the log has the traceback.
            log.exception("points are waiting")
        if wait(pause):
            return None
        pause = min(2 * pause, RETRY_MOST_S)
