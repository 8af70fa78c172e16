"""Every kind of store with a sink over it, and the clouds' own libraries to inspect it."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from azurite_server import Azurite
from ceph_server import Ceph
from fluxport.settings import Secret
from fluxport.sinks.azure import AzureOptions, AzureSink
from fluxport.sinks.gcs import GcsOptions, GcsSink
from fluxport.sinks.local import LocalSink
from fluxport.sinks.memory import MemorySink
from fluxport.sinks.oss import OssOptions, OssSink
from fluxport.sinks.s3 import S3Options, S3Sink
from fluxport.sinks.sftp import SftpOptions, SftpSink
from fluxport.sinks.webdav import WebdavOptions, WebdavSink
from fluxport.stages import Sink
from fluxport.testing import SinkCase
from fluxport.testing.sinks import PART_BYTES
from object_double import GoogleIdentity, ObjectDouble, oss_verifier
from sftp_server import Sftp
from webdav_server import Webdav

BUCKET = "fluxport-tests"
QUICK: dict[str, Any] = {
    "timeout_s": 5.0,
    "connect_timeout_s": 2.0,
    "tries_max": 4,
    "retry_first_s": 0.02,
    "retry_most_s": 0.1,
}
OSS_KEY, OSS_SECRET, OSS_REGION = "FLUXPORTOSSKEY", "an-oss-secret-of-the-tests", "cn-hangzhou"


def local(root: Path) -> SinkCase:
    return SinkCase(
        lambda overwrite: LocalSink(root, overwrite=overwrite),
        lambda sink, location: Path(location).read_bytes(),
        lambda sink: sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()),
    )


def memory() -> SinkCase:
    def files(sink: Sink) -> MemorySink:
        assert isinstance(sink, MemorySink)
        return sink

    return SinkCase(
        lambda overwrite: MemorySink(overwrite=overwrite),
        lambda sink, location: files(sink).get(location),
        lambda sink: files(sink).names(),
    )


def objects(more: dict[str, Any]) -> dict[str, Any]:
    """Settings of an object store under test."""
    return {"bucket": BUCKET, "prefix": "", "part_bytes": PART_BYTES, **QUICK, **more}


def boto(ceph: Ceph) -> Any:
    """Amazon's library at the server, with the bucket created."""
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


def s3_options(ceph: Ceph, prefix: str = "", **more: Any) -> S3Options:
    key = {"access_key_id": ceph.access_key, "secret_access_key": Secret(ceph.secret_key), "region": ceph.region}
    return S3Options(**objects({"endpoint": ceph.endpoint, "prefix": prefix, **key, **more}))


def s3_double(**how: Any) -> ObjectDouble:
    """A double of S3; signatures are verified by the tests with Ceph."""
    double = ObjectDouble("x-amz-", lambda request, bucket, key: None)
    for name, value in how.items():
        setattr(double, name, value)
    return double


def s3_at(double: ObjectDouble, overwrite: bool = False, **more: Any) -> S3Sink:
    key = {"access_key_id": "a-key", "secret_access_key": Secret("a-secret")}
    return S3Sink(S3Options(**objects({"endpoint": double.endpoint, **key, **more})), overwrite=overwrite)


