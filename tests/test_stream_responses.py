"""A direct stream between its export and its client: when it ends as complete, and how many bytes count as sent."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from fluxport.auth.caller import Caller
from fluxport.auth.scopes import EVERYTHING
from fluxport.errors import Canceled, FluxportError, TooMany, Unavailable
from fluxport.http.bridge import StreamedFile
from fluxport.jobs.catalog import Catalog
from fluxport.jobs.slots import Reading, Slots, connection_slots
from fluxport.jobs.spool import Spool, SpoolOptions
from fluxport.jobs.store import JobStore, Record
from fluxport.jobs.streams import Stream, Streams
from fluxport.jobs.transfers import Transfers
from fluxport.plan import Connection, guard_dialect
from fluxport.policy.guard import GuardPolicy
from fluxport.sinks.memory import MemorySink
from fluxport.spec import ExportSpec
from fluxport.stages import Chunks, Limits
from identity_support import Clock, empty_store

ANN = Caller("ann", scopes=EVERYTHING)
MB = 1 << 20

Take = Callable[[int], Awaitable[None]]  # awaited with the bytes that the client has, before it takes more


@dataclass
class Exports:
    folder: Path
    store: JobStore
    streams: Streams

    def open(self, rows: int, *, whole: bool = False) -> Stream:
        """A stream of ``rows`` lines of 1,025 bytes, after one of two."""
        return self.streams.open(ExportSpec(f"SELECT text AS a FROM t LIMIT {rows}"), ANN, whole=whole)

    def ended(self, stream: Stream) -> tuple[Record, int]:
        """The record, and the bytes that its audit counts as sent."""
        with sqlite3.connect(self.folder / "fluxport.db") as tables:
            found = "SELECT detail FROM audit WHERE export_id = ? AND outcome != 'begun'"
            [(detail,)] = tables.execute(found, (stream.record.id,)).fetchall()
        tables.close()
        return self.store.get(stream.record.id), json.loads(detail)["sent_bytes"]


@pytest.fixture
def exports(tmp_path: Path) -> Iterator[Exports]:
    with sqlite3.connect(tmp_path / "rows.db") as rows:
        rows.execute("CREATE TABLE t (text TEXT)")
        rows.executemany("INSERT INTO t VALUES (?)", [("x" * 1024,)] * 4000)
    rows.close()
    url = f"sqlite:///{tmp_path}/rows.db"
    main = Connection("main", url, GuardPolicy(dialect=guard_dialect(url)))
    catalog = Catalog({"main": main}, {"local": MemorySink()}, Limits())
    spool = Spool(SpoolOptions())
    with empty_store(f"sqlite:///{tmp_path}/fluxport.db", Clock()) as store:
        yield Exports(tmp_path, store, Streams(catalog, store, Transfers(), connection_slots(catalog, 1.0), spool))
    spool.close()


async def sent(
    chunks: Chunks,
    reading: Reading,
    gone: Callable[[], None],
    take: Take,
    left: asyncio.Event | None = None,
    send_timeout_s: float = 30.0,
    **more: Any,
) -> int:
    """Send the stream to a client, which disconnects once ``left`` is set; returns what it received."""
    received = 0
    leaving = left or asyncio.Event()

    async def receive() -> Message:
        await leaving.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal received
        if message.get("body"):
            await take(received)
            received += len(message["body"])

    with ThreadPoolExecutor(2) as threads:
        options: dict[str, Any] = {"threads": threads, "send_timeout_s": send_timeout_s, "reading": reading, **more}
        await StreamedFile(chunks, headers={}, cancel=gone, **options)({"type": "http"}, receive, send)
    return received


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 63, 64, 1000, 1030, 3080])  # the last chunk is the only one, small or large
def test_all_bytes_of_a_complete_stream_count_as_sent(exports: Exports, rows: int, whole: bool) -> None:
    stream = exports.open(rows, whole=whole)

    async def take(received: int) -> None:
        await asyncio.sleep(0.002)  # time in which the thread could get to the end

    received = asyncio.run(sent(stream.chunks, stream.reading, stream.gone, take, length=stream.length))
    record, counted = exports.ended(stream)
    assert (record.status, record.rows) == ("completed", rows)
    assert counted == record.bytes == received == 2 + 1025 * rows


async def until_read(stream: Stream) -> None:
    """Wait until a stream's source has been read to its end."""
    while not stream.export.tally.complete:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)  # what would follow at once


