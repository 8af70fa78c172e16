"""``fluxport worker``: what carries out stored exports."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

import click


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file (default: fluxport.yaml).",
)
@click.option("--attached", is_flag=True, hidden=True, help="End when standard input does.")
def worker(config_path: Path | None, attached: bool) -> None:
    """Carry out stored exports; any number, on any machine that reaches the database."""
    from fluxport.cli import heap

    heap.frugal_malloc()
    heap.starting()
    from fluxport import wiring
    from fluxport.loops import background, end_with_any_thread
    from fluxport.signals import ending

    said: SimpleQueue[str] = SimpleQueue()
    loaded = threading.Event()
    signals = ending()
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # of every thread that begins from here on
    background("fluxport-signals", _listen, said, signals)
    if attached:
        background("fluxport-attached", _obey, said, loaded)
    from fluxport.config import load
    from fluxport.telemetry.logs import configure

    config = load(config_path)
    configure(config.logging.level, config.logging.format)
    end_with_any_thread()
    loaded.set()
    carrying = wiring.worker(config)
    carrying.start()
    heap.started()
    click.echo("fluxport: worker ready", err=True)
    hurried = _hurried(said, said.get())
    carrying.stop(config.server.grace_s, hurried)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that did not end in time must not hold the process.
    os._exit(0)


def _listen(said: SimpleQueue[str], signals: list[signal.Signals]) -> None:
    """Signals, whichever thread they would have come to: a handler would run only once the main thread wakes up."""
    while True:
        signal.sigwait(signals)
        said.put("signal")


def _obey(said: SimpleQueue[str], loaded: threading.Event) -> None:
    """What the service beside says, see fluxport.keeper. A worker that is still being loaded has nothing to give back:
    a service that ends at once need not wait for it."""
    while True:
        words = os.read(0, 1024).decode().split()
        if not loaded.is_set():
            os._exit(0)
        for word in words or ["end"]:
            said.put(word)
        if not words:
            return


def _hurried(said: SimpleQueue[str], first: str) -> Callable[[float], bool]:
    """What waits so many seconds for the word to end at once: the service's, or a second signal."""
    signals = first == "signal"
    now = first == "now"

    def hurried(wait_s: float) -> bool:
        nonlocal signals, now
        with contextlib.suppress(Empty):
            word = said.get(timeout=0 if now else wait_s)
            now = now or word == "now" or (word == "signal" and signals)
            signals = signals or word == "signal"
        return now

    return hurried
