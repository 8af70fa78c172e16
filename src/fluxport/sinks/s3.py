"""Objects in S3, and in what speaks its protocol: Ceph, MinIO, Cloudflare R2, Wasabi and others.

Every request carries the SHA-256 of its body in its signature, which the store checks before it takes a part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fluxport.sinks._http import HttpOptions
from fluxport.sinks._rest import Place, Request, RestApi
from fluxport.sinks._sigv4 import Credentials, presigned_query, signed_headers
from fluxport.sinks.objects import ObjectOptions, ObjectSink


@dataclass(frozen=True)
class S3Options:
    """``credentials`` is asked before each request, so that temporary ones may be renewed.

    ``endpoint`` None is Amazon's of the region, where buckets are part of the host's name; elsewhere they are part of
    the path, unless ``path_style`` says otherwise. ``public_endpoint`` is what signed URLs name, where recipients reach
    the store by another name than Fluxport does.
    """

    bucket: str
    credentials: Callable[[], Credentials] = field(repr=False)
    region: str = "us-east-1"
    endpoint: str | None = None
    public_endpoint: str | None = None
    path_style: bool | None = None
    storage_class: str | None = None
    encryption: str | None = None  # AES256, aws:kms, aws:kms:dsse
    kms_key_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    http: HttpOptions = field(default_factory=HttpOptions)
    objects: ObjectOptions = field(default_factory=ObjectOptions)


class S3Sink(ObjectSink):
    def __init__(self, options: S3Options) -> None:
        super().__init__(S3Api(options), options.objects)


class S3Api(RestApi):
    """The REST API of S3, signature version 4."""

    prefix = "x-amz-"

    def __init__(self, options: S3Options) -> None:
        endpoint = options.endpoint or f"https://s3.{options.region}.amazonaws.com"
        path_style = options.path_style
        if path_style is None:
            path_style = options.endpoint is not None or "." in options.bucket  # certificates cover no further dot
        kept = {
            "storage-class": options.storage_class,
            "server-side-encryption": options.encryption,
            "server-side-encryption-aws-kms-key-id": options.kms_key_id,
        }
        place = Place("s3", options.bucket, endpoint, options.public_endpoint or endpoint, path_style)
        super().__init__(place, options.http, kept, options.tags)
        self._credentials = options.credentials
        self._region = options.region

    def sign(self, request: Request) -> dict[str, str]:
        headers = {"host": request.host, **request.headers}
        return signed_headers(
            self._credentials(),
            self._region,
            request.method,
            request.path,
            request.query,
            headers,
            request.payload_sha256,
            self._clock(),
        )

    def sign_url(self, request: Request, expires_s: int) -> tuple[str, float]:
        credentials, now = self._credentials(), self._clock()
        query = presigned_query(credentials, self._region, request.host, request.path, request.query, expires_s, now)
        # Temporary credentials take every URL with them when they end.
        works_s = expires_s if credentials.expires_at is None else min(expires_s, credentials.expires_at - now)
        return query, works_s
