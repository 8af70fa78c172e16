"""The calls of an object store as S3 shaped them; what differs between S3, OSS and Google's XML API is how a request
is signed and what the headers of the store's own are called.

The SHA-256 of the whole file is metadata where it is known before the first byte leaves (files of one request), else a
tag that is set at the end.
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

from fluxport.errors import Broken, FluxportError, NotFound, Refused, Unavailable
from fluxport.headers import content_disposition
from fluxport.outbound import Cancel
from fluxport.sinks._http import Answer, Http, settled
from fluxport.sinks._sigv4 import EMPTY_SHA256, UNSIGNED, Query, encoded_path, encoded_query
from fluxport.sinks._sums import Block, Claim, from_etag
from fluxport.sinks.object_options import HttpOptions
from fluxport.sinks.objects import SHA256, Head, Marks, Part, Unfinished, refused
from fluxport.stages import About, Chunks, SignedUrl

log = logging.getLogger("fluxport.stores")

SKEW_S = 60.0  # clocks may differ by so much
NOTHING = Block(b"")


@dataclass(frozen=True)
class Request:
    """What is signed. ``path`` is as it goes out, encoded; ``bucket`` and ``key`` are what it means."""

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
    """Where a bucket is: at an endpoint, in the host's name or in the path; ``public`` is what signed URLs name."""

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
    """What is common; a store's own class signs and names."""

    parts_max = 10_000
    prefix: ClassVar[str]  # of the headers that are the store's own
    presign_max_s = 604_800
    tagging = True  # whether objects have tags
    hashed = False  # whether signatures hold the SHA-256 of a body
    crc: str | None = None
    etags_tell = True

    def __init__(
        self, place: Place, http: HttpOptions, kept: Mapping[str, str | None], tags: Mapping[str, str]
    ) -> None:
        """``kept`` are headers, without their prefix, that tell how objects are kept; those of None are left out."""
        self._place = place
        self._http = Http(place.base(place.endpoint), http)
        self._kept = {self.prefix + name: value for name, value in kept.items() if value is not None}
        self._tags = tags
        self._clock = time.time
        self._untagged = False

    def place(self, key: str) -> str:
        return f"{self._place.scheme}://{self._place.bucket}/{key}"

    def sign(self, request: Request) -> dict[str, str]:
        """All headers of the request, the signature's among them."""
        raise NotImplementedError

    def sign_url(self, request: Request, expires_s: int) -> tuple[str, float]:
        """The query that lets anybody make this request, and how many seconds it really works."""
        raise NotImplementedError

    def only_new(self) -> dict[str, str]:
        """Headers that make a store refuse to replace an object."""
        return {"if-none-match": "*"}

    @staticmethod
    def query_text(query: Query) -> str:
        """A query as it goes out."""
        return encoded_query(query)

    def checked(self, block: Block) -> dict[str, str]:
        """Headers by which the store checks a body, beside what the signature holds."""
        return block.content_md5()

    def claim(self, headers: Mapping[str, str]) -> Claim | None:
        """What an answer says of the bytes that the store holds."""
        return from_etag(headers)

    # Checksums of an upload's parts, where a store knows them: headers that promise them at its beginning, what the
    # answer to that says, headers of each part (and of a file in one request: no upload), and its line at the end.

    def promised(self) -> dict[str, str]:
        return {}

    def begun(self, upload: str, answer: Answer) -> None: ...

    def summed(self, upload: str | None, block: Block) -> dict[str, str]:
        return {}

    def listed(self, upload: str, part: Part) -> str:
        return ""

    def ended(self, upload: str) -> None: ...

    # -- writing ---------------------------------------------------------------------------------------------------

    def put(self, key: str, block: Block, about: About, marks: Marks, *, new: bool) -> Claim | None:
        headers = self._described(about, marks) | self.summed(None, block) | (self.only_new() if new else {})
        return self.claim(self._ask("PUT", key, headers=headers, body=block).headers)

    def begin(self, key: str, about: About, marks: Marks) -> str:
        began = self._clock()
        answer = self._ask("POST", key, [("uploads", "")], self._described(about, marks) | self.promised())
        upload = _text(_xml(answer), "UploadId")
        self.begun(upload, answer)
        if answer.tries > 1:
            # An answer that was lost on its way has left an upload that nobody knows.
            for found in self.unfinished(key):
                if found.key == key and found.upload != upload and found.started > began - SKEW_S:
                    self.abort(key, found.upload)
        return upload

    def part(self, key: str, upload: str, number: int, block: Block, cancel: Cancel) -> tuple[str, Claim | None]:
        query = [("partNumber", str(number)), ("uploadId", upload)]
        headers = self._ask("PUT", key, query, self.summed(upload, block), block, cancel=cancel).headers
        return headers.get("etag", ""), self.claim(headers)

    def complete(
        self, key: str, upload: str, parts: list[Part], about: About, marks: Marks, *, new: bool
    ) -> Claim | None:
        lines = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(part.tag)}</ETag>{self.listed(upload, part)}</Part>"
            for number, part in enumerate(parts, 1)
        )
        body = f"<CompleteMultipartUpload>{lines}</CompleteMultipartUpload>".encode()
        headers = {"content-type": "application/xml"} | (self.only_new() if new else {})

        def done(answer: Answer) -> bool:
            # The store sends its 200 before it has done the work: an error may follow in the body.
            return settled(answer) and not (answer.status == 200 and _is_error(answer))

        answer = self._ask("POST", key, [("uploadId", upload)], headers, Block(body), judge=done)
        if _is_error(answer):
            raise Unavailable(
                f"The store {self._http.host} could not put the parts together ({answer.code()}).", code="store_failed"
            )
        self.ended(upload)
        self._tag(key, marks)
        return self.claim(answer.headers)

    def _tag(self, key: str, marks: Marks) -> None:
        """Keep the SHA-256 as a tag; a store or an account that cannot loses only that."""
        if not self.tagging or self._untagged or SHA256 not in marks:
            return
        tags = {**self._tags, SHA256: marks[SHA256]}
        lines = "".join(f"<Tag><Key>{escape(k)}</Key><Value>{escape(v)}</Value></Tag>" for k, v in tags.items())
        body = Block(f"<Tagging><TagSet>{lines}</TagSet></Tagging>".encode())
        try:
            self._ask("PUT", key, [("tagging", "")], {"content-type": "application/xml"} | body.content_md5(), body)
        except FluxportError as error:
            self._untagged = not error.retryable
            log.warning("objects of this store get no SHA-256 as a tag: %s", error.message)

    def abort(self, key: str, upload: str) -> None:
        self.ended(upload)
        self._ask("DELETE", key, [("uploadId", upload)], known=(204, 200, 404))

    def delete(self, key: str) -> None:
        self._ask("DELETE", key, known=(204, 200, 404))

    def _described(self, about: About, marks: Marks) -> dict[str, str]:
        """Headers of an object that is made: what it is, and how it is to be kept."""
        headers = {"content-type": about.media_type}
        if about.filename is not None:
            headers["content-disposition"] = content_disposition(about.filename)
        if self.tagging and self._tags:
            headers[self.prefix + "tagging"] = urlencode(self._tags)
        for name, value in marks.items():
            headers[f"{self.prefix}meta-{name}"] = value
        return headers | self._kept

    # -- reading ---------------------------------------------------------------------------------------------------

    def head(self, key: str) -> Head | None:
        return self._head(key, {})

    def _head(self, key: str, headers: Mapping[str, str]) -> Head | None:
        answer = self._ask("HEAD", key, headers=headers, known=(200, 404))
        if answer.status == 404:
            return None
        marks = self.prefix + "meta-"
        return Head(
            int(answer.headers.get("content-length", "-1")),
            answer.headers.get("etag", ""),
            {name[len(marks) :]: value for name, value in answer.headers.items() if name.startswith(marks)},
            self.claim(answer.headers),
        )

    def get(self, key: str, start: int, end: int, etag: str) -> Chunks:
        wanted = {"range": f"bytes={start}-{end - 1}", "if-match": etag}
        made = self._request("GET", key, (), wanted, EMPTY_SHA256)
        answer, chunks = self._http.stream(made.path, lambda: self.sign(made))
        if answer.status == 404:
            raise NotFound("The file is no longer in the store; it may have expired.", code="no_such_file")
        if answer.status == 412:
            raise Broken("The file in the store was replaced while it was read.", code="store_differs")
        if answer.status != 206 and not (answer.status == 200 and start == 0):
            raise refused(self._http.host, answer)
        return chunks

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        query: list[tuple[str, str]] = [("uploads", ""), ("prefix", prefix), ("max-uploads", "1000")]
        while True:
            found = _xml(self._ask("GET", "", query))
            for one in found.iter(_tag_name(found, "Upload")):
                yield Unfinished(_text(one, "Key"), _text(one, "UploadId"), _unix(_text(one, "Initiated")))
            if _text(found, "IsTruncated") != "true":
                return
            query = [
                *query[:3],
                ("key-marker", _text(found, "NextKeyMarker")),
                ("upload-id-marker", _text(found, "NextUploadIdMarker")),
            ]

    def older(self, prefix: str, before: float) -> Iterator[str]:
        query: list[tuple[str, str]] = [("list-type", "2"), ("prefix", prefix)]
        while True:
            found = _xml(self._ask("GET", "", query))
            for one in found.iter(_tag_name(found, "Contents")):
                if _unix(_text(one, "LastModified")) < before:
                    yield _text(one, "Key")
            if _text(found, "IsTruncated") != "true":
                return
            query = [*query[:2], ("continuation-token", _text(found, "NextContinuationToken"))]

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

    # -- asking ----------------------------------------------------------------------------------------------------

    def _request(self, method: str, key: str, query: Query, headers: Mapping[str, str], sha256: str) -> Request:
        path = encoded_path(f"{self._http.path}/{key}")
        return Request(method, self._http.authority, path, self._place.bucket, key, query, headers, sha256)

    def _ask(
        self,
        method: str,
        key: str,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: Block = NOTHING,
        *,
        known: tuple[int, ...] = (200, 204),
        cancel: Cancel | None = None,
        judge: Callable[[Answer], bool] | None = None,
    ) -> Answer:
        """The store's answer if its status is a ``known`` one, else the error that it means."""
        sha256 = body.digest(SHA256).hex() if self.hashed and not body.by_md5 else UNSIGNED
        made = self._request(method, key, query, {**(headers or {}), **self.checked(body)}, sha256)
        target = f"{made.path}?{self.query_text(query)}" if query else made.path
        more: dict[str, Any] = {} if judge is None else {"judge": judge}
        answer = self._http.request(method, target, lambda: self.sign(made), body.data, cancel=cancel, **more)
        if answer.status not in known:
            raise refused(self._http.host, answer)
        return answer


def _xml(answer: Answer) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(answer.body)  # noqa: S314  from the configured store, at most 8 MiB; expat bounds entities
    except ElementTree.ParseError as error:
        raise Unavailable("The store answered with something that is no XML.", code="store_failed") from error


def _is_error(answer: Answer) -> bool:
    return b"<Error>" in answer.body[:4096]


def _tag_name(root: ElementTree.Element, name: str) -> str:
    """The name with the root's namespace, which stores use or leave out as they like."""
    space, brace, _ = root.tag.rpartition("}")
    return f"{space}{brace}{name}"


def _text(root: ElementTree.Element, name: str) -> str:
    return root.findtext(_tag_name(root, name)) or ""


def _unix(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
