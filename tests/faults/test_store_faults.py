"""Object stores with faults: every failure leaves no object and no part, or is retried with success."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import store_support as stores
from ceph_server import Ceph
from fault_proxy import FaultProxy
from fluxport.errors import FluxportError, Refused, Unavailable
from fluxport.settings import Secret
from fluxport.sinks.objects import part_bytes
from fluxport.sinks.oss import OssSink
from fluxport.sinks.s3 import S3Sink
from fluxport.stages import Chunks
from fluxport.testing.sinks import PART_BYTES
from object_double import ObjectDouble, Request
from store_support import boto, oss_options, s3_options

CHUNK = os.urandom(1 << 20)
CHUNKS = 18  # three parts and a bit


def chunks(count: int = CHUNKS) -> Chunks:
    for _ in range(count):
        yield CHUNK


def sha256(count: int = CHUNKS) -> str:
    return hashlib.sha256(CHUNK * count).hexdigest()


@pytest.fixture
def double() -> Iterator[ObjectDouble]:
    with stores.oss_double().running() as running:
        yield running


def is_part(request: Request) -> bool:
    return "partNumber" in request.query


def is_complete(request: Request) -> bool:
    return request.method == "POST" and "uploadId" in request.query


ERROR_IN_200: Any = (200, {}, b"<?xml version='1.0'?><Error><Code>InternalError</Code></Error>")


@pytest.mark.parametrize(
    ("fails", "answer"),
    [
        (is_part, (500, {}, b"")),
        (is_part, (503, {}, b"<Error><Code>SlowDown</Code></Error>")),
        (is_part, (429, {"Retry-After": "0"}, b"")),
        (is_complete, (503, {}, b"")),
        (is_complete, ERROR_IN_200),
        (lambda request: "uploads" in request.query, (502, {}, b"")),
        (lambda request: request.method == "HEAD", (503, {}, b"")),
    ],
    ids=["500 part", "503 part", "429 part", "503 complete", "error in 200", "502 begin", "503 head"],
)
def test_two_failures_of_a_request_are_retried(double: ObjectDouble, fails: Any, answer: Any) -> None:
    """Each request is retried, and the file is complete."""
    double.fails = fails
    double.answers.extend([answer, answer])
    receipt = OssSink(oss_options(double)).put("file.bin", chunks())
    assert receipt.sha256 == sha256() == hashlib.sha256(double.objects["file.bin"].data).hexdigest()
    assert not double.answers
    assert not double.uploads


@pytest.mark.parametrize("fails", [is_part, is_complete], ids=["parts", "complete"])
def test_a_store_that_never_recovers_fails_the_export(double: ObjectDouble, fails: Any) -> None:
    """Unavailable, which a job retries later, and nothing remains in the store."""
    double.fails = fails
    double.answers.extend([(503, {}, b"<Error><Code>ServiceUnavailable</Code></Error>")] * 100)
    with pytest.raises(Unavailable) as caught:
        OssSink(oss_options(double)).put("file.bin", chunks())
    assert caught.value.code == "store_failed"
    assert not double.objects
    assert not double.uploads


def test_a_lost_response_to_the_last_request_is_not_a_failure(double: ObjectDouble) -> None:
    """The store has assembled the parts; the response does not matter."""
    retained = double.answer

    def losing(request: Request) -> Any:
        answer = retained(request)
        return (500, {}, b"") if is_complete(request) else answer

    double.answer = losing  # type: ignore[method-assign]  # what the double answers is the fault
    receipt = OssSink(oss_options(double)).put("file.bin", chunks())
    assert receipt.sha256 == hashlib.sha256(double.objects["file.bin"].data).hexdigest()


def test_the_wait_is_as_long_as_the_store_says(double: ObjectDouble) -> None:
    """Retry-After overrides our own waits, which would be a tenth of a second at most."""
    double.fails = is_part
    double.answers.append((503, {"Retry-After": "1"}, b""))
    began = time.monotonic()
    OssSink(oss_options(double)).put("file.bin", chunks())
    assert time.monotonic() - began >= 1.0


def test_a_wrong_key_is_refused_before_anything_is_pulled(double: ObjectDouble) -> None:
    """It is not retried; the error names what the operator must correct, without the secret."""
    pulled: list[int] = []

    def counting() -> Chunks:
        pulled.append(1)
        yield CHUNK

    with pytest.raises(Refused) as caught:
        OssSink(oss_options(double, secret_access_key=Secret("wrong-secret"))).put("file.bin", counting())
    assert caught.value.code == "store_denied"
    assert "wrong-secret" not in str(caught.value)
    assert not pulled
    assert len(double.log) == 1


def test_a_missing_bucket_is_reported(ceph: Ceph) -> None:
    """With its own code, not as a missing file."""
    boto(ceph)
    with pytest.raises(Refused) as caught:
        S3Sink(s3_options(ceph, bucket="no-such-bucket-here")).put("file.csv", chunks(1))
    assert caught.value.code == "no_bucket"


@pytest.mark.parametrize("fault", ["fin", "rst", "stall"])
def test_connections_that_break_while_parts_are_sent_are_retried(ceph: Ceph, fault: Any) -> None:
    """The first four connections end in the middle of a part, which is sent again on others."""
    client = boto(ceph)
    prefix = f"broken-{fault}/"
    with FaultProxy(ceph.endpoint, fault, 2_000_000, upward=True, connections=4) as proxy:
        timeout_s = 2.0 if fault == "stall" else 20.0
        sink = S3Sink(s3_options(ceph, prefix, endpoint=proxy.url, timeout_s=timeout_s))
        receipt = sink.put("file.bin", chunks())
        assert proxy.faulted.is_set()
    assert receipt.sha256 == sha256()
    stored = client.get_object(Bucket=stores.BUCKET, Key=f"{prefix}file.bin")["Body"].read()
    assert hashlib.sha256(stored).hexdigest() == sha256()
    assert "Uploads" not in client.list_multipart_uploads(Bucket=stores.BUCKET, Prefix=prefix)


@pytest.mark.parametrize("fault", ["fin", "rst", "stall"])
def test_reading_goes_on_where_a_connection_broke(ceph: Ceph, fault: Any) -> None:
    """Every connection yields three megabytes and then breaks; the file is complete all the same."""
    boto(ceph)
    prefix = f"reading-{fault}/"
    receipt = S3Sink(s3_options(ceph, prefix)).put("file.bin", chunks(8))
    with FaultProxy(ceph.endpoint, fault, 3_000_000) as proxy:
        sink = S3Sink(s3_options(ceph, prefix, endpoint=proxy.url, timeout_s=0.5))
        read = hashlib.sha256()
        for chunk in sink.open(receipt.location):
            read.update(chunk)
        assert proxy.faulted.is_set()
    assert read.hexdigest() == sha256(8)


def test_a_slow_store_holds_the_source_back(ceph: Ceph) -> None:
    """No more is pulled than is buffered and sent."""
    boto(ceph)
    pulled = 0
    stop = threading.Event()

    def counting() -> Chunks:
        nonlocal pulled
        while not stop.is_set():
            pulled += len(CHUNK)
            yield CHUNK
        raise Unavailable("enough")

    with FaultProxy(ceph.endpoint, "slow", 100_000, slow_bytes_s=1_000_000, upward=True) as proxy:
        sink = S3Sink(s3_options(ceph, "slow/", endpoint=proxy.url, timeout_s=60.0))
        caught: list[BaseException] = []

        def put() -> None:
            try:
                sink.put("file.bin", counting())
            except Unavailable as error:
                caught.append(error)

        thread = threading.Thread(target=put)
        thread.start()
        assert proxy.faulted.wait(30)
        while pulled < 5 * PART_BYTES:
            time.sleep(0.01)
        time.sleep(1.0)
        held = pulled
        stop.set()
        thread.join(60)
    assert held <= 7 * PART_BYTES  # five are on their way or full, and kernels hold a little
    assert [str(error) for error in caught] == ["enough"]


def test_an_error_of_the_source_ends_parts_that_hang(ceph: Ceph) -> None:
    """The source's error is raised at once although the store reads nothing."""
    boto(ceph)
    error = Unavailable("the source went away")

    def failing() -> Chunks:
        yield from chunks(11)
        raise error

    with FaultProxy(ceph.endpoint, "stall", 2_000_000, upward=True) as proxy:
        sink = S3Sink(s3_options(ceph, "hanging/", endpoint=proxy.url, timeout_s=300.0))
        raised: list[BaseException] = []

        def put() -> None:
            try:
                sink.put("file.bin", failing())
            except FluxportError as caught:
                raised.append(caught)

        thread = threading.Thread(target=put, daemon=True)
        thread.start()
        thread.join(60)
    assert raised == [error]


