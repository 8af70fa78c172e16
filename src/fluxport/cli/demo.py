"""``fluxport demo``: the whole product on an embedded database, in one command."""

from __future__ import annotations

import contextlib
import json
import os
import secrets as random
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from fluxport.cli.emulate import require_duckdb
from fluxport.errors import Broken, Refused
from fluxport.private import temporary_folder

if TYPE_CHECKING:
    from fluxport.config import Config

# The user that signs in as a developer, and the user of the key whose secret the demo prints.
JOURNAL_USERS = ("dev", "default")
HOST = "127.0.0.1"
ANOTHER_PORT = "choose another with --port"
HISTORIANS_PORT = 50051
QUERY = "SELECT id, name, email, created_at, score FROM users"


@click.command()
@click.option(
    "--rows", type=click.IntRange(0), default=1_000_000, show_default=True, help="Users in the emulated database."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="HTTP port; 0 takes a free one, for gRPC too (default 8080, or a free one if that is in use).",
)
@click.option(
    "--check", is_flag=True, help="Export every format over HTTP, read each file back, print the figures, and exit."
)
def demo(rows: int, port: int | None, check: bool) -> None:
    """Run a MySQL emulator with seeded users, a trading journal, sensors, and the service in front of them."""
    from fluxport.signals import interruptible

    require_duckdb()
    interruptible()  # the emulator runs in its own session, which Ctrl-C does not reach
    alone = check or port == 0
    ports = (0, 0) if alone else _ports(port)
    more_grpc = [] if alone else _historians_address(ports)
    with emulator(rows) as url, temporary_folder("fluxport-demo-") as folder:
        config = _config(url, ports, more_grpc, folder)
        if check:
            from fluxport.cli.demo_check import run_checks

            with _served(config) as base:
                run_checks(base, rows, folder)
            return
        from fluxport import process
        from fluxport.telemetry.logs import configure

        configure("warning", "text")
        with _append_points(folder):
            process.serve(
                config,
                lambda bound: _announce(
                    f"http://{HOST}:{bound.http}", [f"{HOST}:{bound.grpc}", *config.grpc.addresses], url, rows
                ),
                process.Advice(http=ANOTHER_PORT, grpc="start the demo again"),
                worker=["worker", "--only-config", "--config", str(folder / "fluxport.yaml")],
            )


def _ports(http: int | None) -> tuple[int, int]:
    """The ports of HTTP and gRPC: one that was not chosen is 0, a free one, if another program has the usual one.
    Refused if the chosen one is in use, before anything else is started."""
    from fluxport.addresses import GRPC_PORT
    from fluxport.config import ServerConfig
    from fluxport.process import bind

    if http is None:
        http = _free(ServerConfig().port, "HTTP")
    else:
        bind(HOST, http, ANOTHER_PORT).close()
    return http, _free(GRPC_PORT, "gRPC", http)


def _free(port: int, what: str, *others: int) -> int:
    """The port, or 0 with a sentence if it is in use; ``others`` are ports that this demo will use."""
    if port in others or _in_use(port):
        click.echo(f"fluxport: port {port} is in use; {what} takes a free one.", err=True)
        return 0
    return port


def _in_use(port: int) -> bool:
    from fluxport import process

    try:
        process.bind(HOST, port, "").close()
    except Refused:
        return True
    return False


