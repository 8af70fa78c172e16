"""The worker of ``fluxport serve``: a child process, which is restarted whenever it exits.

It reads commands from its standard input: ``end`` to stop within its grace period, ``now`` to requeue everything at
once. At the end of the input, because the service has exited for whatever reason, it also stops within its grace
period.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from fluxport.loops import attempt, background

log = logging.getLogger("fluxport.keeper")

# The pause before a restart, doubled up to the maximum while the worker keeps exiting soon after its start.
RESTART_FIRST_S = 1.0
RESTART_MOST_S = 30.0
LOOK_EVERY_S = 0.1


class EmbeddedWorker:
    """``arguments`` of ``fluxport`` start the worker; empty for no worker."""

    def __init__(self, arguments: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> None:
        self._arguments = arguments
        self._environ = {**os.environ, **(environ or {})}
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the worker while this block runs; when the block has ended, the worker has exited."""
        thread = background("fluxport-keeper", self._keep) if self._arguments else None
        try:
            yield
        finally:
            self.end()
            while thread is not None and thread.is_alive():
                thread.join(LOOK_EVERY_S)  # in short waits, so that signals are handled

    def end(self) -> None:
        """Stop it within its grace period, without a restart."""
        self._stopping.set()
        self._send(b"end\n")

    def end_now(self) -> None:
        """Let it requeue its jobs at once, after :meth:`end`. May be called from a signal handler."""
        self._send(b"now\n")

    def _send(self, command: bytes) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # it has exited
                os.write(process.stdin.fileno(), command)

    def _keep(self) -> None:
        pause_s = RESTART_FIRST_S
        while not self._stopping.is_set():
            began = time.monotonic()
            attempt("starting the worker", self._run)
            pause_s = RESTART_FIRST_S if time.monotonic() - began > RESTART_MOST_S else pause_s
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, RESTART_MOST_S)

    def _run(self) -> None:
        with subprocess.Popen(  # noqa: S603  this program with arguments of our own
            [sys.executable, "-m", "fluxport", *self._arguments, "--attached"], stdin=subprocess.PIPE, env=self._environ
        ) as process:
            self._process = process
            if self._stopping.is_set():  # end() was called before _process was set, so its command was not sent
                self._send(b"end\n")
            code = process.wait()
        if not self._stopping.is_set():
            log.warning("the worker exited with code %d and will be restarted", code)