KILLED = """
import sys, time
from fluxport.settings import Secret
from fluxport.sinks.s3 import S3Options, S3Sink
endpoint, bucket, key, secret, region = sys.argv[1:]
sink = S3Sink(S3Options(bucket=bucket, access_key_id=key, secret_access_key=Secret(secret), region=region,
                        endpoint=endpoint, prefix="killed/", part_bytes=5 << 20))
def chunks():
    for _ in range(11):
        yield b"x" * (1 << 20)
    print("two parts", flush=True)
    time.sleep(600)
sink.put("file.bin", chunks())
"""


def killed_upload(ceph: Ceph) -> None:
    words = [ceph.endpoint, stores.BUCKET, ceph.access_key, ceph.secret_key, ceph.region]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *words], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"two parts\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_what_a_killed_process_left_is_swept(ceph: Ceph) -> None:
    """Not while its worker may still run; then the upload is aborted and its parts are removed."""
    client = boto(ceph)
    killed_upload(ceph)

    def unfinished() -> int:
        return len(client.list_multipart_uploads(Bucket=stores.BUCKET, Prefix="killed/").get("Uploads", []))

    sink = S3Sink(s3_options(ceph, "killed/"))
    assert unfinished() == 1
    assert sink.sweep(float("inf"), time.time()) == []
    assert unfinished() == 1
    assert len(sink.sweep(float("inf"), time.time() + 2 * 86400)) == 1
    assert unfinished() == 0


