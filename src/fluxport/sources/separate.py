"""Runs an in-process engine in a separate process, which can be killed.

An embedded engine checks the clock between its steps, and one step may take hours: SQLite's ``instr``, ``replace``,
``trim``, ``LIKE`` or ``json_patch`` of two long texts takes time proportional to the product of their lengths, and
nothing interrupts it. So each statement runs in its own forked process (_forks.py), which costs a few milliseconds, a
third of a second the first time. Closing the source kills the process, whatever it is doing.

A driver that blocks (watched.py) runs here too, for the same reason. But its query runs on a server, which does not
notice a killed client: so its process is asked first, and has LEAVE_S to cancel the query.
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
import threading
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
from fluxport.sources.watched import WatchedSource
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
LEAVE_S = 1.5  # less than BaseSource.close_wait_s


class SeparateSource(BaseSource):
    """Rows from another process; the arguments are those of :func:`fluxport.sources.open_source`. The process has
    ``leave_s`` to end by itself before it is killed."""

    served = True

    def __init__(
        self,
        url: str,
        query: str,
        params: Params,
        options: SourceOptions,
        findings: Findings,
        limits: Limits,
        *,
        leave_s: float = 0.0,
    ) -> None:
        super().__init__(replace(limits, deadline_s=None))  # it counts once the process has begun
        self._request = url, query, params, replace(options, separate=False, own_process=True), limits
        self._findings = findings
        self._deadline_s = limits.deadline_s
        self._leave_s = leave_s
        self._leaving_since: float | None = None
        self._complete = False
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
            self._leaving_since = self._leaving_since or time.monotonic()
            if time.monotonic() < self._leaving_since + self._leave_s:
                self._process.leave()
            else:
                self._process.end()

    def free(self) -> None:
        if self._process is not None and self._leave_s and not self._complete:
            self._process.leave()
            self._process.left(self._leave_s)
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
        self._complete = True
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
    # If the peer has closed the socket, this process is about to be killed.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError), connected.makefile("wb") as out:
        error = None
        try:
            source = open_here(url, query, params, options, findings, limits)  # its paths are relative to the caller's
            if isinstance(options.files, Path):
                _enter(options.files)
            sending = _Sending(source, out)
            if isinstance(source, WatchedSource):
                source.give_up = lambda reason: sending.give_up(reason, findings)
                threading.Thread(target=_leave_with, args=(connected, source), daemon=True).start()
            sending.run()
        except FluxportError as raised:
            error = raised
        _end_with(error, findings, out)


def _leave_with(connected: socket.socket, source: WatchedSource) -> None:
    """When the peer asks, or has exited: cancel the query and exit."""
    with contextlib.suppress(OSError):
        connected.recv(1)
    source.close()
    os._exit(0)


def _enter(folder: Path) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise Unavailable(
            f"The folder of the connection's files cannot be opened: {error.strerror}.", code="source_unreachable"
        ) from None


def _end_with(error: FluxportError | None, findings: Findings, out: BinaryIO) -> None:
    outcome: dict[str, Any] = {"error": None}
    if error is not None:
        outcome["family"] = type(error).__name__
        outcome["error"] = {name: getattr(error, name) for name in ERROR_FIELDS}
    outcome["findings"] = [(f.code, f.column, f.count, f.origin) for f in findings]
    out.write(OUTCOME + json.dumps(outcome).encode())
    out.flush()


class _Sending:
    """Sends the rows of ``source`` to ``out``."""

    def __init__(self, source: Any, out: BinaryIO) -> None:
        self._source = source
        self._out = out
        self._writer: pa.RecordBatchStreamWriter | None = None

    def run(self) -> None:
        import pyarrow as pa

        schema = self._source.schema
        self._out.write(ROWS)
        self._writer = pa.ipc.new_stream(pa.PythonFile(self._out, mode="w"), schema)
        with self._writer as writer:
            self._out.flush()
            for batch in self._source.batches():
                writer.write_batch(batch)
                self._out.flush()

    def give_up(self, reason: FluxportError, findings: Findings) -> None:
        """End the stream with ``reason``, and the process, while the other thread is inside of the driver."""
        with contextlib.suppress(OSError):
            if self._writer is not None:
                self._writer.close()
            _end_with(reason, findings, self._out)
        os._exit(0)
