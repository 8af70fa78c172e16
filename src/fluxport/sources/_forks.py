"""Processes that are forked from one that has no threads and has loaded what they need.

The server is started when the first process is asked for. A request is one byte with two descriptors: a socket, which
becomes the new process's, and the reading end of a pipe, its lifeline. When the other end is closed, by the process
that asked or by its death, the server kills the new process, whatever that does, and waits for it. Only its parent can
do so without the danger of meeting another process of the same number.
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
from collections.abc import Callable

from fluxport.errors import Unavailable
from fluxport.sources.table import SOURCES

# What each process runs is the function ``answer`` of this module, with its socket.
ANSWERS = "fluxport.sources.separate"
PR_SET_PDEATHSIG = 1
END_S = 10.0  # for what takes no time, unless the system is stuck


class Process:
    """A new process and the ``socket`` to it. Unavailable, if there can be none."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        reading, writing = os.pipe()
        self._lifeline: int | None = writing
        self._ending = threading.Lock()
        try:
            _server.ask(theirs.fileno(), reading)
        except BaseException:
            self.close()
            raise
        finally:
            theirs.close()
            os.close(reading)

    def end(self) -> None:
        """Kill it, from any thread and any number of times; a thread that waits on the socket comes back."""
        with self._ending:
            if self._lifeline is not None:
                os.close(self._lifeline)
                self._lifeline = None
                with contextlib.suppress(OSError):  # the other end is closed already
                    self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it, and give its descriptors back: when no thread uses them any more."""
        self.end()
        self.socket.close()


class _Server:
    """The client's side of the one server of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two
        self._process: subprocess.Popen[bytes] | None = None
        self._asking: socket.socket | None = None

    def ask(self, theirs: int, lifeline: int) -> None:
        with self._lock:
            try:
                self._send(theirs, lifeline)
            except OSError:  # it was killed, perhaps by a system without memory
                self._stop()
                try:
                    self._send(theirs, lifeline)
                except OSError as error:
                    raise Unavailable(
                        f"No process could be started for the statement: {error.strerror}.", code="source_busy"
                    ) from error

    def _send(self, theirs: int, lifeline: int) -> None:
        if self._asking is None:
            self._start()
        assert self._asking is not None
        socket.send_fds(self._asking, [b"."], [theirs, lifeline])

    def _start(self) -> None:
        self._asking, theirs = socket.socketpair()
        with theirs:
            words = [sys.executable, "-m", __name__, str(theirs.fileno())]
            # Signals of a terminal are for the process that asks; its end is the server's.
            self._process = subprocess.Popen(  # noqa: S603  our own program with our own words
                words,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def stop(self) -> None:
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._asking is not None:
            self._asking.close()
        if self._process is not None:
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = self._asking = None


_server = _Server()
atexit.register(_server.stop)


def _serve(asking: socket.socket, run: Callable[[socket.socket], None]) -> None:
    """Fork for each request, until the process that asks has ended."""
    processes: dict[int, int] = {}  # by their lifelines
    with selectors.DefaultSelector() as selector:
        selector.register(asking, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not asking:
                    lifeline = key.fd
                    selector.unregister(lifeline)
                    os.close(lifeline)
                    _end(processes.pop(lifeline))
                    continue
                said, descriptors, _, _ = socket.recv_fds(asking, 1, 2)
                if not said:
                    for process in processes.values():
                        _end(process)
                    return
                theirs, lifeline = descriptors
                with socket.socket(fileno=theirs) as connected:
                    try:
                        processes[lifeline] = _forked(asking, connected, run)
                    except OSError:  # no room for another; the one that asked sees its socket closed
                        os.close(lifeline)
                    else:
                        selector.register(lifeline, selectors.EVENT_READ)


def _forked(asking: socket.socket, connected: socket.socket, run: Callable[[socket.socket], None]) -> int:
    server = os.getpid()
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        asking.close()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == server:
            run(connected)
            code = 0
    except BaseException as error:  # noqa: BLE001  a forked process must never go on as a second server
        sys.stderr.write(f"fluxport: a statement's process failed: {type(error).__name__}\n")
    finally:
        os._exit(code)


def _end(process: int) -> None:
    os.kill(process, signal.SIGKILL)  # not waited for yet, so that the number is its own
    os.waitpid(process, 0)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # the process that asks decides
    for entry in SOURCES.built_in.values():
        for module in entry.embedded:
            importlib.import_module(module)
    run = importlib.import_module(ANSWERS).answer
    gc.freeze()  # what is shared stays shared
    with socket.socket(fileno=int(sys.argv[1])) as asking:
        _serve(asking, run)


if __name__ == "__main__":
    main()
