"""File systems in a private mount namespace: small enough to fill, or read-only."""

from __future__ import annotations

import subprocess
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


def seen_by(pid: int, folder: Path) -> Path:
    """The folder as that process sees it."""
    return Path(f"/proc/{pid}/root{folder}")


def remount(pid: int, folder: Path, how: str) -> None:
    """``ro`` or ``rw``, for that process."""
    inside = [require_program("nsenter"), "-t", str(pid), "-U", "-m", "--preserve-credentials"]
    subprocess.run([*inside, "mount", "-o", f"remount,{how}", str(folder)], check=True, capture_output=True, timeout=60)
