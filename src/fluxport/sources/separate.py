"""Runs an in-process engine in a separate process, which can be killed.

An embedded engine checks the clock between its steps, and one step may take hours: SQLite's ``instr``, ``replace``,
``trim``, ``LIKE`` or ``json_patch`` of two long texts takes time proportional to the product of their lengths, and
nothing interrupts it. So each statement runs in its own forked process (_forks.py), which costs a few milliseconds, a
third of a second the first time. Closing the source kills the process, whatever it is doing.
::

    request    length 8 | pickled arguments
    response   "." begun | "+" Arrow IPC stream | "-" outcome as JSON, up to EOF
                           omitted if the statement failed first
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from fluxport import errors
from fluxport.errors import FluxportError, Unavailable
from fluxport.findings import Findings
from fluxport.sources._forks import Process
from fluxport.sources.base import BaseSource
from fluxport.sources.errors import late
from fluxport.sources.table import open_here
from fluxport.systems import bound_memory

if TYPE_CHECKING:
    import pyarrow as pa

    from fluxport.sources.table import Params, SourceOptions
    from fluxport.stages import Limits

LENGTH_BYTES = 8
BEGUN, ROWS, OUTCOME = b".", b"+", b"-"
ERROR_FIELDS = ("message", "code", "retry_after_s", "detail", "again")
# An engine's own limit leaves out the values of a statement; a process beyond this fails to allocate, or ends.
MEMORY_BYTES = 1 << 30
MEMORY_CELLS = 8  # at least so many of the largest cells
BEGIN_S = 60.0  # for starting a process, on a busy machine
GRACE_S = 1.0  # for the engine to end an overdue statement itself


class SeparateSource(BaseSource):
    """Rows from another process; the arguments are those of :func:`fluxport.sources.open_source`."""

    served = True

    def __init__(
        self, url: str, query: str, params: Params, options: SourceOptions, findings: Findings, limits: Limits
    ) -> None:
        super().__init__(replace(limits, deadline_s=None))  # it counts once the process has begun
        self._request = url, query, params, replace(options, separate=False, own_process=True), limits
        self._findings = findings
        self._deadline_s = limits.deadline_s
        self._process: Process | None = None
        self._stream: BinaryIO | None = None

    def open(self) -> pa.Schema:
        import pyarrow as pa

        process = self._process = Process()
        rows = self._stream = process.socket.makefile("rb")
        request = pickle.dumps(self._request)
        self._wait_until(time.monotonic() + BEGIN_S)
        process.socket.sendall(len(request).to_bytes(LENGTH_BYTES) + request)
        if rows.read(1) != BEGUN:
            raise _lost()
        if self._deadline_s is not None:
            self.deadline = time.monotonic() + self._deadline_s + GRACE_S
        self._wait_until(self.deadline)
        mark = rows.read(1)
        if mark != ROWS:
            self._finish(mark)
            raise _lost()
        self._batches = pa.ipc.open_stream(pa.PythonFile(rows, mode="r"))
        return self._batches.schema

    def read(self) -> pa.RecordBatch | None:
        self._wait_until(self.deadline)
        try:
            return self._batches.read_next_batch()
        except StopIteration:
            assert self._stream is not None
            self._finish(self._stream.read(1))
            return None

    def interrupt(self) -> None:
        if self._process is not None:
            self._process.end()

    def free(self) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._process is not None:
            self._process.close()

    def translate(self, error: Exception) -> None:
        if isinstance(error, TimeoutError):
            raise late() from None
        if isinstance(error, OSError | EOFError | ValueError):  # Arrow's errors are among them
            raise _lost() from error

    def _wait_until(self, until: float | None) -> None:
        """From here on reads from the other process time out at ``until`` (time.monotonic())."""
        assert self._process is not None
        self._process.socket.settimeout(None if until is None else max(0.001, until - time.monotonic()))

    def _finish(self, mark: bytes) -> None:
        """Read the outcome after its ``mark``: add its findings to ours and raise the statement's error, if it has one;
        ValueError if the outcome is truncated."""
        assert self._stream is not None
        outcome = json.loads(self._stream.read() if mark == OUTCOME else b"")
        for code, column, count, origin in outcome["findings"]:
            self._findings.add(code, column, count, origin=origin)
        if outcome["error"] is not None:
            family: type[FluxportError] = getattr(errors, outcome["family"])
            raise family(outcome["error"].pop("message"), **outcome["error"])


def _lost() -> Unavailable:
    return Unavailable(
        "The process that ran the statement ended before its rows did; export fewer rows, or try again.",
        code="source_lost",
    )


def run_request(connected: socket.socket) -> None:
    """Read a request from ``connected``, then send its rows and the outcome; runs in the forked process."""
    with connected.makefile("rb") as stream:
        request = pickle.loads(stream.read(int.from_bytes(stream.read(LENGTH_BYTES))))  # noqa: S301  sent by our own process
    connected.sendall(BEGUN)
    url, query, params, options, limits = request
    bound_memory(max(MEMORY_BYTES, MEMORY_CELLS * limits.cell_bytes_max))
    findings = Findings()
    outcome: dict[str, Any] = {"error": None}
    # If the peer has closed the socket, this process is about to be killed.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError), connected.makefile("wb") as out:
        try:
            source = open_here(url, query, params, options, findings, limits)  # its paths are relative to the caller's
            if isinstance(options.files, Path):
                _enter(options.files)
            _send(source, out)
        except FluxportError as error:
            outcome["family"] = type(error).__name__
            outcome["error"] = {name: getattr(error, name) for name in ERROR_FIELDS}
        outcome["findings"] = [(f.code, f.column, f.count, f.origin) for f in findings]
        out.write(OUTCOME + json.dumps(outcome).encode())


def _enter(folder: Path) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise Unavailable(
            f"The folder of the connection's files cannot be opened: {error.strerror}.", code="source_unreachable"
        ) from None


def _send(source: Any, out: BinaryIO) -> None:
    import pyarrow as pa

    schema = source.schema
    out.write(ROWS)
    with pa.ipc.new_stream(pa.PythonFile(out, mode="w"), schema) as writer:
        out.flush()
        for batch in source.batches():
            writer.write_batch(batch)
            out.flush()
