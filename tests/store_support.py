"""Every kind of store with a sink over it and the eyes of somebody else: the clouds' own libraries and servers."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from azurite_server import Azurite
from ceph_server import Ceph
from fluxport.sinks._http import HttpOptions
from fluxport.sinks._sigv4 import Credentials
from fluxport.sinks.azure import AzureOptions, AzureSink
from fluxport.sinks.gcs import GcsOptions, GcsSink
from fluxport.sinks.local import LocalOptions, LocalSink
from fluxport.sinks.memory import MemoryOptions, MemorySink
from fluxport.sinks.objects import ObjectOptions
from fluxport.sinks.oss import OssOptions, OssSink
from fluxport.sinks.s3 import S3Options, S3Sink
from fluxport.sinks.sftp import SftpOptions, SftpSink
from fluxport.stages import Sink
from object_double import GoogleIdentity, ObjectDouble, oss_verifier
from sftp_server import Sftp

BUCKET = "fluxport-tests"
PART_BYTES = 5 << 20
QUICK = HttpOptions(timeout_s=5.0, connect_timeout_s=2.0, tries_max=4, retry_first_s=0.02, retry_most_s=0.1)
OSS_KEY, OSS_SECRET, OSS_REGION = "FLUXPORTOSSKEY", "an-oss-secret-of-the-tests", "cn-hangzhou"


class Store(NamedTuple):
    """A sink and two ways to look at it that are not its own ``put``; ``unfinished`` counts uploads left behind."""

    make: Callable[[bool], Sink]
    content: Callable[[Sink, str], bytes]
    names: Callable[[Sink], list[str]]
    unfinished: Callable[[], int] = lambda: 0


def local(root: Path) -> Store:
    return Store(
        lambda overwrite: LocalSink(root, LocalOptions(overwrite=overwrite)),
        lambda sink, location: Path(location).read_bytes(),
        lambda sink: sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()),
    )


def memory() -> Store:
    def files(sink: Sink) -> MemorySink:
        assert isinstance(sink, MemorySink)
        return sink

    return Store(
        lambda overwrite: MemorySink(MemoryOptions(overwrite=overwrite)),
        lambda sink, location: files(sink).get(location),
        lambda sink: files(sink).names(),
    )


def objects(overwrite: bool, prefix: str) -> ObjectOptions:
    return ObjectOptions(prefix=prefix, overwrite=overwrite, part_bytes=PART_BYTES)


def boto(ceph: Ceph) -> Any:
    """Amazon's library at the server, with the bucket made."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=ceph.endpoint,
        aws_access_key_id=ceph.access_key,
        aws_secret_access_key=ceph.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )
    client.create_bucket(Bucket=BUCKET)
    return client


def s3_environ(ceph: Ceph) -> dict[str, str]:
    """Settings by the names that FluxQuery's deployments set."""
    return {
        "STORAGE_TYPE": "s3",
        "S3_BUCKET": BUCKET,
        "S3_ENDPOINT": ceph.endpoint,
        "S3_PATH_STYLE": "true",
        "AWS_REGION": ceph.region,
        "AWS_ACCESS_KEY_ID": ceph.access_key,
        "AWS_SECRET_ACCESS_KEY": ceph.secret_key,
    }


def s3_options(ceph: Ceph, prefix: str = "", overwrite: bool = False, **more: Any) -> S3Options:
    known = Credentials(ceph.access_key, ceph.secret_key)
    given: dict[str, Any] = {"endpoint": ceph.endpoint, "http": QUICK, "credentials": lambda: known} | more
    return S3Options(bucket=BUCKET, region=ceph.region, objects=objects(overwrite, prefix), **given)


def s3_double(**how: Any) -> ObjectDouble:
    """As S3 of one kind or another; its signatures are for Ceph to look at."""
    double = ObjectDouble("x-amz-", lambda asked, bucket, key: None)
    for name, value in how.items():
        setattr(double, name, value)
    return double


def s3_at(double: ObjectDouble, overwrite: bool = False, **more: Any) -> S3Sink:
    known = Credentials("a-key", "a-secret")
    given: dict[str, Any] = {"endpoint": double.endpoint, "http": QUICK, "credentials": lambda: known} | more
    return S3Sink(S3Options(bucket=BUCKET, objects=objects(overwrite, ""), **given))


