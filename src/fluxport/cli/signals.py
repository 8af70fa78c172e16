"""Signals that end a command: what it has begun is removed before it goes."""

from __future__ import annotations

import signal
from types import FrameType


def interruptible() -> None:
    """Let the signals that would end this process unwind it instead, as Ctrl-C does; one that is ignored, as by nohup,
    stays so."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
