"""The end of a command that has its process for itself: what Python does at exit, except for unloading modules, which
takes a twentieth of the time of a small export."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import sys
import threading
from types import FrameType
from typing import TextIO

from fluxport import plugins

# The frames, innermost first, of an installed script and of `python -m fluxport`.
_ALONE = (
    [("__main__", "<module>")],
    [("__main__", "<module>"), ("runpy", "_run_code"), ("runpy", "_run_module_as_main")],
)


def has_process(caller: FrameType | None) -> bool:
    """Whether nothing but Python itself runs the code of ``caller``, so that no other code waits for its end: no
    program, test or interactive session, and no debugger, profiler or tracer, which would lose what it has measured."""
    frames = []
    while caller is not None:
        frames.append((caller.f_globals.get("__name__"), caller.f_code.co_name))
        caller = caller.f_back
    watched = (sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile())
    monitoring = getattr(sys, "monitoring", None)  # since Python 3.12
    tools = () if monitoring is None else map(monitoring.get_tool, range(6))
    return frames in _ALONE and not any(watched) and not any(tools) and not sys.flags.inspect


def exit_at_once(code: int) -> None:
    """Exit with ``code``. Returns where only Python itself exits properly: on Windows, where a component of another
    package was imported, and where what was printed cannot be written, which has a message and an exit code of its own.

    Threads are waited for as at Python's exit: those of idle thread pools end. Functions registered with atexit are
    called, which closes logs and removes temporary folders, and what was printed is written, by C libraries too. Not
    done: no object is destroyed. So no ``__del__`` runs, nothing closes a file that other code left open with unwritten
    data, and no function is called that a C library registered for the exit.
    """
    if sys.platform == "win32" or plugins.imported:
        return
    with contextlib.suppress(KeyboardInterrupt):  # from then on Python does not wait for threads either
        threading._shutdown()  # type: ignore[attr-defined]  # what Python itself calls
    atexit._run_exitfuncs()
    if _written(sys.stdout) and _written(sys.stderr):
        ctypes.CDLL(None).fflush(None)
        os._exit(code)


def _written(stream: TextIO | None) -> bool:
    """Whether a standard stream has nothing left to write; None: the process was started without it."""
    try:
        if stream is not None and not stream.closed:
            stream.flush()
    except (OSError, ValueError):
        return False
    return True