def s3(ceph: Ceph) -> Store:
    client, prefix = boto(ceph), f"{secrets.token_hex(6)}/"
    root = f"s3://{BUCKET}/"
    return Store(
        lambda overwrite: S3Sink(s3_options(ceph, prefix, overwrite)),
        lambda sink, location: client.get_object(Bucket=BUCKET, Key=location.removeprefix(root))["Body"].read(),
        lambda sink: [
            found["Key"].removeprefix(prefix)
            for found in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        ],
        lambda: len(client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads", [])),
    )


def azure(azurite: Azurite) -> Store:
    from azure.core.exceptions import ResourceExistsError
    from azure.storage.blob import BlobServiceClient

    service = BlobServiceClient(azurite.endpoint, credential=azurite.key)
    container = service.get_container_client(BUCKET)
    with contextlib.suppress(ResourceExistsError):
        container.create_container()
    prefix, root = f"{secrets.token_hex(6)}/", f"az://{BUCKET}/"
    return Store(
        lambda overwrite: AzureSink(azure_options(azurite, prefix, overwrite)),
        lambda sink, location: container.download_blob(location.removeprefix(root)).readall(),
        lambda sink: [blob.name.removeprefix(prefix) for blob in container.list_blobs(name_starts_with=prefix)],
    )


def azure_options(azurite: Azurite, prefix: str = "", overwrite: bool = False, **more: Any) -> AzureOptions:
    given: dict[str, Any] = {"account_key": azurite.key} | more
    return AzureOptions(
        container=BUCKET,
        account=azurite.account,
        endpoint=azurite.endpoint,
        http=QUICK,
        objects=objects(overwrite, prefix),
        **given,
    )


def sftp_options(server: Sftp, folder: str = "", overwrite: bool = False) -> SftpOptions:
    return SftpOptions(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        path=f"/{folder}",
        known_hosts=str(server.known_hosts),
        overwrite=overwrite,
    )


def sftp(server: Sftp) -> Store:
    folder = secrets.token_hex(6)
    (server.folder / folder).mkdir()
    root = f"sftp://{server.host}"
    return Store(
        lambda overwrite: SftpSink(sftp_options(server, folder, overwrite)),
        lambda sink, location: (server.folder / location.removeprefix(root).lstrip("/")).read_bytes(),
        lambda sink: sorted(
            str(p.relative_to(server.folder / folder)) for p in (server.folder / folder).rglob("*") if p.is_file()
        ),
    )


def oss_double() -> ObjectDouble:
    return ObjectDouble("x-oss-", oss_verifier(OSS_KEY, OSS_SECRET, OSS_REGION))


def oss_options(double: ObjectDouble, prefix: str = "", overwrite: bool = False, **more: Any) -> OssOptions:
    given: dict[str, Any] = {"access_key_id": OSS_KEY, "access_key_secret": OSS_SECRET, "region": OSS_REGION} | more
    return OssOptions(bucket=BUCKET, endpoint=double.endpoint, http=QUICK, objects=objects(overwrite, prefix), **given)


def gcs_options(double: ObjectDouble, file: Path, overwrite: bool = False, **more: Any) -> GcsOptions:
    given: dict[str, Any] = {"credentials_file": str(file)} | more
    return GcsOptions(bucket=BUCKET, endpoint=double.endpoint, http=QUICK, objects=objects(overwrite, ""), **given)


def doubled(double: ObjectDouble, make: Callable[[bool], Sink]) -> Store:
    def key(location: str) -> str:
        return location.partition(f"://{BUCKET}/")[2]

    return Store(
        make,
        lambda sink, location: double.objects[key(location)].data,
        lambda sink: sorted(double.objects),
        lambda: len(double.uploads),
    )


def oss(double: ObjectDouble) -> Store:
    return doubled(double, lambda overwrite: OssSink(oss_options(double, "", overwrite)))


def gcs(double: ObjectDouble, identity: GoogleIdentity, token_url: str, folder: Path) -> Store:
    file = folder / "account.json"
    file.write_text(json.dumps(identity.account(token_url)))
    return doubled(double, lambda overwrite: GcsSink(gcs_options(double, file, overwrite)))
