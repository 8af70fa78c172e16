"""``fluxport worker``: what carries out stored exports."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from pathlib import Path

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
    from fluxport.cli.heap import frugal_malloc

    frugal_malloc()
    from fluxport import app
    from fluxport.config import load
    from fluxport.loops import background, end_with_any_thread
    from fluxport.telemetry.logs import configure

    config = load(config_path)
    configure(config.logging.level, config.logging.format)
    end_with_any_thread()
    ended, hurried = threading.Event(), threading.Event()
    signals = itertools.count()

    def signaled(*_: object) -> None:
        (hurried if next(signals) else ended).set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signaled)
    if attached:
        background("fluxport-attached", _obey, ended, hurried)
    carrying = app.worker(config)
    carrying.start()
    click.echo("fluxport: worker ready", err=True)
    ended.wait()
    carrying.stop(config.server.grace_s, hurried)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that did not end in time must not hold the process.
    os._exit(0)


def _obey(ended: threading.Event, hurried: threading.Event) -> None:
    """What the service beside says, see fluxport.keeper."""
    while said := os.read(0, 1024):
        ended.set()
        if b"now" in said:
            hurried.set()
    ended.set()