@pytest.mark.parametrize("rows", [1050, 3000])
def test_a_stream_whose_client_stops_before_its_last_bytes_has_stalled(exports: Exports, rows: int) -> None:
    stream = exports.open(rows)
    size = 2 + 1025 * rows

    async def take(received: int) -> None:
        if received >= size - 65 * 1024:
            await asyncio.Event().wait()

    with pytest.raises(Unavailable, match="The client read almost nothing"):
        asyncio.run(sent(stream.chunks, stream.reading, stream.gone, take, send_timeout_s=0.5))
    record, counted = exports.ended(stream)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.code == "client_stalled"
    assert counted < size


@pytest.mark.parametrize("rows", [1050, 3000])
def test_a_stream_whose_client_leaves_before_its_last_bytes_is_not_complete(exports: Exports, rows: int) -> None:
    stream = exports.open(rows)
    size = 2 + 1025 * rows

    async def run() -> None:
        left = asyncio.Event()

        async def take(received: int) -> None:
            if received >= size - 65 * 1024 and not left.is_set():
                await until_read(stream)
                left.set()
                await asyncio.sleep(0.01)  # the server drops what it is given from now on

        await sent(stream.chunks, stream.reading, stream.gone, take, left)

    with pytest.raises(Canceled):
        asyncio.run(run())
    record, counted = exports.ended(stream)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.code == "client_gone"
    assert counted < size


def test_a_stream_that_is_aborted_during_its_last_send_is_not_complete(exports: Exports) -> None:
    stream = exports.open(1050)

    async def take(received: int) -> None:
        if received >= 2 + 1025 * 1050 - 65 * 1024:
            await until_read(stream)
            stream.reading.end()
            await asyncio.Event().wait()

    with pytest.raises(Canceled):
        asyncio.run(sent(stream.chunks, stream.reading, stream.gone, take))
    record, _ = exports.ended(stream)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.code == "canceled"


def reading_of(source: Callable[[], Chunks]) -> Reading:
    slots = Slots(1, 0.0, lambda: TooMany("busy", code="connection_busy"))
    return Reading(slots, Spool(SpoolOptions()), source, lambda: None, lambda: None)


def test_nothing_more_is_sent_once_a_stream_is_aborted() -> None:
    """Also where that happens between two sends: nothing is left that could end the next one."""
    taken: list[int] = []

    def source() -> Chunks:
        yield bytes(MB)
        reading.end()
        yield bytes(MB)

    reading = reading_of(source)

    async def take(received: int) -> None:
        taken.append(received)
        if received >= MB:
            await asyncio.Event().wait()

    with pytest.raises(FluxportError):
        asyncio.run(asyncio.wait_for(sent(reading.chunks(), reading, reading.end, take), 20))
    assert max(taken) < MB


def test_an_abort_that_follows_the_end_of_a_stalled_send_at_once_is_no_second_one() -> None:
    """A timeout that has expired cannot be changed."""
    problems: list[dict[str, Any]] = []

    def source() -> Chunks:
        yield bytes(MB)
        yield bytes(MB)

    reading = reading_of(source)

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))

        async def take(received: int) -> None:
            if received >= MB // 2:
                try:
                    await asyncio.Event().wait()
                finally:
                    reading.end()
                    await asyncio.sleep(0.05)

        await sent(reading.chunks(), reading, reading.end, take, send_timeout_s=0.3)

    with pytest.raises(FluxportError):
        asyncio.run(run())
    assert not problems
