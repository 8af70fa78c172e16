"""Shared by the benches: machine facts, runs of whole processes, the peers' environment, tables, results as text.

Standard library only, and small in memory: the kernel reports a child's peak memory as at least that of the process
that started it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import http.client
import importlib.metadata
import json
import os
import platform
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PEERS_HOME = HERE.parent / "build" / "bench-venv"
NATIVE = PEERS_HOME / "native"
REQUIREMENTS = HERE / "requirements.txt"
PEERS_INSTALLED, MISSING_PEERS = PEERS_HOME / ".installed", PEERS_HOME / "missing.txt"
FLUXPORT = str(Path(sys.executable).with_name("fluxport"))
DEFAULT_URL = "mysql://root@127.0.0.1:3306/fluxport_bench"
SCRATCH = "/dev/shm" if Path("/dev/shm").is_dir() else "/tmp"
SLOW_S = 10.0  # contenders that take longer run once
QUIET_LOAD = 0.5


class Missing(Exception):
    """A contender cannot run; the text gives the reason."""


# -- the machine -----------------------------------------------------------------------------------------------------


def machine(*packages: str) -> list[str]:
    """The machine and versions, without which figures are meaningless."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = []
    for package in ("fluxport", "pyarrow", "numpy", *packages):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    commit = subprocess.run(
        ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return [
        f"{datetime.datetime.now():%Y-%m-%d %H:%M}, {os.cpu_count()} x {names[0] if names else platform.processor()}, "
        f"{memory:.0f} GB, {platform.system()} {platform.release()}, Python {platform.python_version()}",
        ", ".join(versions) + (f", commit {commit.stdout.strip()}" if commit.returncode == 0 else ""),
        f"load before the run {os.getloadavg()[0]:.2f}; files on {SCRATCH}",
    ]


def wait_until_quiet(most_s: float) -> None:
    """Wait, up to a limit, until the machine is quiet; the load is part of the result anyway."""
    until = time.monotonic() + most_s
    while os.getloadavg()[0] > QUIET_LOAD and time.monotonic() < until:
        time.sleep(5)


# -- the database ----------------------------------------------------------------------------------------------------


def table_name(kind: str, columns: int, rows: int) -> str:
    """The name of a table of seed.py."""
    return f"users_{rows}" if kind == "users" else f"{kind}_{columns}_{rows}"


def seeded(url: str, rows: int, kind: str = "users", columns: int = 5) -> str:
    """The name of a table of so many rows of a kind of seed.py, created if it does not exist."""
    _seed(url, rows, kind, columns)
    return table_name(kind, columns, rows)


def unseeded(url: str, rows: int, kind: str = "users", columns: int = 5) -> None:
    _seed(url, rows, kind, columns, "--drop")


def _seed(url: str, rows: int, kind: str, columns: int, *words: str) -> None:
    what = ["--url", url, "--rows", str(rows), "--kind", kind, "--columns", str(columns)]
    subprocess.run([sys.executable, HERE / "seed.py", *what, *words], check=True)


# -- ours and the peers ----------------------------------------------------------------------------------------------


def compiled() -> None:
    """Compile our modules and the peers' scripts in advance, as an installation does."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for python in (sys.executable, str(peers_python())):
        command = [python, "-m", "compileall", "-q", str(HERE), str(HERE.parent / "src" / "fluxport")]
        subprocess.run(command, check=True, env=environ)


def peers_python() -> Path:
    """The interpreter of the peers' environment, which is separate from ours; created if it does not exist."""
    if not PEERS_INSTALLED.exists():
        subprocess.run([sys.executable, HERE / "install_peers.py"], check=True)
    return PEERS_HOME / "bin" / "python"


def peers() -> list[str]:
    """The versions of the peers' packages, and a line for each peer that could not be installed, with the reason."""
    command = [str(peers_python()), "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    installed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    listed = re.findall(r"^[\w-]+", REQUIREMENTS.read_text().lower().replace("_", "-"), re.MULTILINE)
    versions = [
        pin.replace("==", " ") for pin in installed if pin.lower().replace("_", "-").partition("==")[0] in listed
    ]
    return [f"peers: {', '.join(versions)}", *missing_peers()]


def missing_peers() -> list[str]:
    return [f"not installed: {line}" for line in MISSING_PEERS.read_text().splitlines()]


def program(name: str) -> Path:
    """The path of a program in the peers' environment or on the machine, or Missing."""
    path = shutil.which(name, path=f"{peers_python().parent}{os.pathsep}{os.environ['PATH']}")
    if path is None:
        raise Missing(f"the program {name} is not installed")
    return Path(path)


# -- runs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """A whole process to measure; ``output`` is the file or folder it creates."""

    argv: Sequence[str | Path]
    output: Path
    to_stdout: bool = False  # its standard output is the file
    cwd: Path | None = None


@dataclass
class Contender:
    """``rows_in`` counts the rows in the output: a contender that loses some is reported as failed."""

    name: str
    command: Callable[[], Command]
    rows_in: Callable[[Path], int] | None = None


@dataclass
class Result:
    """Runs of one contender: seconds, CPU seconds, peak memory of its largest process; or the reason why there are
    none."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak_mb: float = 0.0
    size_mb: float = 0.0
    note: str = ""

    @property
    def wall_s(self) -> float:
        return statistics.median(self.wall)

    @property
    def cpu_s(self) -> float:
        return statistics.median(self.cpu)


def run(command: Command) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds including its children's, and peak resident MB; Missing if it fails."""
    errors = command.output.parent / f"{command.output.name}.stderr"
    with contextlib.ExitStack() as files:
        err = files.enter_context(errors.open("wb"))
        out: Any = files.enter_context(command.output.open("wb")) if command.to_stdout else subprocess.DEVNULL
        began = time.perf_counter()
        process = subprocess.Popen(command.argv, stdout=out, stderr=err, cwd=command.cwd)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    said = errors.read_text(errors="replace").strip().splitlines()
    errors.unlink()
    if process.returncode:
        raise Missing(_why(said, process.returncode))
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024 * 1.048576


def _why(said: Sequence[str], code: int) -> str:
    """The last line that a program printed, without our folder, or its exit code."""
    return said[-1].replace(f"{HERE.parent}/", "")[:150] if said else f"it ended with code {code}"


def alone(script: str, ours: bool, *words: str) -> dict[str, Any] | str:
    """The JSON that ``script --one words`` prints as its last line, or the reason why it does not.

    It runs in a separate process: our own code in our interpreter, a peer's in the peers'.
    """
    command = [sys.executable if ours else peers_python(), script, "--one", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return f"missing: {_why(said, done.returncode)}"
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def race(contenders: Sequence[Contender], rows: int, runs: int) -> dict[str, Result]:
    """Run every contender ``runs`` times, in turns, so that a busy minute affects all; slow ones once."""
    results = {c.name: Result() for c in contenders}
    for turn in range(runs):
        for contender in contenders:
            result = results[contender.name]
            if result.note and not result.note.startswith("one run"):
                continue
            if turn and result.wall[0] > SLOW_S:
                result.note = "one run"
                continue
            try:
                _one(contender, result, rows, check=turn == 0)
            except Missing as why:
                result.note = f"missing: {why}"
    return results


def _one(contender: Contender, result: Result, rows: int, *, check: bool) -> None:
    command = contender.command()
    try:
        wall, cpu, peak = run(command)
        if check and contender.rows_in is not None and (rows_written := contender.rows_in(command.output)) != rows:
            raise Missing(f"its file has {rows_written:,} rows instead of {rows:,}")
        result.size_mb = size_of(command.output) / 1e6
    finally:
        remove(command.output)
    result.wall.append(wall)
    result.cpu.append(cpu)
    result.peak_mb = max(result.peak_mb, peak)


def size_of(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def scratch(name: str) -> Path:
    """A scratch path for a contender's output."""
    return Path(SCRATCH, f"fluxport-bench-{os.getpid()}-{name}")


def lines_in(path: Path, *, header: bool) -> int:
    with path.open("rb") as file:
        count = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    return count - int(header)


def sheet_rows_in(path: Path) -> int:
    """The rows of all sheets, without headers and our notes sheet."""
    count = 0
    with zipfile.ZipFile(path) as book:
        named = re.findall(rb'<sheet [^>]*?name="([^"]*)"', book.read("xl/workbook.xml"))
        notes = f"xl/worksheets/sheet{len(named)}.xml" if named[-1] == b"Notes" else ""
        for name in book.namelist():
            if name.startswith("xl/worksheets/sheet") and name != notes:
                with book.open(name) as sheet:
                    tail = b""
                    while data := sheet.read(1 << 20):
                        held = tail + data
                        count += held.count(b"</row>")
                        tail = held[-5:]
                count -= 1
    return count


# -- processes that keep running -------------------------------------------------------------------------------------


def status_mb(pid: int | str, key: str) -> float:
    """``VmRSS`` or ``VmHWM`` (its peak) of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024 / 1e6
    raise KeyError(key)


def reset_peak(pid: int | str) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_s(pid: int) -> float:
    parts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def serving(url: str, *words: str, workers: int = 0, **settings: str) -> Iterator[tuple[int, int]]:
    """``fluxport serve`` over the database, as (port, process id), with ``workers`` worker processes."""
    with served({"MYSQL_DSN": url} | settings, *words, workers=workers) as (said, pid):
        yield int(said["listening on"].rsplit(":", 1)[1]), pid


@contextlib.contextmanager
def served(settings: Mapping[str, str], *words: str, workers: int = 0) -> Iterator[tuple[dict[str, str], int]]:
    """``fluxport serve``: its addresses by the words of its log (``listening on``, ``gRPC at``); its process."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FLUXPORT_")}
    folder = scratch("service")
    folder.mkdir()
    environ |= {"APP_ENV": "development", "FLUXPORT_LOGGING__LEVEL": "error"}
    environ |= {"LOCAL_STORAGE_PATH": str(folder / "exports")} | dict(settings)
    try:
        with contextlib.ExitStack() as processes:
            process, said = processes.enter_context(started(["serve", "--port", "0", *words], folder, environ))
            for _ in range(workers):
                processes.enter_context(started(["worker"], folder, environ))
            yield said, process.pid
    finally:
        remove(folder)


@contextlib.contextmanager
def started(
    words: list[str], folder: Path, environ: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """``fluxport words`` and its log until it is ready, as the last word of each line by the words before it."""
    process = subprocess.Popen([FLUXPORT, *words], cwd=folder, env=environ, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said: dict[str, str] = {}
        while "listening on" not in said and "worker" not in said:
            line = process.stderr.readline()
            if not line:
                raise SystemExit(f"fluxport {words[0]} did not start.")
            what, _, where = line.strip().rpartition(" ")
            said[what.removeprefix("fluxport: ")] = where
        yield process, said
    finally:
        process.terminate()
        process.wait()


def stream_once(port: int, query: str, name: str) -> tuple[float, float, int]:
    """POST /v1/stream: seconds to the first and to the last byte of the file, and its size."""
    from fluxport.auth.signing import sign_v2
    from fluxport.config import DEVELOPMENT_SECRET

    body = json.dumps({"source": {"query": query}, "format": name}).encode()
    moment, nonce = int(time.time()), secrets.token_urlsafe(18)
    headers = sign_v2(DEVELOPMENT_SECRET, "default", "POST", "/v1/stream", body, moment, nonce)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    room = memoryview(bytearray(1 << 20))
    began = time.perf_counter()
    connection.request("POST", "/v1/stream", body, headers)
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit(f"POST /v1/stream returned {response.status}: {response.read(500).decode(errors='replace')}")
    size = len(response.read1(1))
    first = time.perf_counter() - began
    while got := response.readinto(room):
        size += got
    total = time.perf_counter() - began
    connection.close()
    return first, total, size


# -- reports ---------------------------------------------------------------------------------------------------------


class Report:
    """Lines that are printed at once and collected."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def line(self, text: str = "") -> None:
        print(text, flush=True)
        self._lines.append(text)

    def lines(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.line(text)

    def save(self, name: str) -> None:
        """Save as a dated file in ``bench/results``."""
        path = HERE / "results" / f"{datetime.date.today()}-{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(self._lines) + "\n")
        print(f"saved as {path.relative_to(HERE.parent)}")


def add_report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wait", type=float, default=300.0, help="maximum seconds to wait for a quiet machine")
    parser.add_argument("--save", action="store_true", help="keep the output in bench/results")


@contextlib.contextmanager
def reported(name: str, options: argparse.Namespace) -> Iterator[Report]:
    """A report of a comparison with the peers: first the machine and versions, last the load."""
    report = Report()
    compiled()
    wait_until_quiet(options.wait)
    report.lines([*machine(), *peers(), ""])
    yield report
    report.line(f"\nload after the run {os.getloadavg()[0]:.2f}")
    if options.save:
        report.save(name)


def table(results: Mapping[str, Result], rows: int) -> list[str]:
    lines = [f"  {'':36} {'wall s':>8} {'min s':>8} {'cpu s':>8} {'peak MB':>8} {'file MB':>8} {'rows/s':>10}"]
    for name, result in results.items():
        if not result.wall:
            lines.append(f"  {name:36} {result.note}")
            continue
        lines.append(
            f"  {name:36} {result.wall_s:8.3f} {min(result.wall):8.3f} {result.cpu_s:8.3f} {result.peak_mb:8.0f} "
            f"{result.size_mb:8.1f} {rows / result.wall_s:10,.0f}  {result.note}".rstrip()
        )
    return lines


def verdict(what: str, measured: float, target: float, unit: str) -> str:
    """One line per target: met if at most ``target``."""
    word = "met   " if measured <= target else "MISSED"
    return f"  {word} {what}: {measured:.3g} {unit}, at most {target:.3g} wanted"
