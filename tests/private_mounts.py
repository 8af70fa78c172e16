"""File systems in a private mount namespace: small enough to fill, or read-only."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from services import require_program, unavailable


def on_tmpfs(folder: Path, size: str, *command: str) -> list[str]:
    """``command`` in a namespace where a new file system of that size (as ``mount`` writes it) is at ``folder``; the
    process retains its id. Skips where that is not allowed."""
    enter = [require_program("unshare"), "-rm", "sh", "-c"]
    mount = 'mount -t tmpfs -o "size=$1" none "$0" && shift && exec "$@"'
    tried = subprocess.run([*enter, mount, str(folder), size, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        unavailable(f"a mount of its own for a child ({tried.stderr.strip()})")
    return [*enter, mount, str(folder), size, *command]


def read_only_except(writable: Sequence[Path], folder: Path, *command: str) -> list[str]:
    """``command`` in ``folder``, in a namespace where every file system is read-only except the ``writable`` folders;
    the process retains its id. Skips where that is not allowed."""
    enter = [require_program("unshare"), "-rm", "sh", "-ec"]
    script = (
        'count=$1; shift; while [ "$count" -gt 0 ]; do mount --bind "$1" "$1"; shift; '
        "count=$((count - 1)); done; mount -o remount,bind,ro /; "
        'cd "$0"; exec "$@"'
    )
    arguments = [script, str(folder), str(len(writable)), *map(str, writable)]
    probe = 'touch here && if touch "$0" 2>/dev/null; then echo "the root is writable" >&2; exit 1; fi'
    probing = ["sh", "-ec", probe, "/written-by-a-test"]
    tried = subprocess.run([*enter, *arguments, *probing], capture_output=True, text=True, check=False)
    if tried.returncode:
        unavailable(f"a read-only root for a child ({tried.stderr.strip()})")
    return [*enter, *arguments, *command]


def seen_by(pid: int, folder: Path) -> Path:
    """The folder as that process sees it."""
    return Path(f"/proc/{pid}/root{folder}")


def remount(pid: int, folder: Path, how: str) -> None:
    """``ro`` or ``rw``, for that process."""
    inside = [require_program("nsenter"), "-t", str(pid), "-U", "-m", "--preserve-credentials"]
    subprocess.run([*inside, "mount", "-o", f"remount,{how}", str(folder)], check=True, capture_output=True, timeout=60)
