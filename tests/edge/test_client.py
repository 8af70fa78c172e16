"""``fluxport.Client`` and ``fluxport.AsyncClient`` against the running service, over connections that break."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import fluxport
from fault_proxy import FaultProxy
from fluxport.client.protocol import Events
from fluxport.testing.sources import wait_until
from service_support import SECRET, Client, emulator, service

ALL: dict[str, Any] = {"source": {"query": "SELECT * FROM users ORDER BY id"}, "filename": "users"}
ROWS = 20_000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Path]]:
    """The service, and the folder with what it stores."""
    folder = tmp_path_factory.mktemp("service")
    with emulator(folder, ROWS) as url, service(folder, url) as client:
        yield client, folder / "exports"


@pytest.fixture(scope="module")
def base(running: tuple[Client, Path]) -> str:
    return running[0].base


class Blocking:
    """Calls a Client."""

    def __init__(self, url: str, **given: Any) -> None:
        self.client = fluxport.Client(url, **{"secret": SECRET} | given)

    def __call__(self, name: str, *args: Any, **given: Any) -> Any:
        return getattr(self.client, name)(*args, **given)

    def every(self, name: str, *args: Any) -> list[Any]:
        return list(getattr(self.client, name)(*args))

    def close(self) -> None:
        self.client.close()


class Asynchronous:
    """Calls an AsyncClient in a separate event loop."""

    def __init__(self, url: str, **given: Any) -> None:
        self.runner = asyncio.Runner()
        self.client = fluxport.AsyncClient(url, **{"secret": SECRET} | given)

    def __call__(self, name: str, *args: Any, **given: Any) -> Any:
        return self.runner.run(getattr(self.client, name)(*args, **given))

    def every(self, name: str, *args: Any) -> list[Any]:
        async def gathered() -> list[Any]:
            return [item async for item in getattr(self.client, name)(*args)]

        return self.runner.run(gathered())

    def close(self) -> None:
        self.runner.run(self.client.close())
        self.runner.close()


Caller = Blocking | Asynchronous


@pytest.fixture(params=[Blocking, Asynchronous])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def call(kind: Any, base: str) -> Iterator[Caller]:
    made = kind(base)
    yield made
    made.close()


def test_an_export_is_created_followed_and_downloaded(call: Caller, tmp_path: Path) -> None:
    job = call("create", ALL)
    events = call.every("follow", job.id)
    assert [event.last for event in events] == [False] * (len(events) - 1) + [True]
    assert events[-1].kind == "completed"
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    done = call("wait", job.id)
    assert (done.status, done.rows, done.percent, done.ended) == ("completed", ROWS, 100.0, True)
    file = call("download", job.id, tmp_path)
    data = (tmp_path / "users.csv").read_bytes()
    assert file.location == str(tmp_path / "users.csv")
    assert file.sha256 == sha256(data).hexdigest() == done.files[0].sha256
    assert data.count(b"\n") == ROWS + 1
    assert job.id in [one.id for one in call("list", status="completed")]


def test_the_same_idempotency_key_is_the_same_export(call: Caller) -> None:
    key = os.urandom(8).hex()
    first, second, other = (call("create", ALL, idempotency_key=k) for k in (key, key, None))
    assert first.id == second.id != other.id
    with pytest.raises(fluxport.Unprocessable):
        call("create", ALL | {"format": "jsonl"}, idempotency_key=key)


def test_a_link_is_for_anybody_who_has_it(call: Caller, running: tuple[Client, Path]) -> None:
    job = call("wait", call("create", ALL).id)
    link = call("link", job.id, one_time=True)
    assert sha256(running[0].plain_get(link.url).content).hexdigest() == job.files[0].sha256
    assert running[0].plain_get(link.url).status_code == 410
    assert "token" not in repr(link) + repr(job)


def test_an_export_that_has_ended_cannot_be_canceled(call: Caller) -> None:
    job = call("wait", call("create", ALL).id)
    with pytest.raises(fluxport.Conflict) as refused:
        call("cancel", job.id)
    assert refused.value.code == "wrong_state"


def test_waiting_raises_the_error_of_the_export(call: Caller) -> None:
    job = call("create", ALL | {"source": {"query": "SELECT nothing FROM users"}})
    with pytest.raises(fluxport.QueryFailed):
        call("wait", job.id)
    with pytest.raises(fluxport.Conflict, match="has no file"):
        call("download", job.id, ".")


def test_waiting_has_an_end_of_its_own(call: Caller) -> None:
    job = call("create", ALL | {"source": {"query": "SELECT a.id FROM users a JOIN users b"}})
    with pytest.raises(fluxport.TimedOut, match="it continues"):
        call("wait", job.id, timeout_s=0)
    assert call("cancel", job.id).status == "canceled"
    with pytest.raises(fluxport.Canceled):
        call("wait", job.id)


def test_several_files_are_downloaded_by_their_numbers(call: Caller, tmp_path: Path) -> None:
    job = call("wait", call("create", ALL | {"options": {"max_rows_per_file": 12_000}}).id)
    with pytest.raises(fluxport.NotFound, match="has 2 files"):
        call("download", job.id, tmp_path)
    for number, file in enumerate(job.files, 1):
        call("download", job.id, tmp_path, part=number)
        assert sha256((tmp_path / file.name).read_bytes()).hexdigest() == file.sha256


def test_a_stream_is_compared_with_what_the_service_sent(call: Caller) -> None:
    data = b"".join(call.every("stream", ALL))
    assert data.count(b"\n") == ROWS + 1
    with pytest.raises(fluxport.QueryFailed):
        call.every("stream", ALL | {"source": {"query": "SELECT nothing FROM users"}})


def test_errors_have_the_family_that_they_have_in_the_service(call: Caller, kind: Any, base: str) -> None:
    with pytest.raises(fluxport.NotFound) as missing:
        call("get", "nothing")
    assert missing.value.code == "no_such_export"
    with pytest.raises(fluxport.Refused) as unknown:
        call("create", ALL | {"format": "nothing"})
    assert (type(unknown.value), unknown.value.code) == (fluxport.Refused, "unknown_format")
    stranger = kind(base, secret="another secret that is long enough 0123")
    with pytest.raises(fluxport.Unauthorized):
        stranger("list")
    stranger.close()


def test_an_unreachable_service_is_unavailable(kind: Any) -> None:
    call = kind("http://127.0.0.1:1", retries=1)
    with pytest.raises(fluxport.Unavailable, match="cannot be reached"):
        call("list")
    call.close()


WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "no address": ("127.0.0.1:8080", {}),
    "a password in it": ("http://u:p@127.0.0.1", {}),
    "no credentials": ("http://127.0.0.1", {"secret": None}),
    "two of them": ("http://127.0.0.1", {"key": "k"}),
    "a key of two lines": ("http://127.0.0.1", {"secret": None, "key": "a\nb"}),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_an_address_or_a_key_is_refused(kind: Any, wrong: str) -> None:
    url, given = WRONG[wrong]
    with pytest.raises(fluxport.Refused) as refused:
        kind(url, **given)
    assert refused.value.code in ("bad_url", "bad_key")
    assert "u:p" not in str(refused.value)


def test_the_asynchronous_client_names_the_library_it_needs() -> None:
    code = """
