"""The real service and the real emulator as processes, and a signing client, for tests at the edge."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

import fork_server
from fluxport.auth.signing import sign_v1, sign_v2

SECRET = "a-test-secret-of-the-right-length-0123456789"


@contextlib.contextmanager
def process(
    *words: str,
    folder: Path,
    environ: Mapping[str, str] | None = None,
    until: str,
    under: Callable[..., list[str]] | None = None,
) -> Iterator[tuple[Any, str]]:
    """``fluxport words...`` running in ``folder``, by the command that ``under`` returns for it; yields it and the
    line that reports that it is ready."""
    log = (folder / f"{words[0]}-{secrets.token_hex(4)}.log").open("w+")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FLUXPORT_", "API_", "MYSQL_"))}
    environment |= environ or {}
    command = ["fluxport", *words]
    started: fork_server.Started | subprocess.Popen[bytes]
    if under is None and not any(name.startswith("PYTHON") for name in environ or ()):
        started = fork_server.start(words, folder, environment, log)
    else:
        command = [sys.executable, "-m", *command]
        command = command if under is None else under(*command)
        started = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 180  # on a machine with much else to do
        while True:
            lines = Path(log.name).read_text().splitlines()
            ready = [line for line in lines if until in line]
            if ready:
                break
            if started.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{' '.join(command)} did not start:\n" + "\n".join(lines))
            time.sleep(0.02)
        yield started, ready[0]
    finally:
        with log:
            started.terminate()
            try:
                started.wait(20)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


@contextlib.contextmanager
def emulator(folder: Path, rows: int = 20_000) -> Iterator[str]:
    """The URL of an emulator with that many users."""
    with process("emulate", "mysql", "--rows", str(rows), "--port", "0", folder=folder, until="listening on") as (
        _,
        line,
    ):
        yield line.split("listening on ")[1].strip()


@dataclass
class Client:
    """Signs as the key 'default'."""

    base: str
    pid: int
    secret: str = SECRET
    key_id: str = "default"

    def headers(self, method: str, target: str, body: bytes = b"", *, version: int = 2) -> dict[str, str]:
        now = int(time.time())
        if version == 1:
            return sign_v1(self.secret, method, target, body, now)
        return sign_v2(self.secret, self.key_id, method, target, body, now, secrets.token_urlsafe(18))

    def post(self, target: str, body: Any, *, version: int = 2, **given: Any) -> httpx.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = self.headers("POST", target, data, version=version) | given.pop("headers", {})
        return httpx.post(self.base + target, content=data, headers=headers, timeout=60, **given)

    def get(self, target: str, *, version: int = 2) -> httpx.Response:
        return httpx.get(self.base + target, headers=self.headers("GET", target, version=version), timeout=60)

    def plain_get(self, target: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        url = target if "://" in target else self.base + target
        return httpx.get(url, headers=headers, timeout=60)

    def finished(self, job_id: str) -> dict[str, Any]:
        """FluxQuery's full response once the job has ended."""
        while True:
            reported: dict[str, Any] = self.get(f"/jobs?id={job_id}").json()
            if reported["status"] in ("COMPLETED", "FAILED"):
                return reported
            time.sleep(0.05)

    @property
    def port(self) -> int:
        return urlsplit(self.base).port or 80


def children(pid: int) -> list[int]:
    """The children of a process, whichever thread started them: the worker of a service."""
    found = [Path(path).read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    assert any(found)
    return [int(child) for some in found for child in some]


@contextlib.contextmanager
def service(folder: Path, url: str, *words: str, **environ: str) -> Iterator[Client]:
    """The service in front of database ``url``, storing below ``folder``."""
    settings = {"MYSQL_DSN": url, "API_SECRET": SECRET, "LOCAL_STORAGE_PATH": str(folder / "exports"), **environ}
    with process("serve", "--port", "0", *words, folder=folder, environ=settings, until="listening on") as (
        started,
        line,
    ):
        yield Client(line.split("listening on ")[1].strip(), started.pid)
