"""How each example is built and run, and a stand-in for the service that sends wrong files on demand."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fluxport.auth.replay import Replays
from fluxport.auth.signing import DEFAULT_KEY_ID, SigningKey, verify
from fluxport.errors import Unauthorized
from services import require_program, unavailable

ROOT = Path(__file__).parents[1]
EXAMPLES, OLD_CLIENTS = ROOT / "examples", ROOT / "tests" / "old_clients"
VECTORS = EXAMPLES / "signing_vectors.json"
EMPTY: Mapping[str, str] = {}


@dataclass(frozen=True)
class Program:
    """A client ready to run: ``command`` with arguments appended, in any folder."""

    command: tuple[str, ...]

    def run(
        self, *arguments: str, folder: Path = ROOT, environ: Mapping[str, str] = EMPTY
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end and return the outcome. The FLUXPORT_ and API_ variables of the environment are removed."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("FLUXPORT_", "API_"))}
        return subprocess.run(
            [*self.command, *arguments],
            cwd=folder,
            env=clean | dict(environ),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def _curl(build: Path) -> Program:
    require_program("curl")
    return Program((require_program("bash"), str(EXAMPLES / "curl" / "export.sh")))


def _python(build: Path) -> Program:
    return Program((sys.executable, "-I", str(EXAMPLES / "python" / "export.py")))


def require_php_curl() -> str:
    """PHP with its curl extension."""
    php = require_program("php")
    if "curl" not in subprocess.run([php, "-m"], capture_output=True, text=True, check=True).stdout.split():
        unavailable("PHP's curl extension")
    return php


def _php(build: Path) -> Program:
    return Program((require_php_curl(), str(EXAMPLES / "php" / "export.php")))


def _go(build: Path) -> Program:
    return Program((_go_build(EXAMPLES / "go", build / "export"),))


def _typescript(build: Path) -> Program:
    node = require_program("node")
    folder = _typescript_folder(build)
    subprocess.run(["npm", "run", "--silent", "build"], cwd=folder, check=True)
    return Program((node, str(folder / "dist" / "export.js")))


def _old_php(build: Path) -> Program:
    return Program((require_program("php"), str(OLD_CLIENTS / "php" / "client.php")))


def _old_go(build: Path) -> Program:
    return Program((_go_build(OLD_CLIENTS / "go", build / "old-client"),))


def _old_typescript(build: Path) -> Program:
    node = require_program("node")
    folder = _typescript_folder(build)
    shutil.copy(OLD_CLIENTS / "typescript" / "client.ts", folder)
    options = ["--target", "es2022", "--lib", "es2023", "--module", "nodenext", "--types", "node", "--strict"]
    subprocess.run(["npx", "--no-install", "tsc", *options, "client.ts"], cwd=folder, check=True)
    return Program((node, str(folder / "client.js")))


EXAMPLE_PROGRAMS: dict[str, Callable[[Path], Program]] = {
    "curl": _curl,
    "python": _python,
    "go": _go,
    "typescript": _typescript,
    "php": _php,
}
OLD_PROGRAMS: dict[str, Callable[[Path], Program]] = {"go": _old_go, "typescript": _old_typescript, "php": _old_php}


def _go_build(source: Path, target: Path) -> str:
    go = require_program("go")
    environ = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"}
    subprocess.run([go, "build", "-o", str(target), "."], cwd=source, env=environ, check=True)
    return str(target)


def _typescript_folder(build: Path) -> Path:
    """A copy of the TypeScript example with its compiler installed, so that the source tree stays clean."""
    npm = require_program("npm")
    folder = build / "typescript"
    if folder.exists():
        return folder
    skip = shutil.ignore_patterns("node_modules", "dist")
    shutil.copytree(EXAMPLES / "typescript", folder, ignore=skip)
    install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    if subprocess.run(install, cwd=folder, capture_output=True, check=False).returncode:
        unavailable("the TypeScript compiler from the npm registry")
    return folder


CONTENT = b'id,name\n1,"two\nlines, ""quoted"""\n2,plain\n' + b"".join(b"%d,user\n" % i for i in range(3, 20_001))
TRUTH: dict[str, Any] = {"rows": 20_000, "bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
SECRET = "stand-in-secret-4Fq9-xT2m-8ZkP-w1Lr-7Hd0"
# What the query asks for -> what the service then tells about its file. "cut" and "failed" are faults of other kinds.
LIES: dict[str, dict[str, Any]] = {
    "good": {},
    "rows": {"rows": 19_999},
    "bytes": {"bytes": len(CONTENT) + 1},
    "sha256": {"sha256": "0" * 64},
    "cut": {},
    "failed": {},
}


class StandIn(ThreadingHTTPServer):
    """Both APIs with one file behind them; the word in the query selects the fault."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Desk)
        self.replays = Replays()
        self.keys = {DEFAULT_KEY_ID: SigningKey(DEFAULT_KEY_ID, (SECRET,))}
        self.requested: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environ(self) -> dict[str, str]:
        return {"FLUXPORT_URL": self.url, "FLUXPORT_SECRET": SECRET}


@contextlib.contextmanager
def stand_in() -> Iterator[StandIn]:
    with StandIn() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            server.replays.close()


class _Desk(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def do_POST(self) -> None:
        body = self._signed_body()
        if body is None:
            return
        request = json.loads(body)
        if self.path == "/export":
            self._json(202, {"job_id": self._fault(request["query"])})
        else:
            self._file(self._fault(request["source"]["query"]))

    def do_GET(self) -> None:
        path, _, rest = self.path.partition("?")
        if path == "/file":
            self._file(rest)
        elif self._signed_body() is not None:
            self._job(rest.removeprefix("id=") or path.rpartition("/")[2], old=path == "/jobs")

    def log_message(self, format: str, *args: Any) -> None:
        """No log."""

    def _fault(self, query: str) -> str:
        return next(word for word in LIES if word in query)

    def _signed_body(self) -> bytes | None:
        """The body of a request with a new, valid signature; None after a 401 response."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        try:
            signed = verify(self.server.keys, self.command, self.path.encode(), headers, body, time.time())
            self.server.replays.use(signed, time.time())
        except Unauthorized as error:
            self._json(401, {"code": error.code, "detail": error.message})
            return None
        return body

    def _job(self, fault: str, *, old: bool) -> None:
        reported = TRUTH | LIES[fault]
        status = "failed" if fault == "failed" else "completed"
        if old and fault == "good" and fault not in self.server.requested:
            self.server.requested.add(fault)
            status = "processing"
        error = {"code": "query_failed", "message": "the database ended the query"} if status == "failed" else None
        if old:
            link = f"{self.server.url}/file?{fault}" if fault == "good" else f"/file?{fault}"
            self._json(200, {"status": status.upper(), "download_url": link, "error": error, **reported})
        else:
            files = [{"name": "f.csv", **reported}]
            self._json(200, {"status": status, "rows": reported["rows"], "files": files, "error": error})

    def _json(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _file(self, fault: str) -> None:
        """The file in chunks; a truncated one ends in the middle, without the last chunk."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("X-Export-Id", fault)
        self.end_headers()
        end = len(CONTENT) // 2 if fault == "cut" else len(CONTENT)
        for start in range(0, end, 9_999):
            chunk = CONTENT[start : min(start + 9_999, end)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if fault == "cut":
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")
