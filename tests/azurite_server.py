"""Microsoft's own emulator of blob storage, from npm, on a free port; it verifies keys and shared access signatures."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ceph_server import free_ports
from services import require_program, unavailable

FOLDER = Path(__file__).parent / "azurite"
ACCOUNT = "devstoreaccount1"
# The one key that every installation of the emulator has.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
STARTS_S = 60


@dataclass(frozen=True)
class Azurite:
    endpoint: str
    account: str = ACCOUNT
    key: str = KEY


@contextlib.contextmanager
def azurite_server() -> Iterator[Azurite]:
    """Runs while entered, everything in memory."""
    node, npm = require_program("node"), require_program("npm")
    program = FOLDER / "node_modules" / ".bin" / "azurite-blob"
    if not program.exists():
        words = [npm, "ci", "--silent", "--no-audit", "--no-fund"]
        if subprocess.run(words, cwd=FOLDER, check=False, capture_output=True).returncode:
            unavailable("azurite from the npm registry")
    (port,) = free_ports(1)
    words = [node, str(program), "--silent", "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    words += ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    process = subprocess.Popen(words, cwd=FOLDER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    try:
        deadline = time.monotonic() + STARTS_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            assert process.poll() is None, "azurite ended"
            assert time.monotonic() < deadline, "azurite did not start"
            time.sleep(0.1)
        yield Azurite(f"http://127.0.0.1:{port}/{ACCOUNT}")
    finally:
        process.kill()
        process.wait()
