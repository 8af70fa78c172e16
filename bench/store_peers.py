"""The peers of the store benches, each run in a separate process:

python bench/store_peers.py LIBRARY ENDPOINT KEY SECRET BUCKET OBJECT MEGABYTES
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from typing import Any

CHUNK = os.urandom(1 << 20)


def chunks(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield CHUNK


class Reader(io.RawIOBase):
    """A stream of unknown length as a readable file."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = next(self._source, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def fluxport(endpoint: str, key: str, secret: str, bucket: str, name: str, source: Iterator[bytes]) -> None:
    from fluxport.settings import Secret
    from fluxport.sinks.s3 import S3Options, S3Sink

    known = Secret(secret)
    sink = S3Sink(S3Options(bucket=bucket, prefix="", endpoint=endpoint, access_key_id=key, secret_access_key=known))
    sink.put(name, (chunk for chunk in source))


def boto3(endpoint: str, key: str, secret: str, bucket: str, name: str, source: Iterator[bytes]) -> None:
    import boto3 as library
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    client = library.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )
    parts = TransferConfig(multipart_chunksize=10_000_000, multipart_threshold=10_000_000, max_concurrency=5)
    client.upload_fileobj(io.BufferedReader(Reader(source)), bucket, name, Config=parts)


def s3fs(endpoint: str, key: str, secret: str, bucket: str, name: str, source: Iterator[bytes]) -> None:
    import s3fs as library

    system = library.S3FileSystem(endpoint_url=endpoint, key=key, secret=secret, default_block_size=10_000_000)
    with system.open(f"{bucket}/{name}", "wb", block_size=10_000_000) as file:
        for chunk in source:
            file.write(chunk)


def obstore(endpoint: str, key: str, secret: str, bucket: str, name: str, source: Iterator[bytes]) -> None:
    import obstore as library
    from obstore.store import S3Store

    store = S3Store(
        bucket,
        endpoint=endpoint,
        access_key_id=key,
        secret_access_key=secret,
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    library.put(store, name, source, chunk_size=10_000_000, max_concurrency=5)


if __name__ == "__main__":
    library, *where, megabytes = sys.argv[1:]
    endpoint, key, secret, bucket, name = where
    globals()[library](endpoint, key, secret, bucket, name, chunks(int(megabytes)))
