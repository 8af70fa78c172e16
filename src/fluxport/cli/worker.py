"""``fluxport worker``: a process that runs stored exports."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

import click

log = logging.getLogger("fluxport.config")


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file (default: fluxport.yaml).",
)
@click.option("--only-config", is_flag=True, hidden=True, help="Ignore the environment, and .env.")
@click.option("--attached", is_flag=True, hidden=True, help="Exit when standard input ends.")
def worker(config_path: Path | None, only_config: bool, attached: bool) -> None:
    """Run stored exports; start any number of workers, on any machine that reaches the database."""
    from fluxport.cli import heap

    heap.frugal_malloc()
    heap.starting()
    from fluxport import wiring
    from fluxport.loops import background, end_with_any_thread
    from fluxport.signals import ending

    commands: SimpleQueue[str] = SimpleQueue()
    loaded = threading.Event()
    _receive(ending(), commands)
    if attached:
        background("fluxport-attached", _read_commands, commands, loaded)
    from fluxport.config import load
    from fluxport.telemetry import logs, traces

    ignored: list[str] = []
    if only_config:
        assert config_path is not None
        config = load(config_path, environ={}, folder=config_path.parent, report=ignored.append)
    else:
        config = load(config_path, report=ignored.append)
    logs.configure(config.logging.level, config.logging.format)
    traces.configure(config.telemetry.traces)
    for sentence in () if attached else ignored:  # the service that starts a worker has logged it
        log.warning(sentence)
    end_with_any_thread()
    loaded.set()
    engine = wiring.worker(config)
    engine.start()
    heap.started()
    click.echo("fluxport: worker ready", err=True)
    hurried = _hurried(commands, _first(commands))
    engine.stop(config.server.grace_s, hurried)
    traces.end()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that did not end in time must not keep the process running.
    os._exit(0)


def _receive(signals: list[signal.Signals], commands: SimpleQueue[str]) -> None:
    """Let these signals become commands. Call it before other threads start."""
    if hasattr(signal, "pthread_sigmask"):
        from fluxport.loops import background

        signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # inherited by every thread that starts from now on
        background("fluxport-signals", _listen, commands, signals)
        return
    for number in signals:
        signal.signal(number, lambda *_: commands.put("signal"))


def _first(commands: SimpleQueue[str]) -> str:
    """The first command. On Windows a handler runs only between waits of the main thread."""
    while True:
        with contextlib.suppress(Empty):
            return commands.get(timeout=None if hasattr(signal, "pthread_sigmask") else 0.5)


def _listen(commands: SimpleQueue[str], signals: list[signal.Signals]) -> None:
    """Wait for signals to the process: a handler would run only once the main thread wakes up."""
    while True:
        signal.sigwait(signals)
        commands.put("signal")


def _read_commands(commands: SimpleQueue[str], loaded: threading.Event) -> None:
    """Read the commands of the service that started this worker, see fluxport.keeper. A worker that is still loading
    has claimed no job and exits at once, so that a service that shuts down need not wait for it."""
    while True:
        lines = os.read(0, 1024).decode().split()
        if not loaded.is_set():
            os._exit(0)
        for line in lines or ["end"]:
            commands.put(line)
        if not lines:
            return


def _hurried(commands: SimpleQueue[str], first: str) -> Callable[[float], bool]:
    """A function that waits up to the given seconds, and returns whether to stop at once: by a command of the service
    or a second signal."""
    signals = first == "signal"
    now = first == "now"

    def hurried(wait_s: float) -> bool:
        nonlocal signals, now
        with contextlib.suppress(Empty):
            command = commands.get(timeout=0 if now else wait_s)
            now = now or command == "now" or (command == "signal" and signals)
            signals = signals or command == "signal"
        return now

    return hurried
