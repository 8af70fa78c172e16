"""Durations as people write them: ``90s``, ``15m``, ``1h30m``, ``500ms``, ``7d`` or plain seconds."""

from __future__ import annotations

import re

# Those of Go, where a micro may be either of two characters, and days.
UNITS_S = {
    **{"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 0.001},
    **{"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0},
}
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_PART = re.compile(rf"({_NUMBER})({'|'.join(UNITS_S)})")


def seconds(text: str) -> float:
    """The duration in seconds; ValueError if ``text`` is not a duration."""
    if re.fullmatch(_NUMBER, text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("a duration is a number of seconds or like 90s, 15m, 1h30m, 7d")
    return float(sum(float(number) * UNITS_S[unit] for number, unit in parts))
