"""Processes of ``fluxport`` without the time that imports take: forks of a server that has loaded the libraries.

::

    test process ---- arguments, folder, environment, file for the output ----> server ---- fork, fork ----> fluxport
         ^__________________________________ process number _________________________________________________|

The process in between exits at once, and the test process adopts the new one: it waits for it, and sees it as a zombie
until then, as if it had started it. The new process runs ``fluxport`` as ``python -m fluxport`` does. Loaded beforehand
is what reads no environment and starts no thread: libraries, and of Fluxport what a service and a worker load first.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO, Any

PR_SET_CHILD_SUBREAPER = 36
SERVICE = (
    *("asyncio", "email.message", "ssl", "click", "yaml", "pydantic", "fastapi", "uvicorn", "numpy"),
    *("sqlalchemy", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql", "argon2"),
    *("fluxport.process", "fluxport.wiring", "fluxport.http.server", "fluxport.jobs.worker"),
    *("fluxport.cli.serve", "fluxport.cli.worker"),
)
EMULATOR = (
    *("asyncio", "email.message", "ssl", "click", "numpy", "sqlglot"),
    *("sqlglot.dialects.mysql", "duckdb", "cryptography.x509", "bcrypt"),
)


class Started:
    """A child of this process, with the part of ``subprocess.Popen`` that tests use."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._waiting = threading.Lock()

    def poll(self) -> int | None:
        with self._waiting:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; TimeoutExpired after ``timeout`` seconds."""
        if (code := self.poll()) is None:
            file = os.pidfd_open(self.pid)
            try:
                ended = select.poll()  # select() takes no file number above 1023
                ended.register(file, select.POLLIN)
                ended.poll(None if timeout is None else timeout * 1000)
            finally:
                os.close(file)
            code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("fluxport", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    words: Sequence[str], folder: Path, environ: Mapping[str, str], output: IO[Any], errors: IO[Any] | None = None
) -> Started:
    """``fluxport words...`` in ``folder`` with exactly this environment, and ``errors`` where its errors go elsewhere
    than its output. What Python itself reads from the environment is that of this process."""
    request = json.dumps([list(words), str(folder), dict(environ)]).encode()
    server = _server(EMULATOR if words[0] in ("emulate", "export") else SERVICE)
    _adopt(True)
    try:
        socket.send_fds(server, [request], [output.fileno(), (errors or output).fileno()])
        answer = server.recv(100)
    finally:
        _adopt(False)
    if not answer:
        raise OSError("the fork server has ended")
    return Started(int(answer))


def run(*words: str, folder: Path, environ: Mapping[str, str], limit_s: float = 120) -> CompletedProcess[bytes]:
    """``fluxport words...`` to its end; TimeoutExpired after ``limit_s``."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = start(words, folder, environ, output, errors)
        try:
            code = started.wait(limit_s)
        finally:
            started.kill()
        output.seek(0)
        errors.seek(0)
        return CompletedProcess(["fluxport", *words], code, output.read(), errors.read())


def _adopt(orphans: bool) -> None:
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(orphans), 0, 0, 0):
        raise OSError("prctl failed")


@functools.cache
def _server(libraries: tuple[str, ...]) -> socket.socket:
    """The socket to the server with these libraries, which ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno()), *libraries],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # or it has threads, which a fork does not
        )
    atexit.register(_end, process, ours)
    return ours


def _end(process: subprocess.Popen[bytes], requests: socket.socket) -> None:
    requests.close()
    process.kill()
    process.wait()


def _serve(requests: socket.socket) -> None:
    """Fork for every request; a new process returns from here by running the program to its end."""
    while True:
        request, files, _, _ = socket.recv_fds(requests, 1 << 20, 2)
        if not request:
            return
        between = os.fork()
        if between:
            for file in files:
                os.close(file)
            os.waitpid(between, 0)
            continue
        between = os.getpid()
        if os.fork():
            os._exit(0)
        while os.getppid() == between:
            time.sleep(0.0005)
        requests.send(b"%d" % os.getpid())
        requests.close()
        _run(files, *json.loads(request))


def _run(files: list[int], words: list[str], folder: str, environ: dict[str, str]) -> None:
    for file, number in zip(files, (1, 2), strict=True):
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    sys.path.insert(0, folder)
    sys.argv[:] = ["fluxport", *words]
    runpy.run_module("fluxport", run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    sys.path.pop(0)  # this folder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the tests decide when to stop
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.freeze()  # what is loaded stays shared with the forks
    with socket.socket(fileno=int(sys.argv[1])) as connected:
        _serve(connected)
