"""How often one caller may ask: a bucket of tokens for each, refilled evenly, in the memory of this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fluxport.errors import TooMany


class Rate:
    """Lets each caller through ``per_minute`` times at once and as often in every minute after; shared by threads.

    Only callers who proved who they are have a bucket, so there are as many buckets as keys and users.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left, and when that was

    def take(self, who: str) -> None:
        """Count one request of ``who``; TooMany if it has none left."""
        per_s = self._per_minute / 60
        with self._lock:
            now = self._clock()
            left, then = self._buckets.get(who, (float(self._per_minute), now))
            left = min(float(self._per_minute), left + (now - then) * per_s)
            self._buckets[who] = (left - 1 if left >= 1 else left, now)
        if left < 1:
            raise TooMany(
                f"This caller has made its {self._per_minute} requests a minute; ask again in a moment.",
                code="too_many_requests",
                retry_after_s=(1 - left) / per_s,
            )