@contextlib.contextmanager
def emulator(rows: int) -> Iterator[str]:
    """Run an emulator in its own process, on a free port; yields its URL once it is ready."""
    command = [sys.executable, "-m", "fluxport", "emulate", "mysql", "--rows", str(rows), "--port", "0", "--attached"]
    # Leaving the block closes the emulator's standard input, which ends it.
    with subprocess.Popen(  # noqa: S603  our own program with our own arguments
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise Broken("The MySQL emulator did not start; see its message above.", code="emulator_failed")
        yield line.removeprefix("listening on ").strip()


def _config(url: str, ports: tuple[int, int], more_grpc: list[str], folder: Path) -> Config:
    """Development mode on loopback. The environment is ignored: a demo must not touch real databases or stores."""
    import yaml

    from fluxport.config import load
    from fluxport.samples import create_sample

    create_sample(folder / "journal.db", users=JOURNAL_USERS)
    _seed_sensors(folder)
    settings = {
        "database": f"sqlite:///{folder / 'fluxport.db'}",
        "server": {"host": HOST, "port": ports[0]},
        "grpc": {"port": ports[1], "addresses": more_grpc},
        "connections": {"main": {"url": url}, "journal": {"url": f"sqlite:///{folder / 'journal.db'}"}},
        "sample": "journal",
        "series": {"path": str(folder / "series.db")},
        "auth": {"development_user": True},
        "stores": {"local": {"path": str(folder / "exports")}},
        "logging": {"level": "warning", "format": "text"},
    }
    file = folder / "fluxport.yaml"
    file.write_text(yaml.safe_dump(settings))
    return load(file, environ={}, folder=folder)


def _historians_address(ports: tuple[int, int]) -> list[str]:
    """The address of the Historian's clients, unless the demo, by one of ``ports``, or another program listens
    there."""
    return [] if HISTORIANS_PORT in ports or _in_use(HISTORIANS_PORT) else [f"{HOST}:{HISTORIANS_PORT}"]


def _seed_sensors(folder: Path) -> None:
    from fluxport.samples.sensors import seed
    from fluxport.series.embedded import EmbeddedStore

    store = EmbeddedStore(folder / "series.db")
    seed(store, int(time.time() * 1000))
    store.close()


@contextlib.contextmanager
def _append_points(folder: Path) -> Iterator[None]:
    """Append new points to the sample sensors while the block runs."""
    from fluxport.samples.sensors import keep_arriving
    from fluxport.series.embedded import EmbeddedStore

    store, stopped = EmbeddedStore(folder / "series.db"), threading.Event()
    thread = threading.Thread(target=keep_arriving, args=(store, stopped, time.time), name="fluxport-demo-points")
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        store.close()


@contextlib.contextmanager
def _served(config: Config) -> Iterator[str]:
    from fluxport import process, wiring
    from fluxport.telemetry.logs import configure

    configure("error", "text")
    bound = process.listen(config, ANOTHER_PORT)
    http = process.server(wiring.service(config), bound.getsockname()[1])
    ready = threading.Event()
    process.announce(http, ready.set)
    thread = threading.Thread(target=http.run, kwargs={"sockets": [bound]}, name="fluxport-demo-server")
    thread.start()
    try:
        ready.wait()
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        http.should_exit = True
        thread.join()


def _announce(base: str, grpc: list[str], url: str, rows: int) -> None:
    from fluxport.auth.signing import sign_v2
    from fluxport.config import DEVELOPMENT_SECRET

    body = json.dumps({"source": {"query": QUERY}, "format": "xlsx"}, separators=(",", ":"))
    headers = sign_v2(
        DEVELOPMENT_SECRET, "default", "POST", "/v1/stream", body.encode(), int(time.time()), random.token_urlsafe(18)
    )
    arguments = ["curl", "-f", "-o", "users.xlsx", f"{base}/v1/stream"]
    for name, value in headers.items():
        arguments += ["-H", f"{name}: {value}"]
    database_port = urlsplit(url).port
    program = shlex.quote(os.path.relpath(Path(sys.argv[0]))) if "/" in sys.argv[0] else "fluxport"
    click.echo(
        f"""Fluxport is ready, with {rows:,} users in its database.

  pages      {base}/exports  (sign in as dev)
  service    {base}  (docs at {base}/docs)
  gRPC       {", ".join(grpc)}  (pushed rows, sensors; no key needed from this machine)
  database   {url}  (try: mysql -h127.0.0.1 -P{database_port} -ufluxport -pfluxport app)
  secret     {DEVELOPMENT_SECRET}  (development only)

Paste this into another terminal within five minutes (a signature works once):

  {shlex.join([*arguments, "-d", body])}

To sign again at any time:

  BODY='{body}'
  curl -f -o users.xlsx {base}/v1/stream -H "Expect:" -d "$BODY" \\
    -H @<({program} sign POST /v1/stream "$BODY")

The trading journal; no key needed from this machine:

  curl '{base}/api/exports/stream?type=dailyPnl'
  curl -d '{{"type": "trades", "format": "xlsx"}}' {base}/api/exports/jobs

Sensors with a million points each, and a new one every second:

  {base}/dashboard
  curl -OJ '{base}/api/v1/export?sensor_id=boiler/temperature&start_ts=0&end_ts={round(time.time() * 1000)}'

Without the service:

  {program} export "SELECT * FROM users" --from {url} --to users.xlsx

Press Ctrl-C to stop.
"""  # noqa: S608  text to read, not a statement to run
    )
