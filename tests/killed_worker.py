"""``fluxport worker``, killed by itself with SIGKILL when it reaches a point of its own code.

    python killed_worker.py MODULE QUALNAME call|return [words of the command line...]

The code that runs is unchanged: the interpreter reports every call and return, and the first one at the point kills the
process.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from fluxport.cli import main

module, qualname, event, *words = sys.argv[1:]
functools.reduce(getattr, qualname.split("."), importlib.import_module(module))  # it exists


def kill(frame: FrameType, what: str, _: Any) -> None:
    code = frame.f_code
    if what == event and code.co_qualname == qualname and frame.f_globals.get("__name__") == module:
        os.kill(os.getpid(), signal.SIGKILL)


sys.argv = ["fluxport", *words]
threading.setprofile(kill)
sys.setprofile(kill)
main()
