"""The local sink beyond the contract: failures of the disk, names, crashes, retention."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fluxport.errors import Conflict, Refused, StoreFull
from fluxport.sinks.local import LocalSink
from fluxport.sinks.probe import probe
from fluxport.stages import Chunks
from private_mounts import on_tmpfs
from services import require_program, unavailable


def chunks(*parts: bytes) -> Chunks:
    yield from parts


def names(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*"))


@pytest.mark.parametrize(
    "name", ["", "/etc/x", "../x", "a/../../x", "a//b", "a/", ".", "a/./b", "x\0y", ".fluxport-0123456789abcdef.part"]
)
def test_a_name_that_leads_out_of_the_store_is_refused(tmp_path: Path, name: str) -> None:
    """No absolute path, no way up, no empty part, no NUL, no name of a temporary file."""
    with pytest.raises(Refused) as caught:
        LocalSink(tmp_path).put(name, chunks(b"x"))
    assert caught.value.code == "bad_name"
    assert names(tmp_path) == []


def test_a_directory_that_is_a_link_out_of_the_store_is_refused(tmp_path: Path) -> None:
    """Links are resolved."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    with pytest.raises(Refused):
        LocalSink(root).put("link/deep/file.csv", chunks(b"x"))
    assert names(outside) == []


def test_a_directory_that_is_a_link_within_the_store_is_followed(tmp_path: Path) -> None:
    (tmp_path / "data" / "2026").mkdir(parents=True)
    (tmp_path / "2026").symlink_to("data/2026")
    LocalSink(tmp_path).put("2026/12/a.csv", chunks(b"x"))
    LocalSink(tmp_path).put("2026/b.csv", chunks(b"x"))
    assert names(tmp_path / "data" / "2026") == ["12", "12/a.csv", "b.csv"]


@pytest.mark.parametrize("name", ["Umsätze 2026.csv", "a b'\"$;.csv", ".hidden", "-rf", "x" * 200, "a\\b"])
def test_any_other_name_is_unchanged(tmp_path: Path, name: str) -> None:
    """The sink accepts what the file system accepts."""
    location = LocalSink(tmp_path).put(name, chunks(b"x")).location
    assert names(tmp_path) == [name]
    assert Path(location) == tmp_path / name


@pytest.mark.parametrize(("root", "name"), [("missing", "x"), ("file", "x"), ("dir", "x" * 300)])
def test_what_cannot_be_written_is_refused_in_one_sentence(tmp_path: Path, root: str, name: str) -> None:
    """No directory, a file in its place, a name too long: reported before anything is pulled."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dir").mkdir()
    pulled = []

    def watched() -> Chunks:
        pulled.append(1)
        yield b"x"

    with pytest.raises(Refused) as caught:
        LocalSink(tmp_path / root).put(name, watched())
    assert caught.value.code == "not_writable"
    assert not pulled


def test_a_directory_in_the_place_of_the_file_is_a_conflict(tmp_path: Path) -> None:
    """Nothing is ever moved over a directory."""
    (tmp_path / "x").mkdir()
    with pytest.raises(Conflict):
        LocalSink(tmp_path, overwrite=True).put("x", chunks(b"x"))


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_the_mode_is_the_requested_one_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    """A service's umask does not decide who may read exports."""
    before = os.umask(0o077)
    try:
        location = LocalSink(tmp_path, mode=mode).put("x", chunks(b"x")).location
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path(location).stat().st_mode) == mode


def test_an_unfinished_file_can_be_read_by_its_owner_alone(tmp_path: Path) -> None:
    """Until it is complete it has mode 0600 and not its name."""

    def watching() -> Chunks:
        yield b"x"
        (part,) = tmp_path.iterdir()
        assert part.name.startswith(".fluxport-")
        assert stat.S_IMODE(part.stat().st_mode) == 0o600
        yield b"y"

    LocalSink(tmp_path, mode=0o644).put("x", watching())


def test_too_little_free_space_is_reported_before_anything_is_pulled(tmp_path: Path) -> None:
    """``free_bytes_min`` is checked first."""
    with pytest.raises(StoreFull):
        LocalSink(tmp_path, free_bytes_min=1 << 60).put("x", chunks(b"x"))
    assert names(tmp_path) == []


def test_free_space_is_checked_while_writing(tmp_path: Path) -> None:
    """Free space that shrinks while a file grows aborts it before the disk is full."""
    status = os.statvfs(tmp_path)
    least = status.f_bavail * status.f_frsize - (64 << 20)
    endless = (bytes(1 << 20) for _ in range(1000))
    with pytest.raises(StoreFull):
        LocalSink(tmp_path, free_bytes_min=least).put("x", endless)
    assert names(tmp_path) == []


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_larger_than_the_system_allows_is_store_full(tmp_path: Path) -> None:
    """EFBIG in the middle of a chunk: nothing is left."""
    with file_size_limit(100_000), pytest.raises(StoreFull):
        LocalSink(tmp_path).put("x", chunks(b"x" * 65_536, b"y" * 65_536))
    assert names(tmp_path) == []


