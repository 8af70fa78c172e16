"""The worker that lives beside ``fluxport serve``: a process of its own, started again whenever it dies.

It reads on its standard input what to do: ``end`` to stop within its grace, ``now`` to give everything back at once.
When the input ends, however its service has ended, it stops within its grace, too.
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

# A worker that ended is started again after this, and each time later that ends as soon.
AGAIN_FIRST_S = 1.0
AGAIN_MOST_S = 30.0
LOOK_EVERY_S = 0.1


class EmbeddedWorker:
    """``words`` are what follows ``fluxport`` on its command line; none, no worker."""

    def __init__(self, words: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> None:
        self._words = words
        self._environ = {**os.environ, **(environ or {})}
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While this block runs, so does the worker; it has ended when the block has."""
        thread = background("fluxport-keeper", self._keep) if self._words else None
        try:
            yield
        finally:
            self.end()
            while thread is not None and thread.is_alive():
                thread.join(LOOK_EVERY_S)  # so that signals are looked at meanwhile

    def end(self) -> None:
        """Let it stop within its grace; it is not started again."""
        self._over.set()
        self._send(b"end\n")

    def end_now(self) -> None:
        """Let it give back at once what it carries, after :meth:`end`. May be called by a signal's handler."""
        self._send(b"now\n")

    def _send(self, word: bytes) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # it has ended
                os.write(process.stdin.fileno(), word)

    def _keep(self) -> None:
        pause_s = AGAIN_FIRST_S
        while not self._over.is_set():
            began = time.monotonic()
            attempt("starting the worker", self._run)
            pause_s = AGAIN_FIRST_S if time.monotonic() - began > AGAIN_MOST_S else pause_s
            self._over.wait(pause_s)
            pause_s = min(2 * pause_s, AGAIN_MOST_S)

    def _run(self) -> None:
        with subprocess.Popen(  # noqa: S603  our own program with our own words
            [sys.executable, "-m", "fluxport", *self._words, "--attached"], stdin=subprocess.PIPE, env=self._environ
        ) as process:
            self._process = process
            if self._over.is_set():  # meanwhile
                self._send(b"end\n")
            code = process.wait()
        if not self._over.is_set():
            log.warning("the worker ended with code %d and is started again", code)
