"""Background threads: no exception ends one silently.

After an error in a round, a loop either continues or ends the process, so that the supervisor (systemd, the container
runtime, ``fluxport serve`` for its worker) restarts it. An uncaught exception ends the process, too.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from fluxport.errors import FluxportError

log = logging.getLogger("fluxport.loops")

EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h


def background(name: str, work: Callable[..., Any], *args: Any) -> threading.Thread:
    """A started daemon thread; the process ends if ``work`` raises."""

    def run() -> None:
        try:
            work(*args)
        except BaseException as error:  # noqa: BLE001  other threads rely on this one
            end_process(f"the thread {name} failed", error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def keep_going(what: str, stopped: threading.Event, every_s: float, round_: Callable[[], object]) -> None:
    """Call ``round_`` every ``every_s`` seconds until ``stopped`` is set, whatever it raises. ``what`` names it in the
    log, which has one line for each period of failure."""
    failing = False
    while not stopped.wait(every_s):
        failing = not attempt(what, round_, quiet=failing)


def attempt(what: str, do: Callable[[], object], *, quiet: bool = False) -> bool:
    """Whether ``do`` succeeded. If not, the reason is logged; with ``quiet``, a FluxportError only at debug level."""
    try:
        do()
    except FluxportError as error:
        level = logging.DEBUG if quiet else logging.WARNING
        log.log(level, "%s failed: %s", what, error.message, extra={"error_code": error.code})
        return False
    except Exception:  # a bug must not end the loop
        log.exception("%s failed", what)
        return False
    return True


def end_process(why: str, error: BaseException | None = None) -> NoReturn:
    """Exit at once, so that the supervisor restarts this process and other workers take over its jobs."""
    log.critical("%s; the process ends", why, exc_info=error)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(EXIT_CODE)


def end_with_any_thread() -> None:
    """From now on an uncaught exception in any thread, including those of libraries, ends the process."""

    def hook(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            name = args.thread.name if args.thread is not None else "?"
            end_process(f"the thread {name} failed", args.exc_value)

    threading.excepthook = hook