CHILD = """
import os, sys
from pathlib import Path
from fluxport.errors import FluxportError
from fluxport.sinks.local import LocalSink
root = Path(sys.argv[1])
try:
    LocalSink(root).put("file.csv", (os.urandom(65536) for _ in range(int(sys.argv[2]))))
except FluxportError as error:
    print(type(error).__name__, os.listdir(root))
else:
    print("stored", os.listdir(root))
"""


def stored_on_tmpfs(tmp_path: Path, parts: int) -> str:
    """The output of a child that stores ``parts`` x 64 KiB on a private file system of 1 MiB."""
    command = on_tmpfs(tmp_path, "1m", sys.executable, "-c", CHILD, str(tmp_path), str(parts))
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_a_full_disk_is_store_full_and_leaves_nothing(tmp_path: Path) -> None:
    """A real file system of 1 MiB, filled by the file itself."""
    assert stored_on_tmpfs(tmp_path, 8) == "stored ['file.csv']"
    assert stored_on_tmpfs(tmp_path, 64) == "StoreFull []"


@pytest.mark.parametrize(
    ("call", "error", "raised"),
    [
        ("fsync", "EIO", "Unavailable"),
        ("fsync", "ENOSPC", "StoreFull"),
        ("fsync", "EDQUOT", "StoreFull"),
        ("fsync", "EIO:when=2", "Unavailable"),  # of the directory, when the name is given already
        ("linkat,?link", "EIO", "Unavailable"),
    ],
)
def test_an_error_as_late_as_the_last_step_leaves_nothing(tmp_path: Path, call: str, error: str, raised: str) -> None:
    """Errors at fsync or rename are still in time."""
    strace = require_program("strace")
    command = [strace, "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:error={error}"]
    command += [sys.executable, "-c", CHILD, str(tmp_path), "4"]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    if "PTRACE" in run.stderr or "ptrace" in run.stderr:
        unavailable("the right to trace a child")
    assert run.stdout.strip() == f"{raised} []", run.stderr


KILLED = """
import os, signal, sys
from fluxport.sinks.local import LocalSink
def chunks():
    yield b"x" * 100_000
    print("written", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
    yield b"y"
LocalSink(sys.argv[1]).put("file.csv", chunks())
"""


def test_kill_9_leaves_a_temporary_name_that_only_a_later_sweep_removes(tmp_path: Path) -> None:
    """A sweep leaves the file of a running writer, however old; once that has exited, it removes the file."""
    sink = LocalSink(tmp_path)
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "written\n"
        (part,) = tmp_path.iterdir()
        os.utime(part, (0, 0))
        assert sink.sweep(0, 4e9) == []
        child.communicate("go\n")
        assert child.returncode == -signal.SIGKILL
    assert names(tmp_path) == [part.name]
    assert sink.sweep(1e9, part.stat().st_mtime) == [part]
    assert names(tmp_path) == []


def test_a_sweep_deletes_expired_files_and_no_others(tmp_path: Path) -> None:
    """Age is counted from the last write to the moment given."""
    sink = LocalSink(tmp_path)
    old, new = (Path(sink.put(name, chunks(b"x")).location) for name in ("a/old.csv", "a/new.csv"))
    os.utime(old, (1000, 1000))
    os.utime(new, (1100, 1100))
    (tmp_path / "link").symlink_to(new)
    assert sink.sweep(3600, 1050 + 3600) == [old]
    assert new.exists()
    assert (tmp_path / "link").is_symlink()


def test_a_file_expires_only_when_it_is_older_than_the_time_given(tmp_path: Path) -> None:
    sink = LocalSink(tmp_path)
    file = Path(sink.put("x", chunks(b"x")).location)
    os.utime(file, (1000, 1000))
    assert sink.sweep(100, 1100) == []
    assert sink.sweep(100, 1101) == [file]


def test_a_sweep_during_a_write_does_not_disturb_it(tmp_path: Path) -> None:
    """The same process, another sink object: the lock belongs to the open file."""

    def swept() -> Chunks:
        yield b"a"
        assert LocalSink(tmp_path).sweep(0, 4e9) == []
        yield b"b"

    assert Path(LocalSink(tmp_path).put("x", swept()).location).read_bytes() == b"ab"


def test_no_descriptor_and_no_lock_stays_behind(tmp_path: Path) -> None:
    """Neither after success nor after failure."""

    def failing() -> Chunks:
        yield b"x"
        raise ValueError("no more")

    before = sorted(os.listdir("/proc/self/fd"))
    sink = LocalSink(tmp_path)
    location = sink.put("x", chunks(b"x")).location
    with pytest.raises(ValueError, match="no more"):
        sink.put("y", failing())
    assert sorted(os.listdir("/proc/self/fd")) == before
    with open(location, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_a_killed_process_of_the_same_id_left_does_not_make_a_store_unusable(tmp_path: Path) -> None:
    """In containers every process has the id 1."""
    store = LocalSink(tmp_path)
    words = "import os; from fluxport.sinks.probe import NAME; print(NAME.replace(str(os.getpid()), 'PID'))"
    made = {subprocess.check_output([sys.executable, "-c", words], text=True).strip() for _ in range(2)}
    assert len(made) == 2
    for name in made:
        store.put(name, chunks(b"left"))
    assert probe(store) == f"{tmp_path}/"
    assert names(tmp_path) == sorted(made)
