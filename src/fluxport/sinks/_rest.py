"""The calls of an object store with an S3-like API. S3, OSS and Google's XML API differ in signatures and in the names
of their own headers.

The SHA-256 of the whole file is metadata where it is known before the upload (files of one request), else a tag set at
the end.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlencode
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from fluxport.errors import FluxportError, Refused, Unavailable
from fluxport.headers import content_disposition
from fluxport.outbound import Cancel
from fluxport.sinks._http import Http, Response, settled
from fluxport.sinks._sigv4 import EMPTY_SHA256, UNSIGNED, Query, encoded_path, encoded_query
from fluxport.sinks._sums import Block, Claim, from_etag
from fluxport.sinks.object_options import HttpOptions
from fluxport.sinks.objects import SHA256, Head, Marks, Part, Unfinished, check_range, refused
from fluxport.stages import About, Chunks, SignedUrl

log = logging.getLogger("fluxport.stores")

SKEW_S = 60.0  # tolerated clock skew
NOTHING = Block(b"")


@dataclass(frozen=True)
class Request:
    """A request to sign. ``path`` is encoded, as sent; ``bucket`` and ``key`` are its decoded parts."""

    method: str
    host: str
    path: str
    bucket: str
    key: str
    query: Query
    headers: Mapping[str, str]
    payload_sha256: str = EMPTY_SHA256


@dataclass(frozen=True)
class Place:
    """The address of a bucket, in the host name or the path of an endpoint; presigned URLs use ``public``."""

    scheme: str  # of locations
    bucket: str
    endpoint: str
    public: str
    path_style: bool

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", self.bucket):
            raise Refused(f"{self.bucket!r} cannot be the name of a bucket.", code="bad_bucket")

    def base(self, endpoint: str) -> str:
        """The URL of the bucket."""
        scheme, _, rest = endpoint.rstrip("/").partition("://")
        return f"{scheme}://{rest}/{self.bucket}" if self.path_style else f"{scheme}://{self.bucket}.{rest}"


class RestApi:
    """The common part; subclasses add signatures and header names."""

    parts_max = 10_000
    prefix: ClassVar[str]  # of the store's own headers
    presign_max_s = 604_800
    tagging = True  # whether objects have tags
    hashed = False  # whether signatures cover the SHA-256 of a body
    crc: str | None = None
    etags_are_md5 = True

    def __init__(
        self, place: Place, http: HttpOptions, defaults: Mapping[str, str | None], tags: Mapping[str, str]
    ) -> None:
        """``defaults`` are headers of every object (storage class, encryption), without prefix; None omits one."""
        self._place = place
        self._http = Http(place.base(place.endpoint), http)
        self._defaults = {self.prefix + name: value for name, value in defaults.items() if value is not None}
        self._tags = tags
        self._clock = time.time
        self._untagged = False

    def location(self, key: str) -> str:
        return f"{self._place.scheme}://{self._place.bucket}/{key}"

    def sign(self, request: Request) -> dict[str, str]:
        """All headers of the request, including the signature's."""
        raise NotImplementedError

    def sign_url(self, request: Request, expires_s: int) -> tuple[str, float]:
        """The query that authorizes anyone to send this request, and its validity in seconds."""
        raise NotImplementedError

    def only_new(self) -> dict[str, str]:
        """Headers by which the store refuses to replace an object."""
        return {"if-none-match": "*"}

    @staticmethod
    def query_text(query: Query) -> str:
        """A query as sent."""
        return encoded_query(query)

    def checked(self, block: Block) -> dict[str, str]:
        """Headers by which the store checks a body, in addition to the signature."""
        return block.content_md5()

    def claim(self, headers: Mapping[str, str]) -> Claim | None:
        """The store's digest of the stored bytes, from a response's headers."""
        return from_etag(headers)

    # Hooks for checksums of an upload's parts, where a store supports them: the headers that announce them, the
    # response to those, the headers of each part (``upload`` None: of a file in one request), and the XML for each part
    # in the request that completes the upload.

    def upload_headers(self) -> dict[str, str]:
        return {}

    def upload_begun(self, upload: str, response: Response) -> None: ...

    def checksum_headers(self, upload: str | None, block: Block) -> dict[str, str]:
        return {}

    def checksum_line(self, upload: str, part: Part) -> str:
        return ""

    def upload_ended(self, upload: str) -> None: ...

    # -- writing ---------------------------------------------------------------------------------------------------

    def put(self, key: str, block: Block, about: About, marks: Marks, *, new: bool) -> Claim | None:
        headers = self._described(about, marks) | self.checksum_headers(None, block) | (self.only_new() if new else {})
        return self.claim(self._call("PUT", key, headers=headers, body=block).headers)

    def begin(self, key: str, about: About, marks: Marks) -> str:
        began = self._clock()
        response = self._call("POST", key, [("uploads", "")], self._described(about, marks) | self.upload_headers())
        upload = _text(response.xml(), "UploadId")
        self.upload_begun(upload, response)
        if response.tries > 1:
            # A lost response has left another upload, whose id is unknown.
            for other in self.unfinished(key):
                if other.key == key and other.upload != upload and other.started > began - SKEW_S:
                    self.abort(key, other.upload)
        return upload

    def part(self, key: str, upload: str, number: int, block: Block, cancel: Cancel) -> tuple[str, Claim | None]:
        query = [("partNumber", str(number)), ("uploadId", upload)]
        headers = self._call("PUT", key, query, self.checksum_headers(upload, block), block, cancel=cancel).headers
        return headers.get("etag", ""), self.claim(headers)

    def complete(
        self, key: str, upload: str, parts: list[Part], about: About, marks: Marks, *, new: bool
    ) -> Claim | None:
        lines = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(part.tag)}</ETag>"
            f"{self.checksum_line(upload, part)}</Part>"
            for number, part in enumerate(parts, 1)
        )
        body = f"<CompleteMultipartUpload>{lines}</CompleteMultipartUpload>".encode()
        headers = {"content-type": "application/xml"} | (self.only_new() if new else {})

        def done(response: Response) -> bool:
            # The store sends its 200 before it has finished: an error may follow in the body.
            return settled(response) and not (response.status == 200 and _is_error(response))

        response = self._call("POST", key, [("uploadId", upload)], headers, Block(body), judge=done)
        if _is_error(response):
            raise Unavailable(
                f"The store {self._http.host} could not assemble the parts ({response.code()}).", code="store_failed"
            )
        self.upload_ended(upload)
        self._tag(key, marks)
        return self.claim(response.headers)

    def _tag(self, key: str, marks: Marks) -> None:
        """Store the SHA-256 as a tag. A store or account that does not support that only lacks the tag."""
        if not self.tagging or self._untagged or SHA256 not in marks:
            return
        tags = {**self._tags, SHA256: marks[SHA256]}
        lines = "".join(f"<Tag><Key>{escape(k)}</Key><Value>{escape(v)}</Value></Tag>" for k, v in tags.items())
        body = Block(f"<Tagging><TagSet>{lines}</TagSet></Tagging>".encode())
        try:
            self._call("PUT", key, [("tagging", "")], {"content-type": "application/xml"} | body.content_md5(), body)
        except FluxportError as error:
            self._untagged = not error.retryable
            log.warning("objects of this store get no SHA-256 tag: %s", error.message)

    def abort(self, key: str, upload: str) -> None:
        self.upload_ended(upload)
        self._call("DELETE", key, [("uploadId", upload)], known=(204, 200, 404))

    def delete(self, key: str) -> None:
        self._call("DELETE", key, known=(204, 200, 404))

    def _described(self, about: About, marks: Marks) -> dict[str, str]:
        """Headers of a new object: its type, name, tags, metadata and storage settings."""
        headers = {"content-type": about.media_type}
        if about.filename is not None:
            headers["content-disposition"] = content_disposition(about.filename)
        if self.tagging and self._tags:
            headers[self.prefix + "tagging"] = urlencode(self._tags)
        for name, value in marks.items():
            headers[f"{self.prefix}meta-{name}"] = value
        return headers | self._defaults

    # -- reading ---------------------------------------------------------------------------------------------------

    def head(self, key: str) -> Head | None:
        return self._head(key, {})

    def _head(self, key: str, headers: Mapping[str, str]) -> Head | None:
        response = self._call("HEAD", key, headers=headers, known=(200, 404))
        if response.status == 404:
            return None
        marks = self.prefix + "meta-"
        return Head(
            int(response.headers.get("content-length", "-1")),
            response.headers.get("etag", ""),
            {name[len(marks) :]: value for name, value in response.headers.items() if name.startswith(marks)},
            self.claim(response.headers),
        )

    def get(self, key: str, start: int, end: int, etag: str) -> Chunks:
        wanted = {"range": f"bytes={start}-{end - 1}", "if-match": etag}
        request = self._request("GET", key, (), wanted, EMPTY_SHA256)
        response, chunks = self._http.stream(request.path, lambda: self.sign(request))
        check_range(self._http.host, response, start)
        return chunks

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        query: list[tuple[str, str]] = [("uploads", ""), ("prefix", prefix), ("max-uploads", "1000")]
        while True:
            listing = self._call("GET", "", query).xml()
            for one in listing.iter(_tag_name(listing, "Upload")):
                yield Unfinished(_text(one, "Key"), _text(one, "UploadId"), _unix(_text(one, "Initiated")))
            if _text(listing, "IsTruncated") != "true":
                return
            query = [
                *query[:3],
                ("key-marker", _text(listing, "NextKeyMarker")),
                ("upload-id-marker", _text(listing, "NextUploadIdMarker")),
            ]

    def older(self, prefix: str, before: float) -> Iterator[str]:
        query: list[tuple[str, str]] = [("list-type", "2"), ("prefix", prefix)]
        while True:
            listing = self._call("GET", "", query).xml()
            for one in listing.iter(_tag_name(listing, "Contents")):
                if _unix(_text(one, "LastModified")) < before:
                    yield _text(one, "Key")
            if _text(listing, "IsTruncated") != "true":
                return
            query = [*query[:2], ("continuation-token", _text(listing, "NextContinuationToken"))]

    def url(self, key: str, expires_s: float, about: About | None) -> SignedUrl:
        query = [] if about is None else [("response-content-type", about.media_type)]
        if about is not None and about.filename is not None:
            query.append(("response-content-disposition", content_disposition(about.filename)))
        base = self._place.base(self._place.public)
        scheme, _, rest = base.partition("://")
        host, _, root = rest.partition("/")
        path = encoded_path("/" + (f"{root}/" if root else "") + key)
        request = Request("GET", host, path, self._place.bucket, key, query, {})
        signed, works_s = self.sign_url(request, max(1, int(min(expires_s, self.presign_max_s))))
        return SignedUrl(f"{scheme}://{host}{path}?{signed}", max(works_s, 0.0))

    # -- requests --------------------------------------------------------------------------------------------------

    def _request(self, method: str, key: str, query: Query, headers: Mapping[str, str], sha256: str) -> Request:
        path = encoded_path(f"{self._http.path}/{key}")
        return Request(method, self._http.authority, path, self._place.bucket, key, query, headers, sha256)

    def _call(
        self,
        method: str,
        key: str,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: Block = NOTHING,
        *,
        known: tuple[int, ...] = (200, 204),
        cancel: Cancel | None = None,
        judge: Callable[[Response], bool] | None = None,
    ) -> Response:
        """The store's response if its status is in ``known``; else raises the error that it stands for."""
        sha256 = body.digest(SHA256).hex() if self.hashed and not body.by_md5 else UNSIGNED
        request = self._request(method, key, query, {**(headers or {}), **self.checked(body)}, sha256)
        target = f"{request.path}?{self.query_text(query)}" if query else request.path
        more: dict[str, Any] = {} if judge is None else {"judge": judge}
        response = self._http.request(method, target, lambda: self.sign(request), body.data, cancel=cancel, **more)
        if response.status not in known:
            raise refused(self._http.host, response)
        return response


def _is_error(response: Response) -> bool:
    return b"<Error>" in response.body[:4096]


def _tag_name(root: ElementTree.Element, name: str) -> str:
    """The name in the root's namespace, which some stores omit."""
    space, brace, _ = root.tag.rpartition("}")
    return f"{space}{brace}{name}"


def _text(root: ElementTree.Element, name: str) -> str:
    return root.findtext(_tag_name(root, name)) or ""


def _unix(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
