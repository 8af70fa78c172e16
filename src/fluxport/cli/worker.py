"""``fluxport worker``: what carries out stored exports."""

from __future__ import annotations

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
    from fluxport.loops import end_with_any_thread
    from fluxport.telemetry.logs import configure

    config = load(config_path)
    configure(config.logging.level, config.logging.format)
    end_with_any_thread()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if attached:
        threading.Thread(target=_until_input_ends, args=(ended,), daemon=True).start()
    carrying = app.worker(config)
    carrying.start()
    click.echo("fluxport: worker ready", err=True)
    ended.wait()
    carrying.stop(config.server.grace_s)
    sys.stdout.flush()
    sys.stderr.flush()
    # Exports that went back to the queue still hold their threads, so that the engine leaves them unfinished.
    os._exit(0)


def _until_input_ends(ended: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    ended.set()
