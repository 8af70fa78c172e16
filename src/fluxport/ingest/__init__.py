"""Points that arrive as messages: from NATS JetStream and from MQTT.

A message is acknowledged once its points are durable (at least once); storing it again changes nothing. A message that
can never be stored becomes a dead letter, which the broker stores under another subject or topic, with the reason; the
message is acknowledged after that, or once the broker has refused the dead letter: redelivered forever, it would take
the place of others. While the store cannot write, messages wait at the broker.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from fluxport.errors import Broken, FluxportError, LimitExceeded, Refused, TooMany
from fluxport.series import Points, SensorStore
from fluxport.series.bodies import read_points
from fluxport.telemetry import metrics

log = logging.getLogger("fluxport.ingest")

RETRY_FIRST_S = 0.2
RETRY_MOST_S = 10.0
FACT_MAX = 500  # characters of a header or property of a dead letter


class Ingest(Protocol):
    """Reads messages in its own threads from ``start`` to ``stop``."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Message:
    """``sensor_id`` is the sensor of points whose message names none; ``media_type`` empty: JSON."""

    sensor_id: str
    media_type: str
    body: bytes


# The points of a message by sensor, or why it holds none.
Taken = list[tuple[str, Points]] | FluxportError


def take(
    store: SensorStore, protocol: str, messages: Sequence[Message], body_max_bytes: int
) -> list[FluxportError | None]:
    """Store the points of all messages at once; returns, for each message, None, or why it can never be stored.

    Raises the store's errors if it cannot write now; no message may be acknowledged then.
    """
    taken = [_read(protocol, message, body_max_bytes) for message in messages]
    try:
        store.append([pair for points in taken if not isinstance(points, FluxportError) for pair in points])
    except TooMany:
        raise
    except Refused:
        # One bad message must not block the others.
        taken = [_stored(store, points) for points in taken]
    metrics.points(protocol, sum(_count(points) for points in taken if not isinstance(points, FluxportError)))
    return [points if isinstance(points, FluxportError) else None for points in taken]


def _read(protocol: str, message: Message, body_max_bytes: int) -> Taken:
    try:
        if len(message.body) > body_max_bytes:
            raise LimitExceeded(f"The message is larger than {body_max_bytes:,} bytes.", code="body_too_large")
        return read_points(message.body, message.media_type, message.sensor_id, several=True)
    except Refused as error:
        return error
    except Exception:
        # A bug that this message triggers would be triggered again by each redelivery.
        log.exception("a message of %s could not be read", protocol)
        return Broken("It could not be read.", code="internal")


def _stored(store: SensorStore, points: Taken) -> Taken:
    if isinstance(points, FluxportError):
        return points
    try:
        store.append(points)
    except TooMany:
        raise
    except Refused as error:
        return error
    return points


def dead_letter(protocol: str, error: FluxportError, stored_at: str) -> None:
    """Count and log a message that was moved to the dead letters."""
    metrics.refusal(error.code)
    metrics.dead_letter(protocol)
    log.warning(
        "a message of %s was moved to %s: %s", protocol, stored_at, error.message, extra={"error_code": error.code}
    )


def lost_letter(protocol: str, error: FluxportError, why: str) -> None:
    """Count and log a message that is lost, because its dead letter could not be stored either."""
    metrics.refusal(error.code)
    metrics.refusal("dead_letter_lost")
    log.error(
        "a message of %s is lost: %s Its dead letter could not be stored: %s",
        protocol,
        error.message,
        why,
        extra={"error_code": "dead_letter_lost"},
    )


def fact(text: str) -> str:
    """One line of at most ``FACT_MAX`` characters, for a header or property: brokers limit their size."""
    return " ".join(text[:FACT_MAX].split())


def body_facts(body: bytes) -> dict[str, str]:
    """What a dead letter tells of a body that is too large to be part of it: bytes and SHA-256, by name of the fact."""
    return {"Fluxport-Body-Bytes": str(len(body)), "Fluxport-Body-SHA256": hashlib.sha256(body).hexdigest()}


def report_loss(protocol: str, what: str) -> None:
    """Report messages that will not be delivered again."""
    metrics.refusal("messages_lost")
    log.warning("points of %s may be missing: %s", protocol, what, extra={"error_code": "messages_lost"})


def _count(points: list[tuple[str, Points]]) -> int:
    return sum(len(p) for _, p in points)


T = TypeVar("T")


def patiently(work: Callable[[], T], wait: Callable[[float], bool]) -> T | None:
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