import sys
sys.modules["httpx"] = None
import fluxport
fluxport.Client("http://127.0.0.1", key="k")
try:
    fluxport.AsyncClient("http://127.0.0.1", key="k")
except fluxport.Refused as error:
    print(error.code, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "missing_extra AsyncClient needs its library: pip install 'fluxport[client]'.\n"


# -- connections that break --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["fin", "rst"])
def test_a_download_that_is_cut_goes_on_where_it_was(
    call: Caller, kind: Any, base: str, fault: Any, tmp_path: Path
) -> None:
    job = call("wait", call("create", ALL).id)
    size = job.files[0].bytes
    with FaultProxy(base, fault, size // 2, connections=3) as proxy:
        through = kind(proxy.url)
        file = through("download", job.id, tmp_path)
        through.close()
        assert proxy.faulted.is_set()
        # It was not begun again; a reset also drops what had passed and was not read yet.
        assert fault == "rst" or proxy.passed_bytes < size * 1.5
    assert sha256((tmp_path / "users.csv").read_bytes()).hexdigest() == file.sha256 == job.files[0].sha256
    assert [path.name for path in tmp_path.iterdir()] == ["users.csv"]


def test_a_download_that_brings_nothing_new_ends_and_leaves_no_file(
    call: Caller, kind: Any, base: str, tmp_path: Path
) -> None:
    job = call("wait", call("create", ALL).id)
    with FaultProxy(base, "rst", 100) as proxy:
        through = kind(proxy.url, retries=0)
        with pytest.raises(fluxport.Unavailable):
            through("download", job.id, tmp_path)
        through.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["fin", "rst"])
def test_a_stream_that_is_cut_says_so_in_words(kind: Any, base: str, fault: Any) -> None:
    with FaultProxy(base, fault, 50_000) as proxy:
        through = kind(proxy.url)
        with pytest.raises(fluxport.Unavailable, match="was lost in the middle of a response: ") as lost:
            through.every("stream", ALL)
        through.close()
    assert (lost.value.code, lost.value.retryable) == ("unreachable", True)
    assert not {"IncompleteRead", "Errno"} & set(re.findall(r"\w+", lost.value.message))


def test_events_are_given_once_over_a_connection_that_breaks(call: Caller, kind: Any, base: str) -> None:
    job = call("wait", call("create", ALL).id)
    reported = call.every("follow", job.id)
    with FaultProxy(base, "fin", 250, connections=1) as proxy:
        through = kind(proxy.url)
        again = through.every("follow", job.id)
        through.close()
        assert proxy.faulted.is_set()
    assert again == reported


def test_a_file_that_differs_from_the_services_record_is_removed(
    call: Caller, running: tuple[Client, Path], tmp_path: Path
) -> None:
    job = call("wait", call("create", ALL).id)
    (stored,) = [path for path in running[1].rglob("*") if path.is_file() and job.id in str(path)]
    data = bytearray(stored.read_bytes())
    data[1000] ^= 1
    stored.chmod(0o600)
    stored.write_bytes(data)
    (tmp_path / "users.csv").write_text("older")
    with pytest.raises(fluxport.Broken) as broken:
        call("download", job.id, tmp_path)
    assert broken.value.code == "file_differs"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


@pytest.mark.parametrize("name", ["Client", "AsyncClient"])
def test_a_download_that_is_killed_leaves_no_file_under_its_name(base: str, name: str, tmp_path: Path) -> None:
    with fluxport.Client(base, secret=SECRET) as client:
        job = client.wait(client.create(ALL).id)
        with FaultProxy(base, "slow", job.files[0].bytes // 2) as proxy:
            made = f"fluxport.{name}({proxy.url!r}, secret={SECRET!r})"
            it = f"{made}.download({job.id!r}, {str(tmp_path / 'users.csv')!r})"
            script = f"import asyncio, fluxport\nasync def main(): await {it}\nasyncio.run(main())"
            if name == "Client":
                script = f"import fluxport\n{it}"
            started = subprocess.Popen([sys.executable, "-c", script])
            assert wait_until(lambda: any(path.stat().st_size > 100_000 for path in tmp_path.glob(".fluxport-*.part")))
            started.send_signal(signal.SIGKILL)
            started.wait()
        assert not (tmp_path / "users.csv").exists()
        client.download(job.id, tmp_path / "users.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["users.csv"]  # what was left is gone, too


def test_a_download_whose_task_is_canceled_leaves_no_file(base: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with fluxport.AsyncClient(base, secret=SECRET) as client:
            job = await client.wait((await client.create(ALL)).id)
        with FaultProxy(base, "stall", job.files[0].bytes // 2) as proxy:
            async with fluxport.AsyncClient(proxy.url, secret=SECRET) as through:
                task = asyncio.create_task(through.download(job.id, tmp_path))
                assert await asyncio.to_thread(proxy.faulted.wait, 30)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


def test_events_are_read_wherever_they_are_cut() -> None:
    text = b': still here\n\nid: 1\nevent: progress\ndata: {"rows": 1}\n\nid: 2\nevent: completed\ndata: {}\n\n'
    for size in range(1, len(text) + 1):
        events = Events()
        found = [e for start in range(0, len(text), size) for e in events.feed(text[start : start + size])]
        assert [(e.seq, e.kind, e.last) for e in found] == [(1, "progress", False), (2, "completed", True)]
