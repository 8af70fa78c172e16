"""Signals that end a command, which first cancels or removes what it has begun."""

from __future__ import annotations

import signal
from types import FrameType

from fluxport import systems


def ending() -> list[signal.Signals]:
    """The signals that end a command; without SIGHUP if nohup ignores it."""
    numbers = systems.signals("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP")
    return [number for number in numbers if number.name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN]


def interruptible() -> None:
    """Let the signals that would kill this process raise KeyboardInterrupt instead, as Ctrl-C does. Ignored signals,
    such as those of a shell's background jobs, stay ignored."""
    for number in ending():
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def terminating() -> None:
    """Let the other signals that end a command act like SIGTERM, for a server that handles only SIGTERM and SIGINT."""
    for number in ending():
        if number not in (signal.SIGTERM, signal.SIGINT) and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _terminate)


def _terminate(signum: int, frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGTERM)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
