"""``fluxport serve``: the service."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

log = logging.getLogger("fluxport.config")


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on (default 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (default 8080; 0 for a free one).")
@click.option(
    "--grpc-port",
    type=click.IntRange(0, 65535),
    help="Port for pushes over gRPC (default 9090; 0 for a free one, as does --port 0 for both).",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file (default: fluxport.yaml).",
)
@click.option("--no-worker", is_flag=True, help="Start no worker; run `fluxport worker` elsewhere.")
def serve(host: str | None, port: int | None, grpc_port: int | None, config_path: Path | None, no_worker: bool) -> None:
    """Run the service: HTTP (/v1, /export, /api/exports, downloads) and pushes over gRPC."""
    from fluxport.cli import heap

    heap.frugal_malloc()
    heap.starting()
    from fluxport import process
    from fluxport.config import load
    from fluxport.signals import interruptible
    from fluxport.telemetry import logs, traces

    interruptible()
    ignored: list[str] = []
    flags = {"server.host": host, "server.port": port, "grpc.port": grpc_port}
    config = load(config_path, flags=flags, report=ignored.append)
    logs.configure(config.logging.level, config.logging.format)
    traces.configure(config.telemetry.traces)
    for sentence in ignored:
        log.warning(sentence)
    worker_arguments = [] if no_worker else ["worker", *(["--config", str(config_path)] if config_path else [])]

    def ready(ports: process.Ports) -> None:
        host = config.grpc.host or config.server.host
        for name, bound in (("gRPC", ports.grpc), ("Arrow Flight", ports.flight)):
            if bound is not None:
                click.echo(f"fluxport: {name} at {host}:{bound}", err=True)
        for address in config.grpc.addresses if ports.grpc is not None else ():
            click.echo(f"fluxport: gRPC at {address}", err=True)
        heap.started()
        click.echo(f"fluxport: listening on http://{config.server.host}:{ports.http}", err=True)

    advice = process.Advice(
        http="choose another with --host or --port",
        grpc="choose another port with --grpc-port, or set grpc.enabled: false",
    )
    in_order = process.serve(config, ready, advice, worker=worker_arguments)
    traces.end()
    if config.flight.port is not None or not in_order:
        sys.stderr.flush()
        # What may remain is work that a second signal interrupted, and calls of Arrow Flight whose clients neither
        # send nor disconnect: its server cannot abort them, and would wait for them at interpreter exit.
        os._exit(0)
