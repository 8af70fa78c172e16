"""Rate limit of requests: a token bucket for each caller, in the memory of this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fluxport.errors import TooMany


class Rate:
    """Allows each caller a burst of ``per_minute`` requests, and as many in each further minute; thread-safe.

    Only authenticated callers have a bucket, so there are at most as many buckets as keys and users.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left, and at which time

    def take(self, caller: str) -> None:
        """Take a token from the bucket of ``caller``; TooMany if none is left."""
        per_s = self._per_minute / 60
        with self._lock:
            now = self._clock()
            left, then = self._buckets.get(caller, (float(self._per_minute), now))
            left = min(float(self._per_minute), left + (now - then) * per_s)
            self._buckets[caller] = (left - 1 if left >= 1 else left, now)
        if left < 1:
            raise TooMany(
                f"This caller has exceeded {self._per_minute} requests a minute; retry in a moment.",
                code="too_many_requests",
                retry_after_s=(1 - left) / per_s,
            )
