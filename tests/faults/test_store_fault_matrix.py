"""Faults of the store over kinds of databases, stores and formats: an export completes once, with one file that holds
every row, and each attempt before has its reason, or it leaves nothing.

Each scenario covers every format and every database; a file goes to S3 by one request, or in parts of 5 MiB."""

from __future__ import annotations

import contextlib
import math
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ceph_server import Ceph
from export_places import FORMATS, QUERY, WIDE_QUERY, Files, Place, in_folder
from fault_proxy import Fault, FaultProxy
from fluxport.sinks.local import LocalSink
from identity_support import DATABASES
from mysql_support import wait_until
from object_double import ObjectDouble, Request
from own_servers import free_port
from private_mounts import on_tmpfs, remount, seen_by
from store_support import s3_double

# Where connections stall; and where retries cannot succeed, so that they end soon.
IMPATIENT, FEW_TRIES = {"FLUXPORT_STORES__LOCAL__TIMEOUT_S": "3"}, {"FLUXPORT_STORES__LOCAL__TRIES_MAX": "2"}
PART_BYTES = {"FLUXPORT_STORES__LOCAL__PART_BYTES": str(5 << 20)}
IN_ONE_REQUEST, IN_PARTS = (QUERY, 5_000), (WIDE_QUERY, 2_000_000)  # and after how many bytes connections break


def meets(store: str, first: int, **by_format: Any) -> pytest.MarkDecorator:
    """Each format over that kind of store, with its value of ``by_format``, on alternating databases."""
    cases = []
    for number, format_ in enumerate(FORMATS):
        database = DATABASES[(first + number) % len(DATABASES)]
        more = [given[number] for given in by_format.values()]
        cases.append(pytest.param((database, store), format_, *more, id=f"{database}-{store}-{format_}"))
    return pytest.mark.parametrize(("place", "format_", *by_format), cases, indirect=["place"], scope="module")


# -- S3 --------------------------------------------------------------------------------------------------------------


@meets("s3", 0, fault=["fin", "rst", "stall", "fin"])
def test_connections_that_break_while_a_file_is_sent_are_retried(
    place: Place, ceph: Ceph, format_: str, fault: Fault
) -> None:
    query, after_bytes = IN_ONE_REQUEST
    with FaultProxy(ceph.endpoint, fault, after_bytes, upward=True, connections=2) as broken:
        with place.worker(S3_ENDPOINT=broken.url, **IMPATIENT):
            place.completed_once(place.submitted(format_, query), format_, [])
        assert broken.faulted.is_set()


@meets("s3", 1, fault=["rst", "stall", "fin", "rst"])
def test_connections_that_break_while_parts_are_sent_are_retried(
    place: Place, ceph: Ceph, format_: str, fault: Fault
) -> None:
    query, after_bytes = IN_PARTS
    with FaultProxy(ceph.endpoint, fault, after_bytes, upward=True, connections=2) as broken:
        with place.worker(S3_ENDPOINT=broken.url, **IMPATIENT, **PART_BYTES):
            place.completed_once(place.submitted(format_, query), format_, [])
        assert broken.faulted.is_set()


@meets("s3", 0)
def test_a_store_that_cannot_be_reached_ends_an_export_that_leaves_nothing(place: Place, format_: str) -> None:
    with place.worker(S3_ENDPOINT=f"http://127.0.0.1:{free_port()}", **FEW_TRIES):
        place.failed_and_left_nothing(place.submitted(format_), ["store_unreachable"] * 3)


@meets("s3", 1, sent=[IN_PARTS, IN_ONE_REQUEST, IN_ONE_REQUEST, IN_PARTS])
def test_a_store_that_always_breaks_off_ends_an_export_that_leaves_nothing(
    place: Place, ceph: Ceph, format_: str, sent: tuple[str, int]
) -> None:
    query, after_bytes = sent
    with FaultProxy(ceph.endpoint, "fin", after_bytes, upward=True) as broken:
        with place.worker(S3_ENDPOINT=broken.url, **FEW_TRIES, **PART_BYTES):
            place.failed_and_left_nothing(place.submitted(format_, query), ["store_unreachable"] * 3)
        assert broken.faulted.is_set()


@meets("s3", 0, sent=[IN_ONE_REQUEST, IN_PARTS, IN_PARTS, IN_ONE_REQUEST])
def test_an_export_whose_store_comes_back_after_the_first_attempt(
    place: Place, ceph: Ceph, format_: str, sent: tuple[str, int]
) -> None:
    query, after_bytes = sent
    tries = {"FLUXPORT_STORES__LOCAL__TRIES_MAX": "1", "FLUXPORT_STORES__LOCAL__PARTS_AT_ONCE": "1"}
    with FaultProxy(ceph.endpoint, "rst", after_bytes, upward=True, connections=1) as broken:
        with place.worker(S3_ENDPOINT=broken.url, **PART_BYTES, **tries):
            place.completed_once(place.submitted(format_, query), format_, ["store_unreachable"])
        assert broken.faulted.is_set()


def put(request: Request) -> bool:
    return request.method == "PUT" and not request.query


def second_part(request: Request) -> bool:
    return request.query.get("partNumber") == "2"


def completion(request: Request) -> bool:
    return request.method == "POST" and "uploadId" in request.query


@meets("s3", 1, query=[QUERY, WIDE_QUERY, WIDE_QUERY, QUERY], damaged=[put, second_part, completion, put])
def test_an_export_of_which_the_store_holds_another_byte_at_first(
    place: Place, format_: str, query: str, damaged: Callable[[Request], bool]
) -> None:
    with s3_double().running() as double:
        place = replace(place, files=in_double(double))
        with place.worker(S3_ENDPOINT=double.endpoint, **PART_BYTES):
            export_id = place.submitted(format_, query)
            double.damages = lambda request: damaged(request) and f"{export_id}." in request.path
            place.completed_once(export_id, format_, ["store_differs"])


