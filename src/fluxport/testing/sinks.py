"""The contract of a sink: a file is stored completely or not at all."""

from __future__ import annotations

import hashlib
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from fluxport.errors import Conflict, NotFound, Refused, Unavailable
from fluxport.stages import About, Chunks, Sink

PART = bytes(range(256)) * 512
PART_BYTES = 5 << 20  # of multipart uploads, if a sink has them and the size is configurable


BIG = PART * 80 + b"the end"  # slightly more than two parts


def big() -> Iterator[bytes]:
    for start in range(0, len(BIG), 700_001):
        yield BIG[start : start + 700_001]


@dataclass(frozen=True)
class SinkCase:
    """The sink under test, over an empty store, and independent access to that store.

    ``make(overwrite)``: the sink. ``content(sink, location)``: the stored bytes, read without the sink's ``open``.
    ``names(sink)``: the names of all files, sorted. ``unfinished()``: the number of unfinished uploads. ``links``: the
    sink has presigned URLs.
    """

    make: Callable[[bool], Sink]
    content: Callable[[Sink, str], bytes]
    names: Callable[[Sink], list[str]]
    unfinished: Callable[[], int] = lambda: 0
    links: bool = False


class Parts:
    """Chunks that record whether they were closed, and may fail after ``fail_after`` of them."""

    def __init__(self, parts: list[bytes | memoryview], fail_after: int | None = None) -> None:
        self.error = Unavailable("the source went away")
        self.closed = False
        self.pulled = 0
        self._parts = parts
        self._fail_after = fail_after

    def chunks(self) -> Chunks:
        try:
            for part in self._parts:
                if self.pulled == self._fail_after:
                    raise self.error
                self.pulled += 1
                yield part
        finally:
            self.closed = True


