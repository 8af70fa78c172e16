"""Microsoft's own emulator of blob storage, from npm, on a free port; it verifies keys and shared access signatures."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from own_servers import free_port, listening
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
    port = free_port()
    words = [node, str(program), "--silent", "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    words += ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    with listening(words, port, FOLDER):
        yield Azurite(f"http://127.0.0.1:{port}/{ACCOUNT}")
