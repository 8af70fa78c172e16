"""A stream between its source and its reader."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fluxport.errors import Canceled, TooMany, Unavailable
from fluxport.jobs.slots import Reading, Slots
from fluxport.jobs.spool import Spool, SpoolOptions
from fluxport.stages import Chunks


def test_a_stream_that_fails_while_its_source_is_pulled_ends_with_its_own_reason() -> None:
    pulled, stopped = threading.Event(), threading.Event()

    def source() -> Chunks:
        yield b"first"
        pulled.set()
        stopped.wait()
        raise Canceled("The query was canceled.")

    slots = Slots(1, 0.0, lambda: TooMany("busy", code="connection_busy"))
    reading = Reading(slots, Spool(SpoolOptions()), source, stopped.set, lambda: None)
    chunks = reading.chunks()
    assert next(chunks) == b"first"
    with ThreadPoolExecutor(1) as thread:
        pull = thread.submit(next, chunks)
        assert pulled.wait(30)
        reading.fail(Unavailable("The client stalled.", code="client_stalled"))
        with pytest.raises(Unavailable, match=r"The client stalled\."):
            pull.result(30)
    assert slots.enter().exception() is None  # the slot is free again