class SinkContract:
    """The requirements for every sink. Subclass it in a test file, with a fixture ``subject`` that returns a new
    ``SinkCase`` for each test."""

    @pytest.fixture(autouse=True)
    def _nothing_is_left(self, subject: SinkCase) -> Iterator[None]:
        yield
        assert subject.unfinished() == 0

    @pytest.mark.parametrize(
        "parts",
        [[], [b""], [b"a"], [PART, memoryview(PART)[5:99], b"", b"end"], [PART] * 40],
        ids=["nothing", "empty chunk", "one byte", "views", "5 MiB"],
    )
    def test_the_receipt_equals_the_content(self, subject: SinkCase, parts: list[bytes | memoryview]) -> None:
        """Size and SHA-256 of the receipt match the stored bytes."""
        sink = subject.make(False)
        source = Parts(parts)
        receipt = sink.put("dir/file.csv", source.chunks())
        content = subject.content(sink, receipt.location)
        assert content == b"".join(parts)
        assert receipt.size_bytes == len(content)
        assert receipt.sha256 == hashlib.sha256(content).hexdigest()
        assert source.closed
        assert subject.names(sink) == ["dir/file.csv"]

    @pytest.mark.parametrize("fail_after", [0, 1, 2])
    def test_an_error_of_the_chunks_propagates_unchanged_and_leaves_nothing(
        self, subject: SinkCase, fail_after: int
    ) -> None:
        """The same error object, an empty store, a closed generator, and the name is available again."""
        sink = subject.make(False)
        source = Parts([PART, PART, PART], fail_after)
        with pytest.raises(Unavailable) as caught:
            sink.put("file.csv", source.chunks())
        assert caught.value is source.error
        assert source.closed
        assert subject.names(sink) == []
        sink.put("file.csv", Parts([b"second try"]).chunks())
        assert subject.names(sink) == ["file.csv"]

    def test_an_interrupt_leaves_nothing(self, subject: SinkCase) -> None:
        """KeyboardInterrupt is not an Exception, but the cleanup must run too."""

        def interrupted() -> Chunks:
            yield PART
            raise KeyboardInterrupt

        sink = subject.make(False)
        with pytest.raises(KeyboardInterrupt):
            sink.put("file.csv", interrupted())
        assert subject.names(sink) == []

    def test_an_os_error_of_the_chunks_is_not_taken_for_one_of_the_store(self, subject: SinkCase) -> None:
        """Only errors of the store's own disk become errors of the store."""
        error = OSError(28, "No space left on device")

        def failing() -> Chunks:
            yield PART
            raise error

        sink = subject.make(False)
        with pytest.raises(OSError, match="No space left") as caught:
            sink.put("file.csv", failing())
        assert caught.value is error
        assert subject.names(sink) == []

    def test_a_taken_name_is_a_conflict_before_anything_is_pulled(self, subject: SinkCase) -> None:
        """The first file is unchanged, and the second one's query never runs."""
        sink = subject.make(False)
        first = sink.put("file.csv", Parts([b"first"]).chunks())
        second = Parts([b"second"])
        with pytest.raises(Conflict) as caught:
            sink.put("file.csv", second.chunks())
        assert caught.value.code == "file_exists"
        assert second.pulled == 0
        assert subject.content(sink, first.location) == b"first"

    def test_overwriting_replaces_the_whole_file_at_once(self, subject: SinkCase) -> None:
        """The first file stays until the second one is complete."""
        sink = subject.make(True)
        first = sink.put("file.csv", Parts([b"first, longer"]).chunks())

        def second() -> Chunks:
            yield b"sec"
            assert subject.content(sink, first.location) == b"first, longer"
            yield b"ond"

        receipt = sink.put("file.csv", second())
        assert subject.content(sink, receipt.location) == b"second"
        assert subject.names(sink) == ["file.csv"]

    def test_a_failed_overwriting_keeps_the_old_file(self, subject: SinkCase) -> None:
        """An export that fails loses nothing."""
        sink = subject.make(True)
        first = sink.put("file.csv", Parts([b"first"]).chunks())
        with pytest.raises(Unavailable):
            sink.put("file.csv", Parts([PART, PART], 1).chunks())
        assert subject.content(sink, first.location) == b"first"
        assert subject.names(sink) == ["file.csv"]

    def test_concurrent_files_do_not_mix(self, subject: SinkCase) -> None:
        """Eight files written at the same time are all complete."""
        sink = subject.make(False)
        barrier = threading.Barrier(8)

        def one(number: int) -> tuple[int, str]:
            def chunks() -> Chunks:
                for part in range(8):
                    barrier.wait(30)
                    yield b"%d/%d " % (number, part) * 1000

            return number, sink.put(f"{number}.csv", chunks()).location

        with ThreadPoolExecutor(8) as threads:
            for number, location in threads.map(one, range(8)):
                assert subject.content(sink, location) == b"".join(b"%d/%d " % (number, p) * 1000 for p in range(8))

    def test_of_concurrent_files_of_one_name_one_wins(self, subject: SinkCase) -> None:
        """Both start while the name is free; one is stored completely, the other is a Conflict and leaves nothing."""
        sink = subject.make(False)
        barrier = threading.Barrier(2)

        def one(letter: bytes) -> bytes | None:
            def chunks() -> Iterator[bytes]:
                barrier.wait(30)
                yield letter * 100_000

            try:
                location = sink.put("file.csv", (c for c in chunks())).location
            except Conflict:
                return None
            return subject.content(sink, location)

        with ThreadPoolExecutor(2) as threads:
            results = list(threads.map(one, [b"a", b"b"]))
        winners = [r for r in results if r is not None]
        assert len(winners) == 1
        assert winners[0] in (b"a" * 100_000, b"b" * 100_000)
        assert subject.names(sink) == ["file.csv"]

    def test_a_file_of_several_parts_is_whole(self, subject: SinkCase) -> None:
        """Whatever the boundaries of chunks and parts."""
        assert len(BIG) > 2 * PART_BYTES
        sink = subject.make(False)
        receipt = sink.put("dir/big file ü+&.bin", (chunk for chunk in big()))
        assert subject.content(sink, receipt.location) == BIG
        assert (receipt.size_bytes, receipt.sha256) == (len(BIG), hashlib.sha256(BIG).hexdigest())

    @pytest.mark.parametrize("size", [PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES])
    def test_files_about_as_large_as_a_part(self, subject: SinkCase, size: int) -> None:
        """No byte is lost or duplicated at a part boundary."""
        sink = subject.make(False)
        receipt = sink.put("file.bin", (part for part in (BIG[:size],)))
        assert subject.content(sink, receipt.location) == BIG[:size]

    def test_a_source_that_fails_after_two_parts_leaves_nothing(self, subject: SinkCase) -> None:
        """The error is the source's own, no object exists, and no part of the upload is left."""
        sink = subject.make(False)
        source = Parts([PART] * 100, 90)
        with pytest.raises(Unavailable) as caught:
            sink.put("file.csv", source.chunks())
        assert caught.value is source.error
        assert subject.names(sink) == []

    @pytest.mark.parametrize(
        ("start", "end"), [(0, None), (0, 1), (5, 99), (1_000_000, 9_000_000), (len(BIG) - 1, None)]
    )
    def test_any_range_can_be_read_back(self, subject: SinkCase, start: int, end: int | None) -> None:
        """From ``start`` up to ``end``, exclusive."""
        sink = subject.make(False)
        receipt = sink.put("file.bin", (chunk for chunk in big()))
        assert b"".join(bytes(chunk) for chunk in sink.open(receipt.location, start, end)) == BIG[start:end]

    def test_an_empty_file_can_be_read_back(self, subject: SinkCase) -> None:
        """It has no bytes, and that is not an error."""
        sink = subject.make(False)
        receipt = sink.put("file.csv", Parts([]).chunks())
        assert b"".join(sink.open(receipt.location)) == b""

    def test_a_removed_file_cannot_be_read(self, subject: SinkCase) -> None:
        """NotFound, and removing it twice is not an error."""
        sink = subject.make(False)
        receipt = sink.put("file.csv", Parts([PART]).chunks())
        sink.remove(receipt.location)
        sink.remove(receipt.location)
        with pytest.raises(NotFound):
            next(sink.open(receipt.location))
        assert subject.names(sink) == []

    def test_removing_by_name_is_the_same(self, subject: SinkCase) -> None:
        """Leftovers of an attempt are known only by name."""
        sink = subject.make(False)
        sink.put("dir/file.csv", Parts([PART]).chunks())
        sink.put("dir/file.csv.gz", Parts([PART]).chunks())
        sink.remove("dir/file.csv")
        assert subject.names(sink) == ["dir/file.csv.gz"]

    def test_a_sweep_deletes_what_is_old_enough(self, subject: SinkCase) -> None:
        """No newer file, and every file once it is old enough."""
        sink = subject.make(False)
        sink.put("dir/file.csv", Parts([PART]).chunks())
        assert sink.sweep(3600, time.time()) == []
        assert len(sink.sweep(3600, time.time() + 7300)) == 1
        assert subject.names(sink) == []

    @pytest.mark.parametrize("name", ["", "/etc/passwd", "../up", "a//b", "a/./b", "a/../../b"])
    def test_no_name_leads_out_of_the_store(self, subject: SinkCase, name: str) -> None:
        """Callers' text never becomes a path, and if it did, it would be refused."""
        sink = subject.make(False)
        with pytest.raises(Refused):
            sink.put(name, Parts([b"x"]).chunks())
        assert subject.names(sink) == []

    def test_no_location_leads_out_of_the_store(self, subject: SinkCase) -> None:
        sink = subject.make(False)
        place = sink.put("file.csv", Parts([b"x"]).chunks()).location.removesuffix("file.csv")
        for location in (f"{place}../file.csv", f"{place}a/../../file.csv"):
            with pytest.raises((Refused, NotFound)):
                sink.put(location, Parts([b"x"]).chunks())
            with pytest.raises((Refused, NotFound)):
                b"".join(sink.open(location))
        assert subject.names(sink) == ["file.csv"]

    @pytest.mark.parametrize("content", [b"small\n", BIG], ids=["one request", "parts"])
    def test_a_signed_url_gives_anybody_the_file_under_its_name(self, subject: SinkCase, content: bytes) -> None:
        """Media type and file name are as a browser needs them; a changed URL is rejected."""
        sink = subject.make(False)
        about = About("text/csv; charset=utf-8", 'Zahlen "Köln" 2026.csv')
        receipt = sink.put("file.csv", (part for part in (content,)), about)
        signed = sink.url(receipt.location, 600, about)
        assert (signed is not None) is subject.links
        if signed is None:
            return
        assert 590 <= signed.expires_s <= 600
        assert signed.url not in repr(signed)
        with urllib.request.urlopen(signed.url) as response:
            assert response.read() == content
            assert response.headers["Content-Type"] == about.media_type
            assert "filename*=UTF-8''Zahlen%20%22K%C3%B6ln%22%202026.csv" in response.headers["Content-Disposition"]
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(signed.url.replace("file.csv", "other.csv", 1))
        caught.value.close()
        assert caught.value.code in (403, 404)

    def test_the_headers_of_an_object_describe_it(self, subject: SinkCase) -> None:
        """A presigned URL without a file description responds with the stored headers."""
        sink = subject.make(False)
        receipt = sink.put("file.csv", Parts([b"a\n"]).chunks(), About("text/csv; charset=utf-8", "n.csv"))
        signed = sink.url(receipt.location, 60)
        if signed is None:
            return
        with urllib.request.urlopen(signed.url) as response:
            assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
            assert "n.csv" in response.headers["Content-Disposition"]
