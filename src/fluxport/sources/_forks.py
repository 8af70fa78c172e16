"""A fork server: a process without threads that has loaded the engines and forks one process per statement.

The server starts with the first request. A request is one byte with two descriptors: a socket, which becomes the new
process's, and the read end of a pipe, its lifeline. When the write end closes, explicitly or because the client exited,
the server kills the new process and waits for it. Only the parent can do so safely: until it has waited, the system
does not reuse the process number.
::

    client ---- "." + (socket, lifeline) ----> server ---- fork ----> process
      |_______________________ socket: request, rows, outcome _________|
      |___ pipe (lifeline): EOF ______________> kill, wait
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from fluxport.errors import Unavailable
from fluxport.sources.table import SOURCES
from fluxport.systems import signals

# Each process calls the function ``run_request`` of this module with its socket.
STATEMENT_MODULE = "fluxport.sources.separate"
PR_SET_PDEATHSIG = 1
END_S = 10.0  # the server exits at once, unless the system is stuck


class Process:
    """A new process and the ``socket`` to it; Unavailable if it cannot be started."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        reading, writing = os.pipe()
        self._lifeline: int | None = writing
        self._ending = threading.Lock()
        try:
            _server.request(theirs.fileno(), reading)
        except BaseException:
            self.close()
            raise
        finally:
            theirs.close()
            os.close(reading)

    def end(self) -> None:
        """Kill the process, from any thread and as often as needed. A thread that waits on the socket wakes up."""
        with self._ending:
            if self._lifeline is not None:
                os.close(self._lifeline)
                self._lifeline = None
                with contextlib.suppress(OSError):  # the peer has closed it already
                    self.socket.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        """Ask the process to end by itself: it sees the end of its requests. From any thread and as often as needed."""
        with contextlib.suppress(OSError):  # the peer has closed it already
            self.socket.shutdown(socket.SHUT_WR)

    def left(self, wait_s: float) -> None:
        """Return once the process has ended by itself, or after ``wait_s``."""
        until = time.monotonic() + wait_s
        with contextlib.suppress(OSError):  # TimeoutError among them
            while (rest_s := until - time.monotonic()) > 0:
                self.socket.settimeout(rest_s)
                if not self.socket.recv(1 << 16):
                    return

    def close(self) -> None:
        """Kill the process and close its descriptors; call this once no thread uses them."""
        self.end()
        self.socket.close()


class _Server:
    """The client side of this process's one fork server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _process and _requests
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def request(self, theirs: int, lifeline: int) -> None:
        with self._lock:
            try:
                self._send(theirs, lifeline)
            except OSError:  # the server was killed, perhaps for lack of memory
                self._stop()
                try:
                    self._send(theirs, lifeline)
                except OSError as error:
                    raise Unavailable(
                        f"No process could be started for the statement: {error.strerror}.", code="source_busy"
                    ) from error

    def _send(self, theirs: int, lifeline: int) -> None:
        if self._requests is None:
            self._start()
        assert self._requests is not None
        socket.send_fds(self._requests, [b"."], [theirs, lifeline])

    def _start(self) -> None:
        self._requests, theirs = socket.socketpair()
        with theirs:
            arguments = [sys.executable, "-m", __name__, str(theirs.fileno())]
            # Signals of a terminal are for the client; the server exits with it.
            self._process = subprocess.Popen(  # noqa: S603  our own program with our own arguments
                arguments,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def stop(self) -> None:
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._requests is not None:
            self._requests.close()
        if self._process is not None:
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = self._requests = None


_server = _Server()
atexit.register(_server.stop)


def _serve(requests: socket.socket, run: Callable[[socket.socket], None]) -> None:
    """Fork for each request, until the client exits."""
    processes: dict[int, int] = {}  # lifeline -> process number
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not requests:
                    lifeline = key.fd
                    selector.unregister(lifeline)
                    os.close(lifeline)
                    _end(processes.pop(lifeline))
                    continue
                request, descriptors, _, _ = socket.recv_fds(requests, 1, 2)
                if not request:
                    for process in processes.values():
                        _end(process)
                    return
                theirs, lifeline = descriptors
                with socket.socket(fileno=theirs) as connected:
                    try:
                        processes[lifeline] = _forked(requests, connected, run)
                    except OSError:  # no further process is possible; the client sees its socket closed
                        os.close(lifeline)
                    else:
                        selector.register(lifeline, selectors.EVENT_READ)


def _forked(requests: socket.socket, connected: socket.socket, run: Callable[[socket.socket], None]) -> int:
    server = os.getpid()
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        requests.close()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == server:
            run(connected)
            code = 0
    except BaseException as error:  # noqa: BLE001  a forked process must never continue as a second server
        sys.stderr.write(f"fluxport: a statement's process failed: {type(error).__name__}\n")
    finally:
        os._exit(code)


def _end(process: int) -> None:
    os.kill(process, signal.SIGKILL)  # not waited for yet, so its number has not been reused
    os.waitpid(process, 0)


def main() -> None:
    for number in signals("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"):
        signal.signal(number, signal.SIG_IGN)  # the client decides when to stop
    for entry in SOURCES.built_in.values():
        for module in entry.embedded:
            importlib.import_module(module)
    run = importlib.import_module(STATEMENT_MODULE).run_request
    gc.freeze()  # keeps memory shared with the forks (copy-on-write)
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        _serve(requests, run)


if __name__ == "__main__":
    main()
