"""Runs an in-process engine in a separate process, which can be killed.

An embedded engine checks the clock between its steps, and one step may take hours: SQLite's ``instr``, ``replace``,
``trim``, ``LIKE`` or ``json_patch`` of two long texts takes time proportional to the product of their lengths, and
nothing interrupts it. So each statement runs in its own forked process (_forks.py), which costs some milliseconds, a
third of a second the first time. The process is killed with its source, whatever it is doing.
::

    request    length 8 | pickled arguments
    response   "." begun | "+" Arrow IPC stream | "-" outcome as JSON, up to EOF
                           left out if the statement failed first
"""

from __future__ import annotations

import contextlib
import json
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from fluxport import errors
from fluxport.errors import Canceled, FluxportError, Unavailable
from fluxport.findings import Findings
from fluxport.sources._forks import Process
from fluxport.sources.table import open_here
from fluxport.sources.timeouts import late
from fluxport.stages import Batches

if TYPE_CHECKING:
    import pyarrow as pa

    from fluxport.sources.table import Params, SourceOptions
    from fluxport.stages import Limits

LENGTH_BYTES = 8
BEGUN, ROWS, OUTCOME = b".", b"+", b"-"
PARTS = ("message", "code", "retry_after_s", "detail", "again")  # of an error
BEGIN_S = 60.0  # for starting a process, on a busy machine
GRACE_S = 1.0  # for the engine to end an overdue statement itself


class SeparateSource:
    """See :class:`fluxport.stages.Source`; the arguments are those of :func:`fluxport.sources.open_source`."""

    served = True

    def __init__(
        self, url: str, query: str, params: Params, options: SourceOptions, findings: Findings, limits: Limits
    ) -> None:
        self._request = url, query, params, replace(options, separate=False), limits
        self._findings = findings
        self._deadline_s = limits.deadline_s
        self._until: float | None = None
        self._busy = threading.Lock()  # held while a thread reads
        self._lock = threading.Lock()  # guards _closed and _process
        self._closed = False
        self._process: Process | None = None
        self._rows: BinaryIO | None = None
        self._reader: pa.RecordBatchStreamReader | None = None

    @property
    def schema(self) -> pa.Schema:
        if self._reader is None:
            with self._busy:
                if self._reader is None:
                    try:
                        self._reader = self._start()
                    except BaseException:
                        self._leave()
                        raise
        return self._reader.schema

    def batches(self) -> Batches:
        _ = self.schema
        try:
            while (batch := self._next()) is not None:
                yield batch
        finally:
            self.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.end()  # wakes a reading thread
        with self._busy:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            if self._rows is not None:
                self._rows.close()
            process.close()

    def _start(self) -> pa.RecordBatchStreamReader:
        import pyarrow as pa

        with self._lock:
            if self._closed:
                raise Canceled("The export was aborted.")
            process = self._process = Process()
        rows = self._rows = process.socket.makefile("rb")
        request = pickle.dumps(self._request)
        with self._ended_by(time.monotonic() + BEGIN_S):
            process.socket.sendall(len(request).to_bytes(LENGTH_BYTES) + request)
            if rows.read(1) != BEGUN:
                raise self._lost()
        if self._deadline_s is not None:
            self._until = time.monotonic() + self._deadline_s + GRACE_S
        with self._ended_by(self._until):
            mark = rows.read(1)
            if mark == ROWS:
                return pa.ipc.open_stream(pa.PythonFile(rows, mode="r"))
        raise self._outcome(mark) or self._lost()

    def _next(self) -> pa.RecordBatch | None:
        with self._busy:
            if self._closed:
                raise Canceled("The export was aborted.")
            assert self._reader is not None
            assert self._rows is not None
            with self._ended_by(self._until):
                try:
                    return self._reader.read_next_batch()
                except StopIteration:
                    mark = self._rows.read(1)
            error = self._outcome(mark)
            if error is not None:
                raise error
            return None

    @contextlib.contextmanager
    def _ended_by(self, until: float | None) -> Iterator[None]:
        """Within it, reads from the other process time out at ``until`` (time.monotonic())."""
        assert self._process is not None
        self._process.socket.settimeout(None if until is None else max(0.001, until - time.monotonic()))
        try:
            yield
        except TimeoutError:
            raise late() from None
        except (OSError, EOFError, ValueError) as error:  # Arrow's errors are among them
            raise self._lost() from error

    def _outcome(self, mark: bytes) -> FluxportError | None:
        """Read the outcome behind its ``mark``: the statement's error or None. Its findings are added to ours."""
        assert self._rows is not None
        with self._ended_by(self._until):
            text = self._rows.read() if mark == OUTCOME else b""
        try:
            outcome = json.loads(text)
        except ValueError:
            return self._lost()
        for code, column, count, origin in outcome["findings"]:
            self._findings.add(code, column, count, origin=origin)
        if outcome["error"] is None:
            return None
        family: type[FluxportError] = getattr(errors, outcome["family"])
        return family(outcome["error"].pop("message"), **outcome["error"])

    def _lost(self) -> FluxportError:
        if self._closed:
            return Canceled("The export was aborted.")
        return Unavailable(
            "The process that ran the statement ended before its rows did; export fewer rows, or try again.",
            code="source_lost",
        )


def answer(connected: socket.socket) -> None:
    """Runs in the forked process: read a request from ``connected``, send its rows and the outcome."""
    with connected.makefile("rb") as stream:
        request = pickle.loads(stream.read(int.from_bytes(stream.read(LENGTH_BYTES))))  # noqa: S301  sent by our own process
    connected.sendall(BEGUN)
    url, query, params, options, limits = request
    findings = Findings()
    outcome: dict[str, Any] = {"error": None}
    # If the peer has closed the socket, this process is about to be killed.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError), connected.makefile("wb") as sent:
        try:
            _send(open_here(url, query, params, options, findings, limits), sent)
        except FluxportError as error:
            outcome["family"] = type(error).__name__
            outcome["error"] = {name: getattr(error, name) for name in PARTS}
        outcome["findings"] = [(f.code, f.column, f.count, f.origin) for f in findings]
        sent.write(OUTCOME + json.dumps(outcome).encode())


def _send(source: Any, sent: BinaryIO) -> None:
    import pyarrow as pa

    schema = source.schema
    sent.write(ROWS)
    with pa.ipc.new_stream(pa.PythonFile(sent, mode="w"), schema) as writer:
        sent.flush()
        for batch in source.batches():
            writer.write_batch(batch)
            sent.flush()
