"""How long a database may take to let in, and to send nothing: the same names and values in the URL of every source."""

from __future__ import annotations

from fluxport.durations import seconds
from fluxport.errors import TimedOut

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 300.0
LONGEST_S = 30 * 86_400.0
# A peer that is no longer there is noticed after this long, however long a query may be silent: keepalive packets
# after so many seconds, so many of them, and as long for what was sent and not acknowledged.
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 30, 10, 3
UNACKNOWLEDGED_MS = 60_000

# As in the URL, in lower case with "-" for "_".
FIELDS = {"connect-timeout": "connect_timeout_s", "read-timeout": "read_timeout_s"}


def field_of(option: str) -> str | None:
    """Which of FIELDS the option of a URL is, however it is spelled."""
    return FIELDS.get(option.lower().replace("_", "-"))


def timeout(text: str) -> float | None:
    """Seconds, more than 0; None if ``text`` is no such time."""
    try:
        found = seconds(text)
    except ValueError:
        return None
    return found if 0 < found <= LONGEST_S else None


def refused(option: str) -> str:
    """What is wrong with the value of ``option``; the value itself may be part of a password."""
    return f"option {option!r} takes a time such as 10s, 500ms or 1m30s"


def late() -> TimedOut:
    """What has met its deadline."""
    return TimedOut(
        "The query did not end within its time limit; ask for fewer rows or more time.", code="deadline", again=False
    )