def in_double(double: ObjectDouble) -> Files:
    return Files(
        lambda export_id: [stored.data for key, stored in double.objects.items() if export_id in key],
        lambda: len(double.uploads),
    )


@contextlib.contextmanager
def stalled_upload(
    place: Place, ceph: Ceph, format_: str, sent: tuple[str, int], **settings: str
) -> Iterator[tuple[str, Any]]:
    """An export whose upload stalls because the store reads no more of it, and its worker."""
    query, after_bytes = sent
    with FaultProxy(ceph.endpoint, "stall", after_bytes, upward=True) as stalling:
        with place.worker(S3_ENDPOINT=stalling.url, **PART_BYTES, **settings) as worker:
            export_id = place.submitted(format_, query)
            assert stalling.faulted.wait(60)
            place.runs(export_id)
            yield export_id, worker


@meets("s3", 0, sent=[IN_PARTS, IN_PARTS, IN_ONE_REQUEST, IN_ONE_REQUEST])
def test_an_export_whose_worker_is_killed_while_the_file_is_sent(
    place: Place, ceph: Ceph, format_: str, sent: tuple[str, int]
) -> None:
    with stalled_upload(place, ceph, format_, sent) as (export_id, worker):
        worker.kill()
        worker.wait()
    assert place.files.unfinished() == (sent is IN_PARTS)
    place.take_workers_for_dead()
    with place.worker():
        place.completed_once(export_id, format_, ["worker_lost"])


@meets("s3", 1, sent=[IN_ONE_REQUEST, IN_ONE_REQUEST, IN_PARTS, IN_PARTS])
def test_an_export_whose_worker_is_stopped_at_once_while_the_file_is_sent(
    place: Place, ceph: Ceph, format_: str, sent: tuple[str, int]
) -> None:
    with stalled_upload(place, ceph, format_, sent, FLUXPORT_SERVER__GRACE_S="600") as (export_id, worker):
        worker.send_signal(signal.SIGTERM)
        worker.send_signal(signal.SIGINT)
        assert wait_until(lambda: worker.poll() is not None, 60)
    with place.worker():
        place.completed_once(export_id, format_, ["worker_stopped"])


@meets("s3", 0, sent=[IN_PARTS, IN_ONE_REQUEST, IN_ONE_REQUEST, IN_PARTS])
def test_an_export_that_is_canceled_while_the_store_takes_nothing_leaves_nothing(
    place: Place, ceph: Ceph, format_: str, sent: tuple[str, int]
) -> None:
    with stalled_upload(place, ceph, format_, sent, **IMPATIENT, **FEW_TRIES) as (export_id, worker):
        place.cancel(export_id)
        assert wait_until(lambda: not place.files.unfinished(), 60)
    assert (worker.returncode, place.files.of(export_id)) == (0, [])


# -- local -----------------------------------------------------------------------------------------------------------

FREE_BYTES = {"FLUXPORT_STORES__LOCAL__FREE_BYTES_MIN": "0"}


@contextlib.contextmanager
def worker_on_disk(place: Place, size: str) -> Iterator[tuple[Place, Path, int]]:
    """A worker whose store is a file system of that size: the place with its files, that folder as others see it, and
    the worker's process."""
    exports = place.folder / "exports"
    with place.worker(partial(on_tmpfs, exports, size), **FREE_BYTES) as worker:
        seen = seen_by(worker.pid, exports)
        yield replace(place, files=in_folder(seen)), seen, worker.pid


@meets("local", 0)
def test_a_full_disk_ends_an_export_that_leaves_nothing(place: Place, format_: str) -> None:
    with worker_on_disk(place, "8k") as (place, _, _):
        place.failed_and_left_nothing(place.submitted(format_), ["store_full"] * 3)


@meets("local", 1)
def test_an_export_completes_once_space_is_freed(place: Place, format_: str) -> None:
    with worker_on_disk(place, "1m") as (place, folder, _):
        (folder / "others").write_bytes(bytes((1 << 20) - 4096))
        export_id = place.submitted(format_)
        assert wait_until(lambda: place.reasons(export_id), 60)
        (folder / "others").unlink()
        place.completed_once(export_id, format_, ["store_full"])


@meets("local", 0)
def test_a_disk_that_is_read_only_for_a_time(place: Place, format_: str) -> None:
    """An operator must repair it, so there is no automatic retry; the worker continues."""
    with worker_on_disk(place, "1m") as (place, _, pid):
        remount(pid, place.folder / "exports", "ro")
        place.failed_and_left_nothing(place.submitted(format_), ["not_writable"])
        remount(pid, place.folder / "exports", "rw")
        place.completed_once(place.submitted(format_), format_, [])


@meets("local", 1)
def test_a_folder_that_is_away_for_a_time(place: Place, source: str, format_: str) -> None:
    """Also while a file grows in it: a sweep removes what remains of it."""
    exports, elsewhere = place.folder / "exports", place.folder / "elsewhere"
    slow = FaultProxy(source, "slow", 20_000, slow_bytes_s=200_000, connections=1)
    with slow, place.worker(MYSQL_DSN=slow.url):
        export_id = place.submitted(format_)
        assert slow.faulted.wait(60)
        assert wait_until(place.files.unfinished, 60)
        exports.rename(elsewhere)
        for found in (export_id, place.submitted(format_)):
            place.failed_and_left_nothing(found, ["not_writable"])
        elsewhere.rename(exports)
        assert len(LocalSink(exports).sweep(math.inf, 0.0)) == 1
        place.completed_once(place.submitted(format_), format_, [])
