"""Used signatures: each is accepted once, over threads, processes and restarts, and is removed in time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fluxport.auth.replay import Replays
from fluxport.auth.signing import Signed
from fluxport.errors import Unauthorized, Unavailable

WINDOW_S, KEPT_S = 300, 600  # how old or early a signature may be; how long it is remembered

NOW = 1_767_225_600.0
RACE = """
import sys
from pathlib import Path
from fluxport.auth.replay import Replays
from fluxport.auth.signing import Signed
from fluxport.errors import Unauthorized
print("ready", flush=True)
sys.stdin.readline()
replays = Replays(Path(sys.argv[1]))
for number in range(50):
    try:
        replays.use(Signed("default", "v1", 1767225600, f"{number:064x}"), 1767225600.0)
        print(number)
    except Unauthorized:
        pass
"""


def signed(number: int) -> Signed:
    return Signed("default", "v1", int(NOW), f"{number:064x}")


@pytest.fixture(params=["file", "memory"])
def replays(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Replays]:
    store = Replays(tmp_path / "replays.sqlite" if request.param == "file" else None)
    yield store
    store.close()


def passes(replays: Replays, number: int, now: float = NOW) -> bool:
    try:
        replays.use(signed(number), now)
    except Unauthorized as error:
        assert error.code == "replayed"  # noqa: PT017 - the other outcome is a success
        return False
    return True


def test_a_signature_passes_once(replays: Replays) -> None:
    assert passes(replays, 1)
    assert not passes(replays, 1)
    assert passes(replays, 2)


def test_a_signature_is_remembered_until_no_clock_within_the_window_can_accept_it(replays: Replays) -> None:
    """Signed a window ahead of our clock, a request is valid until two windows later."""
    assert passes(replays, 1, NOW - WINDOW_S)
    assert not passes(replays, 1, NOW + WINDOW_S - 1)
    assert passes(replays, 1, NOW - WINDOW_S + KEPT_S)
    assert not passes(replays, 1, NOW - WINDOW_S + KEPT_S)


def test_a_replay_does_not_make_itself_remembered_longer(replays: Replays) -> None:
    assert passes(replays, 1)
    assert not passes(replays, 1, NOW + KEPT_S - 1)
    assert passes(replays, 1, NOW + KEPT_S)


def test_old_signatures_are_pruned(replays: Replays) -> None:
    for number in range(100):
        passes(replays, number)
    assert len(replays) == 100
    passes(replays, 100, NOW + KEPT_S)
    assert len(replays) == 1


def test_one_of_many_threads_passes(replays: Replays) -> None:
    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(lambda i: passes(replays, i % 20), range(400)))
    assert sum(outcomes) == 20


def test_one_of_several_processes_passes(tmp_path: Path) -> None:
    """They open the new file and claim the same signatures at the same moment."""
    command = [sys.executable, "-c", RACE, str(tmp_path / "replays.sqlite")]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outcomes = [process.communicate() for process in processes]
    assert [errors for _, errors in outcomes] == [""] * 6
    claimed = sorted(int(line) for output, _ in outcomes for line in output.split())
    assert claimed == list(range(50))


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """Not even if the process crashes without closing its file."""
    path = tmp_path / "replays.sqlite"
    script = RACE + "import os; os.kill(os.getpid(), 9)"
    command = [sys.executable, "-c", script, str(path)]
    killed = subprocess.run(command, input="go\n", stdout=subprocess.DEVNULL, text=True, check=False)
    assert killed.returncode == -9
    store = Replays(path)
    assert not passes(store, 7)
    store.close()


def test_without_a_usable_file_no_request_is_admitted(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="used signatures"):
        Replays(tmp_path / "missing" / "replays.sqlite")
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"not a database" * 100)
    with pytest.raises(Unavailable, match="used signatures"):
        Replays(broken)
    store = Replays(tmp_path / "replays.sqlite")
    store.close()
    with pytest.raises(Unavailable, match="used signatures"):
        store.use(signed(1), NOW)