def test_removing_a_name_ends_the_upload_that_was_never_finished(ceph: Ceph) -> None:
    """The attempt that follows a killed one removes its upload without waiting for a sweep."""
    client = boto(ceph)
    killed_upload(ceph)
    S3Sink(s3_options(ceph, "killed/")).remove("file.bin")
    assert "Uploads" not in client.list_multipart_uploads(Bucket=stores.BUCKET, Prefix="killed/")


def test_ten_thousand_parts_hold_five_tebibytes() -> None:
    """Parts grow, only beyond fourteen gigabytes, so that there are never too many."""
    for parts_max in (10_000, 50_000):
        sent = count = 0
        while sent < 5 << 40:
            size = part_bytes(sent, 10_000_000, parts_max)
            assert size <= 5 << 30  # what S3 takes as one part
            if sent < 14_000_000_000:
                assert size == 10_000_000
            sent += size
            count += 1
        assert count < parts_max


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Twenty times the bytes, the same growth of the process: the parts in flight."""
    program = tmp_path / "grow.py"
    program.write_text(GROWTH)
    grown = []
    with stores.oss_double().running() as double:
        double.answer = swallow(double)  # type: ignore[method-assign]  # what the double answers is the fault
        for count in (60, 1200):
            words = [sys.executable, str(program), double.endpoint, str(count)]
            reported = subprocess.run(words, check=True, capture_output=True, timeout=300).stdout
            grown.append(int(reported))
    assert grown[1] - grown[0] < 12 << 20
    assert grown[1] < 70 << 20


GROWTH = f"""
import resource, sys
from fluxport.settings import Secret
from fluxport.sinks.oss import OssOptions, OssSink
sink = OssSink(OssOptions(bucket={stores.BUCKET!r}, region={stores.OSS_REGION!r}, endpoint=sys.argv[1],
                          access_key_id={stores.OSS_KEY!r}, secret_access_key=Secret({stores.OSS_SECRET!r})))
chunk = b"x" * (1 << 20)
used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = used()
sink.put("file.bin", (chunk for _ in range(int(sys.argv[2]))))
print(used() - before)
"""


def swallow(double: ObjectDouble) -> Any:
    """Responses that accept parts and store only their size."""
    retained = double.answer
    sizes: list[int] = []

    def answer(request: Request) -> Any:
        if is_part(request):
            sizes.append(len(request.body))
            return 200, {"ETag": '"x"'}, b""
        if is_complete(request):
            return 200, {}, b"<CompleteMultipartUploadResult/>"
        if request.method == "HEAD" and sizes:
            length = str(sum(sizes))
            sizes.clear()
            return 200, {"Content-Length": length}, b""
        return retained(request)

    return answer


def test_a_store_that_ignores_ranges_gives_no_other_bytes(double: ObjectDouble) -> None:
    sink = OssSink(oss_options(double))
    receipt = sink.put("file.bin", (chunk for chunk in [bytes(range(200))]))
    double.ranges = False
    assert b"".join(sink.open(receipt.location, 0, 50)) == bytes(range(50))
    with pytest.raises(FluxportError):
        b"".join(sink.open(receipt.location, 50, 100))
