"""The spool: in order and complete, within its limits, in an unnamed file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxport.errors import Canceled, LimitExceeded, Unavailable
from fluxport.jobs.spool import BLOCK_BYTES, Spool, Spooled, SpoolOptions, whole
from fluxport.stages import Chunks


def pieces(count: int, size: int = 100_000) -> list[bytes]:
    return [bytes([65 + number % 26]) * (size + number) for number in range(count)]


def chunks(data: list[bytes]) -> Chunks:
    yield from data


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(SpoolOptions(bytes_max=1 << 20, all_bytes_max=2 << 20, folder=tmp_path))
    yield made
    assert list(tmp_path.iterdir()) == []
    made.close()


def read(spooled: Spooled) -> bytes:
    return b"".join(spooled.chunks(lambda: None))


def test_what_goes_in_comes_out_in_order_while_it_is_written(spool: Spool) -> None:
    """Ten times the capacity: the writer waits for the reader."""
    data, spooled = pieces(100), Spooled(spool)

    def write() -> None:
        for piece in data:
            spooled.write(piece, wait=True)
        spooled.end()

    writer = threading.Thread(target=write)
    writer.start()
    assert read(spooled) == b"".join(data)
    writer.join()


def test_several_responses_share_the_file_without_mixing(spool: Spool) -> None:
    first, second = Spooled(spool), Spooled(spool)
    for number in range(8):
        first.write(b"a" * BLOCK_BYTES, wait=False)
        second.write(b"b" * number, wait=False)
    first.end()
    second.end()
    assert read(second) == b"b" * 28
    assert read(first) == b"a" * 8 * BLOCK_BYTES


def test_whole_gives_nothing_before_all_of_it_is_there(spool: Spool) -> None:
    data, spooled = pieces(5), Spooled(spool)
    given = list(whole(chunks(data), spooled))
    assert given[:5] == [b""] * 5
    assert b"".join(given) == b"".join(data)
    assert spooled.size_bytes == sum(map(len, data))


def test_a_response_over_its_share_is_refused_and_frees_its_space(spool: Spool) -> None:
    for _ in range(5):
        with pytest.raises(LimitExceeded) as refused:
            list(whole(chunks(pieces(20)), Spooled(spool)))
        assert refused.value.code == "spool_too_small"


def test_where_others_use_the_space_it_is_retried_later(spool: Spool) -> None:
    others = [Spooled(spool) for _ in range(2)]
    for other in others:
        for _ in range(16):
            other.write(b"a" * BLOCK_BYTES, wait=False)
    with pytest.raises(Unavailable) as refused:
        list(whole(chunks(pieces(1)), Spooled(spool)))
    assert (refused.value.code, refused.value.status) == ("spool_full", 503)
    others[0].close()
    assert b"".join(whole(chunks(pieces(1)), Spooled(spool))) == pieces(1)[0]


def test_an_error_reaches_reader_and_writer_before_what_is_left(spool: Spool) -> None:
    spooled = Spooled(spool)
    spooled.write(b"a", wait=True)
    spooled.fail(Canceled("ended"))
    with pytest.raises(Canceled):
        read(spooled)
    with pytest.raises(Canceled):
        spooled.write(b"b", wait=True)
    spooled.close()


def test_a_missing_folder_fails_with_one_sentence(tmp_path: Path) -> None:
    spooled = Spooled(Spool(SpoolOptions(folder=tmp_path / "nowhere")))
    with pytest.raises(Unavailable) as failed:
        spooled.write(b"a", wait=False)
    assert failed.value.code == "spool_failed"
    assert str(tmp_path) not in failed.value.message
