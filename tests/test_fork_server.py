"""What is a fork of a server with libraries behaves as a process that was started by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fork_server import EMULATOR, SERVICE, run, start

LOADED = """
import importlib, os, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(len(os.listdir("/proc/self/task")), *{"pyarrow", "grpc", "psycopg"} & set(sys.modules))
"""


@pytest.mark.parametrize("libraries", [SERVICE, EMULATOR], ids=["service", "emulator"])
def test_what_is_loaded_starts_no_thread(libraries: tuple[str, ...]) -> None:
    environ = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    words = [sys.executable, "-c", LOADED, *libraries]
    assert subprocess.run(words, env=environ, capture_output=True, check=True, text=True).stdout.split() == ["1"]


def test_a_command_has_its_folder_environment_and_outputs(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("nonsense: 1\n")
    bare = {"PATH": os.environ["PATH"]}
    signed = run("sign", "GET", "/x", folder=tmp_path, environ=bare | {"API_SECRET": "a-secret-0123456789"})
    assert (signed.returncode, signed.stderr) == (0, b"")
    assert b"X-Signature" in signed.stdout
    for words, environ, wrong in (
        (("check", "--config", "own.yaml"), {}, b"nonsense"),
        (("check",), {"FLUXPORT_SERVER__GRACE_S": "soon"}, b"grace_s"),
    ):
        refused = run(*words, folder=tmp_path, environ=bare | environ)
        assert (refused.returncode, refused.stdout) == (2, b"")
        assert wrong in refused.stderr


def test_a_process_is_a_child_until_it_is_waited_for(tmp_path: Path) -> None:
    with tempfile.TemporaryFile() as output:
        started = start(("emulate", "mysql", "--rows", "1", "--port", "0"), tmp_path, os.environ, output)
        assert started.poll() is None
        assert Path(f"/proc/{started.pid}/stat").read_text().rpartition(")")[2].split()[1] == str(os.getpid())
        with pytest.raises(subprocess.TimeoutExpired):
            started.wait(0.001)
        started.kill()
        assert started.wait(60) == -signal.SIGKILL
        assert started.poll() == -signal.SIGKILL
        started.terminate()  # there is nothing left to signal
        with pytest.raises(ProcessLookupError):
            os.kill(started.pid, 0)
