"""Stores that hold other bytes than they were sent: the digest that they report is compared, and nothing remains."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

import store_support as stores
from azurite_server import Azurite
from ceph_server import Ceph
from damaging_proxy import damaging_proxy
from fluxport.errors import Unavailable
from fluxport.settings import Secret
from fluxport.sinks.azure import AzureSink
from fluxport.sinks.gcs import GcsOptions, GcsSink
from fluxport.sinks.local import LocalSink
from fluxport.sinks.memory import MemorySink
from fluxport.sinks.oss import OssSink
from fluxport.sinks.s3 import S3Sink
from fluxport.sinks.sftp import SftpSink
from fluxport.stages import Chunks, Sink
from fluxport.testing.sinks import PART_BYTES
from object_double import ObjectDouble, Request
from sftp_server import Sftp

SMALL = os.urandom(300_000)
LARGE = os.urandom(2 * PART_BYTES + 1000)


def once(data: bytes) -> Chunks:
    yield data


def is_small(requested: Request) -> bool:
    return requested.method == "PUT" and not requested.query


def is_second_part(requested: Request) -> bool:
    return requested.query.get("partNumber") == "2"


def is_complete(requested: Request) -> bool:
    return requested.method == "POST" and "uploadId" in requested.query


class Kind(NamedTuple):
    """A double, the sink over it, and how it confirms a file of one request and one of several."""

    double: Callable[[], ObjectDouble]
    sink: Callable[[ObjectDouble], Sink]
    small: str
    large: str


def gcs_at(double: ObjectDouble) -> Sink:
    return GcsSink(GcsOptions(**stores.objects({"endpoint": double.endpoint})))


KINDS = {
    "s3 with checksums": Kind(stores.s3_double, stores.s3_at, "sha256", "sha256"),
    "s3 that ignores checksums": Kind(lambda: stores.s3_double(sums="ignored"), stores.s3_at, "md5", "md5"),
    "s3 that refuses checksums": Kind(lambda: stores.s3_double(sums="refused"), stores.s3_at, "md5", "md5"),
    "s3 that wants every SHA-256": Kind(
        lambda: stores.s3_double(sums="ignored", takes_unsigned=False), stores.s3_at, "md5", "md5"
    ),
    "oss": Kind(stores.oss_double, lambda double: OssSink(stores.oss_options(double)), "crc64", "crc64"),
    "gcs": Kind(lambda: ObjectDouble("x-goog-", lambda requested, bucket, key: None), gcs_at, "md5", "crc32c"),
}


@pytest.fixture(params=KINDS)
def kind(request: Any) -> Kind:
    return KINDS[request.param]


@pytest.mark.parametrize("large", [False, True], ids=["one request", "parts"])
def test_the_receipt_names_how_the_store_confirmed_the_bytes(kind: Kind, large: bool) -> None:
    """The strongest digest that the store reports."""
    with kind.double().running() as double:
        receipt = kind.sink(double).put("file.bin", once(LARGE if large else SMALL))
    assert receipt.verified == (kind.large if large else kind.small)
    assert double.objects["file.bin"].data == (LARGE if large else SMALL)


@pytest.mark.parametrize(
    ("data", "damages"),
    [(SMALL, is_small), (LARGE, is_second_part), (LARGE, is_complete)],
    ids=["one request", "a part", "at completion"],
)
def test_one_wrong_bit_in_the_store_is_a_failure_that_leaves_nothing(
    kind: Kind, data: bytes, damages: Callable[[Request], bool]
) -> None:
    """It is retried, and the second attempt succeeds."""
    with kind.double().running() as double:
        double.damages = damages
        sink = kind.sink(double)
        with pytest.raises(Unavailable) as caught:
            sink.put("file.bin", once(data))
        assert caught.value.code == "store_differs"
        assert not double.objects
        assert not double.uploads
        double.damages = lambda requested: False
        assert sink.put("file.bin", once(data)).sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["one request", "parts"])
def test_a_file_with_an_etag_that_is_not_an_md5_is_read_back_once(data: bytes) -> None:
    """The first file is read back and confirmed by its SHA-256, later ones by their size alone."""
    with stores.s3_double(sums="ignored", random_etags=True).running() as double:
        sink = stores.s3_at(double)
        assert sink.put("1.bin", once(data)).verified == "sha256"
        read = sum(requested.method == "GET" for requested in double.log)
        assert sink.put("2.bin", once(data)).verified == "size"
        assert sum(requested.method == "GET" for requested in double.log) == read == 1


def test_a_wrong_bit_behind_an_etag_that_is_not_an_md5_is_detected(tmp_path: Path) -> None:
    """The content that was read back decides."""
    with stores.s3_double(sums="ignored", random_etags=True).running() as double:
        double.damages = is_complete
        with pytest.raises(Unavailable) as caught:
            stores.s3_at(double).put("file.bin", once(LARGE))
        assert caught.value.code == "store_differs"
        assert not double.objects


def test_the_etag_of_a_kms_encrypted_object_is_ignored() -> None:
    """It is not an MD5 and the store's headers show why: nothing is read back."""
    with stores.s3_double(sums="ignored", random_etags=True).running() as double:
        sink = stores.s3_at(double, encryption="aws:kms")
        assert sink.put("file.bin", once(SMALL)).verified == "size"
        assert not any(requested.method == "GET" for requested in double.log)


