"""Timeouts for connecting and reading: the same names and values in the URL of every source."""

from __future__ import annotations

from fluxport.durations import seconds

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 300.0
LONGEST_S = 30 * 86_400.0
# TCP keepalive detects a lost peer however long a query is silent; UNACKNOWLEDGED_MS (TCP_USER_TIMEOUT) bounds the wait
# for the acknowledgement of sent bytes.
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 30, 10, 3
UNACKNOWLEDGED_MS = 60_000

# As in the URL, in lower case with "-" for "_".
FIELDS = {"connect-timeout": "connect_timeout_s", "read-timeout": "read_timeout_s"}


def field_of(option: str) -> str | None:
    """The field for a URL's option, in any case and with "_" or "-"; None for other options."""
    return FIELDS.get(option.lower().replace("_", "-"))


def timeout(text: str) -> float | None:
    """Seconds, more than 0 and at most LONGEST_S; None if ``text`` is not such a time."""
    try:
        value_s = seconds(text)
    except ValueError:
        return None
    return value_s if 0 < value_s <= LONGEST_S else None


def refused(option: str) -> str:
    """The message for a bad value of ``option``, without the value, which may be part of a password."""
    return f"option {option!r} takes a time such as 10s, 500ms or 1m30s"