def s3(ceph: Ceph) -> SinkCase:
    client, prefix = boto(ceph), f"{secrets.token_hex(6)}/"
    root = f"s3://{BUCKET}/"
    return SinkCase(
        lambda overwrite: S3Sink(s3_options(ceph, prefix), overwrite=overwrite),
        lambda sink, location: client.get_object(Bucket=BUCKET, Key=location.removeprefix(root))["Body"].read(),
        lambda sink: [
            found["Key"].removeprefix(prefix)
            for found in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        ],
        lambda: len(client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads", [])),
        links=True,
    )


def azure(azurite: Azurite) -> SinkCase:
    from azure.core.exceptions import ResourceExistsError
    from azure.storage.blob import BlobServiceClient

    service = BlobServiceClient(azurite.endpoint, credential=azurite.key)
    container = service.get_container_client(BUCKET)
    with contextlib.suppress(ResourceExistsError):
        container.create_container()
    prefix, root = f"{secrets.token_hex(6)}/", f"az://{BUCKET}/"
    return SinkCase(
        lambda overwrite: AzureSink(azure_options(azurite, prefix), overwrite=overwrite),
        lambda sink, location: container.download_blob(location.removeprefix(root)).readall(),
        lambda sink: [blob.name.removeprefix(prefix) for blob in container.list_blobs(name_starts_with=prefix)],
        links=True,
    )


def azure_options(azurite: Azurite, prefix: str = "", **more: Any) -> AzureOptions:
    account = {"account": azurite.account, "account_key": Secret(azurite.key), "endpoint": azurite.endpoint}
    return AzureOptions(**objects({"prefix": prefix, **account, **more}))


def sftp_options(server: Sftp, folder: str = "") -> SftpOptions:
    return SftpOptions(
        host=server.host,
        port=server.port,
        user=server.user,
        password=Secret(server.password),
        path=Path("/", folder),
        known_hosts=server.known_hosts,
    )


def sftp(server: Sftp) -> SinkCase:
    folder = secrets.token_hex(6)
    (server.folder / folder).mkdir()
    root = f"sftp://{server.host}"
    return SinkCase(
        lambda overwrite: SftpSink(sftp_options(server, folder), overwrite=overwrite),
        lambda sink, location: (server.folder / location.removeprefix(root).lstrip("/")).read_bytes(),
        lambda sink: sorted(
            str(p.relative_to(server.folder / folder)) for p in (server.folder / folder).rglob("*") if p.is_file()
        ),
    )


def webdav_options(server: Webdav, folder: str) -> WebdavOptions:
    secret = Secret(server.password)
    return WebdavOptions(url=f"{server.url}/{folder}", user=server.user, password=secret, **QUICK)


def webdav(server: Webdav) -> SinkCase:
    folder = secrets.token_hex(6)
    (server.folder / folder).mkdir()
    root = f"{server.url}/"
    return SinkCase(
        lambda overwrite: WebdavSink(webdav_options(server, folder), overwrite=overwrite),
        lambda sink, location: (server.folder / unquote(location.removeprefix(root))).read_bytes(),
        lambda sink: sorted(
            str(p.relative_to(server.folder / folder))
            for p in (server.folder / folder).rglob("*")
            if p.is_file() and not p.name.startswith(".davfs.")  # Apache's own, until it has seen a connection end
        ),
    )


def oss_double() -> ObjectDouble:
    return ObjectDouble("x-oss-", oss_verifier(OSS_KEY, OSS_SECRET, OSS_REGION))


def oss_options(double: ObjectDouble, **more: Any) -> OssOptions:
    key = {"access_key_id": OSS_KEY, "secret_access_key": Secret(OSS_SECRET), "region": OSS_REGION}
    return OssOptions(**objects({"endpoint": double.endpoint, **key, **more}))


def gcs_options(double: ObjectDouble, file: Path) -> GcsOptions:
    return GcsOptions(**objects({"endpoint": double.endpoint, "credentials_file": file}))


def doubled(double: ObjectDouble, make: Callable[[bool], Sink]) -> SinkCase:
    def key(location: str) -> str:
        return location.partition(f"://{BUCKET}/")[2]

    return SinkCase(
        make,
        lambda sink, location: double.objects[key(location)].data,
        lambda sink: sorted(double.objects),
        lambda: len(double.uploads),
        links=True,
    )


def oss(double: ObjectDouble) -> SinkCase:
    return doubled(double, lambda overwrite: OssSink(oss_options(double), overwrite=overwrite))


def gcs(double: ObjectDouble, identity: GoogleIdentity, token_url: str, folder: Path) -> SinkCase:
    file = folder / "account.json"
    file.write_text(json.dumps(identity.account(token_url)))
    return doubled(double, lambda overwrite: GcsSink(gcs_options(double, file), overwrite=overwrite))
