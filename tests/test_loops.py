"""No background thread ends by an exception: it continues, or the process ends."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

import pytest

from fluxport.errors import Unavailable
from fluxport.loops import EXIT_CODE, keep_going


def test_a_loop_goes_on_whatever_its_rounds_raise(caplog: pytest.LogCaptureFixture) -> None:
    stopped = threading.Event()
    faults: list[Exception] = [Unavailable("away"), ValueError("a fault of ours"), Unavailable("away"), OSError("disk")]

    def round_() -> None:
        if not faults:
            stopped.set()
            return
        raise faults.pop(0)

    with caplog.at_level(logging.WARNING):
        keep_going("a round", stopped, 0.001, round_)
    assert stopped.is_set()
    assert next(record.getMessage() for record in caplog.records) == "a round failed: away"


PROGRAMS = {
    "a thread of ours": "loops.background('lost', lambda: 1 // 0).join()",
    "a thread of a library": "loops.end_with_any_thread(); threading.Thread(target=lambda: 1 // 0).start()",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_failed_thread_ends_the_process_and_is_logged(program: str) -> None:
    code = f"import threading, time; from fluxport import loops; {program}; time.sleep(60)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == EXIT_CODE
    assert "the process ends" in ended.stderr
    assert "ZeroDivisionError" in ended.stderr