def test_checksums_are_offered_once_to_a_server_that_refuses_them(caplog: pytest.LogCaptureFixture) -> None:
    """Then it is known."""
    with stores.s3_double(sums="refused").running() as double:
        sink = stores.s3_at(double)
        for number in range(3):
            sink.put(f"{number}.bin", once(SMALL))
        refused = [
            requested
            for requested in double.log
            if any(name.startswith("x-amz-checksum") for name in requested.headers)
        ]
    assert len(refused) == 1


def test_a_body_damaged_in_transit_is_sent_again() -> None:
    """The store has refused it by its MD5, and the second upload succeeds."""
    with stores.oss_double().running() as double:
        double.fails = is_second_part
        double.answers.append((400, {}, b"<Error><Code>InvalidDigest</Code></Error>"))
        receipt = OssSink(stores.oss_options(double)).put("file.bin", once(LARGE))
        assert not double.answers
    assert receipt.sha256 == hashlib.sha256(double.objects["file.bin"].data).hexdigest()


def test_a_byte_that_changes_on_its_way_to_a_real_server_is_sent_again(ceph: Ceph) -> None:
    """Ceph detects the changed body by the signature, and the part is sent again."""
    stores.boto(ceph)
    changed: list[str] = []

    def change(method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
        if "partNumber=2" not in target or changed:
            return body
        changed.append(target)
        return body[:-1] + bytes([body[-1] ^ 1])

    with damaging_proxy(ceph.endpoint, change) as url:
        receipt = S3Sink(stores.s3_options(ceph, "changed/", endpoint=url, timeout_s=60.0)).put("file.bin", once(LARGE))
    assert changed
    assert receipt.sha256 == hashlib.sha256(LARGE).hexdigest()


# -- servers and folders ---------------------------------------------------------------------------------------------


def with_sas(azurite: Azurite, url: str) -> AzureSink:
    """A sink whose requests are not signed, so that a proxy can change them."""
    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    token = generate_account_sas(
        azurite.account,
        azurite.key,
        ResourceTypes(object=True, container=True),
        AccountSasPermissions(read=True, write=True, delete=True, list=True, create=True),
        datetime.now(UTC) + timedelta(hours=1),
        protocol="https,http",
    )
    return AzureSink(
        stores.azure_options(replace(azurite, endpoint=url), "damage/", account_key=None, sas_token=Secret(token))
    )


def second_block(method: str, target: str) -> bool:
    block = parse_qs(urlsplit(target).query).get("blockid")
    return block is not None and base64.b64decode(block[0]).endswith(b"-000002")


def tells(target: str, body: bytes) -> dict[str, str]:
    """Headers that Azure sends for a block and the emulator omits."""
    return {"Content-MD5": md5(body)} if "comp=block&" in f"{target}&" else {}


def md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body).digest()).decode()


def one_request(method: str, target: str) -> bool:
    return method == "PUT" and "comp=" not in target


