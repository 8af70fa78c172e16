"""Points that arrive as messages: from NATS JetStream and from MQTT.

A message is acknowledged once its points are durable, so one that comes again finds them there and changes nothing. One
that can never be stored is told in the log and given up; while the store cannot write, messages wait where they are.
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
    """Something that reads messages in threads of its own from ``start`` to ``stop``."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Message:
    """``sensor_id`` is whose points these are where the message itself does not say."""

    sensor_id: str
    media_type: str
    body: bytes


def take(store: SensorStore, door: str, messages: Sequence[Message], body_max_bytes: int) -> list[bool]:
    """Store the points of all messages at once; for each, False if it can never be stored.

    Raises what the store raises when it cannot write now; nothing may be acknowledged then.
    """
    read = [_read(door, message, body_max_bytes) for message in messages]
    good = [points for points in read if points is not None]
    try:
        store.append([pair for points in good for pair in points])
        kept = [points is not None for points in read]
    except TooMany:
        raise
    except Refused:
        # What is wrong with one of them must not hold the others up.
        kept = [points is not None and _stored(store, door, points) for points in read]
    metrics.points(door, sum(_count(p) for p, k in zip(read, kept, strict=True) if k and p is not None))
    return kept


def _read(door: str, message: Message, body_max_bytes: int) -> list[tuple[str, Points]] | None:
    try:
        if len(message.body) > body_max_bytes:
            raise LimitExceeded(f"The message is larger than {body_max_bytes:,} bytes.", code="body_too_large")
        return read_points(message.body, message.media_type, message.sensor_id, several=True)
    except Refused as error:
        given_up(door, error)
        return None
    except Exception:
        # A fault of ours that this message meets would be met each time it came again.
        log.exception("a message of %s could not be read", door)
        given_up(door, Broken("It could not be read.", code="internal"))
        return None


def _stored(store: SensorStore, door: str, points: list[tuple[str, Points]]) -> bool:
    try:
        store.append(points)
    except TooMany:
        raise
    except Refused as error:
        given_up(door, error)
        return False
    return True


def given_up(door: str, error: FluxportError) -> None:
    metrics.refusal(error.code)
    log.warning("a message of %s was given up: %s", door, error.message, extra={"error_code": error.code})


def lost(door: str, what: str) -> None:
    """Messages that are not sent again."""
    metrics.refusal("messages_lost")
    log.warning("points of %s may be missing: %s", door, what, extra={"error_code": "messages_lost"})


def _count(points: list[tuple[str, Points]]) -> int:
    return sum(len(p) for _, p in points)


def patiently(work: Callable[[], list[bool]], wait: Callable[[float], bool]) -> list[bool] | None:
    """What ``work`` returns, tried again while the store cannot write; None once ``wait`` says that it is over."""
    pause = RETRY_FIRST_S
    while True:
        try:
            return work()
        except FluxportError as error:
            log.warning("points wait: %s", error.message, extra={"error_code": error.code})
        except Exception:
            # A fault of ours, perhaps of these very points: they are not lost by it, and the log says where it is.
            log.exception("points wait")
        if wait(pause):
            return None
        pause = min(2 * pause, RETRY_MOST_S)
