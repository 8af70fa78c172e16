"""A signal ends service and worker within the grace period, a second one at once; running exports are requeued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from fault_proxy import FaultProxy
from fluxport.jobs.store import JobStore
from mysql_support import wait_until
from service_support import SECRET, Client, children, emulator, process

BODY = {"source": {"query": "SELECT id, name, email FROM users"}, "format": "csv"}
LONG_GRACE_S = 600


def settings(folder: Path, url: str, grace_s: float) -> dict[str, str]:
    return {
        "MYSQL_DSN": url,
        "API_SECRET": SECRET,
        "LOCAL_STORAGE_PATH": str(folder / "exports"),
        "FLUXPORT_SERVER__GRACE_S": str(grace_s),
    }


def running_export(client: Client, stalling: FaultProxy) -> str:
    export_id: str = client.post("/v1/exports", BODY).json()["id"]
    assert stalling.faulted.wait(60)
    assert wait_until(lambda: client.get(f"/v1/exports/{export_id}").json()["status"] == "running", 60)
    return export_id


def recorded(folder: Path, export_id: str) -> tuple[str, list[str]]:
    store = JobStore(f"sqlite:///{folder}/fluxport.db")
    record = store.get(export_id)
    store.close()
    return record.status, [reason.code for reason in record.attempt_errors]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
@pytest.mark.parametrize(("grace_s", "signals"), [(2, 1), (LONG_GRACE_S, 2)], ids=["after its grace", "at once"])
def test_a_service_and_its_worker_end_and_the_export_is_queued_again(
    tmp_path: Path, grace_s: float, signals: int, number: signal.Signals
) -> None:
    with emulator(tmp_path, 400_000) as url, FaultProxy(url, "stall", 2_000_000) as stalling:
        environ = settings(tmp_path, stalling.url, grace_s)
        with process("serve", "--port", "0", folder=tmp_path, environ=environ, until="listening on") as (served, line):
            export_id = running_export(Client(line.split("listening on ")[1].strip(), served.pid), stalling)
            end(served, signals, number)
    assert recorded(tmp_path, export_id) == ("queued", ["worker_stopped"])
    assert not [path for path in (tmp_path / "exports").iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize(("grace_s", "signals"), [(2, 1), (LONG_GRACE_S, 2)], ids=["after its grace", "at once"])
@pytest.mark.parametrize("slow", ["source", "reader"])
def test_a_stream_that_the_service_aborts_is_recorded_as_such(
    tmp_path: Path, slow: str, grace_s: float, signals: int
) -> None:
    after_bytes = 2_000_000 if slow == "source" else 1 << 40
    with emulator(tmp_path, 400_000) as url, FaultProxy(url, "stall", after_bytes) as stalling:
        environ = settings(tmp_path, stalling.url, grace_s)
        words = ("serve", "--port", "0", "--no-worker")
        with process(*words, folder=tmp_path, environ=environ, until="listening on") as (served, line):
            client = Client(line.split("listening on ")[1].strip(), served.pid)
            content = json.dumps(BODY).encode()
            headers = client.headers("POST", "/v1/stream", content)
            with httpx.stream("POST", f"{client.base}/v1/stream", content=content, headers=headers) as answer:
                assert answer.status_code == 200, answer.read()
                chunks = answer.iter_raw()  # which closes the connection when it is dropped
                assert len(next(chunks)) > 0
                end(served, signals)
    store = JobStore(f"sqlite:///{tmp_path}/fluxport.db")
    record = store.get(answer.headers["X-Export-Id"])
    store.close()
    assert (record.status, record.error and record.error.code) == ("failed", "closing")


@pytest.mark.parametrize("nohup", [False, True], ids=["", "nohup"])
def test_a_second_signal_ends_a_worker_at_once(tmp_path: Path, nohup: bool) -> None:
    """Under nohup a hang-up is none of them."""
    under = (lambda *command: ["nohup", *command]) if nohup else None
    with emulator(tmp_path, 400_000) as url, FaultProxy(url, "stall", 2_000_000) as stalling:
        environ = settings(tmp_path, stalling.url, LONG_GRACE_S)
        words = ("serve", "--port", "0", "--no-worker")
        with process(*words, folder=tmp_path, environ=environ, until="listening on") as (served, line):
            with process("worker", folder=tmp_path, environ=environ, until="worker ready", under=under) as (worker, _):
                export_id = running_export(Client(line.split("listening on ")[1].strip(), served.pid), stalling)
                if nohup:
                    worker.send_signal(signal.SIGHUP)
                end(worker, 2)
    assert recorded(tmp_path, export_id) == ("queued", ["worker_stopped"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_service_ends_while_it_starts(tmp_path: Path, number: signal.Signals) -> None:
    with emulator(tmp_path) as url, FaultProxy(url, "stall") as stalling:
        environ = settings(tmp_path, stalling.url, LONG_GRACE_S) | {"APP_ENV": "production"}
        with starting("serve", "--port", "0", folder=tmp_path, environ=environ) as started:
            assert stalling.faulted.wait(60)  # it looks at what the account may do
            started.send_signal(number)
            wait(started, 120)
    assert started.returncode == 1
    assert said(tmp_path).splitlines()[-1] == "fluxport: interrupted; nothing was left behind."


@pytest.mark.parametrize("word", [b"end\n", b""], ids=["ordered to", "its service has exited"])
def test_a_worker_beside_a_service_ends_while_it_is_still_being_loaded(tmp_path: Path, word: bytes) -> None:
    configuration = tmp_path / "fluxport.yaml"
    os.mkfifo(configuration)  # reading it never ends
    command = [sys.executable, "-m", "fluxport", "worker", "--attached", "--config", str(configuration)]
    done = subprocess.run(command, input=word, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("until", ["", "Fluxport is ready"], ids=["while it starts", "while it runs"])
def test_a_stopped_demo_leaves_no_process_and_no_file(tmp_path: Path, until: str, number: signal.Signals) -> None:
    """SIGHUP: its terminal is closed. (SIGKILL leaves its files.)"""
    folder = tmp_path / "temporary"
    folder.mkdir()
    words = ("demo", "--rows", "1000", "--port", "0")
    with starting(*words, folder=tmp_path, environ={"TMPDIR": str(folder)}) as started:
        assert wait_until(lambda: any(folder.iterdir()) and until in said(tmp_path), 120)
        others = children(started.pid)
        started.send_signal(number)
        wait(started, 120)
    assert wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in others), 60)
    assert number == signal.SIGKILL or list(folder.iterdir()) == []


@contextmanager
def starting(*words: str, folder: Path, environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """``fluxport words...`` started in ``folder``; :func:`said` is its output."""
    command = [sys.executable, "-m", "fluxport", *words]
    with (folder / "output").open("w") as output:
        started = subprocess.Popen(command, cwd=folder, env=os.environ | environ, stdout=output, stderr=output)
        try:
            yield started
        finally:
            started.kill()
            started.wait()


def said(folder: Path) -> str:
    return (folder / "output").read_text()


def end(started: Any, signals: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Send the signals, the second when the first has been handled; it must end long before ``LONG_GRACE_S``."""
    for nth in range(signals):
        if nth:
            with pytest.raises(TimeoutError):  # it waits for the export
                wait(started, 3)
        started.send_signal(number)
    wait(started, 120)


def wait(started: Any, limit_s: float) -> None:
    if not wait_until(lambda: started.poll() is not None, limit_s):
        raise TimeoutError