@pytest.mark.parametrize(
    ("data", "picked"), [(SMALL, one_request), (LARGE, second_block)], ids=["one request", "a part"]
)
def test_one_wrong_bit_in_azure_is_a_failure_that_leaves_nothing(
    azurite: Azurite, data: bytes, picked: Callable[[str, str], bool]
) -> None:
    """Detected by the MD5 of each body in Azure's response."""
    store = stores.azure(azurite)

    def change(method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
        if not picked(method, target):
            return body
        changed = body[:-1] + bytes([body[-1] ^ 1])
        headers["content-md5"] = md5(changed)
        return changed

    with damaging_proxy(azurite.endpoint, change, tells) as url:
        sink = with_sas(azurite, url)
        with pytest.raises(Unavailable) as caught:
            sink.put("file.bin", once(data))
    assert caught.value.code == "store_differs"
    assert not store.names(sink)


def test_a_blob_of_other_blocks_is_a_failure_that_leaves_nothing(azurite: Azurite) -> None:
    """Detected by Azure's list of the blob's blocks."""

    def change(method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
        if method == "PUT" and "comp=blocklist" in target:
            first, second, third = body.split(b"<Uncommitted>")[1:]
            third, tail = third.split(b"</BlockList>")
            head = body.partition(b"<Uncommitted>")[0]
            mark = b"<Uncommitted>"
            return head + mark + second + mark + first + mark + third + b"</BlockList>" + tail
        return body

    with damaging_proxy(azurite.endpoint, change, tells) as url:
        sink = with_sas(azurite, url)
        with pytest.raises(Unavailable) as caught:
            sink.put("blocks.bin", once(LARGE))
        assert caught.value.code == "store_differs"
    with damaging_proxy(azurite.endpoint, lambda method, target, headers, body: body, tells) as url:
        assert with_sas(azurite, url).put("blocks.bin", once(LARGE)).verified == "md5"


def while_stored(folder: Path, data: bytes) -> Chunks:
    """The data; the growing file in ``folder`` gets one wrong bit while more is pulled."""
    half = len(data) // 2
    yield data[:half]
    deadline = time.monotonic() + 60
    while not (found := [path for path in folder.rglob(".fluxport-*.part") if path.stat().st_size]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with found[0].open("r+b") as file:
        file.write(bytes([data[0] ^ 1]))
    yield data[half:]


def test_one_wrong_bit_on_an_sftp_server_that_hashes_is_a_failure_that_leaves_nothing(proftpd: Sftp) -> None:
    """ProFTPD computes the SHA-256 of what it holds."""
    (proftpd.folder / "damage").mkdir()
    sink = SftpSink(stores.sftp_options(proftpd, "damage"))
    with pytest.raises(Unavailable) as caught:
        sink.put("file.bin", while_stored(proftpd.folder / "damage", LARGE))
    assert caught.value.code == "store_differs"
    assert not list((proftpd.folder / "damage").iterdir())
    receipt = sink.put("file.bin", once(LARGE))
    assert receipt.verified == "sha256"
    assert (proftpd.folder / "damage" / "file.bin").read_bytes() == LARGE


def test_stores_without_digests_report_that_only_the_size_was_compared(sftp: Sftp, tmp_path: Path) -> None:
    """The receipt promises no more than was checked."""
    (sftp.folder / "size").mkdir()
    assert SftpSink(stores.sftp_options(sftp, "size")).put("file.bin", once(SMALL)).verified == "size"
    assert LocalSink(tmp_path).put("file.bin", once(SMALL)).verified == "size"
    assert MemorySink().put("file.bin", once(SMALL)).verified == "sha256"


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["one request", "parts"])
def test_real_servers_confirm_by_md5(ceph: Ceph, azurite: Azurite, data: bytes) -> None:
    """Ceph by its ETags, Azure by the MD5 of each body and the list of blocks; its emulator reports no MD5 of a
    block."""
    assert stores.s3(ceph).make(False).put("file.bin", once(data)).verified == "md5"
    reported = stores.azure(azurite).make(False).put("file.bin", once(data)).verified
    assert reported == ("size" if data is LARGE else "md5")
